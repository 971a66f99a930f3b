//! `heddle run` and `heddle dev`: run the app's components. `run` uses existing files, `dev` builds them first.

use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use heddle_contract::manifest::App;
use heddle_contract::manifest::app::Register;
use heddle_core::batch::Counts;
use heddle_core::breaker::BreakerState;
use heddle_core::event::{Offset, TopicPartition};
use heddle_core::explain::Explained;
use indicatif::{ProgressBar, ProgressStyle};

use super::build::build_one;
use super::status::{lag, leave_address, reach, remove_address};
use super::stop::stop_signal;
use super::{app, counted, open, patience, report, starting, wasm_file};
use crate::admin::{self, Access, ComponentStatus, Monitor, PartitionLag, Watched};
use crate::build::AppContracts;
use crate::cluster::{Hosts, Owner};
use crate::deploy::{self, File, Fitter, Topics};
use crate::descriptors;
use crate::guest::{Component, Schemas};
use crate::host::{Config, Deployments, Host, Parts, Public, RunningHost};
use crate::log::Log;
use crate::printable::line;
use crate::registry::{Cached, Observed, Registry};
use crate::runtime::{Cause, CommitPolicy, KnownTopics, Slot, Snapshot};
use crate::shutdown::Shutdown;
use crate::tables::Tables;
use crate::tls::Identity;

/// The interval between updates of the live lines.
const REFRESH: Duration = Duration::from_millis(500);
/// With `--until-idle`, the idle time before the command ends, if no records are left.
const IDLE: Duration = Duration::from_secs(1);
/// The same idle time, if records are left.
const IDLE_WITH_REST: Duration = Duration::from_secs(8);
/// The longest wait for fresh lag figures.
const FRESH_WAIT: Duration = Duration::from_secs(2);

/// Options of `run` and `dev`.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// Stop when every component has handled all records, and print the counts. Fails if records are left.
    #[arg(long)]
    until_idle: bool,

    /// Print the counts at the end as JSON, one object per component.
    #[arg(long)]
    json: bool,
}

