//! The delivery of one record by a worker: checks that it may be delivered now, steps it, and handles the outcome.
//!
//! ```text
//!  backlog ───┐             ┌─ no registry, no admission, stuck, no room, to be tried again ──> held
//!  schedule ──┴──> deliver ─┤
//!                           └─ done, skipped, parked ──> settle ──> the transaction
//! ```

use std::time::Duration;

use heddle_contract::wire::split;
use heddle_core::breaker::Admission;
use heddle_core::event::{Partition, Record, Timestamp};
use heddle_core::fault::EventFaultKind;
use heddle_core::task::{Arrival, Dispatch as _, Next, Step};

use super::backlog::until;
use super::fault::{TurnError, WorkerFault};
use super::reporter::Hold;
use super::stall::{Cause, after};
use super::stuck::Turn;
use super::tables::TABLE_WAIT;
use super::worker::{POLL_WAIT, Worker};
use crate::telemetry::{DeliveryBegun, DeliveryEnded, DeliverySpan, Ending, Measured, Outcome};

/// The minimum pause before a record that found no room to be parked is tried again.
const ROOM_WAIT: Duration = Duration::from_millis(10);

/// The result of a delivery for the worker.
enum Delivered {
    /// The outcome is in the transaction.
    Recorded,
    /// Nothing is recorded. The record may be delivered at this time. Scheduled records cannot be delivered before it,
    /// either.
    Unavailable(Duration),
    /// Nothing is recorded. The record is held until this time.
    Held(Duration),
    /// Nothing is recorded. Another attempt in place follows.
    Again {
        /// The number of the attempt.
        attempt: u32,
        /// Its time.
        at: Duration,
    },
}

impl Worker {
    /// Steps the next due record of a schedule. Returns false if there is none, or if it cannot be delivered now.
    pub(super) fn step_scheduled(&mut self, task: Partition) -> Result<bool, TurnError> {
        let now = self.clock.timestamp();
        let Some(open) = self.tasks.get_mut(task) else { return Ok(false) };
        let Some(arrival) = open.next_scheduled(self.transaction.batch(), now)? else { return Ok(false) };
        match self.deliver(task, &arrival)? {
            Delivered::Recorded => return Ok(true),
            Delivered::Unavailable(until) => self.throttle.rest_until(until),
            // Its task is held, or the record is due later.
            Delivered::Held(_) | Delivered::Again { .. } => {}
        }
        Ok(false)
    }

    /// Steps a record of the backlog, or holds it.
    pub(super) fn step(&mut self, arrival: Arrival) -> Result<(), TurnError> {
        match self.deliver(arrival.read().source.partition, &arrival)? {
            Delivered::Recorded => {}
            Delivered::Unavailable(until) | Delivered::Held(until) => self.backlog.hold(arrival, until),
            Delivered::Again { attempt, at } => self.backlog.hold(arrival.again(attempt), at),
        }
        Ok(())
    }

    /// Delivers a record of a task, if it may be delivered now.
    fn deliver(&mut self, task: Partition, arrival: &Arrival) -> Result<Delivered, TurnError> {
        // A record of a retry topic is held and reported under its position there, and stepped as it was first read.
        let (record, read) = (arrival.record(), arrival.read());
        let prepared = match self.handler.prepare(record) {
            Ok(prepared) => prepared,
            Err(why) => return Ok(Delivered::Unavailable(self.wait_for_registry(read, &why))),
        };
        if let Some(until) = self.admit() {
            return Ok(Delivered::Unavailable(until));
        }
        match self.stuck.turn(record, || self.clock.now()) {
            Turn::Go => {}
            Turn::Anew => self.handler.refusals.forget(record),
            Turn::Wait(until) => return Ok(Delivered::Held(until)),
        }
        self.transaction.begin();
        let Some(task) = self.tasks.get_mut(task) else {
            let why = format!("a record of {} arrived, which is not assigned", read.source);
            return Err(WorkerFault::Stop(why.into()).into());
        };
        let now = self.clock.timestamp();
        self.reporter.take(read, arrival.attempt_in_place(), now);
        self.progress.telemetry().delivery_begun(DeliveryBegun { record, attempt: arrival.attempt() });
        let step = match task.step(arrival, prepared, &mut self.handler, self.transaction.batch(), now) {
            Ok(step) => step,
            Err(fault) => {
                let until = match self.handler.take_unavailable() {
                    Some(why) => self.wait_for_registry(read, &why),
                    None => self.wait_for_table(read).ok_or(fault)?,
                };
                self.end(arrival, Outcome::Held, None);
                return Ok(Delivered::Unavailable(until));
            }
        };
        self.hold_or_release(read, &step, now);
        self.end(arrival, outcome(&step, now), Some(&step));
        Ok(match step.next {
            Next::Again { attempt, after } => Delivered::Again { attempt, at: self.clock.now() + after },
            Next::NoRoom(at) => {
                let wait = until(at, self.clock.timestamp()).max(ROOM_WAIT);
                Delivered::Held(self.clock.now() + wait)
            }
            Next::Stuck => Delivered::Held(self.hold_stuck(record, &step)),
            Next::Done | Next::Skipped | Next::Applied | Next::Later(_) => {
                self.settle(record, step)?;
                Delivered::Recorded
            }
        })
    }

