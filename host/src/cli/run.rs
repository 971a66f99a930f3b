//! `heddle run` and `heddle dev`: run the app's components, the first as they were built, the second after building them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use heddle_contract::manifest::App;
use heddle_core::policy::FailurePolicy;
use heddle_core::task::TaskSpec;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::build::build_one;
use super::status::address_file;
use super::{app, check, open};
use crate::admin::{self, ComponentStatus, Watched};
use crate::build::AppContracts;
use crate::guest::{Component, Schemas, WriterIds};
use crate::log::{Log, TopicSpec};
use crate::registry::{Cached, Registry};
use crate::runtime::{self, CommitPolicy, Running, Service};

/// How often the live lines are drawn.
const REFRESH: Duration = Duration::from_millis(500);
/// With `--until-idle`, how long nothing must happen.
const IDLE: Duration = Duration::from_secs(1);
/// A dead-letter record is its original with headers on top: its topic takes larger records than others.
const DEAD_LETTER_BYTES_MAX: u32 = 16 << 20;

/// Options of `run` and `dev`.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// Stop when every component has handled all there is, and print the counts.
    #[arg(long)]
    until_idle: bool,

    /// Print the counts at the end as JSON, one object a component.
    #[arg(long)]
    json: bool,

    /// Tells this process from others that run the same app; must stay the same over restarts.
    #[arg(long, env = "HEDDLE_TEST_HOST", default_value = "0", hide_env = true)]
    host: String,
}

impl Run {
    pub(super) fn run(&self, folder: &Path, build: bool) -> Result<()> {
        let app = app::read(folder)?;
        let files = component_files(folder, &app, build)?;
        let log = open::own_log(folder, &app)?;
        let registry = open::own_registry(folder, &app)?;
        open::create_topics(log.as_ref(), &app)?;
        let services = self.services(&app, files, log.as_ref(), registry.as_ref())?;
        let stop = stop_signal()?;
        let schemas: Arc<dyn Schemas> = Arc::new(Cached::new(registry.clone()));
        let commit = CommitPolicy { interval: app.commit.interval, records_max: app.commit.records_max.into() };
        let consumed =
            services.iter().map(|s| s.component.manifest().consumes.keys().cloned().collect()).collect::<Vec<_>>();
        let started = Instant::now();
        let running = runtime::start(&log, &schemas, services, commit)?;
        let watched = running.progress.iter().zip(consumed).map(|((name, progress), topics)| Watched {
            name: name.clone(),
            topics,
            progress: progress.clone(),
        });
        let watched = watched.collect::<Vec<_>>();
        let address_file = address_file(folder, &app);
        let served =
            admin::serve(app.admin.listen, log.clone(), registry, watched.clone()).map_err(anyhow::Error::from);
        let told = served.and_then(|address| {
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
                let line = serde_json::json!({"component": name, "in": counts.records, "out": counts.emitted, "failed": counts.dead_lettered, "commits": counts.commits});
                println!("{line}");
            } else {
                let (records, emitted, failed, commits) =
                    (counts.records, counts.emitted, counts.dead_lettered, counts.commits);
                let seconds = started.elapsed().as_secs_f64();
                println!("{name}: {records} in, {emitted} out, {failed} failed, {commits} commits, {seconds:.1} s");
            }
        }
        Ok(ended?)
    }

    /// Loads every component, and makes sure that what it needs is there: schemas registered, topics known.
    fn services(
        &self,
        app: &App,
        files: Vec<(String, Vec<u8>)>,
        log: &dyn Log,
        registry: &dyn Registry,
    ) -> Result<Vec<Service>> {
        let engine = open::engine()?;
        let mut contracts = vec![];
        for (file, wasm) in files {
            let (contract, manifest) = Component::contract(&file, &wasm)?;
            contracts.push((file, wasm, contract, manifest));
        }
        check::refuse(contracts.iter().map(|(_, _, contract, manifest)| (contract, manifest)), registry)?;
        // In the order of the subjects, so that a fresh registry gives the same ids wherever the same app starts.
        let subjects =
            contracts.iter().flat_map(|(_, _, contract, _)| contract.schemas.iter()).collect::<BTreeMap<_, _>>();
        let mut ids = WriterIds::new();
        for (subject, schema) in subjects {
            ids.insert(subject.clone(), registry.register(subject, &schema.text)?);
        }
        let topics = log.topics()?.into_iter().map(|topic| (topic.name, topic.partitions)).collect::<BTreeMap<_, _>>();
        let mut services = vec![];
        for (file, wasm, _, manifest) in contracts {
            let missing =
                manifest.consumes.keys().chain(manifest.emits.keys()).find(|topic| !topics.contains_key(*topic));
            if let Some(topic) = missing {
                bail!(
                    "the topic `{topic}` of the component `{}` does not exist\n  where: {file}\n  what to do: add [topics.\"{topic}\"] with its partitions to heddle.toml, or create it",
                    manifest.name
                );
            }
            let dead_letter = manifest.dead_letter(&app.name);
            if !topics.contains_key(&dead_letter) {
                let partitions =
                    manifest.consumes.keys().filter_map(|topic| topics.get(topic)).copied().max().unwrap_or(1);
                let options = BTreeMap::from([("max.message.bytes".to_owned(), DEAD_LETTER_BYTES_MAX.to_string())]);
                open::create(log, &TopicSpec { name: dead_letter.clone(), partitions, replication: None, options })?;
            }
            let policy = FailurePolicy { attempts_max: manifest.failure.attempts_max, dead_letter: dead_letter.into() };
            services.push(Service {
                task: Arc::new(TaskSpec::stateless(manifest.full_name(&app.name).into(), policy)),
                component: Arc::new(Component::load(&engine, &file, &wasm, &ids)?),
                workers: app.workers.count,
                host: self.host.clone(),
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
        let done = || stop.load(Ordering::Relaxed) || running.ended() || (self.until_idle && running.idle_for(IDLE));
        // Without a terminal nobody sees the lines, and the log need not be asked.
        let drawn = !lines.is_hidden();
        while !done() {
            for (component, bar) in watched.iter().zip(&bars).filter(|_| drawn) {
                match admin::status_of(log, component) {
                    Ok(ComponentStatus { records, emitted, failed, lag, commit_ms, .. }) => {
                        bar.set_message(format!(
                            "in {records}  out {emitted}  failed {failed}  lag {lag}  commit {commit_ms:.1} ms"
                        ));
                    }
                    Err(error) => bar.set_message(error.to_string()),
                }
                bar.tick();
            }
            std::thread::sleep(REFRESH);
        }
        bars.iter().for_each(ProgressBar::finish_and_clear);
    }
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
            let wasm = std::fs::read(&path).with_context(|| {
                format!(
                    "the component `{}` is not built\n  where: {name}\n  what to do: `heddle build`",
                    source.manifest.name
                )
            })?;
            files.push((name, wasm));
        }
    }
    for path in app::wasm_files(folder, app)? {
        let wasm = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
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
