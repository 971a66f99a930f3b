//! A running host: its components and all that runs beside them, from start to stop.
//!
//! ```text
//!  Config, Parts ──Host::start──> RunningHost ──publish──> monitor, announcements, deployments, admin API
//!                                     │
//!                                     ├─ status(), is_over()
//!                                     └─ stop(): workers leave ─> state is flushed ─> open requests are answered
//! ```
//!
//! The host owns every thread it starts, and one [`Shutdown`] ends them. The caller opens the log, the registry and the
//! state, so a test or a program that embeds a host passes its own.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use heddle_contract::manifest::DeployPolicy;
use heddle_core::explain::{Explain, Explained};
use thiserror::Error;

use crate::admin::{self, AdminError, ComponentStatus, Deploys, Kept, Listening, Monitor, Serving, Stores, Watched};
use crate::cluster::{Hosts, announce};
use crate::deploy::{self, Deployer, File, Fitter, Topics};
use crate::guest::Schemas;
use crate::log::Log;
use crate::registry::Registry;
use crate::runtime::{self, CommitPolicy, KnownTopics, Running, Service, Slot, WorkerFault};
use crate::shutdown::Shutdown;
use crate::state::HostState;
use crate::tables::Tables;
use crate::telemetry::{HostStopped, Telemetry};

/// The time limit for open requests and for threads other than workers when the host stops.
const DRAIN_WAIT: Duration = Duration::from_secs(2);

/// The settings of a host.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name of the app.
    pub app: String,
    /// The name of this host, unique among the hosts of the app. It must stay the same across restarts.
    pub host: String,
    /// The conditions for a commit.
    pub commit: CommitPolicy,
    /// The number of workers for each component.
    pub workers: u32,
}

/// The components that a host runs, and the services that it needs.
pub struct Parts {
    /// The log that has the topics of the components.
    pub log: Arc<dyn Log>,
    /// The registry that has their schemas.
    pub registry: Arc<dyn Registry>,
    /// The schemas by id.
    pub schemas: Arc<dyn Schemas>,
    /// The local copies of state.
    pub state: Arc<HostState>,
    /// The global tables.
    pub tables: Arc<Tables>,
    /// The components, by their full names.
    pub components: Vec<(String, Arc<Slot>)>,
    /// Reports events of the host.
    pub telemetry: Telemetry,
}

/// The side of a host that other processes see.
pub struct Public {
    /// The bound address of the admin API.
    pub listening: Listening,
    /// The hosts of the app, of which this is one.
    pub hosts: Arc<Hosts>,
    /// The deployments that the host follows, if it does.
    pub deployments: Option<Deployments>,
}

/// The deployments of an app, as read at the start of a host.
pub struct Deployments {
    /// The checks for files.
    pub fitter: Fitter,
    /// The topics of deployments.
    pub topics: Topics,
    /// The newest deployments.
    pub start: deploy::Start,
    /// The local file of each component, in the order of [`Parts::components`].
    pub files: Vec<(String, File)>,
    /// The policy for versions that fail, if `heddle.toml` has one.
    pub policy: Option<DeployPolicy>,
}

