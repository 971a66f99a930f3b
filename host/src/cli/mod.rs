//! The command line: one file a command. The only place that prints errors and chooses exit codes: 0 done, 1 it failed, 2 it
//! was used wrongly.

mod app;
mod build;
mod inspect;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    /// Build the app's components.
    Build(build::Build),
    /// Print the contract that a .wasm file carries, what it imports and what it exports.
    Inspect(inspect::Inspect),
}

/// Runs the command that this process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are answers, not errors; clap knows which is which.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let done = match &arguments.command {
        Command::Build(build) => build.run(&arguments.app),
        Command::Inspect(inspect) => inspect.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
