//! The log on Apache Kafka, through librdkafka.
//!
//! ```text
//!  KafkaLog ── Cluster    requests and topics, two clients shared by all; `growth`: partitions that were added;
//!           │             `joining`: why a group or a transaction fails; `rights`: the rights of this client
//!           ── Appender   plain writes, one idempotent producer shared by all
//!           ── join   ──> KafkaMember   its own consumer and transactional producer, and a thread that commits
//!           ── reader ──> KafkaReader   its own consumer
//!           ── writer ──> KafkaWriter   its own transactional producer
//! ```
//!
//! Exactly-once works as in Kafka's clients: the records that a member sends and the positions of its group are one
//! transaction. The group's metadata is sent with the positions, so a member that was replaced cannot commit.
//!
//! Kafka ends a transaction in two steps. When a commit returns, it is decided and durable. The markers that make it
//! visible are written a few milliseconds later. [`Groups::committed`] and a group's next member wait for them.
//! [`Log::watermarks`] and readers see the transaction as open until then.

mod append;
mod arrival;
mod cluster;
mod committer;
mod creation;
mod errors;
mod growth;
mod joining;
mod member;
mod native;
mod options;
mod positions;
mod producer;
mod reader;
mod rebalance;
mod record;
mod report;
mod rights;
mod writer;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use heddle_core::event::{NewRecord, Offset, Partition, Timestamp, TopicPartition};
use heddle_core::explain::Explained;
use heddle_core::limits::Limits;

use self::append::Appender;
use self::cluster::Cluster;
use self::member::KafkaMember;
use self::options::Options;
use self::reader::KafkaReader;
use self::writer::KafkaWriter;
use super::{
    Groups, Log, LogError, Member, MemberOptions, Reader, Right, Start, TopicId, TopicInfo, TopicSpec, Unassigned,
    Watermarks, Writer,
};
use crate::lock::lock;

/// Rounds a wait up to whole milliseconds. rdkafka passes only whole milliseconds to librdkafka. With a remainder, it
/// would call librdkafka again and again, without a pause, until the remainder has passed.
fn whole_millis(wait: Duration) -> Duration {
    let millis = wait.as_nanos().div_ceil(1_000_000);
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// The log on a Kafka cluster.
pub struct KafkaLog {
    cluster: Arc<Cluster>,
    appender: Mutex<Option<Appender>>,
}

impl KafkaLog {
    /// Connects to the brokers at `bootstrap` (`host:port`, several separated by commas), passing `options` on to
    /// librdkafka.
    ///
    /// # Errors
    /// [`LogError::Invalid`] for an option that librdkafka does not know or that the guarantees forbid, naming it;
    /// [`LogError::Unreachable`] if no broker answers within 5 seconds.
    pub fn connect(bootstrap: &str, options: &BTreeMap<String, String>) -> Result<Self, LogError> {
        let cluster = Cluster::connect(Options::new(bootstrap, options)?)?;
        Ok(Self { cluster: Arc::new(cluster), appender: Mutex::new(None) })
    }
}

impl Log for KafkaLog {
    fn topics(&self) -> Result<Vec<TopicInfo>, LogError> {
        self.cluster.topics()
    }

    fn create_topic(&self, spec: &TopicSpec) -> Result<(), LogError> {
        self.cluster.create_topics(std::slice::from_ref(spec)).pop().unwrap_or(Ok(()))
    }

    fn create_topics(&self, specs: &[TopicSpec]) -> Vec<Result<(), LogError>> {
        self.cluster.create_topics(specs)
    }

    fn delete_topic(&self, topic: &str) -> Result<(), LogError> {
        self.cluster.delete_topic(topic)
    }

    fn add_partitions(&self, topic: &str, partitions: i32) -> Result<(), LogError> {
        self.cluster.add_partitions(topic, partitions)
    }

    fn missing_rights(&self, wanted: &[Right]) -> Result<Vec<Right>, LogError> {
        rights::missing(&self.cluster, wanted)
    }

    fn topic_id(&self, topic: &str) -> Result<Option<TopicId>, LogError> {
        self.cluster.topic_id(topic)
    }

    fn topic_option(&self, topic: &str, option: &str) -> Result<Option<String>, LogError> {
        self.cluster.topic_option(topic, option)
    }

    fn cluster_id(&self) -> Result<Option<String>, LogError> {
        Ok(self.cluster.cluster_id())
    }

    fn limits(&self, topic: &str) -> Result<Limits, LogError> {
        Ok(self.cluster.limits(topic)?.each)
    }

    fn limits_now(&self, topic: &str) -> Result<Limits, LogError> {
        self.cluster.forget_limits(topic);
        self.limits(topic)
    }

    fn watermarks(&self, topic: &str) -> Result<Vec<Watermarks>, LogError> {
        self.cluster.watermarks(topic)
    }

    fn offsets_at(&self, topic: &str, time: Timestamp) -> Result<BTreeMap<Partition, Offset>, LogError> {
        self.cluster.offsets_at(topic, time)
    }

    fn append(&self, records: &[NewRecord]) -> Result<Vec<(TopicPartition, Offset)>, LogError> {
        let mut appender = lock(&self.appender);
        let appender = match &mut *appender {
            Some(appender) => appender,
            none => none.insert(Appender::new(&self.cluster)?),
        };
        appender.append(&self.cluster, records)
    }

    fn reader(&self, from: &[(TopicPartition, Start)]) -> Result<Box<dyn Reader>, LogError> {
        Ok(Box::new(KafkaReader::new(&self.cluster, from)?))
    }

    fn writer(&self, transactional_id: &str) -> Result<Box<dyn Writer>, LogError> {
        Ok(Box::new(KafkaWriter::take(&self.cluster, transactional_id)?))
    }
}

impl Groups for KafkaLog {
    fn unassigned(&self, group: &str, topics: &[TopicInfo]) -> Result<Option<Unassigned>, LogError> {
        self.cluster.unassigned(group, topics)
    }

    fn members(&self, group: &str) -> Result<Vec<String>, LogError> {
        self.cluster.members(group)
    }

    fn members_assign(&self) -> bool {
        !self.cluster.options().assigned_by_broker()
    }

    fn join_fault(&self, group: &str) -> Option<Explained> {
        Some(self.cluster.group_fault(group))
    }

    fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Offset>, LogError> {
        self.cluster.committed(group, partitions)
    }

    fn set_committed(&self, group: &str, positions: &[(TopicPartition, Offset)]) -> Result<(), LogError> {
        self.cluster.set_committed(group, positions)
    }

    fn join(&self, options: &MemberOptions) -> Result<Box<dyn Member>, LogError> {
        Ok(Box::new(KafkaMember::join(Arc::clone(&self.cluster), options)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_has_no_part_of_a_millisecond_left() {
        let waits = [0, 1, 999_999, 1_000_000, 1_000_001].map(Duration::from_nanos);
        assert_eq!(waits.map(whole_millis), [0, 1, 1, 1, 2].map(Duration::from_millis));
    }
}
