//! Components of this repository, built as a user builds them: once a process, one build at a time.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use heddle::build::cache_folder;

/// The root of the checkout.
pub(crate) fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The files of the named components of `app`, a folder below the root.
///
/// Another test process may use the same folder. A lock file in the cache keeps their builds apart, and a component
/// whose sources did not change is not written again.
pub(crate) fn built(app: &str, names: &[&str]) -> Vec<Vec<u8>> {
    static BUILT: Mutex<BTreeSet<(String, String)>> = Mutex::new(BTreeSet::new());
    let mut built = BUILT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = repository().join(app);
    let key = |name: &&str| (app.to_owned(), (*name).to_owned());
    let missing = names.iter().copied().filter(|name| !built.contains(&key(name))).collect::<Vec<_>>();
    if !missing.is_empty() {
        build(&folder, &missing);
        built.extend(missing.iter().map(key));
    }
    names.iter().map(|name| std::fs::read(folder.join(format!("components/{name}/{name}.wasm"))).unwrap()).collect()
}

fn build(folder: &Path, names: &[&str]) {
    let cache = cache_folder();
    std::fs::create_dir_all(&cache).unwrap();
    let lock = File::create(cache.join("test-components.lock")).unwrap();
    lock.lock().unwrap();
    let output =
        Command::new(env!("CARGO_BIN_EXE_heddle")).arg("build").args(names).arg("--app").arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// One component; see [`built`].
pub(crate) fn component(app: &str, name: &str) -> Vec<u8> {
    built(app, &[name]).swap_remove(0)
}
