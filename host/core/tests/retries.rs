//! Records that are tried again later: in retry topics, and in key order in the task's state.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use heddle_core::batch::OpenBatch;
use heddle_core::dedup::MessageId;
use heddle_core::delivery::Delivery;
use heddle_core::effects::{Effects, Emit};
use heddle_core::event::{Header, NewRecord, Offset, Partition, Record, Timestamp, Topic, TopicPartition};
use heddle_core::failed::Parked;
use heddle_core::fault::{EventFault, EventFaultKind, Fault, TaskFault};
use heddle_core::policy::{FailurePolicy, Order, Retry, WaitingBounds, WhenFull};
use heddle_core::state::{Entry, Range, Reads, Stateless, StoreIndex, TaskState};
use heddle_core::task::{Dispatch, Next, Prepared, Step, Task, TaskSpec};

const SECOND: i64 = 1_000;

/// Fails for the configured records, and lists the records that it processed.
#[derive(Default)]
struct Handler {
    failing: Vec<&'static str>,
    rejecting: Vec<&'static str>,
    handled: Vec<String>,
}

impl Dispatch for Handler {
    fn identify(&mut self, _: &Prepared<'_>) -> Result<Option<MessageId>, EventFault> {
        Ok(None)
    }

    fn dispatch(&mut self, _: &Prepared<'_>, delivery: &Delivery<'_>, _: Reads) -> Result<Effects, Fault> {
        let value = String::from_utf8(delivery.record.value.clone().unwrap().to_vec()).unwrap();
        if self.failing.contains(&value.as_str()) {
            return Err(EventFault::new(EventFaultKind::Failed, "not now").into());
        }
        if self.rejecting.contains(&value.as_str()) {
            return Err(EventFault::new(EventFaultKind::Rejected, "never").into());
        }
        self.handled.push(format!("{value}#{}", delivery.attempt));
        let emit =
            Emit { topic: "out".into(), key: None, value: Some(value.into()), headers: vec![], cloudevents: false };
        Ok(Effects { emits: vec![emit], ..Effects::default() })
    }
}

/// The committed entries of a task's only store.
#[derive(Default)]
struct Memory(Mutex<BTreeMap<Bytes, Bytes>>);

impl Memory {
    fn commit(&self, batch: OpenBatch) {
        for (_, overlay) in batch.seal().confirmed(BTreeMap::new()).overlays() {
            for (_, key, value) in overlay.writes() {
                let mut entries = self.0.lock().unwrap();
                match value {
                    Some(value) => drop(entries.insert(key.clone(), value.clone())),
                    None => drop(entries.remove(key)),
                }
            }
        }
    }
}

impl TaskState for Memory {
    fn get(&self, _: StoreIndex, key: &[u8]) -> Result<Option<Bytes>, TaskFault> {
        Ok(self.0.lock().unwrap().get(key).cloned())
    }

    fn scan(&self, _: StoreIndex, range: &Range<'_>, limit: usize) -> Result<Vec<Entry>, TaskFault> {
        let entries = self.0.lock().unwrap();
        let found = entries.iter().filter(|(key, _)| range.contains(key)).take(limit);
        Ok(found.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn seen(&self, _: &Topic, _: &MessageId, _: Timestamp) -> Result<bool, TaskFault> {
        Ok(false)
    }
}

fn spec(order: Order) -> Arc<TaskSpec> {
    let retry = |seconds| Retry { delay: Duration::from_secs(seconds), topic: format!("retry.{seconds}s").into() };
    let policy = FailurePolicy { retries: vec![retry(1), retry(10)], order, ..FailurePolicy::in_place(2, "dlq") };
    let mut spec = TaskSpec::stateless("shop.intake".into(), policy);
    spec.retry_topics = ["retry.1s", "retry.10s", "retry.60s"].map(Into::into).into();
    if let Order::Key(_) = order {
        spec.schedule = Some("shop.intake.waiting".into());
    }
    Arc::new(spec)
}

fn record(key: &'static str, value: &'static str, offset: i64) -> Record {
    Record {
        source: TopicPartition::new("in", 2),
        offset: Offset(offset),
        timestamp: Timestamp(7),
        key: Some(key.into()),
        value: Some(value.into()),
        headers: vec![Header::new("h", "x")],
    }
}

fn step(task: &mut Task, record: &Record, handler: &mut Handler, batch: &mut OpenBatch, now: i64) -> Step {
    task.step_at_once(record, handler, batch, Timestamp(now)).unwrap()
}

/// The written record, as a log returns it.
fn read(written: &NewRecord, offset: i64) -> Record {
    Record {
        source: TopicPartition { topic: written.topic.clone(), partition: written.partition.unwrap() },
        offset: Offset(offset),
        timestamp: written.timestamp.unwrap(),
        key: written.key.clone(),
        value: written.value.clone(),
        headers: written.headers.clone(),
    }
}

fn header<'a>(record: &'a NewRecord, name: &str) -> &'a str {
    let value = record.headers.iter().find(|header| header.name == name).and_then(|header| header.value.as_ref());
    std::str::from_utf8(value.unwrap()).unwrap()
}

