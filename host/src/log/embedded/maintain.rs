//! Upkeep: retention and compaction. The runtime calls it now and then; the time is an argument.
//!
//! Retention drops whole batches from the front and moves the low watermark. Compaction keeps the newest record of each
//! key in place: offsets never change, holes remain, and the newest batch of a partition is never touched. Both work
//! below the high watermark only, concurrently with commits. Each step leaves the log valid: older records of a key are
//! always removed before its tombstone.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use heddle_core::event::{Offset, Timestamp};

use super::batch_format::{BatchBuilder, BatchReader, StoredRecord, header_of};
use super::shared::{Bounds, Shared};
use super::store::{PartitionId, Write, unreadable};
use super::topic::{Policy, TopicMeta};
use crate::lock::lock;
use crate::log::LogError;

/// The retention of a tombstone in milliseconds (Kafka's default for `delete.retention.ms`).
const TOMBSTONES_KEPT_MS: i64 = 24 * 3_600 * 1_000;

/// The result of a round of upkeep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Maintained {
    /// Batches that retention dropped.
    pub batches_dropped: u64,
    /// Records that compaction removed.
    pub records_removed: u64,
}

/// State between two rounds, so that unchanged batches are not read again.
#[derive(Default)]
pub(super) struct Upkeep {
    sizes: HashMap<PartitionId, Sizes>,
    compacted: HashMap<PartitionId, Compacted>,
}

/// The sizes of a partition's batches that were read so far.
#[derive(Default)]
struct Sizes {
    up_to: Option<Offset>,
    batches: VecDeque<(Offset, u64)>,
    total: u64,
}

/// The state of a partition after its last compaction.
#[derive(Clone, Copy)]
struct Compacted {
    high: Offset,
    records: i64,
    /// The time at which the next tombstone may be removed.
    due: Option<i64>,
}

impl Upkeep {
    /// Forgets a deleted partition.
    pub(super) fn forget(&mut self, partition: PartitionId) {
        self.sizes.remove(&partition);
        self.compacted.remove(&partition);
    }
}

impl Shared {
    /// Runs one round over all topics.
    pub(super) fn maintain(&self, now: Timestamp) -> Result<Maintained, LogError> {
        let mut upkeep = lock(&self.upkeep);
        let topics: Vec<_> = lock(&self.state).topics.values().cloned().collect();
        let mut done = Maintained::default();
        for topic in topics {
            self.maintain_topic(&topic, now, &mut upkeep, &mut done)?;
        }
        if done != Maintained::default() {
            self.or_fail(self.store.flush())?;
        }
        Ok(done)
    }

    fn maintain_topic(
        &self,
        topic: &TopicMeta,
        now: Timestamp,
        upkeep: &mut Upkeep,
        done: &mut Maintained,
    ) -> Result<(), LogError> {
        for (_, partition) in topic.all() {
            if topic.policy.retention_ms.is_some() || topic.policy.retention_bytes.is_some() {
                done.batches_dropped += self.retain(partition, &topic.policy, now, upkeep)?;
            }
            // Compaction rewrites batches, which needs room.
            if topic.policy.compact && self.store.room_for(0).is_ok() {
                done.records_removed += self.compact(partition, now, upkeep)?;
            }
        }
        Ok(())
    }

    /// Drops the batches at the front that are too old or exceed the size. Returns their number.
    fn retain(
        &self,
        partition: PartitionId,
        policy: &Policy,
        now: Timestamp,
        upkeep: &mut Upkeep,
    ) -> Result<u64, LogError> {
        let bounds = self.bounds(partition);
        let mut sizes = match policy.retention_bytes {
            Some(_) => Some(self.measure(partition, bounds, upkeep)?),
            None => None,
        };
        let mut low = bounds.low;
        let mut write = Write::default();
        let mut dropped = 0;
        for batch in self.store.batches(partition, bounds.low, bounds.high) {
            let (base, bytes) = batch?;
            let header = header_of(&bytes).map_err(|error| unreadable(partition, base, &error))?;
            let old = policy.retention_ms.is_some_and(|kept| header.max_timestamp < now.0.saturating_sub(kept));
            let size = bytes.len() as u64;
            let many = match (&sizes, policy.retention_bytes) {
                (Some(sizes), Some(kept)) => sizes.total.saturating_sub(size) >= kept,
                _ => false,
            };
            if !old && !many {
                break;
            }
            write.remove_batch(partition, base);
            low = Offset(base.0 + i64::from(header.last_delta) + 1);
            dropped += 1;
            if let Some(sizes) = &mut sizes {
                sizes.forget(base);
            }
        }
        if dropped > 0 {
            write.low(partition, low);
            self.or_fail(self.store.apply(write))?;
            if let Some(bounds) = lock(&self.state).bounds.get_mut(&partition) {
                bounds.low = low;
            }
        }
        Ok(dropped)
    }

