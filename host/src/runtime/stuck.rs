//! Tasks that are blocked because the log accepts nothing from their next record, not even a dead letter.
//!
//! ```text
//!  stuck ──> reported, held ──pause over──> tried as if for the first time ──still──> held for longer
//!                                                  └──accepted──> continues
//! ```
//!
//! The other tasks continue. An operator changes the topic or grants a right; no restart is needed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use heddle_core::event::{Partition, Record, Timestamp, TopicPartition};
use heddle_core::explain::Explained;
use heddle_core::fault::EventFault;

use super::progress::Progress;
use super::stall::{Cause, Stall, after};
use crate::telemetry::{TaskResumed, TaskStuck};

/// The first hold of a stuck record. It doubles with each failed attempt.
const HOLD_FIRST: Duration = Duration::from_secs(1);
/// The longest hold of a stuck record.
const HOLD_MAX: Duration = Duration::from_secs(60);

/// The blocked tasks of a worker.
pub(super) struct Stuck {
    progress: Arc<Progress>,
    tasks: BTreeMap<Partition, Held>,
}

struct Held {
    stall: Stall,
    until: Duration,
    /// True while the record is tried again.
    trying: bool,
}

/// The next action for a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Step it.
    Go,
    /// Step it, and forget its earlier refusals.
    Anew,
    /// Hold it until this time.
    Wait(Duration),
}

impl Stuck {
    pub(super) fn new(progress: Arc<Progress>) -> Self {
        Self { progress, tasks: BTreeMap::new() }
    }

    /// Decides if a record may be stepped at this time.
    pub(super) fn turn(&mut self, record: &Record, now: impl FnOnce() -> Duration) -> Turn {
        // Called for every record. Tasks are rarely blocked.
        if self.tasks.is_empty() {
            return Turn::Go;
        }
        match self.tasks.get_mut(&record.source.partition).filter(|held| held.is(record)) {
            None => Turn::Go,
            Some(held) if held.trying => Turn::Go,
            Some(held) if held.until > now() => Turn::Wait(held.until),
            Some(held) => {
                held.trying = true;
                Turn::Anew
            }
        }
    }

    /// Holds a record from which the log accepts nothing. Returns the end of the hold.
    pub(super) fn hold(&mut self, record: &Record, fault: &EventFault, now: Duration, at: Timestamp) -> Duration {
        let before = self.tasks.remove(&record.source.partition).filter(|held| held.is(record));
        let (since, tries) = before.map_or((at, 0), |held| (held.stall.since, held.stall.tries));
        let pause = HOLD_FIRST.saturating_mul(1 << tries.min(10)).min(HOLD_MAX);
        let stall = Stall {
            cause: Cause::Refused,
            at: Some((record.source.clone(), record.offset)),
            since,
            tries: tries + 1,
            next_try: Some(after(at, pause)),
            why: Explained::new(fault.to_string())
                .hint("raise the topic's limits, create it, or grant the right to write to it"),
        };
        self.progress.report(TaskStuck { record, tries: stall.tries, wait: pause, why: &stall.why });
        self.progress.stalled(stall.clone());
        self.tasks.insert(record.source.partition, Held { stall, until: now + pause, trying: false });
        now + pause
    }

    /// Records that the open batch has the outcome of a record.
    pub(super) fn stepped(&mut self, record: &Record) {
        if self.tasks.is_empty() {
            return;
        }
        if let Some(held) = self.tasks.remove(&record.source.partition).filter(|held| held.is(record)) {
            let (source, offset, tries) = (&record.source, record.offset, held.stall.tries);
            self.progress.report(TaskResumed { source, offset, tries });
            self.progress.goes_on(&held.stall);
        }
    }

    /// Returns true if a task is held at `now`.
    pub(super) fn is_held(&self, task: Partition, now: Duration) -> bool {
        self.tasks.get(&task).is_some_and(|held| !held.trying && held.until > now)
    }

    /// The time of the next attempt.
    pub(super) fn next(&self) -> Option<Duration> {
        self.tasks.values().filter(|held| !held.trying).map(|held| held.until).min()
    }

    /// Forgets the tasks of partitions that were revoked or lost.
    pub(super) fn let_go(&mut self, partitions: &[TopicPartition]) {
        self.tasks.retain(|_, held| {
            let stays = !partitions.iter().any(|source| held.is_of(source));
            if !stays {
                self.progress.goes_on(&held.stall);
            }
            stays
        });
    }
}

impl Held {
    fn is(&self, record: &Record) -> bool {
        self.stall.at.as_ref().is_some_and(|(source, offset)| *source == record.source && *offset == record.offset)
    }

    fn is_of(&self, partition: &TopicPartition) -> bool {
        self.stall.at.as_ref().is_some_and(|(source, _)| source == partition)
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        self.tasks.values().for_each(|held| self.progress.goes_on(&held.stall));
    }
}
