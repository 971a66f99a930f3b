//! The folder for compiled code. It holds what this process runs as machine code, so nobody else may write there.

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Only its owner may use the folder.
const MODE: u32 = 0o700;
/// Others than the owner may write.
const OTHERS_WRITE: u32 = 0o022;
/// Everybody may write.
const ALL_WRITE: u32 = 0o002;
/// Only the owner of a file may rename or remove it.
const STICKY: u32 = 0o1000;

/// Why compiled code is not kept.
#[derive(Debug, Error)]
pub(crate) enum CacheFault {
    /// The folder cannot be made or written to.
    #[error("the folder cannot be written to: {0}")]
    Unusable(#[from] std::io::Error),
    /// The folder belongs to another user.
    #[error("the folder belongs to another user, who could put code into it")]
    Foreign,
    /// Other users can write to the folder, or replace it.
    #[error("other users can write to `{0}`, and could put code into it")]
    Open(String),
}

/// Makes the folder, and checks that only this user can write to it. Returns its absolute path.
pub(crate) fn prepare(folder: &Path) -> Result<PathBuf, CacheFault> {
    DirBuilder::new().recursive(true).mode(MODE).create(folder)?;
    let folder = folder.canonicalize()?;
    let found = fs::metadata(&folder)?;
    // A file that this process makes tells who it runs as, and that it can write.
    let own = tempfile::tempfile_in(&folder)?.metadata()?.uid();
    if found.uid() != own {
        return Err(CacheFault::Foreign);
    }
    if found.mode() & OTHERS_WRITE != 0 {
        return Err(CacheFault::Open(folder.display().to_string()));
    }
    for above in folder.ancestors().skip(1) {
        let mode = fs::metadata(above)?.mode();
        if mode & ALL_WRITE != 0 && mode & STICKY == 0 {
            return Err(CacheFault::Open(above.display().to_string()));
        }
    }
    // Folders in it may have been made for a group.
    fs::set_permissions(&folder, Permissions::from_mode(MODE))?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_mode(folder: &Path, mode: u32) {
        fs::set_permissions(folder, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn only_a_folder_that_nobody_else_can_write_to_is_used() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("heddle/compiled");
        prepare(&folder).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, MODE);
        with_mode(&folder, 0o755);
        prepare(&folder).unwrap();
        for open in [0o777, 0o770, 0o1777] {
            with_mode(&folder, open);
            assert!(matches!(prepare(&folder), Err(CacheFault::Open(_))), "{open:o}");
        }
        with_mode(&folder, MODE);
        with_mode(&root.path().join("heddle"), 0o777);
        assert!(matches!(prepare(&folder), Err(CacheFault::Open(_))));
        with_mode(&root.path().join("heddle"), 0o1777);
        prepare(&folder).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_a_fault_and_no_panic() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        assert!(matches!(prepare(&root.path().join("file/compiled")), Err(CacheFault::Unusable(_))));
    }
}
