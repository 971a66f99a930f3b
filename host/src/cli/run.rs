//! `heddle run` and `heddle dev`: run the app's components, the first as they were built, the second after building them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use heddle_contract::manifest::{App, Manifest};
use heddle_contract::section::Contract;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use sha2::{Digest as _, Sha256};

use super::build::build_one;
use super::status::address_file;
use super::{app, check, open, wasm_file};
use crate::admin::{self, ComponentStatus, Owner, Stores, Watched};
use crate::build::AppContracts;
use crate::guest::{Component, Schemas, WriterIds};
use crate::log::Log;
use crate::registry::check::subjects;
use crate::registry::{Cached, Registry, SchemaId};
use crate::runtime::{self, CommitPolicy, Progress, Running, Service};
use crate::state::HostState;

/// How often the live lines are drawn.
const REFRESH: Duration = Duration::from_millis(500);
/// With `--until-idle`, how long nothing must happen where nothing is left to do.
const IDLE: Duration = Duration::from_secs(1);
/// The same where something seems to be left: the ends of transactions take offsets, too, which no record has.
const IDLE_WITH_LAG: Duration = Duration::from_secs(8);

/// Options of `run` and `dev`.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// Stop when every component has handled all there is, and print the counts.
    #[arg(long)]
    until_idle: bool,

    /// Print the counts at the end as JSON, one object a component.
    #[arg(long)]
    json: bool,
}

impl Run {
    pub(super) fn run(&self, folder: &Path, build: bool) -> Result<()> {
        let app = app::read(folder)?;
        let files = component_files(folder, &app, build)?;
        let log = open::own_log(folder, &app)?;
        let registry = open::own_registry(folder, &app)?;
        open::create_topics(log.as_ref(), &app)?;
        let state = open::state(folder, &app)?;
        let services = Self::services(folder, &app, files, log.as_ref(), registry.as_ref(), &state)?;
        let stop = stop_signal()?;
        let schemas: Arc<dyn Schemas> = Arc::new(Cached::new(registry.clone()));
        let commit = CommitPolicy { interval: app.commit.interval, records_max: app.commit.records_max.into() };
        let described = services.iter().map(describe).collect::<Vec<_>>();
        // Before anything runs: a port that is taken costs nothing then.
        let listening = admin::listen(app.admin.listen)?;
        let address = listening.address();
        let me = Owner { host: open::host_name(folder, &app)?, admin: app.admin.advertised(address) };
        let hosts = Arc::new(admin::Hosts::new(log.clone(), &app.name, me)?);
        let started = Instant::now();
        let running =
            runtime::start(&runtime::Shared { log: log.clone(), schemas: schemas.clone(), commit }, services)?;
        let watched = running.progress.iter().zip(described).map(|((_, progress), describe)| describe(progress));
        let watched = watched.collect::<Vec<_>>();
        let address_file = address_file(folder, &app);
        let stores = Stores { state: state.clone(), hosts: hosts.clone(), schemas };
        let announcing = admin::announce(hosts, state, running.stopping()).map_err(anyhow::Error::from);
        let served = admin::serve(listening, log.clone(), registry.as_ref(), watched.clone(), Some(stores))
            .map_err(anyhow::Error::from);
        let told = announcing.and(served).and_then(|()| {
            std::fs::create_dir_all(folder.join(&app.data))?;
            std::fs::write(&address_file, address.to_string())
                .with_context(|| format!("cannot write {}", address_file.display()))
        });
        if let Err(error) = told {
            running.stop()?;
            return Err(error);
        }
        self.watch(&running, log.as_ref(), &watched, &stop);
        let progress = running.progress.clone();
        let ended = running.stop();
        // It may be gone already; the next host writes its own.
        let _ = std::fs::remove_file(&address_file);
        for (name, progress) in progress {
            let counts = progress.snapshot();
            if self.json {
                let line = serde_json::json!({"component": name, "in": counts.records, "out": counts.emitted, "failed": counts.dead_lettered, "duplicates": counts.duplicates, "commits": counts.commits});
                println!("{line}");
            } else {
                let (records, emitted, failed, commits) =
                    (counts.records, counts.emitted, counts.dead_lettered, counts.commits);
                let seconds = started.elapsed().as_secs_f64();
                let duplicates = match counts.duplicates {
                    0 => String::new(),
                    some => format!("{some} duplicates, "),
                };
                println!(
                    "{name}: {records} in, {emitted} out, {failed} failed, {duplicates}{commits} commits, {seconds:.1} s"
                );
            }
        }
        Ok(ended?)
    }

