//! Topics that change: they get partitions, lose their oldest records, are deleted and created again.
//!
//! ```text
//!  incarnation 0: |a b c|d e f      deleted ──> kept for the check, with the group's positions in it
//!             trimmed ┘             recreated: incarnation 1 begins at offset 0, and the group has no position there
//! ```
//!
//! A position belongs to one incarnation, as on Kafka, where Heddle stores it with the topic's id. A member that
//! continues to read a deleted topic finds no records.

use heddle_core::event::{Offset, Topic, TopicPartition};

use super::broker::{Broker, partition_mut};
use super::partition::PartitionLog;

/// A number that distinguishes the topics that have had one name.
pub(crate) type Incarnation = u32;

/// The topic in which the product stores the topics that its components know.
pub(crate) const KNOWN_TOPICS: &str = "sim.topics";

/// A topic's partitions.
#[derive(Debug)]
pub(crate) struct TopicLog {
    pub(crate) incarnation: Incarnation,
    pub(crate) partitions: Vec<PartitionLog>,
}

/// Offsets that were deleted before the group read them.
#[derive(Clone, Debug)]
pub(crate) struct Lost {
    pub(crate) source: TopicPartition,
    pub(crate) incarnation: Incarnation,
    pub(crate) from: Offset,
    pub(crate) to: Offset,
    /// True if the group had a position there. Without one it begins at the first remaining record and reports no loss.
    pub(crate) is_told: bool,
}

impl TopicLog {
    pub(crate) fn new(topic: &Topic, partitions: i32, incarnation: Incarnation) -> Self {
        let partitions = (0..partitions).map(|n| PartitionLog::new(TopicPartition::new(topic.clone(), n))).collect();
        Self { incarnation, partitions }
    }

    pub(crate) fn count(&self) -> i32 {
        i32::try_from(self.partitions.len()).unwrap_or(i32::MAX)
    }
}

impl Broker {
    /// The incarnation of the topic that has this name now.
    pub(crate) fn incarnation(&self, topic: &Topic) -> Option<Incarnation> {
        self.topics.get(topic).map(|topic| topic.incarnation)
    }

    /// Adds partitions to a topic until it has `partitions`.
    pub(crate) fn grow(&mut self, topic: &Topic, partitions: i32) {
        if let Some(log) = self.topics.get_mut(topic) {
            let added = log.count()..partitions;
            log.partitions.extend(added.map(|n| PartitionLog::new(TopicPartition::new(topic.clone(), n))));
        }
    }

    /// Deletes a topic.
    pub(crate) fn delete(&mut self, topic: &Topic) {
        self.deleted.extend(self.topics.remove_entry(topic));
    }

    /// Creates a deleted topic again.
    pub(crate) fn make_anew(&mut self, topic: &Topic) {
        let last = self.deleted.iter().rev().find(|(deleted, _)| deleted == topic);
        let Some((count, incarnation)) = last.map(|(_, log)| (log.count(), log.incarnation)) else { return };
        self.topics.entry(topic.clone()).or_insert_with(|| TopicLog::new(topic, count, incarnation + 1));
    }

    /// Deletes some of the oldest decided records of a partition. Returns its new beginning.
    pub(crate) fn trim(&mut self, source: &TopicPartition) -> Option<Offset> {
        let log = partition_mut(&mut self.topics, source, None)?;
        let held = u64::try_from(log.stable().0 - log.low().0).ok().filter(|held| *held > 0)?;
        let low = Offset(log.low().0 + i64::try_from(self.chance.between(1, held)).ok()?);
        log.trim(low);
        Some(low)
    }

    /// Records that the group skipped deleted records.
    pub(crate) fn lose(&mut self, lost: Lost) {
        self.lost.push(lost);
    }

    /// The offsets that the group has lost.
    pub(crate) fn lost(&self) -> &[Lost] {
        &self.lost
    }

    /// All incarnations of a topic, the oldest first.
    pub(crate) fn incarnations(&self, topic: &Topic) -> impl Iterator<Item = &TopicLog> {
        let deleted = self.deleted.iter().filter(move |(deleted, _)| deleted == topic).map(|(_, log)| log);
        deleted.chain(self.topics.get(topic))
    }

    /// Returns true if the group has read this record of an input, or still can.
    pub(crate) fn counts(&self, source: &TopicPartition, incarnation: Incarnation, offset: Offset) -> bool {
        let is_lost = |lost: &Lost| {
            lost.source == *source && lost.incarnation == incarnation && lost.from <= offset && offset < lost.to
        };
        let position = self.positions.get(&(source.clone(), incarnation)).copied();
        let is_read = position.is_some_and(|position| offset < position);
        let is_there = self.incarnation(&source.topic) == Some(incarnation)
            && self.partition(source).is_ok_and(|log| log.low() <= offset);
        !self.lost.iter().any(is_lost) && (is_read || is_there)
    }
}
