//! The state of all tasks that this host has: which are open, and who writes them to disk.
//!
//! ```text
//!  works ──a write fails──> fails: memory and changelogs have everything ──room again──> works
//!                             └──5 s, and not for want of room──> tasks are retired, the engine is opened again ──> works
//! ```
//!
//! An engine that a disk has failed stays broken, whatever the disk does later: it is closed and opened again. Tasks of
//! before know that they are retired, and their workers open them again, which reads what is missing from the
//! changelogs.

use std::collections::BTreeMap;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use heddle_core::delivery::ComponentName;
use heddle_core::event::Partition;
use heddle_core::task::TaskSpec;

use super::{Bounds, Flusher, StateEngine, StateError, TaskStores};
use crate::lock::lock;

/// How long whoever lets a task go waits for its last write.
const LAST_WRITE_WAIT: Duration = Duration::from_secs(2);
/// How long a host that ends waits until everything is written.
const LAST_FLUSH_WAIT: Duration = Duration::from_secs(10);
/// From when on a call of the engine is slow.
const SLOW: Duration = Duration::from_secs(5);
/// How long an engine fails before it is opened again; then twice as long each time.
const MEND_AFTER: Duration = Duration::from_secs(5);
/// How long at most.
const MEND_AFTER_MAX: Duration = Duration::from_secs(300);

/// Opens the engine again.
type Reopen = Box<dyn Fn() -> Result<Arc<dyn StateEngine>, StateError> + Send + Sync>;

/// The state on this host. One a process: an engine's folder has one owner.
pub struct HostState {
    engine: RwLock<Running>,
    bounds: Bounds,
    reopen: Option<Reopen>,
    mending: Mutex<Mending>,
    open: Mutex<BTreeMap<(ComponentName, Partition), Weak<TaskStores>>>,
    /// Held while a task is opened: of two workers that open the same one, the second finds what the first has opened.
    opening: Mutex<()>,
}

/// The engine, and who writes to it.
#[derive(Clone, Default)]
struct Running {
    /// Absent while it is opened again.
    engine: Option<Arc<dyn StateEngine>>,
    /// Absent in a simulation, which writes when its schedule says so, and while the engine is opened again.
    flusher: Option<Arc<Flusher>>,
}

/// How often the engine was opened again, and when last.
#[derive(Default)]
struct Mending {
    times: u32,
    last: Option<Instant>,
    /// Why it is not open.
    failure: Option<StateError>,
}

