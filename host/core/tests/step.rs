//! The step as the worker sees it: a record goes in, writes and positions come out.

use bytes::Bytes;
use heddle_core::batch::OpenBatch;
use heddle_core::delivery::Delivery;
use heddle_core::effects::{Effects, Emit};
use heddle_core::event::{Header, NewRecord, Offset, Record, Timestamp, TopicPartition};
use heddle_core::fault::{EventFault, EventFaultKind};
use heddle_core::policy::FailurePolicy;
use heddle_core::task::{Dispatch, Step, Task};

/// A handler that answers what the script says, attempt by attempt.
struct Scripted(Vec<Result<Effects, EventFault>>);

impl Dispatch for Scripted {
    fn dispatch(&mut self, delivery: &Delivery<'_>) -> Result<Effects, EventFault> {
        self.0[delivery.attempt as usize - 1].clone()
    }
}

fn task() -> Task {
    Task {
        component: "shop.intake".into(),
        policy: FailurePolicy { attempts_max: 3, dead_letter: "shop.intake.dlq".into() },
    }
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
        value: Bytes::from_static(b"v"),
        headers: Vec::new(),
        cloudevents,
    }
}

fn fault(kind: EventFaultKind) -> EventFault {
    EventFault::new(kind, "because")
}

fn run(answers: Vec<Result<Effects, EventFault>>) -> (Step, OpenBatch) {
    let mut batch = OpenBatch::default();
    let step = task().step(&record(7), &mut Scripted(answers), &mut batch);
    (step, batch)
}

fn header<'a>(record: &'a NewRecord, name: &str) -> Option<&'a str> {
    let value = record.headers.iter().find(|header| header.name == name)?.value.as_ref()?;
    std::str::from_utf8(value).ok()
}

#[test]
fn emits_take_the_inputs_key_and_a_stable_id() {
    let effects = Effects { emits: vec![emit(None, false), emit(Some("own"), false)] };
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
    let (step, _) = run(vec![Ok(Effects { emits: vec![emit(None, true)] })]);
    assert_eq!(header(&step.writes[0], "ce_specversion"), Some("1.0"));
    assert_eq!(header(&step.writes[0], "ce_source"), Some("/heddle/shop.intake"));
    assert_eq!(header(&step.writes[0], "ce_type"), Some("orders.accepted"));
}

#[test]
fn a_fault_that_may_pass_is_tried_again() {
    let (step, batch) = run(vec![Err(fault(EventFaultKind::Failed)), Ok(Effects { emits: vec![emit(None, false)] })]);
    assert_eq!(step.fault, None);
    assert_eq!(step.writes.len(), 1);
    assert_eq!((batch.counts().records, batch.counts().emitted, batch.counts().dead_lettered), (1, 1, 0));
}

#[test]
fn a_record_that_no_attempt_gets_through_is_set_aside_whole() {
    let failed = || Err(fault(EventFaultKind::Failed));
    let (step, batch) = run(vec![failed(), failed(), failed()]);
    let input = record(7);
    let [letter] = step.writes.as_slice() else { panic!("one dead letter, not {:?}", step.writes) };
    assert_eq!(&*letter.topic, "shop.intake.dlq");
    assert_eq!((&letter.key, &letter.value), (&input.key, &input.value));
    assert_eq!(letter.headers[..3], input.headers[..]);
    assert_eq!(header(letter, "heddle-reason"), Some("failed"));
    assert_eq!(header(letter, "heddle-detail"), Some("because"));
    assert_eq!(header(letter, "heddle-topic"), Some("orders.created"));
    assert_eq!(header(letter, "heddle-partition"), Some("2"));
    assert_eq!(header(letter, "heddle-offset"), Some("7"));
    assert_eq!(header(letter, "heddle-attempts"), Some("3"));
    assert_eq!(batch.counts().dead_lettered, 1);
    assert_eq!(batch.seal().positions()[0].1, Offset(8));
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
        assert_eq!(header(&step.writes[0], "heddle-attempts"), Some("1"), "{kind}");
    }
}
