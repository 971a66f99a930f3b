//! Records that failed, as they are written: to the dead-letter topic, to a retry topic, or to the task's state. All
//! carry what they were in their own headers, and behind these what went wrong, under `heddle.`.

use std::fmt;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::date::rfc3339;
use crate::delivery::{Delivery, Epoch};
use crate::event::{Header, NewRecord, Offset, Partition, Record, Timestamp, Topic, TopicPartition};
use crate::fault::{EventFault, bounded};

/// How much a reduced dead letter has of its record's key, of its value and of each text, in bytes.
pub const REDUCED_PART_BYTES_MAX: usize = 1 << 10;

/// Names of the headers that a record which failed carries behind its original ones.
///
/// They stand together, [`TOPIC`](header::TOPIC) first, so what stands before them is what the record brought along.
pub mod header {
    /// The topic the record came from. The first of all.
    pub const TOPIC: &str = "heddle.topic";
    /// The partition the record came from.
    pub const PARTITION: &str = "heddle.partition";
    /// The offset the record had there.
    pub const OFFSET: &str = "heddle.offset";
    /// The kind of the fault, see [`EventFaultKind::name`](crate::fault::EventFaultKind::name).
    pub const KIND: &str = "heddle.kind";
    /// The fault in words.
    pub const REASON: &str = "heddle.reason";
    /// How many attempts were made.
    pub const ATTEMPTS: &str = "heddle.attempts";
    /// The component that could not handle the record.
    pub const COMPONENT: &str = "heddle.component";
    /// The digest of its file.
    pub const DIGEST: &str = "heddle.digest";
    /// The id of the schema that the value says it was written by.
    pub const SCHEMA_ID: &str = "heddle.schema-id";
    /// When the record failed for the first time, however often it was replayed since. RFC 3339, UTC.
    pub const FIRST_FAILURE: &str = "heddle.first-failure";
    /// When it failed this time.
    pub const LAST_FAILURE: &str = "heddle.last-failure";
    /// How often it was replayed before.
    pub const REPLAYS: &str = "heddle.replays";
    /// What the handler logged in the last attempt: JSON lines.
    pub const LOG: &str = "heddle.log";
    /// The timestamp that the record had or would have, in milliseconds since 1970: of a record that waits, that is set
    /// aside reduced, or whose topic refuses the timestamp.
    pub const TIMESTAMP: &str = "heddle.timestamp";
    /// Of a dead letter that was reduced: why its topic did not take it as it was.
    pub const REDUCED: &str = "heddle.reduced";
    /// Of a dead letter that was reduced: how many bytes the key had, if there was one.
    pub const KEY_BYTES: &str = "heddle.key-bytes";
    /// The SHA-256 of that key, in hexadecimal digits.
    pub const KEY_SHA256: &str = "heddle.key-sha256";
    /// Of a dead letter that was reduced: how many bytes the value had, if there was one.
    pub const VALUE_BYTES: &str = "heddle.value-bytes";
    /// The SHA-256 of that value, in hexadecimal digits.
    pub const VALUE_SHA256: &str = "heddle.value-sha256";
    /// Of a dead letter that was reduced: how many headers the record brought along.
    pub const HEADERS: &str = "heddle.headers";
    /// Of a record that waits: how many delays it will have waited for.
    pub const ROUND: &str = "heddle.round";
    /// Of a record that waits: when it is tried again, in milliseconds since 1970.
    pub const DUE: &str = "heddle.due";
    /// Of a record that waits: which topic of its name it comes from, see [`Epoch`](crate::delivery::Epoch).
    pub const EPOCH: &str = "heddle.epoch";
}

/// What made a delivery fail, and when.
#[derive(Clone, Debug)]
pub struct Failure<'a> {
    /// What went wrong.
    pub fault: &'a EventFault,
    /// When.
    pub at: Timestamp,
    /// The digest of the component, if it is known.
    pub digest: Option<&'a str>,
    /// When an earlier attempt failed for the first time, as its record says.
    pub first: Option<Bytes>,
}

/// A record that failed or found its key waiting, and is tried later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The record as it was read first.
    pub record: Record,
    /// How many attempts were made.
    pub attempts: u32,
    /// How many delays it will have waited for.
    pub round: usize,
    /// When it is tried again.
    pub due: Timestamp,
    /// When it failed for the first time.
    pub first_failure: Option<Bytes>,
    /// Which topic of its name it comes from.
    pub epoch: Option<Epoch>,
}

