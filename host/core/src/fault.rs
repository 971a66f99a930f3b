//! Faults, named by remedy: for an event, its failure policy; for a task, to give up the partition and restart from the
//! committed state; for the host, to stop.

use std::fmt;

use thiserror::Error;

use crate::explain::Explain;

/// The longest reason in a fault, in bytes. A guest may return megabytes, and the reason goes into headers, log lines
/// and answers.
pub const REASON_BYTES_MAX: usize = 4 << 10;

/// The reason why one delivery failed. All its effects are dropped, and the failure policy decides.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{kind}: {detail}")]
pub struct EventFault {
    /// The kind of the fault.
    pub kind: EventFaultKind,
    /// The reason: one line of at most [`REASON_BYTES_MAX`] bytes.
    pub detail: String,
    /// The handler's log lines before the fault: JSON lines, bounded. Empty if it logged nothing or was not called.
    pub log: String,
}

impl EventFault {
    /// Creates a fault of `kind` with the reason `detail`.
    pub fn new(kind: EventFaultKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: bounded(detail.into(), REASON_BYTES_MAX), log: String::new() }
    }
}

/// Truncates a text that has more than `bytes_max` bytes, and appends its original size.
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

/// The reason why a task cannot continue: its state cannot be read. No record is at fault, so no record's policy
/// applies. The worker gives up all its tasks and restarts from the committed state.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the state of the task cannot be read: {0}")]
pub struct TaskFault(pub String);

impl Explain for TaskFault {}

/// The faults with which a delivery can end.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// The record's failure policy decides.
    #[error(transparent)]
    Event(#[from] EventFault),
    /// The task stops.
    #[error(transparent)]
    Task(#[from] TaskFault),
}

/// The kinds of failure of one delivery. Dead-letter headers and metrics use [`EventFaultKind::name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventFaultKind {
    /// The value cannot be decoded with its schema, or names an unknown schema.
    Decode,
    /// The value is null, but the component expects one.
    NullValue,
    /// The value is larger than the component's limit.
    TooLarge,
    /// The handler returned an error that a retry cannot fix.
    Rejected,
    /// The handler returned an error that a retry may fix.
    Failed,
    /// The handler trapped.
    Trap,
    /// The handler exceeded its deadline.
    Deadline,
    /// The handler requested more memory than its limit.
    Memory,
    /// The handler exhausted its stack by too deep recursion.
    Stack,
    /// The handler emitted a value that does not match its topic's schema, or that the log refuses.
    Emit,
    /// The handler emitted or wrote more than one delivery may.
    Output,
    /// The handler wrote a value to a store that does not match its schema or is too large, or read too much at once.
    State,
    /// The handler read an entry of a table whose value cannot be decoded.
    Table,
    /// Too many records are already parked, for the record's key or for the task.
    Crowded,
}

impl EventFaultKind {
    /// The stable name, for headers and metrics.
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
            Self::Table => "table",
            Self::Crowded => "crowded",
        }
    }

    /// Returns true if a retry of the same delivery may succeed. This is the default for components whose policy does
    /// not list faults. Handlers are deterministic, so a retry does not fix a trap. A missed deadline may be due to a
    /// busy machine, and the producer of a table's entry may correct it.
    #[must_use]
    pub const fn may_pass(self) -> bool {
        matches!(self, Self::Failed | Self::Deadline | Self::Table)
    }

    /// All kinds.
    pub const ALL: [Self; 14] = [
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
        Self::Table,
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
