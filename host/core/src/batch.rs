//! What one transaction takes along. The type changes as the batch gets safer, so a commit's order cannot be written wrong:
//!
//! ```text
//!  OpenBatch ──seal──> SealedBatch ──confirmed──> CommittedBatch
//!  takes deliveries    only read, by the commit   the log has said yes: committed state may follow
//! ```

use std::collections::BTreeMap;

use crate::event::{Offset, Record, TopicPartition};

/// How many deliveries of a batch ended which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records taken from the input.
    pub records: u64,
    /// Records emitted.
    pub emitted: u64,
    /// Records set aside in the dead-letter topic.
    pub dead_lettered: u64,
}

/// A batch that still takes deliveries.
#[derive(Debug, Default)]
pub struct OpenBatch {
    positions: BTreeMap<TopicPartition, Offset>,
    counts: Counts,
}

impl OpenBatch {
    /// Notes that `record` is done with, having written `emitted` records, or having been set aside.
    pub(crate) fn finish(&mut self, record: &Record, emitted: u64, dead_lettered: bool) {
        let next = record.offset.next();
        if let Some(position) = self.positions.get_mut(&record.source) {
            debug_assert!(*position <= record.offset, "records of a partition come in order");
            *position = next;
        } else {
            self.positions.insert(record.source.clone(), next);
        }
        self.counts.records += 1;
        self.counts.emitted += emitted;
        self.counts.dead_lettered += u64::from(dead_lettered);
    }

    /// Whether nothing happened yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// How many records it holds so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Closes the batch for its commit.
    pub fn seal(self) -> SealedBatch {
        SealedBatch { positions: self.positions.into_iter().collect(), counts: self.counts }
    }
}

/// A batch whose commit is under way.
#[derive(Debug)]
#[must_use = "a sealed batch is either committed or given up"]
pub struct SealedBatch {
    positions: Vec<(TopicPartition, Offset)>,
    counts: Counts,
}

impl SealedBatch {
    /// Where the group goes on once this batch is committed.
    #[must_use]
    pub fn positions(&self) -> &[(TopicPartition, Offset)] {
        &self.positions
    }

    /// Call when, and only when, the log confirmed the commit.
    pub fn confirmed(self) -> CommittedBatch {
        CommittedBatch { counts: self.counts }
    }
}

/// A batch that the log has confirmed.
#[derive(Debug)]
#[must_use = "what was committed is to be told"]
pub struct CommittedBatch {
    counts: Counts,
}

impl CommittedBatch {
    /// What was committed.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }
}
