//! A host as an operator sees it: its log at start, its lag, and its readiness, also while its broker is down.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use heddle::cluster::{HostClient, Reach};
use heddle::log::Log as _;
use heddle::log::kafka::KafkaLog;
use heddle_core::event::NewRecord;
use heddle_fixtures::Ended;
use heddle_fixtures::kafka::Kafka;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::Value;

use crate::support::app::{App, quickstart};

/// Far above the usual time. Only a failing test waits this long.
const WAIT: Duration = Duration::from_secs(120);
const INPUT: &str = "orders.created";
/// The host's name.
const NAME: &str = "host-1";

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A host that writes its log to a file in the app's data folder.
struct Host {
    _process: Ended,
    log: std::path::PathBuf,
    address: std::path::PathBuf,
}

impl Host {
    fn start(app: &App) -> Self {
        let (log, address) = (app.data.path().join("host.log"), app.data.path().join("admin-address"));
        let _ = std::fs::remove_file(&address);
        let mut run = app.command(&["run"]);
        run.env("HEDDLE_HOST_NAME", NAME);
        let process = run.env_remove("HEDDLE_TRACE").stdout(Stdio::null()).stderr(File::create(&log).unwrap()).spawn();
        let host = Self { _process: Ended(process.unwrap()), log, address };
        wait_until("the host listens", || host.address.exists());
        host
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Sends a request. `None` if there is no answer within ten seconds.
    fn ask(&self, path: &str) -> Option<(u16, String)> {
        let address = std::fs::read_to_string(&self.address).unwrap();
        let answer = HostClient::new(&address, &Reach::default(), Duration::from_secs(10)).get(path).ok()?;
        Some((answer.status, answer.text()))
    }

    fn status(&self) -> Value {
        let (status, text) = self.ask("/status").unwrap();
        assert_eq!(status, 200, "{text}");
        serde_json::from_str::<Value>(&text).unwrap()[0].clone()
    }
}

/// Starts `heddle registry` in a separate process. Returns its address, too.
fn registry(data: &std::path::Path) -> (Ended, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heddle"));
    command.args(["registry", "--listen", "127.0.0.1:0", "--data"]).arg(data);
    let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let url = lines.next().unwrap().unwrap().rsplit(' ').next().unwrap().to_owned();
    // A process may block if its output is not read.
    std::thread::spawn(move || lines.for_each(drop));
    (Ended(process), url)
}

#[test]
fn a_host_logs_what_it_runs_and_when_it_is_ready() {
    let data = tempfile::tempdir().unwrap();
    let (registry, url) = registry(data.path());
    let app = App { registry: Some(url.clone()), ..App::embedded() };
    app.build();
    let host = Host::start(&app);
    wait_until("it is ready", || host.log().contains("ready after="));
    let log = host.log();
    let line =
        |message: &str| log.lines().find(|line| line.contains(message)).unwrap_or_else(|| panic!("{message}: {log}"));
    let address = std::fs::read_to_string(&host.address).unwrap();
    let started = line(" started ");
    for part in [
        format!("version=\"{}\"", env!("CARGO_PKG_VERSION")),
        format!("admin={address}"),
        "log=".into(),
        format!("registry={url}"),
    ] {
        assert!(started.contains(&part), "{part}: {started}");
    }
    let digest = host.status()["digest"].as_str().unwrap().to_owned();
    let runs = line(" runs component=");
    for part in ["component=quickstart.intake", &digest, "consumes=orders.created", "emits=orders.accepted,"] {
        assert!(runs.contains(part), "{part}: {runs}");
    }
    assert!(!log.contains('\u{1b}'), "colour codes in a file: {log}");
    assert!(log.find(" started ") < log.find(" runs ") && log.find(" runs ") < log.find(" ready "), "{log}");
    assert_eq!(host.ask("/health/ready"), Some((200, "ok".to_owned())));
    // Only the final file is left, and only this user can read it.
    let files =
        std::fs::read_dir(app.data.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(!files.into_iter().any(|name| name.starts_with(".tmp")));
    assert_eq!(std::fs::metadata(&host.address).unwrap().permissions().mode() & 0o777, 0o600);
    // Without its registry the host is not ready, and says why.
    drop(registry);
    wait_until("the registry is missed", || {
        host.ask("/health/ready").is_some_and(|(status, why)| status == 503 && why.starts_with("the registry "))
    });
    wait_until("it is reported", || host.log().contains("does not answer who=\"registry\""));
}

fn order(log: &KafkaLog, app: &App) -> Bytes {
    // A record that `heddle produce` encoded.
    let path = app.data.path().join("order.jsonl");
    let lines = std::fs::read_to_string(quickstart().join("data/orders.jsonl")).unwrap();
    std::fs::write(&path, lines.lines().next().unwrap()).unwrap();
    app.ok(&["produce", INPUT, "--key", "orderId", "--file", path.to_str().unwrap()]);
    assert!(log.watermarks(INPUT).unwrap().iter().any(|bounds| bounds.end.0 > 0));
    app.records(INPUT).into_values().flatten().next().unwrap().value.unwrap()
}

fn run_until_idle(app: &App) -> Output {
    app.run(&["run", "--until-idle", "--json"])
}

/// Transaction markers at the end are not counted in the lag, but an open transaction is.
#[test]
fn lag_counts_records_and_open_transactions_but_no_markers() {
    let broker = Kafka::start();
    let app = App::kafka(&broker);
    app.build();
    let log = KafkaLog::connect(&broker.bootstrap(), &std::collections::BTreeMap::new()).unwrap();
    let value = order(&log, &app);
    let record = |key: &str| NewRecord {
        topic: INPUT.into(),
        partition: None,
        timestamp: None,
        key: Some(Bytes::from(key.to_owned())),
        value: Some(value.clone()),
        headers: vec![],
    };
    let mut writer = log.writer("other").unwrap();
    for key in ["a", "b", "c", "d"] {
        writer.write(&[record(key)]).unwrap();
    }
    let began = Instant::now();
    let output = run_until_idle(&app);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap()["in"], 5);
    println!("until idle: {:?}", began.elapsed());

    // Another producer stops in the middle of a transaction.
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.bootstrap()).set("transactional.id", "hanging");
    let hanging: BaseProducer = config.create().unwrap();
    hanging.init_transactions(WAIT).unwrap();
    hanging.begin_transaction().unwrap();
    hanging.send(BaseRecord::to(INPUT).key("e").payload(&value[..])).map_err(|(error, _)| error).unwrap();
    hanging.flush(WAIT).unwrap();
    let output = run_until_idle(&app);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("records are left: quickstart.intake: 1 offset of orders.created/"), "{told}");
    assert!(told.contains("a transaction that is open"), "{told}");

    let host = Host::start(&app);
    wait_until("the open transaction counts", || host.status()["lag"] == 1);
    // The stall has a cause and a duration in every view.
    let stall = || host.status()["stalls"][0].clone();
    wait_until("it is a stall", || stall()["cause"] == "open-transaction");
    assert_eq!(stall()["topic"], INPUT);
    wait_until("the host is not ready", || {
        host.ask("/health/ready").is_some_and(|(status, why)| status == 503 && why.contains("by open-transaction for "))
    });
    let metrics = host.ask("/metrics").unwrap().1;
    let stalls = "heddle_stalls{component=\"quickstart.intake\",cause=\"open-transaction\"} 1";
    assert!(metrics.contains(stalls), "{metrics}");
    hanging.commit_transaction(WAIT).unwrap();
    wait_until("the record is handled", || host.status()["in"] == 1);
    wait_until("its mark does not count", || host.status()["lag"] == 0);
    assert_eq!(host.status()["stalls"], serde_json::json!([]));
    wait_until("it is ready", || host.ask("/health/ready") == Some((200, "ok".to_owned())));

    // A second host of this name would replace the first in the group, and be replaced again.
    let data = tempfile::tempdir().unwrap();
    let mut second = app.command(&["run"]);
    let second = second.env("HEDDLE_APP_DATA", data.path()).env("HEDDLE_HOST_NAME", NAME).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("another host has the name"), "{}", text(&second.stderr));

    // Without a broker the host answers from memory, and says so.
    broker.stop();
    wait_until("it is not ready any more", || {
        host.ask("/health/ready").is_some_and(|(status, why)| status == 503 && why.contains("the log "))
    });
    for path in ["/status", "/metrics", "/health"] {
        assert_eq!(host.ask(path).map(|(status, _)| status), Some(200), "{path}");
    }
    wait_until("the figures are old", || host.status()["lag_age_ms"].as_u64() > Some(3_000));
    assert_eq!(host.status()["lag"], 0);
    let (_, metrics) = host.ask("/metrics").unwrap();
    assert!(metrics.contains("heddle_ready 0") && metrics.contains("heddle_lag_age_seconds"), "{metrics}");
    wait_until("the log's silence is reported", || host.log().contains("does not answer who=\"log\""));
}

/// An unusable cache of compiled code costs only time. The log has one line about it.
#[test]
fn an_unusable_cache_costs_only_time() {
    let app = App::embedded();
    app.build();
    let open = tempfile::tempdir().unwrap();
    std::fs::create_dir(open.path().join("compiled")).unwrap();
    std::fs::set_permissions(open.path().join("compiled"), std::fs::Permissions::from_mode(0o777)).unwrap();
    let caches = [
        ("/dev/null/heddle".to_owned(), "cannot be written to"),
        (open.path().display().to_string(), "other users can write to"),
    ];
    for (cache, why) in caches {
        let output = app.command(&["check"]).env("HEDDLE_CACHE", &cache).env("HOME", "/dev/null").output().unwrap();
        let told = text(&output.stderr);
        assert!(output.status.success(), "{told}");
        let lines = told.lines().filter(|line| line.contains("compiled code is not kept")).collect::<Vec<_>>();
        assert!(lines.len() == 1 && lines[0].contains(why), "{told}");
    }
    assert_eq!(std::fs::read_dir(open.path().join("compiled")).unwrap().count(), 0, "nothing is put there");
}
