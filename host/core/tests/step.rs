//! The step as a worker uses it: a record goes in, writes and positions come out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use heddle_core::batch::OpenBatch;
use heddle_core::dedup::{MessageId, unpack};
use heddle_core::delivery::Delivery;
use heddle_core::effects::{Effects, Emit};
use heddle_core::event::{Header, NewRecord, Offset, Partition, Record, Timestamp, Topic, TopicPartition};
use heddle_core::failed::{history, own_headers};
use heddle_core::fault::{EventFault, EventFaultKind, Fault, TaskFault};
use heddle_core::policy::FailurePolicy;
use heddle_core::state::{Entry, Range, Reads, Stateless, StoreIndex, TaskState, Writes};
use heddle_core::tables::{TableKeys, TaskTable};
use heddle_core::task::{Dispatch, Next, Prepared, Step, Task, TaskSpec};

const NOW: Timestamp = Timestamp(1_767_225_600_000);

/// A handler that returns the results of the script, attempt by attempt. Messages are identified by their key.
struct Scripted(Vec<Result<Effects, EventFault>>);

impl Dispatch for Scripted {
    fn identify(&mut self, prepared: &Prepared<'_>) -> Result<Option<MessageId>, EventFault> {
        Ok(prepared.record.key.clone().map(MessageId))
    }

    fn dispatch(&mut self, _: &Prepared<'_>, delivery: &Delivery<'_>, _: Reads) -> Result<Effects, Fault> {
        self.0[delivery.attempt as usize - 1].clone().map_err(Fault::Event)
    }
}

fn spec() -> TaskSpec {
    TaskSpec {
        component: "shop.intake".into(),
        digest: Some("sha256:00ff".into()),
        policy: FailurePolicy::in_place(3, "shop.intake.dlq"),
        retry_topics: BTreeSet::new(),
        changelogs: vec!["shop.intake.stock".into(), "shop.intake.sums".into()],
        schedule: None,
        seen_changelog: Some("shop.intake.dedup".into()),
        tables: vec![],
        windows: BTreeMap::from([("orders.created".into(), Duration::from_secs(60))]),
    }
}

fn task_on(state: Arc<dyn TaskState>) -> Task {
    Task::new(Arc::new(spec()), Partition(2), state)
}

fn record(offset: i64) -> Record {
    Record {
        source: TopicPartition::new("orders.created", 2),
        offset: Offset(offset),
        timestamp: Timestamp(1_000),
        key: Some(Bytes::from_static(b"k")),
        value: Some(Bytes::from_static(b"\x00\x00")),
        headers: vec![
            Header::new("traceparent", "00-a-b-01"),
            Header { name: "h".into(), value: None },
            Header::new("h", "x"),
        ],
    }
}

fn emit(key: Option<&'static str>, cloudevents: bool) -> Emit {
    Emit {
        topic: "orders.accepted".into(),
        key: key.map(Bytes::from),
        value: Some(Bytes::from_static(b"v")),
        headers: Vec::new(),
        cloudevents,
    }
}

fn emits(emits: Vec<Emit>) -> Effects {
    Effects { emits, ..Effects::default() }
}

fn fault(kind: EventFaultKind) -> EventFault {
    EventFault::new(kind, "because")
}

fn run(answers: Vec<Result<Effects, EventFault>>) -> (Step, OpenBatch) {
    let mut batch = OpenBatch::default();
    let mut task = task_on(Arc::new(Stateless));
    let step = task.step_at_once(&record(7), &mut Scripted(answers), &mut batch, NOW).unwrap();
    (step, batch)
}

fn header<'a>(record: &'a NewRecord, name: &str) -> Option<&'a str> {
    let value = record.headers.iter().find(|header| header.name == name)?.value.as_ref()?;
    std::str::from_utf8(value).ok()
}

#[test]
fn emits_take_the_inputs_key_and_a_stable_id() {
    let effects = emits(vec![emit(None, false), emit(Some("own"), false)]);
    let (step, batch) = run(vec![Ok(effects)]);
    assert_eq!(step.fault, None);
    assert_eq!(step.writes[0].key.as_deref(), Some(&b"k"[..]));
    assert_eq!(step.writes[1].key.as_deref(), Some(&b"own"[..]));
    assert_eq!(header(&step.writes[0], "ce_id"), Some("shop.intake/orders.created/2/7/0"));
    assert_eq!(header(&step.writes[1], "ce_id"), Some("shop.intake/orders.created/2/7/1"));
    assert_eq!(header(&step.writes[0], "traceparent"), Some("00-a-b-01"));
    assert_eq!(header(&step.writes[0], "ce_source"), None);
    assert_eq!(batch.seal().positions(), [(TopicPartition::new("orders.created", 2), Offset(8))]);
}

