//! One test binary: runs it, enforces time limits and reads its events as they arrive.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::binaries::Binary;
use crate::limits;
use crate::report::{Outcome, Report};

/// The tests of a binary that run, and how they run.
pub(crate) struct Selection<'a> {
    pub(crate) filters: &'a [String],
    /// Selects the tests that run alone if true, all others if false.
    pub(crate) alone: bool,
    pub(crate) threads: usize,
    /// The value of `HEDDLE_TEST_SCALE`, unless the variable is set already.
    pub(crate) scale: Option<&'static str>,
}

/// Runs the selected tests of a binary and adds their outcomes to the report.
///
/// # Errors
/// If the binary cannot be run, or its output is not that of Rust's test harness.
pub(crate) fn run(binary: &Binary, selection: &Selection<'_>, report: &mut Report) -> anyhow::Result<()> {
    let mut left = listed(binary, selection)?;
    while !left.is_empty() {
        let finished = attempt(binary, selection, &left, report)?;
        ensure!(!finished.is_empty(), "{}: no test finished", binary.name);
        left.retain(|test| !finished.contains(test));
    }
    Ok(())
}

/// The names of the selected tests.
fn listed(binary: &Binary, selection: &Selection<'_>) -> anyhow::Result<BTreeSet<String>> {
    let output = Command::new(&binary.path)
        .args(["--list", "--format", "terse"])
        .current_dir(&binary.folder)
        .output()
        .with_context(|| format!("listing the tests of {}", binary.name))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let tests = text.lines().filter_map(|line| line.strip_suffix(": test"));
    let wanted =
        |test: &&str| selection.filters.is_empty() || selection.filters.iter().any(|f| test.contains(f.as_str()));
    let chosen = tests.filter(wanted).filter(|test| limits::runs_alone(test) == selection.alone);
    Ok(chosen.map(str::to_owned).collect())
}

/// Runs these tests once. Returns those that finished: not all, if one exceeded its limit or ended the process.
fn attempt(
    binary: &Binary,
    selection: &Selection<'_>,
    tests: &BTreeSet<String>,
    report: &mut Report,
) -> anyhow::Result<BTreeSet<String>> {
    let mut child = start(binary, selection, tests)?;
    let events = events(&mut child)?;
    let scale = scale(selection);
    let (mut running, mut finished) = (BTreeMap::<String, Instant>::new(), BTreeSet::new());
    loop {
        match events.recv_timeout(Duration::from_millis(500)) {
            Ok(event) if event["type"] == "test" => {
                let name = event["name"].as_str().unwrap_or_default().to_owned();
                if event["event"] == "started" {
                    running.insert(name, Instant::now());
                } else if let Some(outcome) = Outcome::of(&event) {
                    let took = running.remove(&name).map_or(Duration::ZERO, |since| since.elapsed());
                    report.test(&binary.name, &name, took, outcome);
                    finished.insert(name);
                }
            }
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        let late = running.iter().find(|(name, since)| since.elapsed() > limits::limit(name, scale));
        if let Some((name, since)) = late {
            let limit = limits::limit(name, scale);
            report.test(&binary.name, name, since.elapsed(), Outcome::exceeded(limit));
            finished.insert(name.clone());
            kill(&mut child)?;
            return Ok(finished);
        }
    }
    let status = child.wait().context("waiting for the tests")?;
    for (name, since) in running {
        report.test(&binary.name, &name, since.elapsed(), Outcome::ended(status));
        finished.insert(name);
    }
    Ok(finished)
}

fn scale(selection: &Selection<'_>) -> u32 {
    let set = std::env::var("HEDDLE_TEST_SCALE").ok();
    set.as_deref().or(selection.scale).and_then(|text| text.parse().ok()).unwrap_or(1)
}

fn start(binary: &Binary, selection: &Selection<'_>, tests: &BTreeSet<String>) -> anyhow::Result<Child> {
    let mut command = Command::new(&binary.path);
    // The harness writes events only where unstable options are allowed.
    command.env("RUSTC_BOOTSTRAP", "1").args(["-Zunstable-options", "--format", "json", "--exact"]);
    command.arg(format!("--test-threads={}", selection.threads)).args(tests);
    command.env("HEDDLE_TEST_SCALE", scale(selection).to_string());
    // A separate process group, so that the processes of a killed test are killed too.
    command.process_group(0).current_dir(&binary.folder).stdin(Stdio::null()).stdout(Stdio::piped());
    command.spawn().with_context(|| format!("running {}", binary.path.display()))
}

/// The events of the harness, as they arrive. Other output of tests is printed.
fn events(child: &mut Child) -> anyhow::Result<Receiver<Value>> {
    let output = child.stdout.take().context("the output of the tests")?;
    let (send, events) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let event = serde_json::from_str::<Value>(&line).ok().filter(Value::is_object);
            match event {
                Some(event) => {
                    // The binary was killed, so nobody receives events any more.
                    if send.send(event).is_err() {
                        return;
                    }
                }
                None => println!("{line}"),
            }
        }
    });
    Ok(events)
}

fn kill(child: &mut Child) -> anyhow::Result<()> {
    Command::new("kill").args(["-KILL", "--", &format!("-{}", child.id())]).status().context("running `kill`")?;
    child.wait().context("waiting for the killed tests")?;
    Ok(())
}
