//! A dead letter: its record, and the content of its headers.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use heddle_core::date::rfc3339;
use heddle_core::event::{Header, NewRecord, Partition, Record, Timestamp};
use heddle_core::failed::{header, history, history_of, own_headers, sha256};
use heddle_core::trace::TRACEPARENT;
use serde::{Deserialize, Serialize};

use super::marks::{Mark, What};
use crate::times::parse;

/// The position of a letter in the dead-letter topic: `<partition>/<offset>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Place {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

impl Place {
    pub(super) fn partition(self) -> Partition {
        Partition(self.partition)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.partition, self.offset)
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let place = text.split_once('/').and_then(|(partition, offset)| {
            let (partition, offset) = (partition.parse().ok()?, offset.parse().ok()?);
            (partition >= 0 && offset >= 0).then_some(Self { partition, offset })
        });
        place.ok_or_else(|| "write <partition>/<offset>, as `heddle dlq list` does".to_owned())
    }
}

impl TryFrom<String> for Place {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Place> for String {
    fn from(place: Place) -> Self {
        place.to_string()
    }
}

/// The position of a record at its failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// A record in a dead-letter topic.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Its position.
    pub place: Place,
    /// The component that failed to process it.
    pub component: String,
    /// The position of the original record.
    pub origin: Origin,
    /// The kind of the fault.
    pub kind: String,
    /// The fault as text.
    pub reason: String,
    /// The id of the schema with which its value was written.
    pub schema_id: Option<u32>,
    /// The time of the failure.
    pub time: Timestamp,
    /// The number of earlier replays.
    pub replays: u64,
    /// The record in the dead-letter topic.
    pub record: Record,
    /// The number of headers that the original record had.
    own: usize,
}

impl Letter {
    /// Parses a record of a dead-letter topic. Returns `None` if Heddle did not write it.
    #[must_use]
    pub fn of(record: Record) -> Option<Self> {
        let own = own_headers(&record.headers)?;
        let text = |name| text(&record.headers[own..], name);
        let time = text(header::LAST_FAILURE).and_then(|time| parse(&time)).unwrap_or(record.timestamp);
        Some(Self {
            place: Place { partition: record.source.partition.0, offset: record.offset.0 },
            component: text(header::COMPONENT)?,
            origin: Origin {
                topic: text(header::TOPIC)?,
                partition: text(header::PARTITION)?.parse().ok()?,
                offset: text(header::OFFSET)?.parse().ok()?,
            },
            kind: text(header::KIND)?,
            reason: text(header::REASON)?,
            schema_id: text(header::SCHEMA_ID).and_then(|id| id.parse().ok()),
            time,
            replays: text(header::REPLAYS).and_then(|replays| replays.parse().ok()).unwrap_or(0),
            record,
            own,
        })
    }

    /// The reason why the dead-letter topic refused the whole record, if the letter was reduced. The key and value of a
    /// reduced letter are truncated.
    #[must_use]
    pub fn reduced(&self) -> Option<Reduced> {
        let size = |name| self.told(name).and_then(|bytes| bytes.parse().ok());
        Some(Reduced {
            why: self.told(header::REDUCED)?,
            key_bytes: size(header::KEY_BYTES),
            key_sha256: self.told(header::KEY_SHA256),
            value_bytes: size(header::VALUE_BYTES),
            value_sha256: self.told(header::VALUE_SHA256),
            headers: size(header::HEADERS),
        })
    }

    /// Returns the letter with the key, value and headers of `original`. Returns `None` if `original` is not the record
    /// that failed.
    #[must_use]
    pub fn with_original(&self, original: Record) -> Option<Self> {
        let reduced = self.reduced()?;
        let same = |bytes: &Option<Bytes>, digest: &Option<String>| bytes.as_deref().map(sha256) == *digest;
        if !same(&original.key, &reduced.key_sha256) || !same(&original.value, &reduced.value_sha256) {
            return None;
        }
        let own = original.headers.len() - history_of(&original.headers);
        let mut headers = original.headers[..own].to_vec();
        headers.extend_from_slice(&self.record.headers[self.own..]);
        let record = Record { key: original.key, value: original.value, headers, ..self.record.clone() };
        Some(Self { record, own, ..self.clone() })
    }

