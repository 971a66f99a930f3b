//! The loop of one group member: poll, step, commit.
//!
//! ```text
//!           ┌─ records ───> backlog ──> step each ──> send ────┐
//!           ├─ assigned ──> open tasks, restore, then resume   ├──> due? commit (see `commit`)
//!  poll ────┤                                                  │
//!           ├─ revoking ──> commit what there is ──> release   │
//!           └─ lost ──────> give up ──> release <──────────────┴──── abort: nothing of the batch counts
//! ```
//!
//! [`Worker::turn`] is one round. Time, log, state and handler come in as arguments, so a simulation runs the same code.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use heddle_core::batch::OpenBatch;
use heddle_core::event::{Record, TopicPartition};
use heddle_core::merge::by_time;
use heddle_core::task::TaskSpec;

use super::clock::Clock;
use super::fault::WorkerFault;
use super::handler::{Handler, Refusing};
use super::progress::Progress;
use super::reload::Follower;
use super::tasks::Tasks;
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
pub struct Worker {
    pub(super) member: Box<dyn Member>,
    pub(super) spec: Arc<TaskSpec>,
    pub(super) handler: Refusing,
    pub(super) tasks: Tasks,
    pub(super) policy: CommitPolicy,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) progress: Arc<Progress>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) batch: OpenBatch,
    /// When the open batch got its first record.
    pub(super) since: Option<Duration>,
    /// Records that were polled and not stepped yet.
    backlog: VecDeque<Record>,
    /// When to look again whether the backlog can go on. Until then nothing more is read.
    stalled: Option<Duration>,
    /// Tells of newer versions of the component.
    pub(super) follower: Option<Follower>,
}

/// How something ended that concerns the open transaction.
#[must_use]
pub(super) enum Worked {
    Done,
    /// The transaction cannot be committed: everything since the last commit is done again.
    GiveUp(String),
}

impl Worker {
    /// A worker for a member that has just joined.
    #[must_use]
    pub fn new(
        member: Box<dyn Member>,
        handler: Box<dyn Handler>,
        tasks: Tasks,
        policy: CommitPolicy,
        clock: Arc<dyn Clock>,
        progress: Arc<Progress>,
        stop: Arc<AtomicBool>,
    ) -> Self {
        Self {
            member,
            spec: tasks.spec().clone(),
            handler: Refusing::new(handler),
            tasks,
            policy,
            clock,
            progress,
            stop,
            batch: OpenBatch::default(),
            since: None,
            backlog: VecDeque::new(),
            stalled: None,
            follower: None,
        }
    }

    /// Works until it is told to stop, or until a newer version of its component needs another worker. The last transaction is committed then.
    ///
    /// # Errors
    /// What ended it before.
    pub fn run(mut self) -> Result<(), WorkerFault> {
        while !self.stop.load(Ordering::Relaxed) && self.renew()? {
            self.turn()?;
        }
        self.finish()
    }

    /// Commits what there is, writes state to disk and leaves the group.
    ///
    /// # Errors
    /// As [`turn`](Worker::turn).
    pub fn finish(mut self) -> Result<(), WorkerFault> {
        self.commit_or_give_up()?;
        self.tasks.close_all();
        Ok(self.member.leave()?)
    }

    /// One round: waits for something to happen, and does it.
    ///
    /// # Errors
    /// If this member cannot go on. What it did not commit will be done again.
    pub fn turn(&mut self) -> Result<(), WorkerFault> {
        self.tasks.check()?;
        let worked = match self.member.poll(self.wait())? {
            Polled::Records(records) => {
                self.backlog.extend(by_time(records));
                Worked::Done
            }
            Polled::Assigned(partitions) => {
                tracing::info!(component = %self.spec.component, ?partitions, "assigned");
                let ready = self.tasks.assign(&partitions)?;
                self.resume(&ready)?;
                self.progress.assigned();
                Worked::Done
            }
            Polled::Revoking(partitions) => {
                self.commit_or_give_up()?;
                self.let_go(&partitions)?;
                Worked::Done
            }
            Polled::Lost(partitions) => {
                self.give_up("partitions were lost")?;
                self.let_go(&partitions)?;
                Worked::Done
            }
        };
        let worked = match worked {
            Worked::Done => self.work()?,
            give_up @ Worked::GiveUp(_) => give_up,
        };
        match worked {
            Worked::GiveUp(why) => self.give_up(&why)?,
            Worked::Done if self.due() => self.commit_or_give_up()?,
            Worked::Done => {}
        }
        self.restore()
    }

    /// How long a poll may wait.
    fn wait(&self) -> Duration {
        if self.tasks.restoring() {
            return Duration::ZERO;
        }
        let now = self.clock.now();
        let commit = self.since.map(|since| (since + self.policy.interval).saturating_sub(now));
        let retry = self.stalled.map(|at| at.saturating_sub(now));
        [commit, retry].into_iter().flatten().min().unwrap_or(POLL_WAIT).min(POLL_WAIT)
    }