/// The record that sets `delivery` aside: key, value, timestamp and headers as they were, the reason in further
/// headers.
///
/// What a replay put behind the headers to tell of earlier failures is taken over, so it is there once.
#[must_use]
pub fn dead_letter(delivery: &Delivery<'_>, failure: &Failure<'_>, topic: &Topic) -> NewRecord {
    let record = delivery.record;
    let own = without_history(&record.headers);
    let mut headers = record.headers[..own].to_vec();
    headers.extend(told(delivery, failure));
    NewRecord {
        topic: topic.clone(),
        partition: None,
        timestamp: Some(record.timestamp),
        key: record.key.clone(),
        value: record.value.clone(),
        headers,
    }
}

/// What is left of a dead letter that its topic does not take: `why`. It tells where the record is and what it looks
/// like, and is so small and plain that hardly a topic refuses it: a few KiB, with a key, at the time of the failure.
#[must_use]
pub fn reduced_dead_letter(delivery: &Delivery<'_>, failure: &Failure<'_>, topic: &Topic, why: &str) -> NewRecord {
    let record = delivery.record;
    let begins = |bytes: &Bytes| bytes.slice(..bytes.len().min(REDUCED_PART_BYTES_MAX));
    let mut headers = told(delivery, failure);
    headers.retain(|header| header.name != header::LOG);
    for header in &mut headers {
        header.value = header
            .value
            .as_deref()
            .map(|value| Bytes::from(bounded(String::from_utf8_lossy(value).into_owned(), REDUCED_PART_BYTES_MAX)));
    }
    headers.push(text(header::REDUCED, &bounded(why.to_owned(), REDUCED_PART_BYTES_MAX)));
    let parts = [
        (&record.key, header::KEY_BYTES, header::KEY_SHA256),
        (&record.value, header::VALUE_BYTES, header::VALUE_SHA256),
    ];
    for (bytes, size, digest) in parts {
        if let Some(bytes) = bytes {
            headers.extend([text(size, &bytes.len()), text(digest, &sha256(bytes))]);
        }
    }
    let own = without_history(&record.headers);
    headers.extend([text(header::HEADERS, &own), text(header::TIMESTAMP, &record.timestamp.0)]);
    NewRecord {
        topic: topic.clone(),
        partition: None,
        timestamp: Some(failure.at),
        key: Some(record.key.as_ref().map_or_else(|| format!("{}@{}", record.source, record.offset).into(), begins)),
        value: record.value.as_ref().map(begins),
        headers,
    }
}

/// Whether a dead letter with these headers was reduced.
#[must_use]
pub fn is_reduced(headers: &[Header]) -> bool {
    let told = own_headers(headers).map_or(&[][..], |own| &headers[own..]);
    told.iter().any(|header| header.name == header::REDUCED)
}

/// The SHA-256 of `bytes`, in hexadecimal digits.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// Gives a record the time `now`, because its topic refuses the one it has, which goes into a header.
pub(crate) fn at_other_time(record: &mut NewRecord, now: Timestamp) {
    let before = record.timestamp.replace(now);
    record.headers.extend(before.map(|before| text(header::TIMESTAMP, &before.0)));
}

/// The record that waits in a retry topic, at its task's partition. Its timestamp is that of the failure, because
/// topics are kept by time and the record's own may be old.
#[must_use]
pub fn retry(
    delivery: &Delivery<'_>,
    failure: &Failure<'_>,
    (round, due): (usize, Timestamp),
    topic: &Topic,
    partition: Partition,
) -> NewRecord {
    let record = delivery.record;
    let mut headers = record.headers.clone();
    headers.extend(told(delivery, failure));
    headers.extend(waits(record, round, due, delivery.epoch));
    NewRecord {
        topic: topic.clone(),
        partition: Some(partition),
        timestamp: Some(failure.at),
        key: record.key.clone(),
        value: record.value.clone(),
        headers,
    }
}

/// The headers of a record that waits though it has not failed: another one of its key does.
#[must_use]
pub fn queued(record: &Record, epoch: Option<&Epoch>) -> Vec<Header> {
    let mut headers = record.headers.clone();
    headers.extend(place(record));
    headers.push(text(header::ATTEMPTS, &0));
    headers.extend(waits(record, 0, Timestamp(0), epoch));
    headers
}

