//! Records in a log, and their positions.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::settle::CE_ID;

/// A topic's name. Cheap to clone.
pub type Topic = Arc<str>;

/// The number of a partition within its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition(pub i32);

/// A position within a partition; the first record ever written has offset 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Offset(pub i64);

impl Offset {
    /// The position after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z, as Kafka counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

/// One partition of one topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic.
    pub topic: Topic,
    /// The partition within it.
    pub partition: Partition,
}

impl TopicPartition {
    /// Names a partition of `topic`.
    pub fn new(topic: impl Into<Topic>, partition: i32) -> Self {
        Self { topic: topic.into(), partition: Partition(partition) }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// A header of a record. Names may repeat and keep their order; a value may be null.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// The header's name.
    pub name: Cow<'static, str>,
    /// The header's value, or null.
    pub value: Option<Bytes>,
}

impl Header {
    /// A header with a value.
    pub fn new(name: impl Into<Cow<'static, str>>, value: impl Into<Bytes>) -> Self {
        Self { name: name.into(), value: Some(value.into()) }
    }
}

/// A record that was read from a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The partition it was read from.
    pub source: TopicPartition,
    /// Its position there.
    pub offset: Offset,
    /// The time at which it was produced.
    pub timestamp: Timestamp,
    /// Its key, or null.
    pub key: Option<Bytes>,
    /// Its value, or null (a tombstone on compacted topics).
    pub value: Option<Bytes>,
    /// Its headers, in order.
    pub headers: Vec<Header>,
}

/// The header with the id of the business transaction to which a record belongs.
pub const CE_CORRELATION_ID: &str = "ce_correlationid";

impl Record {
    /// The text of the first header with this name. `None` if there is no such header, or if it is not text.
    #[must_use]
    pub fn text_header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|header| header.name == name)?;
        std::str::from_utf8(found.value.as_ref()?).ok()
    }

    /// The id of the event: the one in its headers, or its position, `<topic>/<partition>/<offset>`.
    #[must_use]
    pub fn event_id(&self) -> Cow<'_, str> {
        let position = || Cow::Owned(format!("{}/{}", self.source, self.offset));
        self.text_header(CE_ID).map_or_else(position, Cow::Borrowed)
    }

    /// The id of the business transaction to which the record belongs: the one in its headers, or the id of the record
    /// itself, which is then the first one.
    #[must_use]
    pub fn correlation_id(&self) -> Cow<'_, str> {
        self.text_header(CE_CORRELATION_ID).map_or_else(|| self.event_id(), Cow::Borrowed)
    }
}

/// A record to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord {
    /// The topic to write to.
    pub topic: Topic,
    /// The partition, or none if the partitioner chooses it by the key (murmur2, like the Java clients).
    pub partition: Option<Partition>,
    /// The time at which it was produced, or none for the log's clock.
    pub timestamp: Option<Timestamp>,
    /// Its key, or null.
    pub key: Option<Bytes>,
    /// Its value, or null.
    pub value: Option<Bytes>,
    /// Its headers, in order.
    pub headers: Vec<Header>,
}

/// A borrowed record to be written.
#[derive(Clone, Copy, Debug)]
pub struct NewRecordRef<'a> {
    /// The topic to write to.
    pub topic: &'a Topic,
    /// The partition, or none if the partitioner chooses it.
    pub partition: Option<Partition>,
    /// The time at which it was produced, or none for the log's clock.
    pub timestamp: Option<Timestamp>,
    /// Its key, or null.
    pub key: Option<&'a [u8]>,
    /// Its value, or null.
    pub value: Option<&'a [u8]>,
    /// Its headers, in order.
    pub headers: &'a [Header],
}

impl NewRecord {
    /// Borrows the record.
    #[must_use]
    pub fn borrowed(&self) -> NewRecordRef<'_> {
        let Self { topic, partition, timestamp, key, value, headers } = self;
        let (key, value) = (key.as_deref(), value.as_deref());
        NewRecordRef { topic, partition: *partition, timestamp: *timestamp, key, value, headers }
    }
}

impl NewRecordRef<'_> {
    /// Copies the record.
    #[must_use]
    pub fn copied(&self) -> NewRecord {
        NewRecord {
            topic: self.topic.clone(),
            partition: self.partition,
            timestamp: self.timestamp,
            key: self.key.map(Bytes::copy_from_slice),
            value: self.value.map(Bytes::copy_from_slice),
            headers: self.headers.to_vec(),
        }
    }
}