#[test]
fn cloudevents_headers_are_written_where_asked_for() {
    let (step, _) = run(vec![Ok(emits(vec![emit(None, true)]))]);
    assert_eq!(header(&step.writes[0], "ce_specversion"), Some("1.0"));
    assert_eq!(header(&step.writes[0], "ce_source"), Some("/heddle/shop.intake"));
    assert_eq!(header(&step.writes[0], "ce_type"), Some("orders.accepted"));
}

#[test]
fn a_fault_that_may_pass_is_tried_again() {
    let (step, batch) = run(vec![Err(fault(EventFaultKind::Failed)), Ok(emits(vec![emit(None, false)]))]);
    assert_eq!(step.fault, None);
    assert_eq!(step.writes.len(), 1);
    assert_eq!((batch.counts().records, batch.counts().emitted, batch.counts().dead_lettered), (1, 1, 0));
}

#[test]
fn a_record_whose_attempts_all_fail_is_dead_lettered_whole() {
    let failed = || Err(fault(EventFaultKind::Failed));
    let (step, batch) = run(vec![failed(), failed(), failed()]);
    let input = record(7);
    let [letter] = step.writes.as_slice() else { panic!("one dead letter, not {:?}", step.writes) };
    assert_eq!(&*letter.topic, "shop.intake.dlq");
    assert_eq!((&letter.key, &letter.value), (&input.key, &input.value));
    assert_eq!(letter.headers[..3], input.headers[..]);
    assert_eq!(header(letter, "heddle.kind"), Some("failed"));
    assert_eq!(header(letter, "heddle.reason"), Some("because"));
    assert_eq!(header(letter, "heddle.topic"), Some("orders.created"));
    assert_eq!(header(letter, "heddle.partition"), Some("2"));
    assert_eq!(header(letter, "heddle.offset"), Some("7"));
    assert_eq!(header(letter, "heddle.attempts"), Some("3"));
    assert_eq!(header(letter, "heddle.component"), Some("shop.intake"));
    assert_eq!(header(letter, "heddle.digest"), Some("sha256:00ff"));
    assert_eq!(header(letter, "heddle.first-failure"), Some("2026-01-01T00:00:00.000Z"));
    assert_eq!(header(letter, "heddle.last-failure"), Some("2026-01-01T00:00:00.000Z"));
    assert_eq!(header(letter, "heddle.replays"), Some("0"));
    // The value is too short for an id, and the handler logged nothing.
    assert_eq!((header(letter, "heddle.schema-id"), header(letter, "heddle.log")), (None, None));
    assert_eq!(own_headers(&letter.headers), Some(3));
    assert_eq!(batch.counts().dead_lettered, 1);
    assert_eq!(batch.seal().positions()[0].1, Offset(8));
}

/// The dead letter of a record with these headers.
fn set_aside(headers: Vec<Header>) -> NewRecord {
    let record = Record { headers, value: Some(Bytes::from_static(b"\0\0\0\x01\x02rest")), ..record(7) };
    let fault = EventFault { log: "{}\n".to_owned(), ..fault(EventFaultKind::Rejected) };
    let (mut task, mut batch) = (task_on(Arc::new(Stateless)), OpenBatch::default());
    task.step_at_once(&record, &mut Scripted(vec![Err(fault)]), &mut batch, NOW).unwrap().writes.remove(0)
}

#[test]
fn a_replayed_record_that_fails_again_has_its_history_once() {
    let own = [Header::new("h", "x"), Header::new("heddle.topic", "of another component's letter")];
    let replayed = own.iter().cloned().chain(history("2025-12-24T00:00:00.000Z".into(), 2)).collect();
    let letter = set_aside(replayed);
    assert_eq!(own_headers(&letter.headers), Some(2));
    assert_eq!(letter.headers[..2], own[..]);
    let names = letter.headers[2..].iter().map(|header| header.name.trim_start_matches("heddle.")).collect::<Vec<_>>();
    let all =
        "topic partition offset kind reason attempts component digest schema-id first-failure last-failure replays log";
    assert_eq!(names.join(" "), all);
    assert_eq!(header(&letter, "heddle.first-failure"), Some("2025-12-24T00:00:00.000Z"));
    assert_eq!(header(&letter, "heddle.last-failure"), Some("2026-01-01T00:00:00.000Z"));
    assert_eq!((header(&letter, "heddle.replays"), header(&letter, "heddle.schema-id")), (Some("2"), Some("258")));
    assert_eq!(header(&letter, "heddle.log"), Some("{}\n"));
}

