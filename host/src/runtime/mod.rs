//! Running components: their workers, from start to stop.

mod aborts;
mod backlog;
mod breaker;
mod clock;
mod commit;
mod fault;
mod handler;
mod known;
mod known_limits;
mod lines;
mod progress;
mod refusals;
mod reload;
mod restore;
mod sent;
mod spec;
mod stuck;
mod tasks;
mod topics;
mod worker;

pub use breaker::SharedBreaker;
pub use clock::{Clock, SystemClock};
pub use fault::{Remedy, WorkerFault};
pub use handler::Handler;
pub use known::KnownTopics;
pub use progress::{Progress, Snapshot, Stall};
pub use reload::{Slot, Version};
pub use spec::{breaker_policy, own_topics, task_spec};
pub use tasks::Tasks;
pub use topics::{PartitionCounts, partition_counts, refusal, short_changelogs, task_count};
pub use worker::{CommitPolicy, Common, Worker};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use heddle_core::event::Topic;
use topics::{NoticeReader, Notices, TopicWatch};

use crate::guest::Schemas;
use crate::log::{Log, MemberOptions, Start};
use crate::state::HostState;

/// How long to wait before a group that cannot be joined is joined again.
const REJOIN_WAIT: Duration = Duration::from_millis(500);
/// The most records of one poll.
const BATCH_RECORDS_MAX: usize = 1_000;

/// How often the log is asked to drop what it need not keep any more.
const UPKEEP_EVERY: Duration = Duration::from_secs(60);

/// A component to run.
pub struct Service {
    /// The version that runs.
    pub slot: Arc<Slot>,
    /// The copies of its tasks' state on this host.
    pub state: Arc<HostState>,
    /// How many workers it gets in this process.
    pub workers: u32,
    /// Tells this process from others that run the same component: static membership.
    pub host: String,
}

/// What the workers of all components share.
#[derive(Clone)]
pub struct Shared {
    /// Where records are.
    pub log: Arc<dyn Log>,
    /// The schemas that records were written by.
    pub schemas: Arc<dyn Schemas>,
    /// When transactions are committed.
    pub commit: CommitPolicy,
    /// Which topics the components know.
    pub known: Arc<KnownTopics>,
}

/// Running workers. Dropping it does not stop them; [`Running::stop`] does.
pub struct Running {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<(), WorkerFault>>>,
    /// Threads that look after things, asleep for most of the time.
    helpers: Vec<JoinHandle<()>>,
    /// Each component's progress, by its full name.
    pub progress: Vec<(String, Arc<Progress>)>,
}

/// Starts the workers of all services.
///
/// # Errors
/// If a thread cannot be started.
pub fn start(shared: &Shared, services: Vec<Service>) -> Result<Running, WorkerFault> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let mut running = Running { stop: Arc::default(), threads: vec![], helpers: vec![], progress: vec![] };
    let mut watched = vec![];
    for service in services {
        let progress = Arc::new(Progress::default());
        let version = service.slot.current();
        let name = version.spec.component.clone();
        running.progress.push((name.to_string(), progress.clone()));
        let breaker = SharedBreaker::new(breaker_policy(version.component.manifest()), progress.clone());
        let notices = Arc::new(Notices::default());
        let watch = |slot: &Arc<Slot>| TopicWatch {
            slot: slot.clone(),
            progress: progress.clone(),
            notices: notices.clone(),
            known: shared.known.clone(),
        };
        watched.push(watch(&service.slot));
        let topics = Arc::new(watch(&service.slot));
        let common = Common { clock: clock.clone(), breaker, progress, stop: running.stop.clone() };
        let service = Arc::new(service);
        for number in 0..service.workers {
            let (shared, service, topics) = (shared.clone(), service.clone(), topics.clone());
            let place = Place { shared, service, number, common: common.clone(), topics };
            let thread = thread::Builder::new().name(format!("{name}-{number}"));
            let spawned = thread.spawn(move || place.run());
            running.threads.push(spawned.map_err(|e| WorkerFault::Stop(format!("cannot start a worker: {e}")))?);
        }
    }
    let (log, stop) = (shared.log.clone(), running.stop.clone());
    running.helpers.push(helper("upkeep", move || upkeep(log.as_ref(), &stop))?);
    let (log, stop) = (shared.log.clone(), running.stop.clone());
    running.helpers.push(helper("topics", move || topics::watch(log.as_ref(), &watched, &stop))?);
    Ok(running)
}

