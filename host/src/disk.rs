//! Room on the disks of a host.
//!
//! An engine that meets a full disk is broken for the rest of its life, so it never gets there: what would take the
//! last of the room is refused before the engine is asked, and taken once there is room again.

use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use thiserror::Error;

/// What stays free: an engine keeps some buffers of its own, and files them when it likes.
pub(crate) const KEPT_FREE_BYTES: u64 = 16 << 20;
/// How many bytes an engine may write for each one that it is given: pages as a whole, and the same again when it
/// cleans up.
const WRITTEN_FOR_EACH: u64 = 2;

/// There is no room.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the disk is full: {} are free, and {} stay free", ByteSize(*.free), ByteSize(KEPT_FREE_BYTES))]
pub(crate) struct NoRoom {
    free: u64,
}

/// The disk below one folder.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    folder: PathBuf,
}

impl Room {
    /// Of the disk that this folder is on.
    pub(crate) fn below(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Whether there is room for so many bytes. A disk that does not say how full it is has room.
    pub(crate) fn check(&self, bytes: usize) -> Result<(), NoRoom> {
        match free_bytes(&self.folder) {
            Some(free) if free < needed(bytes) => Err(NoRoom { free }),
            _ => Ok(()),
        }
    }
}

fn needed(bytes: usize) -> u64 {
    KEPT_FREE_BYTES.saturating_add((bytes as u64).saturating_mul(WRITTEN_FOR_EACH))
}

/// What a user without privileges may still write.
fn free_bytes(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    // Some file systems have no blocks to count: they say nothing.
    (disk.f_blocks > 0).then(|| disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_disk_has_finds_no_room() {
        let folder = tempfile::tempdir().unwrap();
        let room = Room::below(folder.path());
        assert!(room.check(1).is_ok(), "the machine of this test has some room");
        let refused = room.check(usize::MAX).unwrap_err().to_string();
        assert!(refused.starts_with("the disk is full: ") && refused.ends_with("16.0 MiB stay free"), "{refused}");
        assert!(Room::below(Path::new("/nowhere")).check(usize::MAX).is_ok(), "nothing is known of it");
    }
}
