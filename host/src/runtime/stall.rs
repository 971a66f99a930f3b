//! Stalls: their cause, place, start and next attempt. Workers report them, and operators read them from memory.

use std::time::Duration;

use heddle_core::event::{Offset, Timestamp, TopicPartition};
use heddle_core::explain::Explained;

/// The cause of a stall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The schema registry does not answer, and the record cannot be decoded without it.
    Registry,
    /// The coordinator of the group or of the transaction does not answer: no tasks are assigned, or a commit takes
    /// long.
    Coordinator,
    /// Another producer left a transaction open in the input.
    OpenTransaction,
    /// There is no room to park the record behind earlier ones of the same key.
    Room,
    /// The disk is full or too slow, so state in memory cannot be written.
    Disk,
    /// A global table is not yet read to the end of its topic, or its topic is gone.
    Table,
    /// A failed record is held until its next attempt.
    Retry,
    /// The log accepts nothing from the record, not even a dead letter.
    Refused,
    /// The circuit breaker is open.
    Breaker,
    /// The component's topics do not fit together, and an operator has to act.
    Topics,
}

impl Cause {
    /// All causes.
    pub const ALL: [Self; 10] = [
        Self::Registry,
        Self::Coordinator,
        Self::OpenTransaction,
        Self::Room,
        Self::Disk,
        Self::Table,
        Self::Retry,
        Self::Refused,
        Self::Breaker,
        Self::Topics,
    ];

    /// The stable name, for status and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Coordinator => "coordinator",
            Self::OpenTransaction => "open-transaction",
            Self::Room => "room",
            Self::Disk => "disk",
            Self::Table => "table",
            Self::Retry => "retry",
            Self::Refused => "refused",
            Self::Breaker => "breaker",
            Self::Topics => "topics",
        }
    }
}

/// A stalled task or component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stall {
    /// The cause.
    pub cause: Cause,
    /// The record or position of a stalled task. `None` stands for the whole component.
    pub at: Option<(TopicPartition, Offset)>,
    /// The start of the stall.
    pub since: Timestamp,
    /// The number of failed attempts.
    pub tries: u32,
    /// The time of the next attempt, if it is known.
    pub next_try: Option<Timestamp>,
    /// The reason, for a person.
    pub why: Explained,
}

/// The last failed delivery of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastFault {
    /// The record's offset.
    pub offset: Offset,
    /// The time of the failure.
    pub at: Timestamp,
    /// The kind of failure.
    pub kind: &'static str,
    /// The reason, for a person.
    pub detail: String,
}

/// A record that a worker is handling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurrentRecord {
    /// Its offset.
    pub offset: Offset,
    /// The time at which its handling began.
    pub since: Timestamp,
    /// The number of the attempt.
    pub attempt: u32,
}

/// The time of day after `wait`.
pub(super) fn after(now: Timestamp, wait: Duration) -> Timestamp {
    Timestamp(now.0.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)))
}
