//! Failed records in their written form: in the dead-letter topic, a retry topic, or the task's state. Their original
//! headers come first, followed by headers about the failure with the prefix `heddle.`.

use std::fmt;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::date::rfc3339;
use crate::delivery::{Delivery, Epoch};
use crate::event::{Header, NewRecord, Offset, Partition, Record, Timestamp, Topic, TopicPartition};
use crate::fault::{EventFault, bounded};
use crate::trace::Context;

/// The maximum size, in bytes, of the key, of the value and of each text in a reduced dead letter.
pub const REDUCED_PART_BYTES_MAX: usize = 1 << 10;

/// The header with the schema id of a value, for values that do not contain it.
const VALUE_SCHEMA_ID: &str = "__value_schema_id";

/// Names of the headers that a failed record has after its original ones.
///
/// They are consecutive and begin with [`TOPIC`](header::TOPIC), so all headers before it are original ones.
pub mod header {
    /// The original topic. The first of these headers.
    pub const TOPIC: &str = "heddle.topic";
    /// The original partition.
    pub const PARTITION: &str = "heddle.partition";
    /// The original offset.
    pub const OFFSET: &str = "heddle.offset";
    /// The kind of the fault, see [`EventFaultKind::name`](crate::fault::EventFaultKind::name).
    pub const KIND: &str = "heddle.kind";
    /// The fault as text.
    pub const REASON: &str = "heddle.reason";
    /// The number of attempts.
    pub const ATTEMPTS: &str = "heddle.attempts";
    /// The component that failed to process the record.
    pub const COMPONENT: &str = "heddle.component";
    /// The digest of the component's file.
    pub const DIGEST: &str = "heddle.digest";
    /// The schema id in the value.
    pub const SCHEMA_ID: &str = "heddle.schema-id";
    /// The time of the record's first failure, including failures before replays. RFC 3339, UTC.
    pub const FIRST_FAILURE: &str = "heddle.first-failure";
    /// The time of this failure.
    pub const LAST_FAILURE: &str = "heddle.last-failure";
    /// The number of earlier replays.
    pub const REPLAYS: &str = "heddle.replays";
    /// In a dead letter: the trace context of the delivery that failed, if it is recorded.
    pub const TRACEPARENT: &str = "heddle.traceparent";
    /// The handler's log lines in the last attempt: JSON lines.
    pub const LOG: &str = "heddle.log";
    /// The record's original timestamp, in milliseconds since 1970. Set for parked records, for reduced dead letters,
    /// and if the topic refuses the timestamp.
    pub const TIMESTAMP: &str = "heddle.timestamp";
    /// In a reduced dead letter: the reason why the topic refused the whole record.
    pub const REDUCED: &str = "heddle.reduced";
    /// In a reduced dead letter: the size of the key in bytes, if there was one.
    pub const KEY_BYTES: &str = "heddle.key-bytes";
    /// The SHA-256 of that key, in hexadecimal digits.
    pub const KEY_SHA256: &str = "heddle.key-sha256";
    /// In a reduced dead letter: the size of the value in bytes, if there was one.
    pub const VALUE_BYTES: &str = "heddle.value-bytes";
    /// The SHA-256 of that value, in hexadecimal digits.
    pub const VALUE_SHA256: &str = "heddle.value-sha256";
    /// In a reduced dead letter: the number of original headers.
    pub const HEADERS: &str = "heddle.headers";
    /// In a parked record: the number of delays, including the current one.
    pub const ROUND: &str = "heddle.round";
    /// In a parked record: the time of the next attempt, in milliseconds since 1970.
    pub const DUE: &str = "heddle.due";
    /// In a parked record: the incarnation of its topic, see [`Epoch`](crate::delivery::Epoch).
    pub const EPOCH: &str = "heddle.epoch";
}

/// The failure of a delivery.
#[derive(Clone, Debug)]
pub struct Failure<'a> {
    /// The fault.
    pub fault: &'a EventFault,
    /// The time of the failure.
    pub at: Timestamp,
    /// The digest of the component, if it is known.
    pub digest: Option<&'a str>,
    /// The time of the first failure in the record's headers, if an earlier attempt failed.
    pub first: Option<Bytes>,
    /// The trace context of the delivery, if it is recorded.
    pub trace: Option<Context>,
}

