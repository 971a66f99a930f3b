//! One record through a worker: whether it may be delivered now, what its delivery led to, and until when it is held if
//! it was not done with.
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
use heddle_core::fault::EventFaultKind;
use heddle_core::task::{Next, Step};

use super::backlog::{Due, until};
use super::fault::WorkerFault;
use super::reporter::Hold;
use super::stall::{Cause, after};
use super::stuck::Turn;
use super::worker::{POLL_WAIT, Worked, Worker};

/// How long to wait before a registry that did not answer is asked again.
const REGISTRY_WAIT: Duration = Duration::from_millis(500);
/// How often the operator is told that records wait for the registry.
const OUTAGE_TOLD_EVERY: Duration = Duration::from_secs(60);
/// How long to wait at least before a record looks again for room to wait in.
const ROOM_WAIT: Duration = Duration::from_millis(10);

impl Worker {
    /// Steps the next record that waits in the state of a task and is due, if there is one and it may be delivered.
    pub(super) fn step_due(&mut self, task: Partition) -> Result<Option<Worked>, WorkerFault> {
        let now = self.clock.timestamp();
        let Some(open) = self.tasks.get_mut(task) else { return Ok(None) };
        let Some(record) = open.peek_due(&mut self.batch, now)? else { return Ok(None) };
        if let Err(why) = self.handler.prepare(&record) {
            self.rest = Some(self.wait_for_registry(&record, &why));
            return Ok(None);
        }
        if let Some(until) = self.admit() {
            self.rest = Some(until);
            return Ok(None);
        }
        match self.stuck.turn(&record, || self.clock.now()) {
            Turn::Go => {}
            Turn::Anew => self.handler.refusals.forget(&record),
            Turn::Wait(_) => return Ok(None),
        }
        self.since.get_or_insert_with(|| self.clock.now());
        let Some(open) = self.tasks.get_mut(task) else { return Ok(None) };
        self.reporter.take(&record, 1, now);
        match open.step_due(&mut self.handler, &mut self.batch, now) {
            Ok(None) => Ok(None),
            Ok(Some(step)) => {
                self.report(&record, &step, now);
                if step.next == Next::Stuck {
                    self.hold_stuck(&record, &step);
                    return Ok(None);
                }
                Ok(Some(self.settle(&record, step)?))
            }
            Err(fault) => {
                let Some(why) = self.handler.take_unavailable() else { return Err(fault.into()) };
                self.rest = Some(self.wait_for_registry(&record, &why));
                Ok(None)
            }
        }
    }

