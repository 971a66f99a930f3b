//! What one transaction takes along. The type changes as the batch gets safer, so a commit's order cannot be written
//! wrong:
//!
//! ```text
//!  OpenBatch ──seal──> SealedBatch ──confirmed──> CommittedBatch
//!  takes deliveries    its changelog is sent,     the log has said yes: its writes
//!                      its positions committed    may become committed state
//! ```
//!
//! The overlays of the tasks live in the batch. A batch that is given up takes them along, so nothing of it can stay
//! behind. While a batch is being committed the next one is open, on top of it: if the commit fails, both are given up.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::dedup::segments;
use crate::event::{Header, NewRecordRef, Offset, Partition, Record, Timestamp, Topic, TopicPartition};
use crate::failed::header;
use crate::state::Overlay;
use crate::task::TaskSpec;

/// How many deliveries of a batch ended which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records taken from the input.
    pub records: u64,
    /// Records that waited and were taken again.
    pub again: u64,
    /// Records whose handler succeeded.
    pub handled: u64,
    /// Records emitted.
    pub emitted: u64,
    /// Records that wait to be taken again: they failed, or one of their key did.
    pub retried: u64,
    /// Records set aside in the dead-letter topic.
    pub dead_lettered: u64,
    /// Records skipped because their message was handled already.
    pub duplicates: u64,
}

impl Counts {
    /// How many records were taken, `records + again`: that is always `handled + retried + dead_lettered + duplicates`.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.records + self.again
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        let Self { records, again, handled, emitted, retried, dead_lettered, duplicates } = other;
        self.records += records;
        self.again += again;
        self.handled += handled;
        self.emitted += emitted;
        self.retried += retried;
        self.dead_lettered += dead_lettered;
        self.duplicates += duplicates;
    }
}

/// How one record ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Its handler succeeded and emitted so many records.
    Handled { emitted: u64 },
    /// It waits.
    Retried,
    /// It was set aside.
    DeadLettered,
    /// It was skipped.
    Duplicate,
}

/// A batch that still takes deliveries.
#[derive(Debug, Default)]
pub struct OpenBatch {
    positions: BTreeMap<TopicPartition, Offset>,
    overlays: BTreeMap<Partition, Overlay>,
    /// The tasks that took records from their state.
    unread: BTreeSet<Partition>,
    counts: Counts,
    /// How many records each task is expected to handle.
    expected: usize,
}

impl OpenBatch {
    /// The batch that follows this one: it is expected to become as large.
    #[must_use]
    pub fn next(&self) -> Self {
        let each = self.counts.taken() / (self.overlays.len() as u64).max(1);
        Self { expected: usize::try_from(each).unwrap_or(0), ..Self::default() }
    }

    /// What this transaction did so far to the state of a task.
    pub(crate) fn overlay(&mut self, partition: Partition) -> &mut Overlay {
        self.overlays.entry(partition).or_insert_with(|| Overlay::with_room(self.expected))
    }

    /// Notes that `record`, read from the input or from a retry topic, is done with.
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

    /// Notes that a record that waited in the task's state is done with, or waits on.
    pub(crate) fn finish_waiting(&mut self, task: Partition, ending: Ending) {
        self.unread.insert(task);
        self.count(true, ending);
    }

    fn count(&mut self, again: bool, ending: Ending) {
        *(if again { &mut self.counts.again } else { &mut self.counts.records }) += 1;
        match ending {
            Ending::Handled { emitted } => {
                self.counts.handled += 1;
                self.counts.emitted += emitted;
            }
            Ending::Retried => self.counts.retried += 1,
            Ending::DeadLettered => self.counts.dead_lettered += 1,
            Ending::Duplicate => self.counts.duplicates += 1,
        }
    }

