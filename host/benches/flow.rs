//! Measures the cost of state: the order platform's `ledger` (decode, dedup, aggregate, one or two outputs) over the
//! embedded log, by engine. Also measures the time from the kill of a host until it commits again.
//!
//! ```sh
//! cargo run -- --app examples/order-platform build
//! cargo bench --bench flow -- [flow|restart|ids] [--orders N] [--keys N] [--ids N]
//! ```
//!
//! Each measurement runs in a separate process, so that memory is that of one engine. CPU and memory are what Linux
//! counts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser;
use heddle::guest::{Component, Engine, Framing, Instance, Schemas};
use heddle::log::embedded::{EmbeddedLog, EmbeddedOptions};
use heddle::log::{Log, MemberOptions, Start, TopicSpec};
use heddle::registry::SchemaId;
use heddle::runtime::{
    Clock, CommitPolicy, Common, Progress, SharedBreaker, SystemClock, Tasks, Worker, own_topics, task_spec,
};
use heddle::shutdown::Shutdown;
use heddle::state::{Bounds, CACHE_BYTES, EngineKind, HostState, open_engine};
use heddle::usage;
use heddle_contract::format;
use heddle_contract::format::avro::{Schema, json, parse};
use heddle_contract::wire;
use heddle_core::event::{NewRecord, Timestamp};
use heddle_core::task::TaskSpec;

const PARTITIONS: i32 = 4;
const INPUT: &str = "orders.created";

#[derive(Parser)]
struct Arguments {
    /// The part to measure; without it, everything.
    what: Option<String>,
    /// Orders of the flow.
    #[arg(long, default_value_t = 500_000)]
    orders: u64,
    /// Keys in the store before the restart.
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// Message ids to remember.
    #[arg(long, default_value_t = 10_000_000)]
    ids: u64,
    /// One measurement, in this process.
    #[arg(long, hide = true)]
    one: Option<String>,
    /// The folder of its data.
    #[arg(long, hide = true)]
    data: Option<PathBuf>,
    /// The argument that `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let arguments = Arguments::parse();
    match &arguments.one {
        Some(one) => measure(one, &arguments),
        None => all(&arguments),
    }
}

/// Runs each measurement in a separate process.
fn all(arguments: &Arguments) {
    let wanted = |what: &str| arguments.what.as_deref().is_none_or(|wanted| wanted == what);
    let run = |one: &str, data: &Path| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--one", one, "--data"]).arg(data);
        command.args(["--orders", &arguments.orders.to_string(), "--keys", &arguments.keys.to_string()]);
        command.args(["--ids", &arguments.ids.to_string()]);
        assert!(command.status().unwrap().success(), "{one}");
    };
    if wanted("flow") {
        println!("{} orders, {PARTITIONS} partitions, a transaction every 100 ms", arguments.orders);
        for engine in ["memory", "sled", "fjall"] {
            let data = tempfile::tempdir().unwrap();
            run(&format!("load:{engine}"), data.path());
            run(&format!("flow:{engine}"), data.path());
        }
    }
    if wanted("restart") {
        println!("a host that was killed, {} keys in its store: until the first record is committed", arguments.keys);
        for engine in ["sled", "fjall"] {
            let data = tempfile::tempdir().unwrap();
            run(&format!("fill:{engine}"), data.path());
            run(&format!("restart:{engine}"), data.path());
            run(&format!("rebuild:{engine}"), data.path());
            let empty = tempfile::tempdir().unwrap();
            run(&format!("empty:{engine}"), empty.path());
        }
    }
    if wanted("ids") {
        println!("{} different message ids in one window", arguments.ids);
        let data = tempfile::tempdir().unwrap();
        run("ids:sled", data.path());
    }
}

fn measure(one: &str, arguments: &Arguments) {
    let (what, engine) = one.split_once(':').unwrap();
    let kind = match engine {
        "sled" => EngineKind::Sled,
        "fjall" => EngineKind::Fjall,
        _ => EngineKind::Memory,
    };
    let app = App::open(arguments.data.as_deref().unwrap());
    match what {
        "load" => app.load(0..arguments.orders, arguments.orders / 20),
        "flow" => {
            let used = app.drain(kind, Stop::Idle);
            let million = arguments.orders as f64 / 1e6;
            println!(
                "  {engine:7} {:5.2} CPU-s per million, {:6.0} events/s, {:4} MB at most, {:4} MB of state on disk",
                used.cpu / million,
                arguments.orders as f64 / used.took.as_secs_f64(),
                memory_peak_mb(),
                used.state_bytes >> 20
            );
        }
        "fill" => {
            app.load(0..arguments.keys, arguments.keys);
            app.drain(kind, Stop::Idle);
        }
        "restart" | "rebuild" | "empty" => {
            if what == "rebuild" {
                std::fs::remove_dir_all(app.folder.join("state")).unwrap();
            }
            app.load(arguments.keys..arguments.keys + 1, 1);
            let used = app.drain(kind, Stop::FirstCommit);
            let ms = |time: Duration| time.as_secs_f64() * 1e3;
            let (opened, restored, took) = (ms(used.opened), ms(used.restored), ms(used.took));
            println!(
                "  {engine:7} {what:8} {took:8.1} ms (engine open after {opened:.1} ms, state restored after {restored:.1} ms)"
            );
        }
        "ids" => remember(kind, arguments.ids, &app),
        other => panic!("there is nothing to measure called {other}"),
    }
}