#[test]
fn a_fault_that_cannot_pass_is_not_tried_again() {
    let lasting = [
        EventFaultKind::Decode,
        EventFaultKind::NullValue,
        EventFaultKind::TooLarge,
        EventFaultKind::Rejected,
        EventFaultKind::Trap,
        EventFaultKind::Memory,
        EventFaultKind::Emit,
    ];
    for kind in lasting {
        let (step, _) = run(vec![Err(fault(kind))]);
        assert_eq!(header(&step.writes[0], "heddle.attempts"), Some("1"), "{kind}");
    }
}

/// Adds one to the number under the record's key in store 1, and deletes `gone` from store 0.
struct Counting;

impl Dispatch for Counting {
    fn identify(&mut self, prepared: &Prepared<'_>) -> Result<Option<MessageId>, EventFault> {
        Ok(prepared.record.value.clone().map(MessageId))
    }

    fn dispatch(&mut self, _: &Prepared<'_>, delivery: &Delivery<'_>, reads: Reads) -> Result<Effects, Fault> {
        let key = delivery.record.key.clone().unwrap();
        let n = reads.get(&Writes::new(), StoreIndex(1), &key)?.map_or(0, |n| n[0]);
        let writes = [((StoreIndex(1), key), Some(Bytes::from(vec![n + 1]))), ((StoreIndex(0), "gone".into()), None)];
        Ok(Effects { writes: writes.into(), ..Effects::default() })
    }
}

fn message(offset: i64, id: &'static str) -> Record {
    Record { value: Some(id.into()), offset: Offset(offset), timestamp: Timestamp(offset * 10), ..record(0) }
}

#[test]
fn a_transaction_reads_its_own_writes_and_writes_each_key_once() {
    let (mut task, mut batch) = (task_on(Arc::new(Stateless)), OpenBatch::default());
    for (offset, id) in [(1, "a"), (2, "b"), (3, "c")] {
        assert_eq!(task.step_at_once(&message(offset, id), &mut Counting, &mut batch, NOW).unwrap(), Step::default());
    }
    let sealed = batch.seal();
    let spec = spec();
    let written = sealed.changelog(&spec).map(|record| record.record().copied()).collect::<Vec<_>>();
    let entry = |record: &NewRecord| (record.topic.to_string(), record.key.clone().unwrap(), record.value.clone());
    assert_eq!(entry(&written[0]), ("shop.intake.stock".into(), "gone".into(), None));
    assert_eq!(entry(&written[1]), ("shop.intake.sums".into(), "k".into(), Some(vec![3].into())));
    assert!(written.iter().all(|record| record.partition == Some(Partition(2))));
    assert_eq!((written[1].timestamp, written[2].timestamp), (Some(Timestamp(30)), None));
    // All message ids of a topic are one record.
    assert_eq!((&*written[2].topic, written.len()), ("shop.intake.dedup", 3));
    assert_eq!(written[2].key.as_deref(), Some(&b"orders.created"[..]));
    let ids = unpack(written[2].value.clone().unwrap()).unwrap();
    let ids = ids.iter().map(|(id, at)| (&id.0[..], at.0)).collect::<Vec<_>>();
    assert_eq!(ids, [(&b"a"[..], 10), (b"b", 20), (b"c", 30)]);
    let ends = BTreeMap::from([(TopicPartition::new("shop.intake.sums", 2), Offset(40))]);
    let committed = sealed.confirmed(ends);
    assert_eq!(committed.end(&"shop.intake.sums".into(), Partition(2)), Some(Offset(40)));
    let (partition, overlay) = committed.overlays().next().unwrap();
    assert_eq!((partition, overlay.writes().count()), (Partition(2), 2));
}

/// Has seen the message `old`.
struct SawOld;

impl TaskState for SawOld {
    fn get(&self, _: StoreIndex, _: &[u8]) -> Result<Option<Bytes>, TaskFault> {
        Err(TaskFault("the disk is gone".to_owned()))
    }
    fn scan(&self, _: StoreIndex, _: &Range<'_>, _: usize) -> Result<Vec<Entry>, TaskFault> {
        Ok(vec![])
    }
    fn seen(&self, _: &Topic, id: &MessageId, _: Timestamp) -> Result<bool, TaskFault> {
        Ok(id.0 == "old")
    }
}

