//! Reads files of an app's folder. Somebody else may have written them, so any of them may be a pipe or have no end.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

/// The maximum size of a text file, in bytes.
const TEXT_BYTES_MAX: u64 = 16 << 20;

/// Reads a text file. A pipe is refused, because opening it may wait forever, and so is a file without an end.
///
/// # Errors
/// If the file cannot be read, is not a regular file, is too large, or is not UTF-8.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut text = String::new();
    File::open(path)?.take(TEXT_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > TEXT_BYTES_MAX {
        return Err(io::Error::other(format!("larger than {TEXT_BYTES_MAX} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_of_a_sane_size_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("text"), "[app]").unwrap();
        std::os::unix::fs::symlink(path("text"), path("link")).unwrap();
        assert_eq!(read_text(&path("link")).unwrap(), "[app]");
        std::os::unix::fs::symlink("/dev/zero", path("endless")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, path("pipe"), rustix::fs::Mode::RUSR).unwrap();
        File::create(path("large")).unwrap().set_len(TEXT_BYTES_MAX + 1).unwrap();
        fs::write(path("binary"), [0xff, 0xfe]).unwrap();
        for name in ["endless", "pipe", "large", "binary", "missing", "."] {
            assert!(read_text(&path(name)).is_err(), "{name}");
        }
    }
}
