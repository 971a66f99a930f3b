//! The loop of one group member: poll, step, commit.
//!
//! ```text
//!           ┌─ records ───> backlog ──> step what is due, send ┐
//!           ├─ assigned ──> open tasks, restore, then resume   ├──> due? commit (see `transaction`)
//!  poll ────┤                                                  │
//!           ├─ revoking ──> commit what there is ──> release   │
//!           └─ lost ──────> give up ──> release <──────────────┴──── abort: nothing of the batch counts
//! ```
//!
//! [`Worker::turn`] is one round. Rounds continue while a commit is in flight. Time, log, state and handler are
//! arguments, so a simulation runs the same code.

use std::sync::Arc;
use std::time::Duration;

use heddle_core::event::{Partition, TopicPartition};
use heddle_core::explain::Explained;
use heddle_core::task::TaskSpec;

use super::aborts::Abort;
use super::backlog::{Backlog, until};
use super::breaker::SharedBreaker;
use super::clock::Clock;
use super::fault::{TurnError, WorkerFault};
use super::handler::{Handler, Refusing};
use super::known_limits::KnownLimits;
use super::progress::Progress;
use super::reload::Follower;
use super::reporter::Reporter;
use super::stuck::Stuck;
use super::succession::Succession;
use super::tables::{TABLE_WAIT, TableGate};
use super::tasks::Tasks;
use super::throttle::Throttle;
use super::topics::NoticeReader;
use super::transaction::{CommitPolicy, Parts, Transaction};
use crate::log::{Loss, Member, Polled};
use crate::shutdown::Shutdown;
use crate::telemetry::{
    AbortCause, Membership, Rebalanced, RecordsLost, RecordsPolled, TransactionAborted, WorkerJoined,
};

/// The maximum wait of a poll, and so the delay until a stop is noticed.
pub(super) const POLL_WAIT: Duration = Duration::from_millis(200);
/// The maximum wait of a poll while a commit is in flight, and so the delay until its end is noticed.
const COMMIT_POLL_WAIT: Duration = Duration::from_millis(5);
/// The time for steps between two polls. Polls prove to the log that the member is alive, and they answer rebalances.
/// One delivery may exceed this time by its deadline.
const WORK_SLICE: Duration = Duration::from_millis(250);
/// The maximum number of records of a poll while others wait to be stepped. At least as many are stepped between two
/// polls, so the backlog does not grow.
const WORKING_RECORDS_MAX: usize = 1;

/// The parts that all workers of a component share in this process.
#[derive(Clone)]
pub struct Common {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The circuit breaker of the component.
    pub breaker: SharedBreaker,
    /// The progress of the component.
    pub progress: Arc<Progress>,
    /// Set when the workers have to stop.
    pub shutdown: Shutdown,
}

/// One member of a group and its tasks.
pub struct Worker {
    pub(super) transaction: Transaction,
    pub(super) tasks: Tasks,
    pub(super) handler: Refusing,
    pub(super) spec: Arc<TaskSpec>,
    /// Records that were polled and not stepped yet.
    pub(super) backlog: Backlog,
    /// Tasks that are blocked because the log accepts nothing from their next record.
    pub(super) stuck: Stuck,
    pub(super) throttle: Throttle,
    pub(super) breaker: SharedBreaker,
    /// The task whose records were stepped last when the time for steps was up, if records are left to step.
    cut_at: Option<Partition>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) shutdown: Shutdown,
    pub(super) progress: Arc<Progress>,
    pub(super) reporter: Reporter,
    /// The state of the global tables.
    pub(super) tables: TableGate,
    /// The last reading of the clock, which saves further readings for each record.
    pub(super) looked_at: Duration,
    /// The parked count last reported to `progress`.
    parked: u64,
    /// The source of newer versions of the component.
    pub(super) follower: Option<Follower>,
    /// The source of notices of changed topics.
    pub(super) notices: Option<NoticeReader>,
    /// Ends open transactions of members whose tasks this worker gets.
    pub(super) succession: Option<Arc<Succession>>,
}

