//! The rights that a log's brokers can grant, in Kafka's terms.

use std::fmt;

/// A permission for an operation on a resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Right {
    /// The resource.
    pub resource: Resource,
    /// The permitted operation.
    pub operation: Operation,
}

/// The resource of a right.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// A topic.
    Topic(String),
    /// A consumer group.
    Group(String),
    /// All transactional ids with this prefix.
    TransactionalIds(String),
}

/// An operation on a resource.
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
    /// The spelling of Kafka's tools.
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
    /// The rights for these operations on a topic.
    pub fn on_topic<'a>(topic: &'a str, operations: &'a [Operation]) -> impl Iterator<Item = Self> + use<'a> {
        let right = |operation: &Operation| Self { resource: Resource::Topic(topic.to_owned()), operation: *operation };
        operations.iter().map(right)
    }

    /// The arguments of `kafka-acls.sh --add --allow-principal …` that grant the right.
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
