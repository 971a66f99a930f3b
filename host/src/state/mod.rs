//! The committed state of this host's tasks: a local copy of their changelogs.
//!
//! ```text
//!                     commit              freeze              write_frozen
//!  CommittedBatch ───────────> memtable ──────────> frozen ───────────────> StateStore (sled, fjall)
//!                  worker                flusher              flusher
//!                     reads:  memtable, then frozen, then the tree
//! ```
//!
//! - `task`: all state of one task; the worker reads from it and commits to it.
//! - `layers`: committed state that is not in the trees yet.
//! - `seen`: the message ids of one task, as segments of sorted blocks with filters.
//! - `store_tree`: writes a memtable into its tree.
//! - `flusher`: the one thread that writes state to disk.
//! - `sled`, `fjall`: engines, behind [`StateEngine`].
//!
//! **The invariant.** A tree is the fold of its changelog's partition below its watermark. During the write of a
//! memtable, some keys are already further: they hold the fold below the memtable's end. A large memtable is written as
//! several atomic [`StateStore::apply`] calls: the first one records the memtable's end, the last one writes the
//! watermark. Data that no commit covers is not written. So a tree never holds what the log did not commit, and a
//! killed host loses only the tail that the log still has. Reading that tail makes the tree exact again.

mod fjall;
mod flusher;
mod host;
mod layers;
mod memory;
mod replay;
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
use heddle_core::explain::Explain;
use heddle_core::fault::TaskFault;
use thiserror::Error;

use crate::disk::{Disks, NoRoom};

pub use self::fjall::FjallEngine;
pub use self::flusher::Flusher;
pub use self::host::HostState;
pub use self::memory::MemoryEngine;
pub use self::replay::ReplayError;
pub use self::seen::SeenStatus;
pub use self::sled::SledEngine;
pub use self::task::TaskStores;
pub use self::tree::tree_name;

/// Opens trees. A host has one engine.
pub trait StateEngine: Send + Sync {
    /// Opens the tree with this name, or creates it. Opening a name twice returns the same tree.
    fn open(&self, tree: &str) -> Result<Arc<dyn StateStore>, StateError>;

    /// Removes a tree with its content, if it exists. It must not be open.
    fn remove(&self, tree: &str) -> Result<(), StateError>;

    /// The names of all trees, sorted.
    ///
    /// # Errors
    /// If the engine fails.
    fn trees(&self) -> Result<Vec<String>, StateError>;

    /// The bytes that all trees together use on disk.
    fn size_bytes(&self) -> Result<u64, StateError>;

    /// Writes to disk what the engine still holds in memory. This bounds the engine's memory and is not needed for
    /// safety, because the changelog is the truth. The flusher calls it at intervals.
    fn flush(&self) -> Result<(), StateError>;

    /// Wakes calls that still sleep after the disk failed. Call it while one of them takes long, from a thread that may
    /// block as long.
    fn wake(&self) {}
}

/// Puts and deletes (`None`) in a tree, by key.
pub type Changes = Vec<(Bytes, Option<Bytes>)>;

/// One tree: a sorted map from bytes to bytes. Keys have 1 to [`KEY_BYTES_MAX`] bytes; a lookup of any other key finds
/// nothing.
pub trait StateStore: Send + Sync {
    /// The value of `key`.
    ///
    /// # Errors
    /// If the engine fails.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError>;

