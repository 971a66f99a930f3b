//! Records which checkout each compiled crate comes from, in the target folder that all components share.
//!
//! Cargo distinguishes the crates of a workspace by their paths within it and by the times of files, but not by the
//! workspace's own path. So two checkouts of one app look the same to cargo, and the older one would get the crates
//! compiled from the newer one. This module records the source folder of each compiled file. A file from another folder
//! is removed and compiled again.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::BuildError;

/// The record of compiled files. While it is held, no other process builds in the folder.
pub(super) struct Owners {
    notes: PathBuf,
    _lock: File,
}

/// A crate from a local folder, as cargo reports it.
struct Compiled {
    /// The crate's manifest.
    from: String,
    files: Vec<PathBuf>,
    /// True if cargo did not compile it in this run.
    fresh: bool,
}

impl Owners {
    /// Waits until no other process builds in `target`.
    pub(super) fn of(target: &Path) -> Result<Self, BuildError> {
        std::fs::create_dir_all(target).map_err(BuildError::file(target))?;
        let path = target.join("heddle.lock");
        let lock = File::create(&path).map_err(BuildError::file(&path))?;
        lock.lock().map_err(BuildError::file(&path))?;
        Ok(Self { notes: target.join("heddle-owners.json"), _lock: lock })
    }

    /// Removes files that cargo considers fresh although they come from another folder. Returns true if there were any,
    /// so that the build must run again.
    pub(super) fn remove_foreign(&self, messages: &[u8]) -> bool {
        let owners = self.read();
        let mut removed = false;
        for compiled in compiled(messages).filter(|compiled| compiled.fresh) {
            for file in &compiled.files {
                if owners.get(&file.display().to_string()) != Some(&compiled.from) {
                    removed = true;
                    // Linking uses the copy in `deps`, so that one is removed, too.
                    let below =
                        file.parent().zip(file.file_name()).map(|(folder, name)| folder.join("deps").join(name));
                    for file in below.iter().chain([file]) {
                        let _ = std::fs::remove_file(file);
                    }
                }
            }
        }
        removed
    }

    /// Records the source folder of every compiled file.
    pub(super) fn note(&self, messages: &[u8]) -> Result<(), BuildError> {
        let mut owners = self.read();
        for compiled in compiled(messages) {
            owners.extend(compiled.files.iter().map(|file| (file.display().to_string(), compiled.from.clone())));
        }
        let text = serde_json::to_vec(&owners).unwrap_or_default();
        std::fs::write(&self.notes, text).map_err(BuildError::file(&self.notes))
    }

    /// Reads the record. If it cannot be read, it counts as empty, and everything is compiled again.
    fn read(&self) -> BTreeMap<String, String> {
        let text = std::fs::read(&self.notes).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }
}

/// The crates that come from local folders, not from a registry.
fn compiled(messages: &[u8]) -> impl Iterator<Item = Compiled> {
    let messages = messages.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    messages.filter(|message| message["reason"] == "compiler-artifact").filter_map(|message| {
        message["package_id"].as_str().filter(|id| id.starts_with("path+"))?;
        let files = message["filenames"].as_array()?.iter().filter_map(Value::as_str).map(PathBuf::from).collect();
        let (from, fresh) = (message["manifest_path"].as_str()?.to_owned(), message["fresh"].as_bool()?);
        Some(Compiled { from, files, fresh })
    })
}
