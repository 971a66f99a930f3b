//! The order of a commit. Only here is it known:
//!
//! ```text
//!  seal ──> send the changelog ──> begin: commit with the positions ──> confirmed ──> committed state ──> told
//!    │               │                        │                    the next batch,        │
//!    │               │                        │                    on top of this one     └──> what it wrote is sent
//!    └───────────────┴──── crash or abort here ─┴─> the overlays are dropped with the batch; state is as it was
//! ```
//!
//! While the log commits, records are taken on: into the next batch, which sees what this one did. What they write is
//! held back until the commit is through, for a member has one transaction. If it fails, both batches are given up.
//! Whatever ends a worker, or what it has, first waits for the commit that is under way.
//!
//! After the log confirmed, the writes go to the memtables of their tasks; the copy on disk follows in the background,
//! each time together with the watermark that it has reached. A crash in between loses nothing: the changelog has it.

use std::time::Duration;

use heddle_core::batch::SealedBatch;
use heddle_core::event::{NewRecord, Offset, Record, Timestamp, Topic, TopicPartition};
use heddle_core::failed::is_reduced;
use heddle_core::task::{Form, Step};

use super::aborts::Abort;
use super::fault::WorkerFault;
use super::refusals::Refusal;
use super::sent::Sent;
use super::worker::{Worked, Worker};
use crate::log::{COMMIT_WAIT, LogError, OnArrival, RefusedRecord};

/// The most bytes that are held back while a commit is under way; with more the worker waits for it.
const HELD_BYTES_MAX: usize = 16 << 20;

/// How long a commit may take before the operator is shown that it does.
const COMMIT_LONG: Duration = Duration::from_secs(2);

/// A batch whose commit is under way.
pub(super) struct UnderWay {
    sealed: SealedBatch,
    positions: Vec<(TopicPartition, Offset)>,
    /// Who sent what in it.
    sent: Sent,
    started: Duration,
    /// What was stepped since, in this order.
    held: Vec<Held>,
    /// The bytes of keys and values in it.
    held_bytes: usize,
}

/// What the step of one record wrote.
struct Held {
    source: TopicPartition,
    offset: Offset,
    step: Step,
}

impl Worker {
    /// Begins to commit the open batch, if there is anything in it, when the commit of the one before is through.
    pub(super) fn commit(&mut self) -> Result<Worked, WorkerFault> {
        self.since = None;
        if self.batch.is_empty() {
            return Ok(Worked::Done);
        }
        if let give_up @ Worked::GiveUp(_) = self.await_commit()? {
            return Ok(give_up);
        }
        for task in self.batch.unanchored().collect::<Vec<_>>() {
            if let Some((source, position)) = self.tasks.position(task)? {
                self.batch.anchor(source, position);
            }
        }
        let started = self.clock.now();
        let next = self.batch.next();
        let sealed = std::mem::replace(&mut self.batch, next).seal();
        let positions = sealed.positions().to_vec();
        if let Err(error) = self.send_changelog(&sealed).and_then(|()| self.member.begin_commit(&positions)) {
            let sent = std::mem::take(&mut self.sent);
            return self.aborted(error, &sent, sealed.counts().taken());
        }
        let sent = std::mem::take(&mut self.sent);
        self.tasks.committing(&sealed);
        self.handler.refusals.committing();
        self.under_way = Some(UnderWay { sealed, positions, sent, started, held: vec![], held_bytes: 0 });
        self.look_at_commit(Duration::ZERO)
    }