impl Worker {
    /// Creates a worker for a member that has just joined.
    #[must_use]
    pub fn new(
        member: Box<dyn Member>,
        handler: Box<dyn Handler>,
        tasks: Tasks,
        policy: CommitPolicy,
        common: Common,
    ) -> Self {
        let Common { clock, breaker, progress, shutdown } = common;
        let limits = KnownLimits::new(tasks.log().clone(), clock.clone());
        progress.report(WorkerJoined);
        Self {
            transaction: Transaction::new(member, policy, clock.clone()),
            spec: tasks.spec().clone(),
            handler: Refusing::new(handler, limits, clock.clone(), progress.clone()),
            backlog: Backlog::default(),
            stuck: Stuck::new(tasks.progress().clone()),
            reporter: Reporter::new(progress.clone()),
            tables: TableGate::new(tasks.tables().clone(), progress.clone()),
            tasks,
            throttle: Throttle::default(),
            breaker,
            cut_at: None,
            clock,
            shutdown,
            progress,
            looked_at: Duration::ZERO,
            parked: 0,
            follower: None,
            notices: None,
            succession: None,
        }
    }

    /// Works until it has to stop, or until a newer version of its component needs another worker. Then commits the
    /// last transaction.
    ///
    /// # Errors
    /// The fault that ended the worker earlier.
    pub fn run(mut self) -> Result<(), WorkerFault> {
        while !self.shutdown.is_requested() && self.renew()? && self.heed_notices()? {
            self.turn()?;
        }
        self.finish()
    }

    /// Commits the open transaction, writes state to disk and leaves the group.
    ///
    /// # Errors
    /// As [`turn`](Worker::turn).
    pub fn finish(mut self) -> Result<(), WorkerFault> {
        self.commit()?;
        self.tasks.close_all();
        Ok(self.transaction.leave()?)
    }

    /// Runs one round: waits for something to happen, and handles it.
    ///
    /// # Errors
    /// If this member cannot continue. Work that it did not commit will be done again.
    pub fn turn(&mut self) -> Result<(), WorkerFault> {
        self.tasks.check()?;
        let polled = self.poll()?;
        let losses = self.report_losses()?;
        match polled {
            Polled::Records(records) => {
                self.backlog.extend(records, &self.spec.retry_topics);
                self.report_turn();
            }
            Polled::Assigned(partitions) => self.assign(&partitions, losses)?,
            Polled::Revoking(partitions) => {
                self.commit()?;
                self.progress.report(Rebalanced { change: Membership::Revoked, partitions: &partitions });
                self.release(&partitions)?;
            }
            Polled::Lost(partitions) => {
                self.progress.report(Rebalanced { change: Membership::Lost, partitions: &partitions });
                self.give_up(AbortCause::PartitionsLost, "partitions were lost", None)?;
                self.release(&partitions)?;
            }
        }
        self.tables.look(self.clock.timestamp());
        let worked = self.work().and_then(|()| self.commit_if_due());
        self.or_give_up(worked)?;
        self.throttle.set_full(self.tasks.is_full(), &self.progress, self.clock.timestamp());
        self.reporter.rest();
        self.transaction.report(&mut self.reporter);
        self.hold_back()?;
        self.report_turn();
        self.report_parked();
        self.restore()
    }

    /// Waits for something to happen.
    fn poll(&mut self) -> Result<Polled, WorkerFault> {
        let began = self.clock.now();
        let polled = match self.cut_at {
            Some(_) => self.transaction.member().poll_at_most(WORKING_RECORDS_MAX, Duration::ZERO)?,
            None => {
                let wait = self.wait();
                self.transaction.member().poll(wait)?
            }
        };
        if let Polled::Records(records) = &polled
            && !records.is_empty()
            && self.progress.telemetry().tracing().is_some()
        {
            let (group, digest) = (&**self.tasks.group(), self.spec.digest.as_ref());
            let took = self.clock.now().saturating_sub(began);
            self.progress.report(RecordsPolled { records, group, digest, took });
        }
        Ok(polled)
    }

    /// Opens the tasks of partitions that were assigned.
    fn assign(&mut self, partitions: &[TopicPartition], losses: Vec<Loss>) -> Result<(), WorkerFault> {
        self.progress.report(Rebalanced { change: Membership::Assigned, partitions });
        self.succeed();
        let new = losses.into_iter().filter(|loss| partitions.contains(&loss.source));
        self.transaction.member().skip(&new.collect::<Vec<_>>())?;
        self.reporter.assigned(partitions);
        let ready = self.tasks.assign(partitions)?;
        self.resume(&ready)?;
        self.progress.assigned();
        Ok(())
    }

