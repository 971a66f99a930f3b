//! Calls of other processes to a running host's log, and the answers. They are sent as JSON, with bytes in base64.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use heddle_core::event::{Header, NewRecord, Offset, Partition, Record, Timestamp, TopicPartition};
use serde::{Deserialize, Serialize};

use crate::log::LogError;

/// A call to the log.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Call {
    Topics,
    Create {
        name: String,
        partitions: i32,
        options: BTreeMap<String, String>,
    },
    Delete {
        topic: String,
    },
    TopicId {
        topic: String,
    },
    Watermarks {
        topic: String,
    },
    Committed {
        group: String,
        partitions: Vec<(String, i32)>,
    },
    Append {
        records: Vec<Wire>,
    },
    Read {
        from: Vec<(String, i32, From)>,
        wait_ms: u64,
    },
    /// Takes over a transactional id, which fences its previous writer.
    Writer {
        id: String,
    },
    /// Writes one transaction, by the writer that was given this number.
    Write {
        id: String,
        number: u64,
        records: Vec<Wire>,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Topics(Vec<(String, i32)>),
    Done,
    TopicId(Option<String>),
    Watermarks(Vec<(i32, i64, i64, i64)>),
    Positions(Vec<(String, i32, i64)>),
    Records { records: Vec<Wire>, positions: Vec<(String, i32, i64)> },
    Writer(u64),
    Fenced(String),
    UnknownTopic(String),
    TopicExists(String),
    RecordRefused(String),
    Refused(String),
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum From {
    Beginning,
    End,
    At(i64),
}

/// A record as it is sent, in either direction.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Wire {
    topic: String,
    partition: Option<i32>,
    offset: Option<i64>,
    timestamp: Option<i64>,
    key: Option<String>,
    value: Option<String>,
    headers: Vec<(String, Option<String>)>,
}

fn encode(bytes: &Bytes) -> String {
    BASE64.encode(bytes)
}

fn decode(text: Option<String>) -> Result<Option<Bytes>, LogError> {
    let decoded = text.map(|text| BASE64.decode(text).map(Bytes::from)).transpose();
    decoded.map_err(|e| LogError::Invalid(format!("bytes that are not base64: {e}")))
}

fn wire_headers(headers: &[Header]) -> Vec<(String, Option<String>)> {
    headers.iter().map(|header| (header.name.to_string(), header.value.as_ref().map(encode))).collect()
}

impl Wire {
    pub(super) fn of_new(record: &NewRecord) -> Self {
        Self {
            topic: record.topic.to_string(),
            partition: record.partition.map(|partition| partition.0),
            offset: None,
            timestamp: record.timestamp.map(|timestamp| timestamp.0),
            key: record.key.as_ref().map(encode),
            value: record.value.as_ref().map(encode),
            headers: wire_headers(&record.headers),
        }
    }

    pub(super) fn of(record: &Record) -> Self {
        Self {
            topic: record.source.topic.to_string(),
            partition: Some(record.source.partition.0),
            offset: Some(record.offset.0),
            timestamp: Some(record.timestamp.0),
            key: record.key.as_ref().map(encode),
            value: record.value.as_ref().map(encode),
            headers: wire_headers(&record.headers),
        }
    }

    pub(super) fn into_new(self) -> Result<NewRecord, LogError> {
        let header = |(name, value): (String, _)| Ok(Header { name: name.into(), value: decode(value)? });
        Ok(NewRecord {
            topic: self.topic.into(),
            partition: self.partition.map(Partition),
            timestamp: self.timestamp.map(Timestamp),
            key: decode(self.key)?,
            value: decode(self.value)?,
            headers: self.headers.into_iter().map(header).collect::<Result<_, LogError>>()?,
        })
    }

    pub(super) fn into_record(self) -> Result<Record, LogError> {
        let (partition, offset, timestamp) = (self.partition, self.offset, self.timestamp);
        let new = self.into_new()?;
        let (Some(partition), Some(offset), Some(timestamp)) = (partition, offset, timestamp) else {
            return Err(LogError::Invalid("the host answered with a record without its place".to_owned()));
        };
        Ok(Record {
            source: TopicPartition { topic: new.topic, partition: Partition(partition) },
            offset: Offset(offset),
            timestamp: Timestamp(timestamp),
            key: new.key,
            value: new.value,
            headers: new.headers,
        })
    }
}

/// Positions as they are sent.
pub(super) fn places<'a>(
    positions: impl IntoIterator<Item = (&'a TopicPartition, &'a Offset)>,
) -> Vec<(String, i32, i64)> {
    positions.into_iter().map(|(place, offset)| (place.topic.to_string(), place.partition.0, offset.0)).collect()
}

impl Call {
    /// The topics that the call would change.
    pub(super) fn changed(&self) -> Vec<&str> {
        match self {
            Self::Create { name: topic, .. } | Self::Delete { topic } => vec![topic],
            Self::Append { records } | Self::Write { records, .. } => {
                records.iter().map(|record| record.topic.as_str()).collect()
            }
            _ => vec![],
        }
    }
}
