//! The open transaction of a killed host: its successors end it and do not wait until the brokers do.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use heddle_core::event::TopicPartition;
use heddle_fixtures::Ended;
use serde_json::Value;

use crate::failures::host::{Scripts, until};
use crate::support::app::App;

const PARTITIONS: i32 = 2;
/// The session timeout of the group, in milliseconds. It bounds how long a killed host stays a member.
const SESSION_MS: &str = "6000";
/// Far longer than everything else here, so a host that waits for the brokers to end a transaction fails the test.
const TRANSACTION_MS: &str = "600000";
const GROUP: &str = "clinic.patient";

/// A host of the app with a separate folder.
struct Host {
    process: Ended,
    data: tempfile::TempDir,
}

impl Host {
    fn start(app: &App, name: &str, interval: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut run = command(app, data.path(), &["run"]);
        run.env("HEDDLE_HOST_NAME", name).env("HEDDLE_COMMIT_INTERVAL", interval);
        run.env("HEDDLE_TRACE", "heddle=info,error");
        let log = File::create(data.path().join("log")).unwrap();
        let process = Ended(run.stdout(Stdio::null()).stderr(log).spawn().unwrap());
        Self { process, data }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.data.path().join("log")).unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("a host told:\n{}", self.log());
        }
    }
}

fn command(app: &App, data: &Path, arguments: &[&str]) -> Command {
    let mut command = app.command(arguments);
    command
        .env("HEDDLE_APP_DATA", data)
        .env("HEDDLE_LOG_OPTIONS_SESSION_TIMEOUT_MS", SESSION_MS)
        .env("HEDDLE_LOG_OPTIONS_TRANSACTION_TIMEOUT_MS", TRANSACTION_MS);
    command
}

/// The killed host has written into a transaction that it would have committed half a minute later.
pub(crate) fn an_open_transaction_of_a_killed_host_does_not_block_its_heirs(app: &App) {
    let scripts = Scripts::of(app);
    let log = app.log();
    let partitions = (0..PARTITIONS).map(|number| TopicPartition::new("in", number)).collect::<Vec<_>>();
    let positions = || log.committed(GROUP, &partitions).unwrap();
    let before = positions();
    let committed = || {
        positions().iter().filter(|(source, offset)| before.get(source).is_none_or(|before| before < *offset)).count()
    };
    let open = || log.watermarks("out").unwrap().iter().filter(|bounds| bounds.end > bounds.high).count();
    let heir = Host::start(app, "heir", "50ms");
    until("the heir is ready", || heir.log().contains(" ready "));
    let mut doomed = Host::start(app, "doomed", "30s");
    until("both have tasks", || doomed.log().contains(" assigned ") && doomed.log().contains(" ready "));
    let records = (0..PARTITIONS).map(|partition| scripts.record(partition, &format!("k{partition}"), "count", 1));
    log.append(&records.collect::<Vec<_>>()).unwrap();
    until("the doomed host has an open transaction", || open() > 0);
    until("the heir has committed its own", || committed() == 1);
    doomed.process.0.kill().unwrap();
    let killed = Instant::now();
    until("the heir has committed all", || committed() == 2);
    println!(
        "from the kill to the first commit elsewhere: {:.1?}, with a session of {SESSION_MS} ms",
        killed.elapsed()
    );
    until("nothing is open", || open() == 0);
    println!("until readers of the outputs go on: {:.1?}", killed.elapsed());
    assert!(heir.log().contains("ended the transaction of a member that left the group"), "{}", heir.log());
    let status = command(app, heir.data.path(), &["status", "--json"]).output().unwrap().stdout;
    assert_eq!(serde_json::from_slice::<Value>(&status).unwrap()["handled"], PARTITIONS);
}
