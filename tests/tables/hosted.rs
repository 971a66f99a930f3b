//! Tables in an app, as users run it.

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use heddle_contract::section;
use heddle_fixtures::kafka::shared;
use serde_json::Value;

use crate::support::app::App;
use crate::support::guests::{wasm, with_contract};

/// An app with `looker`, whose topics have names that begin like this, on one of the logs.
struct Shop {
    app: App,
    prefix: String,
}

impl Shop {
    fn new(mut app: App, prefix: &str) -> Self {
        app.folder = app.data.path().join("app");
        let shop = Self { app, prefix: prefix.to_owned() };
        let contracts = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../guests/contracts");
        std::fs::create_dir_all(shop.app.folder.join("contracts")).unwrap();
        for (file, topic) in [("jobs", "jobs"), ("out", "out"), ("probe.facts", "facts"), ("prices", "prices")] {
            let to = format!("contracts/{}-value.avsc", shop.topic(topic));
            std::fs::copy(contracts.join(format!("{file}-value.avsc")), shop.app.folder.join(to)).unwrap();
        }
        std::fs::copy(contracts.join("Everything.avsc"), shop.app.folder.join("contracts/Everything.avsc")).unwrap();
        shop.install(&wasm("looker"));
        shop.write_app("compact", 2);
        shop
    }

    fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Says how the topics of the tables are: what `facts` keeps, and how many partitions `prices` has.
    fn write_app(&self, policy: &str, partitions: u32) {
        let topic = |name: &str, partitions: u32, policy: &str| {
            format!(
                "[topics.\"{}\"]\npartitions = {partitions}\noptions = {{ \"cleanup.policy\" = \"{policy}\" }}\n",
                self.topic(name)
            )
        };
        let topics = [
            topic("jobs", 2, "delete"),
            topic("out", 2, "delete"),
            topic("facts", 3, policy),
            topic("prices", partitions, "compact"),
        ];
        let text = format!(
            "[app]\nname = \"shop{}\"\ncomponents = [\"*.wasm\"]\n{}",
            self.prefix.replace('.', ""),
            topics.concat()
        );
        std::fs::write(self.app.folder.join("heddle.toml"), text).unwrap();
    }

    /// Puts the component's file in place, with the topics of this shop.
    fn install(&self, wasm: &[u8]) {
        let mut contract = section::extract(wasm).unwrap();
        for (file, topic) in [("jobs", "jobs"), ("out", "out"), ("probe.facts", "facts"), ("prices", "prices")] {
            let to = self.topic(topic);
            let manifest = contract.component.manifest;
            let manifest = manifest.replace(&format!("[consumes.{file}]"), &format!("[consumes.\"{to}\"]"));
            let manifest = manifest.replace(&format!("[emits.{file}]"), &format!("[emits.\"{to}\"]"));
            contract.component.manifest =
                manifest.replace(&format!("topic = \"{file}\""), &format!("topic = \"{to}\""));
            if let Some(schema) = contract.schemas.remove(&format!("{file}-value")) {
                contract.schemas.insert(format!("{to}-value"), schema);
            }
        }
        // The interfaces keep the names that the file was built with.
        let names = [("jobs", "jobs"), ("out", "out")]
            .map(|(topic, name)| format!("\"topic:{}\":\"{name}\"", self.topic(topic)));
        contract.names = serde_json::from_str(&format!("{{{}}}", names.join(","))).unwrap();
        std::fs::write(self.app.folder.join("looker.wasm"), section::embed(wasm, &contract).unwrap()).unwrap();
    }

    /// Writes values, or a tombstone, under a key.
    fn put(&self, topic: &str, key: &str, value: &str) {
        let file = self.app.data.path().join("line.jsonl");
        std::fs::write(&file, value).unwrap();
        self.app.ok(&["produce", &self.topic(topic), "--fixed-key", key, "--file", file.to_str().unwrap()]);
    }

    fn fact(&self, key: &str, n: i64) {
        self.put("facts", key, &format!("{{\"n\":{n}}}"));
    }

    fn price(&self, key: &str, cents: i64) {
        self.put("prices", key, &format!("{{\"cents\":{cents}}}"));
    }

