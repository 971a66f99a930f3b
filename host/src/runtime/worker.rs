//! The loop of one group member: poll, step, commit.
//!
//! ```text
//!           ┌──────────────── records ──> step each ──> send ──┐
//!  poll ────┤                                                  ├──> due? seal, commit, confirm
//!           ├─ revoking ──> commit what there is ──> release   │
//!           └─ lost ──────> abort ──> release ──> rewind <─────┴──── abort: nothing of the batch counts
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use heddle_core::batch::OpenBatch;
use heddle_core::dedup::MessageId;
use heddle_core::delivery::Delivery;
use heddle_core::effects::Effects;
use heddle_core::event::{Offset, Record, TopicPartition};
use heddle_core::fault::{EventFault, EventFaultKind, Fault};
use heddle_core::merge::by_time;
use heddle_core::state::{Reads, Stateless};
use heddle_core::task::{Dispatch, Task, TaskSpec};

use super::progress::Progress;
use crate::guest::Instance;
use crate::log::{LogError, Member, Polled};

/// How long a poll waits when there is nothing else to do: how late a stop is noticed.
const POLL_WAIT: Duration = Duration::from_millis(200);
/// How long to wait before a registry that did not answer is asked again.
const REGISTRY_WAIT: Duration = Duration::from_millis(500);

/// When a transaction is committed.
#[derive(Clone, Copy, Debug)]
pub struct CommitPolicy {
    /// This long after its first record.
    pub interval: Duration,
    /// With this many records.
    pub records_max: u64,
}

/// One member and what it works with.
pub(super) struct Worker<'a> {
    pub(super) member: &'a mut dyn Member,
    pub(super) task: Arc<TaskSpec>,
    pub(super) handler: Handler<'a>,
    pub(super) commit: CommitPolicy,
    pub(super) progress: &'a Progress,
    pub(super) stop: &'a AtomicBool,
    pub(super) batch: OpenBatch,
    /// When the open batch got its first record.
    pub(super) since: Option<Instant>,
}

/// The component's instance, and the record whose effects the log refused, if there is one: its next delivery fails.
pub(super) struct Handler<'a> {
    pub(super) instance: &'a mut Instance,
    pub(super) refused: Option<Refused>,
}

pub(super) struct Refused {
    source: TopicPartition,
    offset: Offset,
    why: String,
}

impl Dispatch for Handler<'_> {
    fn identify(&mut self, record: &Record) -> Result<Option<MessageId>, EventFault> {
        self.instance.identify(record)
    }

    fn dispatch(&mut self, delivery: &Delivery<'_>, reads: Reads) -> Result<Effects, Fault> {
        let record = delivery.record;
        match &self.refused {
            Some(refused) if refused.source == record.source && refused.offset == record.offset => {
                Err(EventFault::new(EventFaultKind::Emit, refused.why.clone()).into())
            }
            _ => self.instance.dispatch(delivery, reads),
        }
    }
}

/// How working through one poll ended.
enum Worked {
    Done,
    /// The transaction cannot be committed: everything since the last commit is done again.
    GiveUp(String),
}

