//! `heddle run` and `heddle dev`: run the app's components, the first as they were built, the second after building them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use heddle_contract::manifest::App;
use heddle_contract::manifest::app::Register;
use heddle_core::batch::Counts;
use heddle_core::breaker::BreakerState;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::build::build_one;
use super::status::address_file;
use super::{app, open, wasm_file};
use crate::admin::{self, ComponentStatus, Deploys, Hosts, Owner, Stores, Watched};
use crate::build::AppContracts;
use crate::deploy::{self, DeployError, Deployer, File, FitError, Fitter, Topics};
use crate::guest::{Component, Schemas};
use crate::log::Log;
use crate::printable::line;
use crate::registry::{Cached, Registry};
use crate::runtime::{self, CommitPolicy, Progress, Running, Service, Slot, Snapshot, Stall};

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
        let registry = open::own_registry(folder, &app, Some(&log))?;
        if app.register == Register::Auto {
            registry.settle()?;
        }
        // All at once: a broker takes its time for each. Hosts that follow their sources take no part in deployments.
        let deployed = (!build).then(|| Topics::specs(&app.name));
        let own = [Hosts::spec(&app.name)].into_iter().chain(deployed.into_iter().flatten());
        open::create_topics(log.as_ref(), &app, own)?;
        let state = open::state(folder, &app)?;
        let schemas: Arc<dyn Schemas> = Arc::new(Cached::new(registry.clone()));
        let fitter = fitter(&app, log.clone(), registry.clone(), schemas.clone())?;
        let starting = if build { Starting::sources(&fitter, files)? } else { Starting::deployed(&fitter, files)? };
        let stop = stop_signal()?;
        let commit = CommitPolicy { interval: app.commit.interval, records_max: app.commit.records_max.into() };
        let host = open::host_name(folder, &app)?;
        let service = |(_, slot): &(String, Arc<Slot>)| Service {
            slot: slot.clone(),
            state: state.clone(),
            workers: app.workers.count,
            host: host.clone(),
        };
        let services = starting.slots.iter().map(service).collect::<Vec<_>>();
        // Before anything runs: a port that is taken costs nothing then.
        let listening = admin::listen(app.admin.listen)?;
        let address = listening.address();
        let me = Owner { host, admin: app.admin.advertised(address) };
        let hosts = Arc::new(Hosts::new(log.clone(), &app.name, me));
        let started = Instant::now();
        let running =
            runtime::start(&runtime::Shared { log: log.clone(), schemas: schemas.clone(), commit }, services)?;
        let watched = running.progress.iter().zip(&starting.slots);
        let watched = watched.map(|((name, progress), (_, slot))| Watched {
            name: name.clone(),
            slot: slot.clone(),
            progress: progress.clone(),
        });
        let watched = watched.collect::<Vec<_>>();
        let stores = Stores { state: state.clone(), log: log.clone(), hosts: hosts.clone(), schemas };
        let address_file = address_file(folder, &app);
        let told = || -> Result<Option<JoinHandle<()>>> {
            admin::announce(hosts.clone(), state.clone(), running.stopping())?;
            let (deployer, following) = starting.follow(fitter, &watched, hosts, &app, folder, running.stopping())?;
            let deploys = Deploys { deployer, token: app.admin.token.clone(), app: app.name.clone() };
            admin::serve(listening, log.clone(), registry.as_ref(), watched.clone(), Some(stores), Some(deploys))?;
            std::fs::create_dir_all(folder.join(&app.data))?;
            std::fs::write(&address_file, address.to_string())
                .with_context(|| format!("cannot write {}", address_file.display()))?;
            Ok(following)
        };
        let following = match told() {
            Ok(following) => following,
            Err(error) => {
                running.stop()?;
                return Err(error);
            }
        };
        self.watch(&running, log.as_ref(), &watched, &stop);
        let progress = running.progress.clone();
        let stuck = progress.iter().flat_map(|(_, progress)| progress.stalls()).next();
        let ended = running.stop();
        if let Err(error) = state.flush() {
            tracing::warn!("state stays in the changelogs alone: {error}");
        }
        // It has nothing to say; a panic in it was printed.
        let _ = following.map(JoinHandle::join);
        // It may be gone already; the next host writes its own.
        let _ = std::fs::remove_file(&address_file);
        self.sum_up(&progress, started);
        ended?;
        match stuck.filter(|_| self.until_idle) {
            Some(Stall { source, offset, why, .. }) => bail!(
                "records are left: a task stands still\n  where: {source}@{offset}\n  what to do: {why}: change what the topic takes, create it, or grant the right to write to it, and run again"
            ),
            None => Ok(()),
        }
    }

    /// Prints what each component did.
    fn sum_up(&self, progress: &[(String, Arc<Progress>)], started: Instant) {
        for (name, progress) in progress {
            let Snapshot { counts, commits, waiting, .. } = progress.snapshot();
            if self.json {
                let line = serde_json::json!({"component": name, "in": counts.records, "out": counts.emitted, "failed": counts.dead_lettered, "duplicates": counts.duplicates, "handled": counts.handled, "retried": counts.retried, "again": counts.again, "waiting": waiting, "commits": commits});
                println!("{line}");
            } else {
                let Counts { records, emitted, dead_lettered: failed, duplicates, retried, .. } = counts;
                let seconds = started.elapsed().as_secs_f64();
                let some = |count: u64, what: &str| if count > 0 { format!("{count} {what}, ") } else { String::new() };
                let rest =
                    [some(duplicates, "duplicates"), some(retried, "retried"), some(waiting, "waiting")].concat();
                println!(
                    "{name}: {records} in, {emitted} out, {failed} failed, {rest}{commits} commits, {seconds:.1} s"
                );
            }
        }
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
                    Err(error) => bar.set_message(line(&error.to_string()).into_owned()),
                }
                bar.tick();
            }
            std::thread::sleep(REFRESH);
        }
        bars.iter().for_each(ProgressBar::finish_and_clear);
    }
}