    /// The entries from `start` whose keys begin with `prefix`, in order, at most `limit`.
    fn scan(&self, start: Bound<&[u8]>, prefix: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, StateError>;

    /// The entry with the greatest key that is not greater than `key`.
    ///
    /// # Errors
    /// If the engine fails.
    fn last_at_or_before(&self, key: &[u8]) -> Result<Option<(Bytes, Bytes)>, StateError>;

    /// Applies all changes or none, even if the process is killed meanwhile. Earlier batches are never lost before
    /// later ones. Keys must ascend and occur once.
    fn apply(&self, batch: Changes) -> Result<(), StateError>;

    /// Removes all entries. Not atomic.
    fn clear(&self) -> Result<(), StateError>;
}

/// The longest name of a tree, in bytes.
pub const TREE_NAME_BYTES_MAX: usize = 255;

/// The longest key of a tree, in bytes.
pub const KEY_BYTES_MAX: usize = 60_000;

/// Refuses keys that some engine cannot store.
fn check_keys(batch: &Changes) -> Result<(), StateError> {
    if batch.iter().any(|(key, _)| key.is_empty()) {
        return Err(StateError::Refused("a tree cannot store an empty key".to_owned()));
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

/// The position at which a scan of `prefix` begins. Keys with a prefix are one range, so the scan skips what lies
/// before it.
fn scan_start<'a>(start: Bound<&'a [u8]>, prefix: &'a [u8]) -> Bound<&'a [u8]> {
    match start {
        Bound::Included(key) | Bound::Excluded(key) if key >= prefix => start,
        _ => Bound::Included(prefix),
    }
}

/// The position up to which a copy has read its changelog's partition, and the topic's incarnation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watermark {
    /// The topic's identity, which differs between incarnations of the same name. `None` if the log has no such
    /// identity.
    pub topic_id: Option<String>,
    /// The copy has taken every record below this offset.
    pub offset: Offset,
}

/// Bounds for the memory of one task's state.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// A memtable of this size is written to disk.
    pub memtable_bytes: usize,
    /// A memtable of this age is written to disk, however small it is.
    pub memtable_age: Duration,
    /// The number of keys of a memtable that are written as one atomic batch.
    pub changes_at_once: usize,
    /// The number of message ids per topic that stay on disk after their window because they were processed lately. One
    /// segment may exceed it.
    pub late_ids_max: u64,
    /// The clock. Ids with a timestamp in the future are kept no longer than ids of now.
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

/// The available engines.
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

/// Opens the engine's folder, or creates it. After [`StateError::Corrupt`] the caller may move the folder aside or
/// remove it, and restore everything from the changelogs.
///
/// # Errors
/// If another process owns the folder, or the folder is unusable or damaged.
pub fn open_engine(kind: EngineKind, folder: &Path, cache_bytes: u64) -> Result<Arc<dyn StateEngine>, StateError> {
    open_engine_on(kind, folder, cache_bytes, &Disks::default())
}

/// As [`open_engine`], on these disks.
///
/// # Errors
/// As [`open_engine`].
pub fn open_engine_on(
    kind: EngineKind,
    folder: &Path,
    cache_bytes: u64,
    disks: &Disks,
) -> Result<Arc<dyn StateEngine>, StateError> {
    Ok(match kind {
        EngineKind::Sled => Arc::new(SledEngine::open(folder, cache_bytes, disks)?),
        EngineKind::Fjall => Arc::new(FjallEngine::open(folder, cache_bytes, disks)?),
        EngineKind::Memory => Arc::new(MemoryEngine::default()),
    })
}

/// Faults of state, named by remedy.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StateError {
    /// Another process owns the folder: stop it.
    #[error("another process uses the state of this host")]
    Owned(PathBuf),
    /// The folder cannot be used: repair its permissions or its disk.
    #[error("the state of this host cannot be kept: {why}")]
    Unusable {
        /// The engine's folder.
        folder: PathBuf,
        /// The system's error.
        why: String,
    },
    /// The folder's content is damaged: move it aside and restore from the changelogs.
    #[error("the state of this host is damaged: {why}")]
    Corrupt {
        /// The engine's folder.
        folder: PathBuf,
        /// The mismatch that was found.
        why: String,
    },
    /// The disk is full: nothing was written and the engine is unchanged. It continues once there is room.
    #[error("the state of this host cannot be kept: {why}")]
    Full {
        /// The engine's folder.
        folder: PathBuf,
        /// The free space.
        why: String,
    },
    /// A tree holds data that Heddle did not write: wipe that changelog's copy and restore it.
    #[error("the local copy of a changelog is damaged: {0}")]
    Damaged(String),
    /// The engine cannot store this key or tree name.
    #[error("{0}")]
    Refused(String),
}

impl Explain for StateError {
    fn place(&self) -> Option<String> {
        match self {
            Self::Owned(folder)
            | Self::Unusable { folder, .. }
            | Self::Corrupt { folder, .. }
            | Self::Full { folder, .. } => Some(folder.display().to_string()),
            Self::Damaged(_) | Self::Refused(_) => None,
        }
    }

    fn remedy(&self) -> Option<String> {
        let remedy = match self {
            Self::Owned(_) => "stop that process, or set another `app.data`",
            Self::Unusable { .. } => "make the folder writable, or set another `app.data`",
            Self::Corrupt { .. } => "move the folder away: it is rebuilt from the changelogs",
            Self::Full { .. } => "make room on the disk: the host then continues",
            Self::Damaged(_) => {
                "stop the host and move the folder of its state away: it is rebuilt from the changelogs"
            }
            Self::Refused(_) => return None,
        };
        Some(remedy.to_owned())
    }
}

impl From<StateError> for TaskFault {
    fn from(error: StateError) -> Self {
        let place = error.place().map(|place| format!(" ({place})")).unwrap_or_default();
        Self(format!("{error}{place}"))
    }
}