    /// Loads every component, and makes sure that what it needs is there: schemas registered, topics known.
    fn services(
        folder: &Path,
        app: &App,
        files: Vec<(String, Vec<u8>)>,
        log: &dyn Log,
        registry: &dyn Registry,
        state: &Arc<HostState>,
    ) -> Result<Vec<Service>> {
        let engine = open::engine()?;
        let host = open::host_name(folder, app)?;
        let mut contracts = vec![];
        for (file, wasm) in files {
            let (contract, manifest) = Component::contract(&file, &wasm)?;
            contracts.push((file, wasm, contract, manifest));
        }
        check::refuse(&app.name, contracts.iter().map(|(_, _, contract, manifest)| (contract, manifest)), registry)?;
        let ids = register(&app.name, &contracts, registry)?;
        let topics = log.topics()?.into_iter().map(|topic| (topic.name, topic.partitions)).collect::<BTreeMap<_, _>>();
        let mut services = vec![];
        for ((file, wasm, _, manifest), ids) in contracts.into_iter().zip(ids) {
            if let Some(trouble) = check::topic_troubles(&manifest, &topics).into_iter().next() {
                bail!(trouble);
            }
            let mut spec = runtime::task_spec(&app.name, &manifest);
            spec.digest = Some(digest(&wasm).into());
            let partitions = manifest.consumes.keys().filter_map(|topic| topics.get(topic)).copied().max().unwrap_or(1);
            open::own_topics(log, &spec, partitions, &topics)?;
            services.push(Service {
                spec: Arc::new(spec),
                state: state.clone(),
                partitions,
                component: Arc::new(Component::load(&engine, &file, &wasm, &ids)?),
                workers: app.workers.count,
                host: host.clone(),
            });
        }
        Ok(services)
    }

    fn watch(&self, running: &Running, log: &dyn Log, watched: &[Watched], stop: &AtomicBool) {
        let lines = MultiProgress::new();
        let style = ProgressStyle::with_template("{spinner} {prefix}  {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = |watched: &Watched| {
            lines.add(ProgressBar::new_spinner().with_style(style.clone()).with_prefix(watched.name.clone()))
        };
        let bars = watched.iter().map(bar).collect::<Vec<_>>();
        let nothing_left =
            || watched.iter().all(|component| admin::status_of(log, component).is_ok_and(|status| status.lag == 0));
        let idle = || running.idle_for(IDLE) && (running.idle_for(IDLE_WITH_LAG) || nothing_left());
        let done = || stop.load(Ordering::Relaxed) || running.ended() || (self.until_idle && idle());
        // Without a terminal nobody sees the lines, and the log need not be asked.
        let drawn = !lines.is_hidden();
        while !done() {
            for (component, bar) in watched.iter().zip(&bars).filter(|_| drawn) {
                match admin::status_of(log, component) {
                    Ok(status) => bar.set_message(live_line(&status)),
                    Err(error) => bar.set_message(error.to_string()),
                }
                bar.tick();
            }
            std::thread::sleep(REFRESH);
        }
        bars.iter().for_each(ProgressBar::finish_and_clear);
    }
}

/// What tells one build of a component from another.
fn digest(wasm: &[u8]) -> String {
    let digits = Sha256::digest(wasm).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("sha256:{digits}")
}

/// What the live line of a component says.
fn live_line(status: &ComponentStatus) -> String {
    let ComponentStatus { records, emitted, failed, duplicates, restoring, lag, commit_ms, .. } = status;
    if *restoring > 0 {
        return format!("reading its state: {restoring} records of changelogs left  lag {lag}");
    }
    let duplicates = if *duplicates > 0 { format!("duplicates {duplicates}  ") } else { String::new() };
    format!("in {records}  out {emitted}  failed {failed}  {duplicates}lag {lag}  commit {commit_ms:.1} ms")
}

