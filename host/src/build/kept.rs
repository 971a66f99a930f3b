//! Keeps the result of the last build of a component in its `target/heddle`, so that unchanged inputs are not built
//! again.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::{BuildError, digest, read};

/// The digest of everything that determines a build's result: names, bytes, versions.
#[derive(Default)]
pub(super) struct Inputs(Sha256);

impl Inputs {
    /// Adds one input. Its length is hashed, too, so that the boundaries between inputs count.
    pub(super) fn add(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.0.update(bytes.len().to_le_bytes());
        self.0.update(bytes);
    }

    /// Adds all files below `folder`, in the order of their paths, except those that `skip` accepts.
    pub(super) fn add_folder(&mut self, folder: &Path, skip: &dyn Fn(&Path) -> bool) -> Result<(), BuildError> {
        for path in files(folder, skip)? {
            self.add(path.strip_prefix(folder).unwrap_or(&path).as_os_str().as_encoded_bytes());
            self.add(read(&path)?);
        }
        Ok(())
    }

    fn digest(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The files below `folder`, sorted by path, except those that `skip` accepts.
pub(super) fn files(folder: &Path, skip: &dyn Fn(&Path) -> bool) -> Result<Vec<PathBuf>, BuildError> {
    let mut found = vec![];
    for entry in fs::read_dir(folder).map_err(BuildError::file(folder))? {
        let path = entry.map_err(BuildError::file(folder))?.path();
        if skip(&path) {
        } else if path.is_dir() {
            found.extend(files(&path, skip)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Returns the result of the last build in `folder` if it had the same `inputs`; otherwise calls `make`.
pub(super) fn or_made(
    folder: &Path,
    inputs: Inputs,
    make: impl FnOnce() -> Result<Vec<u8>, BuildError>,
) -> Result<Vec<u8>, BuildError> {
    let own = folder.join("target").join("heddle");
    let (file, note) = (own.join("component.wasm"), own.join("component.inputs"));
    let inputs = inputs.digest();
    let noted = |wasm: &[u8]| format!("{inputs} {}\n", digest(wasm));
    if let (Ok(wasm), Ok(text)) = (fs::read(&file), fs::read_to_string(&note))
        && text == noted(&wasm)
    {
        return Ok(wasm);
    }
    let wasm = make()?;
    fs::create_dir_all(&own).map_err(BuildError::file(&own))?;
    // The note has both digests, so a build that is killed between the two writes does not count as complete.
    fs::write(&file, &wasm).map_err(BuildError::file(&file))?;
    fs::write(&note, noted(&wasm)).map_err(BuildError::file(&note))?;
    Ok(wasm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_other_inputs_are_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let build = |inputs: &[&str], result: &str| {
            let mut all = Inputs::default();
            inputs.iter().for_each(|input| all.add(input));
            or_made(folder.path(), all, || Ok(result.as_bytes().to_vec())).unwrap()
        };
        assert_eq!(build(&["ab", "c"], "first"), b"first");
        assert_eq!(build(&["ab", "c"], "second"), b"first");
        assert_eq!(build(&["a", "bc"], "third"), b"third");
        // A file that does not match the note is not a result.
        fs::write(folder.path().join("target/heddle/component.wasm"), "thi").unwrap();
        assert_eq!(build(&["a", "bc"], "fourth"), b"fourth");
    }
}
