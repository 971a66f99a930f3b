//! Records on their way into a task.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::event::{Record, Timestamp, Topic};
use crate::failed::Parked;
use crate::policy::Tried;
use crate::schedule::Number;

/// A record that a task is to process, with its earlier attempts. A parked record is parsed once, when its arrival is
/// created.
#[derive(Debug)]
pub struct Arrival {
    pub(super) origin: Origin,
    /// The number of the attempt in place.
    attempt: u32,
}

/// The origin of a record.
#[derive(Debug)]
pub(super) enum Origin {
    /// The input, or the topic of a table.
    Input(Record),
    /// A retry topic.
    Retry(Box<Retried>),
    /// A retry topic. The record is not a parked record, so another program wrote it.
    Stray(Record),
    /// The task's schedule.
    Schedule(Number, Box<Parked>),
}

/// A parked record that was read from a retry topic.
#[derive(Debug)]
pub(super) struct Retried {
    /// The record in the retry topic.
    pub(super) read: Record,
    parked: Parked,
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
        let origin = match Parked::read(&read) {
            Some(parked) => Origin::Retry(Box::new(Retried { read, parked })),
            None => Origin::Stray(read),
        };
        Self { origin, attempt: 1 }
    }

    /// Creates the arrival of a record from the task's schedule.
    pub(super) fn scheduled(number: Number, parked: Parked) -> Self {
        Self { origin: Origin::Schedule(number, Box::new(parked)), attempt: 1 }
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
            Origin::Retry(retried) => &retried.parked.record,
            Origin::Schedule(_, parked) => &parked.record,
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
        self.parked().map_or(0, |parked| parked.attempts) + self.attempt
    }

    /// The time of the attempt. A record that is not parked is due at once.
    #[must_use]
    pub fn due(&self) -> Timestamp {
        self.parked().map_or(Timestamp(0), |parked| parked.due)
    }

    pub(super) fn parked(&self) -> Option<&Parked> {
        match &self.origin {
            Origin::Input(_) | Origin::Stray(_) => None,
            Origin::Retry(retried) => Some(&retried.parked),
            Origin::Schedule(_, parked) => Some(parked),
        }
    }

    pub(super) fn tried(&self) -> Tried {
        match self.parked() {
            Some(parked) => Tried { in_place: None, round: parked.round },
            None => Tried { in_place: Some(self.attempt), round: 0 },
        }
    }

    pub(super) fn first_failure(&self) -> Option<Bytes> {
        self.parked().and_then(|parked| parked.first_failure.clone())
    }
}
