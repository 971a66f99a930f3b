//! The disk of a host: in-memory trees. A crash of the host loses at most the last writes.
//!
//! ```text
//!  apply ──> journal ──flush──> kept
//!               └─ a crash keeps a prefix of the journal, each write whole
//! ```

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use heddle::state::{Changes, StateEngine, StateError, StateStore};

use crate::chance::Chance;
use crate::gate::{Call, Caller};
use crate::planted::Planted;
use crate::world::lock;

type Tree = BTreeMap<Bytes, Bytes>;
type Trees = BTreeMap<String, Tree>;

/// The content of a disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    /// The state that a running process reads.
    trees: Trees,
    kept: Trees,
    journal: Vec<Write>,
    /// The disk accepts no writes.
    full: bool,
}

#[derive(Clone, Debug)]
enum Write {
    Apply(String, Changes),
    Remove(String),
}

impl Content {
    fn write(&mut self, write: Write) {
        redo(&mut self.trees, &write);
        self.journal.push(write);
    }

    fn flush(&mut self) {
        self.journal.clear();
        self.kept = self.trees.clone();
    }

    /// Keeps the content that survives a crash. Returns the number of lost writes.
    fn crash(&mut self, chance: &mut Chance) -> u64 {
        let written = self.journal.len() as u64;
        // Half of the crashes are of the process alone, so the system's buffers are still written.
        let undone = if chance.one_in(2) { 0 } else { chance.below(written + 1) };
        self.journal.truncate(usize::try_from(written - undone).unwrap_or(0));
        for write in std::mem::take(&mut self.journal) {
            redo(&mut self.kept, &write);
        }
        self.trees = self.kept.clone();
        undone
    }
}

fn redo(trees: &mut Trees, write: &Write) {
    match write {
        Write::Remove(tree) => drop(trees.remove(tree)),
        Write::Apply(tree, changes) => {
            let tree = trees.entry(tree.clone()).or_default();
            for (key, value) in changes {
                match value {
                    Some(value) => drop(tree.insert(key.clone(), value.clone())),
                    None => drop(tree.remove(key)),
                }
            }
        }
    }
}

/// A disk. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct SimDisk(Arc<Mutex<Content>>);

impl SimDisk {
    /// The engine on this disk for a process, or for a reader without a process if `caller` is `None`.
    pub(crate) fn engine(&self, caller: Option<Caller>) -> Arc<dyn StateEngine> {
        Arc::new(Engine { disk: self.clone(), caller })
    }

    /// Crashes the process that used the disk. Returns the number of lost writes.
    pub(crate) fn crash(&self, chance: &mut Chance) -> u64 {
        lock(&self.0).crash(chance)
    }

    /// Writes everything, as the orderly end of a process does.
    pub(crate) fn flush(&self) {
        lock(&self.0).flush();
    }

    /// Loses the disk with its content.
    pub(crate) fn wipe(&self) {
        let mut content = lock(&self.0);
        *content = Content { full: content.full, ..Content::default() };
    }

    /// Fills the disk, or makes room again.
    pub(crate) fn fill(&self, full: bool) {
        lock(&self.0).full = full;
    }

    pub(crate) fn is_full(&self) -> bool {
        lock(&self.0).full
    }

    /// A snapshot of the disk.
    pub(crate) fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(lock(&self.0).clone())))
    }
}

struct Engine {
    disk: SimDisk,
    caller: Option<Caller>,
}

impl StateEngine for Engine {
    fn open(&self, tree: &str) -> Result<Arc<dyn StateStore>, StateError> {
        let store = Store { disk: self.disk.clone(), caller: self.caller.clone(), tree: tree.to_owned() };
        store.pass(Call::DiskRead, || Ok(()))?;
        Ok(Arc::new(store))
    }

    fn remove(&self, tree: &str) -> Result<(), StateError> {
        let store = Store { disk: self.disk.clone(), caller: self.caller.clone(), tree: tree.to_owned() };
        store.pass(Call::DiskWrite, || {
            lock(&self.disk.0).write(Write::Remove(tree.to_owned()));
            Ok(())
        })
    }

