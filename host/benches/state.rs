//! Measures the cost of state on each engine: CPU, time, memory, disk. Not a microbenchmark: each part is one run over
//! a database that grows.
//!
//! `cargo bench --bench state` runs every engine in a separate process; `-- sled` only that one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use heddle::state::{Bounds, CACHE_BYTES, EngineKind, StateEngine, StateStore, TaskStores, Watermark, open_engine};
use heddle::usage;
use heddle_core::dedup::{MessageId, pack};
use heddle_core::event::{Offset, Partition, Record, Timestamp, Topic, TopicPartition};
use heddle_core::policy::FailurePolicy;
use heddle_core::state::{StoreIndex, TaskState as _};
use heddle_core::task::TaskSpec;

const KEYS: u64 = 1_000_000;
const BATCH: u64 = 10_000;
const LOOKUPS: u64 = 200_000;
const HOT_KEYS: u64 = 100_000;
const UPDATES: u64 = 5_000_000;
const IDS: u64 = 1_000_000;
const PARTITION: Partition = Partition(0);
const WINDOW: Duration = Duration::from_secs(1_600);

fn main() {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    match wanted.as_deref() {
        Some("sled") => run(EngineKind::Sled),
        Some("fjall") => run(EngineKind::Fjall),
        Some(other) => panic!("no engine `{other}`: sled or fjall"),
        None => ["sled", "fjall"].into_iter().for_each(|engine| {
            let child = std::process::Command::new(std::env::current_exe().unwrap()).arg(engine).status();
            assert!(child.unwrap().success());
        }),
    }
}

fn run(kind: EngineKind) {
    println!("\n{kind:?}");
    for part in [trees, stores, ids] {
        let folder = tempfile::tempdir().unwrap();
        let engine = open_engine(kind, folder.path(), CACHE_BYTES).unwrap();
        part(&Bench { engine, folder: folder.path() });
        println!("  at most {} MiB of memory so far", memory_mb("VmHWM"));
    }
}

struct Bench<'a> {
    engine: Arc<dyn StateEngine>,
    folder: &'a Path,
}

impl Bench<'_> {
    /// Runs `part` and prints its cost for each of `count`.
    fn measure(&self, name: &str, count: u64, part: impl FnOnce()) {
        let (cpu, time) = (cpu_seconds(), Instant::now());
        part();
        let (cpu, time) = (cpu_seconds() - cpu, time.elapsed());
        let each = |micros: f64| micros / count as f64;
        println!(
            "  {name:<44} {:>8.2} us, {:>8.2} us of CPU each; {:>6} MiB on disk, {:>5} MiB resident",
            each(time.as_secs_f64() * 1e6),
            each(cpu * 1e6),
            disk_bytes(self.folder) >> 20,
            memory_mb("VmRSS"),
        );
    }
}

fn cpu_seconds() -> f64 {
    usage::cpu_seconds(std::process::id()).unwrap()
}

fn memory_mb(name: &str) -> u64 {
    usage::memory_kb(std::process::id(), name).unwrap() >> 10
}

fn disk_bytes(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let entries = std::fs::read_dir(folder).unwrap().filter_map(Result::ok);
    let size = |path: std::path::PathBuf| {
        if path.is_dir() { disk_bytes(&path) } else { std::fs::metadata(&path).map_or(0, |file| file.blocks() * 512) }
    };
    entries.map(|entry| size(entry.path())).sum()
}

