//! State on fjall: one database, one keyspace for each tree.
//!
//! Its journal is written to the operating system at every batch but is never synced: what a crash of the machine
//! destroys is read from the changelogs again. fjall recovers the journal batch by batch, each with its checksum.

use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::{Changes, StateEngine, StateError, StateStore, no_room, size};
use crate::disk::{Disks, Room};

/// The most that fjall keeps in memory of one tree before it writes a file. Batches of a task have this size.
const TREE_BUFFER_BYTES: u64 = 8 << 20;
/// The most that fjall keeps in memory of all trees together. Checked at every [`StateEngine::flush`].
const BUFFER_BYTES: u64 = 64 << 20;
/// The most that the journals use on disk before fjall writes their content to files.
const JOURNAL_BYTES: u64 = 128 << 20;

/// Trees in one folder.
pub struct FjallEngine {
    db: fjall::Database,
    folder: Arc<PathBuf>,
    room: Room,
}

impl FjallEngine {
    /// Opens the folder, or creates it.
    ///
    /// # Errors
    /// If another process owns the folder, or the folder is unusable or damaged.
    pub fn open(folder: &Path, cache_bytes: u64, disks: &Disks) -> Result<Self, StateError> {
        let builder = fjall::Database::builder(folder)
            .cache_size(cache_bytes)
            .max_journaling_size(JOURNAL_BYTES)
            .worker_threads(1);
        // fjall reports some damage by a panic.
        match catch_unwind(AssertUnwindSafe(|| builder.open())) {
            Ok(Ok(db)) => {
                Ok(Self { db, folder: Arc::new(folder.to_owned()), room: Room::below(folder, disks.clone()) })
            }
            Ok(Err(error)) => Err(failed(folder, &error)),
            Err(_) => Err(StateError::Corrupt { folder: folder.to_owned(), why: "fjall cannot read it".to_owned() }),
        }
    }

    fn keyspace(&self, tree: &str) -> Result<fjall::Keyspace, StateError> {
        let options = || fjall::KeyspaceCreateOptions::default().max_memtable_size(TREE_BUFFER_BYTES);
        if tree.is_empty() || tree.len() > super::TREE_NAME_BYTES_MAX {
            let why = format!("`{tree}` is not a valid name for a tree: 1 to {} bytes", super::TREE_NAME_BYTES_MAX);
            return Err(StateError::Refused(why));
        }
        self.db.keyspace(tree, options).map_err(|error| failed(&self.folder, &error))
    }
}

impl StateEngine for FjallEngine {
    fn open(&self, tree: &str) -> Result<Arc<dyn StateStore>, StateError> {
        let tree = self.keyspace(tree)?;
        let (db, folder, room) = (self.db.clone(), self.folder.clone(), self.room.clone());
        Ok(Arc::new(FjallTree { db, tree, folder, room }))
    }

    fn remove(&self, tree: &str) -> Result<(), StateError> {
        if !self.db.keyspace_exists(tree) {
            return Ok(());
        }
        let keyspace = self.keyspace(tree)?;
        self.db.delete_keyspace(keyspace).map_err(|error| failed(&self.folder, &error))
    }

    fn trees(&self) -> Result<Vec<String>, StateError> {
        let names = self.db.list_keyspace_names().into_iter();
        let mut names = names.map(|name| String::from_utf8_lossy(name.as_bytes()).into_owned()).collect::<Vec<_>>();
        names.sort_unstable();
        Ok(names)
    }

    fn size_bytes(&self) -> Result<u64, StateError> {
        self.db.disk_space().map_err(|error| failed(&self.folder, &error))
    }

    fn flush(&self) -> Result<(), StateError> {
        // Each tree's buffer is bounded, but there may be many trees.
        if self.db.write_buffer_size() <= BUFFER_BYTES {
            return Ok(());
        }
        self.room.check(0).map_err(|full| no_room(&self.folder, &full))?;
        for name in self.db.list_keyspace_names() {
            let tree = self.keyspace(&String::from_utf8_lossy(name.as_bytes()))?;
            tree.rotate_memtable().map_err(|error| failed(&self.folder, &error))?;
        }
        Ok(())
    }
}

struct FjallTree {
    db: fjall::Database,
    tree: fjall::Keyspace,
    folder: Arc<PathBuf>,
    room: Room,
}

impl FjallTree {
    fn entry(&self, entry: fjall::Guard) -> Result<(Bytes, Bytes), StateError> {
        let (key, value) = entry.into_inner().map_err(|error| failed(&self.folder, &error))?;
        Ok((bytes(&key), bytes(&value)))
    }
}

impl StateStore for FjallTree {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        if key.is_empty() || key.len() > super::KEY_BYTES_MAX {
            return Ok(None);
        }
        let value = self.tree.get(key).map_err(|error| failed(&self.folder, &error))?;
        Ok(value.map(|value| bytes(&value)))
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
        let mut changes = self.db.batch();
        for (key, value) in batch {
            match value {
                Some(value) => changes.insert(&self.tree, &key[..], &value[..]),
                None => changes.remove(&self.tree, &key[..]),
            }
        }
        changes.commit().map_err(|error| failed(&self.folder, &error))
    }

    fn clear(&self) -> Result<(), StateError> {
        self.tree.clear().map_err(|error| failed(&self.folder, &error))
    }
}

/// Copies, because fjall's values are parts of larger blocks, which they would keep in memory.
fn bytes(value: &[u8]) -> Bytes {
    Bytes::copy_from_slice(value)
}

fn failed(folder: &Path, error: &fjall::Error) -> StateError {
    let folder = folder.to_owned();
    match error {
        fjall::Error::Locked => StateError::Owned(folder),
        fjall::Error::Io(io) | fjall::Error::Storage(fjall::LsmError::Io(io)) if disk(io) => {
            StateError::Unusable { folder, why: io.to_string() }
        }
        fjall::Error::Poisoned => {
            StateError::Unusable { folder, why: "an earlier write failed; start the host again".to_owned() }
        }
        other => StateError::Corrupt { folder, why: other.to_string() },
    }
}

/// Returns true if the error is about the disk or its permissions, not about the content of the files.
fn disk(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, NotFound, UnexpectedEof};
    !matches!(error.kind(), InvalidData | NotFound | UnexpectedEof)
}
