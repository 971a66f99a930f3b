//! The pauses of a worker: partitions that it does not read, and records parked in its tasks' state that it does not
//! step for now.
//!
//! ```text
//!  breaker open, repeated aborts, disk full ──> all partitions are paused
//!  a record is held back                    ──> its task's partitions are paused, once enough was read ahead
//!  registry down, breaker says "not yet"    ──> parked records are paused
//! ```

use std::collections::BTreeSet;
use std::time::Duration;

use heddle_core::event::{Timestamp, TopicPartition};
use heddle_core::explain::Explained;

use super::progress::Progress;
use super::stall::{Cause, Stall};
use crate::log::{LogError, Member};
use crate::telemetry::{StateFull, StateTaken};

/// The interval between checks for room while the disk is full.
const FULL_WAIT: Duration = Duration::from_millis(100);

/// The pauses of one worker.
#[derive(Default)]
pub(super) struct Throttle {
    /// Partitions of ready tasks that are paused.
    paused: BTreeSet<TopicPartition>,
    /// The end of the pause of parked records.
    rest: Option<Duration>,
    /// The stall while no more state may be committed, until some of it is written to disk.
    full: Option<Stall>,
}

impl Throttle {
    /// Pauses parked records until this time.
    pub(super) fn rest_until(&mut self, until: Duration) {
        self.rest = Some(until);
    }

    /// The end of the pause of parked records, if they are paused.
    pub(super) fn rests_until(&self) -> Option<Duration> {
        self.rest
    }

    /// Returns true if parked records are paused at `now`.
    pub(super) fn rests(&mut self, now: Duration) -> bool {
        self.rest.take_if(|until| *until <= now);
        self.rest.is_some()
    }

    /// The time of the next check for room, while the disk is full.
    pub(super) fn full_until(&self, now: Duration) -> Option<Duration> {
        self.full.as_ref().map(|_| now + FULL_WAIT)
    }

    /// Starts or ends the pause for a full disk, and reports it.
    pub(super) fn set_full(&mut self, is_full: bool, progress: &Progress, now: Timestamp) {
        match (is_full, self.full.take()) {
            (true, None) => {
                let why = Explained::new("its state cannot be written to disk");
                progress.report(StateFull { why: &why });
                let stall = Stall { cause: Cause::Disk, at: None, since: now, tries: 0, next_try: None, why };
                progress.stalled(stall.clone());
                self.full = Some(stall);
            }
            (false, Some(stall)) => {
                progress.report(StateTaken);
                progress.goes_on(&stall);
            }
            (_, before) => self.full = before,
        }
    }

    /// Resumes partitions of tasks that became ready. If `is_shut`, only records that they are paused.
    pub(super) fn resume(
        &mut self,
        partitions: &[TopicPartition],
        is_shut: bool,
        member: &mut dyn Member,
    ) -> Result<(), LogError> {
        if is_shut {
            self.paused.extend(partitions.iter().cloned());
        } else if !partitions.is_empty() {
            member.resume(partitions)?;
        }
        Ok(())
    }

    /// Returns true if no partition is paused.
    pub(super) fn is_open(&self) -> bool {
        self.paused.is_empty()
    }

    /// Pauses these partitions and resumes all others that were paused, so that nothing is read ahead without bound.
    pub(super) fn pause_only(
        &mut self,
        wanted: BTreeSet<TopicPartition>,
        member: &mut dyn Member,
    ) -> Result<(), LogError> {
        let pause = wanted.difference(&self.paused).cloned().collect::<Vec<_>>();
        let resume = self.paused.difference(&wanted).cloned().collect::<Vec<_>>();
        self.paused = wanted;
        if !pause.is_empty() {
            member.pause(&pause)?;
        }
        if !resume.is_empty() {
            member.resume(&resume)?;
        }
        Ok(())
    }

    /// Forgets partitions that were revoked or lost.
    pub(super) fn release(&mut self, partitions: &[TopicPartition]) {
        self.paused.retain(|source| !partitions.contains(source));
    }
}
