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
    /// Print the story of one business transaction: its records, retries and dead letters.
    Trace(trace::Trace),
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
