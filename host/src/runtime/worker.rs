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
//! [`Worker::turn`] is one round; rounds go on while a commit is under way. Time, log, state and handler come in as arguments, so a
//! simulation runs the same code.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use heddle_contract::wire::split;
use heddle_core::batch::OpenBatch;
use heddle_core::breaker::Admission;
use heddle_core::event::{Partition, Record, TopicPartition};
use heddle_core::failed::Waiting;
use heddle_core::fault::EventFaultKind;
use heddle_core::task::{Next, Step, TaskSpec};

use super::aborts::{Abort, Aborts};
use super::backlog::{Backlog, Due, until};
use super::breaker::SharedBreaker;
use super::clock::Clock;
use super::commit::UnderWay;
use super::fault::WorkerFault;
use super::handler::{Handler, Refusing};
use super::known_limits::KnownLimits;
use super::lines::Lines;
use super::progress::Progress;
use super::reload::Follower;
use super::sent::Sent;
use super::stuck::{Stuck, Turn};
use super::succession::Succession;
use super::tasks::Tasks;
use super::topics::NoticeReader;
use crate::log::{Loss, Member, Polled};

/// How long a poll waits when there is nothing else to do: how late a stop is noticed.
const POLL_WAIT: Duration = Duration::from_millis(200);
/// The same while a commit is under way: how late its end is noticed.
const COMMIT_POLL_WAIT: Duration = Duration::from_millis(5);
/// How long records are stepped before the log is polled again: it has to see that the member is alive, and rebalances are answered there.
/// One delivery, for as long as its deadline allows, comes on top.
const WORK_SLICE: Duration = Duration::from_millis(250);
/// How many records a poll takes while others wait to be stepped: at least as many are stepped between two polls, so the backlog does not grow.
const WORKING_RECORDS_MAX: usize = 1;
/// How long to wait before a registry that did not answer is asked again.
const REGISTRY_WAIT: Duration = Duration::from_millis(500);
/// How often the operator is told that records wait for the registry.
const OUTAGE_TOLD_EVERY: Duration = Duration::from_secs(60);
/// How often a worker whose state fills the memory looks whether the disk has taken some.
const FULL_WAIT: Duration = Duration::from_millis(100);
/// How long to wait at least before a record looks again for room to wait in.
const ROOM_WAIT: Duration = Duration::from_millis(10);

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
    letter_lines: Lines,
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
    stuck: Stuck,
    pub(super) backlog: Backlog,
    /// The task whose records were stepped last when the time to poll came; there are records left to step.
    cut_at: Option<Partition>,
    pub(super) breaker: SharedBreaker,
    /// Partitions of tasks that are ready, and that are not read for now.
    paused: BTreeSet<TopicPartition>,
    /// Until when records that wait in the tasks' state are left alone: the registry, or the breaker, is asked again then.
    rest: Option<Duration>,
    /// When the operator was last told that records wait for the registry.
    outage_told: Option<Duration>,
    /// Whether no more state may be committed until the disk has taken some.
    full: bool,
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
            full: false,
            told: 0,
            follower: None,
            notices: None,
            succession: None,
        }
    }

    /// Works until it is told to stop, or until a newer version of its component needs another worker. The last transaction is committed then.
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
            return Err(WorkerFault::Stop(format!(
                "records were deleted before `{component}` consumed them\n  where: {source}, from offset {position}, the first one that exists is {first}\n  \
                 what to do: go on there with `heddle offsets set {component} {topic} --partition {number} --to beginning`, or set on-loss = \"continue\"",
                component = self.spec.component,
                topic = source.topic,
                number = source.partition,
            )));
        }
        Ok(losses)
    }

    /// How long a poll may wait.
    fn wait(&self) -> Duration {
        if self.tasks.restoring() && !self.full {
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

    fn due(&self) -> bool {
        let now = self.clock.now();
        self.since.is_some_and(|since| now >= since + self.policy.interval)
            || self.batch.counts().taken() >= self.aborts.deliveries_max(self.policy.records_max)
    }

    /// Until when nothing is stepped: because the breaker is open, after aborts, or because the disk takes no state.
    fn shut_until(&self) -> Option<Duration> {
        let breaker = self.breaker.shut_until(|| self.clock.now());
        let full = self.full.then(|| self.clock.now() + FULL_WAIT);
        breaker.max(self.aborts.pauses_until(self.clock.now())).max(full)
    }

    /// Pauses while so much committed state waits for the disk that no more may, and goes on when there is room again.
    fn look_for_room(&mut self) {
        let full = self.tasks.is_full();
        if full == self.full {
            return;
        }
        self.full = full;
        let component = &self.spec.component;
        if full {
            let why = "the disk does not take its state: paused until it does";
            tracing::error!(target: "heddle::alert", %component, "{why}");
            self.progress.hindered(why.to_owned());
        } else {
            tracing::info!(target: "heddle::alert", %component, "the disk takes state again: going on");
            self.progress.eased();
        }
    }

    /// Steps through what is due, until it is time to poll again: first what waits in the tasks' state, then the backlog.
    fn work(&mut self) -> Result<Worked, WorkerFault> {
        let cut_at = self.cut_at.take();
        if let give_up @ Worked::GiveUp(_) = self.look_at_commit(Duration::ZERO)? {
            return Ok(give_up);
        }
        if self.full || self.aborts.pauses_until(self.clock.now()).is_some() {
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

    /// Steps the next record that waits in the state of a task and is due, if there is one and it may be delivered.
    fn step_due(&mut self, task: Partition) -> Result<Option<Worked>, WorkerFault> {
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
        match open.step_due(&mut self.handler, &mut self.batch, now) {
            Ok(None) => Ok(None),
            Ok(Some(step)) if step.next == Next::Stuck => {
                self.hold_stuck(&record, &step);
                Ok(None)
            }
            Ok(Some(step)) => Ok(Some(self.settle(&record, step)?)),
            Err(fault) => {
                let Some(why) = self.handler.take_unavailable() else { return Err(fault.into()) };
                self.rest = Some(self.wait_for_registry(&record, &why));
                Ok(None)
            }
        }
    }

    /// A record that the log takes nothing of holds its task up. Returns until when.
    fn hold_stuck(&mut self, record: &Record, step: &Step) -> Duration {
        let now = self.clock.now();
        let Some(fault) = &step.fault else { return now };
        self.stuck.hold(record, fault, now, self.clock.timestamp())
    }

    /// Steps a record of the backlog, or lets it wait.
    fn step(&mut self, due: Due) -> Result<Worked, WorkerFault> {
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
            return Err(WorkerFault::Stop(format!("{} is not assigned, and a record of it came", record.source)));
        };
        let step = match task.step(record, due.attempt, &mut self.handler, &mut self.batch, self.clock.timestamp()) {
            Ok(step) => step,
            Err(fault) => {
                let Some(why) = self.handler.take_unavailable() else { return Err(fault.into()) };
                let until = self.wait_for_registry(record, &why);
                self.backlog.hold(due, until);
                return Ok(Worked::Done);
            }
        };
        match step.next {
            Next::Again { attempt, after } => {
                if let Some(fault) = &step.fault {
                    tracing::debug!(component = %self.spec.component, source = %record.source, offset = %record.offset, attempt, ?after, "tried again: {fault}");
                }
                self.backlog.hold(Due { attempt, ..due }, self.clock.now() + after);
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

    /// A registry outage is not the record's fault: hold it back and stay in the group. Returns until when. The operator
    /// hears of it once a minute.
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
        self.clock.now() + REGISTRY_WAIT
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
                let after = until(due, self.clock.timestamp());
                tracing::debug!(%component, source = %record.source, offset = %record.offset, ?after, %fault, "parked");
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
        self.tasks.let_go(partitions);
        Ok(self.member.release(partitions)?)
    }
}