    /// Reports how a step ended: a failure, and whether its record is held.
    fn report(&mut self, record: &Record, step: &Step, now: Timestamp) {
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
            Next::Done | Next::Skipped | Next::Later(_) | Next::Stuck => self.reporter.stepped(record),
        }
        if let Some(fault) = &step.fault {
            self.reporter.failed(record, fault, now);
        }
    }

    /// A record that the log takes nothing of holds its task up. Returns until when.
    fn hold_stuck(&mut self, record: &Record, step: &Step) -> Duration {
        let now = self.clock.now();
        let Some(fault) = &step.fault else { return now };
        self.stuck.hold(record, fault, now, self.clock.timestamp())
    }

    /// Steps a record of the backlog, or lets it wait.
    pub(super) fn step(&mut self, due: Due) -> Result<Worked, WorkerFault> {
        let record = &due.record;
        if let Err(why) = self.prepare(record) {
            let until = self.wait_for_registry(record, &why);
            self.backlog.hold(due, until);
            return Ok(Worked::Done);
        }
        if let Some(until) = self.admit() {
            self.backlog.hold(due, until);
            return Ok(Worked::Done);
        }
        let waiting = self.waiting(record);
        let original = waiting.as_ref().map_or(record, |waiting| &waiting.record);
        match self.stuck.turn(original, || self.clock.now()) {
            Turn::Go => {}
            Turn::Anew => self.handler.refusals.forget(original),
            Turn::Wait(until) => {
                self.backlog.hold(due, until);
                return Ok(Worked::Done);
            }
        }
        self.since.get_or_insert_with(|| self.clock.now());
        let Some(task) = self.tasks.get_mut(record.source.partition) else {
            return Err(WorkerFault::Stop(
                format!("{} is not assigned, and a record of it came", record.source).into(),
            ));
        };
        let now = self.clock.timestamp();
        self.reporter.take(record, due.attempt, now);
        let step = match task.step(record, due.attempt, &mut self.handler, &mut self.batch, now) {
            Ok(step) => step,
            Err(fault) => {
                let Some(why) = self.handler.take_unavailable() else { return Err(fault.into()) };
                let until = self.wait_for_registry(record, &why);
                self.backlog.hold(due, until);
                return Ok(Worked::Done);
            }
        };
        self.report(record, &step, now);
        match step.next {
            Next::Again { attempt, after: wait } => {
                if let Some(fault) = &step.fault {
                    tracing::debug!(component = %self.spec.component, source = %record.source, offset = %record.offset, attempt, after = ?wait, "tried again: {fault}");
                }
                self.backlog.hold(Due { attempt, ..due }, self.clock.now() + wait);
                Ok(Worked::Done)
            }
            Next::NoRoom(at) => {
                let wait = until(at, self.clock.timestamp()).max(ROOM_WAIT);
                self.backlog.hold(due, self.clock.now() + wait);
                Ok(Worked::Done)
            }
            Next::Stuck => {
                let until = self.hold_stuck(original, &step);
                self.backlog.hold(due, until);
                Ok(Worked::Done)
            }
            Next::Done | Next::Skipped | Next::Later(_) => self.settle(original, step),
        }
    }

    /// Makes sure that what decodes the record is at hand.
    fn prepare(&mut self, record: &Record) -> Result<(), String> {
        match self.waiting(record) {
            Some(waiting) => self.handler.prepare(&waiting.record),
            None => self.handler.prepare(record),
        }
    }

    /// The record that a record of a retry topic stands for.
    fn waiting(&self, record: &Record) -> Option<Waiting> {
        Some(record).filter(|record| self.spec.retry_topics.contains(&record.source.topic)).and_then(Waiting::read)
    }

    /// A registry outage is not the record's fault: hold it back and stay in the group. Returns until when. The
    /// operator hears of it once a minute.
    fn wait_for_registry(&mut self, record: &Record, why: &str) -> Duration {
        let now = self.clock.now();
        let (component, source, offset) = (&self.spec.component, &record.source, record.offset);
        if self.outage_told.is_none_or(|told| now.saturating_sub(told) >= OUTAGE_TOLD_EVERY) {
            self.outage_told = Some(now);
            tracing::warn!(target: "heddle::alert", %component, %source, %offset, "records wait for the schema registry: {why}");
        } else {
            tracing::warn!(%component, %source, %offset, "waiting: {why}");
        }
        self.progress.active();
        let time = self.clock.timestamp();
        let hold = Hold { tries: 0, next_try: after(time, REGISTRY_WAIT), why: why.to_owned() };
        self.reporter.hold(record, Cause::Registry, hold, time);
        now + REGISTRY_WAIT
    }

    /// Asks the breaker for one delivery; if there is to be none, until when.
    fn admit(&self) -> Option<Duration> {
        match self.breaker.admit(|| self.clock.now()) {
            Admission::Go => None,
            Admission::NotBefore(at) => Some(at),
            Admission::Never => Some(self.clock.now() + POLL_WAIT),
        }
    }

    /// Hands what a step wrote to the transaction, and commits if it is time.
    fn settle(&mut self, record: &Record, step: Step) -> Result<Worked, WorkerFault> {
        let component = &self.spec.component;
        match (&step.fault, step.next) {
            (Some(fault), Next::Later(due)) => {
                let wait = until(due, self.clock.timestamp());
                tracing::debug!(%component, source = %record.source, offset = %record.offset, after = ?wait, %fault, "parked");
            }
            (Some(fault), _) => {
                if let Some(left_out) = self.letter_lines.pass(self.clock.now()) {
                    tracing::warn!(%component, source = %record.source, offset = %record.offset, %fault, left_out, "dead-lettered");
                }
                let schema = record.value.as_deref().and_then(split).filter(|_| fault.kind == EventFaultKind::Decode);
                if let Some((schema, _)) = schema {
                    self.progress.undecodable(schema, component, &fault.detail);
                }
            }
            (None, _) => {}
        }
        match (&step.fault, step.next) {
            (None, Next::Skipped | Next::Later(_)) => self.breaker.pass(),
            (fault, _) => self.breaker.note(fault.is_some(), || self.clock.now(), component),
        }
        self.handler.refusals.stepped(record);
        self.stuck.stepped(record);
        self.sent.stepped(&record.source, record.offset);
        match self.send_or_hold(record, step)? {
            Worked::Done if self.due() => self.commit(),
            worked => Ok(worked),
        }
    }
}