    fn send_changelog(&mut self, sealed: &SealedBatch) -> Result<(), LogError> {
        let now = self.clock.timestamp();
        for mut record in sealed.changelog(&self.spec) {
            self.handler.in_time(&mut record, now);
            let record = record.record();
            match self.member.send_copy(record) {
                Ok(()) => self.sent.add_changelog(),
                Err(LogError::RecordRefused(why)) => {
                    let topic = record.topic.clone();
                    let record = RefusedRecord { number: None, topic: Some(topic), why, timestamp: false };
                    return Err(LogError::Refused(OnArrival { records: vec![record] }));
                }
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    /// Commits the open batch, and waits until nothing is under way; what cannot be committed is dropped and will be
    /// done again.
    pub(super) fn commit_now(&mut self) -> Result<(), WorkerFault> {
        let committed = match self.commit()? {
            Worked::Done => self.await_commit()?,
            give_up @ Worked::GiveUp(_) => give_up,
        };
        self.or_give_up(committed)
    }

    /// Waits until the commit that is under way is through, if there is one.
    fn await_commit(&mut self) -> Result<Worked, WorkerFault> {
        while self.under_way.is_some() {
            if let give_up @ Worked::GiveUp(_) = self.look_at_commit(COMMIT_WAIT)? {
                return Ok(give_up);
            }
            self.report_commit();
        }
        Ok(Worked::Done)
    }

    /// The same, where the batch after it is given up: nothing of that one is sent.
    pub(super) fn await_commit_alone(&mut self) -> Result<Worked, WorkerFault> {
        if let Some(under_way) = &mut self.under_way {
            under_way.held.clear();
        }
        self.await_commit()
    }

    /// Reports whether a commit takes long.
    pub(super) fn report_commit(&mut self) {
        let Some(under_way) = &self.under_way else { return self.reporter.commit_ended() };
        let takes = self.clock.now().saturating_sub(under_way.started);
        if takes < COMMIT_LONG {
            return self.reporter.commit_ended();
        }
        let millis = i64::try_from(takes.as_millis()).unwrap_or(i64::MAX);
        let since = Timestamp(self.clock.timestamp().0.saturating_sub(millis));
        self.reporter.commit_takes_long(&under_way.positions, since);
    }

    /// Goes on from the commit that is under way, if there is one and it is through, or is within `wait`.
    pub(super) fn look_at_commit(&mut self, wait: Duration) -> Result<Worked, WorkerFault> {
        let Some(under_way) = self.under_way.take() else { return Ok(Worked::Done) };
        let ends = match self.member.committed(wait) {
            Ok(Some(ends)) => ends,
            Ok(None) => {
                self.under_way = Some(under_way);
                return Ok(Worked::Done);
            }
            Err(error) => return self.aborted(error, &under_way.sent, under_way.sealed.counts().taken()),
        };
        let UnderWay { sealed, positions, sent: _, started, held, held_bytes: _ } = under_way;
        let committed = sealed.confirmed(ends);
        let counts = committed.counts();
        self.tasks.commit(committed, &positions);
        let took = self.clock.now().saturating_sub(started);
        self.progress.committed(counts, took, &self.spec.component);
        self.handler.refusals.settled();
        self.aborts.committed();
        for Held { source, offset, step } in held {
            if let give_up @ Worked::GiveUp(_) = self.send(&source, offset, step)? {
                return Ok(give_up);
            }
        }
        Ok(Worked::Done)
    }

    /// Hands what a step wrote to the transaction, or keeps it until there can be one.
    pub(super) fn send_or_hold(&mut self, record: &Record, step: Step) -> Result<Worked, WorkerFault> {
        if let give_up @ Worked::GiveUp(_) = self.look_at_commit(Duration::ZERO)? {
            return Ok(give_up);
        }
        let Some(under_way) = &mut self.under_way else { return self.send(&record.source, record.offset, step) };
        under_way.held_bytes += step.writes.iter().map(bytes).sum::<usize>();
        if !step.writes.is_empty() {
            under_way.held.push(Held { source: record.source.clone(), offset: record.offset, step });
        }
        if under_way.held_bytes > HELD_BYTES_MAX { self.await_commit() } else { Ok(Worked::Done) }
    }

    fn send(&mut self, source: &TopicPartition, offset: Offset, step: Step) -> Result<Worked, WorkerFault> {
        for write in step.writes {
            let topic = write.topic.clone();
            let form = match &step.fault {
                None => Form::Emit,
                Some(_) if topic != self.spec.policy.dead_letter => Form::Retry,
                Some(_) if is_reduced(&write.headers) => Form::ReducedLetter,
                Some(_) => Form::Letter,
            };
            let bytes = bytes(&write);
            let why = match self.member.send(write) {
                Ok(()) => {
                    self.sent.add(source, offset, form, bytes);
                    continue;
                }
                Err(LogError::RecordRefused(why)) => why,
                Err(LogError::UnknownTopic(topic)) => LogError::UnknownTopic(topic).to_string(),
                Err(error) => {
                    // It may be this very record.
                    self.sent.add(source, offset, form, bytes);
                    let sent = std::mem::take(&mut self.sent);
                    return self.aborted(error, &sent, self.batch.counts().taken());
                }
            };
            // What was sent before it cannot be taken back alone.
            let refusal = Refusal { topic: Some(topic), form, why, bytes: Some(bytes), timestamp: false };
            return Ok(self.refused(source, offset, refusal, self.batch.counts().taken()));
        }
        Ok(Worked::Done)
    }

    /// What follows when the transaction cannot be committed in which this was `sent`, by so many deliveries.
    fn aborted(&mut self, error: LogError, sent: &Sent, deliveries: u64) -> Result<Worked, WorkerFault> {
        match error {
            LogError::Abort(cause) => Ok(Worked::GiveUp(Abort { cause, deliveries, splits: true })),
            LogError::Refused(on_arrival) => Ok(self.refused_on_arrival(on_arrival, sent, deliveries)),
            other => Err(other.into()),
        }
    }

    /// The log refused records after it had taken them. Whose they are is known, or found out by splitting the
    /// transaction.
    fn refused_on_arrival(&mut self, on_arrival: OnArrival, sent: &Sent, deliveries: u64) -> Worked {
        let cause = on_arrival.to_string();
        let mut found = false;
        for record in on_arrival.records {
            record.topic.iter().for_each(|topic| self.handler.limits.forget(topic));
            let changelog = |topic: &Topic| {
                self.spec.changelogs.contains(topic) || self.spec.seen_changelog.as_ref() == Some(topic)
            };
            if let Some(topic) = record.topic.as_ref().filter(|topic| record.timestamp && changelog(topic)) {
                // Its time is that of the newest record of many.
                self.handler.without_time(topic.clone());
                found = true;
                continue;
            }
            let RefusedRecord { number, topic, why, timestamp } = record;
            let bytes = number.and_then(|number| sent.bytes(number));
            let whose = number.and_then(|number| sent.of(number)).map(|whose| (whose, whose.form));
            let alone = || sent.last().filter(|_| deliveries == 1);
            let whose = whose.or_else(|| alone().map(|last| (last, Some(last.form_for(topic.as_ref(), changelog)))));
            if let Some((whose, Some(form))) = whose {
                let refusal = Refusal { topic, form, why, bytes, timestamp };
                found |= self.handler.refusals.refuse(&whose.source, whose.offset, refusal);
            }
        }
        Worked::GiveUp(Abort { cause, deliveries, splits: !found })
    }

    fn refused(&mut self, source: &TopicPartition, offset: Offset, refusal: Refusal, deliveries: u64) -> Worked {
        let cause = refusal.why.clone();
        refusal.topic.iter().for_each(|topic| self.handler.limits.forget(topic));
        let found = self.handler.refusals.refuse(source, offset, refusal);
        Worked::GiveUp(Abort { cause, deliveries, splits: !found })
    }
}

fn bytes(record: &NewRecord) -> usize {
    record.key.as_ref().map_or(0, |key| key.len()) + record.value.as_ref().map_or(0, |value| value.len())
}