    /// Commits what there is; what cannot be committed is dropped and will be done again.
    pub(super) fn commit_or_give_up(&mut self) -> Result<(), WorkerFault> {
        match self.commit()? {
            Worked::Done => Ok(()),
            Worked::GiveUp(why) => self.give_up(&why),
        }
    }

    fn due(&self) -> bool {
        let now = self.clock.now();
        self.since.is_some_and(|since| now >= since + self.policy.interval)
            || self.batch.counts().records >= self.policy.records_max
    }

    /// Steps through the backlog.
    fn work(&mut self) -> Result<Worked, WorkerFault> {
        if self.stalled.is_some_and(|at| self.clock.now() < at) {
            return Ok(Worked::Done);
        }
        if self.backlog.is_empty() {
            // What waited went elsewhere meanwhile, or will be read again.
            self.go_on()?;
        }
        while let Some(record) = self.backlog.pop_front() {
            if self.stop.load(Ordering::Relaxed) {
                // What was not stepped is not in the batch, so its offsets are not committed.
                return Ok(Worked::Done);
            }
            if let Err(why) = self.handler.prepare(&record) {
                self.stall(record, &why)?;
                return Ok(Worked::Done);
            }
            self.go_on()?;
            match self.step(&record)? {
                Worked::Done => {}
                give_up @ Worked::GiveUp(_) => return Ok(give_up),
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
    fn stall(&mut self, record: Record, why: &str) -> Result<(), WorkerFault> {
        tracing::warn!(component = %self.spec.component, source = %record.source, offset = %record.offset, "waiting: {why}");
        self.backlog.push_front(record);
        self.progress.active();
        if self.stalled.is_none() {
            self.member.pause(&self.tasks.ready())?;
        }
        self.stalled = Some(self.clock.now() + REGISTRY_WAIT);
        Ok(())
    }

    /// Ends a stall, if there is one.
    fn go_on(&mut self) -> Result<(), WorkerFault> {
        if self.stalled.take().is_some() {
            let ready = self.tasks.ready();
            self.resume(&ready)?;
        }
        Ok(())
    }

    fn step(&mut self, record: &Record) -> Result<Worked, WorkerFault> {
        self.since.get_or_insert_with(|| self.clock.now());
        let Some(task) = self.tasks.get(record.source.partition) else {
            return Err(WorkerFault::Stop(format!("{} is not assigned, and a record of it came", record.source)));
        };
        let step = task.step(record, &mut self.handler, &mut self.batch, self.clock.timestamp())?;
        if let Some(fault) = &step.fault {
            tracing::warn!(component = %self.spec.component, source = %record.source, offset = %record.offset, "set aside: {fault}");
        }
        for write in step.writes {
            match self.member.send(write) {
                Ok(()) => {}
                Err(LogError::Abort(why)) => return Ok(Worked::GiveUp(why)),
                Err(LogError::RecordRefused(why)) if step.fault.is_none() => {
                    // The effects sent before it cannot be taken back alone.
                    self.handler.refuse(record, &why);
                    return Ok(Worked::GiveUp(why));
                }
                Err(LogError::RecordRefused(why)) => {
                    return Err(WorkerFault::Stop(format!(
                        "the dead-letter topic `{}` refuses {}@{}: {why}; raise its max.message.bytes",
                        self.spec.policy.dead_letter, record.source, record.offset
                    )));
                }
                Err(other) => return Err(other.into()),
            }
        }
        Ok(Worked::Done)
    }

    /// Reads what is ready; while the backlog is stalled that waits.
    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<(), WorkerFault> {
        if self.stalled.is_none() && !partitions.is_empty() {
            self.member.resume(partitions)?;
        }
        Ok(())
    }

    /// Reads a little of the changelogs of tasks that are not ready yet.
    fn restore(&mut self) -> Result<(), WorkerFault> {
        if self.tasks.restoring() {
            let ready = self.tasks.restore()?;
            self.progress.active();
            self.resume(&ready)?;
        }
        Ok(())
    }

    fn let_go(&mut self, partitions: &[TopicPartition]) -> Result<(), WorkerFault> {
        self.backlog.retain(|record| !partitions.contains(&record.source));
        self.tasks.let_go(partitions);
        Ok(self.member.release(partitions)?)
    }

    /// Drops everything since the last commit and goes back to it.
    fn give_up(&mut self, why: &str) -> Result<(), WorkerFault> {
        tracing::warn!(component = %self.spec.component, "the transaction is aborted and done again: {why}");
        self.batch = OpenBatch::default();
        self.since = None;
        self.backlog.clear();
        self.member.abort()?;
        Ok(self.member.rewind()?)
    }
}
