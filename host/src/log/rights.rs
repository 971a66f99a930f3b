//! What a log's brokers can grant, in Kafka's words.

use std::fmt;

/// Something that may be done to a resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Right {
    /// To what.
    pub resource: Resource,
    /// What may be done.
    pub operation: Operation,
}

/// What a right is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// A topic.
    Topic(String),
    /// A consumer group.
    Group(String),
    /// All transactional ids that begin like this.
    TransactionalIds(String),
}

/// What may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Read records, or be a member of a group.
    Read,
    /// Write records, or write in transactions.
    Write,
    /// Create the topic.
    Create,
    /// Add partitions.
    Alter,
    /// Read options.
    DescribeConfigs,
}

impl Operation {
    /// As Kafka's tools spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "Read",
            Self::Write => "Write",
            Self::Create => "Create",
            Self::Alter => "Alter",
            Self::DescribeConfigs => "DescribeConfigs",
        }
    }
}

impl Right {
    /// The rights to do all this to a topic.
    pub fn on_topic<'a>(topic: &'a str, operations: &'a [Operation]) -> impl Iterator<Item = Self> + use<'a> {
        let right = |operation: &Operation| Self { resource: Resource::Topic(topic.to_owned()), operation: *operation };
        operations.iter().map(right)
    }

    /// What has to be given to `kafka-acls.sh --add --allow-principal …` to grant it.
    #[must_use]
    pub fn grant(&self) -> String {
        let operation = self.operation.name();
        match &self.resource {
            Resource::Topic(topic) => format!("--operation {operation} --topic {topic}"),
            Resource::Group(group) => format!("--operation {operation} --group {group}"),
            Resource::TransactionalIds(prefix) => {
                format!("--operation {operation} --transactional-id {prefix} --resource-pattern-type prefixed")
            }
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(topic) => write!(f, "the topic `{topic}`"),
            Self::Group(group) => write!(f, "the consumer group `{group}`"),
            Self::TransactionalIds(prefix) => write!(f, "transactional ids that begin with `{prefix}`"),
        }
    }
}
