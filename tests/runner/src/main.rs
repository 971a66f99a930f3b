//! Runs every test of the workspace: `scripts/test` and CI call this.
//!
//! ```text
//!  cargo test --no-run ──> test binaries ──> together: most tests wait, so more run than there are cores
//!                                       └──> alone: those that saturate the machine or measure it
//! ```
//!
//! Each test has a time limit. A test that exceeds it is killed with its binary and reported, and the binary's other
//! tests run again without it. The last lines list the slowest steps and tests, and the counts.
#![allow(clippy::print_stdout)]

mod binaries;
mod limits;
mod once;
mod report;
mod suite;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, bail, ensure};
use clap::Parser;

use crate::binaries::Binary;
use crate::report::Report;
use crate::suite::Selection;

/// Runs Heddle's tests.
#[derive(Parser)]
struct Arguments {
    /// Check formatting and lints first, as CI does.
    #[arg(long)]
    lints: bool,
    /// Run only tests whose name contains one of these.
    filters: Vec<String>,
    /// Test at the scale of a release: more kills, seeds, reloads and minutes (`HEDDLE_TEST_SCALE=10`).
    #[arg(long)]
    full: bool,
    /// Run two busy loops beside the tests, as a machine does that others use.
    #[arg(long)]
    stress: bool,
    /// The number of tests of the host that run at a time.
    #[arg(long, env = "HEDDLE_TEST_THREADS", default_value_t = threads_default())]
    threads: usize,
    /// Run only this test binary, such as `all` or `heddle-core`.
    #[arg(long)]
    binary: Option<String>,
}

/// Twice the number of cores, because most tests of the host wait for processes and sockets.
fn threads_default() -> usize {
    2 * std::thread::available_parallelism().map_or(2, usize::from)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut report = Report::start();
    let finished = run(&arguments, &mut report);
    report.print();
    if let Err(error) = &finished {
        eprintln!("{error:#}");
    }
    if finished.is_ok() && report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(arguments: &Arguments, report: &mut Report) -> anyhow::Result<()> {
    if arguments.lints {
        report.step("formatting", || cargo("fmt", &["--all", "--check"]))?;
        report
            .step("lints", || cargo("clippy", &["--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]))?;
    }
    let mut binaries = report.step("building the tests", binaries::build)?;
    if arguments.lints {
        report.step("comparing features", once::check)?;
    }
    if let Some(only) = &arguments.binary {
        binaries.retain(|binary| binary.name == *only);
        ensure!(!binaries.is_empty(), "there is no test binary `{only}`");
    }
    let _busy = arguments.stress.then(BusyLoops::start);
    let scale = if arguments.full { Some("10") } else { None };
    // The host's tests wait for most of their time. The others compute, so they fill the gaps.
    let (of_host, others) = binaries.iter().partition::<Vec<_>, _>(|binary| binary.name == limits::HOST);
    let mut beside = Report::start();
    let run_all = |binaries: &[&Binary], alone: bool, threads: usize, report: &mut Report| {
        binaries.iter().try_for_each(|binary| {
            let selection = Selection { filters: &arguments.filters, alone, threads, scale };
            let name = format!("{}{}", binary.name, if alone { ", alone" } else { "" });
            report.timed(&name, |report| suite::run(binary, &selection, report))
        })
    };
    let together = std::thread::scope(|scope| {
        let others = scope.spawn(|| run_all(&others, false, 1, &mut beside));
        let of_host = run_all(&of_host, false, arguments.threads, report);
        of_host.and(others.join().unwrap_or_else(|_| bail!("running the tests panicked")))
    });
    report.absorb(beside);
    together?;
    run_all(&binaries.iter().collect::<Vec<_>>(), true, 1, report)
}

/// Runs a command of cargo, which prints its own errors.
fn cargo(command: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let status = binaries::cargo().arg(command).args(arguments).status().context("running cargo")?;
    ensure!(status.success(), "cargo {command} {}: failed", arguments.join(" "));
    Ok(())
}

/// Two threads that loop without yielding, until this is dropped.
struct BusyLoops(Arc<AtomicBool>);

impl BusyLoops {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        for _ in 0..2 {
            let stop = stop.clone();
            std::thread::spawn(move || while !stop.load(Ordering::Relaxed) {});
        }
        Self(stop)
    }
}

impl Drop for BusyLoops {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
