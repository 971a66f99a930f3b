//! Benchmark of the order flow: Heddle, Kafka Streams and a hand-written loop run it in turns, on one broker with the
//! same orders.
//!
//! ```text
//!  orders (made once) ──> orders.created ──> program, one at a time ──> orders.status, customers.tier, changelog
//!                                               │                             │
//!                                               └─ /proc: CPU, memory         └─ compared: all must be the same
//! ```
//!
//! ```sh
//! cargo run -p heddle-bench --release -- --quick
//! cargo run -p heddle-bench --release -- --orders 2000000 --write
//! cargo run -p heddle-bench --release -- --orders 1000000 \
//!     --programs heddle,heddle-javascript,heddle-python,kafka-streams
//! cargo run -p heddle-bench --release -- --sweep --write
//! ```

mod broker;
mod chart;
mod latency;
mod measure;
mod native;
mod orders;
mod outcome;
mod program;
mod report;
mod session;
mod sweep;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

use program::Program;

/// Heddle beside Kafka Streams and a hand-written loop: the same orders on the same broker.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// A short run: fewer orders, one commit interval, once.
    #[arg(long)]
    quick: bool,
    /// Heddle alone, as its work grows: partitions, components, keys, sizes of records, and memory that a component
    /// takes.
    #[arg(long, conflicts_with_all = ["quick", "programs", "intervals", "repeat", "rate", "latency"])]
    sweep: bool,
    /// The most keys of a store in the sweep.
    #[arg(long, requires = "sweep", default_value_t = 1_000_000)]
    sweep_keys: u64,
    /// The number of points of each quantity that grows, from the smallest on.
    #[arg(long, requires = "sweep", default_value_t = usize::MAX, hide_default_value = true)]
    sweep_points: usize,
    /// The number of orders.
    #[arg(long, default_value_t = 300_000)]
    orders: u64,
    /// Commit intervals, in milliseconds.
    #[arg(long, value_delimiter = ',', default_value = "10,100,1000")]
    intervals: Vec<u64>,
    /// The programs.
    #[arg(long, value_delimiter = ',', default_value = "heddle,kafka-streams,native,native-packed")]
    programs: Vec<Program>,
    /// Threads of Heddle (`[workers] count`) and of Kafka Streams (`num.stream.threads`); the native loop has one.
    #[arg(long, default_value_t = 1)]
    threads: u32,
    /// The number of runs of each; the median counts.
    #[arg(long, default_value_t = 3)]
    repeat: usize,
    /// Orders a second while latency is measured; by default half of what Kafka Streams reached, at the same commit
    /// interval.
    #[arg(long)]
    rate: Option<u64>,
    /// The seconds for which latency is measured; 0 measures none.
    #[arg(long, default_value_t = 10)]
    latency: u64,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
    /// Put the figures into docs/performance.md and draw its chart.
    #[arg(long)]
    write: bool,
    /// The `heddle` to measure; by default the one of this workspace, built with the profile of this program.
    #[arg(long)]
    heddle: Option<PathBuf>,
    #[command(subcommand)]
    one: Option<One>,
}

#[derive(Debug, Subcommand)]
enum One {
    /// Runs the hand-written loop, in this process.
    #[command(hide = true)]
    Native(native::Options),
}

fn main() -> Result<()> {
    let mut arguments = Arguments::parse();
    if let Some(One::Native(options)) = &arguments.one {
        return native::run(options);
    }
    if arguments.quick {
        arguments.orders = arguments.orders.min(100_000);
        arguments.intervals = vec![100];
        arguments.repeat = 1;
        arguments.latency = arguments.latency.min(4);
    }
    if arguments.sweep {
        arguments.programs = vec![Program::Heddle];
        return sweep::run(&arguments);
    }
    let figures = session::run(&arguments)?;
    if arguments.json {
        println!("{}", report::json(&figures));
    } else {
        println!("{}", report::markdown(&figures));
    }
    if arguments.write {
        report::write(&figures)?;
    }
    Ok(())
}
