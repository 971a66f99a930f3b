//! Three hosts on a real Kafka, under load for minutes: killed, frozen for longer than their session, stopped in order,
//! and the broker restarted once. Then every output, every changelog and every local copy is compared with the expected
//! content.
//!
//! `HEDDLE_TEST_FIRE_SECONDS` sets the duration (60 at scale 1, 180 at scale 10), and `HEDDLE_TEST_FIRE_SEED` repeats a
//! schedule.
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use heddle::log::kafka::KafkaLog;
use heddle::log::{Groups as _, Log, Start};
use heddle::registry::{Client, ClientOptions, Registry};
use heddle::state::{Bounds, EngineKind, HostState, open_engine};
use heddle_contract::format::avro::{Schema, json, parse};
use heddle_contract::wire;
use heddle_core::event::{Offset, Partition, Record, TopicPartition};
use heddle_core::state::{Range, StoreIndex, TaskState as _};
use heddle_core::task::TaskSpec;
use heddle_fixtures::apicurio::Apicurio;
use heddle_fixtures::copies::allowed;
use heddle_fixtures::group::Protocol;
use heddle_fixtures::kafka::Kafka;
use heddle_fixtures::{Ended, SetAtEnd, scaled, terminate};
use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use serde_json::{Value, json};

const PARTITIONS: i32 = 8;
const HOSTS: usize = 3;
/// The number of orders in one file, which sets how often the producer restarts.
const ORDERS_A_FILE: usize = 400;
const CUSTOMERS: u64 = 500;
/// Longer than the session timeout of the hosts.
const FREEZE: Duration = Duration::from_secs(9);

fn platform() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/order-platform")
}

/// The order-platform on one Kafka and one registry.
struct Platform {
    broker: Kafka,
    registry: Apicurio,
    data: tempfile::TempDir,
}

impl Platform {
    fn start() -> Self {
        Self { broker: Kafka::start(), registry: Apicurio::start(), data: tempfile::tempdir().unwrap() }
    }

    fn folder(&self, host: usize) -> PathBuf {
        self.data.path().join(format!("host-{host}"))
    }