fn helper(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, WorkerFault> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
    thread.map_err(|e| WorkerFault::Stop(format!("cannot start a thread: {e}")))
}

/// Lets the log drop what it need not keep, until the host stops. A failure is told and tried again.
fn upkeep(log: &dyn Log, stop: &AtomicBool) {
    let mut next = Instant::now() + UPKEEP_EVERY;
    while !stop.load(Ordering::Relaxed) {
        thread::park_timeout(UPKEEP_EVERY);
        if Instant::now() >= next {
            next = Instant::now() + UPKEEP_EVERY;
            if let Err(error) = log.upkeep(crate::log::now()) {
                tracing::warn!("the log's upkeep failed: {error}");
            }
        }
    }
}

impl Running {
    /// Set when the workers are told to stop.
    #[must_use]
    pub fn stopping(&self) -> Arc<AtomicBool> {
        self.stop.clone()
    }

    /// Whether a worker has ended by itself, which it does only when it cannot go on.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Whether every component has its partitions and had nothing to do for as long as this.
    #[must_use]
    pub fn idle_for(&self, time: Duration) -> bool {
        self.progress.iter().all(|(_, progress)| progress.idle_for(time))
    }

    /// Stops all workers after the transactions under way.
    ///
    /// # Errors
    /// The first error for which a worker could not go on.
    pub fn stop(self) -> Result<(), WorkerFault> {
        self.stop.store(true, Ordering::Relaxed);
        for helper in self.helpers {
            helper.thread().unpark();
            // It has nothing to say; a panic in it was printed.
            let _ = helper.join();
        }
        let mut first = Ok(());
        for thread in self.threads {
            let ended = thread.join().unwrap_or_else(|_| Err(WorkerFault::Stop("a worker panicked".to_owned())));
            first = first.and(ended);
        }
        first
    }
}

/// One worker's place: it joins, works, and joins again when it was fenced.
struct Place {
    shared: Shared,
    service: Arc<Service>,
    number: u32,
    common: Common,
    topics: Arc<TopicWatch>,
}

impl Place {
    fn run(self) -> Result<(), WorkerFault> {
        let component = self.service.slot.current().spec.component.clone();
        while !self.common.stop.load(Ordering::Relaxed) {
            match self.work() {
                // Told to stop, a newer version wants other topics or stores, or the topics do not fit.
                Ok(()) => self.common.progress.active(),
                Err(fault) if fault.remedy() == Remedy::Rejoin => {
                    tracing::warn!(%component, worker = self.number, "joining again: {fault}");
                    self.common.progress.rejoining();
                    thread::sleep(REJOIN_WAIT);
                }
                Err(fault) => {
                    tracing::error!(%component, worker = self.number, "{fault}");
                    return Err(fault);
                }
            }
        }
        Ok(())
    }

    fn work(&self) -> Result<(), WorkerFault> {
        let Self { shared, service, common, .. } = self;
        if !self.topics.admit(shared.log.as_ref(), &partition_counts(shared.log.topics()?))? {
            thread::sleep(topics::LOOK_EVERY);
            return Ok(());
        }
        let follower = service.slot.follow(self.number, shared.schemas.clone());
        let spec = &follower.version.spec;
        let id = format!("{}-{}-{}", spec.component, service.host, self.number);
        let topics = follower.version.topics();
        let instance_id = instance_id(&id, &topics);
        // From before it joins: what is noticed from then on is for it.
        let notices = NoticeReader::new(self.topics.notices.clone(), instance_id.clone());
        let member = shared.log.join(&MemberOptions {
            group: follower.version.group(),
            instance_id: Some(instance_id),
            topics,
            transactional_id: id,
            start: Start::Beginning,
            starts: follower.version.starts(),
            batch_records_max: BATCH_RECORDS_MAX,
        })?;
        let handler = Box::new(follower.instance());
        let topics = follower.version.topics().len();
        let tasks =
            Tasks::new(spec.clone(), shared.log.clone(), service.state.clone(), common.progress.clone(), topics);
        let tasks = tasks.in_group(follower.version.group()).knowing(shared.known.clone());
        Worker::new(member, handler, tasks, shared.commit, common.clone()).following(follower).reading(notices).run()
    }
}

/// The name of a member for as long as it reads these topics. A broker that knows the name hands back the assignment that goes with it,
/// whatever is read now (KAFKA-12759): topics that a newer version reads too would be nobody's. Under another name the member is a new one,
/// and the place of the old one is shared out when its session is over.
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
