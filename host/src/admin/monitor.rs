//! Asks the log and the registry how things are, from threads of its own, and remembers it: nobody who asks the host waits for a broker.
//!
//! ```text
//!  watch-log       every 2 s (Kafka) or 500 ms: how far each component is behind ──┐
//!  watch-registry  every 5 s: whether it answers ──────────────────────────────────┴──> Monitor ──> status, metrics, ready
//! ```

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Watched;
use super::lag::{Gauge, Lag};
use crate::lock::lock;
use crate::log::{Log, LogError};
use crate::registry::Registry;

/// How often a log in this process is asked.
const LOOK_EVERY_HERE: Duration = Duration::from_millis(500);
/// How often brokers are asked.
const LOOK_EVERY_ELSEWHERE: Duration = Duration::from_secs(2);
/// How often the registry is asked.
const REGISTRY_EVERY: Duration = Duration::from_secs(5);
/// How long an answer may take before whoever owes it counts as silent.
const SILENT_AFTER: Duration = Duration::from_secs(15);

/// What is known of the log, the registry and the components.
pub struct Monitor {
    components: Vec<Watched>,
    every: Duration,
    seen: Mutex<Seen>,
    /// Notified at the end of each round, and when one is wanted.
    changed: Condvar,
}

struct Seen {
    log: Outlook,
    registry: Outlook,
    lags: BTreeMap<String, Lag>,
    begun: u64,
    done: u64,
    /// The next round is not to wait.
    wanted: bool,
}

/// Whether somebody answers.
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

    /// Why it counts as down.
    fn fault(&self) -> Option<String> {
        let silent = self.answered.elapsed();
        let who = self.who;
        match &self.cause {
            Some(cause) => Some(format!("the {who} does not answer: {cause}")),
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
    /// Begins to ask, until `stop` is set.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(
        log: Arc<dyn Log>,
        registry: Arc<dyn Registry>,
        components: Vec<Watched>,
        stop: Arc<AtomicBool>,
    ) -> std::io::Result<Arc<Self>> {
        let every = if log.is_here() { LOOK_EVERY_HERE } else { LOOK_EVERY_ELSEWHERE };
        let seen = Seen {
            log: Outlook::new("log"),
            registry: Outlook::new("registry"),
            lags: BTreeMap::new(),
            begun: 0,
            done: 0,
            wanted: false,
        };
        let monitor = Arc::new(Self { components, every, seen: Mutex::new(seen), changed: Condvar::new() });
        let (watching, stopped) = (monitor.clone(), stop.clone());
        let watch_log = move || watching.watch_log(&*log, &stopped);
        std::thread::Builder::new().name("watch-log".to_owned()).spawn(watch_log)?;
        let watching = monitor.clone();
        let watch_registry = move || watching.watch_registry(&*registry, &stop);
        std::thread::Builder::new().name("watch-registry".to_owned()).spawn(watch_registry)?;
        Ok(monitor)
    }

    fn watch_log(&self, log: &dyn Log, stop: &AtomicBool) {
        let mut gauges = self.components.iter().map(|_| Gauge::default()).collect::<Vec<_>>();
        while !stop.load(Ordering::Relaxed) {
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

    fn watch_registry(&self, registry: &dyn Registry, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let answer = registry.ping();
            let mut seen = lock(&self.seen);
            seen.registry.note(answer);
            // The other thread may wait for an answer now.
            seen.log.report();
            drop(seen);
            std::thread::park_timeout(REGISTRY_EVERY);
        }
    }

    /// Waits until what is known is newer than this call, for `wait` at most.
    pub fn refresh(&self, wait: Duration) {
        let mut seen = lock(&self.seen);
        let next = seen.begun + 1;
        seen.wanted = true;
        self.changed.notify_all();
        let waited = self.changed.wait_timeout_while(seen, wait, |seen| seen.done < next);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// How far a component was behind when the log answered last. `None`: it did not yet.
    #[must_use]
    pub fn lag(&self, component: &str) -> Option<Lag> {
        lock(&self.seen).lags.get(component).cloned()
    }

    /// Why the log's figures are old, if they are.
    #[must_use]
    pub fn log_fault(&self) -> Option<String> {
        lock(&self.seen).log.fault()
    }

    /// Why the host is not ready: nothing if it is.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = {
            let seen = lock(&self.seen);
            [seen.log.fault(), seen.registry.fault()].into_iter().flatten().collect::<Vec<_>>()
        };
        for component in &self.components {
            let name = &component.name;
            let restoring = component.progress.snapshot().restoring;
            if !component.progress.is_assigned() {
                faults.push(format!("{name}: no tasks are assigned yet"));
            } else if restoring > 0 {
                faults.push(format!("{name}: {restoring} records of changelogs are still to be read"));
            }
        }
        faults
    }
}
