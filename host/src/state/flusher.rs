//! The one thread that brings the state of all tasks of this host to disk.
//!
//! ```text
//!  every 50 ms, task by task:  freeze what is old or large ──> write it ──> one piece of merging or expiry
//!  now and then:               flush the engine, which bounds its memory
//! ```
//!
//! A task whose tree cannot be written is tried again every second; meanwhile it keeps what it has in memory, and the
//! worker notices by [`TaskStores::wait_for_room`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{StateEngine, StateError, TaskStores};
use crate::lock::{lock, lock_within};

/// How often memtables are looked at.
const TICK: Duration = Duration::from_millis(50);
/// How long after a failure the next try is made.
const PAUSE: Duration = Duration::from_secs(1);
/// How often the operator is told that nothing can be written.
const TOLD_EVERY: Duration = Duration::from_secs(60);
/// After so much has been written, the engine is flushed.
const FLUSH_BYTES: usize = 32 << 20;
/// After this time the engine is flushed, if anything was written.
const FLUSH_AGE: Duration = Duration::from_secs(5);

/// A handle on the thread. Dropped, it ends the thread without writing: the changelogs have everything.
pub struct Flusher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    engine: Arc<dyn StateEngine>,
    state: Mutex<State>,
    wake: Condvar,
    /// Held while a task is worked on, so that a task can be waited for.
    work: Mutex<()>,
    /// Since when the thread has waited for the engine.
    busy: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct State {
    tasks: Vec<Arc<TaskStores>>,
    stopped: bool,
    failure: Option<Failure>,
}

/// Why nothing can be written, and since when.
#[derive(Clone, Debug)]
struct Failure {
    error: StateError,
    since: Instant,
    told: Instant,
}

