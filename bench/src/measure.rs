//! One program at work: what Linux counts of its process while a group goes through the input.

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

/// How often the group's positions are asked for.
const SAMPLE_EVERY: Duration = Duration::from_millis(10);
/// How long a program may make no progress.
const STANDSTILL_MAX: Duration = Duration::from_secs(60);
/// How long after the last commit the work in the background may take that belongs to it, such as writing state to
/// disk.
const SETTLE: Duration = Duration::from_millis(1_500);
/// How long a program may take to end when it is told to.
const END_TIME_MAX: Duration = Duration::from_secs(30);
/// How much of what a program said a failure shows, in lines.
const SAID_LINES: usize = 30;

/// A program's process.
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

    /// Fails with what the program said if it has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.0.try_wait()? {
            bail!("the program ended ({status}); it said:\n{}", self.said());
        }
        Ok(())
    }

    /// The end of what it said.
    fn said(&self) -> String {
        let said = std::fs::read_to_string(&self.output).unwrap_or_default();
        let lines = said.lines().collect::<Vec<_>>();
        lines[lines.len().saturating_sub(SAID_LINES)..].join("\n")
    }

    /// Ends it as an operator would.
    pub(crate) fn end(mut self) -> Result<()> {
        Command::new("kill").args(["-TERM", &self.child.0.id().to_string()]).status()?;
        let since = Instant::now();
        while self.child.0.try_wait()?.is_none() && since.elapsed() < END_TIME_MAX {
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// How far everything is at one moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Duration,
    committed: u64,
    cpu: f64,
    broker_cpu: f64,
}

/// What one run came to.
#[derive(Clone, Debug)]
pub(crate) struct Throughput {
    /// From the start of the process to the first commit.
    pub(crate) first_commit_ms: f64,
    /// From the first commit to the last.
    pub(crate) events_per_second: f64,
    /// Of the program's process, from the first commit on.
    pub(crate) cpu_per_million: f64,
    /// The same of the second half of the orders: a virtual machine has compiled what it will by then.
    pub(crate) cpu_per_million_warm: f64,
    /// Of the broker, from the first commit on.
    pub(crate) broker_cpu_per_million: f64,
    /// The most memory of the process.
    pub(crate) peak_mb: u64,
    /// Its memory when everything is done.
    pub(crate) settled_kb: u64,
}

/// Lets a program go through the whole input, and reads what it wrote.
pub(crate) fn through(session: &Session, run: &Run) -> Result<(Throughput, Outcome)> {
    let before = broker::ends(&session.log, &OUTPUTS)?;
    let groups = [Group::new(&session.bootstrap, &run.group(), PARTITIONS)?];
    let mut process = run.start(session)?;
    let throughput = watch(session, &mut process, &groups)?;
    process.end()?;
    let outcome = Outcome::read(&session.log, &before, &run.changelog())?;
    Ok((throughput, outcome))
}

/// Watches a program that was just started until each of its groups is through the input, from where the group is now.
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
            bail!("the program stands still at {committed} of {all} orders; it said:\n{}", process.said());
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
    // One commit for all: then there is nothing but the whole.
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