#[test]
fn a_message_that_was_handled_before_has_no_effect_and_its_offset_is_committed() {
    let (mut task, mut batch) = (task_on(Arc::new(SawOld)), OpenBatch::default());
    let mut handler = Scripted(vec![Ok(emits(vec![emit(None, false)]))]);
    let mut handle = |offset, key: &'static str| {
        let record = Record { key: Some(key.into()), offset: Offset(offset), ..record(0) };
        task.step_at_once(&record, &mut handler, &mut batch, NOW).unwrap().writes.len()
    };
    assert_eq!((handle(1, "old"), handle(2, "new"), handle(3, "new")), (0, 1, 0));
    assert_eq!((batch.counts().records, batch.counts().duplicates, batch.counts().emitted), (3, 2, 1));
    assert_eq!(batch.seal().positions()[0].1, Offset(4));
}

#[test]
fn a_dead_lettered_message_is_handled_when_it_arrives_again() {
    let (mut task, mut batch) = (task_on(Arc::new(Stateless)), OpenBatch::default());
    let rejected =
        task.step_at_once(&record(1), &mut Scripted(vec![Err(fault(EventFaultKind::Rejected))]), &mut batch, NOW);
    assert_eq!(rejected.unwrap().fault, Some(fault(EventFaultKind::Rejected)));
    let again = task.step_at_once(&record(2), &mut Scripted(vec![Ok(emits(vec![emit(None, false)]))]), &mut batch, NOW);
    assert_eq!(again.unwrap().writes.len(), 1);
    assert_eq!(batch.counts().duplicates, 0);
}

#[test]
fn unreadable_state_is_not_the_records_fault() {
    let (mut task, mut batch) = (task_on(Arc::new(SawOld)), OpenBatch::default());
    let fault = task.step_at_once(&message(1, "a"), &mut Counting, &mut batch, NOW).unwrap_err();
    assert_eq!(fault.to_string(), "the state of the task cannot be read: the disk is gone");
    assert!(batch.is_empty());
}

#[test]
fn a_record_of_a_table_is_a_write_that_no_handler_and_no_changelog_gets() {
    let index = StoreIndex::table(1);
    let table = TaskTable { index, topic: "products".into(), keys: TableKeys::BySchema };
    let spec = Arc::new(TaskSpec { tables: vec![table], ..spec() });
    let mut task = Task::new(spec.clone(), Partition(2), Arc::new(Stateless));
    let mut batch = OpenBatch::default();
    let mut apply = |offset, key: Option<&'static [u8]>, value: Option<&'static str>| {
        let source = TopicPartition::new("products", 2);
        let (key, value) = (key.map(Bytes::from_static), value.map(Bytes::from));
        let record = Record { source, offset: Offset(offset), key, value, ..record(0) };
        let step = task.step_at_once(&record, &mut Scripted(vec![]), &mut batch, NOW).unwrap();
        assert_eq!(step, Step { next: Next::Applied, ..Step::default() });
    };
    apply(3, Some(b"\0\0\0\0\x01p1"), Some("old"));
    apply(5, Some(b"\0\0\0\0\x02p1"), Some("new"));
    apply(6, Some(b"\0\0\0\0\x01p2"), None);
    apply(8, None, Some("nobody's"));
    apply(9, Some(b"p3"), Some("not by a schema"));
    let counts = batch.counts();
    assert_eq!((counts.applied, counts.unfit, counts.taken(), counts.all()), (5, 2, 0, 5));
    assert!(!batch.is_empty());
    let sealed = batch.seal();
    assert_eq!(sealed.positions(), [(TopicPartition::new("products", 2), Offset(10))]);
    assert_eq!(sealed.changelog(&spec).count(), 0);
    let committed = sealed.confirmed(BTreeMap::new());
    let written = committed.overlays().flat_map(|(_, overlay)| overlay.writes());
    let written = written.map(|(store, key, value)| (store, key.clone(), value.clone())).collect::<Vec<_>>();
    let entry = |key: &'static str, value: Option<&'static str>| (index, Bytes::from(key), value.map(Bytes::from));
    assert_eq!(written, [entry("p1", Some("new")), entry("p2", None)]);
    assert_eq!(committed.position(&"products".into(), Partition(2)), Some(Offset(10)));
    assert_eq!(committed.position(&"orders.created".into(), Partition(2)), None);
}