#[test]
fn a_record_goes_from_delay_to_delay_and_then_to_the_dead_letters_as_it_was() {
    let mut task = Task::new(spec(Order::None), Partition(2), Arc::new(Stateless));
    let (mut batch, mut handler) = (OpenBatch::default(), Handler { failing: vec!["a"], ..Handler::default() });
    let input = record("k", "a", 7);
    let first = step(&mut task, &input, &mut handler, &mut batch, 5 * SECOND);
    assert_eq!(first.next, Next::Later(Timestamp(6 * SECOND)));
    let waits = &first.writes[0];
    assert_eq!(
        (&*waits.topic, waits.partition, waits.timestamp),
        ("retry.1s", Some(Partition(2)), Some(Timestamp(5 * SECOND)))
    );
    assert_eq!(["heddle.attempts", "heddle.round", "heddle.due"].map(|name| header(waits, name)), ["2", "1", "6000"]);

    let again = read(waits, 0);
    assert_eq!(Parked::read(&again).unwrap().record, input);
    let second = step(&mut task, &again, &mut handler, &mut batch, 6 * SECOND);
    let waits = &second.writes[0];
    assert_eq!((&*waits.topic, second.next), ("retry.10s", Next::Later(Timestamp(16 * SECOND))));
    assert_eq!(header(waits, "heddle.first-failure"), "1970-01-01T00:00:05.000Z");

    let third = step(&mut task, &read(waits, 0), &mut handler, &mut batch, 16 * SECOND);
    let letter = &third.writes[0];
    assert_eq!(
        (&*letter.topic, letter.timestamp, &letter.headers[..1]),
        ("dlq", Some(Timestamp(7)), &input.headers[..])
    );
    let told = [
        "heddle.topic",
        "heddle.partition",
        "heddle.offset",
        "heddle.attempts",
        "heddle.first-failure",
        "heddle.last-failure",
    ];
    let told = told.map(|name| header(letter, name));
    assert_eq!(told, ["in", "2", "7", "4", "1970-01-01T00:00:05.000Z", "1970-01-01T00:00:16.000Z"]);
    let counts = batch.counts();
    assert_eq!((counts.records, counts.again, counts.retried, counts.dead_lettered), (1, 2, 2, 1));
    assert_eq!(counts.taken(), counts.handled + counts.retried + counts.dead_lettered + counts.duplicates);
    let positions =
        batch.seal().positions().iter().map(|(source, next)| format!("{source}@{next}")).collect::<Vec<_>>();
    assert_eq!(positions, ["in/2@8", "retry.10s/2@1", "retry.1s/2@1"]);
}

#[test]
fn a_later_success_emits_the_same_id_as_an_immediate_one() {
    let mut task = Task::new(spec(Order::None), Partition(2), Arc::new(Stateless));
    let (mut batch, mut handler) = (OpenBatch::default(), Handler { failing: vec!["a"], ..Handler::default() });
    let waits = step(&mut task, &record("k", "a", 7), &mut handler, &mut batch, 0).writes.remove(0);
    // The topic of a delay that the policy no longer has.
    let waits = Record { source: TopicPartition::new("retry.60s", 2), ..read(&waits, 3) };
    handler.failing.clear();
    let done = step(&mut task, &waits, &mut handler, &mut batch, SECOND);
    assert_eq!((handler.handled, header(&done.writes[0], "ce_id")), (vec!["a#3".to_owned()], "shop.intake/in/2/7/0"));
}

#[test]
fn a_foreign_record_in_a_retry_topic_is_dead_lettered() {
    let mut task = Task::new(spec(Order::None), Partition(2), Arc::new(Stateless));
    let (mut batch, mut handler) = (OpenBatch::default(), Handler::default());
    let strange = Record { source: TopicPartition::new("retry.1s", 2), ..record("k", "a", 0) };
    let done = step(&mut task, &strange, &mut handler, &mut batch, 0);
    assert_eq!((&*done.writes[0].topic, header(&done.writes[0], "heddle.kind")), ("dlq", "decode"));
}

fn waits_in_state(bounds: WaitingBounds) -> (Task, Arc<Memory>) {
    let memory = Arc::new(Memory::default());
    (Task::new(spec(Order::Key(bounds)), Partition(2), memory.clone()), memory)
}

