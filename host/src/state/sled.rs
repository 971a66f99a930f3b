//! State on sled: one database, one sled tree for each tree.
//!
//! It is never synced on purpose: what a crash of the machine destroys is read from the changelogs again. sled recovers
//! its log batch by batch up to the first damage, so the result is a state that once existed.

use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::{Changes, StateEngine, StateError, StateStore, no_room, size};
use crate::disk::{Disks, Room};
use crate::sled_folder::{self, CLOSING};

/// sled writes a page that is larger than a quarter of this to a separate file. A page holds up to 17 values.
const SEGMENT_BYTES: usize = 4 << 20;
/// One collection frees up to 512 objects; a change leaves a handful.
const CHANGES_PER_COLLECTION: usize = 64;
/// The tree that every sled database has.
const DEFAULT_TREE: &[u8] = b"__sled__default";

/// Trees in one folder.
pub struct SledEngine {
    db: sled::Db,
    folder: Arc<PathBuf>,
    room: Room,
}

impl SledEngine {
    /// Opens the folder, or creates it.
    ///
    /// # Errors
    /// If another process owns the folder, or the folder is unusable or damaged.
    pub fn open(folder: &Path, cache_bytes: u64, disks: &Disks) -> Result<Self, StateError> {
        let config = sled::Config::new()
            .path(folder)
            .cache_capacity(cache_bytes)
            .segment_size(SEGMENT_BYTES)
            .flush_every_ms(None)
            .mode(sled::Mode::HighThroughput);
        // sled reports some damage by a panic.
        match catch_unwind(AssertUnwindSafe(|| sled_folder::open(&config, CLOSING))) {
            Ok(Ok(db)) => {
                Ok(Self { db, folder: Arc::new(folder.to_owned()), room: Room::below(folder, disks.clone()) })
            }
            Ok(Err(error)) => Err(failed(folder, &error)),
            Err(_) => Err(StateError::Corrupt { folder: folder.to_owned(), why: "sled cannot read it".to_owned() }),
        }
    }

    fn failed(&self, error: &sled::Error) -> StateError {
        failed(&self.folder, error)
    }
}

impl StateEngine for SledEngine {
    fn open(&self, tree: &str) -> Result<Arc<dyn StateStore>, StateError> {
        let tree = self.db.open_tree(tree).map_err(|error| self.failed(&error))?;
        Ok(Arc::new(SledTree { tree, folder: self.folder.clone(), room: self.room.clone() }))
    }

    fn remove(&self, tree: &str) -> Result<(), StateError> {
        self.db.drop_tree(tree).map(|_| ()).map_err(|error| self.failed(&error))
    }

    fn trees(&self) -> Result<Vec<String>, StateError> {
        let names = self.db.tree_names().into_iter().filter(|name| name != DEFAULT_TREE);
        let mut names = names.map(|name| String::from_utf8_lossy(&name).into_owned()).collect::<Vec<_>>();
        names.sort_unstable();
        Ok(names)
    }

    fn size_bytes(&self) -> Result<u64, StateError> {
        self.db.size_on_disk().map_err(|error| self.failed(&error))
    }

    fn flush(&self) -> Result<(), StateError> {
        self.room.check(0).map_err(|full| no_room(&self.folder, &full))?;
        // Pages that were changed since the last flush stay in memory, and the cache's bound does not count them.
        self.db.flush().map(|_| ()).map_err(|error| self.failed(&error))
    }

    fn wake(&self) {
        sled_folder::wake(&self.db);
    }
}

struct SledTree {
    tree: sled::Tree,
    folder: Arc<PathBuf>,
    room: Room,
}

impl SledTree {
    fn entry(&self, entry: Result<(sled::IVec, sled::IVec), sled::Error>) -> Result<(Bytes, Bytes), StateError> {
        let (key, value) = entry.map_err(|error| failed(&self.folder, &error))?;
        Ok((bytes(key), bytes(value)))
    }
}

impl StateStore for SledTree {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        if key.is_empty() || key.len() > super::KEY_BYTES_MAX {
            return Ok(None);
        }
        let value = self.tree.get(key).map_err(|error| failed(&self.folder, &error))?;
        Ok(value.map(bytes))
    }

    fn scan(&self, start: Bound<&[u8]>, prefix: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, StateError> {
        let start = super::scan_start(start, prefix);
        let entries = self.tree.range::<&[u8], _>((start, Bound::Unbounded)).take(limit);
        let entries = entries.map(|entry| self.entry(entry));
        entries.take_while(|entry| entry.as_ref().map_or(true, |(key, _)| key.starts_with(prefix))).collect()
    }

    fn last_at_or_before(&self, key: &[u8]) -> Result<Option<(Bytes, Bytes)>, StateError> {
        self.tree.range(..=key).next_back().map(|entry| self.entry(entry)).transpose()
    }

    fn apply(&self, batch: Changes) -> Result<(), StateError> {
        super::check_keys(&batch)?;
        self.room.check(size(&batch)).map_err(|full| no_room(&self.folder, &full))?;
        let count = batch.len();
        let mut changes = sled::Batch::default();
        for (key, value) in batch {
            match value {
                Some(value) => changes.insert(&key[..], &value[..]),
                None => changes.remove(&key[..]),
            }
        }
        self.tree.apply_batch(changes).map_err(|error| failed(&self.folder, &error))?;
        free_garbage(count);
        Ok(())
    }

    fn clear(&self) -> Result<(), StateError> {
        self.tree.clear().map_err(|error| failed(&self.folder, &error))
    }
}

/// Frees the garbage of a batch with `changes` changes.
///
/// sled leaves every replaced or evicted page to crossbeam's collector. The collector frees a few of them when a thread
/// pins an epoch, and a batch pins once. So copies of all its pages would stay: gigabytes instead of a cache of 64 MiB.
fn free_garbage(changes: usize) {
    for _ in 0..=changes / CHANGES_PER_COLLECTION {
        crossbeam_epoch::pin().flush();
    }
}

fn bytes(value: sled::IVec) -> Bytes {
    Bytes::from_owner(value)
}

fn failed(folder: &Path, error: &sled::Error) -> StateError {
    let folder = folder.to_owned();
    match error {
        error if sled_folder::is_owned(error) => StateError::Owned(folder),
        sled::Error::Io(io) if io.kind() != std::io::ErrorKind::InvalidData => {
            StateError::Unusable { folder, why: io.to_string() }
        }
        other => StateError::Corrupt { folder, why: other.to_string() },
    }
}
