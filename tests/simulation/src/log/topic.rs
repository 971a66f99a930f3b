//! Topics that change: they get partitions, lose their oldest records, are deleted and made anew.
//!
//! ```text
//!  incarnation 0: |a b c|d e f      deleted ──> kept for the check, with the group's positions in it
//!             trimmed ┘             made anew: incarnation 1 begins at offset 0, and the group has no position there
//! ```
//!
//! A position belongs to one incarnation, as on Kafka, where Heddle notes the topic's id with it. A member that reads
//! on in a topic that was deleted finds nothing there.

use heddle_core::event::{Offset, Topic, TopicPartition};

use super::broker::{Broker, partition_mut};
use super::partition::PartitionLog;

/// Tells the topics apart that had one name.
pub(crate) type Incarnation = u32;

/// The topic in which the product notes which topics its components know.
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
    /// Whether the group had a position there: without one it begins at the first record that there is, and knows of no
    /// loss.
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
    /// Which topic of its name is there now.
    pub(crate) fn incarnation(&self, topic: &Topic) -> Option<Incarnation> {
        self.topics.get(topic).map(|topic| topic.incarnation)
    }

    /// Adds partitions to a topic until it has so many.
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

    /// Makes a topic anew that was deleted.
    pub(crate) fn make_anew(&mut self, topic: &Topic) {
        let last = self.deleted.iter().rev().find(|(deleted, _)| deleted == topic);
        let Some((count, incarnation)) = last.map(|(_, log)| (log.count(), log.incarnation)) else { return };
        self.topics.entry(topic.clone()).or_insert_with(|| TopicLog::new(topic, count, incarnation + 1));
    }

    /// Deletes the oldest records of a partition: some of those that are decided. Returns where it begins then.
    pub(crate) fn trim(&mut self, source: &TopicPartition) -> Option<Offset> {
        let log = partition_mut(&mut self.topics, source, None)?;
        let held = u64::try_from(log.stable().0 - log.low().0).ok().filter(|held| *held > 0)?;
        let low = Offset(log.low().0 + i64::try_from(self.chance.between(1, held)).ok()?);
        log.trim(low);
        Some(low)
    }

    /// The group went on behind what it had not read.
    pub(crate) fn lose(&mut self, lost: Lost) {
        self.lost.push(lost);
    }

    /// What the group has lost.
    pub(crate) fn lost(&self) -> &[Lost] {
        &self.lost
    }

    /// All incarnations of a topic, the oldest first.
    pub(crate) fn incarnations(&self, topic: &Topic) -> impl Iterator<Item = &TopicLog> {
        let deleted = self.deleted.iter().filter(move |(deleted, _)| deleted == topic).map(|(_, log)| log);
        deleted.chain(self.topics.get(topic))
    }

    /// Whether the group has read this record of an input, or may still.
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
