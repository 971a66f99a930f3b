//! Measures a global table of a million entries beside an empty one: a restart, a lookup beside a store's, memory.
//!
//! `cargo bench --bench tables` runs each part in a separate process, on the embedded log.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use heddle::log::embedded::{EmbeddedLog, EmbeddedOptions};
use heddle::log::{self, Log, TopicSpec};
use heddle::state::{Bounds, CACHE_BYTES, EngineKind, TaskStores, Watermark, open_engine};
use heddle::tables::{Follower, Table, TableEngine};
use heddle::usage;
use heddle_core::event::{NewRecord, Offset, Partition, Record, Timestamp, TopicPartition};
use heddle_core::policy::FailurePolicy;
use heddle_core::state::{StoreIndex, TaskState as _};
use heddle_core::tables::{GlobalTable as _, TableKeys};
use heddle_core::task::TaskSpec;

const ENTRIES: u64 = 1_000_000;
const LOOKUPS: u64 = 500_000;
const PARTITIONS: i32 = 4;

fn main() {
    let arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect::<Vec<_>>();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => all(),
        ["fill", folder] => fill(Path::new(folder)),
        ["read", folder, topic] => read(Path::new(folder), topic),
        ["store", folder] => store(Path::new(folder)),
        other => panic!("{other:?} is not a part"),
    }
}

fn all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let part = |arguments: &[&str]| {
        let child = std::process::Command::new(std::env::current_exe().unwrap()).args(arguments).status();
        assert!(child.unwrap().success());
    };
    println!("{ENTRIES} entries, 16 B keys, 100 B values, {PARTITIONS} partitions; cache {} MiB", CACHE_BYTES >> 20);
    part(&["fill", path]);
    for what in ["read for the first time", "restart", "restart"] {
        println!("\n{what}");
        part(&["read", path, "empty"]);
        part(&["read", path, "full"]);
    }
    println!("\na store with the same entries");
    part(&["store", path]);
}

fn open_log(folder: &Path) -> Arc<dyn Log> {
    Arc::new(EmbeddedLog::open(&folder.join("log"), EmbeddedOptions::default()).unwrap())
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

fn fill(folder: &Path) {
    let log = open_log(folder);
    for name in ["empty", "full"] {
        let options = BTreeMap::from([("cleanup.policy".to_owned(), "compact".to_owned())]);
        log.create_topic(&TopicSpec { name: name.to_owned(), partitions: PARTITIONS, replication: None, options })
            .unwrap();
    }
    for first in (0..ENTRIES).step_by(10_000) {
        let record = |n| NewRecord {
            topic: "full".into(),
            partition: None,
            timestamp: None,
            key: Some(key(n)),
            value: Some(value(n)),
            headers: vec![],
        };
        log.append(&(first..first + 10_000).map(record).collect::<Vec<_>>()).unwrap();
    }
}

fn memory_mb(name: &str) -> u64 {
    usage::memory_kb(std::process::id(), name).unwrap() >> 10
}

/// Reads a table as a host does when it starts, and then looks things up.
fn read(folder: &Path, topic: &str) {
    let began = Instant::now();
    let log = open_log(folder);
    let opened = began.elapsed();
    let place = folder.join(format!("tables-{topic}"));
    let engine = TableEngine::new(move || open_engine(EngineKind::Sled, &place, CACHE_BYTES));
    let table = Arc::new(Table::new(topic.into(), TableKeys::Plain));
    let mut follower = Follower::new(log, Arc::new(engine), table.clone());
    while !table.is_ready() {
        follower.turn(log::now()).unwrap();
    }
    let (ready, applied) = (began.elapsed(), table.status().applied);
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "  {topic:<6} ready after {:>8.1} ms ({:.1} ms of them to open the log), {applied} records read, at most {} MiB",
        ms(ready),
        ms(opened),
        memory_mb("VmHWM")
    );
    if topic == "full" {
        lookups("table", |key| table.get(key).unwrap().is_some());
        println!("  at most {} MiB after that", memory_mb("VmHWM"));
    }
    follower.end(log::now());
}

fn lookups(what: &str, found: impl Fn(&[u8]) -> bool) {
    // The same keys for both, in no order; the first round fills the cache.
    for round in ["first", "again"] {
        let began = Instant::now();
        let all = (0..LOOKUPS).filter(|n| found(&key(n.wrapping_mul(7_919) % ENTRIES))).count();
        assert_eq!(all as u64, LOOKUPS);
        println!("  {what} get, {round}: {:.2} us", began.elapsed().as_secs_f64() * 1e6 / LOOKUPS as f64);
    }
}

/// The same entries in a store.
fn store(folder: &Path) {
    let mut spec = TaskSpec::stateless("bench.component".into(), FailurePolicy::in_place(1, "dlq"));
    spec.changelogs = vec!["store".into()];
    let open = || {
        let engine = open_engine(EngineKind::Sled, &folder.join("state"), CACHE_BYTES).unwrap();
        let stores = TaskStores::open(&*engine, &spec, Partition(0), Bounds::default()).unwrap();
        (engine, stores)
    };
    {
        let (engine, stores) = open();
        let reached = |offset| stores.reached(&"store".into(), Watermark { topic_id: None, offset: Offset(offset) });
        reached(0);
        for first in (0..ENTRIES).step_by(50_000) {
            for n in first..first + 50_000 {
                let source = TopicPartition::new("store", 0);
                let (offset, timestamp) = (Offset(n.cast_signed()), Timestamp(0));
                let (key, value) = (Some(key(n)), Some(value(n)));
                stores.replay(&Record { source, offset, timestamp, key, value, headers: vec![] }).unwrap();
            }
            reached((first + 50_000).cast_signed());
            stores.flush().unwrap();
            engine.flush().unwrap();
        }
    }
    let (_engine, stores) = open();
    lookups("store", |key| stores.get(StoreIndex(0), key).unwrap().is_some());
    println!("  at most {} MiB", memory_mb("VmHWM"));
}
