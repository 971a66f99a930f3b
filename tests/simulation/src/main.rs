//! `simulate`: runs many lives, or traces one of them.

use std::process::ExitCode;

use clap::Parser;
use heddle_simulation::{Happened, Options, Planted, live};
use indicatif::{ProgressBar, ProgressStyle};

/// Runs Heddle's runtime through simulated lives with crashes, lost answers and rebalances, and compares what comes out
/// with a model.
#[derive(Parser)]
#[command(name = "simulate")]
struct Arguments {
    /// The number of lives.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Only the life of this seed.
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Print what happens, line by line.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Put a bug in first. A wrong name lists them.
    #[arg(long)]
    planted: Option<Planted>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let options = Options { planted: arguments.planted, traced: arguments.trace };
    let seeds = match arguments.seed {
        Some(seed) => seed..seed.saturating_add(1),
        None => arguments.from..arguments.from.saturating_add(arguments.seeds),
    };
    let bar = ProgressBar::new(seeds.end - seeds.start);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} lives, {per_sec}, {eta} left") {
        bar.set_style(style);
    }
    let (mut all, mut lives) = (Happened::default(), 0);
    for seed in seeds {
        let outcome = live(seed, &options);
        all += outcome.happened;
        lives += 1;
        bar.inc(1);
        outcome.trace.iter().for_each(|line| println!("{line}"));
        if let Some(failure) = outcome.failure() {
            bar.finish_and_clear();
            println!("{failure}");
            return ExitCode::FAILURE;
        }
    }
    bar.finish_and_clear();
    println!("{lives} lives, everything exactly once\n");
    for (what, count) in all.rows() {
        println!("{count:>12}  {what}");
    }
    ExitCode::SUCCESS
}
