//! The records of an open transaction, encoded as they arrive and grouped by partition.

use std::collections::BTreeMap;

use heddle_core::event::NewRecord;

use super::batch_format::BatchBuilder;
use super::store::PartitionId;
use super::topic::TopicMeta;
use crate::log::{LogError, now};

/// The maximum size of a batch in bytes. A batch that would exceed it is closed, and another one begun in the same
/// transaction. So a reader loads at most this much for one record, and sled keeps the pages in its log (see `store`).
/// A larger record gets a separate batch.
pub(super) const BATCH_BYTES_MAX: usize = 48 << 10;

/// The records of an open transaction.
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

/// A finished batch without an offset.
pub(super) struct SealedBatch {
    pub(super) bytes: Vec<u8>,
    /// The number of offsets that it covers.
    pub(super) records: u32,
}

impl Outgoing {
    /// Returns true if there are no records.
    pub(super) fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// The approximate size on disk.
    pub(super) fn bytes(&self) -> usize {
        let batches = self.partitions.values();
        let bytes = |batches: &Batches| {
            batches.open.len_bytes() + batches.sealed.iter().map(|batch| batch.bytes.len()).sum::<usize>()
        };
        batches.map(bytes).sum()
    }

    /// Adds a record. Returns its partition and its index among the transaction's records there.
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
