//! The engine of all copies of tables. It is separate from that of the tasks' state: the first read of a table writes a
//! lot, and no task should wait for that.

use std::sync::{Arc, Mutex};

use crate::lock::lock;
use crate::state::{StateEngine, StateError};

/// The function that opens the engine.
type Open = Box<dyn Fn() -> Result<Arc<dyn StateEngine>, StateError> + Send + Sync>;

/// The engine, which is opened when it is first needed. If it fails, all users give it up, and it is opened again.
pub struct TableEngine {
    open: Open,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    /// The number of engines that were given up.
    generation: u64,
    engine: Option<Arc<dyn StateEngine>>,
}

impl TableEngine {
    /// Creates the engine, which `open` opens.
    pub fn new(open: impl Fn() -> Result<Arc<dyn StateEngine>, StateError> + Send + Sync + 'static) -> Self {
        Self { open: Box::new(open), current: Mutex::default() }
    }

    /// The engine, and its generation.
    pub(super) fn get(&self) -> Result<(u64, Arc<dyn StateEngine>), StateError> {
        let mut current = lock(&self.current);
        let engine = match &current.engine {
            Some(engine) => engine.clone(),
            None => current.engine.insert((self.open)()?).clone(),
        };
        Ok((current.generation, engine))
    }

    /// The engine, if it is open.
    pub(super) fn opened(&self) -> Option<Arc<dyn StateEngine>> {
        lock(&self.current).engine.clone()
    }

    /// Returns true if this generation is in use.
    pub(super) fn is_current(&self, generation: u64) -> bool {
        lock(&self.current).generation == generation
    }

    /// Gives up an engine that has failed. It can be opened again once all its users have dropped it.
    pub(super) fn give_up(&self, generation: u64) {
        let mut current = lock(&self.current);
        if current.generation == generation {
            *current = Current { generation: generation + 1, engine: None };
        }
    }
}
