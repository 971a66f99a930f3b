//! The state of all tasks on this host: the open ones, the engine and the flusher.
//!
//! ```text
//!  works ──a write fails──> fails: memory and changelogs have everything ──room again──> works
//!                             └──5 s, and the disk is not full──> tasks retired, engine opened again ──> works
//! ```
//!
//! After a disk error an engine stays broken, even if the disk recovers, so it is closed and opened again. Earlier
//! tasks are then retired. Their workers open them again, and read what is missing from the changelogs.

use std::collections::BTreeMap;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use heddle_core::delivery::ComponentName;
use heddle_core::event::Partition;
use heddle_core::explain::{Explain as _, Explained};
use heddle_core::task::TaskSpec;

use super::{Bounds, Flusher, StateEngine, StateError, TaskStores};
use crate::lock::lock;

/// The longest wait for a task's last write when the task is closed.
const LAST_WRITE_WAIT: Duration = Duration::from_secs(2);
/// The longest wait for the last flush when the host ends.
const LAST_FLUSH_WAIT: Duration = Duration::from_secs(10);
/// A call of the engine that takes longer than this is slow.
const SLOW: Duration = Duration::from_secs(5);
/// The time that an engine fails before it is opened again. It doubles each time.
const MEND_AFTER: Duration = Duration::from_secs(5);
/// The upper bound of that time.
const MEND_AFTER_MAX: Duration = Duration::from_secs(300);

/// Opens the engine again.
type Reopen = Box<dyn Fn() -> Result<Arc<dyn StateEngine>, StateError> + Send + Sync>;

/// The state on this host. A process has one, because an engine's folder has one owner.
pub struct HostState {
    engine: RwLock<Running>,
    bounds: Bounds,
    reopen: Option<Reopen>,
    mending: Mutex<Mending>,
    open: Mutex<BTreeMap<(ComponentName, Partition), Weak<TaskStores>>>,
    /// Held while a task is opened. If two workers open the same task, the second one finds and retires the first one's
    /// stores.
    opening: Mutex<()>,
}

/// The engine, and the thread that writes to it.
#[derive(Clone, Default)]
struct Running {
    /// Absent while the engine is opened again.
    engine: Option<Arc<dyn StateEngine>>,
    /// Absent while the engine is opened again, and in a simulation, which writes when its schedule says so.
    flusher: Option<Arc<Flusher>>,
}

/// The number of times that the engine was opened again, and the latest time.
#[derive(Default)]
struct Mending {
    times: u32,
    last: Option<Instant>,
    /// The reason why the engine is not open.
    failure: Option<StateError>,
}

