//! `heddle dlq`: dead letters as a work queue. The operations are in [`crate::dlq`].

mod edit;
mod print;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail};
use clap::{ArgGroup, Args, Subcommand};
use heddle_contract::manifest::{App, Manifest};
use heddle_core::event::Timestamp;
use heddle_core::explain::Explained;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Raw, app, counted, declared, open, wasm_file};
use crate::dlq::{Filter, Place, Queue, Selection, Shown, Went, grouped};
use crate::guest::{Component, Schemas};
use crate::log::Log;
use crate::times::point_in_time;

/// The number of letters between two progress lines, without a terminal.
const TOLD_EVERY: u64 = 1_000;

/// List, show, replay and discard dead letters.
#[derive(Debug, Args)]
pub(super) struct Dlq {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List open letters with place, time, kind and reason.
    List {
        /// The component.
        component: String,
        #[command(flatten)]
        filters: Filters,
        /// Include letters that were replayed or discarded.
        #[arg(long)]
        all: bool,
        /// Count the letters of each kind and reason instead.
        #[arg(long)]
        group: bool,
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        raw: Raw,
    },
    /// Print one letter: value, key, headers, and what the handler logged.
    Show {
        /// The component.
        component: String,
        /// The letter: <partition>/<offset>.
        place: Place,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        raw: Raw,
    },
    /// Send letters back to the topics that they came from.
    Replay {
        #[command(flatten)]
        which: Which,
        /// Print what would be sent, and send nothing.
        #[arg(long)]
        dry_run: bool,
        /// Open the value in $VISUAL or $EDITOR as JSON, and send what is saved. For one letter.
        #[arg(long, conflicts_with = "dry_run")]
        edit: bool,
        /// Send the JSON value in this file, such as one that `--edit` kept. For one letter.
        #[arg(long, value_name = "FILE", conflicts_with_all = ["dry_run", "edit"])]
        value: Option<PathBuf>,
    },
    /// Mark letters as done without sending them.
    Discard {
        #[command(flatten)]
        which: Which,
    },
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("some").required(true).multiple(true)
    .args(["places", "kind", "schema", "since", "until", "topic", "all_open"]))]
struct Which {
    /// The component.
    component: String,
    /// The letters, each <partition>/<offset>.
    places: Vec<Place>,
    #[command(flatten)]
    filters: Filters,
    /// Select all open letters.
    #[arg(long)]
    all_open: bool,
}

#[derive(Debug, Args)]
struct Filters {
    /// Only letters of this kind of fault: decode, rejected, trap, ...
    #[arg(long)]
    kind: Option<String>,
    /// Only letters whose value was written by the schema with this id.
    #[arg(long, value_name = "ID")]
    schema: Option<u32>,
    /// Only letters that failed at that time or later: a time, a day, or how long ago (2h).
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    since: Option<Timestamp>,
    /// Only letters that failed before that time.
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    until: Option<Timestamp>,
    /// Only letters that came from this topic.
    #[arg(long)]
    topic: Option<String>,
}

impl Filters {
    fn filter(&self, all: bool) -> Filter {
        let Self { kind, schema, since, until, topic } = self;
        Filter { kind: kind.clone(), schema: *schema, since: *since, until: *until, topic: topic.clone(), all }
    }
}

impl Which {
    fn selection(&self) -> Selection {
        Selection { places: self.places.iter().copied().collect(), filter: self.filters.filter(false) }
    }
}

