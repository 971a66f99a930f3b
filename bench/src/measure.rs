//! Measures one program: the resources of its process, as Linux counts them, while a group consumes the input.

use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use heddle::usage::{cpu_seconds, memory_kb};
use heddle_fixtures::Ended;

use crate::broker::{self, Group};
use crate::orders::{OUTPUTS, PARTITIONS};
use crate::outcome::Outcome;
use crate::program::Run;
use crate::session::Session;

/// The interval between queries for the group's offsets.
const SAMPLE_EVERY: Duration = Duration::from_millis(10);
/// The longest time without progress.
const STANDSTILL_MAX: Duration = Duration::from_secs(60);
/// The time after the last commit that is counted for background work, such as writing state to disk.
const SETTLE: Duration = Duration::from_millis(1_500);
/// The longest time for a program to end after SIGTERM.
const END_TIME_MAX: Duration = Duration::from_secs(30);
/// The number of output lines that a failure shows.
const SAID_LINES: usize = 30;

/// The process of a program.
pub(crate) struct Process {
    child: Ended,
    output: PathBuf,
    pub(crate) started: Instant,
}

impl Process {
    pub(crate) fn new(child: Child, output: PathBuf) -> Self {
        Self { child: Ended(child), output, started: Instant::now() }
    }

    fn number(&self) -> u32 {
        self.child.0.id()
    }

    /// Fails with the program's output if it has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.0.try_wait()? {
            bail!("the program ended ({status}); it said:\n{}", self.said());
        }
        Ok(())
    }

    /// The end of the program's output.
    fn said(&self) -> String {
        let said = std::fs::read_to_string(&self.output).unwrap_or_default();
        let lines = said.lines().collect::<Vec<_>>();
        lines[lines.len().saturating_sub(SAID_LINES)..].join("\n")
    }

    /// Stops the program as an operator would.
    pub(crate) fn end(mut self) -> Result<()> {
        Command::new("kill").args(["-TERM", &self.child.0.id().to_string()]).status()?;
        let since = Instant::now();
        while self.child.0.try_wait()?.is_none() && since.elapsed() < END_TIME_MAX {
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// The state of a run at one moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Duration,
    committed: u64,
    cpu: f64,
    broker_cpu: f64,
}

/// The results of one run.
#[derive(Clone, Debug)]
pub(crate) struct Throughput {
    /// The time from the start of the process to the first commit.
    pub(crate) first_commit_ms: f64,
    /// The rate from the first commit to the last.
    pub(crate) events_per_second: f64,
    /// The CPU time of the program's process, from the first commit on.
    pub(crate) cpu_per_million: f64,
    /// The same for the second half of the orders. A virtual machine has finished compiling by then.
    pub(crate) cpu_per_million_warm: f64,
    /// The CPU time of the broker, from the first commit on.
    pub(crate) broker_cpu_per_million: f64,
    /// The peak memory of the process.
    pub(crate) peak_mb: u64,
    /// The memory of the process after all work is done.
    pub(crate) settled_kb: u64,
}

/// Runs a program through the whole input, and reads its output.
pub(crate) fn through(session: &Session, run: &Run) -> Result<(Throughput, Outcome)> {
    let before = broker::ends(&session.log, &OUTPUTS)?;
    let groups = [Group::new(&session.bootstrap, &run.group(), PARTITIONS)?];
    let mut process = run.start(session)?;
    let throughput = watch(session, &mut process, &groups)?;
    process.end()?;
    let outcome = Outcome::read(&session.log, &before, &run.changelog())?;
    Ok((throughput, outcome))
}

/// Watches a program that was just started until each of its groups has consumed the input, starting from its current
/// offsets.
pub(crate) fn watch(session: &Session, process: &mut Process, groups: &[Group]) -> Result<Throughput> {
    let mut positions = groups.iter().map(Group::committed).collect::<Result<Vec<_>>>()?;
    let begun = positions.iter().sum::<u64>();
    let input = broker::input(&session.log)?;
    let all = input * groups.len() as u64;
    let sample = |process: &Process, committed| {
        let (at, cpu) = (process.started.elapsed(), cpu_seconds(process.number())?);
        anyhow::Ok(Sample { at, committed, cpu, broker_cpu: cpu_seconds(session.broker_process)? })
    };
    let mut samples: Vec<Sample> = vec![];
    let mut moved = Instant::now();
    while samples.last().is_none_or(|last| last.committed < all) {
        process.check()?;
        for (group, position) in groups.iter().zip(&mut positions).filter(|(_, position)| **position < input) {
            *position = group.committed()?;
        }
        let committed = positions.iter().sum::<u64>();
        if committed > samples.last().map_or(begun, |last| last.committed) {
            samples.push(sample(process, committed)?);
            moved = Instant::now();
        }
        if moved.elapsed() > STANDSTILL_MAX {
            bail!("the program makes no progress at {committed} of {all} orders; it said:\n{}", process.said());
        }
        std::thread::sleep(SAMPLE_EVERY);
    }
    std::thread::sleep(SETTLE);
    process.check()?;
    let settled = sample(process, all)?;
    let (peak_kb, settled_kb) = (memory_kb(process.number(), "VmHWM")?, memory_kb(process.number(), "VmRSS")?);
    summary(&samples, begun, settled, (peak_kb, settled_kb))
}

fn summary(samples: &[Sample], begun: u64, settled: Sample, (peak_kb, settled_kb): (u64, u64)) -> Result<Throughput> {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else { bail!("nothing was committed") };
    // If one commit had all records, the only interval is the whole run.
    let from = if first.committed < last.committed {
        *first
    } else {
        Sample { at: Duration::ZERO, committed: begun, cpu: 0.0, ..*first }
    };
    let half = samples
        .iter()
        .rev()
        .find(|sample| sample.committed <= from.committed.midpoint(last.committed))
        .unwrap_or(&from);
    let per_million = |cpu: f64, since: u64| cpu * 1e6 / (last.committed - since) as f64;
    Ok(Throughput {
        first_commit_ms: first.at.as_secs_f64() * 1e3,
        events_per_second: (last.committed - from.committed) as f64 / (last.at - from.at).as_secs_f64(),
        cpu_per_million: per_million(settled.cpu - from.cpu, from.committed),
        cpu_per_million_warm: per_million(settled.cpu - half.cpu, half.committed),
        broker_cpu_per_million: per_million(last.broker_cpu - from.broker_cpu, from.committed),
        peak_mb: peak_kb >> 10,
        settled_kb,
    })
}