/// The reason why a host does not start.
#[derive(Debug, Error)]
pub enum HostError {
    /// A worker.
    #[error(transparent)]
    Worker(#[from] WorkerFault),
    /// The admin API.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The system gives no thread.
    #[error("no thread can be started: {0}")]
    Thread(#[from] std::io::Error),
}

impl Explain for HostError {
    fn place(&self) -> Option<String> {
        match self {
            Self::Worker(fault) => fault.place(),
            Self::Admin(error) => error.place(),
            Self::Thread(_) => None,
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Worker(fault) => Explain::remedy(fault),
            Self::Admin(error) => error.remedy(),
            Self::Thread(_) => Some("raise the limit of threads (ulimit -u)".to_owned()),
        }
    }
}

/// Starts hosts.
pub struct Host;

/// A host whose workers run.
pub struct RunningHost {
    parts: Parts,
    config: Config,
    running: Running,
    components: Vec<Watched>,
    shutdown: Shutdown,
    monitor: Option<Arc<Monitor>>,
    threads: Vec<JoinHandle<()>>,
    api: Option<Serving>,
    started: Instant,
}

impl Host {
    /// Starts the workers of all components. Their topics must exist.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn start(config: Config, parts: Parts, shutdown: Shutdown) -> Result<RunningHost, HostError> {
        let service = |(_, slot): &(String, Arc<Slot>)| Service {
            slot: slot.clone(),
            state: parts.state.clone(),
            workers: config.workers,
            host: config.host.clone(),
        };
        let shared = runtime::Shared {
            log: parts.log.clone(),
            schemas: parts.schemas.clone(),
            commit: config.commit,
            known: Arc::new(KnownTopics::of(parts.log.clone(), &config.app)),
            shutdown: shutdown.clone(),
            telemetry: parts.telemetry.clone(),
        };
        let running = runtime::start(&shared, parts.components.iter().map(service).collect())?;
        let components = running.progress.iter().zip(&parts.components).map(|((name, progress), (_, slot))| Watched {
            name: name.clone(),
            slot: slot.clone(),
            progress: progress.clone(),
        });
        let (components, threads, started) = (components.collect(), vec![], Instant::now());
        Ok(RunningHost { parts, config, running, components, shutdown, monitor: None, threads, api: None, started })
    }
}

impl RunningHost {
    /// Watches the log, announces this host to the others of the app, follows deployments and serves the admin API.
    ///
    /// # Errors
    /// If a thread or the API cannot be started. The workers still run then; [`stop`](Self::stop) ends them.
    pub fn publish(&mut self, public: Public) -> Result<Arc<Monitor>, HostError> {
        let Public { listening, hosts, deployments } = public;
        let Parts { log, registry, schemas, state, tables, .. } = &self.parts;
        let kept = Kept { state: Some(state.clone()), tables: Some(tables.clone()) };
        let (monitor, threads) =
            Monitor::start(log.clone(), registry.clone(), self.components.clone(), kept, &self.shutdown)?;
        self.threads.extend(threads);
        self.monitor = Some(monitor.clone());
        self.threads.push(announce(hosts.clone(), state.clone(), self.shutdown.clone())?);
        let stores = Stores::new(state.clone(), tables.clone(), log.clone(), hosts.clone(), schemas.clone());
        let mut deployer = None;
        if let Some(Deployments { fitter, topics, start, files, policy }) = deployments {
            let components = files.into_iter().zip(&self.components).map(|((name, file), watched)| {
                let (slot, progress) = (watched.slot.clone(), watched.progress.clone());
                (name, deploy::Component { slot, progress, file })
            });
            let all = Arc::new(Deployer::new(fitter, topics, hosts, components.collect(), policy));
            self.threads.push(deploy::follow(all.clone(), &start, self.shutdown.clone())?);
            deployer = Some(all);
        }
        let deploys = Deploys { deployer, app: self.config.app.clone() };
        let listening = listening.with_monitor(monitor.clone()).with_telemetry(self.parts.telemetry.clone());
        let components = self.components.clone();
        self.api =
            Some(admin::serve(listening, log.clone(), registry.as_ref(), components, Some(stores), Some(deploys))?);
        Ok(monitor)
    }

    /// Joins this thread when the host stops. It has to end when the host's [`Shutdown`] is requested.
    pub fn adopt(&mut self, thread: JoinHandle<()>) {
        self.threads.push(thread);
    }

    /// The components, with their versions and counts.
    #[must_use]
    pub fn components(&self) -> &[Watched] {
        &self.components
    }

    /// The status of every component, from memory.
    #[must_use]
    pub fn status(&self) -> Vec<ComponentStatus> {
        self.components.iter().map(|component| admin::status_of(self.monitor.as_deref(), component)).collect()
    }

    /// Returns true if nothing was left to do in any component for this time.
    #[must_use]
    pub fn idle_for(&self, time: Duration) -> bool {
        self.running.idle_for(time)
    }

    /// Returns true if the host cannot continue, or has to stop.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.shutdown.is_requested() || self.running.ended() || self.fault().is_some()
    }

    /// The reason why the log of this process cannot continue, if there is one.
    #[must_use]
    pub fn fault(&self) -> Option<Explained> {
        self.monitor.as_ref().and_then(|monitor| monitor.dead()).map(Explained::new)
    }

    /// Stops the host: workers commit what is open and leave their groups, state is written to disk, and open requests
    /// of the admin API are answered. Threads blocked in a log or on a disk that does not answer are left behind.
    ///
    /// # Errors
    /// The first fault that kept a worker from continuing.
    pub fn stop(self) -> Result<(), WorkerFault> {
        let ended = self.running.stop();
        self.parts.tables.stop();
        if let Err(error) = self.parts.state.flush() {
            tracing::warn!(%error, "local state was not flushed; it will be restored from the changelogs");
        }
        let deadline = Instant::now() + DRAIN_WAIT;
        if let Some(traces) = self.parts.telemetry.traces() {
            traces.stop(deadline);
        }
        if let Some(api) = self.api {
            api.drain(deadline);
        }
        if let Some(monitor) = self.monitor {
            monitor.wake();
        }
        for thread in self.threads {
            runtime::join_by(thread, deadline);
        }
        self.parts.telemetry.report(HostStopped { after: self.started.elapsed() });
        ended
    }
}
