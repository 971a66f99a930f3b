//! A benchmark session: a broker, the orders, and every program in turn, repeatedly.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use heddle::log::kafka::KafkaLog;
use heddle_fixtures::Ended;
use heddle_fixtures::kafka::Kafka;
use indicatif::{ProgressBar, ProgressStyle};

use crate::latency::{self, Latency};
use crate::measure::{self, Throughput};
use crate::orders::{self, INPUT, OUTPUTS, Orders, PARTITIONS};
use crate::outcome::Outcome;
use crate::program::{self, Program, Run};
use crate::{Arguments, broker};

/// The number of orders that warm up the broker before measurements.
const WARM_UP: u64 = 100_000;

/// The ids of the schemas in the registry.
pub(crate) struct Ids {
    pub(crate) order: u32,
    status: u32,
    tier: u32,
    account: u32,
}

impl Ids {
    /// The ids in the order of the programs' arguments.
    pub(crate) fn list(&self) -> [u32; 4] {
        [self.order, self.status, self.tier, self.account]
    }
}

/// The state that all runs share.
pub(crate) struct Session {
    pub(crate) bootstrap: String,
    pub(crate) broker_process: u32,
    pub(crate) log: KafkaLog,
    pub(crate) ids: Ids,
    pub(crate) classpath: String,
    /// The number of threads of each program.
    pub(crate) threads: u32,
    registry: String,
    heddle: PathBuf,
    work: tempfile::TempDir,
    _registry: Ended,
    _broker: Kafka,
}

/// All measurements.
pub(crate) struct Figures {
    pub(crate) orders: u64,
    pub(crate) emitted: u64,
    pub(crate) rows: Vec<Row>,
}

/// One program at one commit interval.
pub(crate) struct Row {
    pub(crate) program: Program,
    pub(crate) interval_ms: u64,
    pub(crate) runs: Vec<Throughput>,
    pub(crate) latency: Option<Latency>,
}

/// Runs the whole benchmark.
pub(crate) fn run(arguments: &Arguments) -> Result<Figures> {
    let progress = ProgressBar::new_spinner().with_style(ProgressStyle::with_template("{spinner} {msg}")?);
    progress.enable_steady_tick(Duration::from_millis(200));
    let say = |what: String| {
        if progress.is_hidden() {
            eprintln!("{what}");
        } else {
            progress.set_message(what);
        }
    };
    say("building heddle, its component and the Kafka Streams program, and starting a broker".to_owned());
    let session = Session::start(arguments)?;
    let mut figures = Figures { orders: arguments.orders, emitted: 0, rows: vec![] };
    for interval_ms in &arguments.intervals {
        figures.rows.extend(arguments.programs.iter().map(|program| Row {
            program: *program,
            interval_ms: *interval_ms,
            runs: vec![],
            latency: None,
        }));
    }
    let orders = Orders::new(&session.bootstrap, session.ids.order, orders::customers(arguments.orders))?;
    say(format!("warming the broker up, then writing {} orders", arguments.orders));
    session.load(&orders, 0..arguments.orders)?;
    session.warm_up(&orders, arguments)?;
    let mut reference: Option<(String, Outcome)> = None;
    for round in 1..=arguments.repeat {
        for row in &mut figures.rows {
            let run = row.run(round);
            let (throughput, outcome) = measure::through(&session, &run).with_context(|| run.name.clone())?;
            progress.suspend(|| eprintln!("{}: {throughput:.1?}", run.name));
            row.runs.push(throughput);
            match &reference {
                Some((other, expected)) => expected.compare(other, &outcome, &run.name)?,
                None => reference = Some((run.name, outcome)),
            }
        }
    }
    figures.emitted = reference.map_or(0, |(_, outcome)| outcome.emitted());
    if arguments.latency > 0 {
        let mut next = arguments.orders;
        let rates = figures.rows.iter().map(|row| figures.half_load(arguments, row)).collect::<Vec<_>>();
        for (row, rate) in figures.rows.iter_mut().zip(rates) {
            let run = row.run(arguments.repeat);
            say(format!("latency of {} at {rate} orders a second", run.name));
            let latency = latency::measure(&session, &run, &orders, &mut next, rate, arguments.latency);
            let latency = latency.with_context(|| run.name.clone())?;
            progress.suspend(|| eprintln!("{}: {latency:.1?}", run.name));
            row.latency = Some(latency);
        }
    }
    progress.finish_and_clear();
    Ok(figures)
}

impl Row {
    fn run(&self, round: usize) -> Run {
        let name = match self.program {
            Program::Heddle => "heddle",
            Program::HeddleJavaScript => "javascript",
            Program::HeddlePython => "python",
            Program::KafkaStreams => "streams",
            Program::Native => "native",
            Program::NativePacked => "packed",
        };
        let interval_ms = self.interval_ms;
        Run { program: self.program, name: format!("{name}-{interval_ms}-{round}"), interval_ms }
    }
}

