//! Partitions are added to the input.

use heddle::log::{Log, TopicInfo};
use heddle_core::event::Header;
use heddle_core::partitioner::partition_of;
use heddle_fixtures::kafka::Kafka;
use serde_json::{Value, json};

use super::{STATELESS, add_stateless, stateless, with_state};
use crate::failures::NAME;
use crate::failures::host::{Host, Scripts, outcomes, status, told, until};

/// Longer than any test, so that no absent member leaves its group.
const LONG_SESSION: &str = "\"session.timeout.ms\" = \"120000\"";
/// The broker assigns, and its own session is as long as it can be.
const BY_BROKER: &str = "\"group.protocol\" = \"consumer\"";
const LONG_SESSION_OF_BROKER: &str = "group.consumer.session.timeout.ms=60000\n";

fn partitions(log: &dyn Log, topic: &str) -> i32 {
    let is_it = |info: &TopicInfo| info.name == topic;
    log.topics().unwrap().into_iter().find(is_it).map_or(0, |info| info.partitions)
}

#[test]
fn a_component_without_state_reads_added_partitions_also_after_a_quick_restart() {
    let rejoins = reads_added_partitions(&Kafka::start(), LONG_SESSION);
    assert!(rejoins);
}

#[test]
fn a_broker_that_assigns_gives_added_partitions_to_a_component_without_state() {
    let broker = Kafka::start_with_properties(|_, _| LONG_SESSION_OF_BROKER.to_owned());
    let rejoins = reads_added_partitions(&broker, BY_BROKER);
    assert!(!rejoins);
}

/// Returns true if a member had to rejoin because nobody read some partitions.
fn reads_added_partitions(broker: &Kafka, options: &str) -> bool {
    let app = stateless(broker, 2, options, "1s", "attempts = 1\nretry = [\"200ms\"]");
    let scripts = Scripts::of(&app);
    let log = app.log();
    let handled = || status(&app, STATELESS)["handled"].as_u64().unwrap_or(0);
    let host = Host::start(&app);
    log.append(&[scripts.record(1, "k", "emit-many", 1)]).unwrap();
    until("the host is at work", || handled() == 1);
    // The record fails at first, so it is parked in the retry topic, in the partition of its number.
    log.add_partitions("in", 3).unwrap();
    log.append(&[scripts.record(2, "k", "fail-once", 1)]).unwrap();
    until("the added partition is read", || handled() == 2);
    // The broker assigns the returning host its old partitions, which are not all.
    host.stop();
    log.add_partitions("in", 5).unwrap();
    log.append(&[scripts.record(4, "k", "fail-once", 1), scripts.record(0, "k", "emit-many", 1)]).unwrap();
    let host = Host::start(&app);
    until("what was added meanwhile is read", || handled() == 2);
    let rejoins = told(&app).contains("no member reads partitions that were added");
    let retry = log.topics().unwrap().into_iter().find(|topic| topic.name.contains(".retry.")).unwrap();
    assert_eq!(retry.partitions, 5);
    assert_eq!(status(&app, STATELESS)["failed"], 0);
    host.stop();
    rejoins
}

