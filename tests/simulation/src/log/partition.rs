//! One partition: records and the markers that end transactions, each at its own offset.
//!
//! ```text
//!   0    1    2    3      4    5      6
//!  a:1  b:1  a:2  end a  b:2  plain  c:1            end = 7
//!       └─ b is undecided: the last stable offset is 1, and a reader sees a:1 alone
//! ```

use std::collections::BTreeMap;

use heddle_core::event::{NewRecord, Offset, Record, Timestamp, TopicPartition};

/// The id of a transaction.
pub(crate) type TxnId = usize;

#[derive(Debug)]
enum Entry {
    Record {
        record: Record,
        txn: Option<TxnId>,
    },
    /// The end marker of a transaction.
    Mark,
}

/// A partition's entries.
#[derive(Debug)]
pub(crate) struct PartitionLog {
    source: TopicPartition,
    /// The offset of the first remaining entry.
    low: Offset,
    entries: Vec<Entry>,
    /// Transactions without a marker here, and the index at which each began.
    open: BTreeMap<TxnId, usize>,
    /// The outcome of the transactions that have a marker.
    committed: BTreeMap<TxnId, bool>,
}

impl PartitionLog {
    pub(crate) fn new(source: TopicPartition) -> Self {
        Self { source, low: Offset(0), entries: vec![], open: BTreeMap::new(), committed: BTreeMap::new() }
    }

    /// Adds a record, outside of any transaction if `txn` is `None`.
    pub(crate) fn append(&mut self, record: NewRecord, txn: Option<TxnId>, now: Timestamp) -> Offset {
        let offset = self.end();
        if let Some(txn) = txn {
            self.open.entry(txn).or_insert(self.entries.len());
        }
        let NewRecord { timestamp, key, value, headers, .. } = record;
        let timestamp = timestamp.unwrap_or(now);
        let record = Record { source: self.source.clone(), offset, timestamp, key, value, headers };
        self.entries.push(Entry::Record { record, txn });
        offset
    }

    /// Writes the end marker of a transaction.
    pub(crate) fn mark(&mut self, txn: TxnId, committed: bool) {
        self.open.remove(&txn);
        self.committed.insert(txn, committed);
        self.entries.push(Entry::Mark);
    }

    /// Deletes the records below `low`.
    pub(crate) fn trim(&mut self, low: Offset) {
        self.low = low.max(self.low);
    }

    /// The first remaining offset.
    pub(crate) fn low(&self) -> Offset {
        self.low
    }

    /// The offset after the last entry.
    pub(crate) fn end(&self) -> Offset {
        offset(self.entries.len())
    }

    /// The last stable offset. Everything below it is decided.
    pub(crate) fn stable(&self) -> Offset {
        offset(self.open.values().copied().min().unwrap_or(self.entries.len()))
    }

    /// At most `max` committed records from a position on, and the position after them.
    pub(crate) fn read(&self, from: Offset, max: usize) -> (Vec<Record>, Offset) {
        self.read_below(self.stable(), from, max)
    }

    /// Reads like [`read`](Self::read), but treats undecided records as committed. Only a planted bug does so.
    pub(crate) fn read_undecided(&self, from: Offset, max: usize) -> (Vec<Record>, Offset) {
        self.read_below(self.end(), from, max)
    }

    fn read_below(&self, stable: Offset, from: Offset, max: usize) -> (Vec<Record>, Offset) {
        let (mut records, mut position) = (vec![], from);
        for entry in self.entries.iter().skip(index(from)).take(index(stable).saturating_sub(index(from))) {
            if records.len() >= max {
                break;
            }
            if let Entry::Record { record, txn } = entry
                && txn.is_none_or(|txn| self.committed.get(&txn).copied().unwrap_or(true))
            {
                records.push(record.clone());
            }
            position = position.next();
        }
        (records, position)
    }

    /// All records, including deleted ones, with their transactions, decided or not.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Record, Option<TxnId>)> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Record { record, txn } => Some((record, *txn)),
            Entry::Mark => None,
        })
    }
}

fn offset(index: usize) -> Offset {
    Offset(i64::try_from(index).unwrap_or(i64::MAX))
}

fn index(offset: Offset) -> usize {
    usize::try_from(offset.0).unwrap_or(0)
}
