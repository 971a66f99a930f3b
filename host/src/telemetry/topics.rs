//! Events of a component's topics.

use heddle_core::event::{Offset, Record, TopicPartition};
use heddle_core::explain::Explained;

use super::limit::Limits;
use super::{ALERT, Report};

/// A component does not run until somebody makes its topics fit.
#[derive(Debug)]
pub struct ComponentStopped<'e> {
    /// The reason.
    pub why: &'e Explained,
}

impl Report for ComponentStopped<'_> {
    fn log(&self, component: &str, _limits: &Limits) {
        let why = self.why;
        tracing::error!(target: ALERT, %component, %why, at = why.place, hint = why.remedy, "stopped");
    }
}

/// The topics of a stopped component fit again.
#[derive(Debug)]
pub struct ComponentResumed;

impl Report for ComponentResumed {
    fn log(&self, component: &str, _limits: &Limits) {
        tracing::warn!(target: ALERT, %component, "no longer stopped");
    }
}

/// A topic was deleted and created again.
#[derive(Debug)]
pub struct TopicRecreated<'e> {
    /// The topic.
    pub topic: &'e str,
    /// Its use.
    pub used_as: TopicUse,
}

/// The use of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicUse {
    /// The component consumes it.
    Input,
    /// It has the dead letters of the component.
    DeadLetters,
}

impl Report for TopicRecreated<'_> {
    fn log(&self, component: &str, _limits: &Limits) {
        let topic = self.topic;
        match self.used_as {
            TopicUse::Input => tracing::error!(
                target: ALERT,
                %component,
                %topic,
                "the topic was recreated; it is read from its beginning, and records that were read before this was \
                 noticed are handled again"
            ),
            TopicUse::DeadLetters => tracing::error!(
                target: ALERT,
                %component,
                %topic,
                "the dead-letter topic was recreated; earlier letters are gone, and its options may differ"
            ),
        }
    }
}

/// The host added partitions to a topic.
#[derive(Debug)]
pub struct PartitionsAdded<'e> {
    /// The topic.
    pub topic: &'e str,
    /// The number of its partitions now.
    pub partitions: i32,
}

impl Report for PartitionsAdded<'_> {
    fn log(&self, component: &str, _limits: &Limits) {
        let Self { topic, partitions } = self;
        tracing::info!(%component, %topic, partitions, "added partitions");
    }
}

/// Records were deleted before the component consumed them.
#[derive(Debug)]
pub struct RecordsLost<'e> {
    /// The partition.
    pub source: &'e TopicPartition,
    /// The offset at which the component was.
    pub position: Offset,
    /// The first offset that exists.
    pub first: Offset,
    /// The number of offsets between them.
    pub offsets: u64,
}

impl Report for RecordsLost<'_> {
    fn log(&self, component: &str, _limits: &Limits) {
        let Self { source, position, first, offsets } = self;
        let (topic, partition) = (&*source.topic, source.partition.0);
        tracing::warn!(
            target: ALERT,
            %component,
            %topic,
            partition,
            position = position.0,
            first = first.0,
            offsets,
            "records were deleted before they were consumed"
        );
    }
}

/// A retry topic refuses a record, so the record is dead-lettered.
#[derive(Debug)]
pub struct RetryTopicRefused<'e> {
    /// The record.
    pub record: &'e Record,
    /// The retry topic.
    pub retry: &'e str,
    /// The reason.
    pub why: &'e str,
}

impl Report for RetryTopicRefused<'_> {
    fn log(&self, component: &str, _limits: &Limits) {
        let Self { record, retry, why } = self;
        tracing::warn!(
            target: ALERT,
            %component,
            topic = %record.source.topic,
            partition = record.source.partition.0,
            offset = record.offset.0,
            %retry,
            %why,
            "records are dead-lettered instead of parked; give the retry topic as many partitions as its component has \
             tasks, and a max.message.bytes above that of its input"
        );
    }
}
