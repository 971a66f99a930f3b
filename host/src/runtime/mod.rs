//! Runs components: their workers, from start to stop.

mod aborts;
mod attempts;
mod backlog;
mod breaker;
mod clock;
mod deliver;
mod fault;
mod handler;
mod joining;
mod known;
mod known_limits;
mod progress;
mod refusals;
mod reload;
mod reporter;
mod restore;
mod rights;
mod sent;
mod spec;
mod stall;
mod stuck;
mod succession;
mod tables;
mod tasks;
mod throttle;
mod topics;
mod transaction;
mod worker;

pub use breaker::SharedBreaker;
pub use clock::{Clock, SystemClock};
pub use fault::{Remedy, WorkerFault};
pub use handler::{Handler, Usage};
pub use known::{KnownTopics, Move};
pub use progress::{Progress, Snapshot};
pub use reload::{Slot, Version};
pub use reporter::WorkerState;
pub use rights::{OWN_TOPIC, rights};
pub use spec::{own_topics, task_spec};
pub use stall::{Cause, CurrentRecord, LastFault, Stall};
pub use tasks::Tasks;
pub use topics::{
    LOOK_EVERY, Needs, NoticeReader, PartitionCounts, TopicWatch, partition_counts, refusal, short_changelogs,
    task_count,
};
pub use transaction::CommitPolicy;
pub use worker::{Common, Worker};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use attempts::{Attempts, Next};
use heddle_core::event::Topic;
use heddle_core::explain::Explained;
use succession::{Kin, Succession};

use crate::guest::Schemas;
use crate::log::{Log, LogError, Member, MemberOptions, Start};
use crate::shutdown::Shutdown;
use crate::state::HostState;
use crate::telemetry::{Telemetry, UpkeepFailed, WorkerFailed, WorkerRejoins};

/// The maximum number of records of one poll.
const BATCH_RECORDS_MAX: usize = 1_000;

/// The interval between checks that a thread has ended.
const END_LOOK: Duration = Duration::from_millis(5);
/// The interval at which a waiting thread checks if the host has to stop.
const STOP_LOOK: Duration = Duration::from_millis(100);
/// The maximum time that threads without a transaction get to end when the host stops. They may wait for a broker that
/// does not answer.
const LEAVE_WAIT: Duration = Duration::from_secs(2);
/// The time that a transaction may be open, in addition to its commit interval and its slowest handlers. After it, the
/// brokers abort the transaction.
pub const TRANSACTION_TIME: Duration = Duration::from_secs(10);
/// The interval at which the log is asked to drop data that it need not keep.
const UPKEEP_EVERY: Duration = Duration::from_secs(60);

/// A component to run.
pub struct Service {
    /// The version that runs.
    pub slot: Arc<Slot>,
    /// The copies of its tasks' state on this host.
    pub state: Arc<HostState>,
    /// The number of workers in this process.
    pub workers: u32,
    /// The name of this process among all that run the same component, for static membership.
    pub host: String,
}

/// The parts that the workers of all components share.
#[derive(Clone)]
pub struct Shared {
    /// The log of the app.
    pub log: Arc<dyn Log>,
    /// The schemas with which records were written.
    pub schemas: Arc<dyn Schemas>,
    /// The conditions for a commit.
    pub commit: CommitPolicy,
    /// The topics that the components know, by id.
    pub known: Arc<KnownTopics>,
    /// The signal that ends the workers.
    pub shutdown: Shutdown,
    /// Reports events of the host.
    pub telemetry: Telemetry,
}

/// Running workers. Dropping it does not stop them; [`Running::stop`] does.
pub struct Running {
    shutdown: Shutdown,
    threads: Vec<WorkerThread>,
    /// Threads that watch the log, and sleep most of the time.
    helpers: Vec<JoinHandle<()>>,
    /// The progress of each component, by its full name.
    pub progress: Vec<(String, Arc<Progress>)>,
}

/// The thread of one worker.
struct WorkerThread {
    thread: JoinHandle<Result<(), WorkerFault>>,
    /// True while the worker is a member of its group. Its transaction then has to end in order.
    works: Arc<AtomicBool>,
}