impl Run {
    pub(super) fn run(&self, folder: &Path, build: bool) -> Result<()> {
        let app = app::read(folder)?;
        descriptors::raise_limit();
        // The address is bound before anything is opened, so that a forbidden or taken port fails early.
        let listening = admin::listen(app.admin.listen, access(folder, &app)?)?.with_metrics(app.telemetry.metrics);
        let begun = starting::begin(folder, &app, listening.address())?;
        let files = component_files(folder, &app, build)?;
        let log = open::own_log(folder, &app)?;
        let (telemetry, exporter) = open::telemetry(folder, &app)?;
        let waiting = (!self.until_idle).then_some(&listening);
        let registry = patience::for_registry(waiting, || settled_registry(folder, &app, &log, &files))?;
        let registry: Arc<dyn Registry> = Arc::new(Observed::new(registry, telemetry.clone()));
        create_own_topics(log.as_ref(), &app, build)?;
        let state = open::state(folder, &app)?;
        let tables = open::tables(folder, &app, &log);
        // Closing an engine writes, and a failed disk never answers. The state that must be on disk at the end is
        // flushed below instead.
        let _never_closed = ManuallyDrop::new((log.clone(), registry.clone(), state.clone(), tables.clone()));
        let schemas: Arc<dyn Schemas> = Arc::new(Cached::new(registry.clone()));
        let fitter = fitter(&app, log.clone(), registry.clone(), schemas.clone(), tables.clone())?;
        let starting = patience::for_registry(waiting, || Starting::of(&fitter, files.clone(), build))?;
        let config = config(folder, &app)?;
        let advertised = app.admin.advertised(listening.address());
        let me = Owner { host: config.host.clone(), admin: advertised.clone() };
        let hosts = Arc::new(Hosts::new(log.clone(), &app.name, me).reached_by(reach(folder, &app)?));
        refuse_namesake(&hosts)?;
        report::started(folder, &app, registry.as_ref(), &listening, hosts.me(), &starting.slots, &telemetry);
        let (started, shutdown) = (Instant::now(), stop_signal()?);
        let (components, of_host) = (starting.slots.clone(), telemetry.clone());
        let parts = Parts { log, registry, schemas, state, tables, components, telemetry: of_host };
        let mut host = Host::start(config, parts, shutdown.clone())?;
        exporter.into_iter().for_each(|exporter| host.adopt(exporter));
        let address = if app.admin.tls.is_some() { advertised } else { listening.address().to_string() };
        let publish = |host: &mut RunningHost| -> Result<Arc<Monitor>> {
            let deployments = match starting.deployments {
                Some((topics, start)) => {
                    Some(Deployments { fitter, topics, start, files: starting.files, policy: app.deploy })
                }
                None => {
                    host.adopt(super::dev::follow(folder, &app, fitter, starting.slots, shutdown.clone())?);
                    None
                }
            };
            let monitor = host.publish(Public { listening, hosts, deployments })?;
            leave_address(folder, &app, &address)?;
            drop(begun);
            Ok(monitor)
        };
        let monitor = match publish(&mut host) {
            Ok(monitor) => monitor,
            Err(error) => {
                host.stop()?;
                return Err(error);
            }
        };
        let left = self.watch(&host, &monitor, &shutdown, report::Ready::since(started, telemetry));
        let (components, fault) = (host.components().to_vec(), host.fault());
        let stopped = components.iter().find_map(|component| component.progress.stopped());
        let refused = refused_record(&components);
        let ended = host.stop();
        remove_address(folder, &app);
        self.sum_up(&components, started);
        ended?;
        if let Some(why) = fault.or(stopped.filter(|_| self.until_idle)) {
            bail!(why);
        }
        if let Some(((source, offset), why)) = refused.filter(|_| self.until_idle) {
            let what = format!("records are left: the log refuses an output: {why}");
            let hint = "raise the topic's limits, create it, or grant the right to write to it, and run again";
            bail!(Explained::new(what).at(format_args!("{source}@{offset}")).hint(hint));
        }
        refuse_rest(&left)
    }

