//! The content of one transaction. A batch changes its type on the way to its commit, so that a wrong order does not
//! compile:
//!
//! ```text
//!  OpenBatch ──seal──> SealedBatch ──confirmed──> CommittedBatch
//!  takes deliveries    its changelog is sent,     the log has confirmed: its writes
//!                      its positions committed    may become committed state
//! ```
//!
//! The tasks' overlays are part of the batch, so a dropped batch leaves no changes. While one batch is being committed,
//! the next one is open on top of it. If the commit fails, both are dropped.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::dedup::segments;
use crate::event::{Header, NewRecordRef, Offset, Partition, Record, Timestamp, Topic, TopicPartition};
use crate::failed::header;
use crate::state::Overlay;
use crate::task::TaskSpec;

/// The numbers of records in a batch, by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records taken from the input.
    pub records: u64,
    /// Parked records that were processed again.
    pub again: u64,
    /// Records whose handler succeeded.
    pub handled: u64,
    /// Records emitted.
    pub emitted: u64,
    /// Records that were parked, because they or an earlier record of their key failed.
    pub retried: u64,
    /// Records that were dead-lettered.
    pub dead_lettered: u64,
    /// Records that were skipped because their message was already processed.
    pub duplicates: u64,
    /// Records of tables. They are read with the input, but no handler gets them.
    pub applied: u64,
    /// The ones among `applied` whose key cannot be in their table.
    pub unfit: u64,
}

impl Counts {
    /// The number of records that handlers have to process, `records + again`. It always equals `handled + retried +
    /// dead_lettered + duplicates`.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.records + self.again
    }

    /// The number of all records, including those of tables.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.taken() + self.applied
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        let Self { records, again, handled, emitted, retried, dead_lettered, duplicates, applied, unfit } = other;
        self.records += records;
        self.again += again;
        self.handled += handled;
        self.emitted += emitted;
        self.retried += retried;
        self.dead_lettered += dead_lettered;
        self.duplicates += duplicates;
        self.applied += applied;
        self.unfit += unfit;
    }
}

/// The outcome of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Its handler succeeded and emitted this many records.
    Handled { emitted: u64 },
    /// It was parked.
    Retried,
    /// It was dead-lettered.
    DeadLettered,
    /// It was skipped.
    Duplicate,
    /// It went into its table, unless the table cannot have its key.
    Applied { fits: bool },
}

/// A batch that still takes deliveries.
#[derive(Debug, Default)]
pub struct OpenBatch {
    positions: BTreeMap<TopicPartition, Offset>,
    overlays: BTreeMap<Partition, Overlay>,
    /// The tasks that processed records from their state.
    unread: BTreeSet<Partition>,
    counts: Counts,
    /// The number of records that each task is expected to process.
    expected: usize,
}

impl OpenBatch {
    /// Creates the next batch, which is expected to have the same size.
    #[must_use]
    pub fn next(&self) -> Self {
        let each = self.counts.all() / (self.overlays.len() as u64).max(1);
        Self { expected: usize::try_from(each).unwrap_or(0), ..Self::default() }
    }

    /// The overlay with this transaction's changes to a task's state.
    pub(crate) fn overlay(&mut self, partition: Partition) -> &mut Overlay {
        self.overlays.entry(partition).or_insert_with(|| Overlay::with_room(self.expected))
    }

    /// Records the outcome of `record`, which came from the input or a retry topic.
    pub(crate) fn finish(&mut self, record: &Record, again: bool, ending: Ending) {
        let next = record.offset.next();
        if let Some(position) = self.positions.get_mut(&record.source) {
            debug_assert!(*position <= record.offset, "records of a partition come in order");
            *position = next;
        } else {
            self.positions.insert(record.source.clone(), next);
        }
        self.count(again, ending);
    }

    /// Records the outcome of a record from the task's schedule.
    pub(crate) fn finish_scheduled(&mut self, task: Partition, ending: Ending) {
        self.unread.insert(task);
        self.count(true, ending);
    }

    fn count(&mut self, again: bool, ending: Ending) {
        match ending {
            Ending::Applied { .. } => self.counts.applied += 1,
            _ if again => self.counts.again += 1,
            _ => self.counts.records += 1,
        }
        match ending {
            Ending::Applied { fits } => self.counts.unfit += u64::from(!fits),
            Ending::Handled { emitted } => {
                self.counts.handled += 1;
                self.counts.emitted += emitted;
            }
            Ending::Retried => self.counts.retried += 1,
            Ending::DeadLettered => self.counts.dead_lettered += 1,
            Ending::Duplicate => self.counts.duplicates += 1,
        }
    }

    /// Returns true if the batch has no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.all() == 0
    }

    /// The tasks that processed only records from their state, and so have no position in this batch. The commit needs
    /// a position of each. Otherwise the group could not refuse the commit of a member that has lost them.
    pub fn unanchored(&self) -> impl Iterator<Item = Partition> {
        let anchored = |number: &Partition| self.positions.keys().any(|source| source.partition == *number);
        self.unread.iter().copied().filter(move |number| !anchored(number))
    }

    /// Adds the current position of a partition, unless the batch already has one.
    pub fn anchor(&mut self, source: TopicPartition, position: Offset) {
        self.positions.entry(source).or_insert(position);
    }

    /// The number of records so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Closes the batch for its commit.
    pub fn seal(self) -> SealedBatch {
        let overlays = self.overlays.into_iter().map(|(partition, overlay)| (partition, Arc::new(overlay))).collect();
        SealedBatch { positions: self.positions.into_iter().collect(), overlays, counts: self.counts }
    }
}

