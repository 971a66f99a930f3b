//! Records that the log refuses: the delivery fails, and its record is dead-lettered in some form or blocks its task.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use heddle_core::batch::OpenBatch;
use heddle_core::dedup::MessageId;
use heddle_core::delivery::Delivery;
use heddle_core::effects::{Effects, Emit};
use heddle_core::event::{Header, NewRecord, NewRecordRef, Offset, Partition, Record, Timestamp, TopicPartition};
use heddle_core::failed::{REDUCED_PART_BYTES_MAX, is_reduced};
use heddle_core::fault::{EventFault, EventFaultKind, Fault};
use heddle_core::policy::{FailurePolicy, Retry};
use heddle_core::state::{Reads, Stateless, StoreIndex};
use heddle_core::task::{Dispatch, Form, Next, Prepared, Step, Task, TaskSpec, Verdict};

const NOW: Timestamp = Timestamp(1_767_225_600_000);

/// Emits one record and writes one entry, or fails. The log's verdict on each form of record is configured here.
#[derive(Default)]
struct Refused {
    fails: Option<EventFaultKind>,
    verdicts: BTreeMap<Form, Verdict>,
    asked: Vec<(Form, String)>,
}

impl Dispatch for Refused {
    fn identify(&mut self, _: &Prepared<'_>) -> Result<Option<MessageId>, EventFault> {
        Ok(None)
    }

    fn dispatch(&mut self, _: &Prepared<'_>, _: &Delivery<'_>, _: Reads) -> Result<Effects, Fault> {
        if let Some(kind) = self.fails {
            return Err(EventFault::new(kind, "because").into());
        }
        let emit =
            Emit { topic: "out".into(), key: None, value: Some("v".into()), headers: vec![], cloudevents: false };
        let writes = [((StoreIndex(0), Bytes::from_static(b"k")), Some(Bytes::from_static(b"v")))];
        Ok(Effects { emits: vec![emit], writes: writes.into() })
    }

    fn judge(&mut self, _: &Record, record: NewRecordRef<'_>, form: Form, now: Timestamp) -> Verdict {
        assert_eq!(now, NOW);
        self.asked.push((form, record.topic.to_string()));
        self.verdicts.get(&form).cloned().unwrap_or(Verdict::Takes)
    }
}

fn refusing(forms: &[Form]) -> Refused {
    let why = |form: &Form| (*form, Verdict::Refuses(format!("no {form:?}")));
    Refused { verdicts: forms.iter().map(why).collect(), ..Refused::default() }
}

fn record() -> Record {
    Record {
        source: TopicPartition::new("in", 2),
        offset: Offset(7),
        timestamp: Timestamp(1_000),
        key: None,
        value: Some(vec![b'x'; 5_000].into()),
        headers: vec![Header::new("h", vec![b'y'; 9_000])],
    }
}

fn run(handler: &mut Refused) -> (Step, OpenBatch) {
    let mut policy = FailurePolicy::in_place(1, "dlq");
    policy.retries = vec![Retry { delay: Duration::from_secs(1), topic: "retry".into() }];
    let mut spec = TaskSpec::stateless("shop.intake".into(), policy);
    spec.changelogs = vec!["shop.intake.sums".into()];
    let mut task = Task::new(Arc::new(spec), Partition(2), Arc::new(Stateless));
    let mut batch = OpenBatch::default();
    let step = task.step_at_once(&record(), handler, &mut batch, NOW).unwrap();
    (step, batch)
}

fn header(record: &NewRecord, name: &str) -> String {
    let value = record.headers.iter().find(|header| header.name == name).and_then(|header| header.value.clone());
    String::from_utf8(value.unwrap_or_default().to_vec()).unwrap()
}

#[test]
fn an_emit_or_an_entry_that_is_refused_fails_its_delivery() {
    for (form, kind) in [(Form::Emit, "emit"), (Form::Changelog, "state")] {
        let (step, batch) = run(&mut refusing(&[form]));
        assert_eq!((step.writes.len(), &*step.writes[0].topic, step.next), (1, "dlq", Next::Done));
        assert_eq!(header(&step.writes[0], "heddle.kind"), kind);
        assert_eq!(header(&step.writes[0], "heddle.reason"), format!("no {form:?}"));
        assert_eq!((step.writes[0].value.clone(), batch.counts().dead_lettered), (record().value, 1));
        assert_eq!(batch.seal().overlays().count(), 1, "read, and not written");
    }
    let mut all = Refused::default();
    let (step, batch) = run(&mut all);
    assert_eq!((step.fault, batch.counts().emitted), (None, 1));
    let asked = [(Form::Emit, "out"), (Form::Changelog, "shop.intake.sums")];
    assert_eq!(all.asked, asked.map(|(form, topic)| (form, topic.to_owned())));
}

#[test]
fn a_timestamp_that_is_refused_becomes_the_hosts_and_goes_into_a_header() {
    for (form, fails) in [(Form::Emit, None), (Form::Letter, Some(EventFaultKind::Rejected))] {
        let verdicts = BTreeMap::from([(form, Verdict::OtherTime)]);
        let (step, _) = run(&mut Refused { fails, verdicts, ..Refused::default() });
        let written = &step.writes[0];
        assert_eq!((written.timestamp, &*header(written, "heddle.timestamp")), (Some(NOW), "1000"));
        assert!(!is_reduced(&written.headers));
    }
}

#[test]
fn a_record_that_cannot_be_parked_is_dead_lettered() {
    let fails = Some(EventFaultKind::Failed);
    let (step, _) = run(&mut Refused { fails, ..Refused::default() });
    assert_eq!(&*step.writes[0].topic, "retry");
    let (step, _) = run(&mut Refused { fails, ..refusing(&[Form::Retry]) });
    assert_eq!((&*step.writes[0].topic, step.next), ("dlq", Next::Done));
    assert_eq!(header(&step.writes[0], "heddle.kind"), "failed");
}

#[test]
fn a_letter_that_is_refused_is_reduced_to_what_any_topic_takes() {
    let fails = Some(EventFaultKind::Rejected);
    let (step, batch) = run(&mut Refused { fails, ..refusing(&[Form::Letter]) });
    let letter = &step.writes[0];
    assert!(is_reduced(&letter.headers));
    assert_eq!((letter.timestamp, letter.key.as_deref()), (Some(NOW), Some(&b"in/2@7"[..])));
    assert_eq!(letter.value.as_ref().map(Bytes::len), Some(REDUCED_PART_BYTES_MAX));
    let told = ["reduced", "value-bytes", "headers", "timestamp", "kind", "offset", "key-bytes"];
    let told = told.map(|name| header(letter, &format!("heddle.{name}")));
    assert_eq!(told, ["no Letter", "5000", "1", "1000", "rejected", "7", ""]);
    assert_eq!(header(letter, "heddle.value-sha256").len(), 64);
    let size = heddle_core::limits::batch_bytes(letter.borrowed());
    assert!(size < 3_000, "{size} bytes");
    assert_eq!(batch.counts().dead_lettered, 1);
}

#[test]
fn a_record_of_which_nothing_can_be_written_leaves_no_trace() {
    let fails = Some(EventFaultKind::Rejected);
    let (step, batch) = run(&mut Refused { fails, ..refusing(&[Form::Letter, Form::ReducedLetter]) });
    assert_eq!((step.next, step.writes.len(), batch.is_empty()), (Next::Stuck, 0, true));
    let told = step.fault.unwrap().to_string();
    assert!(told.contains("rejected: because") && told.contains("no ReducedLetter"), "{told}");
}
