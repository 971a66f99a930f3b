//! Observes the log, the registry and the machine from separate threads, and remembers the results. So no request to
//! the host waits for a broker.
//!
//! ```text
//!  watch-log       every 2 s (Kafka) or 500 ms: the lag of each component ──┐
//!  watch-registry  every 5 s: a ping ───────────────────────────────────────┼──> Monitor ──> status, metrics, ready
//!  watch-machine   every second: disks, descriptors ────────────────────────┘
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use heddle_core::explain::Explained;

use super::Watched;
use super::lag::{Gauge, Lag};
use super::partitions::{self, StallStatus};
use super::rates::{Rates, Recent};
use crate::descriptors;
use crate::lock::lock;
use crate::log::{self, Log, LogError, LogHealth};
use crate::registry::Registry;
use crate::shutdown::Shutdown;
use crate::state::HostState;
use crate::tables::{TableStatus, Tables};

/// The interval between measurements of a log in this process.
const LOOK_EVERY_HERE: Duration = Duration::from_millis(500);
/// The interval between measurements of brokers.
const LOOK_EVERY_ELSEWHERE: Duration = Duration::from_secs(2);
/// The interval between pings of the registry.
const REGISTRY_EVERY: Duration = Duration::from_secs(5);
/// The interval between checks of this machine's disks and descriptors.
const MACHINE_EVERY: Duration = Duration::from_secs(1);
/// The interval between log lines about a fault that lasts.
const TOLD_EVERY: Duration = Duration::from_secs(60);
/// The time without an answer after which a service counts as down.
const SILENT_AFTER: Duration = Duration::from_secs(15);
/// The time after which a worker that takes no turns counts as dead. Far longer than the longest call to a broker and
/// the longest deadline of a handler.
const TURN_MAX: Duration = Duration::from_secs(15 * 60);
/// The duration of a stall after which the host is not ready.
const STALL_READY_MAX: Duration = Duration::from_secs(5);

/// The latest results for the log, the registry and the components.
pub struct Monitor {
    components: Vec<Watched>,
    log: Arc<dyn Log>,
    kept: Kept,
    every: Duration,
    seen: Mutex<Seen>,
    /// Notified at the end of each round, and when a round is requested.
    changed: Condvar,
}

/// The parts of this host that write to its disk.
#[derive(Clone, Default)]
pub struct Kept {
    /// The state of its tasks.
    pub state: Option<Arc<HostState>>,
    /// Its global tables.
    pub tables: Option<Arc<Tables>>,
}

impl Kept {
    /// The reason why the disk cannot be written now.
    fn fault(&self) -> Option<Explained> {
        let of_state = self.state.as_ref().and_then(|state| state.fault());
        of_state.or_else(|| self.tables.as_ref().and_then(|tables| tables.fault()))
    }

    fn mend(&self) {
        if let Some(state) = &self.state {
            state.mend();
        }
        if let Some(tables) = &self.tables {
            tables.mend();
        }
    }
}

struct Seen {
    log: Outlook,
    registry: Outlook,
    lags: BTreeMap<String, Lag>,
    rates: BTreeMap<String, Rates>,
    /// True once every component has had its tasks and their state.
    is_started: bool,
    begun: u64,
    done: u64,
    /// True if the next round should start immediately.
    wanted: bool,
}

/// A resource of this machine that a host needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Machine {
    /// The disk of the embedded log.
    Log,
    /// The disk of the local state.
    State,
    /// Open files and sockets.
    Descriptors,
}

impl Machine {
    /// The name in metrics and log lines.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Log => "log disk",
            Self::State => "state disk",
            Self::Descriptors => "descriptors",
        }
    }

    /// All resources.
    pub const ALL: [Self; 3] = [Self::Log, Self::State, Self::Descriptors];
}

/// The availability of a service.
struct Outlook {
    who: &'static str,
    answered: Instant,
    cause: Option<String>,
    reported: bool,
}

