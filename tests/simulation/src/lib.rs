//! Heddle's runtime, lived through thousands of times: the worker, the step, the restore and the state as they are, on
//! a log and disks in memory, in virtual time, with everything going wrong that a seed says.
//!
//! ```text
//!  seed ──> plan ──> life ──────────────────────────────────────────────> check
//!                     hosts: process, workers ──> gate ──> log, disk        against the model, which knows
//!                     crashes, pauses, rebalances, lost answers             the input and nothing else
//! ```
//!
//! - [`plan`](Plan): what a life is made of; [`Happened`]: what went wrong in it.
//! - `life`, `host`: the scheduler, and what it moves. One thread; the same seed is the same life, event by event.
//! - `gate`: where calls into log and disk are cut off, held up, or let others go first.
//! - `changes`, `operator`: topics that change under the hosts, other producers, full disks, and the person who looks after them.
//! - `log`, `disk`: the simulated surroundings; the traits are those that Kafka and the real engines implement.
//! - `model`, `check`: what must come out, and whether it did.
//! - `planted`: bugs put in on purpose, which lives must find.

mod chance;
mod changes;
mod check;
mod command;
mod disk;
mod gate;
mod handler;
mod happened;
mod host;
mod life;
mod log;
mod model;
mod operator;
mod plan;
mod planted;
mod time;
mod world;

use std::fmt;

pub use changes::{Anew, Changes, Foreign, Full, Grows};
pub use happened::Happened;
pub use plan::{Input, Plan, Rates};
pub use planted::Planted;

/// How to live.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A bug to put in.
    pub planted: Option<Planted>,
    /// Whether to write down what happens.
    pub traced: bool,
}

/// How a life went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// The bug that was put in.
    pub planted: Option<Planted>,
    /// What happened in it.
    pub happened: Happened,
    /// Line by line, if it was asked for.
    pub trace: Vec<String>,
    /// What is wrong, if something is.
    pub failure: Option<String>,
}

impl Outcome {
    /// What is wrong and how to see it again; `None` if all is as it must be.
    #[must_use]
    pub fn failure(&self) -> Option<Failure<'_>> {
        self.failure.as_deref().map(|what| Failure { seed: self.seed, planted: self.planted, what })
    }
}

/// A life in which something came out wrong.
#[derive(Clone, Copy, Debug)]
pub struct Failure<'a> {
    seed: u64,
    planted: Option<Planted>,
    what: &'a str,
}

impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, planted, what } = self;
        write!(
            f,
            "seed {seed}: {what}\n  replay it: cargo run -p heddle-simulation --release -- --seed {seed} --trace"
        )?;
        planted.map_or(Ok(()), |planted| write!(f, " --planted {planted}"))
    }
}

/// Lives the life of a seed.
#[must_use]
pub fn live(seed: u64, options: &Options) -> Outcome {
    life::live(seed, options)
}
