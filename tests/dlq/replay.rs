//! Replays that are killed, and two replays at once.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use bytes::Bytes;
use heddle::dlq::{DlqError, Filter, Queue, Selection};
use heddle_core::delivery::Delivery;
use heddle_core::event::{Header, NewRecord, Offset, Partition, Record, Timestamp, TopicPartition};
use heddle_core::failed::{Failure, dead_letter};
use heddle_core::fault::{EventFault, EventFaultKind};
use heddle_fixtures::kafka::Kafka;

use crate::dlq::{LETTERS, all, header};
use crate::support::app::App;

/// A dead letter as the runtime writes it.
pub(crate) fn letter(number: i64, topic: &str) -> NewRecord {
    let record = Record {
        source: TopicPartition::new(topic, 0),
        offset: Offset(number),
        timestamp: Timestamp(1_000),
        // Every tenth record has no key.
        key: (number % 10 != 0).then(|| Bytes::from(format!("key {number}"))),
        value: Some(Bytes::from(format!("value {number}"))),
        headers: vec![Header::new("number", number.to_string())],
    };
    let delivery = Delivery { component: &"guests.scripted".into(), record: &record, attempt: 1, epoch: None };
    let fault = EventFault::new(EventFaultKind::Rejected, "as asked");
    let failure = Failure { fault: &fault, at: Timestamp(1_700_000_000_000), digest: None, first: None, trace: None };
    let letter = dead_letter(&delivery, &failure, &LETTERS.into());
    NewRecord { timestamp: None, ..letter }
}

const MANY: usize = 5_000;
const KILLS: usize = 3;

fn killed_replays_lose_nothing_and_double_nothing(app: &App) {
    app.ok(&["topics", "create", "in", "--partitions", "4"]);
    app.ok(&["topics", "create", LETTERS, "--partitions", "4"]);
    let letters = (0..MANY as i64).map(|number| letter(number, "in")).collect::<Vec<_>>();
    app.log().append(&letters).unwrap();
    let replay = ["dlq", "replay", "scripted", "--all-open"];
    let mut sent = 0;
    for _ in 0..KILLS {
        let mut child = app.command(&replay).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "1000 dead letters replayed so far");
        child.kill().unwrap();
        child.wait().unwrap();
        let there = all(app, "in").len();
        assert!(sent + 1_000 <= there && there < MANY, "killed in the middle: {there} after {sent}");
        sent = there;
    }
    let output = app.run(&replay);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let replayed = all(app, "in");
    let mut times = BTreeMap::<i64, usize>::new();
    for record in &replayed {
        let number = header(&record.headers, "number").unwrap().parse().unwrap();
        *times.entry(number).or_default() += 1;
        assert_eq!(record.value, Some(Bytes::from(format!("value {number}"))));
        assert_eq!(record.key, letters[usize::try_from(number).unwrap()].key);
        assert!(record.key.is_some() || record.source.partition == Partition(0), "without a key: where it was");
        let names = record.headers.iter().map(|header| &*header.name).collect::<Vec<_>>();
        assert_eq!(names, ["number", "heddle.first-failure", "heddle.replays"]);
    }
    assert_eq!((times.len(), replayed.len()), (MANY, MANY), "each of them once");
    assert!(app.ok(&["dlq", "list", "scripted"]).is_empty());
    assert_eq!(app.ok(&["dlq", "list", "scripted", "--all"]).lines().count(), MANY);
    assert_eq!(app.run(&replay).status.code(), Some(1));
    assert_eq!(all(app, "in").len(), MANY);
}

#[test]
fn killed_replays_lose_nothing_and_double_nothing_on_the_embedded_log() {
    killed_replays_lose_nothing_and_double_nothing(&App::embedded().scripted());
}

#[test]
fn killed_replays_lose_nothing_and_double_nothing_on_kafka() {
    let broker = Kafka::start();
    killed_replays_lose_nothing_and_double_nothing(&App::kafka(&broker).scripted());
}

fn the_second_of_two_replays_fences_the_first(app: &App) {
    app.ok(&["topics", "create", "in"]);
    app.ok(&["topics", "create", LETTERS]);
    let log: std::sync::Arc<dyn heddle::log::Log> = app.log().into();
    log.append(&(0..300).map(|number| letter(number, "in")).collect::<Vec<_>>()).unwrap();
    let queue = Queue::open(log.clone(), "guests.scripted", LETTERS).unwrap();
    let mut first = queue.take().unwrap();
    let mut second = None;
    // The second replay starts when the first has sent a batch.
    let refused = first.replay(&Selection::default(), &mut |went| {
        assert_eq!(went.done, 100);
        second = Some(queue.take().unwrap());
    });
    assert!(matches!(refused, Err(DlqError::TakenOver { .. })), "{refused:?}");
    let mut second = second.unwrap();
    assert_eq!(second.replay(&Selection::default(), &mut |_| {}).unwrap(), 200);
    drop(second);
    assert_eq!(queue.list(&Filter::default()).unwrap(), []);
    drop(first);
    drop((queue, log));
    assert_eq!(all(app, "in").len(), 300);
    insta::assert_snapshot!(
        "taken_over",
        DlqError::TakenOver { why: "<the log's words>".into(), topic: LETTERS.into() }
    );
    insta::assert_snapshot!("unknown", DlqError::Unknown { why: "<the log's words>".into(), topic: LETTERS.into() });
    let place = "0/1".parse().unwrap();
    let done = DlqError::Done { place, did: heddle::dlq::What::Discarded, at: "<time>".into(), topic: LETTERS.into() };
    insta::assert_snapshot!("done", done);
}

#[test]
fn the_second_of_two_replays_fences_the_first_on_the_embedded_log() {
    the_second_of_two_replays_fences_the_first(&App::embedded().scripted());
}

#[test]
fn the_second_of_two_replays_fences_the_first_on_kafka() {
    let broker = Kafka::start();
    the_second_of_two_replays_fences_the_first(&App::kafka(&broker).scripted());
}

#[test]
fn marks_of_a_recreated_topic_do_not_count() {
    let app = App::embedded().scripted();
    app.ok(&["topics", "create", "in"]);
    app.ok(&["topics", "create", LETTERS]);
    app.log().append(&[letter(0, "in")]).unwrap();
    app.ok(&["dlq", "replay", "scripted", "0/0"]);
    let log = app.log();
    log.delete_topic(LETTERS).unwrap();
    drop(log);
    app.ok(&["topics", "create", LETTERS]);
    app.log().append(&[letter(1, "in")]).unwrap();
    app.ok(&["dlq", "replay", "scripted", "0/0"]);
    assert_eq!(all(&app, "in").len(), 2);
}
