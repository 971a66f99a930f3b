//! What a failed delivery leads to.

use bytes::Bytes;

use crate::date::rfc3339;
use crate::delivery::Delivery;
use crate::event::{Header, NewRecord, Timestamp, Topic};
use crate::fault::EventFault;

/// A component's failure policy, as its manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailurePolicy {
    /// How often a delivery is tried in place, at least 1.
    pub attempts_max: u32,
    /// Where a record goes that no attempt got through.
    pub dead_letter: Topic,
}

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Deliver the same record again, at once.
    Again,
    /// Set the record aside in the dead-letter topic.
    DeadLetter,
}

impl FailurePolicy {
    /// Decides what follows after `attempt` ended with `fault`.
    #[must_use]
    pub fn decide(&self, attempt: u32, fault: &EventFault) -> Disposition {
        if fault.kind.may_pass() && attempt < self.attempts_max { Disposition::Again } else { Disposition::DeadLetter }
    }
}

/// Names of the headers that a dead-letter record carries behind its original ones.
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
}

/// A failure that sets a record aside.
#[derive(Clone, Copy, Debug)]
pub struct Failure<'a> {
    /// What went wrong.
    pub fault: &'a EventFault,
    /// When.
    pub at: Timestamp,
    /// The digest of the component, if it is known.
    pub digest: Option<&'a str>,
}

/// The record that sets `delivery` aside: key, value, timestamp and headers as they were, the reason in further headers.
///
/// What a replay put behind the headers to tell of earlier failures is taken over, so it is there once.
#[must_use]
pub fn dead_letter(delivery: &Delivery<'_>, failure: &Failure<'_>, topic: &Topic) -> NewRecord {
    let (record, fault) = (delivery.record, failure.fault);
    let (headers, history) = record.headers.split_at(without_history(&record.headers));
    let known = |name: &str| history.iter().find(|header| header.name == name).and_then(|header| header.value.clone());
    let at = Bytes::from(rfc3339(failure.at));
    let text = |name: &str, value: String| Header::new(name, Bytes::from(value));
    let mut headers = headers.to_vec();
    headers.extend([
        text(header::TOPIC, record.source.topic.to_string()),
        text(header::PARTITION, record.source.partition.to_string()),
        text(header::OFFSET, record.offset.to_string()),
        text(header::KIND, fault.kind.name().to_owned()),
        text(header::REASON, fault.detail.clone()),
        text(header::ATTEMPTS, delivery.attempt.to_string()),
        text(header::COMPONENT, delivery.component.to_string()),
    ]);
    headers.extend(failure.digest.map(|digest| text(header::DIGEST, digest.to_owned())));
    if let Some([0, a, b, c, d, ..]) = record.value.as_deref() {
        headers.push(text(header::SCHEMA_ID, u32::from_be_bytes([*a, *b, *c, *d]).to_string()));
    }
    headers.extend([
        Header::new(header::FIRST_FAILURE, known(header::FIRST_FAILURE).unwrap_or_else(|| at.clone())),
        Header::new(header::LAST_FAILURE, at),
        Header::new(header::REPLAYS, known(header::REPLAYS).unwrap_or_else(|| Bytes::from_static(b"0"))),
    ]);
    if !fault.log.is_empty() {
        headers.push(text(header::LOG, fault.log.clone()));
    }
    NewRecord {
        topic: topic.clone(),
        partition: None,
        timestamp: Some(record.timestamp),
        key: record.key.clone(),
        value: record.value.clone(),
        headers,
    }
}

/// How many headers a dead letter brought along, before Heddle put its own behind them. `None`: it is no
/// dead letter.
#[must_use]
pub fn own_headers(letter: &[Header]) -> Option<usize> {
    letter.iter().rposition(|header| header.name == header::TOPIC)
}

/// What a replayed record carries behind its own headers, so that it is known when it fails again.
#[must_use]
pub fn history(first_failure: Bytes, replays: u64) -> [Header; 2] {
    [Header::new(header::FIRST_FAILURE, first_failure), Header::new(header::REPLAYS, replays.to_string())]
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
