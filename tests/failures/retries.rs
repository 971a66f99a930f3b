//! Retries: immediate ones, later ones, and retries under a changed policy.

use std::time::{Duration, Instant};

use heddle::admin::Remote;
use heddle::log::Log as _;
use heddle_fixtures::kafka::Kafka;

use crate::failures::host::{Host, Scripts, ended, header, input, outcomes, status, told, until};
use crate::failures::{FAILURE, LETTERS, NAME, clinic, install};
use crate::support::app::App;

/// A record that fails at first succeeds without help and does not delay others. The time that it took is reported.
fn gets_through_when_it_can(app: App) {
    let app = clinic(app, 2, "attempts = 1\nretry = [\"300ms\", \"300ms\", \"300ms\", \"300ms\", \"5s\", \"60s\"]");
    let scripts = Scripts::of(&app);
    let (one, other) = (|what| scripts.record(0, "k", what, 0), |what| scripts.record(1, "k", what, 0));
    app.log().append(&[one("needs-open"), one("count"), other("count"), other("needs-open")]).unwrap();
    let host = Host::start(&app);
    until("others go on", || outcomes(&app).len() == 2);
    until("both wait", || status(&app, NAME)["waiting"] == 2);
    assert!(!told(&app).contains("no parked record is left"), "both are parked");
    append(&app, &scripts, 0, "open");
    append(&app, &scripts, 1, "open");
    let fixed = Instant::now();
    until("they are through", || outcomes(&app).len() == 6);
    println!("from the fix to drained, with retries every 300 ms: {:?}", fixed.elapsed());
    until("it is reported", || told(&app).contains("no parked record is left"));
    // A commit is visible before it is counted.
    until("all are counted", || status(&app, NAME)["handled"] == 6);
    let last = status(&app, NAME);
    let count = |name: &str| last[name].as_u64().unwrap();
    assert_eq!((count("in"), count("handled"), count("failed"), count("waiting")), (6, 6, 0, 0));
    assert_eq!(count("in") + count("again"), count("handled") + count("retried"));
    assert!(count("again") >= 2);
    host.stop();
    // The sum grows by one for each record, so none was counted twice.
    let mut did = outcomes(&app).into_iter().map(|(_, did)| did).collect::<Vec<_>>();
    did.sort();
    assert_eq!(did, ["count 1", "count 1", "needs-open 3", "needs-open 3", "open 2", "open 2"]);
}

/// Produces while the host runs, which may own the log.
fn append(app: &App, scripts: &Scripts, partition: i32, what: &str) {
    let records = [scripts.record(partition, "k", what, 0)];
    if app.bootstrap.is_some() {
        app.log().append(&records).unwrap();
    } else {
        let address = std::fs::read_to_string(app.data.path().join("admin-address")).unwrap();
        Remote::find(&address).unwrap().append(&records).unwrap();
    }
}

#[test]
fn a_failed_record_is_retried_until_it_succeeds_on_the_embedded_log() {
    gets_through_when_it_can(App::embedded());
}

#[test]
fn a_failed_record_is_retried_until_it_succeeds_on_kafka() {
    gets_through_when_it_can(App::kafka(&Kafka::start()));
}