    /// Reports records that were deleted before they were read.
    ///
    /// # Errors
    /// If the manifest says that the component stops in that case. No record behind the gap was handled.
    fn report_losses(&mut self) -> Result<Vec<Loss>, WorkerFault> {
        let losses = self.transaction.member().take_losses();
        for loss in &losses {
            let (source, offsets) = (&loss.source, loss.offsets());
            self.progress.report(RecordsLost { source, position: loss.position, first: loss.first, offsets });
            self.progress.lost(source, offsets);
        }
        let stops =
            |loss: &&Loss| self.follower.as_ref().is_some_and(|follower| follower.version.stops_on_loss(&loss.source));
        if let Some(Loss { source, position, first }) = losses.iter().find(stops) {
            let (component, topic, number) = (&self.spec.component, &source.topic, source.partition);
            return Err(WorkerFault::Stop(
                Explained::new(format!("records were deleted before `{component}` consumed them"))
                    .at(format_args!("{source}, offsets {position} up to {first}, the first one that exists"))
                    .hint(format_args!(
                        "continue there with `heddle offsets set {component} {topic} --partition {number} --to beginning`, or set on-loss = \"continue\""
                    )),
            ));
        }
        Ok(losses)
    }

    /// The maximum wait of the next poll.
    fn wait(&self) -> Duration {
        let now = self.clock.now();
        if self.tasks.restoring() && self.throttle.full_until(now).is_none() {
            return Duration::ZERO;
        }
        let commit = self.transaction.commit_at().map(|at| at.saturating_sub(now));
        let step = match (self.shut_until(), self.throttle.rests_until()) {
            (Some(at), _) => Some(at.saturating_sub(now)),
            (None, Some(at)) => {
                [Some(at.saturating_sub(now)), self.backlog.next(&*self.clock)].into_iter().flatten().min()
            }
            (None, None) => {
                let held = |task| self.stuck.is_held(task, now);
                let parked = self.tasks.next_due(held).map(|due| until(due, self.clock.timestamp()));
                let stuck = self.stuck.next().map(|at| at.saturating_sub(now));
                [parked, stuck, self.backlog.next(&*self.clock)].into_iter().flatten().min()
            }
        };
        let in_flight = self.transaction.is_committing().then_some(COMMIT_POLL_WAIT);
        [commit, step, in_flight].into_iter().flatten().min().unwrap_or(POLL_WAIT).min(POLL_WAIT)
    }

    /// The time until which nothing is stepped, because the breaker is open, aborts repeat, the disk is full, or a
    /// table cannot be read.
    fn shut_until(&self) -> Option<Duration> {
        let now = self.clock.now();
        let breaker = self.breaker.shut_until(|| self.clock.now());
        let table = self.tables.is_shut().then_some(now + TABLE_WAIT);
        breaker.max(self.transaction.paused_until()).max(self.throttle.full_until(now)).max(table)
    }