    /// Prints the counts of each component.
    fn sum_up(&self, components: &[Watched], started: Instant) {
        for Watched { name, progress, .. } in components {
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

    /// Draws the live lines until the host has to end. With `--until-idle`, returns what is left.
    fn watch(
        &self,
        host: &RunningHost,
        monitor: &Monitor,
        shutdown: &Shutdown,
        mut ready: report::Ready,
    ) -> Vec<String> {
        let style = ProgressStyle::with_template("{spinner} {prefix}  {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = |watched: &Watched| {
            let bar = ProgressBar::new_spinner().with_style(style.clone()).with_prefix(watched.name.clone());
            report::LINES.add(bar)
        };
        let watched = host.components();
        let bars = watched.iter().map(bar).collect::<Vec<_>>();
        let mut left = vec![];
        while !host.is_over() {
            ready.look(watched);
            if self.until_idle && host.idle_for(IDLE) {
                // The figures must include the last commit.
                monitor.refresh(FRESH_WAIT);
                left = watched.iter().flat_map(|component| what_is_left(monitor, component)).collect();
                if host.idle_for(if left.is_empty() { IDLE } else { IDLE_WITH_REST }) {
                    break;
                }
            }
            for (component, bar) in watched.iter().zip(&bars) {
                bar.set_message(live_line(&admin::status_of(Some(monitor), component)));
                bar.tick();
            }
            shutdown.sleep(REFRESH);
        }
        bars.iter().for_each(ProgressBar::finish_and_clear);
        // After a stop, a rest is expected.
        if shutdown.is_requested() { vec![] } else { left }
    }
}

/// The position of a record that blocks a task because the log refuses its results, and the reason.
fn refused_record(components: &[Watched]) -> Option<((TopicPartition, Offset), String)> {
    let stalls = components.iter().flat_map(|component| component.progress.stalls());
    stalls.filter(|stall| stall.cause == Cause::Refused).find_map(|stall| Some((stall.at?, stall.why.what)))
}

/// Opens the app's registry, and makes its schemas durable if they are not yet. Does nothing if no component needs the
/// registry.
fn settled_registry(
    folder: &Path,
    app: &App,
    log: &Arc<dyn Log>,
    files: &[(String, Vec<u8>)],
) -> Result<Arc<dyn Registry>> {
    let registry = open::own_registry(folder, app, Some(log))?;
    let needs = |(name, wasm): &(String, Vec<u8>)| -> Result<bool> {
        let (contract, manifest) = Component::contract(name, wasm)?;
        Ok(manifest.with_wires(&app.wires()).needs_registry(contract.schemas.keys()))
    };
    let mut is_needed = false;
    for file in files {
        is_needed |= needs(file)?;
    }
    if app.register == Register::Auto && is_needed {
        registry.settle()?;
    }
    Ok(registry)
}

/// Creates the missing topics of the app and the host, all at once because a broker is slow for each. Hosts that follow
/// their sources take no part in deployments.
fn create_own_topics(log: &dyn Log, app: &App, follows_sources: bool) -> Result<()> {
    let deployed = (!follows_sources).then(|| Topics::specs(&app.name));
    let own = [Hosts::spec(&app.name), KnownTopics::spec(&app.name)];
    open::create_topics(log, app, own.into_iter().chain(deployed.into_iter().flatten()))
}

/// The settings of this app's host, as `heddle.toml` has them. `folder` is where its name is kept.
pub(super) fn config(folder: &Path, app: &App) -> Result<Config> {
    Ok(Config {
        app: app.name.clone(),
        host: open::host_name(folder, app)?,
        commit: CommitPolicy { interval: app.commit.interval, records_max: app.commit.records_max.into() },
        workers: app.workers.count,
    })
}

/// Refuses a second host with this name, because the two would fence each other endlessly.
fn refuse_namesake(hosts: &Hosts) -> Result<()> {
    if let Some(other) = hosts.namesake()? {
        bail!(
            Explained::new(format!(
                "another host has the name `{}`, and two hosts of one name fence each other",
                other.host
            ))
            .at(&other.admin)
            .hint("stop one of them, or set another [host] name (HEDDLE_HOST_NAME) and data folder")
        );
    }
    Ok(())
}

/// Fails if there is unfinished input.
fn refuse_rest(left: &[String]) -> Result<()> {
    if left.is_empty() {
        return Ok(());
    }
    bail!(
        Explained::new(format!("records are left: {}", left.join("; ")))
            .at("the input of these components")
            .hint("run it again; an open transaction of another producer ends with its timeout")
    );
}

/// The unfinished input of a component.
fn what_is_left(monitor: &Monitor, component: &Watched) -> Vec<String> {
    let name = &component.name;
    let mut left = match monitor.lag(name) {
        None => vec![format!("{name}: the lag is not known")],
        Some(lag) => lag.left().map(|left| of_partition(name, left)).collect(),
    };
    left.extend(monitor.log_fault().map(|fault| format!("{name}: {fault}")));
    let waiting = component.progress.snapshot().waiting;
    if waiting > 0 {
        left.push(format!("{name}: {}", counted(waiting, "parked record")));
    }
    left
}

fn of_partition(component: &str, left: &PartitionLag) -> String {
    let offsets = counted(left.offsets.unsigned_abs(), "offset");
    let open = if left.undecided > 0 { " (in or behind a transaction that is open)" } else { "" };
    format!("{component}: {offsets} of {}{open}", left.source)
}

/// The access rules of the admin API.
fn access(folder: &Path, app: &App) -> Result<Access> {
    let tls = &app.admin.tls;
    let identity = tls.as_ref().map(|tls| Identity::read(&folder.join(&tls.certificate), &folder.join(&tls.key)));
    let access = Access::new(app.admin.token.clone()).known_as(app.admin.advertise.clone(), &app.admin.names);
    Ok(access.with_tls(identity.transpose()?))
}

/// The live line of a component.
fn live_line(status: &ComponentStatus) -> String {
    let ComponentStatus { records, emitted, failed, duplicates, waiting, breaker, restoring, commit_ms, .. } = status;
    let lag = lag(status);
    if let Some(why) = status.stopped.as_ref().and_then(|why| why.lines().next()) {
        return format!("stopped: {why}");
    }
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

/// The checks that a file must pass to run in this app.
pub(super) fn fitter(
    app: &App,
    log: Arc<dyn Log>,
    registry: Arc<dyn Registry>,
    schemas: Arc<dyn Schemas>,
    tables: Arc<Tables>,
) -> Result<Fitter> {
    Ok(Fitter {
        wires: app.wires(),
        app: app.name.clone(),
        engine: open::engine()?,
        log,
        registry,
        schemas,
        register: app.register,
        tables,
        workers: app.workers.count,
        registry_topic: app.registry.is_none().then(|| app.registry_topic.clone()),
        known: Mutex::default(),
    })
}

/// The components at the start of the app.
struct Starting {
    slots: Vec<(String, Arc<Slot>)>,
    /// The local files, by component.
    files: Vec<(String, File)>,
    /// `None` for a host that follows its sources.
    deployments: Option<(Topics, deploy::Start)>,
}

impl Starting {
    fn of(fitter: &Fitter, files: Vec<(String, Vec<u8>)>, build: bool) -> Result<Self> {
        if build { Self::sources(fitter, files) } else { Self::deployed(fitter, files) }
    }

    /// Starts with the sources and ignores deployments, which are for hosts in production.
    fn sources(fitter: &Fitter, files: Vec<(String, Vec<u8>)>) -> Result<Self> {
        let files = named(files)?;
        if let Some(topics) = Topics::there(fitter.log.clone(), &fitter.app)? {
            for (component, (_, deployment)) in topics.newest()?.0 {
                if let Some(deployment) = deployment {
                    let digest = deploy::short(&deployment.release.digest);
                    eprintln!("{component}: ignoring the deployed {digest}; `heddle dev` runs the sources");
                }
            }
        }
        let slots = slots(fitter, files.iter().map(|(_, file)| file.clone()).collect())?;
        Ok(Self { slots, files, deployments: None })
    }

    /// Starts with the deployed versions, or with local files for components without one.
    fn deployed(fitter: &Fitter, files: Vec<(String, Vec<u8>)>) -> Result<Self> {
        let files = named(files)?;
        let topics = Topics::of(fitter.log.clone(), &fitter.app);
        let start = deploy::Start::read(&topics)?;
        let mut run = vec![];
        for (component, own) in &files {
            let deployed = start.file(&topics, component, own)?;
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
}

/// The files with the names of their components.
pub(super) fn named(files: Vec<(String, Vec<u8>)>) -> Result<Vec<(String, File)>> {
    let named = |(name, wasm): (String, Vec<u8>)| {
        let (_, manifest) = Component::contract(&name, &wasm)?;
        Ok((manifest.name, File { name, wasm: wasm.into() }))
    };
    files.into_iter().map(named).collect()
}

pub(super) fn slots(fitter: &Fitter, files: Vec<File>) -> Result<Vec<(String, Arc<Slot>)>> {
    let versions = fitter.first(files)?;
    Ok(versions.into_iter().map(|(name, version)| (name, Arc::new(Slot::new(version)))).collect())
}

/// The files of the components, built now if `build`.
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
                Explained::new(format!("the component `{}` is not built", source.manifest.name))
                    .at(&name)
                    .hint("run `heddle build`")
            })?;
            files.push((name, wasm));
        }
    }
    for path in app::wasm_files(folder, app)? {
        let wasm = wasm_file::read(&path, || Explained::new("cannot read the file").at(path.display()))?;
        files.push((path.display().to_string(), wasm));
    }
    if files.is_empty() {
        bail!(
            Explained::new("the app has no components")
                .at(format_args!("[app] components = {:?} in {}", app.components, folder.join("heddle.toml").display()))
                .hint("add a folder with a component.toml, or a .wasm file")
        );
    }
    Ok(files)
}