/// The delays, the order and the attempts change while records are parked. None of the records is stranded.
fn strands_nothing(app: App) {
    let app = clinic(app, 1, "attempts = 1\nretry = [\"400ms\", \"6s\"]");
    let scripts = Scripts::of(&app);
    app.log().append(&[scripts.record(0, "a", "failed", 0), scripts.record(0, "b", "needs-open", 0)]).unwrap();
    let host = Host::start(&app);
    // If the status takes longer than the last delay, there is a dead letter. The rest of the test holds then, too.
    until("both wait or one was dead-lettered", || {
        let status = status(&app, NAME);
        status["waiting"] == 2 || status["failed"].as_u64() > Some(0)
    });
    host.stop();
    // There are no retry topics any more, so new records are parked in the state. Those in the old topics are still
    // taken.
    install(&app, "patient", "attempts = 1\nretry = [\"700ms\"]\norder = \"key\"");
    app.log().append(&[scripts.record(0, "c", "needs-open", 0), scripts.record(0, "c", "count", 0)]).unwrap();
    let host = Host::start(&app);
    until("one is dead-lettered", || status(&app, NAME)["failed"].as_u64() > Some(0));
    host.stop();
    // Now there are no retries at all. Records that are parked in the state are still taken.
    install(&app, "patient", "attempts = 1\nretry-on = []");
    app.log().append(&[scripts.record(0, "o", "open", 0)]).unwrap();
    app.ok(&["run", "--until-idle"]);
    let out = outcomes(&app).len();
    let letters = app.records(LETTERS).into_values().flatten().collect::<Vec<_>>();
    // Two records were counted in any case: `open`, and the one after `c`.
    assert!(out >= 2 && out + letters.len() == 5, "{out} {letters:?}");
    let first = letters.iter().find(|letter| letter.key.as_deref() == Some(b"a")).unwrap();
    assert_eq!((header(first, "heddle.topic"), header(first, "heddle.offset")), ("in".into(), "0".into()));
    assert_eq!(header(first, "heddle.kind"), "failed");
}

#[test]
fn a_changed_policy_strands_no_record_on_the_embedded_log() {
    strands_nothing(App::embedded());
}

#[test]
fn a_changed_policy_strands_no_record_on_kafka() {
    strands_nothing(App::kafka(&Kafka::start()));
}

/// While a record is retried in place, only its partition waits.
#[test]
fn a_back_off_delays_only_its_own_partition() {
    let app = clinic(App::embedded(), 2, "attempts = 4\nbackoff = \"2s\"\nbackoff-max = \"2s\"");
    // One output partition, so that its order is the order of processing.
    let manifest = std::fs::read_to_string(app.folder.join("heddle.toml")).unwrap();
    let manifest = manifest.replace("[topics.out]\npartitions = 2", "[topics.out]\npartitions = 1");
    std::fs::write(app.folder.join("heddle.toml"), manifest).unwrap();
    let scripts = Scripts::of(&app);
    let records = [(0, "k0", "failed"), (0, "k0", "count"), (1, "k1", "count"), (1, "k1", "count")];
    let records = records.map(|(partition, key, what)| scripts.record(partition, key, what, 0));
    app.log().append(&records).unwrap();
    let began = Instant::now();
    let host = Host::start(&app);
    until("all are through", || ended(&status(&app, NAME)) == 4);
    // Three waits of at least a second each.
    assert!(began.elapsed() > Duration::from_secs(3), "{:?}", began.elapsed());
    host.stop();
    let letters = app.records(LETTERS).into_values().flatten().collect::<Vec<_>>();
    assert_eq!((letters.len(), header(&letters[0], "heddle.attempts")), (1, "4".to_owned()));
    let keys = outcomes(&app).into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(keys, ["k1", "k1", "k0"]);
}

/// A foreign record in a retry topic is dead-lettered, and the other records continue.
#[test]
fn a_foreign_record_in_a_retry_topic_is_dead_lettered() {
    let app = clinic(App::embedded(), 1, FAILURE);
    let scripts = Scripts::of(&app);
    let mut strange = input(0, "k", Some(scripts.value("count", 0)));
    strange.topic = "clinic.patient.retry.1s".into();
    app.log().append(&[strange, scripts.record(0, "k", "count", 0)]).unwrap();
    app.ok(&["run", "--until-idle"]);
    let letters = app.records(LETTERS).into_values().flatten().collect::<Vec<_>>();
    assert_eq!((letters.len(), header(&letters[0], "heddle.kind"), outcomes(&app).len()), (1, "decode".into(), 1));
}
