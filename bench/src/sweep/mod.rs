//! The cost of Heddle as its work grows: one dimension grows at a time, and everything else stays as in the order flow.
//!
//! ```text
//!  point ──> new topics ──> orders ──> one process: `components` ledgers, each in its group ──> /proc until all end
//!              a full store: orders ──> the same process once before, not counted ──┘
//! ```

mod report;

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use heddle_contract::section;
use indicatif::{ProgressBar, ProgressStyle};

use crate::broker::{self, Group};
use crate::measure::{self, Throughput};
use crate::orders::{INPUT, ORDER_BYTES, OUTPUTS, Orders, PARTITIONS};
use crate::program::{self, Program, Run};
use crate::session::Session;
use crate::{Arguments, report as reports};

/// The commit interval of all points.
const INTERVAL_MS: u64 = 100;
/// The number of customers, where it is not the growing dimension.
const CUSTOMERS: u64 = 10_000;
/// The maximum size of a point's orders, in bytes. Large records are therefore fewer.
const INPUT_BYTES_MAX: u64 = 300_000_000;
/// The orders for components that are otherwise idle. They show that all components run.
const IDLE_ORDERS: u64 = 100;

/// The growing dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Axis {
    Partitions,
    Components,
    Keys,
    RecordBytes,
    IdleComponents,
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Partitions => "partitions",
            Self::Components => "components",
            Self::Keys => "keys in the store",
            Self::RecordBytes => "bytes of a record",
            Self::IdleComponents => "idle components",
        })
    }
}

/// One run of the sweep.
#[derive(Clone, Debug)]
struct Point {
    axis: Axis,
    /// The size of the growing dimension.
    to: u64,
    partitions: i32,
    components: u64,
    customers: u64,
    record_bytes: u64,
    /// The orders of a previous run, which fills the store.
    filling: u64,
    /// The orders that are measured. Every component processes each of them.
    orders: u64,
}

/// A run with its results.
struct Measured {
    point: Point,
    figures: Throughput,
}

/// All runs of a sweep, most of them with `deliveries` deliveries, and at most `of_each` per dimension.
///
/// There are always two runs with idle components: their difference is the cost of one component.
fn points(deliveries: u64, keys_max: u64, of_each: usize) -> Result<Vec<Point>> {
    let flow = |axis, to| Point {
        axis,
        to,
        partitions: PARTITIONS,
        components: 1,
        customers: CUSTOMERS,
        record_bytes: ORDER_BYTES,
        filling: 0,
        orders: deliveries,
    };
    let mut points = vec![];
    for to in [1, 4, 16, 64].into_iter().take(of_each) {
        points.push(Point { partitions: i32::try_from(to)?, ..flow(Axis::Partitions, to) });
    }
    for to in [1, 10, 50].into_iter().take(of_each) {
        // Fewer orders for each component, but enough that they take more than a commit or two.
        points.push(Point { components: to, orders: (deliveries / to.min(10)).max(1), ..flow(Axis::Components, to) });
    }
    for to in [1_000, 100_000, 1_000_000, 10_000_000].into_iter().filter(|keys| *keys <= keys_max).take(of_each) {
        points.push(Point { customers: to, filling: to, ..flow(Axis::Keys, to) });
    }
    for to in [ORDER_BYTES, 1_000, 10_000, 100_000].into_iter().take(of_each) {
        let orders = deliveries.min(INPUT_BYTES_MAX / to);
        points.push(Point { record_bytes: to, orders, ..flow(Axis::RecordBytes, to) });
    }
    for to in [1, 50] {
        points.push(Point { components: to, orders: IDLE_ORDERS, ..flow(Axis::IdleComponents, to) });
    }
    Ok(points)
}

/// Runs every point, and prints its results.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let points = points(arguments.orders, arguments.sweep_keys, arguments.sweep_points)?;
    let style = ProgressStyle::with_template("{spinner} {pos}/{len} {msg}")?;
    let progress = ProgressBar::new(points.len() as u64).with_style(style);
    progress.enable_steady_tick(Duration::from_millis(200));
    progress.set_message("building heddle and its component, and starting a broker");
    let session = Session::start(arguments)?;
    // A new broker takes five times the CPU.
    progress.set_message("warming the broker up");
    if let Some(first) = points.first() {
        first.measure(&session, "warm")?;
    }
    let mut measured = vec![];
    for (number, point) in points.into_iter().enumerate() {
        progress.set_message(format!("{}: {}", point.axis, point.to));
        let figures = point.measure(&session, &format!("sweep-{number}"));
        let figures = figures.with_context(|| format!("{}: {}", point.axis, point.to))?;
        progress.suspend(|| eprintln!("{}: {}: {figures:.1?}", point.axis, point.to));
        measured.push(Measured { point, figures });
        progress.inc(1);
    }
    progress.finish_and_clear();
    let table = report::markdown(&measured);
    if arguments.json {
        println!("{}", report::json(&measured));
    } else {
        println!("{table}");
    }
    if arguments.write {
        reports::put("heddle-bench --sweep", &table)?;
    }
    Ok(())
}

impl Point {
    fn measure(&self, session: &Session, name: &str) -> Result<Throughput> {
        broker::replace(&session.log, &[&[INPUT], &OUTPUTS[..]].concat(), self.partitions)?;
        let orders = Orders::new(&session.bootstrap, session.ids.order, self.customers)?;
        let orders = orders.padded(self.record_bytes);
        let run = Run { program: Program::Heddle, name: name.to_owned(), interval_ms: INTERVAL_MS };
        let names = (1..=self.components).map(|number| format!("ledger-{number}")).collect::<Vec<_>>();
        let folder = session.folder(&format!("{name}-components"));
        copies(&folder, &names)?;
        let group = |name: &String| Group::new(&session.bootstrap, &run.group_of(name), self.partitions);
        let groups = names.iter().map(group).collect::<Result<Vec<_>>>()?;
        let through = |numbers: Range<u64>| {
            session.load(&orders, numbers)?;
            let mut command = run.command(session)?;
            command.env("HEDDLE_APP_COMPONENTS", folder.join("*.wasm"));
            let mut process = run.spawn(session, command)?;
            let figures = measure::watch(session, &mut process, &groups)?;
            process.end()?;
            anyhow::Ok(figures)
        };
        if self.filling > 0 {
            through(0..self.filling)?;
        }
        let figures = through(self.filling..self.filling + self.orders)?;
        // The next point's state needs the disk space.
        for folder in [session.folder(name), folder] {
            std::fs::remove_dir_all(folder)?;
        }
        Ok(figures)
    }
}

/// Copies the ledger's file, once under each name.
fn copies(folder: &Path, names: &[String]) -> Result<()> {
    let built = program::home().join("app/components/ledger/ledger.wasm");
    let wasm = std::fs::read(&built).with_context(|| built.display().to_string())?;
    let contract = section::extract(&wasm)?;
    let own = format!("name = {:?}", contract.component.name);
    std::fs::create_dir_all(folder)?;
    for name in names {
        let mut contract = contract.clone();
        contract.component.manifest = contract.component.manifest.replacen(&own, &format!("name = {name:?}"), 1);
        contract.component.name.clone_from(name);
        std::fs::write(folder.join(format!("{name}.wasm")), section::embed(&wasm, &contract)?)?;
    }
    Ok(())
}
