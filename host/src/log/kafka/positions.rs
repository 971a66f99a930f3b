//! The read positions of a member, and the loss if a partition no longer has the offset of its position.

use std::collections::BTreeMap;

use heddle_core::event::{Offset, Record, TopicPartition};

use super::super::Loss;

/// The next offset to read, by partition.
#[derive(Debug, Default)]
pub(super) struct Read {
    positions: BTreeMap<TopicPartition, Offset>,
    /// The partition of the last record, and the offset after it. The next record mostly comes from the same partition,
    /// and then needs no look-up.
    last: Option<(TopicPartition, Offset)>,
}

impl Read {
    /// The partition of the last record.
    pub(super) fn last(&self) -> Option<&TopicPartition> {
        self.last.as_ref().map(|(partition, _)| partition)
    }

    /// Records that a record was returned.
    pub(super) fn took(&mut self, record: &Record) {
        self.settle();
        self.last = Some((record.source.clone(), record.offset.next()));
    }

    /// Records that another record of the last record's partition was returned.
    pub(super) fn advance(&mut self, offset: Offset) {
        if let Some((_, position)) = &mut self.last {
            *position = offset.next();
        }
    }

    /// Sets the position at which reading continues.
    pub(super) fn seek(&mut self, partition: &TopicPartition, position: Offset) {
        self.settle();
        self.positions.insert(partition.clone(), position);
    }

    /// The next offset to read in a partition.
    pub(super) fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        match &self.last {
            Some((last, position)) if last == partition => Some(*position),
            _ => self.positions.get(partition).copied(),
        }
    }

    /// Removes partitions that are no longer read.
    pub(super) fn forget(&mut self, partitions: &[TopicPartition]) {
        self.settle();
        for partition in partitions {
            self.positions.remove(partition);
        }
    }

    fn settle(&mut self) {
        self.positions.extend(self.last.take());
    }
}

/// The loss in a partition that begins at `first`, and ends at `end` if that is known.
pub(super) fn lost(source: &TopicPartition, position: Offset, first: Offset, end: Option<Offset>) -> Option<Loss> {
    let beyond = end.is_some_and(|end| position > end);
    (position < first || beyond).then(|| Loss { source: source.clone(), position, first })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(partition: i32, offset: i64) -> Record {
        let source = TopicPartition::new("t", partition);
        let timestamp = heddle_core::event::Timestamp(0);
        Record { source, offset: Offset(offset), timestamp, key: None, value: None, headers: vec![] }
    }

    #[test]
    fn positions_follow_what_is_read() {
        let (mut read, [a, b]) = (Read::default(), [0, 1].map(|number| TopicPartition::new("t", number)));
        read.seek(&a, Offset(3));
        assert_eq!((read.position(&a), read.position(&b)), (Some(Offset(3)), None));
        read.took(&record(0, 3));
        read.advance(Offset(7));
        assert_eq!(read.position(&a), Some(Offset(8)));
        read.took(&record(1, 5));
        assert_eq!((read.position(&a), read.position(&b)), (Some(Offset(8)), Some(Offset(6))));
        read.seek(&b, Offset(2));
        assert_eq!((read.last(), read.position(&b)), (None, Some(Offset(2))));
        read.forget(std::slice::from_ref(&b));
        assert_eq!((read.position(&a), read.position(&b)), (Some(Offset(8)), None));
    }

    #[test]
    fn records_that_a_partition_has_are_not_lost() {
        let source = TopicPartition::new("t", 0);
        let of = |position, first, end| lost(&source, Offset(position), Offset(first), Some(Offset(end)));
        assert_eq!(of(8, 8, 12), None);
        assert_eq!(of(12, 8, 12), None);
        assert_eq!(of(2, 8, 12).map(|loss| loss.offsets()), Some(6));
        assert_eq!(of(13, 8, 12).map(|loss| loss.offsets()), Some(0));
        assert_eq!(lost(&source, Offset(13), Offset(8), None), None);
    }
}