/// What the live line of a component says.
fn live_line(status: &ComponentStatus) -> String {
    let ComponentStatus { records, emitted, failed, duplicates, waiting, breaker, restoring, lag, commit_ms, .. } =
        status;
    if *restoring > 0 {
        return format!("reading its state: {restoring} records of changelogs left  lag {lag}");
    }
    let duplicates = if *duplicates > 0 { format!("duplicates {duplicates}  ") } else { String::new() };
    let waiting = if *waiting > 0 { format!("waiting {waiting}  ") } else { String::new() };
    let breaker = if breaker == BreakerState::Closed.name() { String::new() } else { format!("  breaker {breaker}") };
    format!(
        "in {records}  out {emitted}  failed {failed}  {duplicates}{waiting}lag {lag}  commit {commit_ms:.1} ms{breaker}"
    )
}

/// What files have to fit to run in this app.
pub(super) fn fitter(
    app: &App,
    log: Arc<dyn Log>,
    registry: Arc<dyn Registry>,
    schemas: Arc<dyn Schemas>,
) -> Result<Fitter> {
    Ok(Fitter {
        app: app.name.clone(),
        engine: open::engine()?,
        log,
        kafka: matches!(app.log, heddle_contract::manifest::app::Log::Kafka(_)),
        registry,
        schemas,
        register: app.register,
        workers: app.workers.count,
    })
}

/// What deploys, if deployments are followed, and what has to come to its end.
type Following = (Option<Arc<Deployer>>, Option<JoinHandle<()>>);

/// What the app starts with.
struct Starting {
    slots: Vec<(String, Arc<Slot>)>,
    /// This host's own files, by component.
    files: Vec<(String, File)>,
    /// Absent for one that follows its sources.
    deployments: Option<(Topics, deploy::Start)>,
}

