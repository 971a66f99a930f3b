//! The records that the log refused. A repeated delivery takes its refusals into account, until its outcome is
//! committed.
//!
//! ```text
//!  refused ──> ahead ──stepped──> open ──begin commit──> committing ──committed──> forgotten
//!                ^                  │                         │
//!                └─── dropped ──────┴─────────────────────────┘
//! ```
//!
//! All refusals are kept. With the last one alone, two records in one transaction would be refused in turn, forever. A
//! refusal applies to records of as many bytes or more. A delivery may depend on state that another one wrote. If that
//! write is refused, the delivery's own record may become smaller and fit.

use std::collections::BTreeMap;

use heddle_core::event::{Offset, Record, Topic, TopicPartition};
use heddle_core::task::{Form, Verdict};

/// The refusals of one worker's records.
#[derive(Default)]
pub(super) struct Refusals {
    by_source: BTreeMap<TopicPartition, BTreeMap<Offset, Refused>>,
}

/// One record that the log refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The topic of the record. `None` stands for any topic, because it is not known.
    pub(super) topic: Option<Topic>,
    pub(super) form: Form,
    pub(super) why: String,
    /// The size of key and value in bytes. `None` stands for any size, because it is not known.
    pub(super) bytes: Option<usize>,
    /// True if only the timestamp is refused.
    pub(super) timestamp: bool,
}

/// The refusals of one delivery.
struct Refused {
    refusals: Vec<Known>,
    stage: Stage,
}

struct Known {
    refusal: Refusal,
    /// True if another timestamp was tried.
    tried: bool,
}

impl Known {
    fn is_about(&self, topic: &Topic, form: Form) -> bool {
        self.refusal.form == form && self.refusal.topic.as_ref().is_none_or(|refused| refused == topic)
    }
}

/// The stage of the delivery that a refusal affects.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// In no batch: the record was not stepped again, or is held for another attempt.
    Ahead,
    Open,
    Committing,
}

impl Refusals {
    /// The verdict on a record that the delivery of `of` sends, by the earlier refusals of that delivery. `bytes` is
    /// the size of its key and value.
    pub(super) fn verdict(&self, of: &Record, topic: &Topic, form: Form, bytes: usize) -> Option<Verdict> {
        let Known { refusal, .. } = self.of(of)?.refusals.iter().find(|known| known.is_about(topic, form))?;
        if !refusal.timestamp && refusal.bytes.is_some_and(|refused| bytes < refused) {
            return None;
        }
        Some(if refusal.timestamp { Verdict::OtherTime } else { Verdict::Refuses(refusal.why.clone()) })
    }

    /// Marks a refusal as one of the timestamp, because the topic does not accept the record's timestamp. A broker that
    /// refuses several records of a batch does not give a reason for each. Returns false if another timestamp was tried
    /// without success.
    pub(super) fn may_be_time(&mut self, of: &Record, topic: &Topic, form: Form) -> bool {
        let refused = self.by_source.get_mut(&of.source).and_then(|refused| refused.get_mut(&of.offset));
        let known = refused.and_then(|refused| refused.refusals.iter_mut().find(|known| known.is_about(topic, form)));
        let Some(known) = known.filter(|known| !known.tried) else { return false };
        known.refusal.timestamp = true;
        true
    }

    /// The reason why the delivery's state changes were refused, if they were.
    pub(super) fn state(&self, of: &Record) -> Option<&str> {
        let about = |refusal: &&Refusal| refusal.form == Form::Changelog && !refusal.timestamp;
        Some(&self.of(of)?.refusals.iter().map(|known| &known.refusal).find(about)?.why)
    }

    fn of(&self, record: &Record) -> Option<&Refused> {
        // Called for every record. There are rarely any refusals.
        if self.by_source.is_empty() {
            return None;
        }
        self.by_source.get(&record.source)?.get(&record.offset)
    }

    /// Records a refusal for this delivery. Returns false if it was known.
    pub(super) fn refuse(&mut self, source: &TopicPartition, offset: Offset, refusal: Refusal) -> bool {
        let of_source = self.by_source.entry(source.clone()).or_default();
        let refused = of_source.entry(offset).or_insert_with(|| Refused { refusals: vec![], stage: Stage::Ahead });
        refused.stage = Stage::Ahead;
        let same = |known: &&mut Known| (known.refusal.form, &known.refusal.topic) == (refusal.form, &refusal.topic);
        match refused.refusals.iter_mut().find(same) {
            // Another timestamp was tried without success.
            Some(known) if known.refusal.timestamp => {
                *known = Known { refusal: Refusal { timestamp: false, ..refusal }, tried: true };
                true
            }
            // A smaller record was refused, too.
            Some(Known { refusal: known, .. }) if refusal.bytes.is_some() && refusal.bytes < known.bytes => {
                *known = refusal;
                true
            }
            Some(_) => false,
            None => {
                refused.refusals.push(Known { refusal, tried: false });
                true
            }
        }
    }

    /// Forgets the refusals of a delivery, so that everything is tried again.
    pub(super) fn forget(&mut self, record: &Record) {
        if let Some(refused) = self.by_source.get_mut(&record.source) {
            refused.remove(&record.offset);
        }
    }

    /// Records that the open batch has the outcome of this record.
    pub(super) fn stepped(&mut self, record: &Record) {
        let refused = self.by_source.get_mut(&record.source);
        if let Some(refused) = refused.and_then(|refused| refused.get_mut(&record.offset)) {
            refused.stage = Stage::Open;
        }
    }