/// Starts the workers of all services.
///
/// # Errors
/// If a thread cannot be started.
pub fn start(shared: &Shared, services: Vec<Service>) -> Result<Running, WorkerFault> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let shutdown = &shared.shutdown;
    let mut running = Running { shutdown: shutdown.clone(), threads: vec![], helpers: vec![], progress: vec![] };
    let (mut watched, mut successions) = (vec![], vec![]);
    for service in services {
        let version = service.slot.current();
        let name = version.spec.component.clone();
        let progress = Arc::new(Progress::new(shared.telemetry.of(name.clone())));
        running.progress.push((name.to_string(), progress.clone()));
        let breaker = SharedBreaker::new(version.component.manifest().failure.breaker, progress.clone());
        let slot = service.slot.clone();
        let topics = Arc::new(TopicWatch::new(move || slot.current(), progress.clone(), shared.known.clone()));
        watched.push(topics.clone());
        let succession = Arc::new(Succession::of(&name, &service.host));
        successions.push(Kin {
            slot: service.slot.clone(),
            succession: succession.clone(),
            progress: progress.clone(),
        });
        let common = Common { clock: clock.clone(), breaker, progress, shutdown: shutdown.clone() };
        let service = Arc::new(service);
        for number in 0..service.workers {
            let (shared, service, topics) = (shared.clone(), service.clone(), topics.clone());
            let works = Arc::new(AtomicBool::new(false));
            let (common, succession) = (common.clone(), succession.clone());
            let place = Place { shared, service, number, common, topics, succession, works: works.clone() };
            let thread = thread::Builder::new().name(format!("{name}-{number}"));
            let spawned = thread.spawn(move || place.run());
            let thread = spawned.map_err(|e| WorkerFault::Stop(format!("cannot start a worker: {e}").into()))?;
            running.threads.push(WorkerThread { thread, works });
        }
    }
    let (log, telemetry, stop) = (shared.log.clone(), shared.telemetry.clone(), shutdown.clone());
    running.helpers.push(helper("upkeep", move || upkeep(log.as_ref(), &telemetry, &stop))?);
    let (log, telemetry, stop) = (shared.log.clone(), shared.telemetry.clone(), shutdown.clone());
    running.helpers.push(helper("topics", move || topics::watch(log.as_ref(), &watched, &telemetry, &stop))?);
    let (log, stop) = (shared.log.clone(), shutdown.clone());
    running.helpers.push(helper("succession", move || succession::watch(log.as_ref(), &successions, &stop))?);
    Ok(running)
}

fn helper(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, WorkerFault> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
    thread.map_err(|e| WorkerFault::Stop(format!("cannot start a thread: {e}").into()))
}

/// Lets the log drop data that it need not keep, until the host stops. A failure is reported, and the upkeep is tried
/// again.
fn upkeep(log: &dyn Log, telemetry: &Telemetry, shutdown: &Shutdown) {
    while !shutdown.sleep(UPKEEP_EVERY) {
        if let Err(error) = log.upkeep(crate::log::now()) {
            telemetry.report(UpkeepFailed { why: &error.to_string() });
        }
    }
}

impl Running {
    /// Returns true if a worker has ended by itself, which it does only if it cannot continue.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.threads.iter().any(|worker| worker.thread.is_finished())
    }

    /// Returns true if every component has its partitions and had nothing to do for `time`.
    #[must_use]
    pub fn idle_for(&self, time: Duration) -> bool {
        self.progress.iter().all(|(_, progress)| progress.idle_for(time))
    }

    /// Stops all workers after their current transactions. Threads that have no transaction and wait for the log are
    /// abandoned after a while, because the process is about to end.
    ///
    /// # Errors
    /// The first fault that ended a worker.
    pub fn stop(self) -> Result<(), WorkerFault> {
        self.shutdown.request();
        let leave_by = Instant::now() + LEAVE_WAIT;
        for helper in self.helpers {
            join_by(helper, leave_by);
        }
        let mut first = Ok(());
        for WorkerThread { thread, works } in self.threads {
            if !ends(&thread, || works.load(Ordering::Acquire) || Instant::now() < leave_by) {
                continue;
            }
            let ended = thread.join().unwrap_or_else(|_| Err(WorkerFault::Stop(Explained::new("a worker panicked"))));
            first = first.and(ended);
        }
        first
    }
}

/// Joins a thread if it ends before the deadline. A thread that is blocked in a log that does not answer is abandoned.
pub(crate) fn join_by(thread: JoinHandle<()>, deadline: Instant) {
    thread.thread().unpark();
    if ends(&thread, || Instant::now() < deadline) {
        // The thread has no result, and its panic was printed.
        let _ = thread.join();
    }
}

/// Waits for the end of a thread while `wait` returns true. Returns true if the thread has ended.
fn ends<T>(thread: &JoinHandle<T>, wait: impl Fn() -> bool) -> bool {
    while !thread.is_finished() && wait() {
        thread::sleep(END_LOOK);
    }
    thread.is_finished()
}

/// The loop of one worker: it joins the group, works, and rejoins after a fault.
struct Place {
    shared: Shared,
    service: Arc<Service>,
    number: u32,
    common: Common,
    topics: Arc<TopicWatch>,
    succession: Arc<Succession>,
    works: Arc<AtomicBool>,
}

