//! The order of a commit. Only here is it known:
//!
//! ```text
//!  seal ──> send the changelog ──> begin: commit with the positions ──> confirmed ──> committed state ──> told
//!    │               │                        │                    the next batch,        │
//!    │               │                        │                    on top of this one     └──> what it wrote is sent
//!    └───────────────┴──── crash or abort here ─┴─> the overlays are dropped with the batch; state is as it was
//! ```
//!
//! While the log commits, records are taken on: into the next batch, which sees what this one did. What they write is held back until the
//! commit is through, for a member has one transaction. If it fails, both batches are given up. Whatever ends a worker, or what it has,
//! first waits for the commit that is under way.
//!
//! After the log confirmed, the writes go to the memtables of their tasks; the copy on disk follows in the background, each
//! time together with the watermark that it has reached. A crash in between loses nothing: the changelog has it.

use std::time::Duration;

use heddle_core::batch::SealedBatch;
use heddle_core::event::{NewRecord, Offset, Record, TopicPartition};
use heddle_core::task::Step;

use super::fault::WorkerFault;
use super::worker::{Worked, Worker};
use crate::log::{COMMIT_WAIT, LogError};

/// The most bytes that are held back while a commit is under way; with more the worker waits for it.
const HELD_BYTES_MAX: usize = 16 << 20;

/// A batch whose commit is under way.
pub(super) struct UnderWay {
    sealed: SealedBatch,
    positions: Vec<(TopicPartition, Offset)>,
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
        for record in sealed.changelog(&self.spec) {
            let record = record.record();
            match self.member.send_copy(record) {
                Ok(()) => {}
                Err(LogError::Abort(why)) => return Ok(Worked::GiveUp(why)),
                Err(LogError::RecordRefused(why)) => {
                    return Err(WorkerFault::Stop(format!(
                        "the changelog `{}` refuses a record: {why}; raise its max.message.bytes",
                        record.topic
                    )));
                }
                Err(other) => return Err(other.into()),
            }
        }
        let positions = sealed.positions().to_vec();
        match self.member.begin_commit(&positions) {
            Ok(()) => {}
            Err(LogError::Abort(why)) => return Ok(Worked::GiveUp(why)),
            Err(other) => return Err(other.into()),
        }
        self.tasks.committing(&sealed);
        self.handler.refusals.committing();
        self.under_way = Some(UnderWay { sealed, positions, started, held: vec![], held_bytes: 0 });
        self.look_at_commit(Duration::ZERO)
    }

    /// Commits the open batch, and waits until nothing is under way; what cannot be committed is dropped and will be done again.
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

    /// Goes on from the commit that is under way, if there is one and it is through, or is within `wait`.
    pub(super) fn look_at_commit(&mut self, wait: Duration) -> Result<Worked, WorkerFault> {
        let Some(under_way) = self.under_way.take() else { return Ok(Worked::Done) };
        let ends = match self.member.committed(wait) {
            Ok(Some(ends)) => ends,
            Ok(None) => {
                self.under_way = Some(under_way);
                return Ok(Worked::Done);
            }
            Err(LogError::Abort(why)) => return Ok(Worked::GiveUp(why)),
            Err(other) => return Err(other.into()),
        };
        let UnderWay { sealed, positions, started, held, held_bytes: _ } = under_way;
        let committed = sealed.confirmed(ends);
        let counts = committed.counts();
        self.tasks.commit(committed, &positions);
        let took = self.clock.now().saturating_sub(started);
        self.progress.committed(counts, took, &self.spec.component);
        self.handler.refusals.settled();
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
            match self.member.send(write) {
                Ok(()) => {}
                Err(LogError::Abort(why)) => return Ok(Worked::GiveUp(why)),
                Err(LogError::RecordRefused(why)) if step.fault.is_none() => {
                    // The effects sent before it cannot be taken back alone.
                    self.handler.refusals.refuse(source, offset, &why);
                    return Ok(Worked::GiveUp(why));
                }
                Err(LogError::RecordRefused(why)) => {
                    let what = if topic == self.spec.policy.dead_letter { "dead-letter" } else { "retry" };
                    return Err(WorkerFault::Stop(format!(
                        "the {what} topic `{topic}` refuses {source}@{offset}: {why}; raise its max.message.bytes"
                    )));
                }
                Err(other) => return Err(other.into()),
            }
        }
        Ok(Worked::Done)
    }
}

fn bytes(record: &NewRecord) -> usize {
    record.key.as_ref().map_or(0, |key| key.len()) + record.value.as_ref().map_or(0, |value| value.len())
}
