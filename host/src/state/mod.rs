//! The committed state of tasks on this host: a copy of what their changelogs say.
//!
//! ```text
//!                     commit              freeze              write_frozen
//!  CommittedBatch ───────────> memtable ──────────> frozen ───────────────> StateStore (sled, fjall)
//!                  worker                flusher              flusher
//!                     reads:  memtable, then frozen, then the tree
//! ```
//!
//! - `task`: all state of one task; what the worker reads and commits to.
//! - `layers`: what of it is not in the trees yet.
//! - `seen`: the message ids of one task, as segments of sorted blocks with filters.
//! - `store_tree`: how a memtable gets into its tree.
//! - `flusher`: the one thread that brings it to disk.
//! - `sled`, `fjall`: engines, behind [`StateEngine`].
//!
//! **The invariant.** A tree is the fold of its changelog's partition below its watermark. While a memtable is written
//! it is that in some keys, and in the others the fold below the memtable's end: a large memtable goes in as several
//! atomic [`StateStore::apply`], the watermark with the last of them; the first one notes that end. Data that no commit
//! covers is not written. So a host that is killed loses nothing but the tail that the log still has, reading that tail
//! makes the tree exact again, and a tree never holds what the log did not commit.

mod fjall;
mod flusher;
mod host;
mod layers;
mod memory;
mod seen;
mod sled;
mod store_tree;
mod task;
mod tree;

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use heddle_core::event::{Offset, Timestamp};
use heddle_core::fault::TaskFault;
use thiserror::Error;

use crate::disk::NoRoom;

pub use self::fjall::FjallEngine;
pub use self::flusher::Flusher;
pub use self::host::HostState;
pub use self::memory::MemoryEngine;
pub use self::seen::SeenStatus;
pub use self::sled::SledEngine;
pub use self::task::{ReplayError, TaskStores};
pub use self::tree::tree_name;

/// Opens trees. One a host.
pub trait StateEngine: Send + Sync {
    /// The tree of that name, made if it is not there. Opened twice, both are the same tree.
    ///
    /// # Errors
    /// If the engine fails.
    fn open(&self, tree: &str) -> Result<Arc<dyn StateStore>, StateError>;

    /// Removes a tree, if it is there, with all it holds. Nothing may hold it open.
    ///
    /// # Errors
    /// If the engine fails.
    fn remove(&self, tree: &str) -> Result<(), StateError>;

    /// The names of all trees, sorted.
    ///
    /// # Errors
    /// If the engine fails.
    fn trees(&self) -> Result<Vec<String>, StateError>;

    /// What all trees together take on disk.
    ///
    /// # Errors
    /// If the folder cannot be read.
    fn size_bytes(&self) -> Result<u64, StateError>;

    /// Writes out what the engine still holds in memory of what was applied. Not for safety (the changelog is the
    /// truth) but to bound that memory; the flusher calls it now and then.
    ///
    /// # Errors
    /// If the engine fails.
    fn flush(&self) -> Result<(), StateError>;

    /// Wakes calls that a failed disk left asleep. To be called while one takes long, by a thread that may wait as
    /// long.
    fn wake(&self) {}
}

/// Puts and deletes (`None`) of a tree, by key.
pub type Changes = Vec<(Bytes, Option<Bytes>)>;

/// One tree: keys and values, bytes, sorted. Keys have 1 to [`KEY_BYTES_MAX`] bytes; looking for others finds nothing.
pub trait StateStore: Send + Sync {
    /// The value of `key`.
    ///
    /// # Errors
    /// If the engine fails.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError>;

    /// The entries from `start` on whose keys begin with `prefix`, in order, at most `limit`.
    ///
    /// # Errors
    /// If the engine fails.
    fn scan(&self, start: Bound<&[u8]>, prefix: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, StateError>;

    /// The entry with the greatest key that is not greater than `key`.
    ///
    /// # Errors
    /// If the engine fails.
    fn last_at_or_before(&self, key: &[u8]) -> Result<Option<(Bytes, Bytes)>, StateError>;

    /// All or nothing, also when the process is killed meanwhile; and what was applied earlier is never lost alone.
    /// Keys ascend and occur once.
    ///
    /// # Errors
    /// If the engine fails.
    fn apply(&self, batch: Changes) -> Result<(), StateError>;

    /// Removes every entry. Not atomic.
    ///
    /// # Errors
    /// If the engine fails.
    fn clear(&self) -> Result<(), StateError>;
}

/// The longest name of a tree, in bytes.
pub const TREE_NAME_BYTES_MAX: usize = 255;

/// The longest key of a tree, in bytes.
pub const KEY_BYTES_MAX: usize = 60_000;

/// Refuses changes that not every engine can take.
fn check_keys(batch: &Changes) -> Result<(), StateError> {
    if batch.iter().any(|(key, _)| key.is_empty()) {
        return Err(StateError::Refused("a tree takes no empty key".to_owned()));
    }
    match batch.iter().find(|(key, _)| key.len() > KEY_BYTES_MAX) {
        None => Ok(()),
        Some((key, _)) => {
            let length = key.len();
            Err(StateError::Refused(format!(
                "a key of {length} bytes is too long for a store: at most {KEY_BYTES_MAX}"
            )))
        }
    }
}

/// The bytes of keys and values in changes.
fn size(batch: &Changes) -> usize {
    batch.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Bytes::len)).sum()
}