/// A component as the admin API tells of it, once it has progress to tell of.
fn describe(service: &Service) -> impl Fn(&Arc<Progress>) -> Watched + use<> {
    let manifest = service.component.manifest();
    let name = service.spec.component.to_string();
    let dead_letter = service.spec.policy.dead_letter.to_string();
    let topics = manifest.consumes.keys().cloned().collect::<Vec<_>>();
    let stores = manifest.stores.keys().cloned().collect::<Vec<_>>();
    let partitions = service.partitions;
    move |progress| Watched {
        name: name.clone(),
        dead_letter: dead_letter.clone(),
        topics: topics.clone(),
        stores: stores.clone(),
        partitions,
        progress: progress.clone(),
    }
}

/// Registers what the components write by; the ids of each are by the names that its own contract has for the schemas. A subject that
/// is only read belongs to others: it gets a version only if it has none.
fn register(
    app: &str,
    contracts: &[(String, Vec<u8>, Contract, Manifest)],
    registry: &dyn Registry,
) -> Result<Vec<WriterIds>> {
    let mut ids = BTreeMap::new();
    for (_, _, contract, manifest) in contracts {
        ids.extend(contract.schemas.iter().map(|(name, s)| ((manifest.registered(app, name), &s.text), SchemaId(0))));
    }
    // In the order of the subjects, so that a fresh registry gives the same ids wherever the same app starts.
    let manifests = contracts.iter().map(|(_, _, _, manifest)| manifest);
    let (reads, writes): (Vec<_>, Vec<_>) = manifests.map(subjects).unzip();
    let any = |sets: &[BTreeSet<String>], subject: &String| sets.iter().any(|set| set.contains(subject));
    let mut skipped = BTreeSet::new();
    for ((subject, text), id) in &mut ids {
        if any(&reads, subject) && !any(&writes, subject) && registry.latest(subject)?.is_some() {
            skipped.insert(subject.clone());
        } else {
            *id = registry.register(subject, text)?;
        }
    }
    let own = |(_, _, contract, manifest): &(String, Vec<u8>, Contract, Manifest)| {
        let schemas =
            contract.schemas.iter().map(|(name, s)| (name.clone(), (manifest.registered(app, name), &s.text)));
        schemas.filter(|(_, place)| !skipped.contains(&place.0)).map(|(name, place)| (name, ids[&place])).collect()
    };
    Ok(contracts.iter().map(own).collect())
}

/// The components' files: built now, or as they are.
pub(super) fn component_files(folder: &Path, app: &App, build: bool) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = vec![];
    let contracts = if build { Some(AppContracts::read(&folder.join(&app.contracts))?) } else { None };
    for source in app::sources(folder, app)? {
        let path = source.wasm();
        let name = path.display().to_string();
        if let Some(contracts) = &contracts {
            files.extend(build_one(contracts, &source, false)?.map(|(_, wasm)| (name, wasm)));
        } else {
            let wasm = wasm_file::read(&path, || {
                format!(
                    "the component `{}` is not built\n  where: {name}\n  what to do: `heddle build`",
                    source.manifest.name
                )
            })?;
            files.push((name, wasm));
        }
    }
    for path in app::wasm_files(folder, app)? {
        let wasm = wasm_file::read(&path, || format!("cannot read {}", path.display()))?;
        files.push((path.display().to_string(), wasm));
    }
    if files.is_empty() {
        bail!(
            "the app has no components\n  where: [app] components = {:?} in {}\n  what to do: add a folder with a component.toml, or a .wasm file",
            app.components,
            folder.join("heddle.toml").display()
        );
    }
    Ok(files)
}

/// Set by SIGINT and SIGTERM. A second one ends the process at once: the log takes care of what was open.
fn stop_signal() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let set = stop.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let (Ok(mut terminate), Ok(mut interrupt)) =
                (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
            else {
                tracing::warn!("signals cannot be listened to: this process stops at once when it is told to");
                return;
            };
            loop {
                tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
                if set.swap(true, Ordering::Relaxed) {
                    std::process::exit(130);
                }
            }
        });
    })?;
    Ok(stop)
}
