//! Records on their way into a transaction, encoded as they come, grouped by partition.

use std::collections::BTreeMap;

use heddle_core::event::NewRecord;

use super::batch_format::BatchBuilder;
use super::store::PartitionId;
use super::topic::TopicMeta;
use crate::log::{LogError, now};

/// A batch that would grow beyond this, in bytes, is closed and another one begun, in the same transaction: a reader
/// never has to load more than this for one record, and sled keeps its pages in its log (see `store`). A larger
/// record is a batch of its own.
pub(super) const BATCH_BYTES_MAX: usize = 48 << 10;

/// What a transaction wrote so far.
#[derive(Default)]
pub(super) struct Outgoing {
    partitions: BTreeMap<PartitionId, Batches>,
}

#[derive(Default)]
struct Batches {
    sealed: Vec<SealedBatch>,
    open: BatchBuilder,
    records: i64,
}

/// A batch that only lacks its place.
pub(super) struct SealedBatch {
    pub(super) bytes: Vec<u8>,
    /// How many offsets it takes.
    pub(super) records: u32,
}

impl Outgoing {
    /// Whether nothing was written.
    pub(super) fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// About what it takes on disk.
    pub(super) fn bytes(&self) -> usize {
        let batches = self.partitions.values();
        let bytes = |batches: &Batches| {
            batches.open.len_bytes() + batches.sealed.iter().map(|batch| batch.bytes.len()).sum::<usize>()
        };
        batches.map(bytes).sum()
    }

    /// Adds a record; returns its partition and its place among what the transaction writes there.
    pub(super) fn add(&mut self, topic: &TopicMeta, record: &NewRecord) -> Result<(PartitionId, i64), LogError> {
        let partition = topic.place(record)?;
        let batches = self.partitions.entry(partition).or_default();
        let size =
            record.key.as_ref().map_or(0, bytes::Bytes::len) + record.value.as_ref().map_or(0, bytes::Bytes::len);
        if batches.open.records() > 0 && batches.open.len_bytes() + size > BATCH_BYTES_MAX {
            batches.close();
        }
        batches.open.push(
            batches.open.records(),
            record.timestamp.unwrap_or_else(now),
            record.key.as_deref(),
            record.value.as_deref(),
            &record.headers,
        );
        let place = batches.records;
        batches.records += 1;
        Ok((partition, place))
    }

    /// The finished batches of each partition, in order.
    pub(super) fn seal(self) -> impl Iterator<Item = (PartitionId, Vec<SealedBatch>)> {
        self.partitions.into_iter().map(|(partition, mut batches)| {
            batches.close();
            (partition, batches.sealed)
        })
    }
}

impl Batches {
    fn close(&mut self) {
        let batch = std::mem::take(&mut self.open);
        let records = batch.records();
        self.sealed.push(SealedBatch { bytes: batch.seal(records.saturating_sub(1)), records });
    }
}
