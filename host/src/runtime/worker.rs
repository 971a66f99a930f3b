//! The loop of one group member: poll, step, commit.
//!
//! ```text
//!           ┌─ records ───> backlog ──> step what is due, send ┐
//!           ├─ assigned ──> open tasks, restore, then resume   ├──> due? commit (see `commit`)
//!  poll ────┤                                                  │
//!           ├─ revoking ──> commit what there is ──> release   │
//!           └─ lost ──────> give up ──> release <──────────────┴──── abort: nothing of the batch counts
//! ```
//!
//! [`Worker::turn`] is one round; rounds go on while a commit is under way. Time, log, state and handler come in as
//! arguments, so a simulation runs the same code.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use heddle_core::batch::OpenBatch;
use heddle_core::event::{Partition, TopicPartition};
use heddle_core::explain::Explained;
use heddle_core::task::TaskSpec;

use super::aborts::{Abort, Aborts};
use super::backlog::{Backlog, until};
use super::breaker::SharedBreaker;
use super::clock::Clock;
use super::commit::UnderWay;
use super::fault::WorkerFault;
use super::handler::{Handler, Refusing};
use super::known_limits::KnownLimits;
use super::lines::Lines;
use super::progress::Progress;
use super::reload::Follower;
use super::reporter::Reporter;
use super::sent::Sent;
use super::stall::{Cause, Stall};
use super::stuck::Stuck;
use super::succession::Succession;
use super::tasks::Tasks;
use super::topics::NoticeReader;
use crate::log::{Loss, Member, Polled};

/// How long a poll waits when there is nothing else to do: how late a stop is noticed.
pub(super) const POLL_WAIT: Duration = Duration::from_millis(200);
/// The same while a commit is under way: how late its end is noticed.
const COMMIT_POLL_WAIT: Duration = Duration::from_millis(5);
/// How long records are stepped before the log is polled again: it has to see that the member is alive, and rebalances
/// are answered there. One delivery, for as long as its deadline allows, comes on top.
const WORK_SLICE: Duration = Duration::from_millis(250);
/// How many records a poll takes while others wait to be stepped: at least as many are stepped between two polls, so
/// the backlog does not grow.
const WORKING_RECORDS_MAX: usize = 1;
/// How often a worker whose state fills the memory looks whether the disk has taken some.
const FULL_WAIT: Duration = Duration::from_millis(100);

/// When a transaction is committed.
#[derive(Clone, Copy, Debug)]
pub struct CommitPolicy {
    /// This long after its first record.
    pub interval: Duration,
    /// With this many records.
    pub records_max: u64,
}

/// What the workers of a component have in common in this process.
#[derive(Clone)]
pub struct Common {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// When nothing is consumed for a while.
    pub breaker: SharedBreaker,
    /// What they did so far.
    pub progress: Arc<Progress>,
    /// Set when they are to stop.
    pub stop: Arc<AtomicBool>,
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
    pub(super) letter_lines: Lines,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) batch: OpenBatch,
    /// When the open batch got its first record.
    pub(super) since: Option<Duration>,
    /// The batch before it, until its commit is through.
    pub(super) under_way: Option<UnderWay>,
    /// Who sent what in the open transaction.
    pub(super) sent: Sent,
    pub(super) aborts: Aborts,
    /// Tasks that stand still.
    pub(super) stuck: Stuck,
    /// Tells what an operator is shown of its partitions.
    pub(super) reporter: Reporter,
    pub(super) backlog: Backlog,
    /// The task whose records were stepped last when the time to poll came; there are records left to step.
    cut_at: Option<Partition>,
    pub(super) breaker: SharedBreaker,
    /// Partitions of tasks that are ready, and that are not read for now.
    paused: BTreeSet<TopicPartition>,
    /// Until when records that wait in the tasks' state are left alone: the registry, or the breaker, is asked again
    /// then.
    pub(super) rest: Option<Duration>,
    /// When the operator was last told that records wait for the registry.
    pub(super) outage_told: Option<Duration>,
    /// Since when no more state may be committed until the disk has taken some.
    full: Option<Stall>,
    /// How many records the others were told wait here.
    told: u64,
    /// Tells of newer versions of the component.
    pub(super) follower: Option<Follower>,
    /// Tells of topics that changed.
    pub(super) notices: Option<NoticeReader>,
    /// Ends the transactions of those whose tasks it gets.
    pub(super) succession: Option<Arc<Succession>>,
}

/// How something ended that concerns the open transaction.
#[must_use]
pub(super) enum Worked {
    Done,
    /// The transaction cannot be committed: everything since the last commit is done again.
    GiveUp(Abort),
}

