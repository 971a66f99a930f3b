//! The order of a commit. Only here is it known:
//!
//! ```text
//!  seal ──> send the changelog ──> commit with the positions ──> confirmed ──> committed state ──> told
//!    │               │                        │
//!    └───────────────┴── crash or abort here ─┴─> the overlays are dropped with the batch; state is as it was
//! ```
//!
//! After the log confirmed, the writes go to the memtables of their tasks; the copy on disk follows in the background, each
//! time together with the watermark that it has reached. A crash in between loses nothing: the changelog has it.

use super::fault::WorkerFault;
use super::worker::{Worked, Worker};
use crate::log::LogError;

impl Worker {
    /// Commits the open batch, if there is anything in it.
    pub(super) fn commit(&mut self) -> Result<Worked, WorkerFault> {
        self.since = None;
        if self.batch.is_empty() {
            return Ok(Worked::Done);
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
        match self.member.commit(&positions) {
            Ok(ends) => {
                let committed = sealed.confirmed(ends);
                let counts = committed.counts();
                self.tasks.commit(committed, &positions);
                let took = self.clock.now().saturating_sub(started);
                self.progress.committed(counts, took, &self.spec.component);
                self.handler.settled();
                Ok(Worked::Done)
            }
            Err(LogError::Abort(why)) => Ok(Worked::GiveUp(why)),
            Err(other) => Err(other.into()),
        }
    }
}
