//! The state of all tasks that this host has: which are open, and who writes them to disk.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use heddle_core::delivery::ComponentName;
use heddle_core::event::Partition;
use heddle_core::task::TaskSpec;

use super::{Bounds, Flusher, StateEngine, StateError, TaskStores};
use crate::lock::lock;

/// The state on this host. One a process: an engine's folder has one owner.
pub struct HostState {
    engine: Arc<dyn StateEngine>,
    bounds: Bounds,
    /// Absent in a simulation, which writes when its schedule says so.
    flusher: Option<Flusher>,
    open: Mutex<BTreeMap<(ComponentName, Partition), Weak<TaskStores>>>,
    /// Held while a task is opened: of two workers that open the same one, the second finds what the first has opened.
    opening: Mutex<()>,
}

impl HostState {
    /// State in `engine`, written to disk by a thread of its own.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(engine: Arc<dyn StateEngine>, bounds: Bounds) -> std::io::Result<Self> {
        let flusher = Some(Flusher::start(engine.clone())?);
        Ok(Self { engine, bounds, flusher, open: Mutex::default(), opening: Mutex::default() })
    }

    /// State in `engine` that its owner writes to disk: see [`TaskStores::freeze`].
    #[must_use]
    pub fn without_flusher(engine: Arc<dyn StateEngine>, bounds: Bounds) -> Self {
        Self { engine, bounds, flusher: None, open: Mutex::default(), opening: Mutex::default() }
    }

    /// Opens the state of a task. Another worker of this host may still have it open: one that hangs does not know yet that the group gave
    /// the task away. From now on nothing that it holds is written any more.
    ///
    /// # Errors
    /// If the copies cannot be opened.
    pub fn open(&self, spec: &TaskSpec, partition: Partition) -> Result<Arc<TaskStores>, StateError> {
        let _opening = lock(&self.opening);
        if let Some(former) = self.find(&spec.component, partition) {
            self.abandon(&former);
        }
        let stores = TaskStores::open(self.engine.as_ref(), spec, partition, self.bounds)?;
        if let Some(flusher) = &self.flusher {
            flusher.register(&stores);
        }
        lock(&self.open).insert((spec.component.clone(), partition), Arc::downgrade(&stores));
        Ok(stores)
    }

    /// Writes what is committed to disk and forgets the task, so that its next owner on this host has little to read. What cannot be
    /// written is read from the changelog by the next owner.
    pub fn close(&self, stores: &Arc<TaskStores>) {
        if let Err(error) = stores.flush() {
            tracing::warn!("state stays in the changelog alone: {error}");
        }
        self.abandon(stores);
    }

    /// Writes everything that is committed, and has the engine write out what it holds in memory: for a host that ends. The engine does that
    /// by itself only when nothing holds its trees any more, and threads that answer queries may do so until the process is gone.
    ///
    /// # Errors
    /// The first failure. What is not written is in the changelogs.
    pub fn flush(&self) -> Result<(), StateError> {
        match &self.flusher {
            Some(flusher) => flusher.flush_now(),
            None => self.engine.flush(),
        }
    }

    /// Forgets the task. When this returns nothing of it is written any more.
    pub fn abandon(&self, stores: &Arc<TaskStores>) {
        if let Some(flusher) = &self.flusher {
            flusher.unregister(stores);
        }
        stores.retire();
        lock(&self.open).retain(|_, open| open.upgrade().is_some_and(|open| !Arc::ptr_eq(&open, stores)));
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
        self.engine.size_bytes()
    }
}
