//! A process that commits and flushes like a host is killed at any instruction. Its trees match its changelogs.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use heddle::state::{Bounds, CACHE_BYTES, EngineKind, Flusher, TaskStores, Watermark, open_engine};
use heddle_core::batch::{CommittedBatch, SealedBatch};
use heddle_core::dedup::MessageId;
use heddle_core::event::{Offset, Record, Timestamp, TopicPartition};
use heddle_core::state::{Range, TaskState as _, Writes};
use heddle_fixtures::copies::allowed;

use crate::task_stores::harness::{NOW, PARTITION, STOCK, SUMS, changelogs, open_batch, spec};

on_both_engines! { a_killed_host_has_what_its_watermarks_say }

const FOLDER: &str = "HEDDLE_TEST_KILL_FOLDER";
const ENGINE: &str = "HEDDLE_TEST_KILL_ENGINE";
const KEYS: i64 = 500;
const KILLS: u64 = 6;

fn open(kind: EngineKind, folder: &Path) -> (Arc<dyn heddle::state::StateEngine>, Arc<TaskStores>) {
    let engine = open_engine(kind, folder, CACHE_BYTES).unwrap();
    // Small bounds, so that a write is always in progress.
    let bounds = Bounds {
        memtable_bytes: 50_000,
        memtable_age: Duration::from_millis(1),
        changes_at_once: 2,
        now: || NOW,
        ..Bounds::default()
    };
    let stores = TaskStores::open(&*engine, &spec(), PARTITION, bounds).unwrap();
    (engine, stores)
}

/// Transaction `n` writes one record to each changelog, at offset `n`.
fn transaction(n: i64) -> CommittedBatch {
    let ends = changelogs().into_iter().map(|topic| (TopicPartition { topic, partition: PARTITION }, Offset(n + 1)));
    sealed(n).confirmed(ends.collect())
}

/// The record of transaction `n` in one of the changelogs.
fn record(n: i64, changelog: usize) -> Record {
    let new = sealed(n).changelog(&spec()).nth(changelog).unwrap().record().copied();
    let source = TopicPartition { topic: new.topic, partition: PARTITION };
    Record { source, offset: Offset(n), timestamp: NOW, key: new.key, value: new.value, headers: vec![] }
}

fn sealed(n: i64) -> SealedBatch {
    let key = |key: i64| Bytes::from(format!("{key:06}"));
    let value = Bytes::from(format!("{n}"));
    let deleted = n % 7 == 3;
    let writes =
        Writes::from([((STOCK, key(n % KEYS)), (!deleted).then(|| value.clone())), ((SUMS, key(n % 13)), Some(value))]);
    open_batch(writes, &[("orders", Bytes::from(format!("id {n}")), n)]).seal()
}

fn offsets(stores: &TaskStores) -> Vec<i64> {
    let watermarks = stores.watermarks().into_iter();
    watermarks.map(|(_, watermark)| watermark.map_or(0, |watermark| watermark.offset.0)).collect()
}

/// The child: commits until it is killed. Prints the state on disk when it began.
#[test]
#[ignore = "only runs as a child of the test below"]
fn child() {
    let (Some(folder), Ok(engine)) = (std::env::var_os(FOLDER), std::env::var(ENGINE)) else { return };
    let kind = if engine == "Sled" { EngineKind::Sled } else { EngineKind::Fjall };
    let (engine, stores) = open(kind, Path::new(&folder));
    let flusher = Flusher::start(engine).unwrap();
    flusher.register(&stores);
    let reached = offsets(&stores);
    let end = *reached.iter().max().unwrap();
    for (index, (changelog, from)) in changelogs().into_iter().zip(reached).enumerate() {
        let reached = |offset| stores.reached(&changelog, Watermark { topic_id: None, offset: Offset(offset) });
        reached(from);
        (from..end).for_each(|n| stores.replay(&record(n, index)).unwrap());
        reached(end);
    }
    for n in end.. {
        stores.commit(&mut transaction(n));
        if n % 100 == 0 {
            println!("committed {n}");
            assert!(stores.wait_for_room(Duration::from_secs(120)));
        }
    }
}

fn run_and_kill(kind: EngineKind, folder: &Path, lines: usize, moment: Duration) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "task_stores::killed::child", "--nocapture"])
        .env(FOLDER, folder)
        .env(ENGINE, format!("{kind:?}"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut committed = output.filter(|line| line.starts_with("committed ") || line.contains(" committed "));
    assert_eq!(committed.by_ref().take(lines).count(), lines);
    std::thread::sleep(moment);
    child.kill().unwrap();
    child.wait().unwrap();
}

fn a_killed_host_has_what_its_watermarks_say(kind: EngineKind) {
    let folder = tempfile::tempdir().unwrap();
    let (mut before, mut in_part) = (vec![0; 3], 0);
    for kill in 1..=KILLS {
        let seed = kill.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let lines = 100 + usize::try_from((seed >> 8) % 200).unwrap();
        run_and_kill(kind, folder.path(), lines, Duration::from_micros((seed >> 40) % 6_000));
        let (_engine, stores) = open(kind, folder.path());
        let reached = offsets(&stores);
        assert!(reached.iter().zip(&before).all(|(now, before)| now >= before), "{kill}: {before:?} {reached:?}");
        let everything = Range { prefix: b"", after: None };
        for (store, modulus, deletes) in [(STOCK, KEYS, true), (SUMS, 13, false)] {
            let write = |n: i64| (format!("{:06}", n % modulus), (!(deletes && n % 7 == 3)).then(|| n.to_string()));
            let exact = (0..reached[store.0]).map(write).collect::<BTreeMap<_, _>>();
            let exact = exact.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
            let end = stores.end_found(&changelogs()[store.0]).map_or(0, |end| end.0);
            assert!(end >= reached[store.0]);
            in_part += usize::from(end > reached[store.0]);
            let found = stores.scan(store, &everything, usize::MAX).unwrap().into_iter();
            let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
            let found = found.map(|(key, value)| (text(key), text(value))).collect::<BTreeMap<_, _>>();
            let expected = allowed(&found, &exact, (reached[store.0]..end).map(write));
            assert_eq!(found, expected, "kill {kill}, store {store:?}");
        }
        for n in 0..reached[2] + 1_000 {
            // All ids are within the window of the first.
            let seen = stores.seen(&"orders".into(), &MessageId(format!("id {n}").into()), Timestamp(0)).unwrap();
            assert_eq!(seen, n < reached[2], "kill {kill}, id {n} of {}", reached[2]);
        }
        before = reached;
    }
    println!("{in_part} of {} trees were found written in part", 2 * KILLS);
    assert!(before.iter().all(|reached| *reached > 0), "{before:?}");
}
