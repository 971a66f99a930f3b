//! Running components: their workers, from start to stop.

mod progress;
mod worker;

pub use progress::{Progress, Snapshot};
pub use worker::CommitPolicy;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use heddle_core::batch::OpenBatch;
use heddle_core::event::Topic;
use heddle_core::task::TaskSpec;
use worker::{Handler, Worker};

use crate::guest::{Component, Instance, Schemas};
use crate::log::{Log, LogError, MemberOptions, Start};

/// How long to wait before a group that cannot be joined is joined again.
const REJOIN_WAIT: Duration = Duration::from_millis(500);
/// The most records of one poll.
const BATCH_RECORDS_MAX: usize = 1_000;

/// How often the log is asked to drop what it need not keep any more.
const UPKEEP_EVERY: Duration = Duration::from_secs(60);

/// A component to run.
pub struct Service {
    /// Its name, failure policy and changelogs.
    pub task: Arc<TaskSpec>,
    /// Its code.
    pub component: Arc<Component>,
    /// How many workers it gets in this process.
    pub workers: u32,
    /// Tells this process from others that run the same component: static membership.
    pub host: String,
}

/// Running workers. Dropping it does not stop them; [`Running::stop`] does.
pub struct Running {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<(), LogError>>>,
    upkeep: Option<JoinHandle<()>>,
    /// Each component's progress, by its full name.
    pub progress: Vec<(String, Arc<Progress>)>,
}

/// Starts the workers of all services.
///
/// # Errors
/// If a thread cannot be started.
pub fn start(
    log: &Arc<dyn Log>,
    schemas: &Arc<dyn Schemas>,
    services: Vec<Service>,
    commit: CommitPolicy,
) -> Result<Running, LogError> {
    let mut running = Running { stop: Arc::default(), threads: vec![], upkeep: None, progress: vec![] };
    for service in services {
        let progress = Arc::new(Progress::default());
        running.progress.push((service.task.component.to_string(), progress.clone()));
        let service = Arc::new(service);
        for number in 0..service.workers {
            let place = Place {
                log: log.clone(),
                schemas: schemas.clone(),
                service: service.clone(),
                number,
                commit,
                progress: progress.clone(),
                stop: running.stop.clone(),
            };
            let thread = thread::Builder::new().name(format!("{}-{number}", service.task.component));
            let spawned = thread.spawn(move || place.run());
            running.threads.push(spawned.map_err(|e| LogError::Fatal(format!("cannot start a worker: {e}")))?);
        }
    }
    let (log, stop) = (log.clone(), running.stop.clone());
    let upkeep = thread::Builder::new().name("upkeep".to_owned()).spawn(move || upkeep(log.as_ref(), &stop));
    running.upkeep = Some(upkeep.map_err(|e| LogError::Fatal(format!("cannot start a thread: {e}")))?);
    Ok(running)
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
    pub fn stop(self) -> Result<(), LogError> {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(upkeep) = self.upkeep {
            upkeep.thread().unpark();
            // It has nothing to say; a panic in it was printed.
            let _ = upkeep.join();
        }
        let mut first = Ok(());
        for thread in self.threads {
            let ended = thread.join().unwrap_or_else(|_| Err(LogError::Fatal("a worker panicked".to_owned())));
            first = first.and(ended);
        }
        first
    }
}

/// One worker's place: it joins, works, and joins again when it was fenced.
struct Place {
    log: Arc<dyn Log>,
    schemas: Arc<dyn Schemas>,
    service: Arc<Service>,
    number: u32,
    commit: CommitPolicy,
    progress: Arc<Progress>,
    stop: Arc<AtomicBool>,
}

impl Place {
    fn run(self) -> Result<(), LogError> {
        let component = &self.service.task.component;
        let mut instance = Instance::new(self.service.component.clone(), self.schemas.clone());
        while !self.stop.load(Ordering::Relaxed) {
            match self.work(&mut instance) {
                Ok(()) => return Ok(()),
                Err(
                    error @ (LogError::Fenced(_)
                    | LogError::CommitUnknown(_)
                    | LogError::Unreachable(_)
                    | LogError::Abort(_)),
                ) => {
                    tracing::warn!(%component, worker = self.number, "joining again: {error}");
                    self.progress.active();
                    thread::sleep(REJOIN_WAIT);
                }
                Err(error) => {
                    tracing::error!(%component, worker = self.number, "{error}");
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn work(&self, instance: &mut Instance) -> Result<(), LogError> {
        let task = &self.service.task;
        let id = format!("{}-{}-{}", task.component, self.service.host, self.number);
        let topics = self.service.component.manifest().consumes.keys().map(|topic| Topic::from(topic.as_str()));
        let mut member = self.log.join(&MemberOptions {
            group: task.component.to_string(),
            topics: topics.collect(),
            transactional_id: id.clone(),
            instance_id: Some(id),
            start: Start::Beginning,
            batch_records_max: BATCH_RECORDS_MAX,
        })?;
        let mut worker = Worker {
            member: member.as_mut(),
            task: task.clone(),
            handler: Handler { instance, refused: None },
            commit: self.commit,
            progress: &self.progress,
            stop: &self.stop,
            batch: OpenBatch::default(),
            since: None,
        };
        worker.run()?;
        member.leave()
    }
}
