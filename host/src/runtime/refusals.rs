//! Records whose effects the log refused, with the reasons: they fail, until that is committed.
//!
//! ```text
//!  refused ──> ahead ──stepped──> open ──committing──> being committed ──settled──> forgotten
//!                ^                  │                        │
//!                └───── given up ───┴────────────────────────┘
//! ```
//!
//! All of them: with the last one alone, two in one transaction would take turns in being refused, for ever.

use std::collections::BTreeMap;

use heddle_core::event::{Offset, Record, TopicPartition};

/// What the log refused of one worker.
#[derive(Default)]
pub(super) struct Refusals {
    by_source: BTreeMap<TopicPartition, BTreeMap<Offset, Refusal>>,
}

struct Refusal {
    why: String,
    stage: Stage,
}

/// Where the failure is that a refusal leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// In no batch: the record was not stepped again, or waits for another attempt.
    Ahead,
    Open,
    Committing,
}

impl Refusals {
    /// Why the effects of this record were refused, if they were.
    pub(super) fn of(&self, record: &Record) -> Option<&str> {
        Some(&self.by_source.get(&record.source)?.get(&record.offset)?.why)
    }

    /// The log does not take what the handler emits for this record.
    pub(super) fn refuse(&mut self, source: &TopicPartition, offset: Offset, why: &str) {
        let refusal = Refusal { why: why.to_owned(), stage: Stage::Ahead };
        self.by_source.entry(source.clone()).or_default().insert(offset, refusal);
    }

    /// What became of this record is in the open batch.
    pub(super) fn stepped(&mut self, record: &Record) {
        let refusals = self.by_source.get_mut(&record.source);
        if let Some(refusal) = refusals.and_then(|refusals| refusals.get_mut(&record.offset)) {
            refusal.stage = Stage::Open;
        }
    }

    /// The open batch is being committed.
    pub(super) fn committing(&mut self) {
        self.each(|refusal| {
            if refusal.stage == Stage::Open {
                refusal.stage = Stage::Committing;
            }
        });
    }

    /// That commit is through: what is in it has been dealt with.
    pub(super) fn settled(&mut self) {
        self.by_source.retain(|_, refusals| {
            refusals.retain(|_, refusal| refusal.stage != Stage::Committing);
            !refusals.is_empty()
        });
    }

    /// What is not committed was given up, and is stepped again.
    pub(super) fn given_up(&mut self) {
        self.each(|refusal| refusal.stage = Stage::Ahead);
    }

    /// Somebody else steps the records of these partitions, and finds out by himself.
    pub(super) fn let_go(&mut self, partitions: &[TopicPartition]) {
        self.by_source.retain(|source, _| !partitions.contains(source));
    }

    fn each(&mut self, change: impl FnMut(&mut Refusal)) {
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

    fn refuse(refusals: &mut Refusals, record: &Record) {
        refusals.refuse(&record.source, record.offset, "too large");
    }

    #[test]
    fn a_record_fails_until_its_failure_is_committed() {
        let (one, other) = (record(0, 5), record(0, 6));
        let mut refusals = Refusals::default();
        refuse(&mut refusals, &one);
        assert_eq!((refusals.of(&one), refusals.of(&other)), (Some("too large"), None));
        // The commit of a batch in which it is not: before it was stepped, and while it is in the next one.
        refusals.committing();
        refusals.settled();
        refusals.committing();
        refusals.stepped(&one);
        refusals.settled();
        assert_eq!(refusals.of(&one), Some("too large"));
        refuse(&mut refusals, &other);
        refusals.committing();
        refusals.settled();
        assert_eq!((refusals.of(&one), refusals.of(&other)), (None, Some("too large")));
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
        assert_eq!(refusals.of(&one), Some("too large"));
    }

    #[test]
    fn what_went_to_another_member_is_his() {
        let (here, there) = (record(0, 5), record(1, 5));
        let mut refusals = Refusals::default();
        refuse(&mut refusals, &here);
        refuse(&mut refusals, &there);
        refusals.let_go(std::slice::from_ref(&there.source));
        assert_eq!((refusals.of(&here), refusals.of(&there)), (Some("too large"), None));
    }
}