    /// Asks for each of these, `fact a` or `price b`, under the key that it is about.
    fn ask(&self, questions: &[&str]) {
        for question in questions {
            let (what, key) = question.split_once(' ').unwrap();
            self.put("jobs", key, &format!("{{\"do\":\"{what}\",\"key\":\"{key}\"}}"));
        }
    }

    /// All answers so far, sorted.
    fn answers(&self) -> Vec<String> {
        let lines = self.app.ok(&["consume", &self.topic("out")]);
        let answer = |line: &str| {
            let value = serde_json::from_str::<Value>(line).unwrap();
            format!("{}={}", value["did"].as_str().unwrap(), value["n"])
        };
        let mut answers = lines.lines().map(answer).collect::<Vec<_>>();
        answers.sort();
        answers
    }

    fn run(&self) -> Value {
        serde_json::from_str(&self.app.ok(&["run", "--until-idle", "--json"])).unwrap()
    }
}

/// A host that runs until it is dropped.
struct Host(Child);

impl Host {
    fn start(app: &App) -> Self {
        let file = app.data.path().join("admin-address");
        let _ = std::fs::remove_file(&file);
        let child = app.command(&["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let host = Self(child);
        wait_until("the host listens", || file.exists());
        host
    }

    fn stop(mut self) {
        assert!(heddle_fixtures::terminate(&mut self.0).success());
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn tables_are_read_before_the_first_record_and_followed(shop: &Shop) {
    shop.ask(&["fact a", "fact b", "price a", "price b", "fact none"]);
    // What came later is in the tables all the same: they are read to the end before the first record is handled.
    shop.fact("a", 1);
    shop.fact("b", 2);
    shop.put("facts", "b", "null");
    shop.price("a", 10);
    shop.price("b", 20);
    let first = ["fact a=1", "fact b=-1", "fact none=-1", "price a=10", "price b=20"];
    let counts = shop.run();
    assert_eq!((counts["in"].as_u64(), counts["out"].as_u64()), (Some(5), Some(5)));
    assert_eq!(shop.answers(), first);
    // From now on records of `prices` are input, in the order of their times.
    let host = Host::start(&shop.app);
    shop.fact("b", 3);
    shop.price("a", 11);
    shop.put("prices", "b", "null");
    let status = || serde_json::from_str::<Value>(&shop.app.ok(&["status", "--json"])).unwrap();
    wait_until("the tables have what is new", || {
        let status = status();
        status["tables"][0]["applied"].as_u64() == Some(1) && status["applied"].as_u64() == Some(2)
    });
    assert_eq!(status()["tables"][0]["ready"], true);
    assert_eq!(shop.app.ok(&["state", "get", "looker", "facts", "b"]).trim(), r#"{"n":3,"note":null}"#);
    wait_until("a task shows its table", || shop.app.run(&["state", "get", "looker", "prices", "a"]).status.success());
    assert_eq!(shop.app.ok(&["state", "get", "looker", "prices", "a"]).trim(), r#"{"cents":11}"#);
    assert_eq!(
        shop.app.ok(&["state", "list", "looker", "facts"]),
        "a\t{\"n\":1,\"note\":null}\nb\t{\"n\":3,\"note\":null}\n"
    );
    check_metrics(shop);
    shop.ask(&["fact b", "price a", "price b"]);
    wait_until("all is answered", || shop.answers().len() == 8);
    let mut all = first.to_vec();
    all.extend(["fact b=3", "price a=11", "price b=-1"]);
    all.sort_unstable();
    assert_eq!(shop.answers(), all);
    host.stop();
}

fn check_metrics(shop: &Shop) {
    let address = std::fs::read_to_string(shop.app.data.path().join("admin-address")).unwrap();
    let text = ureq::get(format!("http://{address}/metrics")).call().unwrap().body_mut().read_to_string().unwrap();
    let metric = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} in {text}"));
        line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()
    };
    let topic = format!("{{topic=\"{}\"}}", shop.topic("facts"));
    assert_eq!(metric(&format!("heddle_table_ready{topic}")), 1.0);
    assert_eq!(metric(&format!("heddle_table_lag_records{topic}")), 0.0);
    assert_eq!(metric(&format!("heddle_table_applied_records_total{topic}")), 1.0);
    assert!(metric("heddle_tables_disk_bytes") > 0.0);
}

#[test]
fn tables_are_read_before_the_first_record_and_followed_on_the_embedded_log() {
    tables_are_read_before_the_first_record_and_followed(&Shop::new(App::embedded(), ""));
}

#[test]
fn tables_are_read_before_the_first_record_and_followed_on_kafka() {
    tables_are_read_before_the_first_record_and_followed(&Shop::new(App::kafka(shared()), "tables.hosted."));
}

#[test]
fn a_tasks_table_is_the_same_after_kills() {
    let shop = Shop::new(App::embedded(), "");
    let mut expected = vec![];
    for round in 1..=3 {
        let host = Host::start(&shop.app);
        shop.price("a", round);
        let applied =
            || serde_json::from_str::<Value>(&shop.app.ok(&["status", "--json"])).unwrap()["applied"].as_u64();
        // At the first start it may be restored instead.
        wait_until("the price is in the table", || {
            let told = shop.app.run(&["state", "get", "looker", "prices", "a"]);
            told.stdout.starts_with(format!("{{\"cents\":{round}}}").as_bytes()) || applied().is_none()
        });
        shop.ask(&["price a"]);
        expected.push(format!("price a={round}"));
        wait_until("the price is written", || shop.answers().len() == expected.len());
        host.kill();
    }
    assert_eq!(shop.answers(), expected);
    std::fs::remove_dir_all(shop.app.data.path().join("state")).unwrap();
    shop.ask(&["price a"]);
    shop.run();
    expected.push("price a=3".to_owned());
    expected.sort();
    assert_eq!(shop.answers(), expected, "restored from its topic, up to where the group is");
}

#[test]
fn a_topic_that_does_not_suit_a_table_is_reported() {
    let shop = Shop::new(App::embedded(), "");
    shop.write_app("delete", 3);
    shop.fact("a", 1);
    let output = shop.app.run(&["check"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    insta::assert_snapshot!(told.replace(&shop.app.folder.display().to_string(), "<app>"));
}

#[test]
fn a_deployed_version_adds_a_table_and_drops_it() {
    let shop = Shop::new(App::embedded(), "");
    shop.fact("a", 1);
    let plain = std::fs::read(shop.app.folder.join("looker.wasm")).unwrap();
    let more = with_contract(&plain, |contract| {
        contract
            .component
            .manifest
            .push_str("\n[tables.again]\ntopic = \"more\"\nscope = \"global\"\nkey = \"bytes\"\n");
    });
    let file = shop.app.data.path().join("more.wasm");
    std::fs::write(&file, more).unwrap();
    let host = Host::start(&shop.app);
    let refused = shop.app.run(&["deploy", file.to_str().unwrap()]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && told.contains("the topic `more` of the component `looker` does not exist"),
        "{told}"
    );
    let topics = std::fs::read_to_string(shop.app.folder.join("heddle.toml")).unwrap();
    let topics = topics + "[topics.more]\npartitions = 1\noptions = { \"cleanup.policy\" = \"compact\" }\n";
    std::fs::write(shop.app.folder.join("heddle.toml"), topics).unwrap();
    shop.fact("b", 2);
    shop.app.ok(&["deploy", file.to_str().unwrap()]);
    let tables = || {
        let status = serde_json::from_str::<Value>(&shop.app.ok(&["status", "--json"])).unwrap();
        let tables = status["tables"].as_array().cloned().unwrap_or_default();
        tables.iter().filter(|table| table["ready"] == true).map(|table| table["topic"].to_string()).collect::<Vec<_>>()
    };
    wait_until("both tables can be read", || tables() == ["\"more\"", "\"facts\""] || tables().len() == 2);
    shop.ask(&["fact a"]);
    wait_until("the new version answers", || shop.answers() == ["fact a=1"]);
    shop.app.ok(&["rollback", "looker"]);
    wait_until("the table is gone", || tables().len() == 1);
    shop.ask(&["fact a"]);
    wait_until("the previous version answers", || shop.answers().len() == 2);
    host.stop();
}