impl Dlq {
    pub(super) fn run(&self, folder: &Path) -> Result<()> {
        let app = app::read(folder)?;
        let queue = |component: &str| -> Result<Queue> {
            let (name, topic) = find(folder, &app, component)?;
            let log: Arc<dyn Log> = open::log(folder, &app)?;
            Ok(Queue::open(log, &name, &topic)?)
        };
        let schemas =
            || -> Result<Arc<dyn Schemas>> { Ok(declared::schemas(folder, &app, open::registry(folder, &app, None)?)) };
        match &self.what {
            What::List { component, filters, all, group, json, raw } => {
                let entries = queue(component)?.list(&filters.filter(*all))?;
                if entries.is_empty() {
                    let open = if *all { "" } else { "open " };
                    eprintln!("`{component}` has no {open}dead letters like that");
                }
                if *group {
                    print::groups(&grouped(&entries), *json, *raw)
                } else {
                    print::entries(&entries, *json, *raw)
                }
            }
            What::Show { component, place, json, raw } => {
                let (letter, mark) = queue(component)?.letter(*place)?;
                print::shown(&Shown::new(&letter, mark.as_ref(), &*schemas()?), mark.as_ref(), *json, *raw)
            }
            What::Replay { which, dry_run: true, .. } => {
                let entries = queue(&which.component)?.meant(&which.selection())?;
                eprintln!("{} would be replayed", counted(entries.len() as u64, "dead letter"));
                print::entries(&entries, false, Raw::default())
            }
            What::Replay { which, edit, value, .. } if *edit || value.is_some() => {
                let (component, queue) = (&which.component, queue(&which.component)?);
                let place = edit::replay(&queue, &which.selection(), &*schemas()?, component, value.as_deref())?;
                eprintln!("{place} replayed with another value");
                Ok(())
            }
            What::Replay { which, .. } => {
                let queue = queue(&which.component)?;
                let progress = Progress::new("replayed");
                let done = queue.take()?.replay(&which.selection(), &mut |went| progress.went(went))?;
                progress.end(done);
                Ok(())
            }
            What::Discard { which } => {
                let queue = queue(&which.component)?;
                let progress = Progress::new("discarded");
                let done = queue.take()?.discard(&which.selection(), &mut |went| progress.went(went))?;
                progress.end(done);
                Ok(())
            }
        }
    }
}

/// The full name of a component of the app, and its dead-letter topic.
fn find(folder: &Path, app: &App, component: &str) -> Result<(String, String)> {
    let found = manifest(folder, app, component)?;
    Ok((found.full_name(&app.name), found.dead_letter(&app.name)))
}

/// The manifest of a component of the app, by its name or its full name.
pub(super) fn manifest(folder: &Path, app: &App, component: &str) -> Result<Manifest> {
    let mut manifests = app::sources(folder, app)?.into_iter().map(|source| source.manifest).collect::<Vec<_>>();
    for path in app::wasm_files(folder, app)? {
        let wasm = wasm_file::read(&path, || Explained::new("cannot read the file").at(path.display()))?;
        manifests.push(Component::contract(&path.display().to_string(), &wasm)?.1);
    }
    let is_it = |name: &str, full: &str| component == name || component == full;
    if let Some(found) = manifests.iter().position(|manifest| is_it(&manifest.name, &manifest.full_name(&app.name))) {
        return Ok(manifests.swap_remove(found));
    }
    let known = manifests.iter().map(|manifest| manifest.name.as_str()).collect::<Vec<_>>().join(", ");
    bail!(
        Explained::new(format!("the app has no component `{component}`"))
            .at(folder.join("heddle.toml").display())
            .hint(format_args!("name one of: {known}"))
    )
}

/// Shows progress: as a bar on a terminal, as lines elsewhere.
struct Progress {
    bar: ProgressBar,
    did: &'static str,
}

impl Progress {
    fn new(did: &'static str) -> Self {
        let style = ProgressStyle::with_template("{bar:30} {percent}%  {msg}  {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        Self { bar: ProgressBar::new(0).with_style(style), did }
    }

    fn went(&self, Went { done, passed, all }: Went) {
        self.bar.set_length(all);
        self.bar.set_position(passed);
        self.bar.set_message(format!("{} {}", counted(done, "dead letter"), self.did));
        if self.bar.is_hidden() && done % TOLD_EVERY == 0 {
            eprintln!("{} {} so far", counted(done, "dead letter"), self.did);
        }
    }

    fn end(&self, done: u64) {
        self.bar.finish_and_clear();
        eprintln!("{} {}", counted(done, "dead letter"), self.did);
    }
}
