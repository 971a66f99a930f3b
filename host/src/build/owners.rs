//! Whose the compiled crates are in the folder that all components share.
//!
//! Cargo tells the crates of a workspace apart by their place in it, not by where the workspace is, and by the times of
//! files. So two checkouts of one app are the same to it, and the older one would get what the newer one was compiled
//! to. Here it is noted from which folder each file came; one that came from another folder is removed, and compiled
//! from the right one.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::BuildError;

/// What was compiled from where. Nobody else builds in the folder while this is held.
pub(super) struct Owners {
    notes: PathBuf,
    _lock: File,
}

/// A crate of somebody's own, as cargo reports it.
struct Compiled {
    /// The folder it is in.
    from: String,
    files: Vec<PathBuf>,
    /// Whether it had been compiled before.
    fresh: bool,
}

impl Owners {
    /// Waits until nobody else builds in `target`.
    pub(super) fn of(target: &Path) -> Result<Self, BuildError> {
        std::fs::create_dir_all(target).map_err(BuildError::file(target))?;
        let path = target.join("heddle.lock");
        let lock = File::create(&path).map_err(BuildError::file(&path))?;
        lock.lock().map_err(BuildError::file(&path))?;
        Ok(Self { notes: target.join("heddle-owners.json"), _lock: lock })
    }

    /// Removes what was taken for fresh and came from another folder. Whether there was any: then it has to be compiled
    /// again.
    pub(super) fn remove_foreign(&self, messages: &[u8]) -> bool {
        let owners = self.read();
        let mut removed = false;
        for compiled in compiled(messages).filter(|compiled| compiled.fresh) {
            for file in &compiled.files {
                if owners.get(&file.display().to_string()) != Some(&compiled.from) {
                    removed = true;
                    // What a library or component is linked to lies in `deps`, too, and that one counts.
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

    /// Notes where everything came from.
    pub(super) fn note(&self, messages: &[u8]) -> Result<(), BuildError> {
        let mut owners = self.read();
        for compiled in compiled(messages) {
            owners.extend(compiled.files.iter().map(|file| (file.display().to_string(), compiled.from.clone())));
        }
        let text = serde_json::to_vec(&owners).unwrap_or_default();
        std::fs::write(&self.notes, text).map_err(BuildError::file(&self.notes))
    }

    /// What cannot be read was noted by nobody, and is compiled again.
    fn read(&self) -> BTreeMap<String, String> {
        let text = std::fs::read(&self.notes).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }
}

/// The crates that are in folders, not from a registry.
fn compiled(messages: &[u8]) -> impl Iterator<Item = Compiled> {
    let messages = messages.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    messages.filter(|message| message["reason"] == "compiler-artifact").filter_map(|message| {
        message["package_id"].as_str().filter(|id| id.starts_with("path+"))?;
        let files = message["filenames"].as_array()?.iter().filter_map(Value::as_str).map(PathBuf::from).collect();
        let (from, fresh) = (message["manifest_path"].as_str()?.to_owned(), message["fresh"].as_bool()?);
        Some(Compiled { from, files, fresh })
    })
}
