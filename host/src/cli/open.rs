//! Opens the app's log and registry according to `heddle.toml`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use heddle_contract::manifest::App;
use heddle_contract::manifest::app;
use heddle_core::explain::Explained;

use super::starting;
use super::status::{admin_address, reach};
use crate::admin::Remote;
use crate::build::cache_folder;
use crate::deploy::create;
use crate::guest::Engine;
use crate::log::embedded::{EmbeddedLog, EmbeddedOptions};
use crate::log::kafka::KafkaLog;
use crate::log::{self, Log, LogError, TopicSpec};
use crate::registry::{Client, ClientOptions, Embedded, Registry};
use crate::registry_topic::{self, Place};
use crate::state::{Bounds, EngineKind, HostState, StateEngine, StateError, open_engine};
use crate::tables::Tables;
use crate::telemetry::traces::{self, Settings};
use crate::telemetry::{Telemetry, Traces};
use crate::tls::Trusted;

/// Opens the log, for a command that needs no group. If a host owns the embedded log, the command uses it through that
/// host. It waits for the owner only if no host answers.
pub(super) fn log(folder: &Path, app: &App) -> Result<Arc<dyn Log>> {
    if !matches!(app.log, app::Log::Embedded) {
        return own_log(folder, app);
    }
    // A starting host is about to own the log.
    starting::wait(folder, app);
    let at_once = EmbeddedOptions { wait: Duration::ZERO, ..EmbeddedOptions::default() };
    match embedded(folder, app, at_once) {
        Ok(log) => Ok(log),
        Err(_) => host(folder, app).map_or_else(|| own_log(folder, app), |host| Ok(Arc::new(host))),
    }
}

/// Opens the registry, in the same way as [`log`]. `log` is the app's log, if the command has opened it.
pub(super) fn registry(folder: &Path, app: &App, log: Option<&Arc<dyn Log>>) -> Result<Arc<dyn Registry>> {
    if let (None, app::Log::Kafka(_)) = (&app.registry, &app.log) {
        return own_registry(folder, app, log);
    }
    match (own_registry(folder, app, log), &app.registry) {
        (Err(error), None) => host(folder, app).map_or(Err(error), |host| Ok(Arc::new(host))),
        (opened, _) => opened,
    }
}

/// The running host of the app, if there is one. It receives the token of [admin].
pub(super) fn host(folder: &Path, app: &App) -> Option<Remote> {
    let reach = reach(folder, app).ok()?;
    Remote::find_by(&admin_address(folder, app), reach).map(|host| host.with_token(app.admin.token.clone()))
}

/// Creates the telemetry of a host, and starts to export its spans if it has a collector. The thread ends when the host
/// stops.
pub(super) fn telemetry(folder: &Path, app: &App) -> Result<(Telemetry, Option<JoinHandle<()>>)> {
    let Some(settings) = Settings::read(&app.telemetry.traces, &super::app::variables("OTEL_")?)? else {
        return Ok((Telemetry::new(app.name.clone()), None));
    };
    let trusted = settings.ca.as_deref().map(Trusted::read).transpose()?;
    let traces = Traces::new(settings.tracing, settings.queue_spans_max, settings.links_max);
    let telemetry = Telemetry::traced(app.name.clone(), Some(traces.clone()));
    let exporter = traces::start(&traces, settings, trusted, host_name(folder, app)?, telemetry.clone());
    Ok((telemetry, Some(exporter.context("cannot start the thread that exports spans")?)))
}

/// Opens the log in this process. A running host that owns it is named.
pub(super) fn own_log(folder: &Path, app: &App) -> Result<Arc<dyn Log>> {
    Ok(match &app.log {
        app::Log::Kafka(kafka) => Arc::new(KafkaLog::connect(&kafka.bootstrap, &kafka.options)?),
        app::Log::Embedded => embedded(folder, app, EmbeddedOptions::default()).map_err(|error| {
            let Some(host) = host(folder, app) else { return error };
            let owned = Explained::new("a running host owns the embedded log");
            error.context(owned.at(format_args!("the host at {}", host.place())).hint("stop the host first"))
        })?,
    })
}

fn embedded(folder: &Path, app: &App, options: EmbeddedOptions) -> Result<Arc<dyn Log>> {
    let data = folder.join(&app.data).join("log");
    let opened = EmbeddedLog::open(&data, options).map_err(|error| {
        let owned = "stop the other `heddle` that uses it, or wait until it has ended";
        let remedy = if let LogError::Hindered(why) = &error { why.remedy.clone() } else { None };
        let remedy = remedy.unwrap_or_else(|| owned.to_owned());
        let what = Explained::new("the embedded log cannot be opened").at(data.display()).hint(remedy);
        anyhow::Error::from(error).context(what)
    })?;
    Ok(Arc::new(opened))
}

/// Opens the registry in this process. `log` is the app's log, if it is open already.
pub(super) fn own_registry(folder: &Path, app: &App, log: Option<&Arc<dyn Log>>) -> Result<Arc<dyn Registry>> {
    Ok(match &app.registry {
        Some(registry) if registry.url.starts_with("mock://") => {
            Arc::new(Embedded::mock(registry.url.trim_start_matches("mock://")))
        }
        None if matches!(app.log, app::Log::Kafka(_)) => Arc::new(registry_in_topic(folder, app, log)?),
        None => Arc::new(registry_in_folder(folder, app)?),
        Some(registry) => Arc::new(Client::new(ClientOptions {
            url: registry.url.clone(),
            user: registry.username.clone().map(|user| (user, registry.password.clone().unwrap_or_default())),
            timeout: registry.timeout,
            retries_max: registry.retries_max,
            trusted: trusted(folder, registry)?,
            ..ClientOptions::default()
        })),
    })
}