    /// Holds the record of a step that decided nothing, or releases it. Records a failure.
    fn hold_or_release(&mut self, record: &Record, step: &Step, now: Timestamp) {
        let why = || step.fault.as_ref().map(ToString::to_string).unwrap_or_default();
        match step.next {
            Next::Again { attempt, after: wait } => {
                let tries = attempt.saturating_sub(1);
                self.reporter.hold(record, Cause::Retry, Hold { tries, next_try: after(now, wait), why: why() }, now);
            }
            Next::NoRoom(at) => {
                let why = "the maximum of parked records is reached, for this key or for this task".to_owned();
                self.reporter.hold(record, Cause::Room, Hold { tries: 0, next_try: at, why }, now);
            }
            Next::Done | Next::Skipped | Next::Applied | Next::Later(_) | Next::Stuck => self.reporter.stepped(record),
        }
        if let Some(fault) = &step.fault {
            self.reporter.failed(record, fault, now);
        }
    }

    /// Holds a record from which the log accepts nothing, which blocks its task. Returns the end of the hold.
    fn hold_stuck(&mut self, record: &Record, step: &Step) -> Duration {
        let now = self.clock.now();
        let Some(fault) = &step.fault else { return now };
        self.stuck.hold(record, fault, now, self.clock.timestamp())
    }

    /// Holds a record back while the registry does not answer. A registry outage is not the record's fault, so the
    /// worker stays in its group. Returns the time of the next try.
    fn wait_for_registry(&mut self, record: &Record, why: &str) -> Duration {
        self.progress.active();
        let (now, time) = (self.clock.now(), self.clock.timestamp());
        self.reporter.wait_for_registry(record, why, (now, time))
    }

    /// Holds a record back if a global table became unreadable during its delivery. Returns the end of the hold, or
    /// `None` if all tables can be read.
    fn wait_for_table(&mut self, record: &Record) -> Option<Duration> {
        let (now, time) = (self.clock.now(), self.clock.timestamp());
        if self.tables.look(time) {
            return None;
        }
        let why = "a table cannot be read at the moment".to_owned();
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

    /// Reports the end of a delivery, and measures it. There is no step if the delivery could not be finished.
    fn end(&mut self, arrival: &Arrival, outcome: Outcome, step: Option<&Step>) {
        let (record, attempt) = (arrival.record(), arrival.attempt());
        let (began, ended) = (self.looked_at, self.clock.now());
        self.looked_at = ended;
        let took = ended.saturating_sub(began);
        let (digest, fault) = (self.spec.digest.as_deref(), step.and_then(|step| step.fault.as_ref()));
        let span = self.span(arrival, outcome, step, took);
        let trace = span.as_ref().map(|span| span.context);
        self.progress.telemetry().delivery_ended(DeliveryEnded { record, attempt, digest, outcome, fault, trace });
        // A record that goes into a table may be as old as the table. Its age says nothing about the handlers.
        if outcome != Outcome::Applied {
            self.transaction.measure(Measured {
                timestamp: outcome.is_final().then_some(record.timestamp),
                handler: self.handler.take_time(),
                took,
                span,
            });
        }
    }

    /// The span of a delivery that has just ended, if its trace is recorded.
    fn span(
        &self,
        arrival: &Arrival,
        outcome: Outcome,
        step: Option<&Step>,
        took: Duration,
    ) -> Option<Box<DeliverySpan>> {
        let tracing = self.progress.telemetry().tracing()?;
        let ended = self.clock.unix();
        let ending = Ending {
            component: &self.spec.component,
            group: self.tasks.group(),
            digest: self.spec.digest.as_ref(),
            attempt: arrival.attempt(),
            outcome,
            fault: step.and_then(|step| step.fault.as_ref()),
            writes: step.map_or(&[], |step| &step.writes),
            began: ended.saturating_sub(took),
            ended,
        };
        DeliverySpan::of(tracing, arrival.record(), &ending).map(Box::new)
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
