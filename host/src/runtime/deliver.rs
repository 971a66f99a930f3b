//! The delivery of one record by a worker: checks that it may be delivered now, steps it, and handles the outcome.
//!
//! ```text
//!  backlog ──────┐          ┌─ no registry, no admission, stuck, no room, to be tried again ──> held
//!  state, due ───┴──> step ─┤
//!                           └─ done, skipped, parked ──> settle ──> the transaction
//! ```

use std::time::Duration;

use heddle_contract::wire::split;
use heddle_core::breaker::Admission;
use heddle_core::event::{Partition, Record, Timestamp};
use heddle_core::failed::Waiting;
use heddle_core::fault::{EventFault, EventFaultKind};
use heddle_core::task::{Next, Step};

use super::backlog::{Due, until};
use super::fault::{TurnError, WorkerFault};
use super::reporter::Hold;
use super::stall::{Cause, after};
use super::stuck::Turn;
use super::tables::TABLE_WAIT;
use super::worker::{POLL_WAIT, Worker};
use crate::telemetry::{DeliveryBegun, DeliveryEnded, Measured, Outcome};

/// The minimum pause before a record that found no room to be parked is tried again.
const ROOM_WAIT: Duration = Duration::from_millis(10);

impl Worker {
    /// Steps the next due record that is parked in the state of a task. Returns false if there is none, or if it cannot
    /// be delivered now.
    pub(super) fn step_due(&mut self, task: Partition) -> Result<bool, TurnError> {
        let now = self.clock.timestamp();
        let Some(open) = self.tasks.get_mut(task) else { return Ok(false) };
        let Some(record) = open.peek_due(self.transaction.batch(), now)? else { return Ok(false) };
        if let Err(why) = self.handler.prepare(&record) {
            let until = self.wait_for_registry(&record, &why);
            self.throttle.rest_until(until);
            return Ok(false);
        }
        if let Some(until) = self.admit() {
            self.throttle.rest_until(until);
            return Ok(false);
        }
        match self.stuck.turn(&record, || self.clock.now()) {
            Turn::Go => {}
            Turn::Anew => self.handler.refusals.forget(&record),
            Turn::Wait(_) => return Ok(false),
        }
        self.transaction.begin();
        let Some(open) = self.tasks.get_mut(task) else { return Ok(false) };
        self.reporter.take(&record, 1, now);
        self.progress.telemetry().delivery_begun(DeliveryBegun { record: &record, attempt: 1 });
        match open.step_due(&mut self.handler, self.transaction.batch(), now) {
            Ok(None) => Ok(false),
            Ok(Some(step)) => {
                self.hold_or_release(&record, &step, now);
                self.end(&record, 1, outcome(&step, now), step.fault.as_ref());
                if step.next == Next::Stuck {
                    self.hold_stuck(&record, &step);
                    return Ok(false);
                }
                self.settle(&record, step)?;
                Ok(true)
            }
            Err(fault) => {
                let why = self.handler.take_unavailable();
                let until = match &why {
                    Some(why) => self.wait_for_registry(&record, why),
                    None => self.wait_for_table(&record).ok_or(fault)?,
                };
                self.end(&record, 1, Outcome::Held, None);
                self.throttle.rest_until(until);
                Ok(false)
            }
        }
    }

    /// Holds the record of a step that decided nothing, or releases it, and notes a failure.
    fn hold_or_release(&mut self, record: &Record, step: &Step, now: Timestamp) {
        let why = || step.fault.as_ref().map(ToString::to_string).unwrap_or_default();
        match step.next {
            Next::Again { attempt, after: wait } => {
                let tries = attempt.saturating_sub(1);
                self.reporter.hold(record, Cause::Retry, Hold { tries, next_try: after(now, wait), why: why() }, now);
            }
            Next::NoRoom(at) => {
                let why = "as many records wait behind this key, or in this task, as may wait".to_owned();
                self.reporter.hold(record, Cause::Room, Hold { tries: 0, next_try: at, why }, now);
            }
            Next::Done | Next::Skipped | Next::Applied | Next::Later(_) | Next::Stuck => self.reporter.stepped(record),
        }
        if let Some(fault) = &step.fault {
            self.reporter.failed(record, fault, now);
        }
    }

    /// Holds up the task of a record from which the log accepts nothing. Returns the end of the hold.
    fn hold_stuck(&mut self, record: &Record, step: &Step) -> Duration {
        let now = self.clock.now();
        let Some(fault) = &step.fault else { return now };
        self.stuck.hold(record, fault, now, self.clock.timestamp())
    }

