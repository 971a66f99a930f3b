//! The app's log and registry, opened as `heddle.toml` says.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use heddle_contract::manifest::App;
use heddle_contract::manifest::app;

use super::status::admin_address;
use crate::admin::Remote;
use crate::build::cache_folder;
use crate::guest::Engine;
use crate::log::embedded::{EmbeddedLog, EmbeddedOptions};
use crate::log::kafka::KafkaLog;
use crate::log::{Log, LogError, TopicSpec};
use crate::registry::{Client, ClientOptions, Embedded, Registry};

/// The log, for a command that needs no group: where another host owns the embedded one, through that host.
pub(super) fn log(folder: &Path, app: &App) -> Result<Arc<dyn Log>> {
    match (own_log(folder, app), &app.log) {
        (Err(error), app::Log::Embedded) => host(folder, app).map_or(Err(error), |host| Ok(Arc::new(host))),
        (opened, _) => opened,
    }
}

/// The registry, as [`log`].
pub(super) fn registry(folder: &Path, app: &App) -> Result<Arc<dyn Registry>> {
    match (own_registry(folder, app), &app.registry) {
        (Err(error), None) => host(folder, app).map_or(Err(error), |host| Ok(Arc::new(host))),
        (opened, _) => opened,
    }
}

/// The app's running host, if there is one.
fn host(folder: &Path, app: &App) -> Option<Remote> {
    Remote::find(&admin_address(folder, app))
}

/// Opens the log in this process.
pub(super) fn own_log(folder: &Path, app: &App) -> Result<Arc<dyn Log>> {
    Ok(match &app.log {
        app::Log::Kafka(kafka) => Arc::new(KafkaLog::connect(&kafka.bootstrap, &kafka.options)?),
        app::Log::Embedded => {
            let data = folder.join(&app.data).join("log");
            Arc::new(EmbeddedLog::open(&data, EmbeddedOptions::default()).with_context(|| {
                format!(
                    "the embedded log cannot be opened\n  where: {}\n  what to do: stop the other `heddle` that uses it, or wait until it has ended",
                    data.display()
                )
            })?)
        }
    })
}

/// Opens the registry in this process.
pub(super) fn own_registry(folder: &Path, app: &App) -> Result<Arc<dyn Registry>> {
    Ok(match &app.registry {
        Some(registry) if registry.url.starts_with("mock://") => {
            Arc::new(Embedded::mock(registry.url.trim_start_matches("mock://")))
        }
        None => Arc::new(Embedded::open(&folder.join(&app.data).join("registry"))?),
        Some(registry) => Arc::new(Client::new(ClientOptions {
            url: registry.url.clone(),
            user: registry.username.clone().map(|user| (user, registry.password.clone().unwrap_or_default())),
            timeout: registry.timeout,
            retries_max: registry.retries_max,
        })),
    })
}

/// Starts the engine for components; what it compiled before, by whatever command, is taken from the cache.
pub(super) fn engine() -> Result<Engine> {
    Ok(Engine::start(Some(&cache_folder().join("compiled")))?)
}

/// Creates the topics of `heddle.toml` that are missing; what is there is left as it is.
pub(super) fn create_topics(log: &dyn Log, app: &App) -> Result<()> {
    let there = log.topics()?;
    for (name, topic) in app.topics.iter().filter(|(name, _)| there.iter().all(|info| info.name != **name)) {
        create(
            log,
            &TopicSpec {
                name: name.clone(),
                partitions: topic.partitions,
                replication: topic.replication,
                options: topic.options.clone(),
            },
        )?;
    }
    Ok(())
}

/// Creates a topic; another process may have been faster.
pub(super) fn create(log: &dyn Log, spec: &TopicSpec) -> Result<()> {
    match log.create_topic(spec) {
        Ok(()) => {
            tracing::info!(topic = %spec.name, partitions = spec.partitions, "created");
            Ok(())
        }
        Err(LogError::TopicExists(_)) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("the topic `{}` cannot be created", spec.name)),
    }
}
