//! The one thread that writes the state of all tasks of this host to disk.
//!
//! ```text
//!  every 50 ms, task by task:  freeze what is old or large ──> write it ──> one piece of merging or expiry
//!  at intervals:               flush the engine, which bounds its memory
//! ```
//!
//! If a tree cannot be written, the thread tries again every second. Meanwhile the task keeps its data in memory, and
//! [`TaskStores::wait_for_room`] shows this to the worker.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use heddle_core::explain::Explain as _;

use super::{StateEngine, StateError, TaskStores};
use crate::lock::{lock, lock_within};

/// The interval at which memtables are checked.
const TICK: Duration = Duration::from_millis(50);
/// The time between a failure and the next attempt.
const PAUSE: Duration = Duration::from_secs(1);
/// The interval at which a lasting failure is logged.
const TOLD_EVERY: Duration = Duration::from_secs(60);
/// The engine is flushed after this many bytes were written.
const FLUSH_BYTES: usize = 32 << 20;
/// The engine is flushed after this time, if anything was written.
const FLUSH_AGE: Duration = Duration::from_secs(5);

/// A handle on the thread. A drop ends the thread without writing, because the changelogs have everything.
pub struct Flusher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    engine: Arc<dyn StateEngine>,
    state: Mutex<State>,
    wake: Condvar,
    /// Held while a task is worked on, so that others can wait for the end of that work.
    work: Mutex<()>,
    /// The time since which the thread has waited for the engine.
    busy: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct State {
    tasks: Vec<Arc<TaskStores>>,
    stopped: bool,
    failure: Option<Failure>,
}

/// The reason why nothing can be written, and its times.
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
    /// If the system cannot start a thread.
    pub fn start(engine: Arc<dyn StateEngine>) -> std::io::Result<Self> {
        let (state, wake, work) = (Mutex::default(), Condvar::new(), Mutex::default());
        let shared = Arc::new(Shared { engine, state, wake, work, busy: Mutex::default() });
        let thread = thread::Builder::new().name("state".to_owned()).spawn({
            let shared = shared.clone();
            move || shared.run()
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Adds a task, whose commits are written from now on.
    pub fn register(&self, task: &Arc<TaskStores>) {
        lock(&self.shared.state).tasks.push(task.clone());
    }

    /// Forgets the task. After it returns true, nothing of the task is written any more. What is in memory stays
    /// unwritten; call [`TaskStores::flush`] so that the next owner on this host reads less of the changelog.
    ///
    /// Waits for `wait` at most. Returns false if the engine has not ended a write by then.
    #[must_use]
    pub fn unregister(&self, task: &Arc<TaskStores>, wait: Duration) -> bool {
        lock(&self.shared.state).tasks.retain(|other| !Arc::ptr_eq(other, task));
        lock_within(&self.shared.work, wait).is_some()
    }

    /// Writes the committed state of all tasks, and flushes the engine.
    ///
    /// # Errors
    /// The first failure; the other tasks are written nevertheless.
    pub fn flush_now(&self) -> Result<(), StateError> {
        let tasks = lock(&self.shared.state).tasks.clone();
        let written = tasks.iter().map(|task| self.shared.work_on(task, |task| task.flush().map(|_| ())));
        let failures = written.filter_map(Result::err).collect::<Vec<_>>();
        failures.into_iter().next().map_or_else(|| self.shared.engine.flush(), Err)
    }

    /// The reason why the last round could not write.
    #[must_use]
    pub fn failure(&self) -> Option<StateError> {
        lock(&self.shared.state).failure.as_ref().map(|failure| failure.error.clone())
    }

    /// The time for which writes have failed.
    #[must_use]
    pub fn failing_for(&self) -> Duration {
        lock(&self.shared.state).failure.as_ref().map_or(Duration::ZERO, |failure| failure.since.elapsed())
    }

    /// The time for which the engine has not answered.
    #[must_use]
    pub fn busy_for(&self) -> Duration {
        lock(&self.shared.busy).map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Writes everything and ends the thread.
    ///
    /// # Errors
    /// As for [`flush_now`](Self::flush_now).
    pub fn stop(mut self) -> Result<(), StateError> {
        self.end();
        self.flush_now()
    }

    fn end(&mut self) {
        lock(&self.shared.state).stopped = true;
        self.shared.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            // The thread does not panic; if it did, nothing could be done about it here.
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

    /// Waits. Returns the tasks afterwards, or `None` if the thread has to stop.
    fn wait(&self, pause: Duration) -> Option<Vec<Arc<TaskStores>>> {
        let waited = self.wake.wait_timeout_while(lock(&self.state), pause, |state| !state.stopped);
        let state: MutexGuard<'_, State> = waited.unwrap_or_else(PoisonError::into_inner).0;
        (!state.stopped).then(|| state.tasks.clone())
    }

    /// Works on every task once. Returns true if one of them has more to do. The first failure is returned after all
    /// tasks had their turn.
    fn round(&self, tasks: &[Arc<TaskStores>], written: &mut usize) -> Result<bool, StateError> {
        let mut result = Ok(false);
        for task in tasks {
            if lock(&self.state).stopped {
                break;
            }
            // The time is measured for each task.
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
                let (at, hint) = (error.place(), error.remedy());
                tracing::error!(target: "heddle::alert", failing_for = ?since.elapsed(), %error, at, hint, "state stays in memory and in the changelogs");
                Some(Failure { error, since, told: now })
            }
        };
    }
}
