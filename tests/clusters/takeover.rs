//! The open transaction of a killed host: its successors end it and do not wait until the brokers do.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use heddle::log::kafka::KafkaLog;
use heddle::log::{Groups as _, MemberOptions, Polled, Start as LogStart};
use heddle_core::event::{NewRecord, TopicPartition};
use heddle_fixtures::Ended;
use heddle_fixtures::group::Protocol;
use serde_json::Value;

use crate::failures::host::{Scripts, until};
use crate::support::app::App;

const PARTITIONS: i32 = 2;
/// The session timeout of the group in milliseconds, in both protocols. It bounds how long a killed host stays a
/// member.
const SESSION_MS: &str = "6000";
/// Far longer than everything else here, so a host that waits for the brokers to end a transaction fails the test.
const TRANSACTION_MS: &str = "600000";
const GROUP: &str = "clinic.patient";
const CHANGELOG: &str = "clinic.patient.counts";

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
            eprintln!("a host wrote:\n{}", self.log());
        }
    }
}

fn command(app: &App, data: &Path, arguments: &[&str]) -> Command {
    let mut command = app.command(arguments);
    command
        .env("HEDDLE_APP_DATA", data)
        .envs([Protocol::chosen().variable()])
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

/// The heir of a task has to restore a changelog in which a member that is gone left a transaction open.
pub(crate) fn a_restore_behind_an_open_transaction_goes_on_when_its_owner_is_gone(app: &App) {
    let scripts = Scripts::of(app);
    let log = app.log();
    let heir = Host::start(app, "heir", "50ms");
    until("the heir is ready", || heir.log().contains(" ready "));
    // A classic member may be in a group of the other protocol, too. librdkafka takes such a short interval from no
    // other.
    let options = [Protocol::Classic.option(), ("max.poll.interval.ms", SESSION_MS)];
    let options = options.map(|(option, value)| (option.to_owned(), value.to_owned())).into();
    let ghosts = KafkaLog::connect(app.bootstrap.as_deref().unwrap(), &options).unwrap();
    let mut ghost = ghosts
        .join(&MemberOptions {
            group: GROUP.to_owned(),
            topics: vec!["in".into(), "clinic.patient.retry.200ms".into()],
            transactional_id: "clinic.patient-ghost-0".to_owned(),
            transaction_time: Duration::from_secs(600),
            instance_id: Some("clinic.patient-ghost-0-0123456789abcdef".to_owned()),
            start: LogStart::Beginning,
            starts: Default::default(),
            batch_records_max: 10,
        })
        .unwrap();
    let mut task = None;
    until("the ghost has a task", || {
        if let Polled::Assigned(sources) = ghost.poll(Duration::from_millis(100)).unwrap() {
            task = sources.first().map(|source| source.partition);
        }
        task.is_some()
    });
    let task = task.unwrap();
    let write = NewRecord { partition: Some(task), topic: CHANGELOG.into(), ..scripts.record(0, "ghost", "count", 1) };
    ghost.send(write).unwrap();
    let open = || log.watermarks(CHANGELOG).unwrap().iter().any(|bounds| bounds.end > bounds.high);
    until("the ghost has an open transaction in the changelog", open);
    // Nothing polls it any more, and nothing of it is ended.
    std::mem::forget(ghost);
    log.append(&[scripts.record(task.0, "k-restored", "count", 1)]).unwrap();
    let source = TopicPartition { topic: "in".into(), partition: task };
    let end = log.watermarks("in").unwrap()[usize::try_from(task.0).unwrap()].high;
    until("the heir has restored the task, and handled its record", || {
        log.committed(GROUP, std::slice::from_ref(&source)).unwrap().get(&source) >= Some(&end)
    });
    assert!(!open() && heir.log().contains("clinic.patient-ghost-0"), "{}", heir.log());
}