impl Outlook {
    fn new(who: &'static str) -> Self {
        Self { who, answered: Instant::now(), cause: None, reported: false }
    }

    fn note<E: std::fmt::Display>(&mut self, answer: Result<(), E>) {
        match answer {
            Ok(()) => {
                if std::mem::take(&mut self.reported) {
                    let after = self.answered.elapsed();
                    tracing::info!(target: "heddle::alert", who = self.who, ?after, "answers again");
                }
                (self.answered, self.cause) = (Instant::now(), None);
            }
            Err(error) => self.cause = Some(error.to_string().lines().next().unwrap_or_default().to_owned()),
        }
        self.report();
    }

    /// The reason why the service counts as down.
    fn fault(&self) -> Option<String> {
        let silent = self.answered.elapsed();
        let who = self.who;
        match &self.cause {
            Some(cause) => Some(format!("the {who} has not answered for {} s: {cause}", silent.as_secs())),
            None if silent > SILENT_AFTER => Some(format!("the {who} has not answered for {} s", silent.as_secs())),
            None => None,
        }
    }

    /// Logs the first of several failures.
    fn report(&mut self) {
        if !self.reported
            && let Some(cause) = self.fault()
        {
            self.reported = true;
            tracing::warn!(target: "heddle::alert", who = self.who, %cause, "does not answer");
        }
    }
}

