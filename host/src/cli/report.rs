//! Log lines of a host on stderr, above the live lines if there is a terminal.

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use heddle_contract::manifest::App;
use heddle_contract::manifest::app::Log;
use indicatif::MultiProgress;
use tracing_subscriber::EnvFilter;

use crate::admin::{Listening, Owner, Watched};
use crate::output;
use crate::registry::Registry;
use crate::runtime::Slot;

/// The log level of a host, unless `HEDDLE_TRACE` is set.
const HOST_LEVEL: &str = "error,heddle=info";
/// The log level of other commands.
const COMMAND_LEVEL: &str = "error,heddle::alert=info";

/// The live lines of this process.
pub(super) static LINES: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Writes log lines above the live lines.
struct AboveLines;

impl Write for AboveLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Starts logging. `HEDDLE_TRACE` overrides the level.
pub(super) fn init(is_host: bool) {
    let level = if is_host { HOST_LEVEL } else { COMMAND_LEVEL };
    let filter = EnvFilter::try_from_env("HEDDLE_TRACE").unwrap_or_else(|_| level.into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| AboveLines)
        .with_ansi(output::has_colours())
        .fmt_fields(output::Fields)
        .init();
}

/// Logs the configuration of a starting host.
pub(super) fn started(
    folder: &Path,
    app: &App,
    registry: &dyn Registry,
    admin: &Listening,
    me: &Owner,
    components: &[(String, Arc<Slot>)],
) {
    let log = match &app.log {
        Log::Kafka(kafka) => kafka.bootstrap.clone(),
        Log::Embedded => folder.join(&app.data).join("log").display().to_string(),
    };
    let (version, registry, admin) = (env!("CARGO_PKG_VERSION"), registry.place(), admin.address());
    tracing::info!(version, app = %app.name, host = %me.host, %log, %registry, %admin, advertised = %me.admin, "started");
    for (_, slot) in components {
        let version = slot.current();
        let consumes = version.component.manifest().consumes.keys().cloned().collect::<Vec<_>>().join(",");
        let emits = version.component.manifest().emits.keys().cloned().collect::<Vec<_>>().join(",");
        tracing::info!(component = %version.spec.component, digest = %slot.running(), %consumes, %emits, "runs");
    }
}

/// Logs once that all components have their tasks.
pub(super) struct Ready {
    since: Instant,
    reported: bool,
}

impl Ready {
    /// Creates the reporter of a host that started at `since`.
    pub(super) fn since(since: Instant) -> Self {
        Self { since, reported: false }
    }

    /// Logs if all components are ready now.
    pub(super) fn look(&mut self, components: &[Watched]) {
        let has_tasks =
            |component: &Watched| component.progress.is_assigned() && component.progress.snapshot().restoring == 0;
        if !self.reported && components.iter().all(has_tasks) {
            self.reported = true;
            tracing::info!(after = ?self.since.elapsed(), "ready");
        }
    }
}