fn no_room(folder: &Path, full: &NoRoom) -> StateError {
    StateError::Full { folder: folder.to_owned(), why: full.to_string() }
}

/// Where a scan of `prefix` begins: keys with a prefix are one range, so what lies before it need not be looked at.
fn scan_start<'a>(start: Bound<&'a [u8]>, prefix: &'a [u8]) -> Bound<&'a [u8]> {
    match start {
        Bound::Included(key) | Bound::Excluded(key) if key >= prefix => start,
        _ => Bound::Included(prefix),
    }
}

/// How far a copy has read its changelog's partition, and of which incarnation of the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watermark {
    /// What tells the topic from an earlier or later one of the same name; `None` if the log has no such thing.
    pub topic_id: Option<String>,
    /// Everything below has been taken.
    pub offset: Offset,
}

/// What bounds the memory of one task's state.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// A memtable of this size is written.
    pub memtable_bytes: usize,
    /// A memtable of this age is written, however small.
    pub memtable_age: Duration,
    /// So many keys of a memtable become one atomic batch of the engine.
    pub changes_at_once: usize,
    /// So many message ids of a topic, and at most one segment more, are kept on disk that are past their window in the
    /// stream and were handled lately.
    pub late_ids_max: u64,
    /// The clock: message ids from the future are kept no longer than ids of now.
    pub now: fn() -> Timestamp,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            memtable_bytes: 8 << 20,
            memtable_age: Duration::from_secs(3),
            changes_at_once: 500,
            late_ids_max: 1 << 20,
            now: wall_clock,
        }
    }
}

fn wall_clock() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The engines there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// [`SledEngine`].
    Sled,
    /// [`FjallEngine`].
    Fjall,
    /// [`MemoryEngine`]: nothing on disk.
    Memory,
}

/// The default size of an engine's cache.
pub const CACHE_BYTES: u64 = 64 << 20;

/// Opens the engine's folder, or makes it. [`StateError::Corrupt`] says that the folder may be moved aside (or removed)
/// and everything in it be restored from the changelogs; that is for the caller to decide.
///
/// # Errors
/// If another process owns the folder, it cannot be used, or is damaged.
pub fn open_engine(kind: EngineKind, folder: &Path, cache_bytes: u64) -> Result<Arc<dyn StateEngine>, StateError> {
    Ok(match kind {
        EngineKind::Sled => Arc::new(SledEngine::open(folder, cache_bytes)?),
        EngineKind::Fjall => Arc::new(FjallEngine::open(folder, cache_bytes)?),
        EngineKind::Memory => Arc::new(MemoryEngine::default()),
    })
}

/// What the state can fail with, named by remedy.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StateError {
    /// Another process owns the folder: stop it.
    #[error(
        "the state of this host is in use\n  at {}\n  another process owns it: stop that one, or set another `app.data`",
        .0.display()
    )]
    Owned(PathBuf),
    /// The folder cannot be used: repair its permissions or its disk.
    #[error("the state of this host cannot be kept\n  at {}: {why}\n  make the folder writable, or set another `app.data`", .folder.display())]
    Unusable {
        /// The engine's folder.
        folder: PathBuf,
        /// What the system said.
        why: String,
    },
    /// The folder's content is damaged: move it aside and restore from the changelogs.
    #[error(
        "the state of this host is damaged\n  at {}: {why}\n  move the folder away: it is rebuilt from the changelogs",
        .folder.display()
    )]
    Corrupt {
        /// The engine's folder.
        folder: PathBuf,
        /// What does not fit.
        why: String,
    },
    /// There is no room on the disk: nothing was written, and the engine is as it was. Goes on once there is room.
    #[error("the state of this host cannot be kept\n  at {}: {why}\n  make room on the disk: it goes on by itself then", .folder.display())]
    Full {
        /// The engine's folder.
        folder: PathBuf,
        /// How much is free.
        why: String,
    },
    /// A tree holds what Heddle did not write there: wipe that changelog's copy and restore it.
    #[error(
        "the copy of a changelog is damaged: {0}\n  stop the host and move the folder of its state away: it is rebuilt from the changelogs"
    )]
    Damaged(String),
    /// A key or a tree's name that the engine cannot take.
    #[error("{0}")]
    Refused(String),
}

impl From<StateError> for TaskFault {
    fn from(error: StateError) -> Self {
        Self(error.to_string())
    }
}
