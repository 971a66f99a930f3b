//! Records on their way into a task.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::event::{Record, Timestamp, Topic};
use crate::failed::Waiting;
use crate::policy::Tried;
use crate::waiting::Number;

/// A record that a task is to process, with its earlier attempts. A parked record is parsed once, when its arrival is
/// created.
#[derive(Debug)]
pub struct Arrival {
    pub(super) origin: Origin,
    /// The number of the attempt in place.
    attempt: u32,
}

/// The place that a record comes from.
#[derive(Debug)]
pub(super) enum Origin {
    /// The input, or the topic of a table.
    Input(Record),
    /// A retry topic.
    Retry(Box<Retried>),
    /// A retry topic. The record is not a parked record, so another program wrote it.
    Stray(Record),
    /// The task's state.
    State(Number, Box<Waiting>),
}

/// A parked record that was read from a retry topic.
#[derive(Debug)]
pub(super) struct Retried {
    /// The record in the retry topic.
    pub(super) read: Record,
    waiting: Waiting,
}

impl Arrival {
    /// Creates the arrival of a record from the input or a retry topic.
    #[must_use]
    pub fn of(record: Record, retry_topics: &BTreeSet<Topic>) -> Self {
        if retry_topics.contains(&record.source.topic) { Self::retried(record) } else { Self::input(record) }
    }

    /// Creates the arrival of a record from the input, or from the topic of a table.
    #[must_use]
    pub fn input(record: Record) -> Self {
        Self { origin: Origin::Input(record), attempt: 1 }
    }

    /// Creates the arrival of a record from a retry topic.
    #[must_use]
    pub fn retried(read: Record) -> Self {
        let origin = match Waiting::read(&read) {
            Some(waiting) => Origin::Retry(Box::new(Retried { read, waiting })),
            None => Origin::Stray(read),
        };
        Self { origin, attempt: 1 }
    }

    /// Creates the arrival of a record that is parked in the task's state.
    pub(super) fn parked(number: Number, waiting: Waiting) -> Self {
        Self { origin: Origin::State(number, Box::new(waiting)), attempt: 1 }
    }

    /// Sets the number of the next attempt in place.
    #[must_use]
    pub fn again(self, attempt: u32) -> Self {
        Self { attempt, ..self }
    }

    /// The record as it was first read.
    #[must_use]
    pub fn record(&self) -> &Record {
        match &self.origin {
            Origin::Input(record) | Origin::Stray(record) => record,
            Origin::Retry(retried) => &retried.waiting.record,
            Origin::State(_, waiting) => &waiting.record,
        }
    }

    /// The record as it was read now. It differs from [`record`](Self::record) if it comes from a retry topic.
    #[must_use]
    pub fn read(&self) -> &Record {
        match &self.origin {
            Origin::Retry(retried) => &retried.read,
            _ => self.record(),
        }
    }

    /// The number of the attempt in place.
    #[must_use]
    pub fn attempt_in_place(&self) -> u32 {
        self.attempt
    }

    /// The number of the attempt, counted from the first one before the record was parked.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.waiting().map_or(0, |waiting| waiting.attempts) + self.attempt
    }

    /// The time of the attempt. A record that is not parked is due at once.
    #[must_use]
    pub fn due(&self) -> Timestamp {
        self.waiting().map_or(Timestamp(0), |waiting| waiting.due)
    }

    pub(super) fn waiting(&self) -> Option<&Waiting> {
        match &self.origin {
            Origin::Input(_) | Origin::Stray(_) => None,
            Origin::Retry(retried) => Some(&retried.waiting),
            Origin::State(_, waiting) => Some(waiting),
        }
    }

    pub(super) fn tried(&self) -> Tried {
        match self.waiting() {
            Some(waiting) => Tried { in_place: None, round: waiting.round },
            None => Tried { in_place: Some(self.attempt), round: 0 },
        }
    }

    pub(super) fn first_failure(&self) -> Option<Bytes> {
        self.waiting().and_then(|waiting| waiting.first_failure.clone())
    }
}