    fn command(&self, host: usize, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_heddle"));
        command
            .args(arguments)
            .arg("--app")
            .arg(platform())
            .env("HEDDLE_APP_DATA", self.folder(host))
            .env("HEDDLE_LOG_BOOTSTRAP", self.broker.bootstrap())
            .envs([Protocol::chosen().variable()])
            .env("HEDDLE_LOG_OPTIONS_TRANSACTION_TIMEOUT_MS", "10000")
            .env("HEDDLE_REGISTRY_URL", self.registry.url())
            .env("HEDDLE_ADMIN_LISTEN", "127.0.0.1:0");
        for topic in ["ORDERS_CREATED", "ORDERS_STATUS", "CUSTOMERS_TIER"] {
            command.env(format!("HEDDLE_TOPICS_{topic}_PARTITIONS"), PARTITIONS.to_string());
        }
        command
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.command(HOSTS, arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn host(&self, number: usize) -> Ended {
        let log = std::fs::File::options().create(true).append(true).open(self.folder(number).with_extension("log"));
        let mut command = self.command(number, &["run"]);
        command.env("HEDDLE_TRACE", "warn").stdout(Stdio::null()).stderr(log.unwrap());
        Ended(command.spawn().unwrap())
    }

    fn log(&self) -> KafkaLog {
        KafkaLog::connect(&self.broker.bootstrap(), &BTreeMap::new()).unwrap()
    }

    /// All committed records of a topic, by partition.
    fn records(&self, topic: &str) -> BTreeMap<Partition, Vec<Record>> {
        let log = self.log();
        let sources = (0..PARTITIONS).map(|p| (TopicPartition::new(topic, p), Start::Beginning)).collect::<Vec<_>>();
        let ends = log.watermarks(topic).unwrap();
        let mut reader = log.reader(&sources).unwrap();
        let mut records = BTreeMap::<_, Vec<_>>::new();
        let at_end = |positions: &BTreeMap<TopicPartition, Offset>| {
            ends.iter().all(|end| positions[&TopicPartition::new(topic, end.partition.0)] >= end.end)
        };
        let deadline = Instant::now() + Duration::from_secs(120);
        while !at_end(&reader.positions().unwrap()) {
            assert!(Instant::now() < deadline, "`{topic}` cannot be read to its end");
            for record in reader.poll(Duration::from_millis(200)).unwrap() {
                records.entry(record.source.partition).or_default().push(record);
            }
        }
        records
    }
}

/// A repeatable schedule.
struct Chance(TestRng);

impl Chance {
    fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self(TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound
    }
}

/// The order number `n`. Every tenth repeats an earlier one, and every hundredth cannot be handled.
fn order(n: usize, chance: &mut Chance, sent: &mut Vec<Value>) -> Value {
    if n % 10 == 9 {
        return sent[chance.below(sent.len() as u64) as usize].clone();
    }
    let items = if n % 100 == 50 { json!([]) } else { json!([{"productId": "P-1", "quantity": 1, "price": 1.0}]) };
    let customer = format!("C-{:03}", chance.below(CUSTOMERS));
    let amount = chance.below(1_000_000) as f64 / 4.0;
    let order = json!({"orderId": format!("O-{n:07}"), "customerId": customer, "orderDate": n, "totalAmount": amount, "items": items});
    sent.push(order.clone());
    order
}

/// Produces orders until `stop` is set.
fn produce(platform: &Platform, seed: u64, stop: &AtomicBool, produced: &AtomicUsize) {
    let (mut chance, mut sent, mut n) = (Chance::new(seed), vec![], 0);
    let file = platform.data.path().join("orders.jsonl");
    while !stop.load(Ordering::Relaxed) {
        let mut lines = String::new();
        for _ in 0..ORDERS_A_FILE {
            writeln!(lines, "{}", order(n, &mut chance, &mut sent)).unwrap();
            n += 1;
        }
        std::fs::write(&file, lines).unwrap();
        // A restarting broker may accept a part of a file. The results are compared with the content of the topic, not
        // with what was sent.
        let produced_all = platform
            .command(HOSTS, &["produce", "orders.created", "--key", "customerId", "--file", file.to_str().unwrap()])
            .output()
            .unwrap();
        if produced_all.status.success() {
            produced.fetch_add(ORDERS_A_FILE, Ordering::Relaxed);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Disturbs a host. Returns the kind of disturbance.
fn strike(platform: &Platform, hosts: &mut [Ended], number: usize, kind: u64) -> &'static str {
    let pid = hosts[number].0.id().to_string();
    let signal = |name: &str| assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    let restart = |hosts: &mut [Ended]| {
        hosts[number].0.wait().unwrap();
        hosts[number] = platform.host(number);
    };
    match kind {
        0..4 => {
            signal("-KILL");
            restart(hosts);
            "killed"
        }
        4..6 => {
            signal("-STOP");
            std::thread::sleep(FREEZE);
            signal("-CONT");
            "stopped and continued"
        }
        _ => {
            terminate(&mut hosts[number].0);
            restart(hosts);
            "ended in order"
        }
    }
}

#[test]
fn nothing_is_lost_doubled_or_half_visible_under_fire() {
    let seconds = std::env::var("HEDDLE_TEST_FIRE_SECONDS").map_or_else(|_| scaled(60, 180), |s| s.parse().unwrap());
    let seed =
        std::env::var("HEDDLE_TEST_FIRE_SEED").map_or_else(|_| u64::from(std::process::id()), |s| s.parse().unwrap());
    println!("schedule: HEDDLE_TEST_FIRE_SEED={seed}");
    let platform = Platform::start();
    crate::support::build::component("examples/order-platform", "ledger");
    // Creates the topics, before the first record.
    platform.ok(&["run", "--until-idle"]);
    let mut hosts = (0..HOSTS).map(|number| platform.host(number)).collect::<Vec<_>>();
    let (stop, produced) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut strikes = BTreeMap::<&str, usize>::new();
    std::thread::scope(|scope| {
        let _producer = SetAtEnd(&stop);
        scope.spawn(|| produce(&platform, seed, &stop, &produced));
        let mut chance = Chance::new(seed ^ 1);
        let started = Instant::now();
        let (mut restarted, mut first) = (false, [0, 4, 6].into_iter());
        while started.elapsed() < Duration::from_secs(seconds) {
            std::thread::sleep(Duration::from_millis(500 + chance.below(4_000)));
            if !restarted && started.elapsed() > Duration::from_secs(seconds / 2) {
                restarted = true;
                platform.broker.restart();
                *strikes.entry("broker restarted").or_default() += 1;
            }
            let number = chance.below(HOSTS as u64) as usize;
            // Each kind comes once first, so that a short run has all of them.
            let kind = first.next().unwrap_or_else(|| chance.below(8));
            *strikes.entry(strike(&platform, &mut hosts, number, kind)).or_default() += 1;
        }
    });
    for (number, host) in hosts.iter_mut().enumerate() {
        assert_eq!(host.0.try_wait().unwrap(), None, "host {number} ended by itself: {}", told(&platform, number));
    }
    wait_until_handled(&platform);
    for host in &mut hosts {
        assert!(terminate(&mut host.0).success());
    }
    println!("{} orders sent; {strikes:?}", produced.load(Ordering::Relaxed));
    let kinds = strikes.keys().copied().collect::<Vec<_>>();
    assert_eq!(kinds, ["broker restarted", "ended in order", "killed", "stopped and continued"]);
    compare(&platform);
}

fn told(platform: &Platform, number: usize) -> String {
    std::fs::read_to_string(platform.folder(number).with_extension("log")).unwrap_or_default()
}

fn wait_until_handled(platform: &Platform) {
    let log = platform.log();
    let sources = (0..PARTITIONS).map(|p| TopicPartition::new("orders.created", p)).collect::<Vec<_>>();
    let deadline = Instant::now() + Duration::from_secs(180);
    loop {
        assert!(
            Instant::now() < deadline,
            "still behind: {:?}",
            (0..HOSTS).map(|n| told(platform, n)).collect::<Vec<_>>()
        );
        // Offsets of an undecided transaction block this query, possibly for longer than one call.
        let Ok(positions) = log.committed("order-platform.ledger", &sources) else { continue };
        let ends = log.watermarks("orders.created").unwrap();
        let behind = |end: &heddle::log::Watermarks| {
            end.high.0 - positions.get(&TopicPartition::new("orders.created", end.partition.0)).map_or(0, |p| p.0)
        };
        if ends.iter().map(behind).sum::<i64>() == 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Decodes values with their schemas.
struct Decoder {
    registry: Client,
    known: HashMap<u32, Schema>,
}

impl Decoder {
    fn new(platform: &Platform) -> Self {
        let url = platform.registry.url();
        let options = ClientOptions { url, timeout: Duration::from_secs(10), ..ClientOptions::default() };
        Self { registry: Client::new(options), known: HashMap::new() }
    }

    fn decode(&mut self, bytes: &Bytes) -> Value {
        let (id, payload) = wire::split(bytes).unwrap();
        let registry = &self.registry;
        let schema = self
            .known
            .entry(id.0)
            .or_insert_with(|| parse("schema", &registry.by_id(id).unwrap().unwrap().text).unwrap());
        json::decode(schema, payload).unwrap()
    }
}

/// The expected results of one partition's input.
#[derive(Default)]
struct Expected {
    statuses: Vec<Value>,
    rejected: Vec<Bytes>,
    accounts: BTreeMap<Bytes, Value>,
    ids: BTreeSet<String>,
}

fn expect(records: &[Record], decoder: &mut Decoder) -> Expected {
    let mut expected = Expected::default();
    for record in records {
        let order = decoder.decode(record.value.as_ref().unwrap());
        let id = order["orderId"].as_str().unwrap().to_owned();
        if expected.ids.contains(&id) {
            continue;
        }
        if order["items"].as_array().unwrap().is_empty() {
            expected.rejected.push(record.value.clone().unwrap());
            continue;
        }
        let customer = order["customerId"].as_str().unwrap().to_owned();
        let account =
            expected.accounts.entry(Bytes::from(customer.clone())).or_insert(json!({"orders": 0, "totalAmount": 0.0}));
        let orders = account["orders"].as_i64().unwrap() + 1;
        let total = account["totalAmount"].as_f64().unwrap() + order["totalAmount"].as_f64().unwrap();
        *account = json!({"orders": orders, "totalAmount": total, "lastOrderId": id});
        expected
            .statuses
            .push(json!({"orderId": id, "customerId": customer, "ordersOfCustomer": orders, "totalOfCustomer": total}));
        expected.ids.insert(id);
    }
    expected
}

fn compare(platform: &Platform) {
    let decoder = &mut Decoder::new(platform);
    let inputs = platform.records("orders.created");
    let expected = inputs.iter().map(|(p, records)| (*p, expect(records, decoder))).collect::<BTreeMap<_, _>>();
    let orders = expected.values().map(|e| e.statuses.len()).sum::<usize>();
    assert!(orders > 1_000, "only {orders} orders: the test did not get to work");
    let statuses = platform.records("orders.status");
    let mut rejected = platform.records("order-platform.ledger.dlq").into_values().flatten();
    let mut rejected = rejected.by_ref().map(|record| record.value.unwrap()).collect::<Vec<_>>();
    let mut expected_rejected = expected.values().flat_map(|e| e.rejected.clone()).collect::<Vec<_>>();
    rejected.sort_unstable();
    expected_rejected.sort_unstable();
    assert_eq!(rejected.len(), expected_rejected.len(), "dead-lettered records");
    assert!(rejected == expected_rejected, "the dead letters are not the records that could not be handled");
    let changelog = platform.records("order-platform.ledger.accounts");
    for (partition, expected) in &expected {
        let found = statuses.get(partition).into_iter().flatten();
        let found = found.map(|r| decoder.decode(r.value.as_ref().unwrap())).collect::<Vec<_>>();
        for (place, (found, expected)) in found.iter().zip(&expected.statuses).enumerate() {
            assert_eq!(found, expected, "output {place} of partition {partition}");
        }
        assert_eq!(found.len(), expected.statuses.len(), "outputs of partition {partition}");
        let accounts = fold(changelog.get(partition).into_iter().flatten(), Offset(i64::MAX));
        let accounts =
            accounts.into_iter().map(|(key, value)| (key, decoder.decode(&value))).collect::<BTreeMap<_, _>>();
        assert!(accounts == expected.accounts, "the changelog of partition {partition} is not the accounts");
    }
    let copies = (0..HOSTS).map(|host| compare_copies(&platform.folder(host), &changelog)).sum::<usize>();
    println!("{orders} orders, each once and in order; {copies} copies on disk are what their changelogs say");
    assert!(copies >= PARTITIONS as usize);
}

fn fold<'r>(records: impl Iterator<Item = &'r Record>, below: Offset) -> BTreeMap<Bytes, Bytes> {
    let mut entries = BTreeMap::new();
    for record in records.filter(|record| record.offset < below) {
        match &record.value {
            Some(value) => entries.insert(record.key.clone().unwrap(), value.clone()),
            None => entries.remove(record.key.as_ref().unwrap()),
        };
    }
    entries
}

/// Checks that every local copy of a host matches its watermark, whether or not the host has the task now. Returns the
/// number of copies.
fn compare_copies(folder: &Path, changelog: &BTreeMap<Partition, Vec<Record>>) -> usize {
    let engine = open_engine(EngineKind::Sled, &folder.join("state"), 64 << 20).unwrap();
    let state = HostState::without_flusher(engine, Bounds::default());
    let mut spec =
        TaskSpec::stateless("order-platform.ledger".into(), heddle_core::policy::FailurePolicy::in_place(1, "unused"));
    spec.changelogs = vec!["order-platform.ledger.accounts".into()];
    let mut copies = 0;
    for partition in (0..PARTITIONS).map(Partition) {
        let stores = state.open(&spec, partition).unwrap();
        let Some((_, Some(watermark))) = stores.watermarks().into_iter().next() else { continue };
        let range = Range { prefix: b"", after: None };
        let found = stores.scan(StoreIndex(0), &range, usize::MAX).unwrap().into_iter().collect::<BTreeMap<_, _>>();
        let records = || changelog.get(&partition).into_iter().flatten();
        let cut_off = watermark.offset..stores.end_found(&spec.changelogs[0]).unwrap();
        let later = records().filter(|record| cut_off.contains(&record.offset));
        let later = later.map(|record| (record.key.clone().unwrap(), record.value.clone()));
        let expected = allowed(&found, &fold(records(), watermark.offset), later);
        assert!(
            found == expected,
            "the copy of partition {partition} in {}, at {}",
            folder.display(),
            watermark.offset
        );
        copies += 1;
    }
    copies
}