impl Worker {
    /// A worker for a member that has just joined.
    #[must_use]
    pub fn new(
        member: Box<dyn Member>,
        handler: Box<dyn Handler>,
        tasks: Tasks,
        policy: CommitPolicy,
        common: Common,
    ) -> Self {
        let Common { clock, breaker, progress, stop } = common;
        let limits = KnownLimits::new(tasks.log().clone(), clock.clone());
        Self {
            member,
            spec: tasks.spec().clone(),
            handler: Refusing::new(handler, limits, clock.clone()),
            sent: Sent::default(),
            aborts: Aborts::default(),
            stuck: Stuck::new(tasks.spec().component.clone(), tasks.progress().clone()),
            reporter: Reporter::new(progress.clone()),
            tasks,
            policy,
            clock,
            progress,
            letter_lines: Lines::default(),
            stop,
            batch: OpenBatch::default(),
            since: None,
            under_way: None,
            backlog: Backlog::default(),
            cut_at: None,
            breaker,
            paused: BTreeSet::new(),
            rest: None,
            outage_told: None,
            full: None,
            told: 0,
            follower: None,
            notices: None,
            succession: None,
        }
    }

    /// Works until it is told to stop, or until a newer version of its component needs another worker. The last
    /// transaction is committed then.
    ///
    /// # Errors
    /// What ended it before.
    pub fn run(mut self) -> Result<(), WorkerFault> {
        while !self.stop.load(Ordering::Relaxed) && self.renew()? && self.heed_notices()? {
            self.turn()?;
        }
        self.finish()
    }

    /// Commits what there is, writes state to disk and leaves the group.
    ///
    /// # Errors
    /// As [`turn`](Worker::turn).
    pub fn finish(mut self) -> Result<(), WorkerFault> {
        self.commit_now()?;
        self.tasks.close_all();
        Ok(self.member.leave()?)
    }

    /// One round: waits for something to happen, and does it.
    ///
    /// # Errors
    /// If this member cannot go on. What it did not commit will be done again.
    pub fn turn(&mut self) -> Result<(), WorkerFault> {
        self.tasks.check()?;
        let polled = match self.cut_at {
            Some(_) => self.member.poll_at_most(WORKING_RECORDS_MAX, Duration::ZERO)?,
            None => self.member.poll(self.wait())?,
        };
        let losses = self.report_losses()?;
        let worked = match polled {
            Polled::Records(records) => {
                self.backlog.extend(records, &self.spec.retry_topics);
                Worked::Done
            }
            Polled::Assigned(partitions) => {
                let named = partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                tracing::info!(component = %self.spec.component, partitions = named, "assigned");
                self.succeed();
                let new = losses.into_iter().filter(|loss| partitions.contains(&loss.source));
                self.member.skip(&new.collect::<Vec<_>>())?;
                self.reporter.assigned(&partitions);
                let ready = self.tasks.assign(&partitions)?;
                self.resume(&ready)?;
                self.progress.assigned();
                Worked::Done
            }
            Polled::Revoking(partitions) => {
                self.commit_now()?;
                self.let_go(&partitions)?;
                Worked::Done
            }
            Polled::Lost(partitions) => {
                self.give_up(None, "partitions were lost")?;
                self.let_go(&partitions)?;
                Worked::Done
            }
        };
        let worked = match worked {
            Worked::Done => self.work()?,
            give_up @ Worked::GiveUp(_) => give_up,
        };
        let worked = match worked {
            Worked::Done if self.due() => self.commit()?,
            worked => worked,
        };
        self.or_give_up(worked)?;
        self.look_for_room();
        self.reporter.rest();
        self.report_commit();
        self.hold_back()?;
        self.tell_waiting();
        self.restore()
    }