impl Figures {
    /// The rate for latency: half the throughput of Kafka Streams at the same commit interval, or of the slowest
    /// program without Kafka Streams.
    ///
    /// If the program's own throughput is lower, half of that is used, because a program that cannot keep up has a
    /// queue instead of a latency.
    fn half_load(&self, arguments: &Arguments, own: &Row) -> u64 {
        let reached = |row: &Row| row.median(|run| run.events_per_second);
        let rows = || self.rows.iter().filter(|row| row.interval_ms == own.interval_ms);
        let peer = rows().find(|row| row.program == Program::KafkaStreams).map(reached);
        let peer = peer.unwrap_or_else(|| rows().map(reached).fold(f64::INFINITY, f64::min));
        arguments.rate.unwrap_or((peer.min(reached(own)) / 2.0) as u64).max(100)
    }
}

impl Row {
    /// The median of one figure over the runs.
    pub(crate) fn median(&self, figure: impl Fn(&Throughput) -> f64) -> f64 {
        let mut values = self.runs.iter().map(figure).collect::<Vec<_>>();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

impl Session {
    /// Builds the programs, and starts a broker and a registry.
    pub(crate) fn start(arguments: &Arguments) -> Result<Self> {
        let heddle = match &arguments.heddle {
            Some(heddle) => heddle.clone(),
            None => program::build_heddle()?,
        };
        // The component in Rust warms up the broker, whichever programs run.
        for app in [Program::Heddle].iter().chain(&arguments.programs).filter_map(|program| program.app()) {
            program::done(Command::new(&heddle).args(["build", "--app"]).arg(&app), "building the component")?;
        }
        let streams = arguments.programs.contains(&Program::KafkaStreams);
        let classpath = if streams { program::build_kafka_streams()? } else { String::new() };
        let broker = Kafka::start_for_measuring();
        let work = tempfile::tempdir()?;
        let (process, registry) = start_registry(&heddle, work.path())?;
        let log = KafkaLog::connect(&broker.bootstrap(), &BTreeMap::new())?;
        [INPUT].iter().chain(&OUTPUTS).try_for_each(|topic| broker::create(&log, topic, PARTITIONS))?;
        let id = |subject: &str, file: &str| register(&registry, subject, file);
        let ids = Ids {
            order: id("orders.created-value", "orders.created-value")?,
            status: id("orders.status-value", "orders.status-value")?,
            tier: id("customers.tier-value", "customers.tier-value")?,
            account: id("flow.ledger.accounts-value", "Account")?,
        };
        Ok(Self {
            bootstrap: broker.bootstrap(),
            broker_process: broker.process_id().context("the broker does not run")?,
            log,
            ids,
            classpath,
            threads: arguments.threads,
            registry,
            heddle,
            work,
            _registry: process,
            _broker: broker,
        })
    }

    /// The folder of one run's state.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    /// A `heddle` command for an app on this session's broker and registry.
    pub(crate) fn heddle(&self, arguments: &[&str], app: &Path) -> Command {
        let mut command = Command::new(&self.heddle);
        command
            .args(arguments)
            .arg("--app")
            .arg(app)
            .env("HEDDLE_LOG_BOOTSTRAP", &self.bootstrap)
            .env("HEDDLE_REGISTRY_URL", &self.registry)
            .env("HEDDLE_ADMIN_LISTEN", "127.0.0.1:0");
        command
    }

    /// Writes the orders with these numbers to the input.
    pub(crate) fn load(&self, orders: &Orders, mut numbers: Range<u64>) -> Result<()> {
        numbers.try_for_each(|number| orders.send(number, None))?;
        orders.flush()
    }

    /// Warms up the broker. A new broker takes five times the CPU, so all work is done once before it counts.
    fn warm_up(&self, orders: &Orders, arguments: &Arguments) -> Result<()> {
        let rounds = WARM_UP.div_ceil(arguments.orders).min(2);
        for round in 0..if arguments.orders < 20_000 { 0 } else { rounds } {
            for program in [Program::NativePacked, Program::Heddle] {
                let run = Run { program, name: format!("warm-{round}-{program:?}").to_lowercase(), interval_ms: 100 };
                measure::through(self, &run)?;
            }
        }
        orders.flush()
    }
}

/// Starts a schema registry. Returns its address.
fn start_registry(heddle: &Path, work: &Path) -> Result<(Ended, String)> {
    let mut command = Command::new(heddle);
    command.args(["registry", "--listen", "127.0.0.1:0", "--data"]).arg(work.join("registry"));
    let mut process = Ended(command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?);
    let mut lines = BufReader::new(process.0.stderr.take().context("the registry's output")?).lines();
    let line = lines.next().context("the registry ended")??;
    let address = line.split_whitespace().last().context("the registry reports no address")?.to_owned();
    // The registry must not block on its output, so the other lines are read, too.
    std::thread::spawn(move || lines.for_each(drop));
    Ok((process, address))
}

fn register(registry: &str, subject: &str, file: &str) -> Result<u32> {
    let schema = std::fs::read_to_string(program::contracts().join(format!("{file}.avsc")))?;
    let url = format!("{registry}/subjects/{subject}/versions");
    let mut answer = ureq::post(&url).send_json(serde_json::json!({"schema": schema}))?;
    let answer = answer.body_mut().read_json::<serde_json::Value>()?;
    match answer["id"].as_u64() {
        Some(id) => Ok(u32::try_from(id)?),
        None => bail!("the registry answers {answer}"),
    }
}