fn due(task: &mut Task, handler: &mut Handler, batch: &mut OpenBatch, now: i64) -> usize {
    let mut steps = 0;
    while let Some(arrival) = task.next_scheduled(batch, Timestamp(now)).unwrap() {
        let prepared = handler.prepare(arrival.record()).unwrap();
        task.step(&arrival, prepared, handler, batch, Timestamp(now)).unwrap();
        steps += 1;
    }
    steps
}

#[test]
fn later_records_of_a_key_wait_for_it_and_others_go_on() {
    let (mut task, memory) = waits_in_state(WaitingBounds::default());
    let mut handler = Handler { failing: vec!["a1"], rejecting: vec!["a2"], ..Handler::default() };
    let mut batch = OpenBatch::default();
    let records = [record("a", "a1", 0), record("b", "b1", 1), record("a", "a2", 2), record("a", "a3", 3)];
    let next = records.map(|record| step(&mut task, &record, &mut handler, &mut batch, 0).next);
    let waits = Next::Later(Timestamp(SECOND));
    assert_eq!((next, &handler.handled[..]), ([waits, Next::Done, waits, waits], &["b1#1".to_owned()][..]));
    memory.commit(batch);

    // Another host finds them in the state after a crash.
    let mut task = Task::new(spec(Order::Key(WaitingBounds::default())), Partition(2), memory.clone());
    let mut batch = OpenBatch::default();
    assert_eq!(due(&mut task, &mut handler, &mut batch, SECOND - 1), 0);
    assert_eq!(due(&mut task, &mut handler, &mut batch, SECOND), 1);
    assert_eq!(task.next_due(), Some(Timestamp(11 * SECOND)));
    // A dropped batch has no effect.
    task.forget();
    assert_eq!(due(&mut task, &mut handler, &mut OpenBatch::default(), 0), 0);
    assert_eq!(task.next_due(), Some(Timestamp(SECOND)));

    handler.failing.clear();
    let mut batch = OpenBatch::default();
    assert_eq!(due(&mut task, &mut handler, &mut batch, 2 * SECOND), 3);
    assert_eq!(handler.handled, ["b1#1", "a1#3", "a3#1"]);
    assert_eq!((batch.counts().again, batch.counts().handled, batch.counts().dead_lettered), (3, 2, 1));
    assert_eq!(batch.unanchored().collect::<Vec<_>>(), [Partition(2)]);
    memory.commit(batch);
    assert!(memory.0.lock().unwrap().is_empty());
    assert_eq!(step(&mut task, &record("a", "a4", 4), &mut handler, &mut OpenBatch::default(), 0).next, Next::Done);
}

#[test]
fn the_first_record_of_a_key_is_dead_lettered_at_last_and_the_next_is_tried() {
    let (mut task, _) = waits_in_state(WaitingBounds::default());
    let (mut batch, mut handler) = (OpenBatch::default(), Handler { failing: vec!["a1"], ..Handler::default() });
    for input in [record("a", "a1", 0), record("a", "a2", 1)] {
        step(&mut task, &input, &mut handler, &mut batch, 0);
    }
    assert_eq!(due(&mut task, &mut handler, &mut batch, SECOND), 1);
    assert_eq!(due(&mut task, &mut handler, &mut batch, 11 * SECOND), 2);
    assert_eq!((&handler.handled[..], batch.counts().dead_lettered), (&["a2#1".to_owned()][..], 1));
}

#[test]
fn a_record_without_room_is_held_or_dead_lettered() {
    for (when_full, expected) in [(WhenFull::Wait, Next::NoRoom(Timestamp(SECOND))), (WhenFull::DeadLetter, Next::Done)]
    {
        let (mut task, _) = waits_in_state(WaitingBounds { per_key_max: 2, per_task_max: 3, when_full });
        let (mut batch, mut handler) = (OpenBatch::default(), Handler { failing: vec!["a1"], ..Handler::default() });
        for input in [record("a", "a1", 0), record("a", "a2", 1)] {
            step(&mut task, &input, &mut handler, &mut batch, 0);
        }
        let full = step(&mut task, &record("a", "a3", 2), &mut handler, &mut batch, 0);
        assert_eq!(full.next, expected);
        let kinds = full.writes.iter().map(|letter| header(letter, "heddle.kind")).collect::<Vec<_>>();
        assert_eq!(kinds, if when_full == WhenFull::Wait { vec![] } else { vec!["crowded"] });
        assert_eq!(batch.counts().dead_lettered, u64::from(when_full == WhenFull::DeadLetter));
        assert_eq!(
            full.fault.map(|fault| fault.kind),
            (when_full == WhenFull::DeadLetter).then_some(EventFaultKind::Crowded)
        );
    }
}