    /// Reports what was deleted before it was read.
    ///
    /// # Errors
    /// If the component's manifest says that it is to stop then. Nothing behind the gap was handled.
    fn report_losses(&mut self) -> Result<Vec<Loss>, WorkerFault> {
        let losses = self.member.take_losses();
        for loss in &losses {
            let Loss { source, position, first } = loss;
            let (component, offsets) = (&self.spec.component, loss.offsets());
            tracing::warn!(target: "heddle::alert", %component, %source, %position, %first, offsets, "records were deleted before they were consumed");
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

    /// How long a poll may wait.
    fn wait(&self) -> Duration {
        if self.tasks.restoring() && self.full.is_none() {
            return Duration::ZERO;
        }
        let now = self.clock.now();
        let commit = self.since.map(|since| (since + self.policy.interval).saturating_sub(now));
        let step = match (self.shut_until(), self.rest) {
            (Some(at), _) => Some(at.saturating_sub(now)),
            (None, Some(at)) => {
                [Some(at.saturating_sub(now)), self.backlog.next(&*self.clock)].into_iter().flatten().min()
            }
            (None, None) => {
                let held = |task| self.stuck.is_held(task, now);
                let waiting = self.tasks.next_due(held).map(|due| until(due, self.clock.timestamp()));
                let stuck = self.stuck.next().map(|at| at.saturating_sub(now));
                [waiting, stuck, self.backlog.next(&*self.clock)].into_iter().flatten().min()
            }
        };
        let under_way = self.under_way.is_some().then_some(COMMIT_POLL_WAIT);
        [commit, step, under_way].into_iter().flatten().min().unwrap_or(POLL_WAIT).min(POLL_WAIT)
    }

    pub(super) fn due(&self) -> bool {
        let now = self.clock.now();
        self.since.is_some_and(|since| now >= since + self.policy.interval)
            || self.batch.counts().taken() >= self.aborts.deliveries_max(self.policy.records_max)
    }

    /// Until when nothing is stepped: because the breaker is open, after aborts, or because the disk takes no state.
    fn shut_until(&self) -> Option<Duration> {
        let breaker = self.breaker.shut_until(|| self.clock.now());
        let full = self.full.as_ref().map(|_| self.clock.now() + FULL_WAIT);
        breaker.max(self.aborts.pauses_until(self.clock.now())).max(full)
    }

    /// Pauses while so much committed state waits for the disk that no more may, and goes on when there is room again.
    fn look_for_room(&mut self) {
        let component = &self.spec.component;
        match (self.tasks.is_full(), self.full.take()) {
            (true, None) => {
                let why = "the disk does not take its state: paused until it does";
                tracing::error!(target: "heddle::alert", %component, "{why}");
                let (cause, since) = (Cause::Disk, self.clock.timestamp());
                let stall = Stall { cause, at: None, since, tries: 0, next_try: None, why: Explained::new(why) };
                self.progress.stalled(stall.clone());
                self.full = Some(stall);
            }
            (false, Some(stall)) => {
                tracing::info!(target: "heddle::alert", %component, "the disk takes state again: going on");
                self.progress.goes_on(&stall);
            }
            (_, before) => self.full = before,
        }
    }

    /// Steps through what is due, until it is time to poll again: first what waits in the tasks' state, then the
    /// backlog.
    fn work(&mut self) -> Result<Worked, WorkerFault> {
        let cut_at = self.cut_at.take();
        if let give_up @ Worked::GiveUp(_) = self.look_at_commit(Duration::ZERO)? {
            return Ok(give_up);
        }
        if self.full.is_some() || self.aborts.pauses_until(self.clock.now()).is_some() {
            return Ok(Worked::Done);
        }
        let until = self.clock.now() + WORK_SLICE;
        for task in self.tasks.with_queues() {
            while self.may_go_on() && !self.stuck.is_held(task, self.clock.now()) {
                if self.clock.now() >= until {
                    self.cut_at = cut_at.or(Some(task));
                    return Ok(Worked::Done);
                }
                match self.step_due(task)? {
                    Some(Worked::Done) => {}
                    Some(give_up) => return Ok(give_up),
                    None => break,
                }
            }
        }
        for task in self.backlog.tasks_after(cut_at) {
            while let Some(due) = self.backlog.take(task, &*self.clock) {
                // What was not stepped is not in the batch, so its offsets are not committed.
                if self.stop.load(Ordering::Relaxed) {
                    return Ok(Worked::Done);
                }
                match self.step(due)? {
                    Worked::Done => {}
                    give_up @ Worked::GiveUp(_) => return Ok(give_up),
                }
                if self.clock.now() >= until {
                    self.cut_at = Some(task);
                    return Ok(Worked::Done);
                }
            }
        }
        Ok(Worked::Done)
    }

    fn may_go_on(&mut self) -> bool {
        let now = self.clock.now();
        self.rest.take_if(|at| *at <= now);
        !self.stop.load(Ordering::Relaxed) && self.rest.is_none()
    }

    /// Reads what is ready; what is held back waits.
    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<(), WorkerFault> {
        if partitions.is_empty() {
            return Ok(());
        }
        if self.stands_still() {
            self.paused.extend(partitions.iter().cloned());
            return Ok(());
        }
        Ok(self.member.resume(partitions)?)
    }

    fn stands_still(&self) -> bool {
        self.shut_until().is_some()
    }

    /// Pauses what could not be stepped anyway, and goes on with what can: nothing is read ahead without bound.
    fn hold_back(&mut self) -> Result<(), WorkerFault> {
        let still = self.stands_still();
        if !still && self.backlog.is_empty() && self.paused.is_empty() {
            return Ok(());
        }
        let ready = self.tasks.ready();
        let wanted = if still { ready.into_iter().collect() } else { self.backlog.blocked(&ready) };
        let pause = wanted.difference(&self.paused).cloned().collect::<Vec<_>>();
        let resume = self.paused.difference(&wanted).cloned().collect::<Vec<_>>();
        self.paused = wanted;
        if !pause.is_empty() {
            self.member.pause(&pause)?;
        }
        if !resume.is_empty() {
            self.member.resume(&resume)?;
        }
        Ok(())
    }

    /// Tells how many records wait here.
    fn tell_waiting(&mut self) {
        let now = self.tasks.waiting() + self.backlog.retries();
        self.progress.waiting(self.told, now, &self.spec.component);
        if now > 0 || self.told > 0 {
            self.reporter.next_tries(self.backlog.next_retries().chain(self.tasks.next_tries()).collect());
        }
        self.told = now;
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
        self.backlog.let_go(partitions);
        self.paused.retain(|source| !partitions.contains(source));
        self.handler.refusals.let_go(partitions);
        self.stuck.let_go(partitions);
        self.reporter.let_go(partitions);
        self.tasks.let_go(partitions);
        Ok(self.member.release(partitions)?)
    }
}
