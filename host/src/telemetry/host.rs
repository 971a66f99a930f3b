//! Events of a host.

use std::time::Duration;

use heddle_core::delivery::ComponentName;

use super::limit::Limits;
use super::{Counters, Dropped, Report, Traces};

/// A host has read its settings and opened its parts.
#[derive(Debug)]
pub struct HostStarted<'e> {
    /// The version of Heddle.
    pub version: &'e str,
    /// The app.
    pub app: &'e str,
    /// The name of the host.
    pub host: &'e str,
    /// The location of the log.
    pub log: &'e str,
    /// The location of the registry.
    pub registry: &'e str,
    /// The address of the admin API.
    pub admin: &'e str,
    /// The address at which other hosts reach it.
    pub advertised: &'e str,
}

impl Report for HostStarted<'_> {
    fn log(&self, _component: &str, _limits: &Limits) {
        let Self { version, app, host, log, registry, admin, advertised } = self;
        tracing::info!(version, %app, %host, %log, %registry, %admin, %advertised, "started");
    }
}

/// A host runs a component.
#[derive(Debug)]
pub struct ComponentStarted<'e> {
    /// The component.
    pub name: &'e str,
    /// The digest of its version.
    pub digest: &'e str,
    /// The topics that it consumes.
    pub consumes: &'e str,
    /// The topics that it emits to.
    pub emits: &'e str,
}

impl Report for ComponentStarted<'_> {
    fn log(&self, _component: &str, _limits: &Limits) {
        let Self { name, digest, consumes, emits } = self;
        tracing::info!(component = %name, digest, %consumes, %emits, "runs");
    }
}

/// All components have their tasks, and the state of their tasks is restored.
#[derive(Debug)]
pub struct HostReady {
    /// The time since the start.
    pub after: Duration,
}

impl Report for HostReady {
    fn log(&self, _component: &str, _limits: &Limits) {
        tracing::info!(after = ?self.after, "ready");
    }
}

/// A host has stopped its workers.
#[derive(Debug)]
pub struct HostStopped {
    /// The time since the start.
    pub after: Duration,
}

impl Report for HostStopped {
    fn log(&self, _component: &str, _limits: &Limits) {
        tracing::info!(after = ?self.after, "stopped");
    }
}

/// The schema registry answered a request, or failed to.
#[derive(Debug)]
pub struct RegistryCalled {
    /// The kind of the request.
    pub call: &'static str,
    /// The time of the request.
    pub took: Duration,
    /// The kind of error, if it failed.
    pub error: Option<&'static str>,
}

impl Report for RegistryCalled {
    fn log(&self, _component: &str, _limits: &Limits) {
        let Self { call, took, error } = self;
        tracing::debug!(%call, ?took, error, "called the schema registry");
    }

    fn count(&self, counters: &mut Counters) {
        let of_call = counters.registry.entry(self.call).or_default();
        of_call.took.observe(self.took.as_secs_f64());
        if let Some(error) = self.error {
            *of_call.errors.entry(error).or_default() += 1;
        }
    }

    fn trace(&self, component: &ComponentName, traces: &Traces) {
        // A ping is a health check, every second.
        if self.call != "ping" {
            traces.requested(component, self.call, self.error, self.took);
        }
    }
}

/// Spans could not be sent to the collector. Nothing else is affected.
#[derive(Debug)]
pub struct SpansDropped<'e> {
    /// The number of spans.
    pub spans: usize,
    /// The kind of the reason.
    pub why: Dropped,
    /// The reason.
    pub cause: &'e str,
    /// The address of the collector.
    pub collector: &'e str,
}

impl Report for SpansDropped<'_> {
    fn log(&self, _component: &str, limits: &Limits) {
        let Self { spans, why, cause, collector } = self;
        let why = why.name();
        if let Some(left_out) = limits.pass("spans-dropped") {
            tracing::warn!(spans, %why, %cause, %collector, left_out, "dropped spans");
        }
    }
}

/// The log could not drop data that it need not keep. The upkeep is tried again.
#[derive(Debug)]
pub struct UpkeepFailed<'e> {
    /// The error.
    pub why: &'e str,
}

impl Report for UpkeepFailed<'_> {
    fn log(&self, _component: &str, _limits: &Limits) {
        tracing::warn!(why = %self.why, "the upkeep of the log failed");
    }
}

/// The host could not look at topics or at the members of groups. It looks again soon.
#[derive(Debug)]
pub struct LogUnwatched<'e> {
    /// The error.
    pub why: &'e str,
}

impl Report for LogUnwatched<'_> {
    fn log(&self, _component: &str, _limits: &Limits) {
        tracing::debug!(why = %self.why, "the log does not answer who reads which topics");
    }
}