impl Place {
    fn run(self) -> Result<(), WorkerFault> {
        let (progress, mut attempts) = (&self.common.progress, Attempts::default());
        while !self.stops() {
            let worked = self.work();
            self.works.store(false, Ordering::Release);
            match worked {
                // The host stops, a newer version reads other topics or stores, or the topics do not fit.
                Ok(()) => progress.active(),
                Err(fault) if fault.remedy() == Remedy::Rejoin => {
                    let Next { wait, tell, help } = attempts.failed(&fault, Instant::now());
                    let why = Explained::of(&fault);
                    progress.report(WorkerRejoins {
                        worker: self.number,
                        cause: fault.rejoin_cause(),
                        why: &why,
                        wait,
                        is_repeated: !tell,
                        needs_help: help,
                    });
                    progress.rejoining(why);
                    self.pause(wait);
                }
                Err(fault) => {
                    progress.report(WorkerFailed { worker: self.number, why: &Explained::of(&fault) });
                    return Err(fault);
                }
            }
        }
        Ok(())
    }

    fn stops(&self) -> bool {
        self.common.shutdown.is_requested()
    }

    /// Sleeps for `wait`, but not longer than until the host stops.
    fn pause(&self, wait: Duration) {
        self.common.shutdown.sleep(wait);
    }

    fn work(&self) -> Result<(), WorkerFault> {
        let Self { shared, service, common, .. } = self;
        if !self.topics.admit(shared.log.as_ref(), &partition_counts(shared.log.topics()?))? {
            self.pause(topics::LOOK_EVERY);
            return Ok(());
        }
        let follower = service.slot.follow(self.number, shared.schemas.clone());
        let spec = &follower.version.spec;
        let id = succession::transactional_id(&spec.component, &service.host, self.number);
        let topics = follower.version.topics();
        let read = if shared.log.members_assign() { topics.as_slice() } else { &[] };
        let instance_id = instance_id(&id, read);
        // Created before the member joins, so that it covers everything noticed from then on.
        let notices = self.topics.reader(instance_id.clone());
        let joined = self.join(MemberOptions {
            group: follower.version.group(),
            instance_id: Some(instance_id),
            topics,
            transactional_id: id,
            transaction_time: follower.version.transaction_time(shared.commit.interval),
            start: Start::Beginning,
            starts: follower.version.starts(),
            batch_records_max: BATCH_RECORDS_MAX,
        });
        let Some(member) = joined? else { return Ok(()) };
        self.works.store(true, Ordering::Release);
        let handler = Box::new(follower.instance());
        let topics = follower.version.topics().len();
        let tasks =
            Tasks::new(spec.clone(), shared.log.clone(), service.state.clone(), common.progress.clone(), topics);
        let tasks = tasks.in_group(follower.version.group()).knowing(shared.known.clone());
        let tasks = tasks.beside(follower.version.tables.clone());
        let worker = Worker::new(member, handler, tasks, shared.commit, common.clone());
        worker.following(follower).reading(notices).succeeding(self.succession.clone()).run()
    }

    /// Joins the group in a separate thread, so that the host can stop meanwhile: the brokers may take long. Returns
    /// `None` if the host stops.
    fn join(&self, options: MemberOptions) -> Result<Option<Box<dyn Member>>, WorkerFault> {
        let log = self.shared.log.clone();
        let (send, joined) = channel();
        let join = move || {
            // Nobody receives this if the host stops.
            let _ = send.send(log.join(&options));
        };
        let thread = thread::Builder::new().name("join".to_owned()).spawn(join);
        thread.map_err(|error| LogError::Unreachable(format!("cannot start a thread: {error}")))?;
        loop {
            match joined.recv_timeout(STOP_LOOK) {
                Ok(member) => return Ok(Some(member?)),
                Err(RecvTimeoutError::Timeout) if self.stops() => return Ok(None),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(WorkerFault::Stop(Explained::new("joining the group panicked")));
                }
            }
        }
    }
}

/// The name of a member while it reads these topics. Where members assign partitions, a broker returns to a known name
/// its earlier assignment, whatever topics the member reads now (KAFKA-12759). Topics that only the newer version reads
/// would then have no reader. Under another name, the member is a new one, and the partitions of the old one are
/// reassigned when its session ends. A log that assigns partitions itself needs no such name.
fn instance_id(member: &str, topics: &[Topic]) -> String {
    let mut names = topics.iter().map(AsRef::<str>::as_ref).collect::<Vec<_>>();
    names.sort_unstable();
    format!("{member}-{:016x}", xxhash_rust::xxh3::xxh3_64(names.join("\n").as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_keeps_its_name_as_long_as_it_reads_the_same() {
        let of = |topics: &[&str]| instance_id("m", &topics.iter().map(|name| Topic::from(*name)).collect::<Vec<_>>());
        assert_eq!(of(&["a", "b"]), of(&["b", "a"]));
        assert!(of(&["a", "b"]) != of(&["a"]) && of(&["a", "b"]) != of(&["ab"]));
    }
}
