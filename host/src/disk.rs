//! Free space on the disks of a host.
//!
//! An engine that meets a full disk stays broken for the rest of its life, so it must not meet one. A write that would
//! use the last of the space is refused before it reaches the engine, and accepted once there is space again.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytesize::ByteSize;
use thiserror::Error;

/// The space that stays free, because an engine keeps some buffers and writes them at any time.
pub(crate) const KEPT_FREE_BYTES: u64 = 16 << 20;
/// The bytes that an engine may write for each byte that it receives: whole pages, and the same again during its
/// cleanup.
const WRITTEN_FOR_EACH: u64 = 2;

/// The disk is full.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the disk is full: {} are free, and {} stay free", ByteSize(*.free), ByteSize(KEPT_FREE_BYTES))]
pub(crate) struct NoRoom {
    free: u64,
}

/// The disks of this host, as far as their room matters.
#[derive(Clone)]
pub struct Disks(Arc<Free>);

/// Measures the free bytes of the disk that has a folder; `None` if that is not known.
type Free = dyn Fn(&Path) -> Option<u64> + Send + Sync;

impl Default for Disks {
    /// The system's own answers.
    fn default() -> Self {
        Self(Arc::new(free_bytes))
    }
}

impl Disks {
    /// Disks that have as many bytes free as `free` says of a folder, if it says anything: a test needs no disk that it
    /// may fill.
    pub fn with_free(free: impl Fn(&Path) -> Option<u64> + Send + Sync + 'static) -> Self {
        Self(Arc::new(free))
    }
}

impl fmt::Debug for Disks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disks")
    }
}

/// The disk of one folder.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    folder: PathBuf,
    disks: Disks,
}

impl Room {
    /// The disk that holds this folder.
    pub(crate) fn below(folder: &Path, disks: Disks) -> Self {
        Self { folder: folder.to_owned(), disks }
    }

    /// Checks that there is space for `bytes` more bytes. A disk that does not report its free space passes.
    pub(crate) fn check(&self, bytes: usize) -> Result<(), NoRoom> {
        match (self.disks.0)(&self.folder) {
            Some(free) if free < needed(bytes) => Err(NoRoom { free }),
            _ => Ok(()),
        }
    }
}

fn needed(bytes: usize) -> u64 {
    KEPT_FREE_BYTES.saturating_add((bytes as u64).saturating_mul(WRITTEN_FOR_EACH))
}

/// The space that is available to users without privileges.
fn free_bytes(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    // Some file systems report no blocks.
    (disk.f_blocks > 0).then(|| disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_larger_than_the_free_space_finds_no_room() {
        let folder = tempfile::tempdir().unwrap();
        let room = Room::below(folder.path(), Disks::default());
        assert!(room.check(1).is_ok(), "the machine of this test has some room");
        let refused = room.check(usize::MAX).unwrap_err().to_string();
        assert!(refused.starts_with("the disk is full: ") && refused.ends_with("16.0 MiB stay free"), "{refused}");
        assert!(
            Room::below(Path::new("/nowhere"), Disks::default()).check(usize::MAX).is_ok(),
            "nothing is known of it"
        );
    }
}