impl Monitor {
    /// Starts the threads, which run until the host stops.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(
        log: Arc<dyn Log>,
        registry: Arc<dyn Registry>,
        components: Vec<Watched>,
        kept: Kept,
        shutdown: &Shutdown,
    ) -> std::io::Result<(Arc<Self>, Vec<JoinHandle<()>>)> {
        let every = if log.is_here() { LOOK_EVERY_HERE } else { LOOK_EVERY_ELSEWHERE };
        let seen = Seen {
            log: Outlook::new("log"),
            registry: Outlook::new("registry"),
            lags: BTreeMap::new(),
            rates: BTreeMap::new(),
            is_started: false,
            begun: 0,
            done: 0,
            wanted: false,
        };
        let (seen, changed) = (Mutex::new(seen), Condvar::new());
        let monitor = Arc::new(Self { components, log: log.clone(), kept, every, seen, changed });
        let thread = |name: &str, watch: Box<dyn FnOnce(&Self) + Send>| {
            let watching = monitor.clone();
            std::thread::Builder::new().name(name.to_owned()).spawn(move || watch(&watching))
        };
        let [machine, log_end, registry_end] = [(); 3].map(|()| shutdown.clone());
        let threads = vec![
            thread("watch-machine", Box::new(move |monitor| monitor.watch_machine(&machine)))?,
            thread("watch-log", Box::new(move |monitor| monitor.watch_log(&*log, &log_end)))?,
            thread("watch-registry", Box::new(move |monitor| monitor.watch_registry(&*registry, &registry_end)))?,
        ];
        Ok((monitor, threads))
    }

    /// Wakes the thread that watches the log, so that it sees the end of the host.
    pub(crate) fn wake(&self) {
        lock(&self.seen).wanted = true;
        self.changed.notify_all();
    }

    fn watch_log(&self, log: &dyn Log, shutdown: &Shutdown) {
        let mut gauges = self.components.iter().map(|_| Gauge::default()).collect::<Vec<_>>();
        while !shutdown.is_requested() {
            let number = {
                let mut seen = lock(&self.seen);
                seen.wanted = false;
                seen.begun += 1;
                seen.begun
            };
            let measured = self.measure(log, &mut gauges);
            let mut seen = lock(&self.seen);
            seen.log.note(measured);
            seen.done = number;
            self.changed.notify_all();
            let wait = self.changed.wait_timeout_while(seen, self.every, |seen| !seen.wanted);
            drop(wait.unwrap_or_else(PoisonError::into_inner));
        }
    }

    fn measure(&self, log: &dyn Log, gauges: &mut [Gauge]) -> Result<(), LogError> {
        for (component, gauge) in self.components.iter().zip(gauges) {
            let lag = gauge.measure(log, &component.slot.current().group(), &component.topics())?;
            lock(&self.seen).lags.insert(component.name.clone(), lag);
        }
        Ok(())
    }

    fn watch_registry(&self, registry: &dyn Registry, shutdown: &Shutdown) {
        while !shutdown.is_requested() {
            // Without components that have schemas there, its outage harms nobody.
            let is_needed = self.components.iter().any(|component| component.slot.current().component.needs_registry());
            let answer = if is_needed { registry.ping() } else { Ok(()) };
            let mut seen = lock(&self.seen);
            seen.registry.note(answer);
            // The other thread may be blocked in a request to the log now, so this one reports for it.
            seen.log.report();
            drop(seen);
            shutdown.sleep(REGISTRY_EVERY);
        }
    }

    /// Checks the disks and the descriptors, and wakes what sleeps since a disk failed.
    fn watch_machine(&self, shutdown: &Shutdown) {
        let mut told = BTreeMap::new();
        while !shutdown.is_requested() {
            let faults = self.machine_faults();
            // The state's writer reports its own faults.
            for (what, why) in faults.iter().filter(|(what, _)| *what != Machine::State) {
                let due = told.get(what).is_none_or(|at: &Instant| at.elapsed() >= TOLD_EVERY);
                if due {
                    told.insert(*what, Instant::now());
                    let Explained { what: error, place: at, remedy: hint } = why;
                    tracing::error!(target: "heddle::alert", what = what.name(), %error, at, hint, "failing");
                }
            }
            told.retain(|what, at| {
                let lasts = faults.iter().any(|(other, _)| other == what);
                if !lasts {
                    tracing::info!(target: "heddle::alert", what = what.name(), last_told = ?at.elapsed(), "good again");
                }
                lasts
            });
            self.look_at_components();
            // These calls may take as long as the disk does.
            self.log.wake();
            self.kept.mend();
            shutdown.sleep(MACHINE_EVERY);
        }
    }

    /// The exhausted or failed resources of this machine.
    #[must_use]
    pub fn machine_faults(&self) -> Vec<(Machine, Explained)> {
        let log = match self.log.health() {
            LogHealth::Good => None,
            LogHealth::Hindered(why) => Some((Machine::Log, why)),
            LogHealth::Dead(why) => Some((Machine::Log, Explained::new(why))),
        };
        let state = self.kept.fault().map(|why| (Machine::State, why));
        let descriptors = descriptors::fault().map(|why| (Machine::Descriptors, why));
        [log, state, descriptors].into_iter().flatten().collect()
    }

    /// The global tables of a component, as this host has them.
    #[must_use]
    pub fn tables_of(&self, component: &Watched) -> Vec<TableStatus> {
        let wanted = component.slot.current().component.global_tables();
        let all = self.kept.tables.as_ref().map(|tables| tables.all()).unwrap_or_default();
        let find = |(_, topic, keys): &(_, _, _)| {
            all.iter().find(|table| table.topic() == topic && table.keys() == *keys).map(|table| table.status())
        };
        wanted.iter().filter_map(find).collect()
    }

    /// The reason why the log cannot continue in this process, if it cannot.
    #[must_use]
    pub fn dead(&self) -> Option<String> {
        match self.log.health() {
            LogHealth::Dead(why) => Some(why),
            LogHealth::Good | LogHealth::Hindered(_) => None,
        }
    }

    /// Waits at most `wait` for results that are newer than this call.
    pub fn refresh(&self, wait: Duration) {
        let mut seen = lock(&self.seen);
        let next = seen.begun + 1;
        seen.wanted = true;
        self.changed.notify_all();
        let waited = self.changed.wait_timeout_while(seen, wait, |seen| seen.done < next);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// The latest lag of a component. `None` before the first measurement.
    #[must_use]
    pub fn lag(&self, component: &str) -> Option<Lag> {
        lock(&self.seen).lags.get(component).cloned()
    }

    /// Returns the counts of a component over the last minute.
    #[must_use]
    pub fn recent(&self, component: &Watched) -> Recent {
        let seen = lock(&self.seen);
        let rates = seen.rates.get(&component.name);
        rates.map(|rates| rates.recent(&component.progress, Instant::now())).unwrap_or_default()
    }

    /// The age of the oldest record that is not handled, as far as it is known: the timestamp of records that workers
    /// have polled, or the time since which other records have been left. Zero if no record is left.
    #[must_use]
    pub fn lag_time(&self, component: &Watched) -> Duration {
        let polled = component.progress.workers().into_iter().filter_map(|worker| worker.oldest);
        let left = self.lag(&component.name);
        let left = left.iter().flat_map(|lag| &lag.partitions).filter_map(|partition| partition.left_since);
        let oldest = polled.chain(left).min();
        let millis = oldest.map_or(0, |oldest| log::now().0.saturating_sub(oldest.0));
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }

    /// Copies the counts of all components, and notes if the host has started. Called at a fixed interval.
    fn look_at_components(&self) {
        let now = Instant::now();
        let mut seen = lock(&self.seen);
        for component in &self.components {
            seen.rates.entry(component.name.clone()).or_default().look(&component.progress, now);
        }
        drop(seen);
        self.has_started();
    }

    /// Returns true if every component has had its tasks and their state.
    fn has_started(&self) -> bool {
        let has_tasks = |component: &Watched| waiting_for_tasks(component).is_none();
        let has_started = self.components.iter().all(has_tasks);
        let mut seen = lock(&self.seen);
        seen.is_started |= has_started;
        seen.is_started
    }

    /// The reasons why the host has not started. Empty forever once every component has had its tasks and their state.
    #[must_use]
    pub fn not_started(&self) -> Vec<String> {
        if self.has_started() { vec![] } else { self.components.iter().filter_map(waiting_for_tasks).collect() }
    }

    /// The reasons why this process cannot continue: its log is dead, or a worker takes no turns. A broker that does
    /// not answer is not a reason.
    #[must_use]
    pub fn not_live(&self) -> Vec<String> {
        let turns = self.components.iter().flat_map(|component| {
            let longest = component.progress.workers().iter().map(|worker| worker.turned.elapsed()).max();
            let late = longest.filter(|longest| *longest >= TURN_MAX);
            late.map(|late| format!("{}: a worker has taken no turn for {} s", component.name, late.as_secs()))
        });
        self.dead().into_iter().chain(turns).collect()
    }

    /// The reason why the log's figures are old, if they are.
    #[must_use]
    pub fn log_fault(&self) -> Option<String> {
        lock(&self.seen).log.fault()
    }

    /// The reasons why the host is not ready. Empty if it is ready.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = {
            let seen = lock(&self.seen);
            [seen.log.fault(), seen.registry.fault()].into_iter().flatten().collect::<Vec<_>>()
        };
        faults.extend(self.machine_faults().into_iter().map(|(_, why)| why.what));
        for component in &self.components {
            let name = &component.name;
            let stalls = partitions::stalls(component, self.lag(name).as_ref());
            let of_component = stalls.iter().any(|stall| stall.topic.is_none());
            let waits = waiting_for_tasks(component);
            faults.extend(waits.filter(|_| component.progress.is_assigned() || !of_component));
            let lasts = |stall: &&StallStatus| Duration::from_millis(stall.ms) >= STALL_READY_MAX;
            faults.extend(stalls.iter().filter(lasts).map(|stall| format!("{name}: {stall}")));
        }
        faults
    }
}

/// The reason why a component cannot consume yet, if it has no tasks or their state is not restored.
fn waiting_for_tasks(component: &Watched) -> Option<String> {
    let name = &component.name;
    if !component.progress.is_assigned() {
        return Some(format!("{name}: no tasks are assigned yet"));
    }
    let restoring = component.progress.snapshot().restoring;
    (restoring > 0).then(|| format!("{name}: {restoring} records of changelogs are still to be read"))
}
