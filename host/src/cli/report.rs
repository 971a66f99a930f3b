//! Everything that a command reports on stderr: errors, in the only place that lays them out, and the log lines of a
//! host, above the live lines if there is a terminal.
//!
//! ```text
//!  error: what failed: the cause
//!    at: a file, a topic, an address
//!    hint: what helps
//! ```

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use heddle_contract::manifest::app::Log;
use heddle_contract::manifest::{App, LogFormat, ManifestErrors, Problem};
use heddle_core::explain::{Explain, Explained, Findings, to_text};
use heddle_core::fault::TaskFault;
use indicatif::MultiProgress;
use tracing_subscriber::EnvFilter;

use crate::admin::{AdminError, Listening, Watched};
use crate::build::BuildError;
use crate::cluster::{HostError, Owner};
use crate::deploy::{DeployError, FitError};
use crate::dlq::DlqError;
use crate::guest::LoadError;
use crate::log::LogError;
use crate::registry::check::Misfit;
use crate::registry::http::ServeError;
use crate::registry::{Registry, RegistryError};
use crate::runtime::{Slot, WorkerFault};
use crate::shadow::SideError;
use crate::state::{ReplayError, StateError};
use crate::telemetry::traces::WrongVariable;
use crate::telemetry::{ComponentStarted, HostReady, HostStarted, Telemetry};
use crate::tls::TlsError;
use crate::{output, printable};

/// The log level of a host, unless `HEDDLE_TRACE` is set. rdkafka's consumers repeat a reported error when they are
/// dropped.
const HOST_LEVEL: &str = "error,heddle=info,rdkafka::consumer::base_consumer=off";
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
pub(super) fn init(is_host: bool, format: LogFormat) {
    let level = if is_host { HOST_LEVEL } else { COMMAND_LEVEL };
    let filter = EnvFilter::try_from_env("HEDDLE_TRACE").unwrap_or_else(|_| level.into());
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| AboveLines);
    match format {
        LogFormat::Text => lines.with_ansi(output::has_colours()).fmt_fields(output::Fields).init(),
        LogFormat::Json => lines.with_ansi(false).event_format(output::JsonLines).init(),
    }
}

/// Prints the error of a command that failed, and returns the exit code.
pub(super) fn end(done: &anyhow::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(error);
            ExitCode::FAILURE
        }
    }
}

/// Prints an error.
pub(super) fn complain(error: &anyhow::Error) {
    parts(error).into_iter().for_each(finding);
}

/// Prints one finding as an error.
pub(super) fn finding(found: Explained) {
    eprintln!("error: {}", laid_out(found));
}

/// Prints one finding as a warning.
pub(super) fn warn(found: Explained) {
    eprintln!("warning: {}", laid_out(found));
}

/// A finding with its place and its remedy on separate lines. Its texts quote records, brokers and registries, so
/// their line breaks are escaped.
fn laid_out(found: Explained) -> String {
    to_text(&found.map(|text| printable::line(text).into_owned()))
}

/// The parts of an error, with all its causes in one line. A list of findings has several parts.
fn parts(error: &anyhow::Error) -> Vec<Explained> {
    let texts = error.chain().map(ToString::to_string).collect::<Vec<_>>();
    // The chain hides the type of a context, but the error itself knows it.
    if let Some(context) = error.downcast_ref::<Explained>().filter(|context| context.has_advice()) {
        return vec![Explained { what: texts.join(": "), ..context.clone() }];
    }
    let found = error.chain().enumerate().find_map(|(depth, cause)| {
        let parts = explain(cause)?.explained();
        (parts.len() > 1 || parts.iter().any(Explained::has_advice)).then_some((depth, parts))
    });
    let Some((depth, parts)) = found else { return vec![Explained::new(texts.join(": "))] };
    let whole = |part: Explained| {
        let mut texts = texts.clone();
        texts[depth].clone_from(&part.what);
        Explained { what: texts.join(": "), ..part }
    };
    parts.into_iter().map(whole).collect()
}