impl Waiting {
    /// Reads what [`retry`] or [`queued`] wrote; `None` if the record is no such one.
    #[must_use]
    pub fn read(record: &Record) -> Option<Self> {
        let at = own_headers(&record.headers)?;
        let (own, told) = record.headers.split_at(at);
        let header =
            |name: &str| told.iter().find(|header| header.name == name).and_then(|header| header.value.clone());
        let number = |name: &str| std::str::from_utf8(&header(name)?).ok()?.parse::<i64>().ok();
        let topic = String::from_utf8(header(header::TOPIC)?.to_vec()).ok()?;
        Some(Self {
            attempts: u32::try_from(number(header::ATTEMPTS)?).ok()?,
            round: usize::try_from(number(header::ROUND)?).ok()?,
            due: Timestamp(number(header::DUE)?),
            first_failure: header(header::FIRST_FAILURE),
            epoch: header(header::EPOCH).and_then(|epoch| Some(std::str::from_utf8(&epoch).ok()?.into())),
            record: Record {
                source: TopicPartition::new(topic, i32::try_from(number(header::PARTITION)?).ok()?),
                offset: Offset(number(header::OFFSET)?),
                timestamp: Timestamp(number(header::TIMESTAMP)?),
                key: record.key.clone(),
                value: record.value.clone(),
                headers: own.to_vec(),
            },
        })
    }
}

fn text(name: &'static str, value: &dyn fmt::Display) -> Header {
    Header::new(name, Bytes::from(value.to_string()))
}

fn place(record: &Record) -> [Header; 3] {
    [
        text(header::TOPIC, &record.source.topic),
        text(header::PARTITION, &record.source.partition),
        text(header::OFFSET, &record.offset),
    ]
}

fn waits(record: &Record, round: usize, due: Timestamp, epoch: Option<&Epoch>) -> impl Iterator<Item = Header> {
    let waits = [text(header::TIMESTAMP, &record.timestamp.0), text(header::ROUND, &round), text(header::DUE, &due.0)];
    waits.into_iter().chain(epoch.map(|epoch| text(header::EPOCH, epoch)))
}

/// What went wrong, in headers.
fn told(delivery: &Delivery<'_>, failure: &Failure<'_>) -> Vec<Header> {
    let (record, fault) = (delivery.record, failure.fault);
    let history = &record.headers[without_history(&record.headers)..];
    let known = |name: &str| history.iter().find(|header| header.name == name).and_then(|header| header.value.clone());
    let at = Bytes::from(rfc3339(failure.at));
    let mut headers = place(record).to_vec();
    headers.extend([
        text(header::KIND, &fault.kind.name()),
        text(header::REASON, &fault.detail),
        text(header::ATTEMPTS, &delivery.attempt),
        text(header::COMPONENT, &delivery.component),
    ]);
    headers.extend(failure.digest.map(|digest| text(header::DIGEST, &digest)));
    if let Some([0, a, b, c, d, ..]) = record.value.as_deref() {
        headers.push(text(header::SCHEMA_ID, &u32::from_be_bytes([*a, *b, *c, *d])));
    }
    let first = known(header::FIRST_FAILURE).or_else(|| failure.first.clone());
    headers.extend([
        Header::new(header::FIRST_FAILURE, first.unwrap_or_else(|| at.clone())),
        Header::new(header::LAST_FAILURE, at),
        Header::new(header::REPLAYS, known(header::REPLAYS).unwrap_or_else(|| Bytes::from_static(b"0"))),
    ]);
    if !fault.log.is_empty() {
        headers.push(text(header::LOG, &fault.log));
    }
    headers
}

/// How many headers a record that failed brought along, before Heddle put its own behind them. `None`: it is no such
/// record.
#[must_use]
pub fn own_headers(failed: &[Header]) -> Option<usize> {
    failed.iter().rposition(|header| header.name == header::TOPIC)
}

/// What a replayed record carries behind its own headers, so that it is known when it fails again.
#[must_use]
pub fn history(first_failure: Bytes, replays: u64) -> [Header; 2] {
    [Header::new(header::FIRST_FAILURE, first_failure), Header::new(header::REPLAYS, replays.to_string())]
}

/// How many headers a replay put behind those of this record: its [`history`].
#[must_use]
pub fn history_of(headers: &[Header]) -> usize {
    headers.len() - without_history(headers)
}

/// How many of a record's headers stand before its [`history`].
fn without_history(headers: &[Header]) -> usize {
    match headers {
        [own @ .., first, replays] if first.name == header::FIRST_FAILURE && replays.name == header::REPLAYS => {
            own.len()
        }
        all => all.len(),
    }
}