/// A batch that is being committed.
#[derive(Debug)]
#[must_use = "a sealed batch is either committed or given up"]
pub struct SealedBatch {
    positions: Vec<(TopicPartition, Offset)>,
    overlays: BTreeMap<Partition, Arc<Overlay>>,
    counts: Counts,
}

impl SealedBatch {
    /// The group's positions after the commit.
    #[must_use]
    pub fn positions(&self) -> &[(TopicPartition, Offset)] {
        &self.positions
    }

    /// The number of records.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The changes to each task's state. The next batch already reads them, and is dropped with this one.
    pub fn overlays(&self) -> impl Iterator<Item = (Partition, &Arc<Overlay>)> {
        self.overlays.iter().map(|(partition, overlay)| (*partition, overlay))
    }

    /// The changelog records of this transaction: one for each store and key, and one for the message ids of each
    /// topic, each in its task's partition.
    pub fn changelog<'s>(&'s self, spec: &'s TaskSpec) -> impl Iterator<Item = ChangelogRecord<'s>> + 's {
        self.overlays.iter().flat_map(move |(partition, overlay)| {
            let partition = *partition;
            let writes = overlay.writes().filter_map(move |(store, key, value)| {
                let (topic, value) = (spec.changelog(store)?, value.as_ref().map(Cow::Borrowed));
                Some(ChangelogRecord { topic, partition, timestamp: overlay.at(), key, value, headers: vec![] })
            });
            let ids = spec.seen_changelog.iter().flat_map(move |changelog| {
                overlay.seen().topics().flat_map(move |(topic, ids)| {
                    // Without a timestamp, retention of this topic follows the log's clock, whatever clocks the
                    // producers have.
                    let record = move |segment| ChangelogRecord {
                        topic: changelog,
                        partition,
                        timestamp: None,
                        key: topic.as_bytes(),
                        value: Some(Cow::Owned(segment)),
                        headers: vec![],
                    };
                    segments(ids).into_iter().map(record)
                })
            });
            writes.chain(ids)
        })
    }

    /// Converts the batch after the log has confirmed its commit. `ends` has the offset after the transaction's last
    /// record in each partition that was addressed by number, which includes the changelogs.
    pub fn confirmed(self, ends: BTreeMap<TopicPartition, Offset>) -> CommittedBatch {
        let positions = self.positions.into_iter().collect();
        CommittedBatch { overlays: self.overlays, positions, ends, counts: self.counts }
    }
}

/// A record of a changelog. It borrows from the batch, which keeps its content until the log has confirmed the commit.
#[derive(Clone, Debug)]
pub struct ChangelogRecord<'s> {
    topic: &'s Topic,
    partition: Partition,
    timestamp: Option<Timestamp>,
    key: &'s [u8],
    value: Option<Cow<'s, Bytes>>,
    headers: Vec<Header>,
}

impl ChangelogRecord<'_> {
    /// Sets the timestamp to `now`, because the topic refuses the original one. A header keeps the original.
    pub fn at_other_time(&mut self, now: Timestamp) {
        let before = self.timestamp.replace(now);
        let header = |before: Timestamp| Header::new(header::TIMESTAMP, before.0.to_string());
        self.headers.extend(before.map(header));
    }

    /// The record to write.
    #[must_use]
    pub fn record(&self) -> NewRecordRef<'_> {
        NewRecordRef {
            topic: self.topic,
            partition: Some(self.partition),
            timestamp: self.timestamp,
            key: Some(self.key),
            value: self.value.as_deref().map(AsRef::as_ref),
            headers: &self.headers,
        }
    }
}

/// A batch that the log has confirmed.
#[derive(Debug)]
#[must_use = "the effects of a committed batch become state and are reported"]
pub struct CommittedBatch {
    overlays: BTreeMap<Partition, Arc<Overlay>>,
    positions: BTreeMap<TopicPartition, Offset>,
    ends: BTreeMap<TopicPartition, Offset>,
    counts: Counts,
}

impl CommittedBatch {
    /// The number of committed records.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The changes to each task's state.
    pub fn overlays(&self) -> impl Iterator<Item = (Partition, &Overlay)> {
        self.overlays.iter().map(|(partition, overlay)| (*partition, &**overlay))
    }

    /// Takes the changes to one task's state. They are not copied if the task has
    /// [settled](crate::task::Task::settled).
    pub fn take(&mut self, partition: Partition) -> Option<Overlay> {
        self.overlays.remove(&partition).map(Arc::unwrap_or_clone)
    }

    /// The group's position in a table's partition; `None` if the batch has no record of it.
    #[must_use]
    pub fn position(&self, table: &Topic, partition: Partition) -> Option<Offset> {
        self.positions.get(&TopicPartition { topic: table.clone(), partition }).copied()
    }

    /// The offset after the batch's last record in a changelog's partition; `None` if the batch wrote none there.
    #[must_use]
    pub fn end(&self, changelog: &Topic, partition: Partition) -> Option<Offset> {
        self.ends.get(&TopicPartition { topic: changelog.clone(), partition }).copied()
    }
}
