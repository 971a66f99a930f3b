//! The command line, with one file per command. Only this module prints errors and chooses exit codes: 0 success, 1
//! failure, 2 wrong usage.

mod accept;
mod app;
mod bench;
mod build;
mod check;
mod consume;
mod deploy;
mod dev;
mod dlq;
mod inspect;
mod new;
mod offsets;
mod open;
mod produce;
mod registry;
mod report;
mod run;
mod schema;
mod shadow;
mod starting;
mod state;
mod status;
mod stop;
mod topics;
mod wasm_file;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::dlq::DlqError;
use crate::log::LogError;
use crate::printable;
use crate::registry::RegistryError;

/// Runs event-driven services: Kafka partitions through sandboxed, typed components, exactly once.
#[derive(Debug, Parser)]
#[command(name = "heddle", version, propagate_version = true)]
struct Arguments {
    /// The app's folder, where heddle.toml is.
    #[arg(long, global = true, default_value = ".", value_name = "DIR")]
    app: PathBuf,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new component, or a new app.
    New(new::New),
    /// Build the app's components.
    Build(build::Build),
    /// Print the contract that a .wasm file carries, what it imports and what it exports.
    Inspect(inspect::Inspect),
    /// Build and run all components, and again whatever is saved.
    Dev(run::Run),
    /// Run all components as they were built.
    Run(run::Run),
    /// Write records: one JSON value a line, encoded by the topic's schema.
    Produce(produce::Produce),
    /// Print a topic's committed records: their decoded values, one a line.
    Consume(consume::Consume),
    /// Make all hosts run a component's file, without stopping them.
    Deploy(deploy::Deploy),
    /// Make all hosts run the version before again.
    Rollback(deploy::Rollback),
    /// Print which versions of a component were deployed.
    Deployments(deploy::Deployments),
    /// Try a version beside the one that runs, without committing anything.
    Shadow(shadow::Shadow),
    /// Look at dead letters, replay them, discard them.
    Dlq(dlq::Dlq),
    /// Print what the stores of the running hosts hold.
    State(state::State),
    /// Print what the running host's components did so far, and how far behind they are.
    Status(status::Status),
    /// Print and change where a component goes on in the topics that it consumes.
    Offsets(offsets::Offsets),
    /// List, create and describe topics.
    Topics(topics::Topics),
    /// Measure the components as they were built, on records made from their schemas.
    Bench(bench::Bench),
    /// Check the components as they were built against the registry and the topics, without running them.
    Check(check::Check),
    /// Register, check, read and compare schemas.
    Schema(schema::Schema),
    /// Serve a schema registry over HTTP, for clients of Confluent's.
    Registry(registry::Registry),
}

/// Runs the command that this process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are not errors. Clap chooses the exit code.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    report::init(matches!(arguments.command, Command::Run(_) | Command::Dev(_)));
    let done = match &arguments.command {
        Command::New(new) => new.run(&arguments.app),
        Command::Build(build) => build.run(&arguments.app),
        Command::Inspect(inspect) => inspect.run(),
        Command::Dev(run) => run.run(&arguments.app, true),
        Command::Run(run) => run.run(&arguments.app, false),
        Command::Produce(produce) => produce.run(&arguments.app),
        Command::Consume(consume) => consume.run(&arguments.app),
        Command::Deploy(deploy) => deploy.run(&arguments.app),
        Command::Rollback(rollback) => rollback.run(&arguments.app),
        Command::Deployments(deployments) => deployments.run(&arguments.app),
        Command::Shadow(shadow) => shadow.run(&arguments.app),
        Command::Dlq(dlq) => dlq.run(&arguments.app),
        Command::State(state) => state.run(&arguments.app),
        Command::Status(status) => status.run(&arguments.app),
        Command::Offsets(offsets) => offsets.run(&arguments.app),
        Command::Topics(topics) => topics.run(&arguments.app),
        Command::Bench(bench) => bench.run(&arguments.app),
        Command::Check(check) => check.run(&arguments.app),
        Command::Schema(schema) => schema.run(&arguments.app),
        Command::Registry(registry) => registry.run(&arguments.app),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", told(&error));
            ExitCode::FAILURE
        }
    }
}

/// The failure and its causes on the first line, then the position and the remedy, if they are known.
fn told(error: &anyhow::Error) -> String {
    let text = error.to_string();
    let (what, rest) =
        text.split_once('\n').map_or((text.as_str(), String::new()), |(what, rest)| (what, format!("\n{rest}")));
    // Causes quote records, brokers and registries. Their lines must not look like our own, which are indented.
    let causes = error.chain().skip(1).map(|cause| {
        let text = cause.to_string();
        format!(": {}", text.split("\n  ").map(printable::line).collect::<Vec<_>>().join("\n  "))
    });
    let causes = causes.collect::<String>();
    let rest = if rest.is_empty() { advice(error).unwrap_or_default() } else { rest };
    format!("{what}{causes}{rest}")
}

/// How a command prints values.
#[derive(Clone, Copy, Debug, Default, Args)]
struct Raw {
    /// Print control characters and marks of direction as they are, for a pipe, instead of escaped.
    #[arg(long)]
    raw: bool,
}

/// A count with its noun, `one` in the singular.
fn counted(count: u64, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

/// The position and the remedy for errors that any command can meet and that do not know the app.
fn advice(error: &anyhow::Error) -> Option<String> {
    let (place, remedy) = error.chain().find_map(|cause| {
        let of_log = || match cause.downcast_ref::<DlqError>() {
            Some(DlqError::Log(error)) => Some(error),
            _ => None,
        };
        if let Some(LogError::Unreachable(_)) = cause.downcast_ref::<LogError>().or_else(of_log) {
            let remedy = "start the broker, or correct bootstrap (HEDDLE_LOG_BOOTSTRAP) and the options of [log]";
            return Some(("[log] in heddle.toml".to_owned(), remedy));
        }
        match cause.downcast_ref::<RegistryError>()? {
            RegistryError::Unreachable { place, .. } | RegistryError::Answered { place, .. } => {
                Some((place.clone(), "start the registry, or correct [registry] url (HEDDLE_REGISTRY_URL)"))
            }
            RegistryError::Unauthorized { place, remedy, .. } => Some((place.clone(), *remedy)),
            RegistryError::MayNotRegister { place, subject } => Some((
                format!("the subject `{subject}` at {place}"),
                "let somebody who may register it (`heddle schema register`), or grant this user the right to write the subject (Confluent: DeveloperWrite)",
            )),
            RegistryError::Untrusted { place, .. } => Some((
                place.clone(),
                "name the file of its authority's certificate in [registry] ca (HEDDLE_REGISTRY_CA), and ask by the name that its certificate is for",
            )),
            RegistryError::Refused { subject, .. } => Some((
                format!("contracts/{subject}.avsc"),
                "make the change compatible, or change the subject's compatibility level in the registry",
            )),
            RegistryError::Log { topic, .. } => Some((
                format!("the topic `{topic}` of [log] in heddle.toml"),
                "see to the broker; the app needs the rights to create, read, write and describe that topic, and to use the transactional id of the same name",
            )),
            RegistryError::Topic { topic, remedy, .. } => {
                Some((format!("the topic `{topic}` of [log] in heddle.toml"), remedy.as_str()))
            }
            RegistryError::Store { place, .. } => Some((
                place.clone(),
                "stop the other `heddle` that uses it, or wait until it has ended; if there is none, see to the folder's disk and permissions",
            )),
        }
    })?;
    Some(format!("\n  where: {place}\n  what to do: {remedy}"))
}
