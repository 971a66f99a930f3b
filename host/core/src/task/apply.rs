//! The application of an outcome. The batch gets all effects of a record or none of them.
//!
//! ```text
//!  handled ──settle──> refused by the log? ──no──> emits, state writes, message id
//!                                │yes
//!  failed ───────────────────────┴──> policy ─┬─ again ────────> the worker
//!                                             ├─ later ────────> parked record
//!                                             └─ dead letter ──> dead letter
//! ```
//!
//! Dead-lettered and parked messages are not recorded as seen, so a later copy is processed.

use std::time::Duration;

use bytes::Bytes;

use crate::batch::{Ending, OpenBatch};
use crate::dedup::MessageId;
use crate::effects::Effects;
use crate::event::{NewRecord, Timestamp};
use crate::failed::{Failure, retry};
use crate::fault::{EventFault, EventFaultKind, TaskFault};
use crate::policy::{Disposition, Retry};
use crate::state::{StoreIndex, Writes};

use super::arrival::{Arrival, Origin};
use super::{Dispatch, Next, Step, Task};

/// The outcome of a record. Nothing of it is recorded yet.
#[derive(Debug)]
pub enum Outcome {
    /// Its handler succeeded.
    Handled {
        /// The results of the handler.
        effects: Effects,
        /// The id of the record's message, if it has one.
        id: Option<MessageId>,
    },
    /// It failed, so the failure policy decides.
    Failed(EventFault),
    /// Its message was already processed.
    Duplicate,
    /// It is a record of a table.
    Change {
        /// The table.
        table: StoreIndex,
        /// The key and its new value; `None` if the table cannot have the key.
        change: Option<(Bytes, Option<Bytes>)>,
    },
    /// It is parked behind the parked records of its key.
    Behind {
        /// The due time of the first of them.
        ahead: Timestamp,
        /// Its entry in the schedule.
        packed: Bytes,
    },
    /// There is no room to park it behind the records of its key. The first of them is due at this time.
    NoRoom(Timestamp),
}

/// The results of a successful delivery. The log accepts all of them.
pub(super) struct Accepted {
    pub(super) emits: Vec<NewRecord>,
    pub(super) writes: Writes,
    pub(super) id: Option<MessageId>,
}

/// The fault of a record that can neither be parked nor wait for room.
pub(super) fn crowded() -> EventFault {
    let why = "it cannot be parked behind records of its key: too many are parked, or the changelog refuses it";
    EventFault::new(EventFaultKind::Crowded, why)
}

impl Task {
    /// Records the outcome of a record in `batch`. If it must be tried again in place, nothing is recorded. `now` is
    /// the time of a failure and the base of the next attempt's due time; nothing else depends on it.
    ///
    /// # Errors
    /// If the state cannot be read. Then drop `batch`.
    pub fn apply(
        &mut self,
        arrival: &Arrival,
        outcome: Outcome,
        handler: &mut dyn Dispatch,
        batch: &mut OpenBatch,
        now: Timestamp,
    ) -> Result<Step, TaskFault> {
        let fault = match outcome {
            Outcome::Handled { effects, id } => match self.fit(arrival, effects, id, handler, now) {
                Ok(accepted) => return Ok(self.accept(arrival, accepted, batch)),
                Err(fault) => fault,
            },
            Outcome::Failed(fault) => fault,
            Outcome::Duplicate => {
                self.finish(arrival, Ending::Duplicate, batch);
                return Ok(Step { next: Next::Skipped, ..Step::default() });
            }
            Outcome::Change { table, change } => return Ok(self.change(arrival, table, change, batch)),
            Outcome::Behind { ahead, packed } => {
                if self.takes_parked(arrival, &packed, handler, now) {
                    self.push(arrival, packed, Timestamp(0), batch)?;
                    return Ok(Step { next: Next::Later(ahead), ..Step::default() });
                }
                crowded()
            }
            Outcome::NoRoom(ahead) => return Ok(Step { next: Next::NoRoom(ahead), ..Step::default() }),
        };
        self.fail(arrival, fault, handler, batch, now)
    }

