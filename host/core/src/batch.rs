//! What one transaction takes along. The type changes as the batch gets safer, so a commit's order cannot be written wrong:
//!
//! ```text
//!  OpenBatch ──seal──> SealedBatch ──confirmed──> CommittedBatch
//!  takes deliveries    its changelog is sent,     the log has said yes: its writes
//!                      its positions committed    may become committed state
//! ```
//!
//! The overlays of the tasks live in the batch. A batch that is given up takes them along, so nothing of it can stay behind.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::dedup::segments;
use crate::event::{NewRecord, Offset, Partition, Record, Topic, TopicPartition};
use crate::state::Overlay;
use crate::task::TaskSpec;

/// How many deliveries of a batch ended which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records taken from the input.
    pub records: u64,
    /// Records emitted.
    pub emitted: u64,
    /// Records set aside in the dead-letter topic.
    pub dead_lettered: u64,
    /// Records skipped because their message was handled already.
    pub duplicates: u64,
}

/// How one record ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Its handler succeeded and emitted so many records.
    Handled { emitted: u64 },
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
    counts: Counts,
}

impl OpenBatch {
    /// What this transaction did so far to the state of a task.
    pub(crate) fn overlay(&mut self, partition: Partition) -> &mut Overlay {
        self.overlays.entry(partition).or_default()
    }

    /// Notes that `record` is done with.
    pub(crate) fn finish(&mut self, record: &Record, ending: Ending) {
        let next = record.offset.next();
        if let Some(position) = self.positions.get_mut(&record.source) {
            debug_assert!(*position <= record.offset, "records of a partition come in order");
            *position = next;
        } else {
            self.positions.insert(record.source.clone(), next);
        }
        self.counts.records += 1;
        match ending {
            Ending::Handled { emitted } => self.counts.emitted += emitted,
            Ending::DeadLettered => self.counts.dead_lettered += 1,
            Ending::Duplicate => self.counts.duplicates += 1,
        }
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
        SealedBatch { positions: self.positions.into_iter().collect(), overlays: self.overlays, counts: self.counts }
    }
}

/// A batch whose commit is under way.
#[derive(Debug)]
#[must_use = "a sealed batch is either committed or given up"]
pub struct SealedBatch {
    positions: Vec<(TopicPartition, Offset)>,
    overlays: BTreeMap<Partition, Overlay>,
    counts: Counts,
}

impl SealedBatch {
    /// Where the group goes on once this batch is committed.
    #[must_use]
    pub fn positions(&self) -> &[(TopicPartition, Offset)] {
        &self.positions
    }

    /// What has to be written to the changelogs in the same transaction: one record for each store and key, and one for the
    /// message ids of each topic, each at its task's partition.
    #[must_use]
    pub fn changelog(&self, spec: &TaskSpec) -> Vec<NewRecord> {
        let mut records = vec![];
        for (partition, overlay) in &self.overlays {
            let record = |topic: &Topic, timestamp, key, value| NewRecord {
                topic: topic.clone(),
                partition: Some(*partition),
                timestamp,
                key: Some(key),
                value,
                headers: vec![],
            };
            let writes = overlay.writes().iter().filter_map(|((store, key), value)| {
                let topic = spec.changelogs.get(store.0)?;
                Some(record(topic, overlay.at(), key.clone(), value.clone()))
            });
            records.extend(writes);
            let Some(changelog) = &spec.seen_changelog else { continue };
            for (topic, ids) in overlay.seen().topics() {
                let key = Bytes::copy_from_slice(topic.as_bytes());
                // Without a timestamp: this topic is kept by the log's clock, whatever clock the producers have.
                let segments = segments(ids).into_iter();
                records.extend(segments.map(|segment| record(changelog, None, key.clone(), Some(segment))));
            }
        }
        records
    }

    /// Call when, and only when, the log confirmed the commit. `ends` says for each partition that the transaction wrote to
    /// by its number, and so for the changelogs, which offset follows its last record there.
    pub fn confirmed(self, ends: BTreeMap<TopicPartition, Offset>) -> CommittedBatch {
        CommittedBatch { overlays: self.overlays, ends, counts: self.counts }
    }
}

/// A batch that the log has confirmed.
#[derive(Debug)]
#[must_use = "what was committed becomes state, and is to be told"]
pub struct CommittedBatch {
    overlays: BTreeMap<Partition, Overlay>,
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
        self.overlays.iter().map(|(partition, overlay)| (*partition, overlay))
    }

    /// The offset after its last record in a changelog's partition; `None` if it wrote none there.
    #[must_use]
    pub fn end(&self, changelog: &Topic, partition: Partition) -> Option<Offset> {
        self.ends.get(&TopicPartition { topic: changelog.clone(), partition }).copied()
    }
}