impl HostState {
    /// Creates state in `engine`, which a separate thread writes to disk.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub fn start(engine: Arc<dyn StateEngine>, bounds: Bounds) -> std::io::Result<Self> {
        let flusher = Some(Arc::new(Flusher::start(engine.clone())?));
        Ok(Self::with(Running { engine: Some(engine), flusher }, bounds))
    }

    /// Creates state in `engine` that the caller writes to disk: see [`TaskStores::freeze`].
    #[must_use]
    pub fn without_flusher(engine: Arc<dyn StateEngine>, bounds: Bounds) -> Self {
        Self::with(Running { engine: Some(engine), flusher: None }, bounds)
    }

    fn with(engine: Running, bounds: Bounds) -> Self {
        let engine = RwLock::new(engine);
        Self {
            engine,
            bounds,
            reopen: None,
            mending: Mutex::default(),
            open: Mutex::default(),
            opening: Mutex::default(),
        }
    }

    /// Sets the function that opens a broken engine again: see [`mend`](Self::mend).
    #[must_use]
    pub fn reopened_by(
        self,
        reopen: impl Fn() -> Result<Arc<dyn StateEngine>, StateError> + Send + Sync + 'static,
    ) -> Self {
        Self { reopen: Some(Box::new(reopen)), ..self }
    }

    fn running(&self) -> Running {
        self.engine.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn engine(&self) -> Result<Arc<dyn StateEngine>, StateError> {
        let why = || lock(&self.mending).failure.clone();
        self.running().engine.ok_or_else(|| {
            why().unwrap_or_else(|| StateError::Unusable {
                folder: "state".into(),
                why: "it is being opened again".to_owned(),
            })
        })
    }

    /// Opens the state of a task. A worker of this host that hangs may still have it open, because it does not know yet
    /// that the task was revoked. Nothing that this worker holds is written from now on.
    ///
    /// # Errors
    /// If the copies cannot be opened, or a write of the former owner does not end.
    pub fn open(&self, spec: &TaskSpec, partition: Partition) -> Result<Arc<TaskStores>, StateError> {
        let _opening = lock(&self.opening);
        if let Some(former) = self.find(&spec.component, partition)
            && !self.abandon(&former)
        {
            let why = "the disk has not ended a write of this task's former owner".to_owned();
            return Err(StateError::Unusable { folder: "state".into(), why });
        }
        let stores = TaskStores::open(self.engine()?.as_ref(), spec, partition, self.bounds)?;
        if let Some(flusher) = &self.running().flusher {
            flusher.register(&stores);
        }
        lock(&self.open).insert((spec.component.clone(), partition), Arc::downgrade(&stores));
        Ok(stores)
    }

    /// Writes the task's committed state to disk and forgets the task, so that its next owner on this host has little
    /// to read. The next owner reads from the changelog what could not be written in time.
    pub fn close(&self, stores: &Arc<TaskStores>) {
        let written = if self.running().flusher.is_some() {
            let stores = stores.clone();
            within(LAST_WRITE_WAIT, move || stores.flush().map(|_| ()))
        } else {
            stores.flush().map(|_| ())
        };
        if let Err(error) = written {
            tracing::warn!(%error, at = error.place(), "state stays only in the changelog");
        }
        self.abandon(stores);
    }

    /// Writes all committed state and flushes the engine, before the host ends. The engine flushes by itself only after
    /// all its trees are dropped, and threads that answer queries may hold them until the process ends.
    ///
    /// # Errors
    /// The first failure, or a timeout. The changelogs have what is not written.
    pub fn flush(&self) -> Result<(), StateError> {
        let Running { engine, flusher } = self.running();
        match (flusher, engine) {
            (Some(flusher), _) => within(LAST_FLUSH_WAIT, move || flusher.flush_now()),
            (None, Some(engine)) => engine.flush(),
            (None, None) => Ok(()),
        }
    }

    /// Forgets the task. Returns true if nothing of it will be written any more. Returns false if a write to disk has
    /// not ended: the task cannot be opened on this host before that.
    pub fn abandon(&self, stores: &Arc<TaskStores>) -> bool {
        let flusher = self.running().flusher;
        let unregistered = flusher.is_none_or(|flusher| flusher.unregister(stores, LAST_WRITE_WAIT));
        if !unregistered || !stores.retire(LAST_WRITE_WAIT) {
            tracing::warn!("the disk has not ended a write of a released task");
            return false;
        }
        lock(&self.open).retain(|_, open| open.upgrade().is_some_and(|open| !Arc::ptr_eq(&open, stores)));
        true
    }

    /// The state of an open task, for queries.
    #[must_use]
    pub fn find(&self, component: &ComponentName, partition: Partition) -> Option<Arc<TaskStores>> {
        lock(&self.open).get(&(component.clone(), partition)).and_then(Weak::upgrade)
    }

    /// All open tasks of this host.
    #[must_use]
    pub fn tasks(&self) -> Vec<(ComponentName, Partition, Arc<TaskStores>)> {
        let open = lock(&self.open);
        let task = |(component, partition): &(ComponentName, Partition), stores: &Weak<TaskStores>| {
            Some((component.clone(), *partition, stores.upgrade()?))
        };
        open.iter().filter_map(|(place, stores)| task(place, stores)).collect()
    }

    /// The bytes that the copies use on disk.
    pub fn size_bytes(&self) -> Result<u64, StateError> {
        self.engine()?.size_bytes()
    }

    /// The reason why state currently stays in memory and in the changelogs only.
    #[must_use]
    pub fn fault(&self) -> Option<Explained> {
        let Running { engine, flusher } = self.running();
        let busy = flusher.as_ref().map_or(Duration::ZERO, |flusher| flusher.busy_for());
        if busy >= SLOW {
            let what = format!("the disk is slow: a write of state has not ended for {} s", busy.as_secs());
            return Some(Explained::new(what));
        }
        let failure = flusher.and_then(|flusher| flusher.failure());
        let closed = || lock(&self.mending).failure.clone().filter(|_| engine.is_none());
        failure.or_else(closed).map(|failure| Explained::of(&failure))
    }

    /// Wakes calls that sleep after a disk error, and reopens an engine that has failed for a while. Call it about
    /// every second.
    pub fn mend(&self) {
        let Running { engine, flusher } = self.running();
        if let (Some(engine), Some(flusher)) = (&engine, &flusher)
            && flusher.busy_for() >= SLOW
        {
            engine.wake();
            return;
        }
        let Some(reopen) = &self.reopen else { return };
        if engine.is_none() {
            self.open_again(reopen);
        } else if let Some(flusher) = flusher
            && self.is_to_mend(&flusher)
        {
            // The lock keeps workers from opening tasks from here on.
            let _opening = lock(&self.opening);
            if self.tasks().iter().all(|(.., stores)| self.abandon(stores)) {
                tracing::warn!(target: "heddle::alert", "the state engine failed; reopening it and restoring from the changelogs");
                lock(&self.mending).failure = flusher.failure();
                *self.engine.write().unwrap_or_else(PoisonError::into_inner) = Running::default();
            }
        }
    }

    fn is_to_mend(&self, flusher: &Flusher) -> bool {
        let wait = {
            let mending = lock(&self.mending);
            let pause = MEND_AFTER.saturating_mul(1 << mending.times.min(10)).min(MEND_AFTER_MAX);
            pause.saturating_sub(mending.last.map_or(pause, |last| last.elapsed()))
        };
        let broken = flusher.failure().is_some_and(|failure| !matches!(failure, StateError::Full { .. }));
        broken && wait.is_zero() && flusher.failing_for() >= MEND_AFTER
    }

    /// Opens the engine, once the former one is dropped.
    fn open_again(&self, reopen: &Reopen) {
        let started = reopen().and_then(|engine| {
            let flusher = Flusher::start(engine.clone());
            let flusher =
                flusher.map_err(|error| StateError::Unusable { folder: "state".into(), why: error.to_string() })?;
            Ok(Running { engine: Some(engine), flusher: Some(Arc::new(flusher)) })
        });
        let mut mending = lock(&self.mending);
        match started {
            Ok(running) => {
                (mending.times, mending.last, mending.failure) = (mending.times + 1, Some(Instant::now()), None);
                *self.engine.write().unwrap_or_else(PoisonError::into_inner) = running;
                tracing::info!(target: "heddle::alert", "reopened the state engine");
            }
            // A former task is still held somewhere and will be dropped soon.
            Err(StateError::Owned(_)) => {}
            Err(error) => mending.failure = Some(error),
        }
    }
}

/// Runs `work` on a separate thread and waits for at most `wait`, because a disk may never answer.
fn within(wait: Duration, work: impl FnOnce() -> Result<(), StateError> + Send + 'static) -> Result<(), StateError> {
    let failed = |why: String| StateError::Unusable { folder: "state".into(), why };
    let (send, done) = channel();
    let work = move || {
        // After a timeout the receiver is gone.
        let _ = send.send(work());
    };
    thread::Builder::new().name("state-last".to_owned()).spawn(work).map_err(|error| failed(error.to_string()))?;
    done.recv_timeout(wait).unwrap_or_else(|_| Err(failed(format!("the disk has not ended a write within {wait:?}"))))
}
