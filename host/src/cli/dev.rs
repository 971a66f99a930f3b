//! The file watcher of `heddle dev`: builds, checks and swaps in whatever is saved.
//!
//! ```text
//!  saved ──> which components read it? ──> build ──> fits? ──> swap, between two transactions
//!                                            └── no ──┴──> report; the running version continues
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use heddle_contract::manifest::App;
use notify_debouncer_mini::notify::{RecommendedWatcher, RecursiveMode};
use notify_debouncer_mini::{DebounceEventResult, Debouncer, new_debouncer};

use super::app::{self, Source};
use super::build::build_one;
use super::report;
use crate::build::{AppContracts, NAMES, digest};
use crate::deploy::{File, Fitter, settle, short};
use crate::runtime::Slot;
use crate::shutdown::Shutdown;

/// The quiet time before a build begins, because editors write a file in several steps.
const QUIET: Duration = Duration::from_millis(40);
/// The time for which an empty file counts as not yet written.
const EMPTY_MAX: Duration = Duration::from_secs(2);
/// The longest delay before a stop is noticed.
const WAIT: Duration = Duration::from_millis(200);
/// Folders whose content is generated.
const MADE: [&str; 6] = ["target", "wit", "node_modules", "__pycache__", "dist", "build"];

type Watcher = Debouncer<RecommendedWatcher>;

/// Follows the app's sources until the host stops.
pub(super) fn follow(
    folder: &Path,
    app: &App,
    fitter: Fitter,
    slots: Vec<(String, Arc<Slot>)>,
    shutdown: Shutdown,
) -> Result<JoinHandle<()>> {
    let (tell, heard) = mpsc::channel();
    let mut watcher = new_debouncer(QUIET, move |events: DebounceEventResult| {
        // The receiver is gone when the host is ending.
        let _ = tell.send(events);
    })
    .context("files cannot be watched")?;
    let mut dev = Dev {
        folder: folder.to_owned(),
        app: app.clone(),
        fitter,
        slots: slots.into_iter().collect(),
        known: Looked::default(),
        settings: None,
    };
    dev.watch(&mut watcher)?;
    dev.known = dev.look()?;
    dev.settings = std::fs::read(folder.join("heddle.toml")).ok();
    Ok(std::thread::Builder::new().name("sources".to_owned()).spawn(move || dev.run(watcher, &heard, &shutdown))?)
}

struct Dev {
    folder: PathBuf,
    app: App,
    fitter: Fitter,
    slots: BTreeMap<String, Arc<Slot>>,
    /// The inputs of each component's last build.
    known: Looked,
    /// The content of heddle.toml at that time.
    settings: Option<Vec<u8>>,
}

/// The content of the files from which components are built.
#[derive(Default)]
struct Looked {
    /// A fingerprint by the component's name, or by the path of a `.wasm` file.
    fingerprints: BTreeMap<String, u64>,
    /// The empty files.
    empty: BTreeSet<PathBuf>,
}

impl Dev {
    fn run(mut self, mut watcher: Watcher, heard: &Receiver<DebounceEventResult>, shutdown: &Shutdown) {
        while !shutdown.is_requested() {
            match heard.recv_timeout(WAIT) {
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
                // One look covers all events up to now.
                Ok(_) => heard.try_iter().for_each(drop),
            }
            // A folder may be new. Removed ones cannot be watched and need not be.
            let saved = self.watch(&mut watcher).and_then(|()| self.saved());
            if let Err(error) = saved {
                report::complain(&error);
            }
        }
    }

    /// Watches every folder with sources. Generated folders are left out, because they may be huge.
    fn watch(&self, watcher: &mut Watcher) -> Result<()> {
        let mut folders = vec![self.folder.clone()];
        folders.extend(folders_below(&self.folder.join(&self.app.contracts)));
        for path in app::named(&self.folder, &self.app)? {
            if path.is_dir() {
                folders.extend(folders_below(&path));
            } else {
                folders.extend(path.parent().map(Path::to_owned));
            }
        }
        for folder in folders.iter().filter(|folder| folder.is_dir()) {
            watcher
                .watcher()
                .watch(folder, RecursiveMode::NonRecursive)
                .with_context(|| format!("{} cannot be watched", folder.display()))?;
        }
        Ok(())
    }

    /// The files of each component. An editor empties a file before it writes it, and may pause in between, so this
    /// waits for empty files to be written.
    fn look_when_written(&self) -> Result<Looked> {
        let deadline = Instant::now() + EMPTY_MAX;
        loop {
            let now = self.look()?;
            if now.empty.is_subset(&self.known.empty) || Instant::now() >= deadline {
                return Ok(now);
            }
            std::thread::sleep(QUIET);
        }
    }

