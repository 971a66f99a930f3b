//! The folder for compiled code. This process runs its content as machine code, so nobody else may write to it.

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The mode of the folder: only its owner may use it.
const MODE: u32 = 0o700;
/// The mode bits that let users other than the owner write.
const OTHERS_WRITE: u32 = 0o022;
/// The mode bit that lets everybody write.
const ALL_WRITE: u32 = 0o002;
/// The mode bit that lets only the owner of a file rename or remove it.
const STICKY: u32 = 0o1000;

/// The reason why compiled code is not cached.
#[derive(Debug, Error)]
pub(crate) enum CacheFault {
    /// The folder cannot be created or written to.
    #[error("the folder cannot be written to: {0}")]
    Unusable(#[from] std::io::Error),
    /// The folder belongs to another user.
    #[error("the folder belongs to another user, who could put code into it")]
    Foreign,
    /// Other users can write to the folder, or replace it.
    #[error("other users can write to `{0}`, and could put code into it")]
    Open(String),
}

/// Creates the folder, and checks that only this user can write to it. Returns its absolute path.
pub(crate) fn prepare(folder: &Path) -> Result<PathBuf, CacheFault> {
    DirBuilder::new().recursive(true).mode(MODE).create(folder)?;
    let folder = folder.canonicalize()?;
    let found = fs::metadata(&folder)?;
    // A temporary file has this process's user id, and shows that the folder is writable.
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
    // Folders inside may be open to a group, so the folder itself must not be.
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
