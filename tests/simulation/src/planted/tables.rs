//! Global tables that are read before they are whole, or that keep what an earlier topic of the name had.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use heddle::state::{Changes, StateEngine, StateError, StateStore};
use heddle::tables::Table;
use heddle_core::fault::TaskFault;
use heddle_core::state::{Entry, Range};
use heddle_core::tables::GlobalTable;

/// A table that nobody waits for.
pub(super) struct Hasty(pub(super) Arc<Table>);

impl GlobalTable for Hasty {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, TaskFault> {
        if self.0.is_ready() { self.0.get(key) } else { Ok(None) }
    }

    fn scan(&self, range: &Range<'_>, limit: usize) -> Result<Vec<Entry>, TaskFault> {
        self.0.scan(range, limit)
    }

    fn waits_for(&self) -> Option<String> {
        None
    }
}

/// An engine whose trees are never emptied.
pub(super) struct Keeping(pub(super) Arc<dyn StateEngine>);

impl StateEngine for Keeping {
    fn open(&self, tree: &str) -> Result<Arc<dyn StateStore>, StateError> {
        Ok(Arc::new(Kept(self.0.open(tree)?)))
    }

    fn remove(&self, tree: &str) -> Result<(), StateError> {
        self.0.remove(tree)
    }

    fn trees(&self) -> Result<Vec<String>, StateError> {
        self.0.trees()
    }

    fn size_bytes(&self) -> Result<u64, StateError> {
        self.0.size_bytes()
    }

    fn flush(&self) -> Result<(), StateError> {
        self.0.flush()
    }
}

struct Kept(Arc<dyn StateStore>);

impl StateStore for Kept {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        self.0.get(key)
    }

    fn scan(&self, start: Bound<&[u8]>, prefix: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, StateError> {
        self.0.scan(start, prefix, limit)
    }

    fn last_at_or_before(&self, key: &[u8]) -> Result<Option<(Bytes, Bytes)>, StateError> {
        self.0.last_at_or_before(key)
    }

    fn apply(&self, batch: Changes) -> Result<(), StateError> {
        self.0.apply(batch)
    }

    fn clear(&self) -> Result<(), StateError> {
        Ok(())
    }
}
