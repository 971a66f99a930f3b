//! What went wrong, named by its remedy: the event's (its failure policy), the task's (give up the partition and start
//! again from what is committed), the host's (stop).

use std::fmt;

use thiserror::Error;

/// How much a fault says of what happened, in bytes: a guest may say megabytes, and what it says goes into headers, log
/// lines and answers.
pub const REASON_BYTES_MAX: usize = 4 << 10;

/// Why one delivery failed. All effects of that delivery are dropped and the failure policy decides.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{kind}: {detail}")]
pub struct EventFault {
    /// What kind of failure it was.
    pub kind: EventFaultKind,
    /// What happened, for a person: one line of at most [`REASON_BYTES_MAX`] bytes.
    pub detail: String,
    /// What the handler logged before: JSON lines, bounded. Empty if it logged nothing or was not called.
    pub log: String,
}

impl EventFault {
    /// A fault of `kind` that tells `detail`.
    pub fn new(kind: EventFaultKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: bounded(detail.into(), REASON_BYTES_MAX), log: String::new() }
    }
}

/// The beginning of a text that has more than `bytes_max` bytes, and how many it had.
#[must_use]
pub fn bounded(mut text: String, bytes_max: usize) -> String {
    let bytes = text.len();
    if bytes > bytes_max {
        let rest = format!("… ({bytes} bytes)");
        text.truncate(text.floor_char_boundary(bytes_max.saturating_sub(rest.len())));
        text.shrink_to_fit();
        text.push_str(&rest);
    }
    text
}

/// Why a task cannot go on: what it has of its state cannot be read. No record is at fault, so nothing may be decided
/// about one: the worker gives everything up and starts again from what is committed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the state of the task cannot be read: {0}")]
pub struct TaskFault(pub String);

impl Explain for TaskFault {}

/// What a delivery can end with, beside success.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// The record's failure policy decides.
    #[error(transparent)]
    Event(#[from] EventFault),
    /// The task gives up.
    #[error(transparent)]
    Task(#[from] TaskFault),
}

/// The kinds of failure of one delivery. [`EventFaultKind::name`] is what dead-letter headers and metrics carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventFaultKind {
    /// The value's bytes do not decode by its schema, or name a schema that is not known.
    Decode,
    /// The value is null where the component expects one.
    NullValue,
    /// The value is larger than the component's limit.
    TooLarge,
    /// The handler answered with an error that trying again cannot cure.
    Rejected,
    /// The handler answered with an error that may pass.
    Failed,
    /// The handler trapped.
    Trap,
    /// The handler ran past its deadline.
    Deadline,
    /// The handler asked for more memory than its limit.
    Memory,
    /// The handler used up its stack: it called itself too deeply.
    Stack,
    /// The handler emitted a value that its topic's schema cannot hold, or that the log cannot take.
    Emit,
    /// The handler emitted or wrote more than one delivery may.
    Output,
    /// The handler wrote to a store what its schema cannot hold or what is too large, or read more of it at once than
    /// it may.
    State,
    /// Too many records wait for their key's turn already.
    Crowded,
}

impl EventFaultKind {
    /// The stable name, as written to headers and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::NullValue => "null-value",
            Self::TooLarge => "too-large",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::Stack => "stack",
            Self::Emit => "emit",
            Self::Output => "output",
            Self::State => "state",
            Self::Crowded => "crowded",
        }
    }

    /// Whether the same delivery, tried again, may end otherwise, if the component's policy does not say so itself.
    /// Handlers are deterministic, so a trap is not cured by trying again; a deadline may have been missed because the
    /// machine was busy.
    #[must_use]
    pub const fn may_pass(self) -> bool {
        matches!(self, Self::Failed | Self::Deadline)
    }

    /// All kinds.
    pub const ALL: [Self; 13] = [
        Self::Decode,
        Self::NullValue,
        Self::TooLarge,
        Self::Rejected,
        Self::Failed,
        Self::Trap,
        Self::Deadline,
        Self::Memory,
        Self::Stack,
        Self::Emit,
        Self::Output,
        Self::State,
        Self::Crowded,
    ];
}

impl fmt::Display for EventFaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_without_end_is_cut_between_characters() {
        let fault = EventFault::new(EventFaultKind::Rejected, "ü".repeat(9 << 20));
        assert!(fault.detail.len() <= REASON_BYTES_MAX && fault.detail.len() > REASON_BYTES_MAX - 4);
        assert!(fault.detail.starts_with("üü") && fault.detail.ends_with("ü… (18874368 bytes)"));
        assert_eq!(EventFault::new(EventFaultKind::Rejected, "no").detail, "no");
    }
}
