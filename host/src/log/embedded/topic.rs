//! Topics: Kafka's rule for names, and the topic options that the embedded log supports.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use heddle_core::event::{NewRecord, Partition, Topic, TopicPartition};
use heddle_core::limits::Limits;
use heddle_core::partitioner::partition_of;

use super::store::{PartitionId, StoredTopic};
use crate::log::{LogError, TopicSpec, now};

/// The maximum number of partitions of a topic.
const PARTITIONS_MAX: i32 = 10_000;

/// Kafka's default for `max.message.bytes`.
const MESSAGE_BYTES_MAX: usize = 1_048_588;

/// Kafka's default for `retention.ms`: seven days.
const RETENTION_MS: i64 = 7 * 24 * 3_600 * 1_000;

/// Kafka's default for `message.timestamp.after.max.ms`: an hour.
const AFTER_MAX: Duration = Duration::from_secs(3_600);

/// The options of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Policy {
    /// True if only the newest record of each key is kept.
    pub(super) compact: bool,
    /// The maximum age of a batch's newest record, in milliseconds.
    pub(super) retention_ms: Option<i64>,
    /// The size in bytes to which the oldest batches of a partition are dropped.
    pub(super) retention_bytes: Option<u64>,
    /// The maximum size of a record in bytes, measured as a batch with this record only.
    pub(super) message_bytes_max: usize,
    /// The maximum distance of a timestamp behind this log's clock.
    pub(super) before_max: Option<Duration>,
    /// The maximum distance of a timestamp ahead of this log's clock.
    pub(super) after_max: Option<Duration>,
}

impl Policy {
    /// Parses Kafka's topic options. Refuses those that the embedded log does not support.
    pub(super) fn parse(options: &BTreeMap<String, String>) -> Result<Self, LogError> {
        let (mut delete, mut compact) = (true, false);
        let (mut retention_ms, mut retention_bytes) = (Some(RETENTION_MS), None);
        let mut message_bytes_max = MESSAGE_BYTES_MAX;
        let (mut before_max, mut after_max) = (None, Some(AFTER_MAX));
        for (name, value) in options {
            let invalid = |wanted: &str| LogError::Invalid(format!("topic option {name} = {value}: must be {wanted}"));
            let limit = || match value.parse::<i64>() {
                Ok(-1) => Ok(None),
                Ok(limit @ 0..) => Ok(Some(limit)),
                _ => Err(invalid("a number, or -1 for no limit")),
            };
            let distance = || value.parse().map(Duration::from_millis).map_err(|_| invalid("a number of milliseconds"));
            match name.as_str() {
                "cleanup.policy" => {
                    let words: Vec<&str> = value.split(',').map(str::trim).collect();
                    if words.iter().any(|word| !matches!(*word, "delete" | "compact")) {
                        return Err(invalid("delete, compact or compact,delete"));
                    }
                    (delete, compact) = (words.contains(&"delete"), words.contains(&"compact"));
                }
                "retention.ms" => retention_ms = limit()?,
                "retention.bytes" => retention_bytes = limit()?.map(i64::unsigned_abs),
                "max.message.bytes" => {
                    message_bytes_max = value.parse().map_err(|_| invalid("a number of bytes"))?;
                }
                "message.timestamp.before.max.ms" => before_max = Some(distance()?),
                "message.timestamp.after.max.ms" => after_max = Some(distance()?),
                _ => {
                    return Err(LogError::Invalid(format!(
                        "topic option {name}: the embedded log honours cleanup.policy, retention.ms, retention.bytes, \
                         max.message.bytes and message.timestamp.{{before,after}}.max.ms only"
                    )));
                }
            }
        }
        if !delete {
            (retention_ms, retention_bytes) = (None, None);
        }
        Ok(Self { compact, retention_ms, retention_bytes, message_bytes_max, before_max, after_max })
    }
}

/// A topic that is ready for use.
#[derive(Debug)]
pub(super) struct TopicMeta {
    pub(super) name: Topic,
    pub(super) id: u32,
    pub(super) identity: String,
    pub(super) partitions: i32,
    pub(super) policy: Policy,
    /// A counter that assigns records without a key to partitions in turn.
    keyless: AtomicU64,
}

impl TopicMeta {
    /// Creates a topic from its stored form.
    pub(super) fn new(name: &str, stored: &StoredTopic) -> Result<Self, LogError> {
        Ok(Self {
            name: name.into(),
            id: stored.id,
            identity: stored.identity.clone(),
            partitions: stored.partitions,
            policy: Policy::parse(&stored.options)?,
            keyless: AtomicU64::new(0),
        })
    }

    /// The store's id of a partition.
    pub(super) fn partition(&self, partition: Partition) -> PartitionId {
        PartitionId { topic: self.id, partition: partition.0 }
    }

    /// All its partitions.
    pub(super) fn all(&self) -> impl Iterator<Item = (TopicPartition, PartitionId)> + '_ {
        (0..self.partitions)
            .map(|number| (TopicPartition::new(self.name.clone(), number), self.partition(Partition(number))))
    }

    /// The limits of the topic.
    pub(super) fn limits(&self) -> Limits {
        Limits {
            partitions: self.partitions,
            batch_bytes_max: Some(self.policy.message_bytes_max),
            client_bytes_max: None,
            keyed: self.policy.compact,
            before_max: self.policy.before_max,
            after_max: self.policy.after_max,
        }
    }

    /// The partition of `record`, or the reason why it is refused.
    pub(super) fn place(&self, record: &NewRecord) -> Result<PartitionId, LogError> {
        let misfit = |misfit| LogError::RecordRefused(format!("topic `{}` {misfit}", self.name));
        self.limits().check(record.borrowed(), now()).map_err(misfit)?;
        let partition = match (record.partition, &record.key) {
            (Some(partition), _) => partition,
            (None, Some(key)) => partition_of(key, self.partitions),
            (None, None) => {
                let turn =
                    self.keyless.fetch_add(1, Ordering::Relaxed) % u64::from(self.partitions.unsigned_abs().max(1));
                Partition(i32::try_from(turn).unwrap_or(0))
            }
        };
        Ok(self.partition(partition))
    }
}

/// Checks name, partitions and options, which do not depend on the log.
pub(super) fn check(spec: &TopicSpec) -> Result<(), LogError> {
    let name = spec.name.as_str();
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > 249 || matches!(name, "." | "..") || !name.chars().all(legal) {
        return Err(LogError::Invalid(format!(
            "topic name `{name}`: must be 1 to 249 of the letters a-z, A-Z, 0-9, `.`, `_` and `-`, and not `.` or `..`"
        )));
    }
    if !(1..=PARTITIONS_MAX).contains(&spec.partitions) {
        return Err(LogError::Invalid(format!(
            "topic `{name}`: {} partitions: must be 1 to {PARTITIONS_MAX}",
            spec.partitions
        )));
    }
    Policy::parse(&spec.options).map(|_| ())
}