    /// Whether nothing happened yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.taken() == 0
    }

    /// Tasks that took records from their state without reading on, and so have no position in this batch. The group
    /// has to see one of theirs, or else it could not refuse the commit of a member that has lost them.
    pub fn unanchored(&self) -> impl Iterator<Item = Partition> {
        let anchored = |number: &Partition| self.positions.keys().any(|source| source.partition == *number);
        self.unread.iter().copied().filter(move |number| !anchored(number))
    }

    /// Takes along where a partition is read on anyway.
    pub fn anchor(&mut self, source: TopicPartition, position: Offset) {
        self.positions.entry(source).or_insert(position);
    }

    /// How many records it holds so far.
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

/// A batch whose commit is under way.
#[derive(Debug)]
#[must_use = "a sealed batch is either committed or given up"]
pub struct SealedBatch {
    positions: Vec<(TopicPartition, Offset)>,
    overlays: BTreeMap<Partition, Arc<Overlay>>,
    counts: Counts,
}

impl SealedBatch {
    /// Where the group goes on once this batch is committed.
    #[must_use]
    pub fn positions(&self) -> &[(TopicPartition, Offset)] {
        &self.positions
    }

    /// How many records it holds.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// What it does to the state of each task: the batch after it reads that already, and is given up with it.
    pub fn overlays(&self) -> impl Iterator<Item = (Partition, &Arc<Overlay>)> {
        self.overlays.iter().map(|(partition, overlay)| (*partition, overlay))
    }

    /// What has to be written to the changelogs in the same transaction: one record for each store and key, and one for
    /// the message ids of each topic, each at its task's partition.
    pub fn changelog<'s>(&'s self, spec: &'s TaskSpec) -> impl Iterator<Item = ChangelogRecord<'s>> + 's {
        self.overlays.iter().flat_map(move |(partition, overlay)| {
            let partition = *partition;
            let writes = overlay.writes().filter_map(move |(store, key, value)| {
                let (topic, value) = (spec.changelogs.get(store.0)?, value.as_ref().map(Cow::Borrowed));
                Some(ChangelogRecord { topic, partition, timestamp: overlay.at(), key, value, headers: vec![] })
            });
            let ids = spec.seen_changelog.iter().flat_map(move |changelog| {
                overlay.seen().topics().flat_map(move |(topic, ids)| {
                    // Without a timestamp: this topic is kept by the log's clock, whatever clock the producers have.
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

    /// Call when, and only when, the log confirmed the commit. `ends` says for each partition that the transaction
    /// wrote to by its number, and so for the changelogs, which offset follows its last record there.
    pub fn confirmed(self, ends: BTreeMap<TopicPartition, Offset>) -> CommittedBatch {
        CommittedBatch { overlays: self.overlays, ends, counts: self.counts }
    }
}

/// A record of a changelog. What a batch wrote stays in it: that becomes state once the log has confirmed.
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
    /// Gives it the time `now`, because its topic refuses the one it has, which goes into a header.
    pub fn at_other_time(&mut self, now: Timestamp) {
        let before = self.timestamp.replace(now);
        let header = |before: Timestamp| Header::new(header::TIMESTAMP, before.0.to_string());
        self.headers.extend(before.map(header));
    }

    /// As it is written.
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
#[must_use = "what was committed becomes state, and is to be told"]
pub struct CommittedBatch {
    overlays: BTreeMap<Partition, Arc<Overlay>>,
    ends: BTreeMap<TopicPartition, Offset>,
    counts: Counts,
}

impl CommittedBatch {
    /// What was committed.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// What it did to the state of each task.
    pub fn overlays(&self) -> impl Iterator<Item = (Partition, &Overlay)> {
        self.overlays.iter().map(|(partition, overlay)| (*partition, &**overlay))
    }

    /// Takes what it did to the state of one task out of it. Nothing is copied if the task has
    /// [settled](crate::task::Task::settled).
    pub fn take(&mut self, partition: Partition) -> Option<Overlay> {
        self.overlays.remove(&partition).map(Arc::unwrap_or_clone)
    }

    /// The offset after its last record in a changelog's partition; `None` if it wrote none there.
    #[must_use]
    pub fn end(&self, changelog: &Topic, partition: Partition) -> Option<Offset> {
        self.ends.get(&TopicPartition { topic: changelog.clone(), partition }).copied()
    }
}