    /// Adds the sizes of batches that are new since the last round.
    fn measure<'a>(
        &self,
        partition: PartitionId,
        bounds: Bounds,
        upkeep: &'a mut Upkeep,
    ) -> Result<&'a mut Sizes, LogError> {
        let sizes = upkeep.sizes.entry(partition).or_default();
        let from = sizes.up_to.map_or(bounds.low, |up_to| up_to.max(bounds.low));
        for batch in self.store.batches(partition, from, bounds.high) {
            let (base, bytes) = batch?;
            sizes.batches.push_back((base, bytes.len() as u64));
            sizes.total += bytes.len() as u64;
        }
        sizes.up_to = Some(bounds.high);
        Ok(sizes)
    }

    /// Removes records that a newer one of the same key replaces. Returns their number.
    fn compact(&self, partition: PartitionId, now: Timestamp, upkeep: &mut Upkeep) -> Result<u64, LogError> {
        let bounds = self.bounds(partition);
        if !upkeep.compacted.get(&partition).is_none_or(|last| last.worthwhile(bounds.high, now)) {
            return Ok(0);
        }
        let mut newest: HashMap<Box<[u8]>, Offset> = HashMap::new();
        let mut last = None;
        for batch in self.store.batches(partition, bounds.low, bounds.high) {
            let (base, bytes) = batch?;
            last = Some(base);
            each_record(partition, base, bytes, |offset, record| {
                newest.insert(record.key.as_deref().unwrap_or_default().into(), offset);
            })?;
        }
        let mut left = Compacted { high: bounds.high, records: 0, due: None };
        let mut removed = 0;
        for batch in self.store.batches(partition, bounds.low, bounds.high) {
            let (base, bytes) = batch?;
            let header = header_of(&bytes).map_err(|error| unreadable(partition, base, &error))?;
            if Some(base) == last {
                left.records += i64::from(header.records);
                continue;
            }
            let mut kept = BatchBuilder::default();
            each_record(partition, base, bytes, |offset, record| {
                let superseded = newest.get(record.key.as_deref().unwrap_or_default()) != Some(&offset);
                let gone_at = record.value.is_none().then(|| record.timestamp.0.saturating_add(TOMBSTONES_KEPT_MS));
                if superseded || gone_at.is_some_and(|at| at <= now.0) {
                    return;
                }
                left.due = [left.due, gone_at].into_iter().flatten().min();
                let (key, value) = (record.key.as_deref(), record.value.as_deref());
                kept.push(record.delta, record.timestamp, key, value, &record.headers);
            })?;
            left.records += i64::from(kept.records());
            let fewer = header.records - kept.records();
            if fewer > 0 {
                removed += u64::from(fewer);
                let mut write = Write::default();
                match kept.records() {
                    0 => write.remove_batch(partition, base),
                    _ => write.batch(partition, base, kept.seal(header.last_delta)),
                }
                self.or_fail(self.store.apply(write))?;
            }
        }
        upkeep.compacted.insert(partition, left);
        // Sizes are read again. Offsets do not change, so `upkeep.compacted` stays valid.
        if removed > 0 {
            upkeep.sizes.remove(&partition);
        }
        Ok(removed)
    }
}

impl Sizes {
    fn forget(&mut self, base: Offset) {
        while let Some((_, size)) = self.batches.pop_front_if(|(first, _)| *first <= base) {
            self.total = self.total.saturating_sub(size);
        }
    }
}

impl Compacted {
    /// Returns true if as many records were written since as remained then, so that each record is read a bounded
    /// number of times, or if a tombstone is due.
    fn worthwhile(&self, high: Offset, now: Timestamp) -> bool {
        let fresh = high.0 - self.high.0;
        (fresh > 0 && fresh >= self.records) || self.due.is_some_and(|due| due <= now.0)
    }
}

fn each_record(
    partition: PartitionId,
    base: Offset,
    bytes: Bytes,
    mut visit: impl FnMut(Offset, &StoredRecord),
) -> Result<(), LogError> {
    let damaged = |error| unreadable(partition, base, &error);
    let mut batch = BatchReader::open(bytes).map_err(damaged)?;
    while let Some(record) = batch.next_record().map_err(damaged)? {
        visit(Offset(base.0 + i64::from(record.delta)), &record);
    }
    Ok(())
}
