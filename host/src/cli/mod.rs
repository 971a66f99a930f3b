//! The command line, with one file per command. Only this module prints errors and chooses exit codes: 0 success, 1
//! failure, 2 wrong usage.

mod accept;
mod app;
mod bench;
mod build;
mod check;
mod consume;
mod declared;
mod deploy;
mod dev;
mod dlq;
mod inspect;
mod new;
mod offsets;
mod open;
mod patience;
mod produce;
mod registry;
mod repartition;
mod report;
mod run;
mod schema;
mod shadow;
mod starting;
mod state;
mod status;
mod stop;
mod topics;
mod trace;
mod wasm_file;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

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
    /// Create a component or an app.
    New(new::New),
    /// Build the app's components.
    Build(build::Build),
    /// Print the contract, the imports and the exports of a .wasm file.
    Inspect(inspect::Inspect),
    /// Build and run all components, and rebuild what is saved.
    Dev(run::Run),
    /// Run all components as built.
    Run(run::Run),
    /// Write records: one JSON value per line, encoded by the topic's schema.
    Produce(produce::Produce),
    /// Print a topic's committed records: their decoded values, one per line.
    Consume(consume::Consume),
    /// Switch all hosts to a component's file, without stopping them.
    Deploy(deploy::Deploy),
    /// Roll all hosts back to the previous version.
    Rollback(deploy::Rollback),
    /// List the deployed versions of a component.
    Deployments(deploy::Deployments),
    /// Compare a version with the running one, without committing anything.
    Shadow(shadow::Shadow),
    /// List, show, replay and discard dead letters.
    Dlq(dlq::Dlq),
    /// Print entries of the running hosts' stores.
    State(state::State),
    /// Print the counts, the lag and the faults of the running host's components.
    Status(status::Status),
    /// Print the story of one business transaction: its records, retries and dead letters.
    Trace(trace::Trace),
    /// Print and set a component's positions in the topics that it consumes.
    Offsets(offsets::Offsets),
    /// List, create and describe topics.
    Topics(topics::Topics),
    /// Measure the built components on records generated from their schemas.
    Bench(bench::Bench),
    /// Check the built components against the registry and the topics, without running them.
    Check(check::Check),
    /// Register, check, read and compare schemas.
    Schema(schema::Schema),
    /// Serve a schema registry over HTTP, for clients of Confluent's registry.
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
    let is_host = matches!(arguments.command, Command::Run(_) | Command::Dev(_));
    // The command reads the file again, and reports what is wrong with it.
    let format = if is_host { app::read(&arguments.app).map(|app| app.telemetry.log).ok() } else { None };
    report::init(is_host, format.unwrap_or_default());
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
        Command::Trace(trace) => trace.run(&arguments.app),
        Command::Offsets(offsets) => offsets.run(&arguments.app),
        Command::Topics(topics) => topics.run(&arguments.app),
        Command::Bench(bench) => bench.run(&arguments.app),
        Command::Check(check) => check.run(&arguments.app),
        Command::Schema(schema) => schema.run(&arguments.app),
        Command::Registry(registry) => registry.run(&arguments.app),
    };
    report::end(&done)
}

/// Options for the form of printed values.
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
