//! The order platform, a component with state and dedup, as a user runs it.
//!
//! It runs on both logs and over restarts, with local state that is lost, damaged or foreign.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::support::app::{App, quickstart};
use bytes::Bytes;
use heddle::log::TopicSpec;
use heddle::state::{CACHE_BYTES, EngineKind, open_engine, tree_name};
use heddle_core::event::{NewRecord, Partition};
use heddle_fixtures::apicurio::Apicurio;
use heddle_fixtures::kafka::Kafka;
use serde_json::{Value, json};

const CHANGELOG: &str = "order-platform.ledger.accounts";

/// Writes the quickstart's thousand orders, two of which have no items.
fn produce(app: &App) {
    let orders = quickstart().join("data/orders.jsonl");
    app.ok(&["produce", "orders.created", "--key", "customerId", "--file", orders.to_str().unwrap()]);
}

fn run(app: &App) -> Value {
    serde_json::from_str(&app.ok(&["run", "--until-idle", "--json"])).unwrap()
}

fn counts(counts: &Value) -> [u64; 4] {
    ["in", "out", "failed", "duplicates"].map(|name| counts[name].as_u64().unwrap())
}

/// The expected accounts after the orders, each counted once.
fn expected_accounts() -> BTreeMap<String, Value> {
    let orders = std::fs::read_to_string(quickstart().join("data/orders.jsonl")).unwrap();
    let mut accounts = BTreeMap::new();
    for order in orders.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        if order["items"].as_array().unwrap().is_empty() {
            continue;
        }
        let account =
            accounts.entry(order["customerId"].as_str().unwrap().to_owned()).or_insert((0, 0.0, String::new()));
        account.0 += 1;
        account.1 += order["totalAmount"].as_f64().unwrap();
        account.2 = order["orderId"].as_str().unwrap().to_owned();
    }
    let account = |(orders, total, last): (i64, f64, String)| json!({"orders": orders, "totalAmount": total, "lastOrderId": last});
    accounts.into_iter().map(|(customer, values)| (customer, account(values))).collect()
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
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(180);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The accounts in the running hosts. `None` while a host does not answer.
fn accounts(app: &App) -> Option<BTreeMap<String, Value>> {
    let output = app.run(&["state", "list", "ledger", "accounts", "--limit", "10000", "--json"]);
    let lines = output.status.success().then(|| String::from_utf8(output.stdout).unwrap())?;
    let entry = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    Some(lines.lines().map(entry).map(|e| (e["key"].as_str().unwrap().to_owned(), e["value"].clone())).collect())
}

fn check_accounts(app: &App) {
    let expected = expected_accounts();
    // While tasks move between hosts there is no complete answer. A complete answer is correct.
    wait_until("the hosts show all accounts", || {
        let told = accounts(app).filter(|accounts| accounts.len() == expected.len());
        told.inspect(|accounts| assert_eq!(*accounts, expected)).is_some()
    });
}

/// Checks the metrics of the host: it knows the ids of the orders, and there is state on disk.
fn check_metrics(app: &App) {
    let address = std::fs::read_to_string(app.data.path().join("admin-address")).unwrap();
    let metric = |name: &str| {
        let text = ureq::get(format!("http://{address}/metrics")).call().unwrap().body_mut().read_to_string().unwrap();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} in {text}"));
        line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()
    };
    let component = r#"{component="order-platform.ledger"}"#;
    // State in memory reaches the disk within a second.
    wait_until("all ids are on disk", || metric(&format!("heddle_seen_ids{component}")) == 998.0);
    assert_eq!(metric(&format!("heddle_lag_records{component}")), 0.0);
    assert_eq!(metric(&format!("heddle_records_total{component}")), 0.0);
    assert!(metric("heddle_state_disk_bytes") > 0.0);
}

/// All orders are sent twice, with a restart in between. Each has its effects once.
fn orders_sent_twice_count_once(app: &App) {
    app.build();
    produce(app);
    assert_eq!(counts(&run(app)), [1_000, 1_005, 2, 0]);
    produce(app);
    assert_eq!(counts(&run(app)), [1_000, 0, 2, 998]);
    let host = Host::start(app);
    check_accounts(app);
    check_metrics(app);
    assert_eq!(
        app.ok(&["state", "get", "ledger", "accounts", "C-0005"]).trim(),
        expected_accounts()["C-0005"].to_string()
    );
    let first = app.ok(&["state", "list", "order-platform.ledger", "accounts", "--prefix", "C-000", "--limit", "2"]);
    assert!(first.lines().all(|line| line.starts_with("C-000")) && !first.is_empty(), "{first}");
    host.stop();
}

#[test]
fn orders_sent_twice_count_once_on_the_embedded_log() {
    orders_sent_twice_count_once(&App::embedded().platform());
}

#[test]
fn orders_sent_twice_count_once_on_kafka() {
    let (broker, registry) = (Kafka::start(), Apicurio::start());
    let app = App { registry: Some(registry.url()), ..App::kafka(&broker).platform() };
    orders_sent_twice_count_once(&app);
    // A second host takes some of the tasks. Each host gives the complete answer.
    let second = App { registry: Some(registry.url()), ..App::kafka(&broker).platform() };
    let hosts = [Host::start(&app), Host::start(&second)];
    for asked in [&app, &second] {
        check_accounts(asked);
        for customer in ["C-0005", "C-0080", "C-0022", "C-0084"] {
            wait_until("the hosts show an account", || {
                let output = asked.run(&["state", "get", "ledger", "accounts", customer]);
                let told = output.status.success().then(|| String::from_utf8(output.stdout).unwrap());
                told.inspect(|told| assert_eq!(told.trim(), expected_accounts()[customer].to_string())).is_some()
            });
        }
    }
    let here = |app: &App| {
        let entries = app.ok(&["status", "--json"]);
        serde_json::from_str::<Value>(&entries).unwrap()["component"].clone()
    };
    assert_eq!(here(&app), here(&second));
    hosts.into_iter().for_each(Host::stop);
}