impl Worker<'_> {
    /// Works until it is told to stop. The last transaction is committed then.
    pub(super) fn run(&mut self) -> Result<(), LogError> {
        while !self.stop.load(Ordering::Relaxed) {
            let left = self.since.map(|since| self.commit.interval.saturating_sub(since.elapsed()));
            let worked = match self.member.poll(left.unwrap_or(POLL_WAIT).min(POLL_WAIT))? {
                Polled::Records(records) => self.work(records)?,
                Polled::Assigned(partitions) => {
                    tracing::info!(component = %self.task.component, ?partitions, "assigned");
                    self.member.resume(&partitions)?;
                    self.progress.assigned();
                    Worked::Done
                }
                Polled::Revoking(partitions) => {
                    self.commit_or_give_up()?;
                    self.member.release(&partitions)?;
                    Worked::Done
                }
                Polled::Lost(partitions) => {
                    self.give_up("partitions were lost")?;
                    self.member.release(&partitions)?;
                    Worked::Done
                }
            };
            match worked {
                Worked::GiveUp(why) => self.give_up(&why)?,
                Worked::Done if self.due() => self.commit_or_give_up()?,
                Worked::Done => {}
            }
        }
        self.commit_or_give_up()
    }

    /// Commits what there is; what cannot be committed is dropped and will be done again.
    fn commit_or_give_up(&mut self) -> Result<(), LogError> {
        match self.commit()? {
            Worked::Done => Ok(()),
            Worked::GiveUp(why) => self.give_up(&why),
        }
    }

    fn due(&self) -> bool {
        self.since.is_some_and(|since| since.elapsed() >= self.commit.interval)
            || self.batch.counts().records >= self.commit.records_max
    }

    fn work(&mut self, records: Vec<Record>) -> Result<Worked, LogError> {
        for record in by_time(records) {
            self.wait_for_schema(&record);
            if self.stop.load(Ordering::Relaxed) {
                // What was not stepped is not in the batch, so its offsets are not committed.
                return Ok(Worked::Done);
            }
            self.since.get_or_insert_with(Instant::now);
            let task = Task::new(self.task.clone(), record.source.partition, Arc::new(Stateless));
            let step = task
                .step(&record, &mut self.handler, &mut self.batch)
                .map_err(|fault| LogError::Fatal(fault.to_string()))?;
            if let Some(fault) = &step.fault {
                tracing::warn!(component = %self.task.component, source = %record.source, offset = %record.offset, "set aside: {fault}");
            }
            for write in step.writes {
                match self.member.send(write) {
                    Ok(()) => {}
                    Err(LogError::Abort(why)) => return Ok(Worked::GiveUp(why)),
                    Err(LogError::RecordRefused(why)) if step.fault.is_none() => {
                        // The effects sent before it cannot be taken back alone.
                        let Record { source, offset, .. } = record;
                        self.handler.refused = Some(Refused { source, offset, why: why.clone() });
                        return Ok(Worked::GiveUp(why));
                    }
                    Err(LogError::RecordRefused(why)) => {
                        return Err(LogError::Fatal(format!(
                            "the dead-letter topic `{}` refuses {}/{}: {why}; raise its max.message.bytes",
                            self.task.policy.dead_letter, record.source, record.offset
                        )));
                    }
                    Err(other) => return Err(other),
                }
            }
            if self.due() {
                match self.commit()? {
                    Worked::Done => {}
                    give_up @ Worked::GiveUp(_) => return Ok(give_up),
                }
            }
        }
        Ok(Worked::Done)
    }

    /// A registry that is down is no fault of the record: wait, without giving up the place in the group.
    fn wait_for_schema(&mut self, record: &Record) {
        while let Err(why) = self.handler.instance.prepare(record) {
            tracing::warn!(component = %self.task.component, source = %record.source, offset = %record.offset, "waiting: {why}");
            self.progress.active();
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            std::thread::sleep(REGISTRY_WAIT);
        }
    }

    fn commit(&mut self) -> Result<Worked, LogError> {
        self.since = None;
        if self.batch.is_empty() {
            return Ok(Worked::Done);
        }
        let started = Instant::now();
        let batch = std::mem::take(&mut self.batch).seal();
        match self.member.commit(batch.positions()) {
            Ok(_) => {
                self.progress.committed(&batch.confirmed(BTreeMap::new()), started.elapsed());
                self.handler.refused = None;
                Ok(Worked::Done)
            }
            Err(LogError::Abort(why)) => Ok(Worked::GiveUp(why)),
            Err(other) => Err(other),
        }
    }

    /// Drops everything since the last commit and goes back to it.
    fn give_up(&mut self, why: &str) -> Result<(), LogError> {
        tracing::warn!(component = %self.task.component, "the transaction is aborted and done again: {why}");
        self.batch = OpenBatch::default();
        self.since = None;
        self.member.abort()?;
        self.member.rewind()
    }
}