#[test]
fn a_component_with_state_stops_before_its_state_is_split_and_continues_when_accepted() {
    let broker = Kafka::start();
    let app = with_state(&broker, 2, LONG_SESSION);
    add_stateless(&app, "1s", "attempts = 1\nretry-on = []");
    let scripts = Scripts::of(&app);
    let log = app.log();
    let (changelog, ids) = ("clinic.patient.counts", "clinic.patient.dedup");
    let mut host = Host::start(&app);
    log.append(&[scripts.record(0, "k", "count", 0)]).unwrap();
    until("the host is at work", || status(&app, NAME)["handled"] == 1);
    log.add_partitions("in", 3).unwrap();
    let why = || status(&app, NAME)["stopped"].as_str().unwrap_or_default().to_owned();
    until("the component stops", || !why().is_empty());
    assert!(why().contains("`in` has 3 partitions") && why().contains("heddle topics accept patient"), "{}", why());
    // The other component continues, with the new partition.
    until("the other one is at work, too", || status(&app, STATELESS)["failed"] == 1);
    log.append(&[scripts.record(2, "k", "count", 0)]).unwrap();
    until("the other one reads it", || status(&app, STATELESS)["failed"] == 2);
    assert!(host.is_running());
    host.stop();
    // A start does not split state either, and `--until-idle` reports the failure.
    let ended = app.run(&["run", "--until-idle"]);
    let text = String::from_utf8(ended.stderr).unwrap();
    assert!(!ended.status.success() && text.contains("heddle topics accept patient"), "{text}");
    assert_eq!((partitions(&*log, changelog), partitions(&*log, ids)), (2, 2));
    let host = Host::start(&app);
    until("it is stopped again", || !why().is_empty());
    let asked = app.run(&["topics", "accept", "patient"]);
    let text = String::from_utf8(asked.stdout).unwrap();
    assert!(!asked.status.success() && text.contains("starts there without state"), "{text}");
    assert_eq!((partitions(&*log, changelog), why().is_empty()), (2, false));
    app.ok(&["topics", "accept", "patient", "--yes"]);
    until("it goes on", || status(&app, NAME)["handled"] == 1);
    assert_eq!((partitions(&*log, changelog), partitions(&*log, ids), why()), (3, 3, String::new()));
    host.stop();
}

/// The host runs all the time. Its component stops when its input grows, and continues when the state has been moved.
#[test]
fn a_component_continues_with_all_its_state_after_a_move() {
    let broker = Kafka::start();
    let app = with_state(&broker, 2, "\"session.timeout.ms\" = \"6000\"");
    let scripts = Scripts::of(&app);
    let log = app.log();
    let keys = (0..8).map(|n| format!("k{n}")).collect::<Vec<_>>();
    let send = |partitions: i32, ids: &str| {
        let records = keys.iter().map(|key| {
            let mut record = scripts.record(partition_of(key.as_bytes(), partitions).0, key, "count", 0);
            record.headers.push(Header::new("id", format!("{ids}-{key}")));
            record
        });
        log.append(&records.collect::<Vec<_>>()).unwrap();
    };
    let host = Host::start(&app);
    send(2, "first");
    until("the host is at work", || status(&app, NAME)["handled"] == 8);
    log.add_partitions("in", 4).unwrap();
    let stopped = || status(&app, NAME)["stopped"].as_str().unwrap_or_default().to_owned();
    until("the component stops", || stopped().contains("heddle topics repartition patient"));
    let mut told = String::new();
    until("the group lets its member go", || {
        told = String::from_utf8(app.run(&["topics", "repartition", "patient"]).stderr).unwrap();
        !told.contains("its group has")
    });
    assert!(told.contains("give --by-store-key"), "{told}");
    let dry = app.ok(&["topics", "repartition", "patient", "--by-store-key", "--dry-run", "--json"]);
    let plan = serde_json::from_str::<Value>(&dry).unwrap();
    assert_eq!((&plan["from"], &plan["to"], &plan["moved"]), (&json!(2), &json!(4), &json!(false)), "{plan}");
    assert_eq!(partitions(&*log, "clinic.patient.counts"), 2);
    app.ok(&["topics", "repartition", "patient", "--by-store-key"]);
    until("it goes on", || stopped().is_empty());
    send(4, "second");
    until("it has handled these, too", || status(&app, NAME)["handled"] == 16);
    // A message that was handled before is recognized wherever it arrives again.
    send(4, "first");
    until("these are known", || status(&app, NAME)["duplicates"] == 8);
    host.stop();
    let outcomes = outcomes(&app);
    for key in &keys {
        let sums = outcomes.iter().filter(|(of, _)| of == key).map(|(_, did)| did.as_str()).collect::<Vec<_>>();
        assert_eq!(sums.len(), 2, "{key}");
        assert!(sums.contains(&"count 1") && sums.contains(&"count 2"), "{key}: {sums:?}");
    }
}
