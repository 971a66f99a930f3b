//! The engine of all copies of tables, apart from that of the tasks' state: a table that is read for the first time
//! writes a lot, and no task is to wait for that.

use std::sync::{Arc, Mutex};

use crate::lock::lock;
use crate::state::{StateEngine, StateError};

/// Opens the engine.
type Open = Box<dyn Fn() -> Result<Arc<dyn StateEngine>, StateError> + Send + Sync>;

/// The engine, opened when it is first needed. One that has failed is given up by everybody and opened again.
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
    /// An engine that `open` opens.
    pub fn new(open: impl Fn() -> Result<Arc<dyn StateEngine>, StateError> + Send + Sync + 'static) -> Self {
        Self { open: Box::new(open), current: Mutex::default() }
    }

    /// The engine, and which one it is.
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

    /// Returns true if this is the engine that is in use.
    pub(super) fn is_current(&self, generation: u64) -> bool {
        lock(&self.current).generation == generation
    }

    /// Gives an engine up that has failed. It can be opened again once all who have it let it go.
    pub(super) fn give_up(&self, generation: u64) {
        let mut current = lock(&self.current);
        if current.generation == generation {
            *current = Current { generation: generation + 1, engine: None };
        }
    }
}
