//! One suite for every state engine: the guarantees on which `TaskStores` relies.
//!
//! A case is a function over an [`EngineKind`] and an empty folder, and every engine runs every case.

use heddle_core::explain::to_text;
use heddle_fixtures::scaled;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use heddle::state::{CACHE_BYTES, EngineKind, KEY_BYTES_MAX, StateEngine, StateError, StateStore, open_engine};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

macro_rules! suite {
    ($($case:ident)*) => {
        mod sled {
            $(#[test] fn $case() { super::$case(super::EngineKind::Sled, super::tempfile().path()); })*
        }
        mod fjall {
            $(#[test] fn $case() { super::$case(super::EngineKind::Fjall, super::tempfile().path()); })*
        }
    };
}

suite! {
    what_is_applied_is_read
    scans_keep_to_their_bounds
    the_last_entry_at_or_before_a_key_is_found
    what_is_large_is_kept_and_what_is_too_long_refused
    trees_are_apart_whatever_their_names
    a_tree_that_is_cleared_or_removed_is_empty_for_ever
    everything_is_there_after_a_restart
    a_folder_that_cannot_be_used_is_named
    a_damaged_folder_is_reported
    a_lost_tail_leaves_a_state_that_was
    a_killed_process_leaves_whole_batches
    random_operations_do_what_a_map_does
}

fn tempfile() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn open(kind: EngineKind, folder: &Path) -> Arc<dyn StateEngine> {
    open_engine(kind, folder, CACHE_BYTES).unwrap()
}

fn bytes(text: impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(text.as_ref())
}

/// Applies `key=value` and `-key`, separated by spaces.
fn apply(tree: &dyn StateStore, changes: &str) {
    let changes = changes.split(' ').map(|change| match change.split_once('=') {
        Some((key, value)) => (bytes(key), Some(bytes(value))),
        None => (bytes(change.strip_prefix('-').unwrap()), None),
    });
    let sorted = changes.collect::<BTreeMap<_, _>>();
    tree.apply(sorted.into_iter().collect()).unwrap();
}

fn text(entries: &[(Bytes, Bytes)]) -> String {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    entries.iter().map(|(key, value)| format!("{}={}", text(key), text(value))).collect::<Vec<_>>().join(" ")
}

fn all(tree: &dyn StateStore) -> String {
    text(&tree.scan(Bound::Unbounded, b"", usize::MAX).unwrap())
}

fn what_is_applied_is_read(kind: EngineKind, folder: &Path) {
    let engine = open(kind, folder);
    let tree = engine.open("tree").unwrap();
    apply(&*tree, "a=1 b=2 c=");
    apply(&*tree, "b=3 -c -d e=");
    assert_eq!(all(&*tree), "a=1 b=3 e=");
    assert_eq!(tree.get(b"c").unwrap(), None);
    assert_eq!(tree.get(b"e").unwrap().as_deref(), Some(&b""[..]));
    tree.apply(vec![]).unwrap();
    let same = engine.open("tree").unwrap();
    apply(&*same, "f=6");
    assert_eq!(all(&*tree), "a=1 b=3 e= f=6");
}

fn scans_keep_to_their_bounds(kind: EngineKind, folder: &Path) {
    let tree = open(kind, folder).open("tree").unwrap();
    apply(&*tree, "a=1 b=2 ba=3 bb=4 c=5");
    tree.apply(vec![(bytes([0xff]), Some(bytes("6"))), (bytes([0xff, 0xff]), Some(bytes("7")))]).unwrap();
    let scan = |start: Bound<&str>, prefix: &str, limit| {
        text(&tree.scan(start.map(str::as_bytes), prefix.as_bytes(), limit).unwrap())
    };
    assert_eq!(scan(Bound::Unbounded, "b", 10), "b=2 ba=3 bb=4");
    assert_eq!(scan(Bound::Included("a"), "b", 10), "b=2 ba=3 bb=4");
    assert_eq!(scan(Bound::Excluded("a"), "b", 10), "b=2 ba=3 bb=4");
    assert_eq!(scan(Bound::Included("ba"), "b", 10), "ba=3 bb=4");
    assert_eq!(scan(Bound::Excluded("ba"), "b", 10), "bb=4");
    assert_eq!(scan(Bound::Excluded("b"), "b", 1), "ba=3");
    assert_eq!(scan(Bound::Included("c"), "b", 10), "");
    assert_eq!(scan(Bound::Unbounded, "b", 0), "");
    assert_eq!(scan(Bound::Unbounded, "", 2), "a=1 b=2");
    let last = tree.scan(Bound::Unbounded, &[0xff], 10).unwrap();
    assert_eq!(last.iter().map(|(_, value)| &value[..]).collect::<Vec<_>>(), [b"6", b"7"]);
}

fn the_last_entry_at_or_before_a_key_is_found(kind: EngineKind, folder: &Path) {
    let tree = open(kind, folder).open("tree").unwrap();
    let last = |key: &str| tree.last_at_or_before(key.as_bytes()).unwrap().map(|entry| text(&[entry]));
    assert_eq!(last("x"), None);
    apply(&*tree, "b=1 d=2 e=3");
    assert_eq!(last("a"), None);
    assert_eq!(last("b").as_deref(), Some("b=1"));
    assert_eq!(last("ba").as_deref(), Some("b=1"));
    assert_eq!(last("e").as_deref(), Some("e=3"));
    apply(&*tree, "-e");
    assert_eq!(last("x").as_deref(), Some("d=2"));
}

fn what_is_large_is_kept_and_what_is_too_long_refused(kind: EngineKind, folder: &Path) {
    let tree = open(kind, folder).open("tree").unwrap();
    let value = (0..5_000_000_u32).map(|n| n.wrapping_mul(0x9e37_79b9).to_be_bytes()[0]).collect::<Bytes>();
    let key = bytes(vec![b'k'; KEY_BYTES_MAX]);
    tree.apply(vec![(key.clone(), Some(value.clone()))]).unwrap();
    assert!(tree.get(&key).unwrap().unwrap() == value);
    let long = bytes(vec![b'k'; KEY_BYTES_MAX + 1]);
    assert_eq!(tree.get(&long).unwrap(), None);
    let refused = tree.apply(vec![(bytes("a"), Some(bytes("1"))), (long, Some(bytes("2")))]).unwrap_err();
    assert_eq!(refused.to_string(), "a key of 60001 bytes is too long for a store: at most 60000");
    assert_eq!(tree.get(b"").unwrap(), None);
    let refused = tree.apply(vec![(bytes(""), None), (bytes("a"), Some(bytes("1")))]).unwrap_err();
    assert_eq!(refused.to_string(), "a tree cannot store an empty key");
    assert_eq!(tree.get(b"a").unwrap(), None, "a batch that was refused left something");
}

fn trees_are_apart_whatever_their_names(kind: EngineKind, folder: &Path) {
    let engine = open(kind, folder);
    let long = "x".repeat(255);
    let mut names = ["a", "a/b", "a b", "%", "ä", "../up", &long];
    for name in names {
        apply(&*engine.open(name).unwrap(), &format!("name={name}").replace(' ', "_"));
    }
    for name in names {
        assert_eq!(all(&*engine.open(name).unwrap()), format!("name={name}").replace(' ', "_"));
    }
    names.sort_unstable();
    assert_eq!(engine.trees().unwrap(), names);
    assert!(engine.size_bytes().unwrap() > 0);
}

fn a_tree_that_is_cleared_or_removed_is_empty_for_ever(kind: EngineKind, folder: &Path) {
    let engine = open(kind, folder);
    let fill = |name: &str| {
        let tree = engine.open(name).unwrap();
        let entries = (0..5_000).map(|n| (bytes(format!("{n:04}")), Some(bytes("value"))));
        tree.apply(entries.collect()).unwrap();
        tree
    };
    fill("cleared").clear().unwrap();
    assert_eq!(all(&*engine.open("cleared").unwrap()), "");
    apply(&*engine.open("cleared").unwrap(), "again=1");
    drop(fill("removed"));
    drop(fill("kept"));
    engine.remove("removed").unwrap();
    engine.remove("removed").unwrap();
    engine.remove("never there").unwrap();
    assert_eq!(engine.trees().unwrap(), ["cleared", "kept"]);
    assert_eq!(all(&*engine.open("removed").unwrap()), "");
    engine.flush().unwrap();
    drop(engine);
    let engine = open(kind, folder);
    assert_eq!(all(&*engine.open("cleared").unwrap()), "again=1");
    assert_eq!(all(&*engine.open("removed").unwrap()), "");
    assert_eq!(engine.open("kept").unwrap().scan(Bound::Unbounded, b"", usize::MAX).unwrap().len(), 5_000);
}

fn everything_is_there_after_a_restart(kind: EngineKind, folder: &Path) {
    for round in 0..5 {
        let engine = open(kind, folder);
        let tree = engine.open("tree").unwrap();
        for before in 0..round {
            assert_eq!(tree.get(format!("round {before}").as_bytes()).unwrap().as_deref(), Some(&b"done"[..]));
            assert_eq!(tree.get(format!("gone {before}").as_bytes()).unwrap(), None);
        }
        let [key, gone] = ["round", "gone"].map(|what| bytes(format!("{what} {round}")));
        tree.apply(vec![(gone.clone(), Some(bytes("x")))]).unwrap();
        tree.apply(vec![(gone, None), (key, Some(bytes("done")))]).unwrap();
    }
}

fn a_folder_that_cannot_be_used_is_named(kind: EngineKind, folder: &Path) {
    let state = folder.join("state");
    let first = open(kind, &state);
    let Err(owned) = open_engine(kind, &state, CACHE_BYTES) else { panic!("opened twice") };
    assert_eq!(owned, StateError::Owned(state.clone()));
    let message = to_text(&owned).replace(folder.to_str().unwrap(), "FOLDER");
    assert_eq!(
        message,
        "another process uses the state of this host\n  at: FOLDER/state\n  hint: stop that process, or set another `app.data`"
    );
    drop(first);
    drop(open(kind, &state));
    let file = folder.join("file");
    std::fs::write(&file, "no folder").unwrap();
    for place in [file.clone(), file.join("below")] {
        let Err(error) = open_engine(kind, &place, CACHE_BYTES) else { panic!("opened a file") };
        assert!(matches!(&error, StateError::Unusable { folder, .. } if *folder == place), "{error:?}");
    }
    assert_eq!(std::fs::read_to_string(file).unwrap(), "no folder");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn a_damaged_folder_is_reported(kind: EngineKind, folder: &Path) {
    let state = folder.join("state");
    {
        let engine = open(kind, &state);
        apply(&*engine.open("tree").unwrap(), "a=1");
        engine.flush().unwrap();
    }
    for file in files(&state) {
        std::fs::write(&file, "this is not a database, but it is longer than nothing".repeat(100)).unwrap();
    }
    let Err(error) = open_engine(kind, &state, CACHE_BYTES) else { panic!("opened what is damaged") };
    assert!(matches!(&error, StateError::Corrupt { folder, .. } if *folder == state), "{error:?}");
    std::fs::rename(&state, folder.join("aside")).unwrap();
    assert_eq!(all(&*open(kind, &state).open("tree").unwrap()), "");
}

/// Batch `n` of a sequence. Afterwards every `k…` has the value `n`, and the last hundred numbers exist.
fn batch(n: u64) -> Vec<(Bytes, Option<Bytes>)> {
    let value = format!("{n} {}", "x".repeat(usize::try_from(n * 37 % 900).unwrap()));
    let keys = (0..50).map(|key| (bytes(format!("k{key:02}")), Some(bytes(&value))));
    let gone = n.checked_sub(100).map(|old| (bytes(format!("n{old:08}")), None));
    let mut batch = keys.chain(gone).chain([(bytes(format!("n{n:08}")), Some(bytes("")))]).collect::<Vec<_>>();
    batch.sort();
    batch
}

/// The number of the last batch. Checks that it is complete, and that all earlier ones exist.
fn last_batch(tree: &dyn StateStore) -> Option<u64> {
    let numbers = tree.scan(Bound::Unbounded, b"n", usize::MAX).unwrap();
    let keys = tree.scan(Bound::Unbounded, b"k", usize::MAX).unwrap();
    let (last, _) = numbers.last()?;
    let last = std::str::from_utf8(&last[1..]).unwrap().parse::<u64>().unwrap();
    let expected = ((last + 1).saturating_sub(100)..=last).map(|n| bytes(format!("n{n:08}"))).collect::<Vec<_>>();
    assert_eq!(numbers.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), expected);
    assert_eq!(keys.len(), 50);
    for (key, value) in keys {
        let number = std::str::from_utf8(&value).unwrap().split(' ').next().unwrap().parse::<u64>().unwrap();
        assert_eq!(number, last, "{key:?}");
    }
    Some(last)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() { copy(&path, &to) } else { assert!(std::fs::copy(&path, &to).is_ok()) }
    }
}

/// The effects of a power cut on files that are only appended to and never synced.
fn a_lost_tail_leaves_a_state_that_was(kind: EngineKind, folder: &Path) {
    let state = folder.join("state");
    let engine = open(kind, &state);
    let tree = engine.open("tree").unwrap();
    for n in 0..400 {
        tree.apply(batch(n)).unwrap();
        if n % 50 == 0 {
            engine.flush().unwrap();
        }
    }
    engine.flush().unwrap();
    // The files as they are while the engine runs, without any cleanup at its end.
    copy(&state, &folder.join("copy"));
    drop((tree, engine));
    let mut states = vec![];
    for cut in [0_u64, 1, 100, 3_000, 40_000, 300_000, 5_000_000] {
        let cut_off = folder.join(format!("cut {cut}"));
        copy(&folder.join("copy"), &cut_off);
        let journal = files(&cut_off).into_iter().max_by_key(|file| written(file)).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(&journal).unwrap();
        file.set_len(written(&journal).saturating_sub(cut)).unwrap();
        states.push(match open_engine(kind, &cut_off, CACHE_BYTES) {
            Ok(engine) => match last_batch(&*engine.open("tree").unwrap()) {
                Some(last) => format!("{cut}: {last}"),
                None => format!("{cut}: empty"),
            },
            Err(StateError::Corrupt { .. }) => format!("{cut}: corrupt"),
            Err(other) => panic!("{other:?}"),
        });
    }
    // Nothing is cut off and nothing is lost; or a little is cut off, and only the last batches are lost.
    assert_eq!(states[..2], ["0: 399", "1: 398"], "{states:?}");
}

/// The length of a file up to its last byte that is not zero, because engines preallocate.
fn written(file: &Path) -> u64 {
    let bytes = std::fs::read(file).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
}

const FOLDER: &str = "HEDDLE_TEST_KILL_FOLDER";
const ENGINE: &str = "HEDDLE_TEST_KILL_ENGINE";
const KILLS: u64 = 8;

/// The child: applies batches until it is killed, flushes sometimes, and prints that.
#[test]
#[ignore = "only runs as a child of the test below"]
fn child() {
    let (Some(folder), Ok(engine)) = (std::env::var_os(FOLDER), std::env::var(ENGINE)) else { return };
    let kind = if engine == "Sled" { EngineKind::Sled } else { EngineKind::Fjall };
    let engine = open(kind, Path::new(&folder));
    let tree = engine.open("tree").unwrap();
    let next = last_batch(&*tree).map_or(0, |last| last + 1);
    for n in next.. {
        tree.apply(batch(n)).unwrap();
        if n % 64 == 0 {
            engine.flush().unwrap();
            println!("flushed {n}");
        }
    }
}

/// Runs the child until it has flushed `flushes` times, and for `moment` longer. Returns the last flushed batch.
fn run_and_kill(kind: EngineKind, folder: &Path, flushes: u64, moment: Duration) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "state_engines::child", "--nocapture"])
        .env(FOLDER, folder)
        .env(ENGINE, format!("{kind:?}"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut flushed = lines.filter_map(|line| line.split_once("flushed ")?.1.parse::<u64>().ok());
    let last = flushed.by_ref().take(usize::try_from(flushes).unwrap()).last().unwrap();
    std::thread::sleep(moment);
    child.kill().unwrap();
    child.wait().unwrap();
    flushed.last().unwrap_or(last)
}

fn a_killed_process_leaves_whole_batches(kind: EngineKind, folder: &Path) {
    let mut before = 0;
    for kill in 1..=KILLS {
        let seed = kill.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let flushed = run_and_kill(kind, folder, 1 + (seed >> 8) % 20, Duration::from_micros((seed >> 40) % 6_000));
        let engine = open(kind, folder);
        let last = last_batch(&*engine.open("tree").unwrap()).unwrap();
        assert!(flushed >= before && last >= flushed, "kill {kill}: {before} {flushed} {last}");
        before = last;
    }
}

#[derive(Clone, Debug)]
enum Operation {
    Apply(BTreeMap<Vec<u8>, Option<Vec<u8>>>),
    Get(Vec<u8>),
    Scan(Bound<Vec<u8>>, Vec<u8>, usize),
    LastAtOrBefore(Vec<u8>),
    Clear,
    Reopen,
    Flush,
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let key = || vec(0..4_u8, 0..5);
    let value = prop_oneof![8 => vec(any::<u8>(), 0..20), 1 => vec(any::<u8>(), 3_000)];
    let changes = proptest::collection::btree_map(vec(0..4_u8, 1..5), proptest::option::of(value), 0..20);
    let bound = prop_oneof![key().prop_map(Bound::Included), key().prop_map(Bound::Excluded), Just(Bound::Unbounded)];
    let operation = prop_oneof![
        400 => changes.prop_map(Operation::Apply),
        400 => key().prop_map(Operation::Get),
        400 => (bound, vec(0..4_u8, 0..3), 0..30_usize).prop_map(|(bound, prefix, limit)| Operation::Scan(bound, prefix, limit)),
        400 => key().prop_map(Operation::LastAtOrBefore),
        5 => Just(Operation::Flush),
        1 => Just(Operation::Clear),
        1 => Just(Operation::Reopen),
    ];
    vec(operation, 5_000)
}

fn random_operations_do_what_a_map_does(kind: EngineKind, folder: &Path) {
    let mut runner = TestRunner::new(Config {
        cases: u32::try_from(scaled(3, 20)).unwrap(),
        max_shrink_time: 60_000,
        failure_persistence: None,
        ..Config::default()
    });
    let number = std::cell::Cell::new(0);
    let result = runner.run(&operations(), |operations| {
        number.set(number.get() + 1);
        check(kind, &folder.join(number.get().to_string()), operations)
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

fn check(kind: EngineKind, folder: &Path, operations: Vec<Operation>) -> Result<(), TestCaseError> {
    let mut engine = open(kind, folder);
    let mut tree = engine.open("tree").unwrap();
    let mut model = BTreeMap::<Vec<u8>, Vec<u8>>::new();
    let plain = |entry: (Bytes, Bytes)| (entry.0.to_vec(), entry.1.to_vec());
    for operation in operations {
        match operation {
            Operation::Apply(changes) => {
                let batch = changes.iter().map(|(key, value)| (bytes(key), value.as_ref().map(bytes)));
                tree.apply(batch.collect()).unwrap();
                for (key, value) in changes {
                    match value {
                        Some(value) => drop(model.insert(key, value)),
                        None => drop(model.remove(&key)),
                    }
                }
            }
            Operation::Get(key) => {
                prop_assert_eq!(tree.get(&key).unwrap().map(|value| value.to_vec()), model.get(&key).cloned());
            }
            Operation::Scan(start, prefix, limit) => {
                let expected = model
                    .range((start.clone(), Bound::Unbounded))
                    .filter(|(key, _)| key.starts_with(&prefix))
                    .take(limit)
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect::<Vec<_>>();
                let found = tree.scan(start.as_ref().map(|key| &key[..]), &prefix, limit).unwrap();
                prop_assert_eq!(found.into_iter().map(plain).collect::<Vec<_>>(), expected);
            }
            Operation::LastAtOrBefore(key) => {
                let expected = model.range(..=key.clone()).next_back();
                let expected = expected.map(|(key, value)| (key.clone(), value.clone()));
                prop_assert_eq!(tree.last_at_or_before(&key).unwrap().map(plain), expected);
            }
            Operation::Clear => {
                tree.clear().unwrap();
                model.clear();
            }
            Operation::Flush => engine.flush().unwrap(),
            Operation::Reopen => {
                drop((tree, engine));
                engine = open(kind, folder);
                tree = engine.open("tree").unwrap();
            }
        }
    }
    Ok(())
}