    fn accept(&mut self, arrival: &Arrival, accepted: Accepted, batch: &mut OpenBatch) -> Step {
        let (record, Accepted { emits, writes, id }) = (arrival.record(), accepted);
        let overlay = batch.overlay(self.partition);
        overlay.write(writes, record.timestamp);
        if let Some(id) = id {
            overlay.mark(&record.source.topic, id, record.timestamp);
        }
        self.finish(arrival, Ending::Handled { emitted: emits.len() as u64 }, batch);
        Step { writes: emits, ..Step::default() }
    }

    /// Puts a record into its table, in the transaction that is open. A record whose key no table can have changes
    /// nothing.
    fn change(
        &mut self,
        arrival: &Arrival,
        table: StoreIndex,
        change: Option<(Bytes, Option<Bytes>)>,
        batch: &mut OpenBatch,
    ) -> Step {
        let fits = change.is_some();
        if let Some((key, value)) = change {
            let writes = Writes::from([((table, key), value)]);
            batch.overlay(self.partition).write(writes, arrival.record().timestamp);
        }
        self.finish(arrival, Ending::Applied { fits }, batch);
        Step { next: Next::Applied, ..Step::default() }
    }

    /// Applies the failure policy to a record that failed.
    fn fail(
        &mut self,
        arrival: &Arrival,
        fault: EventFault,
        handler: &mut dyn Dispatch,
        batch: &mut OpenBatch,
        now: Timestamp,
    ) -> Result<Step, TaskFault> {
        let spec = self.spec.clone();
        match spec.policy.decide(&self.delivery(arrival).id(), arrival.tried(), &fault) {
            Disposition::Again(after) => {
                let next = Next::Again { attempt: arrival.attempt_in_place() + 1, after };
                return Ok(Step { fault: Some(fault), next, ..Step::default() });
            }
            Disposition::Later(delay) => {
                let (parked, due) = self.postponed(arrival, &fault, now, delay);
                if let Some(writes) = self.park(arrival, parked, due, handler, batch, now)? {
                    return Ok(Step { writes, fault: Some(fault), next: Next::Later(due) });
                }
            }
            Disposition::DeadLetter => {}
        }
        let step = self.dead_letter(arrival, fault, handler, now);
        if step.next == Next::Done {
            self.finish(arrival, Ending::DeadLettered, batch);
        }
        Ok(step)
    }

    /// The parked record for a delay, and its due time.
    fn postponed(&self, arrival: &Arrival, fault: &EventFault, at: Timestamp, delay: &Retry) -> (NewRecord, Timestamp) {
        let due = later(at, delay.delay);
        let (delivery, failure) = (self.delivery(arrival), self.failure(arrival, fault, at));
        (retry(&delivery, &failure, (arrival.tried().round + 1, due), &delay.topic, self.partition), due)
    }

    pub(super) fn failure<'a>(&'a self, arrival: &Arrival, fault: &'a EventFault, at: Timestamp) -> Failure<'a> {
        Failure { fault, at, digest: self.spec.digest.as_deref(), first: arrival.first_failure(), trace: None }
    }

    /// Records that a record is processed. One from the schedule leaves it, unless it stays parked.
    pub(super) fn finish(&mut self, arrival: &Arrival, ending: Ending, batch: &mut OpenBatch) {
        match &arrival.origin {
            Origin::Input(read) => batch.finish(read, false, ending),
            Origin::Retry(retried) => batch.finish(&retried.read, true, ending),
            Origin::Stray(read) => batch.finish(read, true, ending),
            Origin::Schedule(number, parked) => {
                batch.finish_scheduled(self.partition, ending);
                if ending != Ending::Retried {
                    self.write(*number, None, parked.record.timestamp, batch);
                    self.schedule.get_or_insert_default().pop(*number);
                }
            }
        }
    }
}

fn later(now: Timestamp, delay: Duration) -> Timestamp {
    Timestamp(now.0.saturating_add(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX)))
}