impl Flusher {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(engine: Arc<dyn StateEngine>) -> std::io::Result<Self> {
        let (state, wake, work) = (Mutex::default(), Condvar::new(), Mutex::default());
        let shared = Arc::new(Shared { engine, state, wake, work, busy: Mutex::default() });
        let thread = thread::Builder::new().name("state".to_owned()).spawn({
            let shared = shared.clone();
            move || shared.run()
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// From now on what the task commits is written.
    pub fn register(&self, task: &Arc<TaskStores>) {
        lock(&self.shared.state).tasks.push(task.clone());
    }

    /// Forgets the task: when this returns, nothing of it is written any more. What it has in memory stays unwritten;
    /// call [`TaskStores::flush`] to have the next owner on this host read less of the changelog.
    ///
    /// Waits for `wait` at most. Returns false if the engine has not ended a write then.
    #[must_use]
    pub fn unregister(&self, task: &Arc<TaskStores>, wait: Duration) -> bool {
        lock(&self.shared.state).tasks.retain(|other| !Arc::ptr_eq(other, task));
        lock_within(&self.shared.work, wait).is_some()
    }

    /// Writes everything that is committed, of all tasks, and flushes the engine.
    ///
    /// # Errors
    /// The first failure; the other tasks are written all the same.
    pub fn flush_now(&self) -> Result<(), StateError> {
        let tasks = lock(&self.shared.state).tasks.clone();
        let written = tasks.iter().map(|task| self.shared.work_on(task, |task| task.flush().map(|_| ())));
        let failures = written.filter_map(Result::err).collect::<Vec<_>>();
        failures.into_iter().next().map_or_else(|| self.shared.engine.flush(), Err)
    }

    /// Why the last round could not write, if it could not.
    #[must_use]
    pub fn failure(&self) -> Option<StateError> {
        lock(&self.shared.state).failure.as_ref().map(|failure| failure.error.clone())
    }

    /// For how long it has not been able to write.
    #[must_use]
    pub fn failing_for(&self) -> Duration {
        lock(&self.shared.state).failure.as_ref().map_or(Duration::ZERO, |failure| failure.since.elapsed())
    }

    /// For how long the engine has not answered.
    #[must_use]
    pub fn busy_for(&self) -> Duration {
        lock(&self.shared.busy).map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Writes everything and ends the thread.
    ///
    /// # Errors
    /// As [`flush_now`](Self::flush_now).
    pub fn stop(mut self) -> Result<(), StateError> {
        self.end();
        self.flush_now()
    }

    fn end(&mut self) {
        lock(&self.shared.state).stopped = true;
        self.shared.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            // It does not panic; if it did, there would be nothing to do about it here.
            let _ = thread.join();
        }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn run(&self) {
        let (mut written, mut flushed, mut busy) = (0, Instant::now(), false);
        loop {
            let pause = match (lock(&self.state).failure.is_some(), busy) {
                (true, _) => PAUSE,
                (false, true) => Duration::ZERO,
                (false, false) => TICK,
            };
            let Some(tasks) = self.wait(pause) else { return };
            *lock(&self.busy) = Some(Instant::now());
            let round = self.round(&tasks, &mut written);
            busy = *round.as_ref().unwrap_or(&false);
            let due = written >= FLUSH_BYTES || (written > 0 && flushed.elapsed() >= FLUSH_AGE);
            let flush = if due { self.engine.flush() } else { Ok(()) };
            if due && flush.is_ok() {
                (written, flushed) = (0, Instant::now());
            }
            *lock(&self.busy) = None;
            self.note(round.and(flush.map(|()| false)).err());
        }
    }

    /// Waits; the tasks as they are then, `None` if it is time to stop.
    fn wait(&self, pause: Duration) -> Option<Vec<Arc<TaskStores>>> {
        let waited = self.wake.wait_timeout_while(lock(&self.state), pause, |state| !state.stopped);
        let state: MutexGuard<'_, State> = waited.unwrap_or_else(PoisonError::into_inner).0;
        (!state.stopped).then(|| state.tasks.clone())
    }

    /// Goes through all tasks once. Whether one of them has more to do; the first failure, but only after all had their
    /// turn.
    fn round(&self, tasks: &[Arc<TaskStores>], written: &mut usize) -> Result<bool, StateError> {
        let mut result = Ok(false);
        for task in tasks {
            if lock(&self.state).stopped {
                break;
            }
            // One task after the other: each has its time.
            *lock(&self.busy) = Some(Instant::now());
            let done = self.work_on(task, |task| {
                task.freeze();
                *written += task.write_frozen()?;
                task.maintain()
            });
            result = match (result, done) {
                (Err(error), _) | (Ok(_), Err(error)) => Err(error),
                (Ok(busy), Ok(more)) => Ok(busy || more),
            };
        }
        result
    }

    /// Works on a task unless it was unregistered meanwhile.
    fn work_on<T: Default>(
        &self,
        task: &Arc<TaskStores>,
        work: impl FnOnce(&TaskStores) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        let _work = lock(&self.work);
        if !lock(&self.state).tasks.iter().any(|other| Arc::ptr_eq(other, task)) {
            return Ok(T::default());
        }
        // An engine that panics must not end the thread that all tasks depend on.
        let worked = catch_unwind(AssertUnwindSafe(|| work(task)));
        worked.unwrap_or_else(|_| Err(StateError::Damaged("the engine panicked".to_owned())))
    }

    fn note(&self, failure: Option<StateError>) {
        let mut state = lock(&self.state);
        let now = Instant::now();
        state.failure = match (state.failure.take(), failure) {
            (None, None) => None,
            (Some(before), None) => {
                tracing::info!(target: "heddle::alert", after = ?before.since.elapsed(), "state can be written again");
                None
            }
            (Some(before), Some(error)) if before.told.elapsed() < TOLD_EVERY => Some(Failure { error, ..before }),
            (before, Some(error)) => {
                let since = before.map_or(now, |before| before.since);
                tracing::error!(target: "heddle::alert", failing_for = ?since.elapsed(), "state stays in memory and in the changelogs: {error}");
                Some(Failure { error, since, told: now })
            }
        };
    }
}
