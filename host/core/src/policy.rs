//! What a failed delivery leads to.

use bytes::Bytes;

use crate::delivery::Delivery;
use crate::event::{Header, NewRecord, Topic};
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

/// Names of the headers that a dead-letter record carries beside its original ones.
pub mod header {
    /// The kind of the fault, see [`EventFaultKind::name`](crate::fault::EventFaultKind::name).
    pub const REASON: &str = "heddle-reason";
    /// The fault in words.
    pub const DETAIL: &str = "heddle-detail";
    /// The component that could not handle the record.
    pub const COMPONENT: &str = "heddle-component";
    /// The topic the record came from.
    pub const TOPIC: &str = "heddle-topic";
    /// The partition the record came from.
    pub const PARTITION: &str = "heddle-partition";
    /// The offset the record had there.
    pub const OFFSET: &str = "heddle-offset";
    /// How many attempts were made.
    pub const ATTEMPTS: &str = "heddle-attempts";
}

/// The record that sets `delivery` aside: key, value, timestamp and headers as they were, the reason in further headers.
#[must_use]
pub fn dead_letter(delivery: &Delivery<'_>, fault: &EventFault, topic: &Topic) -> NewRecord {
    let record = delivery.record;
    let text = |name: &str, value: String| Header::new(name, Bytes::from(value));
    let mut headers = record.headers.clone();
    headers.extend([
        text(header::REASON, fault.kind.name().to_owned()),
        text(header::DETAIL, fault.detail.clone()),
        text(header::COMPONENT, delivery.component.to_string()),
        text(header::TOPIC, record.source.topic.to_string()),
        text(header::PARTITION, record.source.partition.to_string()),
        text(header::OFFSET, record.offset.to_string()),
        text(header::ATTEMPTS, delivery.attempt.to_string()),
    ]);
    NewRecord {
        topic: topic.clone(),
        partition: None,
        timestamp: Some(record.timestamp),
        key: record.key.clone(),
        value: record.value.clone(),
        headers,
    }
}