    /// Steps a record of the backlog, or holds it.
    pub(super) fn step(&mut self, due: Due) -> Result<(), TurnError> {
        let record = &due.record;
        if let Err(why) = self.prepare(record) {
            let until = self.wait_for_registry(record, &why);
            self.backlog.hold(due, until);
            return Ok(());
        }
        if let Some(until) = self.admit() {
            self.backlog.hold(due, until);
            return Ok(());
        }
        let waiting = self.waiting(record);
        let original = waiting.as_ref().map_or(record, |waiting| &waiting.record);
        match self.stuck.turn(original, || self.clock.now()) {
            Turn::Go => {}
            Turn::Anew => self.handler.refusals.forget(original),
            Turn::Wait(until) => {
                self.backlog.hold(due, until);
                return Ok(());
            }
        }
        self.transaction.begin();
        let Some(task) = self.tasks.get_mut(record.source.partition) else {
            let why = format!("{} is not assigned, and a record of it came", record.source);
            return Err(WorkerFault::Stop(why.into()).into());
        };
        let now = self.clock.timestamp();
        let attempt = waiting.as_ref().map_or(due.attempt, |waiting| waiting.attempts + due.attempt);
        self.reporter.take(record, due.attempt, now);
        self.progress.telemetry().delivery_begun(DeliveryBegun { record: original, attempt });
        let step = match task.step(record, due.attempt, &mut self.handler, self.transaction.batch(), now) {
            Ok(step) => step,
            Err(fault) => {
                let until = match self.handler.take_unavailable() {
                    Some(why) => self.wait_for_registry(record, &why),
                    None => self.wait_for_table(record).ok_or(fault)?,
                };
                self.end(original, attempt, Outcome::Held, None);
                self.backlog.hold(due, until);
                return Ok(());
            }
        };
        self.hold_or_release(record, &step, now);
        self.end(original, attempt, outcome(&step, now), step.fault.as_ref());
        match step.next {
            Next::Again { attempt, after: wait } => {
                self.backlog.hold(Due { attempt, ..due }, self.clock.now() + wait);
                Ok(())
            }
            Next::NoRoom(at) => {
                let wait = until(at, self.clock.timestamp()).max(ROOM_WAIT);
                self.backlog.hold(due, self.clock.now() + wait);
                Ok(())
            }
            Next::Stuck => {
                let until = self.hold_stuck(original, &step);
                self.backlog.hold(due, until);
                Ok(())
            }
            Next::Done | Next::Skipped | Next::Applied | Next::Later(_) => self.settle(original, step),
        }
    }

    /// Loads the schemas that are needed to decode the record.
    fn prepare(&mut self, record: &Record) -> Result<(), String> {
        match self.waiting(record) {
            Some(waiting) => self.handler.prepare(&waiting.record),
            None => self.handler.prepare(record),
        }
    }

    /// The parked record inside a record of a retry topic.
    fn waiting(&self, record: &Record) -> Option<Waiting> {
        Some(record).filter(|record| self.spec.retry_topics.contains(&record.source.topic)).and_then(Waiting::read)
    }

    /// Holds a record back while the registry does not answer: that is not the record's fault, so the worker stays in
    /// its group. Returns the time of the next try.
    fn wait_for_registry(&mut self, record: &Record, why: &str) -> Duration {
        self.progress.active();
        let (now, time) = (self.clock.now(), self.clock.timestamp());
        self.reporter.wait_for_registry(record, why, (now, time))
    }

    /// A global table could not be read any more in the middle of a delivery: the record waits. Returns until when;
    /// `None` if all tables can be read.
    fn wait_for_table(&mut self, record: &Record) -> Option<Duration> {
        let (now, time) = (self.clock.now(), self.clock.timestamp());
        if self.tables.look(time) {
            return None;
        }
        let why = "a table cannot be read now".to_owned();
        self.reporter.hold(record, Cause::Table, Hold { tries: 0, next_try: after(time, TABLE_WAIT), why }, time);
        Some(now + TABLE_WAIT)
    }

    /// Asks the breaker to admit one delivery. Returns the time of the next request if it does not.
    fn admit(&self) -> Option<Duration> {
        match self.breaker.admit(|| self.clock.now()) {
            Admission::Go => None,
            Admission::NotBefore(at) => Some(at),
            Admission::Never => Some(self.clock.now() + POLL_WAIT),
        }
    }

    /// Reports a finished step, adds it to the transaction, and begins to commit if a commit is due.
    fn settle(&mut self, record: &Record, step: Step) -> Result<(), TurnError> {
        if let (Some(fault), Next::Done) = (&step.fault, step.next)
            && fault.kind == EventFaultKind::Decode
            && let Some((schema, _)) = record.value.as_deref().and_then(split)
        {
            self.progress.undecodable(schema, &fault.detail);
        }
        match (&step.fault, step.next) {
            (None, Next::Skipped | Next::Applied | Next::Later(_)) => self.breaker.pass(),
            (fault, _) => self.breaker.note(fault.is_some(), || self.clock.now()),
        }
        self.handler.refusals.stepped(record);
        self.stuck.stepped(record);
        let (transaction, mut parts) = self.parts();
        transaction.add(record, step, &mut parts)?;
        if self.transaction.is_due(self.looked_at) { self.begin_commit() } else { Ok(()) }
    }

    /// Reports the end of a delivery, and measures it.
    fn end(&mut self, record: &Record, attempt: u32, outcome: Outcome, fault: Option<&EventFault>) {
        let (began, ended) = (self.looked_at, self.clock.now());
        self.looked_at = ended;
        let digest = self.spec.digest.as_deref();
        self.progress.telemetry().delivery_ended(DeliveryEnded { record, attempt, digest, outcome, fault });
        // What is put into a table is as old as the table, and says nothing about the handlers.
        if outcome != Outcome::Applied {
            self.transaction.measure(Measured {
                timestamp: outcome.is_final().then_some(record.timestamp),
                handler: self.handler.take_time(),
                took: ended.saturating_sub(began),
            });
        }
    }
}

/// The outcome of a step at `now`.
fn outcome(step: &Step, now: Timestamp) -> Outcome {
    match step.next {
        Next::Done if step.fault.is_some() => Outcome::DeadLettered,
        Next::Done => Outcome::Handled,
        Next::Skipped => Outcome::Skipped,
        Next::Applied => Outcome::Applied,
        Next::Later(due) => Outcome::Parked(until(due, now)),
        Next::Again { after, .. } => Outcome::Retried(after),
        Next::NoRoom(_) | Next::Stuck => Outcome::Held,
    }
}