    /// Steps the records that are due until it is time to poll again: first the tasks' schedules, then the backlog.
    fn work(&mut self) -> Result<(), TurnError> {
        let cut_at = self.cut_at.take();
        let (transaction, mut parts) = self.parts();
        transaction.poll_commit(Duration::ZERO, &mut parts)?;
        let now = self.clock.now();
        if self.throttle.full_until(now).is_some() || self.transaction.paused_until().is_some() || self.tables.is_shut()
        {
            return Ok(());
        }
        self.looked_at = now;
        let until = now + WORK_SLICE;
        for task in self.tasks.with_schedules() {
            while self.may_step_scheduled() && !self.stuck.is_held(task, self.clock.now()) {
                if self.looked_at >= until {
                    self.cut_at = cut_at.or(Some(task));
                    return Ok(());
                }
                if !self.step_scheduled(task)? {
                    break;
                }
            }
        }
        for task in self.backlog.tasks_after(cut_at) {
            while let Some(arrival) = self.backlog.take(task, &*self.clock) {
                // Records that were not stepped are not in the batch, so their offsets are not committed.
                if self.shutdown.is_requested() {
                    return Ok(());
                }
                self.step(arrival)?;
                if self.looked_at >= until {
                    self.cut_at = Some(task);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn may_step_scheduled(&mut self) -> bool {
        let now = self.clock.now();
        !self.throttle.rests(now) && !self.shutdown.is_requested()
    }

    /// The transaction, and the parts that a commit changes.
    pub(super) fn parts(&mut self) -> (&mut Transaction, Parts<'_>) {
        let Self { transaction, tasks, handler, reporter, .. } = self;
        (transaction, Parts { tasks, handler, reporter })
    }

    /// Begins to commit the open transaction.
    pub(super) fn begin_commit(&mut self) -> Result<(), TurnError> {
        let (transaction, mut parts) = self.parts();
        transaction.begin_commit(&mut parts)
    }

    fn commit_if_due(&mut self) -> Result<(), TurnError> {
        if self.transaction.is_due(self.clock.now()) { self.begin_commit() } else { Ok(()) }
    }

    /// Commits everything and waits for it. If the commit fails, drops the batch, whose records will be stepped again.
    pub(super) fn commit(&mut self) -> Result<(), WorkerFault> {
        let (transaction, mut parts) = self.parts();
        let committed = transaction.commit(&mut parts);
        self.or_give_up(committed)
    }

    /// Drops the batch if `worked` is an abort. Its records will be stepped again.
    fn or_give_up(&mut self, worked: Result<(), TurnError>) -> Result<(), WorkerFault> {
        match worked {
            Ok(()) => Ok(()),
            Err(TurnError::Abort(abort)) => self.give_up(abort.kind, &abort.cause, Some(&abort)),
            Err(TurnError::Fault(fault)) => Err(fault),
        }
    }

    /// Drops everything since the last commit and rewinds to it. The commit in flight is decided first.
    pub(super) fn give_up(&mut self, cause: AbortCause, why: &str, abort: Option<&Abort>) -> Result<(), WorkerFault> {
        let in_row = abort.map_or(0, |abort| self.transaction.count_abort(abort));
        self.progress.aborted();
        let (transaction, mut parts) = self.parts();
        let discarded = transaction.discard(&mut parts);
        let earlier = discarded.as_ref().ok().and_then(Option::as_deref);
        let measured = self.transaction.take_measured();
        self.progress.report(TransactionAborted { cause, why, earlier, in_row, measured: &measured });
        if let Err(TurnError::Fault(fault)) = discarded {
            return Err(fault);
        }
        self.backlog.clear();
        self.reporter.given_up();
        self.tasks.forget();
        self.handler.refusals.given_up();
        let member = self.transaction.member();
        member.abort()?;
        Ok(member.rewind()?)
    }

    /// Reads partitions of tasks that became ready, unless nothing is stepped now.
    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<(), WorkerFault> {
        let is_shut = self.shut_until().is_some();
        Ok(self.throttle.resume(partitions, is_shut, self.transaction.member())?)
    }

    /// Pauses partitions whose records cannot be stepped, and resumes the others.
    fn hold_back(&mut self) -> Result<(), WorkerFault> {
        let is_shut = self.shut_until().is_some();
        if !is_shut && self.backlog.is_empty() && self.throttle.is_open() {
            return Ok(());
        }
        let ready = self.tasks.ready();
        let wanted = if is_shut { ready.into_iter().collect() } else { self.backlog.blocked(&ready) };
        Ok(self.throttle.pause_only(wanted, self.transaction.member())?)
    }

    /// Reports that the worker takes turns, and the resources that it holds.
    fn report_turn(&mut self) {
        let memory_bytes = self.handler.report_usage();
        self.reporter.turn(memory_bytes, self.backlog.oldest());
    }

    /// Reports the number of parked records and their next tries.
    fn report_parked(&mut self) {
        let now = self.tasks.scheduled() + self.backlog.retries();
        self.progress.waiting(self.parked, now);
        if now > 0 || self.parked > 0 {
            self.reporter.next_tries(self.backlog.next_retries().chain(self.tasks.next_tries()).collect());
        }
        self.parked = now;
    }

    /// Reads a part of the changelogs of tasks that are not ready yet.
    fn restore(&mut self) -> Result<(), WorkerFault> {
        if self.tasks.restoring() {
            let ready = self.tasks.restore()?;
            self.progress.active();
            self.resume(&ready)?;
        }
        Ok(())
    }

    /// Closes the tasks of partitions that were revoked or lost, and releases the partitions.
    fn release(&mut self, partitions: &[TopicPartition]) -> Result<(), WorkerFault> {
        self.backlog.let_go(partitions);
        self.throttle.release(partitions);
        self.handler.refusals.let_go(partitions);
        self.stuck.let_go(partitions);
        self.reporter.let_go(partitions);
        self.tasks.let_go(partitions);
        Ok(self.transaction.member().release(partitions)?)
    }
}