/// The one list of the errors that may know where something failed and what helps.
fn explain<'e>(cause: &'e (dyn Error + 'static)) -> Option<&'e dyn Explain> {
    macro_rules! any_of {
        ($($error:ty),+ $(,)?) => {
            $(if let Some(error) = cause.downcast_ref::<$error>() { return Some(error); })+
        };
    }
    any_of!(
        Explained,
        Findings,
        Misfit,
        ManifestErrors,
        Problem,
        TlsError,
        LogError,
        StateError,
        ReplayError,
        TaskFault
    );
    any_of!(RegistryError, ServeError, LoadError, BuildError, WorkerFault, DlqError, SideError, WrongVariable);
    any_of!(FitError, DeployError, HostError, AdminError);
    None
}

/// Logs the configuration of a starting host.
pub(super) fn started(
    folder: &Path,
    app: &App,
    registry: &dyn Registry,
    admin: &Listening,
    me: &Owner,
    components: &[(String, Arc<Slot>)],
    telemetry: &Telemetry,
) {
    let log = match &app.log {
        Log::Kafka(kafka) => kafka.bootstrap.clone(),
        Log::Embedded => folder.join(&app.data).join("log").display().to_string(),
    };
    telemetry.report(HostStarted {
        version: env!("CARGO_PKG_VERSION"),
        app: &app.name,
        host: &me.host,
        log: &log,
        registry: &registry.place(),
        admin: &admin.address().to_string(),
        advertised: &me.admin,
    });
    for (_, slot) in components {
        let version = slot.current();
        let consumes = version.component.manifest().consumes.keys().cloned().collect::<Vec<_>>().join(",");
        let emits = version.component.manifest().emits.keys().cloned().collect::<Vec<_>>().join(",");
        let (name, digest) = (&*version.spec.component, &*slot.running());
        telemetry.report(ComponentStarted { name, digest, consumes: &consumes, emits: &emits });
    }
}

/// Logs once that all components have their tasks.
pub(super) struct Ready {
    since: Instant,
    reported: bool,
    telemetry: Telemetry,
}

impl Ready {
    /// Creates the reporter of a host that started at `since`.
    pub(super) fn since(since: Instant, telemetry: Telemetry) -> Self {
        Self { since, reported: false, telemetry }
    }

    /// Logs if all components are ready now.
    pub(super) fn look(&mut self, components: &[Watched]) {
        let has_tasks =
            |component: &Watched| component.progress.is_assigned() && component.progress.snapshot().restoring == 0;
        if !self.reported && components.iter().all(has_tasks) {
            self.reported = true;
            self.telemetry.report(HostReady { after: self.since.elapsed() });
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};
    use heddle_contract::manifest::Manifest;

    use super::*;

    fn printed(error: &anyhow::Error) -> String {
        parts(error).iter().map(|part| to_text(part)).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_first_line_has_all_causes_and_the_next_one_the_first_hint() {
        let cause = || anyhow!("permission denied");
        insta::assert_snapshot!(printed(&cause().context("cannot read it")), @"cannot read it: permission denied");
        let advice = Explained::new("cannot read it").at("here").hint("make it readable");
        insta::assert_snapshot!(printed(&cause().context(advice.clone()).context("no app")), @r"
        no app: cannot read it: permission denied
          at: here
          hint: make it readable
        ");
        let outer = anyhow::Error::from(advice).context(Explained::new("no app").hint("go to its folder"));
        insta::assert_snapshot!(printed(&outer), @r"
        no app: cannot read it
          hint: go to its folder
        ");
    }

    #[test]
    fn each_finding_has_its_own_hint() {
        let errors = Manifest::parse("[component]\nlanguage = \"rust\"\n", "component.toml").map(drop);
        insta::assert_snapshot!(printed(&errors.context("cannot build").unwrap_err()), @r#"
        cannot build: `consumes` is missing
          at: component.toml:1:1 (consumes)
          hint: add a [consumes."<topic>"] section: a component runs when a record arrives
        cannot build: `name` is missing in [component]
          at: component.toml:1:2 (component.name)
          hint: add `name = "..."`
        "#);
    }
}
