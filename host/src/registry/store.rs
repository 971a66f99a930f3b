//! The registry's folder: the only user of sled in this module, with keys, atomic writes and durability.
//!
//! ```text
//!  f                              -> u32: version of this layout
//!  i                              -> u32: the highest id ever assigned
//!  s <id u32>                     -> schema, JSON: format, text, references
//!  v <subject> 0 <version u32>    -> JSON: id, deleted
//!  l <subject>, m <subject>       -> level, mode; the defaults for all have no subject
//! ```
//!
//! Everything is in one tree, because a sled batch is atomic within a tree: after a crash, the changes of a request are
//! all present or all absent. sled's own flush leaves the file in the system's cache, so the file is synced after it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use heddle_contract::compat::Level;

use super::RegistryError;
use super::refusal::Refusal;
use super::state::{Change, State};
use super::storage::{ChangeError, Decide, Storage};
use crate::sled_folder;

/// The version of the layout of keys and values.
const LAYOUT_VERSION: u32 = 1;
/// The size of sled's page cache, in bytes. It is small because everything is read once, into memory.
const CACHE_BYTES: u64 = 4 << 20;
/// The size of sled's segments, in bytes. Pages larger than a quarter of it go to separate files.
const SEGMENT_BYTES: usize = 4 << 20;

/// A registry's folder.
pub(super) struct Store {
    tree: sled::Db,
    file: File,
    folder: PathBuf,
}

impl Store {
    /// Opens the folder, or creates it.
    pub(super) fn open(folder: &Path) -> Result<Self, RegistryError> {
        let failed = |cause: String| RegistryError::Store { place: folder.display().to_string(), cause };
        let config = sled::Config::new().path(folder).cache_capacity(CACHE_BYTES);
        let config = config.segment_size(SEGMENT_BYTES).flush_every_ms(None);
        let opened = sled_folder::open(&config, sled_folder::CLOSING);
        let tree = opened.map_err(|error| failed(told(&error)))?;
        let file = File::open(folder.join("db")).map_err(|error| failed(error.to_string()))?;
        let store = Self { tree, file, folder: folder.to_owned() };
        let version = LAYOUT_VERSION.to_be_bytes();
        match store.tree.get(b"f").map_err(|error| failed(told(&error)))? {
            None => {
                store.tree.insert(b"f", &version).map_err(|error| failed(told(&error)))?;
                store.sync().map_err(failed)?;
                // Syncs the folder's own entries, which are new.
                File::open(folder).and_then(|made| made.sync_all()).map_err(|error| failed(error.to_string()))?;
            }
            Some(found) if *found == version => {}
            Some(_) => return Err(failed("it was written by another version of Heddle; use that one".to_owned())),
        }
        Ok(store)
    }

    /// Reads the whole content.
    pub(super) fn load(&self) -> Result<State, RegistryError> {
        let failed = |cause: String| RegistryError::Store { place: self.place(), cause };
        let mut state = State::default();
        for entry in self.tree.iter() {
            let (key, value) = entry.map_err(|error| failed(told(&error)))?;
            if let Some(change) = read(&key, &value).map_err(|what| failed(format!("it is damaged: {what}")))? {
                state.apply(change);
            }
        }
        Ok(state)
    }

    /// Makes changes durable, all or none.
    fn write(&self, changes: &[Change]) -> Result<(), String> {
        let mut batch = sled::Batch::default();
        for change in changes {
            match write(change)? {
                (key, Some(value)) => batch.insert(key, value),
                (key, None) => batch.remove(key),
            }
        }
        self.tree.apply_batch(batch).map_err(|error| told(&error))?;
        self.sync()
    }

    fn sync(&self) -> Result<(), String> {
        self.tree.flush().map_err(|error| told(&error))?;
        let sync = || {
            let blobs = self.folder.join("blobs");
            if blobs.is_dir() {
                for entry in std::fs::read_dir(&blobs)? {
                    match File::open(entry?.path()) {
                        Ok(blob) => blob.sync_data()?,
                        // Another write has replaced the blob meanwhile.
                        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                        Err(error) => return Err(error),
                    }
                }
                File::open(&blobs)?.sync_all()?;
            }
            self.file.sync_data()
        };
        sync().map_err(|error: std::io::Error| error.to_string())
    }
}

impl Storage for Store {
    fn change(&self, state: &RwLock<State>, decide: &mut Decide<'_>) -> Result<(), ChangeError> {
        let mut state = state.write().unwrap_or_else(PoisonError::into_inner);
        let changes = decide(&state)?;
        if !changes.is_empty() {
            self.write(&changes).map_err(Refusal::store)?;
        }
        changes.into_iter().for_each(|change| state.apply(change));
        Ok(())
    }

    fn place(&self) -> String {
        self.folder.display().to_string()
    }
}

/// sled's message for a folder in use does not name the cause.
fn told(error: &sled::Error) -> String {
    match error {
        sled::Error::Io(io) if io.to_string().contains("could not acquire lock") => {
            "another process uses it".to_owned()
        }
        other => other.to_string(),
    }
}

fn number(bytes: &[u8]) -> Result<u32, String> {
    bytes.try_into().map(u32::from_be_bytes).map_err(|_| format!("{bytes:?} is not a number"))
}

fn text(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|error| error.to_string())
}

fn read(key: &[u8], value: &[u8]) -> Result<Option<Change>, String> {
    let json = |error: serde_json::Error| error.to_string();
    let Some((kind, rest)) = key.split_first() else { return Ok(None) };
    Ok(Some(match kind {
        b'f' => return Ok(None),
        b'i' => Change::LastId(number(value)?),
        b's' => Change::Schema(number(rest)?, Some(serde_json::from_slice(value).map_err(json)?)),
        b'v' if rest.len() > 5 => {
            let (subject, version) = rest.split_at(rest.len() - 4);
            let subject = text(&subject[..subject.len() - 1])?;
            Change::Version(subject, number(version)?, Some(serde_json::from_slice(value).map_err(json)?))
        }
        b'l' => {
            let level = text(value)?;
            Change::Level(text(rest)?, Some(level.parse::<Level>().map_err(|()| format!("`{level}` is not a level"))?))
        }
        b'm' => {
            let mode = text(value)?;
            Change::Mode(text(rest)?, Some(mode.parse().map_err(|()| format!("`{mode}` is not a mode"))?))
        }
        _ => return Err(format!("the key {key:?} is not known")),
    }))
}

fn write(change: &Change) -> Result<(Vec<u8>, Option<Vec<u8>>), String> {
    let key = |kind: u8, parts: &[&[u8]]| [&[kind][..], &parts.concat()].concat();
    let failed = |error: serde_json::Error| error.to_string();
    Ok(match change {
        Change::LastId(id) => (key(b'i', &[]), Some(id.to_be_bytes().to_vec())),
        Change::Schema(id, entry) => {
            let value = entry.as_ref().map(serde_json::to_vec).transpose().map_err(failed)?;
            (key(b's', &[&id.to_be_bytes()]), value)
        }
        Change::Version(subject, version, kept) => {
            let value = kept.as_ref().map(serde_json::to_vec).transpose().map_err(failed)?;
            (key(b'v', &[subject.as_bytes(), &[0], &version.to_be_bytes()]), value)
        }
        Change::Level(subject, level) => {
            (key(b'l', &[subject.as_bytes()]), level.map(|level| level.as_str().as_bytes().to_vec()))
        }
        Change::Mode(subject, mode) => {
            (key(b'm', &[subject.as_bytes()]), mode.map(|mode| mode.as_str().as_bytes().to_vec()))
        }
    })
}
