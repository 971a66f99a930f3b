//! The one thread that brings the state of all tasks of this host to disk.
#![expect(clippy::todo, unused_variables, reason = "the shape first")]

use std::sync::Arc;

use super::{StateEngine, StateError, TaskStores};

/// A handle on the thread. Dropped, it stops the thread without writing: the changelogs have everything.
pub struct Flusher {}

impl Flusher {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(engine: Arc<dyn StateEngine>) -> Result<Self, StateError> {
        todo!()
    }

    /// From now on the task's memtables are written.
    pub fn register(&self, task: &Arc<TaskStores>) {
        todo!()
    }

    /// Forgets the task. What it holds in memory is not written any more; a write under way is waited for.
    pub fn unregister(&self, task: &Arc<TaskStores>) {
        todo!()
    }

    /// Writes everything that is committed, of all tasks, and returns when that is done.
    ///
    /// # Errors
    /// The first failure; the other tasks are written all the same.
    pub fn flush_now(&self) -> Result<(), StateError> {
        todo!()
    }

    /// The last failure to write, if the last try failed. Nothing is lost by it, but memory fills.
    #[must_use]
    pub fn failure(&self) -> Option<StateError> {
        todo!()
    }

    /// Writes everything and ends the thread.
    ///
    /// # Errors
    /// As [`flush_now`](Self::flush_now).
    pub fn stop(self) -> Result<(), StateError> {
        todo!()
    }
}
