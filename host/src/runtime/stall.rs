//! Stalls: what a task waits for, where, since when, and when it tries again. A worker reports them, an operator reads
//! them from memory.

use std::time::Duration;

use heddle_core::event::{Offset, Timestamp, TopicPartition};
use heddle_core::explain::Explained;

/// What a task waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The schema registry: it does not answer, and the record cannot be decoded without it.
    Registry,
    /// The group's or the transaction's coordinator: no tasks are assigned, or a commit takes long.
    Coordinator,
    /// A transaction that another producer left open in the input.
    OpenTransaction,
    /// Room to wait behind earlier records of the same key.
    Room,
    /// The disk: state in memory cannot be written.
    Disk,
    /// The next attempt of a record that failed.
    Retry,
    /// The log: it takes nothing that the record leads to, not even a dead letter.
    Refused,
    /// The circuit breaker.
    Breaker,
    /// Somebody who makes the component's topics fit.
    Topics,
}

impl Cause {
    /// All causes.
    pub const ALL: [Self; 9] = [
        Self::Registry,
        Self::Coordinator,
        Self::OpenTransaction,
        Self::Room,
        Self::Disk,
        Self::Retry,
        Self::Refused,
        Self::Breaker,
        Self::Topics,
    ];

    /// The stable name, as in the status and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Coordinator => "coordinator",
            Self::OpenTransaction => "open-transaction",
            Self::Room => "room",
            Self::Disk => "disk",
            Self::Retry => "retry",
            Self::Refused => "refused",
            Self::Breaker => "breaker",
            Self::Topics => "topics",
        }
    }
}

/// A task, or a whole component, that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stall {
    /// What for.
    pub cause: Cause,
    /// The record it waits at, or the position; `None`: the whole component waits.
    pub at: Option<(TopicPartition, Offset)>,
    /// Since when.
    pub since: Timestamp,
    /// How often the record was tried.
    pub tries: u32,
    /// When it is tried again, if that is known.
    pub next_try: Option<Timestamp>,
    /// What went wrong, for a person.
    pub why: Explained,
}

/// The last delivery of a partition that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastFault {
    /// The record's offset.
    pub offset: Offset,
    /// When it failed.
    pub at: Timestamp,
    /// The kind of failure.
    pub kind: &'static str,
    /// What happened, for a person.
    pub detail: String,
}

/// A record that a worker has before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurrentRecord {
    /// Its offset.
    pub offset: Offset,
    /// Since when.
    pub since: Timestamp,
    /// The number of the attempt.
    pub attempt: u32,
}

/// The time of day after a wait.
pub(super) fn after(now: Timestamp, wait: Duration) -> Timestamp {
    Timestamp(now.0.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)))
}
