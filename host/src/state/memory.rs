//! State in memory only, so every start reads the changelogs from their beginning. For measuring the cost of the disk,
//! and for hosts without one.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::{Changes, StateEngine, StateError, StateStore, check_keys, scan_start};
use crate::lock::lock;

/// Trees in memory.
#[derive(Default)]
pub struct MemoryEngine(Mutex<BTreeMap<String, Arc<MemoryTree>>>);

#[derive(Default)]
struct MemoryTree(Mutex<BTreeMap<Bytes, Bytes>>);

impl StateEngine for MemoryEngine {
    fn open(&self, tree: &str) -> Result<Arc<dyn StateStore>, StateError> {
        Ok(lock(&self.0).entry(tree.to_owned()).or_default().clone())
    }

    fn remove(&self, tree: &str) -> Result<(), StateError> {
        lock(&self.0).remove(tree);
        Ok(())
    }

    fn trees(&self) -> Result<Vec<String>, StateError> {
        Ok(lock(&self.0).keys().cloned().collect())
    }

    fn size_bytes(&self) -> Result<u64, StateError> {
        let size =
            |tree: &Arc<MemoryTree>| lock(&tree.0).iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        Ok(lock(&self.0).values().map(size).sum::<usize>() as u64)
    }

    fn flush(&self) -> Result<(), StateError> {
        Ok(())
    }
}

impl StateStore for MemoryTree {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        Ok(lock(&self.0).get(key).cloned())
    }

    fn scan(&self, start: Bound<&[u8]>, prefix: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, StateError> {
        let tree = lock(&self.0);
        let found = tree
            .range::<[u8], _>((scan_start(start, prefix), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix));
        Ok(found.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn last_at_or_before(&self, key: &[u8]) -> Result<Option<(Bytes, Bytes)>, StateError> {
        let tree = lock(&self.0);
        let last = tree.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back();
        Ok(last.map(|(key, value)| (key.clone(), value.clone())))
    }

    fn apply(&self, batch: Changes) -> Result<(), StateError> {
        check_keys(&batch)?;
        let mut tree = lock(&self.0);
        for (key, value) in batch {
            match value {
                Some(value) => tree.insert(key, value),
                None => tree.remove(&key),
            };
        }
        Ok(())
    }

    fn clear(&self) -> Result<(), StateError> {
        lock(&self.0).clear();
        Ok(())
    }
}