impl HostState {
    /// State in `engine`, written to disk by a thread of its own.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(engine: Arc<dyn StateEngine>, bounds: Bounds) -> std::io::Result<Self> {
        let flusher = Some(Arc::new(Flusher::start(engine.clone())?));
        Ok(Self::with(Running { engine: Some(engine), flusher }, bounds))
    }

    /// State in `engine` that its owner writes to disk: see [`TaskStores::freeze`].
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

    /// An engine that fails for good is opened again like this: see [`mend`](Self::mend).
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

    /// Opens the state of a task. Another worker of this host may still have it open: one that hangs does not know yet
    /// that the group gave the task away. From now on nothing that it holds is written any more.
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

    /// Writes what is committed to disk and forgets the task, so that its next owner on this host has little to read.
    /// What cannot be written, or not in time, is read from the changelog by the next owner.
    pub fn close(&self, stores: &Arc<TaskStores>) {
        let written = if self.running().flusher.is_some() {
            let stores = stores.clone();
            within(LAST_WRITE_WAIT, move || stores.flush().map(|_| ()))
        } else {
            stores.flush().map(|_| ())
        };
        if let Err(error) = written {
            tracing::warn!("state stays in the changelog alone: {error}");
        }
        self.abandon(stores);
    }

    /// Writes everything that is committed, and has the engine write out what it holds in memory: for a host that ends.
    /// The engine does that by itself only when nothing holds its trees any more, and threads that answer queries may
    /// do so until the process is gone.
    ///
    /// # Errors
    /// The first failure, also if it takes too long. What is not written is in the changelogs.
    pub fn flush(&self) -> Result<(), StateError> {
        let Running { engine, flusher } = self.running();
        match (flusher, engine) {
            (Some(flusher), _) => within(LAST_FLUSH_WAIT, move || flusher.flush_now()),
            (None, Some(engine)) => engine.flush(),
            (None, None) => Ok(()),
        }
    }

    /// Forgets the task. When this returns true nothing of it is written any more; false: a write to disk has not
    /// ended, and whoever opens the task on this host has to wait for it.
    pub fn abandon(&self, stores: &Arc<TaskStores>) -> bool {
        let flusher = self.running().flusher;
        let unregistered = flusher.is_none_or(|flusher| flusher.unregister(stores, LAST_WRITE_WAIT));
        if !unregistered || !stores.retire(LAST_WRITE_WAIT) {
            tracing::warn!("the disk has not ended a write of a task that was let go");
            return false;
        }
        lock(&self.open).retain(|_, open| open.upgrade().is_some_and(|open| !Arc::ptr_eq(&open, stores)));
        true
    }

    /// The state of a task that this host has, for queries.
    #[must_use]
    pub fn find(&self, component: &ComponentName, partition: Partition) -> Option<Arc<TaskStores>> {
        lock(&self.open).get(&(component.clone(), partition)).and_then(Weak::upgrade)
    }

    /// All tasks that this host has open.
    #[must_use]
    pub fn tasks(&self) -> Vec<(ComponentName, Partition, Arc<TaskStores>)> {
        let open = lock(&self.open);
        let task = |(component, partition): &(ComponentName, Partition), stores: &Weak<TaskStores>| {
            Some((component.clone(), *partition, stores.upgrade()?))
        };
        open.iter().filter_map(|(place, stores)| task(place, stores)).collect()
    }

    /// What the copies take on disk, in bytes.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn size_bytes(&self) -> Result<u64, StateError> {
        self.engine()?.size_bytes()
    }

    /// Why state stays in memory and in the changelogs now, if it does.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let Running { engine, flusher } = self.running();
        let busy = flusher.as_ref().map_or(Duration::ZERO, |flusher| flusher.busy_for());
        if busy >= SLOW {
            return Some(format!("the disk is slow: a write of state has not ended for {} s", busy.as_secs()));
        }
        let failure = flusher.and_then(|flusher| flusher.failure());
        let closed = || lock(&self.mending).failure.clone().filter(|_| engine.is_none());
        failure.or_else(closed).map(|failure| failure.to_string())
    }

    /// Wakes what a failed disk left asleep, and opens an engine again that has failed for a while. To be called every
    /// second or so.
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
            // Nobody opens a task from here on.
            let _opening = lock(&self.opening);
            if self.tasks().iter().all(|(.., stores)| self.abandon(stores)) {
                tracing::warn!(target: "heddle::alert", "the engine of the state failed: it is opened again, and what is missing is read from the changelogs");
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

    /// Opens the engine, once nobody has the one of before any more.
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
                tracing::info!(target: "heddle::alert", "the engine of the state is open again");
            }
            // Whoever still holds a task of before lets go of it soon.
            Err(StateError::Owned(_)) => {}
            Err(error) => mending.failure = Some(error),
        }
    }
}

/// Does `work` on a thread of its own, and waits for so long: a disk may never answer.
fn within(wait: Duration, work: impl FnOnce() -> Result<(), StateError> + Send + 'static) -> Result<(), StateError> {
    let failed = |why: String| StateError::Unusable { folder: "state".into(), why };
    let (send, done) = channel();
    let work = move || {
        // Nobody waits for it any more if it took too long.
        let _ = send.send(work());
    };
    thread::Builder::new().name("state-last".to_owned()).spawn(work).map_err(|error| failed(error.to_string()))?;
    done.recv_timeout(wait).unwrap_or_else(|_| Err(failed(format!("the disk has not ended a write within {wait:?}"))))
}