/// Spreads numbers over all 16 bytes.
fn key(n: u64) -> Bytes {
    let a = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let b = (a ^ (a >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    Bytes::from([a.rotate_left(31).to_be_bytes(), b.to_be_bytes()].concat())
}

fn value(n: u64) -> Bytes {
    (0..13).flat_map(|part| key(n ^ (part << 40))[..8].to_vec()).take(100).collect()
}

fn trees(bench: &Bench<'_>) {
    let tree = bench.engine.open("tree").unwrap();
    bench.measure("put, 10000 a batch, 16 B keys, 100 B values", KEYS, || {
        for first in (0..KEYS).step_by(BATCH as usize) {
            let batch = (first..first + BATCH).map(|n| (key(n), Some(value(n)))).collect::<BTreeMap<_, _>>();
            tree.apply(batch.into_iter().collect()).unwrap();
            if (first / BATCH) % 20 == 19 {
                bench.engine.flush().unwrap();
            }
        }
    });
    bench.measure("get, found", LOOKUPS, || lookups(&*tree, 0, true));
    bench.measure("get, not found", LOOKUPS, || lookups(&*tree, KEYS, false));
}

fn lookups(tree: &dyn StateStore, offset: u64, found: bool) {
    for n in 0..LOOKUPS {
        let n = offset + n.wrapping_mul(7_919) % KEYS;
        assert_eq!(tree.get(&key(n)).unwrap().is_some(), found);
    }
}

fn open(bench: &Bench<'_>) -> Arc<TaskStores> {
    let spec = TaskSpec {
        component: "bench.component".into(),
        digest: None,
        policy: FailurePolicy::in_place(1, "dlq"),
        retry_topics: Default::default(),
        schedule: None,
        changelogs: vec!["bench.store".into()],
        seen_changelog: Some("bench.dedup".into()),
        tables: vec![],
        windows: [("orders".into(), WINDOW)].into(),
    };
    TaskStores::open(&*bench.engine, &spec, PARTITION, Bounds::default()).unwrap()
}

fn replay(stores: &TaskStores, changelog: &str, offset: u64, key: Bytes, value: Bytes) {
    let source = TopicPartition { topic: changelog.into(), partition: PARTITION };
    let offset = Offset(i64::try_from(offset).unwrap());
    let (key, value) = (Some(key), Some(value));
    stores.replay(&Record { source, offset, timestamp: Timestamp(0), key, value, headers: vec![] }).unwrap();
}

fn reached(stores: &TaskStores, changelog: &str, offset: u64) {
    let offset = Offset(i64::try_from(offset).unwrap());
    stores.reached(&changelog.into(), Watermark { topic_id: None, offset });
    if stores.freeze() {
        stores.write_frozen().unwrap();
    }
}

fn stores(bench: &Bench<'_>) {
    let stores = open(bench);
    bench.measure("5 million updates of 100000 keys", UPDATES, || {
        for n in 0..UPDATES {
            replay(&stores, "bench.store", n, key(n.wrapping_mul(31) % HOT_KEYS), value(n));
            if n % 1_000 == 999 {
                reached(&stores, "bench.store", n + 1);
            }
            if n % 500_000 == 0 {
                bench.engine.flush().unwrap();
            }
        }
        stores.flush().unwrap();
        bench.engine.flush().unwrap();
    });
    bench.measure("get, found", LOOKUPS, || {
        for n in 0..LOOKUPS {
            assert!(stores.get(StoreIndex(0), &key(n % HOT_KEYS)).unwrap().is_some());
        }
    });
}

fn ids(bench: &Bench<'_>) {
    let stores = open(bench);
    let at = |n: u64| Timestamp(i64::try_from(n).unwrap());
    let note = |from: u64, millis: u64| {
        for (number, first) in (from..from + IDS).step_by(1_000).enumerate() {
            let ids = (first..first + 1_000).map(|n| (MessageId(key(n)), at(n * millis))).collect::<BTreeMap<_, _>>();
            replay(&stores, "bench.dedup", first, Bytes::from("orders"), pack(&ids));
            reached(&stores, "bench.dedup", first + 1_000);
            while number % 20 == 19 && stores.maintain().unwrap() {}
            if number % 200 == 199 {
                bench.engine.flush().unwrap();
            }
        }
        stores.flush().unwrap();
        while stores.maintain().unwrap() {}
        bench.engine.flush().unwrap();
    };
    let look = |from: u64, now: u64, expected: bool| {
        let topic = Topic::from("orders");
        for n in 0..LOOKUPS {
            let id = MessageId(key(from + n.wrapping_mul(7_919) % IDS));
            assert_eq!(stores.seen(&topic, &id, at(now)).unwrap(), expected);
        }
    };
    bench.measure("note an id, with merges", IDS, || note(0, 1));
    println!("  {:?}", stores.seen_status());
    bench.measure("look for a fresh id", LOOKUPS, || look(IDS, IDS, false));
    bench.measure("look for a duplicate", LOOKUPS, || look(0, IDS, true));
    bench.measure("note as many, the first ones expire", IDS, || note(IDS, 2));
    println!("  {:?}", stores.seen_status());
}
