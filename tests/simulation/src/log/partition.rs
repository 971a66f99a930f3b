//! One partition: records and the marks that end transactions, each at an offset of its own.
//!
//! ```text
//!   0    1    2    3      4    5      6
//!  a:1  b:1  a:2  end a  b:2  plain  c:1            end = 7
//!       └─ b is undecided: the last stable offset is 1, and a reader sees a:1 alone
//! ```

use std::collections::BTreeMap;

use heddle_core::event::{NewRecord, Offset, Record, Timestamp, TopicPartition};

/// Names a transaction.
pub(crate) type TxnId = usize;

#[derive(Debug)]
enum Entry {
    Record {
        record: Record,
        txn: Option<TxnId>,
    },
    /// The end of a transaction.
    Mark,
}

/// A partition's entries.
#[derive(Debug)]
pub(crate) struct PartitionLog {
    source: TopicPartition,
    /// The offset of the first entry that is still held.
    low: Offset,
    entries: Vec<Entry>,
    /// Transactions without a mark here, and where they began.
    open: BTreeMap<TxnId, usize>,
    /// How those ended that have one.
    committed: BTreeMap<TxnId, bool>,
}

impl PartitionLog {
    pub(crate) fn new(source: TopicPartition) -> Self {
        Self { source, low: Offset(0), entries: vec![], open: BTreeMap::new(), committed: BTreeMap::new() }
    }

    /// Adds a record; `None`: outside of any transaction.
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

    /// Ends a transaction.
    pub(crate) fn mark(&mut self, txn: TxnId, committed: bool) {
        self.open.remove(&txn);
        self.committed.insert(txn, committed);
        self.entries.push(Entry::Mark);
    }

    /// Deletes what lies below.
    pub(crate) fn trim(&mut self, low: Offset) {
        self.low = low.max(self.low);
    }

    /// The first offset that is still held.
    pub(crate) fn low(&self) -> Offset {
        self.low
    }

    /// The offset after the last entry.
    pub(crate) fn end(&self) -> Offset {
        offset(self.entries.len())
    }

    /// The last stable offset: below it everything is decided.
    pub(crate) fn stable(&self) -> Offset {
        offset(self.open.values().copied().min().unwrap_or(self.entries.len()))
    }

    /// Committed records from a position on, at most so many, and the position after them.
    pub(crate) fn read(&self, from: Offset, max: usize) -> (Vec<Record>, Offset) {
        self.read_below(self.stable(), from, max)
    }

    /// As one reads who takes what is not decided for committed. Only what is wrong on purpose does so.
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

    /// All records, those that were deleted too, with the transactions they are part of, decided or not.
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
