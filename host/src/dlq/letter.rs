//! A dead letter: what was set aside, and what its headers tell.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use heddle_core::date::rfc3339;
use heddle_core::event::{Header, NewRecord, Partition, Record, Timestamp};
use heddle_core::failed::{header, history, history_of, own_headers, sha256};
use serde::{Deserialize, Serialize};

use super::marks::{Mark, What};
use crate::times::parse;

/// Where a letter is in the dead-letter topic: `<partition>/<offset>`.
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

/// Where a record was when it failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// A record of a dead-letter topic.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Where it is.
    pub place: Place,
    /// The component that could not handle it.
    pub component: String,
    /// Where it came from.
    pub origin: Origin,
    /// The kind of the fault.
    pub kind: String,
    /// The fault in words.
    pub reason: String,
    /// The id of the schema its value was written by.
    pub schema_id: Option<u32>,
    /// When it failed.
    pub time: Timestamp,
    /// How often it was replayed before.
    pub replays: u64,
    /// The record as it is there.
    pub record: Record,
    /// How many of its headers it brought along.
    own: usize,
}

impl Letter {
    /// What a record of a dead-letter topic says; `None` if Heddle did not put it there.
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

    /// Why its topic did not take it whole, if it was reduced: then its key and value are no more than their
    /// beginnings.
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

    /// The letter as it would be if it had not been reduced; `None`: `original` is another record than the one that
    /// failed.
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

    /// The headers that the record brought along.
    #[must_use]
    pub fn own_headers(&self) -> &[Header] {
        &self.record.headers[..self.own]
    }

    /// The record that goes back to where this one came from. With a key its partition is found as for any other
    /// record; without one it is the one it was in, if that (one of `partitions`) still exists. Its time is that of the
    /// replay, so that retention does not take it for old.
    #[must_use]
    pub fn original(&self, partitions: i32) -> NewRecord {
        let same = self.record.key.is_none() && self.origin.partition < partitions;
        let first = self.told(header::FIRST_FAILURE).unwrap_or_else(|| rfc3339(self.time));
        let mut headers = self.own_headers().to_vec();
        headers.extend(history(Bytes::from(first), self.replays + 1));
        NewRecord {
            topic: self.origin.topic.as_str().into(),
            partition: same.then_some(Partition(self.origin.partition)),
            timestamp: None,
            key: self.record.key.clone(),
            value: self.record.value.clone(),
            headers,
        }
    }

    /// The line of a list.
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

/// What a letter that was reduced tells of its record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reduced {
    /// Why the dead-letter topic did not take the record whole.
    pub why: String,
    /// How many bytes its key had, if it had one.
    pub key_bytes: Option<u64>,
    /// The key's SHA-256.
    pub key_sha256: Option<String>,
    /// How many bytes its value had, if it was not null.
    pub value_bytes: Option<u64>,
    /// The value's SHA-256.
    pub value_sha256: Option<String>,
    /// How many headers it brought along.
    pub headers: Option<u64>,
}

/// A letter as lists tell of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where it is.
    pub place: Place,
    /// When it failed, in milliseconds since 1970.
    #[serde(skip, default)]
    pub time: i64,
    /// When it failed last.
    pub last_failure: String,
    /// When it failed first.
    pub first_failure: Option<String>,
    /// The kind of the fault.
    pub kind: String,
    /// The fault in words.
    pub reason: String,
    /// Where it came from.
    pub origin: Origin,
    /// How many attempts were made.
    pub attempts: Option<u32>,
    /// How often it was replayed before it failed this time.
    pub replays: u64,
    /// The id of the schema its value was written by.
    pub schema_id: Option<u32>,
    /// What became of it; nothing while it is open.
    pub did: Option<What>,
}

/// What an entry takes beside its words, about.
const ENTRY_BYTES: usize = 400;

impl Entry {
    /// How many bytes it takes, about.
    pub(super) fn bytes(&self) -> usize {
        ENTRY_BYTES + self.kind.len() + self.reason.len() + self.origin.topic.len()
    }
}

fn text(headers: &[Header], name: &str) -> Option<String> {
    let header = headers.iter().find(|header| header.name == name)?;
    Some(String::from_utf8_lossy(header.value.as_deref()?).into_owned())
}