    fn trees(&self) -> Result<Vec<String>, StateError> {
        Ok(lock(&self.disk.0).trees.keys().cloned().collect())
    }

    fn size_bytes(&self) -> Result<u64, StateError> {
        let disk = lock(&self.disk.0);
        let entries = disk.trees.values().flatten().map(|(key, value)| key.len() + value.len());
        Ok(entries.sum::<usize>() as u64)
    }

    fn flush(&self) -> Result<(), StateError> {
        self.disk.flush();
        Ok(())
    }
}

struct Store {
    disk: SimDisk,
    caller: Option<Caller>,
    tree: String,
}

impl Store {
    fn pass<T>(&self, call: Call, work: impl FnOnce() -> Result<T, StateError>) -> Result<T, StateError> {
        match &self.caller {
            Some(caller) => caller.pass(call, work),
            None => work(),
        }
    }

    fn read<T>(&self, look: impl FnOnce(&Tree) -> T) -> Result<T, StateError> {
        self.pass(Call::DiskRead, || Ok(look(lock(&self.disk.0).trees.entry(self.tree.clone()).or_default())))
    }

    /// Returns true if the engine hides that the disk is full, as a dropped error would.
    fn hides_that_it_is_full(&self) -> bool {
        let planted = self.caller.as_ref().is_some_and(|caller| caller.world().planted == Some(Planted::Full));
        planted && self.disk.is_full()
    }

    fn fails(&self) -> Result<(), StateError> {
        let Some(caller) = &self.caller else { return Ok(()) };
        caller.world().count(|happened| happened.applies += 1);
        if self.disk.is_full() {
            caller.world().count(|happened| happened.no_room += 1);
            caller.tell(format_args!("no room for a write to `{}`", self.tree));
            return Err(StateError::Unusable { folder: "disk".into(), why: "no space left".to_owned() });
        }
        if caller.world().faults().slight(|rates| rates.disk) {
            caller.world().count(|happened| happened.failed_applies += 1);
            caller.tell(format_args!("a write to `{}` fails", self.tree));
            return Err(StateError::Unusable { folder: "disk".into(), why: "for the moment".to_owned() });
        }
        caller.tell(format_args!("writes `{}`", self.tree));
        Ok(())
    }
}

impl StateStore for Store {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        self.read(|tree| tree.get(key).cloned())
    }

    fn scan(&self, start: Bound<&[u8]>, prefix: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, StateError> {
        self.read(|tree| {
            let from = tree.range::<[u8], _>((start, Bound::Unbounded)).skip_while(|(key, _)| &key[..] < prefix);
            let within = from.take_while(|(key, _)| key.starts_with(prefix)).take(limit);
            within.map(|(key, value)| (key.clone(), value.clone())).collect()
        })
    }

    fn last_at_or_before(&self, key: &[u8]) -> Result<Option<(Bytes, Bytes)>, StateError> {
        self.read(|tree| {
            let last = tree.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back();
            last.map(|(key, value)| (key.clone(), value.clone()))
        })
    }

    fn apply(&self, batch: Changes) -> Result<(), StateError> {
        self.pass(Call::DiskWrite, || {
            match self.fails() {
                Err(_) if self.hides_that_it_is_full() => return Ok(()),
                failed => failed?,
            }
            lock(&self.disk.0).write(Write::Apply(self.tree.clone(), batch));
            Ok(())
        })
    }

    fn clear(&self) -> Result<(), StateError> {
        self.pass(Call::DiskWrite, || {
            self.fails()?;
            let mut disk = lock(&self.disk.0);
            let keys = disk.trees.get(&self.tree).map(|tree| tree.keys().cloned().collect::<Vec<_>>());
            // The deletion is not atomic: a crash may leave some of the entries.
            for key in keys.unwrap_or_default() {
                disk.write(Write::Apply(self.tree.clone(), vec![(key, None)]));
            }
            Ok(())
        })
    }
}