/// Runs until idle with warnings logged. Returns the counts and the log.
fn run_telling(app: &App) -> (Value, String) {
    let output = app.command(&["run", "--until-idle", "--json"]).env("HEDDLE_TRACE", "warn").output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    (serde_json::from_slice(&output.stdout).unwrap(), told)
}

#[test]
fn a_local_copy_that_is_lost_damaged_or_of_another_engine_is_rebuilt() {
    let app = App::embedded().platform();
    app.build();
    produce(&app);
    assert_eq!(counts(&run(&app)), [1_000, 1_005, 2, 0]);
    let state = app.data.path().join("state");
    let all_are_known = |app: &App| {
        produce(app);
        let (found, told) = run_telling(app);
        assert_eq!(counts(&found), [1_000, 0, 2, 998], "{told}");
        told
    };
    std::fs::remove_dir_all(&state).unwrap();
    all_are_known(&app);
    std::fs::write(state.join("conf"), "no settings of any engine").unwrap();
    let told = all_are_known(&app);
    assert!(told.contains("moved damaged state away, rebuilding it from the changelogs"), "{told}");
    let output = app.command(&["run", "--until-idle", "--json"]).env("HEDDLE_STATE_ENGINE", "fjall").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let host = Host::start(&app);
    check_accounts(&app);
    host.stop();
}

#[test]
fn a_recreated_changelog_is_noticed() {
    let app = App::embedded().platform();
    app.build();
    produce(&app);
    run(&app);
    let log = app.log();
    let partitions = log.topics().unwrap().into_iter().find(|topic| topic.name == CHANGELOG).unwrap().partitions;
    log.delete_topic(CHANGELOG).unwrap();
    let options = BTreeMap::from([("cleanup.policy".to_owned(), "compact".to_owned())]);
    log.create_topic(&TopicSpec { name: CHANGELOG.to_owned(), partitions, replication: None, options }).unwrap();
    drop(log);
    // The state is gone, and no operator has accepted that.
    let refused = app.run(&["run", "--until-idle"]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("was deleted") && told.contains("heddle topics accept ledger"), "{told}");
    app.ok(&["topics", "accept", "ledger", "--yes"]);
    let (_, told) = run_telling(&app);
    assert!(told.contains("the topic was recreated"), "{told}");
    let host = Host::start(&app);
    wait_until("the host has its tasks", || app.run(&["state", "list", "ledger", "accounts"]).status.success());
    assert_eq!(accounts(&app), Some(BTreeMap::new()));
    host.stop();
}

/// Makes every local copy of the accounts look as if it was written long ago, one record before its end.
fn make_old(app: &App) {
    let engine = open_engine(EngineKind::Sled, &app.data.path().join("state"), CACHE_BYTES).unwrap();
    let trees = (0..4).map(|number| tree_name("order-platform.ledger", CHANGELOG, Partition(number)));
    for tree in trees.map(|name| engine.open(&name).unwrap()) {
        let (key, value) = tree.scan(Bound::Unbounded, b"\0watermark", 1).unwrap().pop().unwrap();
        let mut watermark: Value = serde_json::from_slice(&value).unwrap();
        watermark["offset"] = (watermark["offset"].as_i64().unwrap() - 1).into();
        watermark["written"] = 1.into();
        tree.apply(vec![(key, Some(watermark.to_string().into()))]).unwrap();
    }
}

#[test]
fn a_local_copy_old_enough_to_miss_deletes_is_rebuilt() {
    let app = App::embedded().platform();
    app.build();
    produce(&app);
    run(&app);
    make_old(&app);
    let (_, told) = run_telling(&app);
    assert_eq!(told.matches("it is so old that records of deletes may be gone").count(), 4, "{told}");
    let host = Host::start(&app);
    check_accounts(&app);
    host.stop();
}

#[test]
fn a_foreign_record_in_a_changelog_stops_the_host() {
    let app = App::embedded().platform();
    app.build();
    produce(&app);
    run(&app);
    let foreign = NewRecord {
        topic: "order-platform.ledger.dedup".into(),
        partition: Some(Partition(0)),
        timestamp: None,
        key: Some(Bytes::from_static(b"orders.created")),
        value: Some(Bytes::from_static(b"hello")),
        headers: vec![],
    };
    app.log().append(&[foreign]).unwrap();
    let output = app.run(&["run", "--until-idle"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("a changelog holds a record that is not Heddle's"), "{told}");
    assert!(told.contains("order-platform.ledger.dedup/0"), "{told}");
}

#[test]
fn unanswerable_state_queries_are_reported_with_a_reason() {
    let app = App::embedded().platform();
    app.build();
    let refused = |arguments: &[&str]| {
        let output = app.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let address = |told: String| {
        let lines = told.lines().map(|line| if line.starts_with("  at: ") { "  at: <address>" } else { line });
        lines.collect::<Vec<_>>().join("\n")
    };
    let mut told = vec![refused(&["state", "get", "ledger", "accounts", "C-1"])];
    let host = Host::start(&app);
    wait_until("the host has its tasks", || app.run(&["state", "list", "ledger", "accounts"]).status.success());
    told.push(refused(&["state", "get", "ledgers", "accounts", "C-1"]));
    told.push(refused(&["state", "list", "ledger", "account"]));
    told.push(refused(&["state", "get", "ledger", "accounts", "C-1"]));
    host.stop();
    insta::assert_snapshot!(told.into_iter().map(address).collect::<Vec<_>>().join("\n\n"));
}