impl Starting {
    /// The sources as they are. Deployments are for hosts that run for others.
    fn sources(fitter: &Fitter, files: Vec<(String, Vec<u8>)>) -> Result<Self> {
        let files = named(files)?;
        if let Some(topics) = Topics::there(fitter.log.clone(), &fitter.app)? {
            for (component, (_, deployment)) in topics.newest()?.0 {
                if let Some(deployment) = deployment {
                    let digest = deploy::short(&deployment.release.digest);
                    eprintln!("{component}: {digest} is deployed, which `heddle dev` passes over: it runs the sources");
                }
            }
        }
        let slots = slots(fitter, files.iter().map(|(_, file)| file.clone()).collect())?;
        Ok(Self { slots, files, deployments: None })
    }

    /// What is deployed, and the files of this host where nothing is.
    fn deployed(fitter: &Fitter, files: Vec<(String, Vec<u8>)>) -> Result<Self> {
        let files = named(files)?;
        let topics = Topics::of(fitter.log.clone(), &fitter.app);
        let start = deploy::Start::read(&topics).map_err(deploy_failed)?;
        let mut run = vec![];
        for (component, own) in &files {
            let deployed = start.file(&topics, component, own).map_err(deploy_failed)?;
            run.push(deployed.map_or_else(
                || own.clone(),
                |(file, told)| {
                    eprintln!("{}", line(&told));
                    file
                },
            ));
        }
        Ok(Self { slots: slots(fitter, run)?, files, deployments: Some((topics, start)) })
    }

    /// Goes by what is saved or deployed from now on.
    fn follow(
        self,
        fitter: Fitter,
        watched: &[Watched],
        hosts: Arc<Hosts>,
        app: &App,
        folder: &Path,
        stop: Arc<AtomicBool>,
    ) -> Result<Following> {
        let Some((topics, start)) = self.deployments else {
            super::dev::follow(folder, app, fitter, self.slots, stop)?;
            return Ok((None, None));
        };
        let components = self.files.into_iter().zip(self.slots).zip(watched);
        let components = components.map(|(((name, file), (_, slot)), watched)| {
            (name, deploy::Component { slot, progress: watched.progress.clone(), file })
        });
        let deployer = Arc::new(Deployer::new(fitter, topics, hosts, components.collect(), app.deploy));
        let following = deploy::follow(deployer.clone(), &start, stop)?;
        Ok((Some(deployer), Some(following)))
    }
}

/// The files by the components that they are of.
pub(super) fn named(files: Vec<(String, Vec<u8>)>) -> Result<Vec<(String, File)>> {
    let named = |(name, wasm): (String, Vec<u8>)| {
        let (_, manifest) = Component::contract(&name, &wasm)?;
        Ok((manifest.name, File { name, wasm: wasm.into() }))
    };
    files.into_iter().map(named).collect()
}

pub(super) fn slots(fitter: &Fitter, files: Vec<File>) -> Result<Vec<(String, Arc<Slot>)>> {
    let versions = fitter.first(files).map_err(fit_failed)?;
    Ok(versions.into_iter().map(|(name, version)| (name, Arc::new(Slot::new(version)))).collect())
}

/// The cause as it is, so that it is told with its remedy.
pub(super) fn fit_failed(error: FitError) -> anyhow::Error {
    match error {
        FitError::Log(error) => error.into(),
        FitError::Registry(error) => error.into(),
        FitError::Topic { topic, cause } => {
            anyhow::Error::from(cause).context(format!("the topic `{topic}` cannot be created"))
        }
        other => other.into(),
    }
}

/// The same.
pub(super) fn deploy_failed(error: DeployError) -> anyhow::Error {
    match error {
        DeployError::Fit(error) => fit_failed(error),
        DeployError::Log(error) => error.into(),
        other => other.into(),
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
pub(super) fn stop_signal() -> Result<Arc<AtomicBool>> {
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