/// The folder of the embedded log's registry. Earlier versions of Heddle kept the registry there for every log.
fn registry_folder(folder: &Path, app: &App) -> PathBuf {
    folder.join(&app.data).join("registry")
}

/// Marks a registry folder whose ids are not used by records on a Kafka log.
const OF_EMBEDDED_LOG: &str = "of-the-embedded-log";

fn registry_in_folder(folder: &Path, app: &App) -> Result<Embedded> {
    let data = registry_folder(folder, app);
    let is_new = !data.exists();
    let registry = Embedded::open(&data)?;
    if is_new {
        let mark = data.join(OF_EMBEDDED_LOG);
        std::fs::write(&mark, "").with_context(|| format!("cannot write {}", mark.display()))?;
    }
    Ok(registry)
}

/// Opens the registry in a topic of the app's log, which must be Kafka.
pub(super) fn registry_in_topic(folder: &Path, app: &App, log: Option<&Arc<dyn Log>>) -> Result<Embedded> {
    let log = log.map_or_else(|| own_log(folder, app), |log| Ok(log.clone()))?;
    let cluster = log.cluster_id()?.unwrap_or_else(|| "unknown".to_owned());
    let copies = folder.join(&app.data).join("registry-copies").join(cluster);
    let before = registry_folder(folder, app);
    let before = (!before.join(OF_EMBEDDED_LOG).exists()).then_some(before);
    let place = Place { topic: app.registry_topic.clone(), copies: Some(copies), before };
    Ok(registry_topic::open(log, place)?)
}

/// The trusted authorities of the registry. Without TLS, as in an overridden address, none are needed.
fn trusted(folder: &Path, registry: &app::Registry) -> Result<Option<Trusted>> {
    let ca = registry.ca.as_ref().filter(|_| registry.url.starts_with("https://"));
    Ok(ca.map(|ca| Trusted::read(&folder.join(ca))).transpose()?)
}

/// Starts the engine for components. Code that any command compiled before comes from the cache.
pub(super) fn engine() -> Result<Engine> {
    Ok(Engine::start(Some(&cache_folder().join("compiled")))?)
}

/// Creates the missing topics of `heddle.toml` and of `more`. Existing topics are not changed.
pub(super) fn create_topics(log: &dyn Log, app: &App, more: impl IntoIterator<Item = TopicSpec>) -> Result<()> {
    let there = log.topics()?;
    let spec = |(name, topic): (&String, &app::Topic)| TopicSpec {
        name: name.clone(),
        partitions: topic.partitions,
        replication: topic.replication,
        options: topic.options.clone(),
    };
    let wanted = app.topics.iter().map(spec).chain(more);
    let missing = wanted.filter(|spec| there.iter().all(|info| info.name != spec.name));
    Ok(create(log, &missing.collect::<Vec<_>>())?)
}

/// Opens the local state of this host's tasks. A damaged folder is moved aside, and the state is rebuilt from the
/// changelogs.
pub(super) fn state(folder: &Path, app: &App) -> Result<Arc<HostState>> {
    let open = engine_in(folder, app, "state");
    Ok(Arc::new(HostState::start(open()?, Bounds::default())?.reopened_by(open)))
}

/// The global tables of this host, in a folder beside the state of its tasks.
pub(super) fn tables(folder: &Path, app: &App, log: &Arc<dyn Log>) -> Arc<Tables> {
    Arc::new(Tables::new(log.clone(), engine_in(folder, app, "tables")))
}

/// Returns a function that opens the app's engine in a folder of its data.
fn engine_in(
    folder: &Path,
    app: &App,
    name: &str,
) -> impl Fn() -> Result<Arc<dyn StateEngine>, StateError> + Send + Sync + 'static {
    let kind = match app.state.engine {
        app::Engine::Sled => EngineKind::Sled,
        app::Engine::Fjall => EngineKind::Fjall,
        app::Engine::Memory => EngineKind::Memory,
    };
    let (data, cache_bytes) = (folder.join(&app.data).join(name), app.state.cache_bytes);
    move || open_or_move_aside(kind, &data, cache_bytes)
}

fn open_or_move_aside(kind: EngineKind, data: &Path, cache_bytes: u64) -> Result<Arc<dyn StateEngine>, StateError> {
    let why = match open_engine(kind, data, cache_bytes) {
        Err(StateError::Corrupt { why, .. }) => why,
        opened => return opened,
    };
    let aside = data.with_extension(format!("damaged-{}", log::now().0));
    std::fs::rename(data, &aside).map_err(|error| StateError::Unusable {
        folder: data.to_owned(),
        why: format!("it is damaged ({why}), and cannot be moved to {}: {error}", aside.display()),
    })?;
    let (from, aside) = (data.display(), aside.display());
    tracing::warn!(target: "heddle::alert", %from, %aside, %why, "moved damaged state away, rebuilding it from the changelogs");
    open_engine(kind, data, cache_bytes)
}

/// The name that distinguishes this host from others of the app: the one in `heddle.toml`, or a generated one.
///
/// A generated name is kept beside the state, because group membership and local state belong together.
pub(super) fn host_name(folder: &Path, app: &App) -> Result<String> {
    if let Some(name) = &app.host {
        return Ok(name.clone());
    }
    let file = folder.join(&app.data).join("host");
    match std::fs::read_to_string(&file) {
        Ok(name) => Ok(name.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let name = uuid::Uuid::new_v4().simple().to_string();
            std::fs::create_dir_all(folder.join(&app.data))?;
            std::fs::write(&file, &name).with_context(|| format!("cannot write {}", file.display()))?;
            Ok(name)
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}
