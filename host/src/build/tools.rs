//! Tools that convert source code to components. They are fetched by package name, in pinned versions, and stored in
//! the cache.
//!
//! ```text
//!  <cache>/tools/<name>-<version>/      complete; the network is not needed
//!  <cache>/tools/.<name>-<version>-…/   an unfinished fetch; renamed when it is complete, removed by the next fetch
//!  <cache>/tools/<name>-<version>.lock  held by the build that fetches
//! ```

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use heddle_core::explain::Explained;

use super::BuildError;

/// A tool from a package registry, in the one version that this version of Heddle uses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tool {
    /// The package.
    pub(super) name: &'static str,
    /// Its version.
    pub(super) version: &'static str,
}

/// Creates components with QuickJS; from npm.
pub(super) const COMPONENTIZE_QJS: Tool = Tool { name: "componentize-qjs", version: "0.4.5" };
/// Bundles a component's files into one and removes TypeScript's types; from npm.
pub(super) const ESBUILD: Tool = Tool { name: "esbuild", version: "0.28.2" };
/// Creates components with CPython; from PyPI.
pub(super) const COMPONENTIZE_PY: Tool = Tool { name: "componentize-py", version: "0.25.1" };

impl Tool {
    /// Returns the tool's folder. If it does not exist, `fetch` fills it. Of several builds at a time, one fetches. A
    /// killed fetch leaves no folder that looks complete.
    pub(super) fn folder(
        self,
        cache: &Path,
        fetch: impl FnOnce(&Path) -> Result<(), BuildError>,
    ) -> Result<PathBuf, BuildError> {
        let tools = cache.join("tools");
        let name = format!("{}-{}", self.name, self.version);
        let folder = tools.join(&name);
        if folder.is_dir() {
            return Ok(folder);
        }
        fs::create_dir_all(&tools).map_err(BuildError::file(&tools))?;
        let lock = tools.join(format!("{name}.lock"));
        let held = File::create(&lock).map_err(BuildError::file(&lock))?;
        held.lock().map_err(BuildError::file(&lock))?;
        // Another build may have fetched it while this one waited.
        if folder.is_dir() {
            return Ok(folder);
        }
        let partial = tools.join(format!(".{name}-partial"));
        if partial.exists() {
            fs::remove_dir_all(&partial).map_err(BuildError::file(&partial))?;
        }
        fs::create_dir_all(&partial).map_err(BuildError::file(&partial))?;
        fetch(&partial)?;
        fs::rename(&partial, &folder).map_err(BuildError::file(&folder))?;
        Ok(folder)
    }

    /// Runs the package manager that fetches this tool. Its output is shown only if it fails.
    pub(super) fn fetched_by(self, command: &mut Command) -> Result<(), BuildError> {
        eprintln!("fetching {} {}", self.name, self.version);
        let program = command.get_program().to_string_lossy().into_owned();
        let out = command.stdin(Stdio::null()).output();
        let said = match out {
            Ok(out) if out.status.success() => return Ok(()),
            Ok(out) => last_words(&out.stderr),
            Err(cause) => cause.to_string(),
        };
        Err(BuildError::NoToolchain(
            Explained::new(format!("the tool {} {} cannot be fetched: {said}", self.name, self.version))
                .at(format_args!("`{program}`, as it is configured here"))
                .hint(format_args!(
                    "check the network and the package registry of `{program}`, and build again; a fetched tool is kept"
                )),
        ))
    }
}

/// The most informative line of a package manager's output: the longest line about an error, otherwise the last line.
fn last_words(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let mut lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    // npm always ends with the path of its log.
    let of_error = |line: &&str| line.to_ascii_lowercase().contains("error") && !line.contains("complete log");
    let most = lines.clone().filter(of_error).max_by_key(|line| line.len()).or_else(|| lines.next_back());
    most.unwrap_or("it says nothing").to_owned()
}

#[cfg(test)]
mod tests {
    use heddle_core::explain::to_text;

    use super::*;

    const TOOL: Tool = Tool { name: "shuttle", version: "1.0" };

    #[test]
    fn one_of_many_builds_fetches() {
        let cache = tempfile::tempdir().unwrap();
        let fetches = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let folder = TOOL.folder(cache.path(), |folder| {
                        fetches.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        fs::write(folder.join("whole"), "").map_err(BuildError::file(folder))
                    });
                    assert!(folder.unwrap().join("whole").exists());
                });
            }
        });
        assert_eq!(fetches.into_inner(), 1);
    }

    #[test]
    fn the_rest_of_a_killed_fetch_is_removed() {
        let cache = tempfile::tempdir().unwrap();
        let half = TOOL.folder(cache.path(), |folder| {
            fs::write(folder.join("half"), "").unwrap();
            Err(BuildError::Language(Explained::new("the network is gone")))
        });
        assert!(half.is_err() && !cache.path().join("tools/shuttle-1.0").exists());
        let whole =
            TOOL.folder(cache.path(), |folder| fs::write(folder.join("whole"), "").map_err(BuildError::file(folder)));
        let whole = whole.unwrap();
        assert!(whole.join("whole").exists() && !whole.join("half").exists());
    }

    #[test]
    fn the_failure_of_a_package_manager_is_reported_in_three_lines() {
        let npm = |script: &str| {
            let mut sh = Command::new("sh");
            sh.args(["-c", script]);
            to_text(&TOOL.fetched_by(&mut sh).unwrap_err())
        };
        insta::assert_snapshot!(npm(
            "echo 'npm error code ENOTFOUND' >&2; echo 'npm error request to https://example.com failed, reason: getaddrinfo' >&2; echo 'npm error A complete log of this run can be found in: /home/user/.npm/_logs/a-very-long-name-of-a-file.log' >&2; exit 1"
        ));
    }
}
