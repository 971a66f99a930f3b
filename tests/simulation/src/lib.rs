//! Simulation of Heddle's runtime: thousands of lives with faults drawn from a seed. The worker, the step, the restore
//! and the state are the real ones; the log and the disks are in memory, and time is virtual.
//!
//! ```text
//!  seed ──> plan ──> life ──────────────────────────────────────────────> check
//!                     hosts: process, workers ──> gate ──> log, disk        against the model, which knows
//!                     crashes, pauses, rebalances, lost answers             the input and nothing else
//! ```
//!
//! - [`Plan`]: the setup of a life; [`Happened`]: the faults and events in it.
//! - `life`, `host`: the scheduler and its hosts. One thread; the same seed gives the same life, event by event.
//! - `gate`: interrupts calls into the log and the disk, delays them, or lets others go first.
//! - `changes`, `operator`: changing topics, other producers, full disks, and the operator who reacts to them.
//! - `reference`: a topic in which the component looks things up, and what it finds there.
//! - `log`, `disk`: the simulated surroundings. Their traits are those that Kafka and the real engines implement.
//! - `model`, `check`: the expected results, and the comparison.
//! - `observer`: checks that the reported events add up.
//! - `planted`: deliberate bugs that lives must find.

mod chance;
mod changes;
mod check;
mod command;
mod disk;
mod following;
mod gate;
mod handler;
mod happened;
mod host;
mod life;
mod log;
mod model;
mod observer;
mod operator;
mod plan;
mod planted;
mod reference;
mod time;
mod world;

use std::fmt;

pub use changes::{Anew, Changes, Foreign, Full, Grows};
pub use happened::Happened;
pub use plan::{Input, Plan, Rates};
pub use planted::Planted;
pub use reference::Reference;

/// Options of a life.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The bug to plant.
    pub planted: Option<Planted>,
    /// Records a trace if true.
    pub traced: bool,
}

/// The outcome of a life.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed of the life.
    pub seed: u64,
    /// The planted bug.
    pub planted: Option<Planted>,
    /// Counts of what happened in the life.
    pub happened: Happened,
    /// The trace, line by line, if it was requested.
    pub trace: Vec<String>,
    /// The first failure, if there is one.
    pub failure: Option<String>,
}

impl Outcome {
    /// The failure and how to reproduce it, or `None` if everything is as expected.
    #[must_use]
    pub fn failure(&self) -> Option<Failure<'_>> {
        self.failure.as_deref().map(|what| Failure { seed: self.seed, planted: self.planted, what })
    }
}

/// A life with a wrong result.
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

/// Runs the life of a seed.
#[must_use]
pub fn live(seed: u64, options: &Options) -> Outcome {
    life::live(seed, options)
}