    /// One of the headers that Heddle added, as text.
    #[must_use]
    pub fn told(&self, name: &str) -> Option<String> {
        text(&self.record.headers[self.own..], name)
    }

    /// The headers of the original record.
    #[must_use]
    pub fn own_headers(&self) -> &[Header] {
        &self.record.headers[..self.own]
    }

    /// Returns the record for a replay to the original topic. With a key, its partition is chosen as for any other
    /// record. Without a key it is the original one, if that still exists (there are `partitions`). Its timestamp is
    /// that of the replay, so that retention does not delete it as old. A record without a trace context gets that of
    /// the delivery that failed, so that the replay is in the same trace.
    #[must_use]
    pub fn original(&self, partitions: i32) -> NewRecord {
        let same = self.record.key.is_none() && self.origin.partition < partitions;
        let first = self.told(header::FIRST_FAILURE).unwrap_or_else(|| rfc3339(self.time));
        let mut headers = self.own_headers().to_vec();
        if !headers.iter().any(|header| header.name == TRACEPARENT) {
            let failed = self.told(header::TRACEPARENT);
            headers.extend(failed.map(|context| Header::new(TRACEPARENT, context)));
        }
        headers.extend(history(Bytes::from(first), self.replays.saturating_add(1)));
        NewRecord {
            topic: self.origin.topic.as_str().into(),
            partition: same.then_some(Partition(self.origin.partition)),
            timestamp: None,
            key: self.record.key.clone(),
            value: self.record.value.clone(),
            headers,
        }
    }

    /// The letter as a list entry.
    #[must_use]
    pub fn entry(&self, mark: Option<&Mark>) -> Entry {
        Entry {
            place: self.place,
            time: self.time.0,
            last_failure: rfc3339(self.time),
            first_failure: self.told(header::FIRST_FAILURE),
            kind: self.kind.clone(),
            reason: self.reason.clone(),
            origin: self.origin.clone(),
            attempts: self.told(header::ATTEMPTS).and_then(|attempts| attempts.parse().ok()),
            replays: self.replays,
            schema_id: self.schema_id,
            did: mark.map(|mark| mark.did),
        }
    }
}

/// The information that a reduced letter has about its original record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reduced {
    /// The reason why the dead-letter topic refused the whole record.
    pub why: String,
    /// The size of the key in bytes, if there was one.
    pub key_bytes: Option<u64>,
    /// The key's SHA-256.
    pub key_sha256: Option<String>,
    /// The size of the value in bytes, if it was not null.
    pub value_bytes: Option<u64>,
    /// The value's SHA-256.
    pub value_sha256: Option<String>,
    /// The number of headers of the original record.
    pub headers: Option<u64>,
}

/// A letter in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its position.
    pub place: Place,
    /// The time of the failure, in milliseconds since 1970.
    #[serde(skip, default)]
    pub time: i64,
    /// The time of the last failure.
    pub last_failure: String,
    /// The time of the first failure.
    pub first_failure: Option<String>,
    /// The kind of the fault.
    pub kind: String,
    /// The fault as text.
    pub reason: String,
    /// The position of the original record.
    pub origin: Origin,
    /// The number of attempts.
    pub attempts: Option<u32>,
    /// The number of replays before this failure.
    pub replays: u64,
    /// The id of the schema with which its value was written.
    pub schema_id: Option<u32>,
    /// The action that was taken, unless the letter is open.
    pub did: Option<What>,
}

/// The approximate size of an entry without its texts.
const ENTRY_BYTES: usize = 400;

impl Entry {
    /// The approximate size in bytes.
    pub(super) fn bytes(&self) -> usize {
        ENTRY_BYTES + self.kind.len() + self.reason.len() + self.origin.topic.len()
    }
}

fn text(headers: &[Header], name: &str) -> Option<String> {
    let header = headers.iter().find(|header| header.name == name)?;
    Some(String::from_utf8_lossy(header.value.as_deref()?).into_owned())
}
