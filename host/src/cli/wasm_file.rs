//! Reads a `.wasm` file, which may have any content and size.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use heddle_core::explain::Explained;

/// The maximum size of a file, in bytes. Components in Python have 18 to 40 MiB.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// The variable that overrides it, in bytes.
const VARIABLE: &str = "HEDDLE_WASM_BYTES_MAX";

/// The bytes of a file, unless it is too large. `unreadable` makes the message for a file that cannot be read.
pub(super) fn read(path: &Path, unreadable: impl FnOnce() -> Explained) -> Result<Vec<u8>> {
    let bound = match std::env::var(VARIABLE) {
        Ok(text) if !text.is_empty() => text.parse().with_context(|| {
            Explained::new(format!("`{text}` is not a number of bytes")).at(VARIABLE).hint("write it like 134217728")
        })?,
        _ => FILE_BYTES_MAX,
    };
    let read = |file: &File, length: u64| {
        // The limit holds whatever length the system reports: a device may have none, and no end. All memory is
        // reserved at once, because a growing buffer exists twice at times, and untouched memory costs nothing.
        let room = if length > 0 { length } else { bound };
        let mut bytes = vec![];
        bytes
            .try_reserve_exact(usize::try_from(room.saturating_add(1)).unwrap_or(usize::MAX))
            .map_err(std::io::Error::other)?;
        file.take(bound.saturating_add(1)).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    };
    // Opening a pipe would wait for somebody to write to it.
    let file = match fs::metadata(path) {
        Ok(found) if found.file_type().is_fifo() => Err(std::io::Error::other("a pipe, not a file")),
        _ => File::open(path),
    };
    let length = file.as_ref().ok().and_then(|file| Some(file.metadata().ok()?.len())).unwrap_or(0);
    let bytes = if length > bound { Ok(vec![]) } else { file.and_then(|file| read(&file, length)) };
    let bytes = bytes.with_context(unreadable)?;
    if length.max(bytes.len() as u64) > bound {
        bail!(
            Explained::new(format!("the file is too large for a component: more than {bound} bytes"))
                .at(path.display())
                .hint(format_args!("remove from the component what it does not need, or set {VARIABLE}"))
        );
    }
    Ok(bytes)
}