    /// The files of each component.
    fn look(&self) -> Result<Looked> {
        let mut looked = Looked::default();
        let contracts = files_below(&self.folder.join(&self.app.contracts));
        for source in app::sources(&self.folder, &self.app)? {
            // The build writes the names of types. They change only after another file has changed.
            let own = files_below(&source.folder).into_iter().filter(|path| !path.ends_with(NAMES));
            looked.add(source.manifest.name, own.chain(contracts.iter().cloned()));
        }
        for path in app::wasm_files(&self.folder, &self.app)? {
            looked.add(path.display().to_string(), [path]);
        }
        Ok(looked)
    }

    fn saved(&mut self) -> Result<()> {
        let settings = std::fs::read(self.folder.join("heddle.toml")).ok();
        if self.settings != settings {
            self.settings = settings;
            eprintln!("heddle.toml changed; restart `heddle dev`");
        }
        let now = self.look_when_written()?;
        let changed = |name: &String| self.known.fingerprints.get(name) != now.fingerprints.get(name);
        let sources = app::sources(&self.folder, &self.app)?;
        let sources = sources.into_iter().filter(|source| changed(&source.manifest.name)).collect::<Vec<_>>();
        let files = app::wasm_files(&self.folder, &self.app)?.into_iter();
        let files = files.filter(|path| changed(&path.display().to_string())).collect::<Vec<_>>();
        // Set before the builds, so that a file saved meanwhile counts as another change.
        self.known = now;
        for source in &sources {
            if let Err(error) = self.rebuild(source) {
                self.refused(&source.manifest.name, &error);
            }
        }
        for path in &files {
            let file = std::fs::read(path).map_err(anyhow::Error::from);
            let file = file.map(|wasm| File { name: path.display().to_string(), wasm: wasm.into() });
            if let Err(error) = file.and_then(|file| self.swap(None, file, Duration::ZERO)) {
                self.refused(&path.display().to_string(), &error);
            }
        }
        Ok(())
    }

    fn refused(&self, name: &str, error: &anyhow::Error) {
        let runs = self.slots.get(name).map(|slot| format!("; {} continues", short(&slot.current().digest)));
        report::complain(error);
        eprintln!("{name}: not changed{}", runs.unwrap_or_default());
    }

    fn rebuild(&self, source: &Source) -> Result<()> {
        let began = Instant::now();
        let contracts = AppContracts::read(&self.folder.join(&self.app.contracts))?;
        let Some((path, wasm)) = build_one(&contracts, source, false)? else { return Ok(()) };
        let file = File { name: path.display().to_string(), wasm: wasm.into() };
        self.swap(Some(&source.manifest.name), file, began.elapsed())
    }

    /// Checks a file and swaps it in.
    fn swap(&self, name: Option<&str>, file: File, built: Duration) -> Result<()> {
        let began = Instant::now();
        let name = match name {
            Some(name) => name.to_owned(),
            None => crate::guest::Component::contract(&file.name, &file.wasm)?.1.name,
        };
        let Some(slot) = self.slots.get(&name) else {
            eprintln!("{name}: new component; restart `heddle dev`");
            return Ok(());
        };
        let built = built.as_secs_f64();
        let current = slot.current();
        if *current.digest == *format!("sha256:{}", digest(&file.wasm)) {
            eprintln!("{name}: built in {built:.1} s, same as the running version");
            return Ok(());
        }
        let fitted = self.fitter.next(file, &current)?;
        fitted.warnings.iter().for_each(|warning| eprintln!("{name}: {warning}"));
        let digest = fitted.version.digest.clone();
        slot.swap(fitted.version);
        settle(slot);
        let took = began.elapsed().as_secs_f64();
        eprintln!("{name}: built in {built:.1} s, checked, running {} ({took:.2} s)", short(&digest));
        Ok(())
    }
}

/// Returns true if a person writes the file or folder. Built components lie beside their sources and do not count.
fn is_written(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let is_made = path.is_dir() && MADE.contains(&name.as_str());
    let is_made = is_made || name == crate::build::NAMES;
    !is_made && !name.starts_with('.') && !name.ends_with('~') && path.extension().is_none_or(|end| end != "wasm")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths = entries.map(|entry| entry.path()).filter(|path| is_written(path)).collect::<Vec<_>>();
    paths.sort();
    paths
}

/// The folder and its subfolders in which people write.
fn folders_below(folder: &Path) -> Vec<PathBuf> {
    let below = entries(folder).into_iter().filter(|path| path.is_dir());
    std::iter::once(folder.to_owned()).chain(below.flat_map(|folder| folders_below(&folder))).collect()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    folders_below(folder).iter().flat_map(|folder| entries(folder)).filter(|path| path.is_file()).collect()
}

impl Looked {
    /// Adds a component with the files from which it is built.
    fn add(&mut self, name: String, files: impl IntoIterator<Item = PathBuf>) {
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        for path in files {
            let content = std::fs::read(&path).ok();
            path.hash(&mut hasher);
            content.hash(&mut hasher);
            if content.is_some_and(|content| content.is_empty()) {
                self.empty.insert(path);
            }
        }
        self.fingerprints.insert(name, hasher.finish());
    }
}