    /// Records that the commit of the open batch has begun.
    pub(super) fn committing(&mut self) {
        self.each(|refused| {
            if refused.stage == Stage::Open {
                refused.stage = Stage::Committing;
            }
        });
    }

    /// Forgets the refusals whose outcome was committed.
    pub(super) fn settled(&mut self) {
        self.by_source.retain(|_, refused| {
            refused.retain(|_, refused| refused.stage != Stage::Committing);
            !refused.is_empty()
        });
    }

    /// Records that the batches were dropped. Their records will be stepped again.
    pub(super) fn given_up(&mut self) {
        self.each(|refused| refused.stage = Stage::Ahead);
    }

    /// Forgets the refusals of partitions that were revoked or lost. Their new owner learns of refusals from the log.
    pub(super) fn let_go(&mut self, partitions: &[TopicPartition]) {
        self.by_source.retain(|source, _| !partitions.contains(source));
    }

    fn each(&mut self, change: impl FnMut(&mut Refused)) {
        self.by_source.values_mut().flat_map(BTreeMap::values_mut).for_each(change);
    }
}

#[cfg(test)]
mod tests {
    use heddle_core::event::Timestamp;

    use super::*;

    fn record(partition: i32, offset: i64) -> Record {
        let source = TopicPartition::new("orders", partition);
        Record { source, offset: Offset(offset), timestamp: Timestamp(0), key: None, value: None, headers: vec![] }
    }

    fn refusal(form: Form, timestamp: bool) -> Refusal {
        Refusal { topic: Some("out".into()), form, why: "too large".to_owned(), bytes: None, timestamp }
    }

    fn refuse(refusals: &mut Refusals, record: &Record) -> bool {
        refusals.refuse(&record.source, record.offset, refusal(Form::Emit, false))
    }

    fn is_refused(refusals: &Refusals, record: &Record) -> bool {
        refusals.verdict(record, &"out".into(), Form::Emit, 10).is_some()
    }

    #[test]
    fn a_record_fails_until_its_failure_is_committed() {
        let (one, other) = (record(0, 5), record(0, 6));
        let mut refusals = Refusals::default();
        refuse(&mut refusals, &one);
        assert!(is_refused(&refusals, &one) && !is_refused(&refusals, &other));
        // Commits of batches without the record: one before it was stepped, one while it is in the next batch.
        refusals.committing();
        refusals.settled();
        refusals.committing();
        refusals.stepped(&one);
        refusals.settled();
        assert!(is_refused(&refusals, &one));
        refuse(&mut refusals, &other);
        refusals.committing();
        refusals.settled();
        assert!(!is_refused(&refusals, &one) && is_refused(&refusals, &other));
    }

    #[test]
    fn one_that_was_given_up_fails_again() {
        let one = record(0, 5);
        let mut refusals = Refusals::default();
        refuse(&mut refusals, &one);
        refusals.stepped(&one);
        refusals.committing();
        refusals.given_up();
        refusals.committing();
        refusals.settled();
        assert!(is_refused(&refusals, &one));
    }

    #[test]
    fn refusals_of_a_revoked_partition_are_forgotten() {
        let (here, there) = (record(0, 5), record(1, 5));
        let mut refusals = Refusals::default();
        refuse(&mut refusals, &here);
        refuse(&mut refusals, &there);
        refusals.let_go(std::slice::from_ref(&there.source));
        assert!(is_refused(&refusals, &here) && !is_refused(&refusals, &there));
    }

    #[test]
    fn another_timestamp_is_tried_once() {
        let one = record(0, 5);
        let mut refusals = Refusals::default();
        let refuse = |refusals: &mut Refusals| refusals.refuse(&one.source, one.offset, refusal(Form::Letter, true));
        let verdict = |refusals: &Refusals, form| refusals.verdict(&one, &"out".into(), form, 10);
        assert!(refuse(&mut refusals));
        assert_eq!(verdict(&refusals, Form::Letter), Some(Verdict::OtherTime));
        assert_eq!((verdict(&refusals, Form::Emit), refusals.state(&one)), (None, None));
        assert!(refuse(&mut refusals));
        assert_eq!(verdict(&refusals, Form::Letter), Some(Verdict::Refuses("too large".to_owned())));
        assert!(!refuse(&mut refusals), "it is known");
        assert!(!refusals.may_be_time(&one, &"out".into(), Form::Letter), "it was tried");
        refusals.refuse(&one.source, one.offset, refusal(Form::Emit, false));
        assert!(refusals.may_be_time(&one, &"out".into(), Form::Emit));
        assert_eq!(verdict(&refusals, Form::Emit), Some(Verdict::OtherTime));
        refusals.forget(&one);
        assert_eq!(verdict(&refusals, Form::Letter), None);
    }

    #[test]
    fn a_record_that_has_become_smaller_may_be_taken() {
        let one = record(0, 5);
        let mut refusals = Refusals::default();
        let refusal = |bytes| Refusal { bytes: Some(bytes), ..refusal(Form::Emit, false) };
        let refuse = |refusals: &mut Refusals, bytes| refusals.refuse(&one.source, one.offset, refusal(bytes));
        let is_refused =
            |refusals: &Refusals, bytes| refusals.verdict(&one, &"out".into(), Form::Emit, bytes).is_some();
        assert!(refuse(&mut refusals, 100));
        assert_eq!([99, 100, 101].map(|bytes| is_refused(&refusals, bytes)), [false, true, true]);
        assert!(refuse(&mut refusals, 50), "that is new");
        assert!(!refuse(&mut refusals, 50) && !refuse(&mut refusals, 60), "it is known");
        assert_eq!([49, 50].map(|bytes| is_refused(&refusals, bytes)), [false, true]);
    }
}