/// A parked record: it failed, or an earlier record of its key is parked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// The record as it was first read.
    pub record: Record,
    /// The number of attempts.
    pub attempts: u32,
    /// The number of delays, including the current one.
    pub round: usize,
    /// The time of the next attempt.
    pub due: Timestamp,
    /// The time of the first failure.
    pub first_failure: Option<Bytes>,
    /// The incarnation of its topic.
    pub epoch: Option<Epoch>,
}

/// The dead letter of `delivery`: the original key, value, timestamp and headers, followed by headers with the reason.
///
/// The history that a replay appended to the headers is moved into these headers, so it occurs once.
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

/// The reduced dead letter of `delivery`, for a topic that refuses the whole one for the reason `why`. It has the
/// position of the record and a description of it. Hardly any topic refuses it: it has a few KiB, a key, and the time
/// of the failure as its timestamp.
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

/// Returns true if a dead letter with these headers was reduced.
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

/// Sets the timestamp to `now`, because the topic refuses the original one. A header keeps the original.
pub(crate) fn at_other_time(record: &mut NewRecord, now: Timestamp) {
    let before = record.timestamp.replace(now);
    record.headers.extend(before.map(|before| text(header::TIMESTAMP, &before.0)));
}

/// The parked record for a retry topic, in its task's partition. Its timestamp is that of the failure, because
/// retention follows the timestamp and the original one may be old.
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

/// The headers of a parked record that has not failed, because an earlier record of its key is parked.
#[must_use]
pub fn queued(record: &Record, epoch: Option<&Epoch>) -> Vec<Header> {
    let mut headers = record.headers.clone();
    headers.extend(place(record));
    headers.push(text(header::ATTEMPTS, &0));
    headers.extend(waits(record, 0, Timestamp(0), epoch));
    headers
}

impl Parked {
    /// Parses a record that [`retry`] or [`queued`] wrote; `None` if it is not a parked record.
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

/// The headers about a failure.
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
    // A header with the schema id takes precedence over the value's prefix.
    let named = record.headers.iter().rfind(|header| header.name == VALUE_SCHEMA_ID);
    let named = named.map_or(record.value.as_deref(), |header| header.value.as_deref());
    if let Some([0, a, b, c, d, ..]) = named {
        headers.push(text(header::SCHEMA_ID, &u32::from_be_bytes([*a, *b, *c, *d])));
    }
    let first = known(header::FIRST_FAILURE).or_else(|| failure.first.clone());
    headers.extend([
        Header::new(header::FIRST_FAILURE, first.unwrap_or_else(|| at.clone())),
        Header::new(header::LAST_FAILURE, at),
        Header::new(header::REPLAYS, known(header::REPLAYS).unwrap_or_else(|| Bytes::from_static(b"0"))),
    ]);
    headers.extend(failure.trace.map(|context| Header::new(header::TRACEPARENT, context.header())));
    if !fault.log.is_empty() {
        headers.push(text(header::LOG, &fault.log));
    }
    headers
}

/// The number of original headers of a failed record, which precede Heddle's. `None` if it is not a failed record.
#[must_use]
pub fn own_headers(failed: &[Header]) -> Option<usize> {
    failed.iter().rposition(|header| header.name == header::TOPIC)
}

/// The headers that a replay appends to a record, so that a later failure is recognized as a repeated one.
#[must_use]
pub fn history(first_failure: Bytes, replays: u64) -> [Header; 2] {
    [Header::new(header::FIRST_FAILURE, first_failure), Header::new(header::REPLAYS, replays.to_string())]
}

/// The number of headers that a replay appended to this record; see [`history`].
#[must_use]
pub fn history_of(headers: &[Header]) -> usize {
    headers.len() - without_history(headers)
}

/// The number of a record's headers before those of a replay; see [`history`].
fn without_history(headers: &[Header]) -> usize {
    match headers {
        [own @ .., first, replays] if first.name == header::FIRST_FAILURE && replays.name == header::REPLAYS => {
            own.len()
        }
        all => all.len(),
    }
}