struct App {
    folder: PathBuf,
    log: Arc<dyn Log>,
    component: Arc<Component>,
    spec: Arc<TaskSpec>,
    schemas: Arc<dyn Schemas>,
    schema: Schema,
    id: SchemaId,
}

struct Known(BTreeMap<SchemaId, format::Schema>);

impl Schemas for Known {
    fn writer(&self, id: SchemaId) -> Result<Option<format::Schema>, String> {
        Ok(self.0.get(&id).cloned())
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Stop {
    Idle,
    FirstCommit,
}

struct Used {
    cpu: f64,
    took: Duration,
    opened: Duration,
    restored: Duration,
    state_bytes: u64,
}

impl App {
    fn open(folder: &Path) -> Self {
        let path =
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/order-platform/components/ledger/ledger.wasm");
        let wasm = std::fs::read(&path).expect("build it first: cargo run -- --app examples/order-platform build");
        let (contract, manifest) = Component::contract("ledger.wasm", &wasm).unwrap();
        let ids: Framing = contract.schemas.keys().cloned().zip((1..).map(SchemaId)).collect();
        let schema = |name: &str| parse(name, &contract.schemas[name].text).unwrap();
        let known = ids.ids.iter().map(|(name, id)| (*id, schema(name).into())).collect();
        let engine = Engine::start(Some(&folder.join("compiled"))).unwrap();
        let log: Arc<dyn Log> = Arc::new(EmbeddedLog::open(&folder.join("log"), EmbeddedOptions::default()).unwrap());
        let spec = task_spec("order-platform", &manifest, []);
        let mut topics = own_topics(&spec, PARTITIONS);
        topics.extend([INPUT, "orders.status", "customers.tier"].map(|name| TopicSpec {
            name: name.to_owned(),
            partitions: PARTITIONS,
            replication: None,
            options: BTreeMap::new(),
        }));
        for topic in topics {
            // There already in every measurement but the first.
            let _ = log.create_topic(&topic);
        }
        Self {
            folder: folder.to_owned(),
            log,
            component: Arc::new(Component::load(&engine, "ledger.wasm", &wasm, &ids).unwrap()),
            spec: Arc::new(spec),
            schemas: Arc::new(Known(known)),
            schema: schema("orders.created-value"),
            id: ids.ids["orders.created-value"],
        }
    }

    /// Writes orders, each of the next of `customers`.
    fn load(&self, numbers: std::ops::Range<u64>, customers: u64) {
        let numbers = numbers.collect::<Vec<_>>();
        for chunk in numbers.chunks(10_000) {
            let record = |n: &u64| {
                let customer = format!("C-{:08}", (n * 7_919) % customers.max(1));
                let items = [1, 2, 3]
                    .map(|i| serde_json::json!({"productId": format!("P-{i:03}"), "quantity": 1, "price": 10.5}));
                let order = serde_json::json!({"orderId": format!("O-{n:010}"), "customerId": customer,
                    "orderDate": 1_767_225_600_000i64, "totalAmount": 31.5, "items": items});
                let mut value = wire::prefix(self.id).to_vec();
                json::encode(&self.schema, &order, &mut value).unwrap();
                NewRecord {
                    topic: INPUT.into(),
                    partition: None,
                    timestamp: Some(Timestamp(1_767_225_600_000)),
                    key: Some(customer.into()),
                    value: Some(value.into()),
                    headers: vec![],
                }
            };
            self.log.append(&chunk.iter().map(record).collect::<Vec<_>>()).unwrap();
        }
    }

    /// Runs one worker over the existing records. The process ends without a shutdown, like a killed one, except that
    /// [`Stop::Idle`] gives the flusher the time that a working host has anyway.
    fn drain(&self, kind: EngineKind, stop: Stop) -> Used {
        let (started, cpu) = (Instant::now(), cpu_seconds());
        let engine = open_engine(kind, &self.folder.join("state"), CACHE_BYTES).unwrap();
        let opened = started.elapsed();
        let state = Arc::new(HostState::start(engine, Bounds::default()).unwrap());
        let member = self.log.join(&MemberOptions {
            group: self.spec.component.to_string(),
            topics: vec![INPUT.into()],
            transactional_id: "flow".to_owned(),
            instance_id: Some("flow".to_owned()),
            start: Start::Beginning,
            starts: Default::default(),
            transaction_time: heddle::runtime::TRANSACTION_TIME,
            batch_records_max: 1_000,
        });
        let progress = Arc::new(Progress::new(heddle::telemetry::Telemetry::new(self.spec.component.clone())));
        let handler = Box::new(Instance::new(self.component.clone(), self.schemas.clone()));
        let tasks = Tasks::new(self.spec.clone(), self.log.clone(), state.clone(), progress.clone(), 1);
        let commit = CommitPolicy { interval: Duration::from_millis(100), records_max: 10_000 };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let breaker = SharedBreaker::new(None, progress.clone());
        let common = Common { clock, breaker, progress: progress.clone(), shutdown: Shutdown::default() };
        let mut worker = Worker::new(member.unwrap(), handler, tasks, commit, common);
        let done = || match stop {
            Stop::Idle => progress.idle_for(Duration::from_millis(500)),
            Stop::FirstCommit => progress.snapshot().commits > 0,
        };
        let mut restored = Duration::ZERO;
        while !done() {
            worker.turn().unwrap();
            // Tasks are assigned in the first turns, and read nothing before their state is there.
            if restored.is_zero() && !state.tasks().is_empty() && progress.snapshot().restoring == 0 {
                restored = started.elapsed();
            }
        }
        let took = started.elapsed() - if stop == Stop::Idle { Duration::from_millis(500) } else { Duration::ZERO };
        if stop == Stop::Idle {
            std::thread::sleep(Duration::from_secs(3));
        }
        let used = Used { cpu: cpu_seconds() - cpu, took, opened, restored, state_bytes: state.size_bytes().unwrap() };
        std::mem::forget((worker, state));
        used
    }
}

/// Notes ids as commits do, and prints the size of the host's memory.
fn remember(kind: EngineKind, ids: u64, app: &App) {
    use heddle_core::dedup::{MessageId, segments};
    use heddle_core::event::{Offset, Partition, Record, TopicPartition};
    use heddle_core::state::TaskState as _;

    let engine = open_engine(kind, &app.folder.join("state"), CACHE_BYTES).unwrap();
    let state = HostState::start(engine, Bounds::default()).unwrap();
    let stores = state.open(&app.spec, Partition(0)).unwrap();
    let changelog = app.spec.seen_changelog.clone().unwrap();
    let at = Timestamp(1_767_225_600_000);
    let id = |n: u64| MessageId(Bytes::from(format!("{:032x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))));
    for topic in app.spec.changelogs.iter().chain([&changelog]) {
        stores.reached(topic, heddle::state::Watermark { topic_id: None, offset: Offset(0) });
    }
    let started = Instant::now();
    let mut offset = 0;
    for from in (0..ids).step_by(5_000) {
        let part = (from..(from + 5_000).min(ids)).map(|n| (id(n), at)).collect();
        for segment in segments(&part) {
            let source = TopicPartition { topic: changelog.clone(), partition: Partition(0) };
            let (key, value) = (Some(Bytes::from_static(INPUT.as_bytes())), Some(segment));
            let record = Record { source, offset: Offset(offset), timestamp: at, key, value, headers: vec![] };
            stores.replay(&record).unwrap();
            offset += 1;
        }
        stores.reached(&changelog, heddle::state::Watermark { topic_id: None, offset: Offset(offset) });
        let _ = stores.wait_for_room(Duration::from_secs(60));
    }
    let noted = started.elapsed();
    stores.flush().unwrap();
    while stores.maintain().unwrap() {}
    let topic = INPUT.into();
    let per_lookup = |range: std::ops::Range<u64>, expected: bool| {
        let (count, started) = (range.end - range.start, Instant::now());
        for n in range {
            assert_eq!(stores.seen(&topic, &id(n), at).unwrap(), expected, "{n}");
        }
        started.elapsed().as_secs_f64() * 1e6 / count as f64
    };
    let (fresh, known) = (per_lookup(ids..ids + 100_000, false), per_lookup(0..ids.min(20_000), true));
    println!(
        "  noted in {:.1} s; a fresh id {fresh:.2} us, a known one {known:.2} us; {} MB of memory at most; {:?}; {} MB on disk",
        noted.as_secs_f64(),
        memory_peak_mb(),
        stores.seen_status(),
        state.size_bytes().unwrap() >> 20
    );
}

fn cpu_seconds() -> f64 {
    usage::cpu_seconds(std::process::id()).unwrap()
}

fn memory_peak_mb() -> u64 {
    usage::memory_kb(std::process::id(), "VmHWM").unwrap() >> 10
}
