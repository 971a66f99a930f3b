//! State on fjall.
#![expect(clippy::todo, unused_variables, reason = "the shape first")]

use std::path::Path;
use std::sync::Arc;

use super::{StateEngine, StateError, StateStore};

/// Trees in one folder.
pub struct FjallEngine {}

impl FjallEngine {
    /// Opens the folder, or makes it.
    ///
    /// # Errors
    /// If another process owns it, it cannot be used, or is damaged.
    pub fn open(folder: &Path, cache_bytes: u64) -> Result<Self, StateError> {
        todo!()
    }
}

impl StateEngine for FjallEngine {
    fn open(&self, tree: &str) -> Result<Arc<dyn StateStore>, StateError> {
        todo!()
    }

    fn remove(&self, tree: &str) -> Result<(), StateError> {
        todo!()
    }

    fn trees(&self) -> Result<Vec<String>, StateError> {
        todo!()
    }

    fn size_bytes(&self) -> Result<u64, StateError> {
        todo!()
    }

    fn flush(&self) -> Result<(), StateError> {
        todo!()
    }
}
