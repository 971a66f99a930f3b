//! The flusher, also on a slow or failing disk.

use std::ops::Bound;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use heddle::state::{
    Bounds, CACHE_BYTES, Changes, EngineKind, Flusher, HostState, StateEngine, StateError, StateStore, TaskStores,
    Watermark, open_engine, tree_name,
};
use heddle_core::dedup::{MessageId, SEGMENTS_MAX};
use heddle_core::event::{Offset, Timestamp};
use heddle_core::state::TaskState as _;

use crate::task_stores::harness::{Harness, NOW, PARTITION, STOCK, changelogs, spec, writes};

on_both_engines! {
    what_is_committed_gets_to_disk_by_itself
    nothing_is_written_of_a_task_that_was_unregistered
    stopping_writes_everything
    what_a_host_wrote_that_ends_is_on_disk_whoever_still_holds_it
}

/// The behaviour of the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disk {
    Works,
    Fails,
    Panics,
}

/// An engine whose disk can be made slow or failing.
struct Wayward {
    inner: Arc<dyn StateEngine>,
    control: Arc<Control>,
}

pub(crate) struct Control {
    disk: AtomicU8,
    /// The number of writes that a failing disk accepts before it fails.
    writes_left: AtomicU8,
    /// The number of lookups of message ids that have reached the disk.
    looking: AtomicU8,
    stuck: Mutex<bool>,
    stuck_lookups: Mutex<bool>,
    changed: Condvar,
}

impl Control {
    pub(crate) fn set(&self, disk: Disk) {
        self.disk.store(disk as u8, Ordering::SeqCst);
    }

    fn fail_after(&self, writes: u8) {
        self.writes_left.store(writes, Ordering::SeqCst);
        self.set(Disk::Fails);
    }

    fn takes_a_write(&self) -> bool {
        self.writes_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }

    pub(crate) fn stick(&self, stuck: bool) {
        *self.stuck.lock().unwrap() = stuck;
        self.changed.notify_all();
    }

    fn stick_lookups(&self, stuck: bool) {
        *self.stuck_lookups.lock().unwrap() = stuck;
        self.changed.notify_all();
    }
}

impl StateEngine for Wayward {
    fn open(&self, tree: &str) -> Result<Arc<dyn StateStore>, StateError> {
        Ok(Arc::new(WaywardTree { inner: self.inner.open(tree)?, control: self.control.clone() }))
    }

    fn remove(&self, tree: &str) -> Result<(), StateError> {
        self.inner.remove(tree)
    }

    fn trees(&self) -> Result<Vec<String>, StateError> {
        self.inner.trees()
    }

    fn size_bytes(&self) -> Result<u64, StateError> {
        self.inner.size_bytes()
    }

    fn flush(&self) -> Result<(), StateError> {
        self.inner.flush()
    }
}

struct WaywardTree {
    inner: Arc<dyn StateStore>,
    control: Arc<Control>,
}

impl StateStore for WaywardTree {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        self.inner.get(key)
    }

    fn scan(&self, start: Bound<&[u8]>, prefix: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, StateError> {
        self.inner.scan(start, prefix, limit)
    }

    fn last_at_or_before(&self, key: &[u8]) -> Result<Option<(Bytes, Bytes)>, StateError> {
        self.control.looking.fetch_add(1, Ordering::SeqCst);
        drop(self.control.changed.wait_while(self.control.stuck_lookups.lock().unwrap(), |stuck| *stuck).unwrap());
        self.inner.last_at_or_before(key)
    }

    fn apply(&self, batch: Changes) -> Result<(), StateError> {
        drop(self.control.changed.wait_while(self.control.stuck.lock().unwrap(), |stuck| *stuck).unwrap());
        match self.control.disk.load(Ordering::SeqCst) {
            disk if disk == Disk::Fails as u8 && !self.control.takes_a_write() => {
                Err(StateError::Unusable { folder: "/state".into(), why: "No space left on device".to_owned() })
            }
            disk if disk == Disk::Panics as u8 => panic!("the engine's own mistake"),
            _ => self.inner.apply(batch),
        }
    }

    fn clear(&self) -> Result<(), StateError> {
        self.inner.clear()
    }
}

/// A harness on a controllable disk.
pub(crate) fn wayward(bounds: Bounds) -> (Harness, Arc<Control>) {
    let mut harness = Harness::new(EngineKind::Sled);
    let control = Arc::new(Control {
        disk: AtomicU8::new(0),
        writes_left: AtomicU8::new(0),
        looking: AtomicU8::new(0),
        stuck: Mutex::new(false),
        stuck_lookups: Mutex::new(false),
        changed: Condvar::new(),
    });
    harness.engine = Arc::new(Wayward { inner: harness.engine.clone(), control: control.clone() });
    harness.stores = TaskStores::open(&*harness.engine, &spec(), PARTITION, bounds).unwrap();
    harness.restore();
    (harness, control)
}

pub(crate) fn bounds(memtable_bytes: usize, memtable_age: Duration) -> Bounds {
    Bounds { memtable_bytes, memtable_age, changes_at_once: 2, now: || NOW, ..Bounds::default() }
}

pub(crate) fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < Duration::from_secs(120), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

const STOCK_CHANGELOG: &str = "shop.intake.stock";

fn what_is_committed_gets_to_disk_by_itself(kind: EngineKind) {
    let mut harness = Harness::new(kind);
    let flusher = Flusher::start(harness.engine.clone()).unwrap();
    flusher.register(&harness.stores);
    // Each round makes at least one segment, so some have to be merged.
    const ROUNDS: usize = 3 * SEGMENTS_MAX;
    for round in 1..=ROUNDS {
        harness.put(STOCK, "a", &round.to_string());
        for n in 0..20 {
            harness.note("orders", &format!("{round}/{n}"), 1_000);
        }
        let end = harness.end(&STOCK_CHANGELOG.into()).0 - 1;
        eventually("written", || harness.watermark_on_disk(STOCK_CHANGELOG) == Some(end));
        harness.check_trees();
    }
    eventually("merged", || {
        let status = harness.stores.seen_status();
        status.ids == 20 * ROUNDS as u64 && status.segments <= SEGMENTS_MAX
    });
    assert_eq!(flusher.failure(), None);
}

#[test]
fn a_write_that_is_cut_off_between_two_parts_is_repaired() {
    let (mut harness, control) = wayward(bounds(1_000, Duration::ZERO));
    let changelog = STOCK_CHANGELOG.into();
    harness.commit(writes(STOCK, &["a", "b", "c", "d", "e"].map(|key| (key, Some("0")))), &[]);
    harness.stores.flush().unwrap();
    // Five keys are written in three parts.
    for parts in 0..3 {
        let before = harness.watermark_on_disk(STOCK_CHANGELOG);
        let value = parts.to_string();
        let value = Some(value.as_str());
        let changes = [("a", None), ("b", value), ("d", value), ("e", None), ("f", value)];
        harness.commit(writes(STOCK, &changes), &[]);
        let end = harness.end(&changelog).0 - 1;
        control.fail_after(parts);
        assert!(harness.stores.flush().is_err());
        control.set(Disk::Works);
        let early = (parts > 0).then_some(end);
        let on_disk = (harness.watermark_on_disk(STOCK_CHANGELOG), harness.early_on_disk(STOCK_CHANGELOG));
        assert_eq!(on_disk, (before, early), "{parts}");
        // Another process takes over, without the memory of the first.
        harness.reopen();
        assert_eq!(harness.stores.end_found(&changelog), Some(Offset(early.or(before).unwrap())));
        assert_eq!(harness.scan(STOCK, "", None, 9), format!("b={parts} c=0 d={parts} f={parts}"));
        harness.put(STOCK, "a", "again");
        harness.stores.flush().unwrap();
        harness.check_trees();
        assert_eq!(harness.early_on_disk(STOCK_CHANGELOG), None);
    }
}

fn nothing_is_written_of_a_task_that_was_unregistered(kind: EngineKind) {
    let mut harness = Harness::new(kind);
    let flusher = Flusher::start(harness.engine.clone()).unwrap();
    flusher.register(&harness.stores);
    harness.put(STOCK, "a", "1");
    assert!(flusher.unregister(&harness.stores, Duration::from_secs(120)));
    let before = harness.watermark_on_disk(STOCK_CHANGELOG);
    harness.put(STOCK, "a", "2");
    flusher.flush_now().unwrap();
    flusher.stop().unwrap();
    assert_eq!(harness.watermark_on_disk(STOCK_CHANGELOG), before);
    assert_eq!(harness.get(STOCK, "a").as_deref(), Some("2"));
}

fn stopping_writes_everything(kind: EngineKind) {
    let mut harness = Harness::new(kind);
    harness.bounds = bounds(8 << 20, Duration::from_secs(3_600));
    harness.reopen();
    let flusher = Flusher::start(harness.engine.clone()).unwrap();
    flusher.register(&harness.stores);
    harness.put(STOCK, "a", "1");
    flusher.flush_now().unwrap();
    assert_eq!(harness.stores.pending_bytes(), 0);
    harness.put(STOCK, "b", "2");
    assert!(harness.stores.pending_bytes() > 0, "neither old nor large");
    flusher.stop().unwrap();
    harness.log.values_mut().for_each(Vec::clear);
    assert_eq!(harness.on_disk(STOCK).len(), 2);
}

/// The process may end before the last query thread has dropped a task.
fn what_a_host_wrote_that_ends_is_on_disk_whoever_still_holds_it(kind: EngineKind) {
    let harness = Harness::new(kind);
    let state = HostState::start(harness.engine.clone(), harness.bounds).unwrap();
    let stores = state.open(&harness.spec, PARTITION).unwrap();
    let watermark = Watermark { topic_id: None, offset: Offset(7) };
    changelogs().iter().for_each(|changelog| stores.reached(changelog, watermark.clone()));
    state.close(&stores);
    state.flush().unwrap();
    // The state that a process finds if it starts now.
    let copy = tempfile::tempdir().unwrap();
    let copied =
        Command::new("cp").arg("-r").arg(harness.folder.path()).arg(copy.path().join("state")).status().unwrap();
    assert!(copied.success());
    let engine = open_engine(kind, &copy.path().join("state"), CACHE_BYTES).unwrap();
    let found = TaskStores::open(&*engine, &harness.spec, PARTITION, harness.bounds).unwrap().watermarks();
    assert!(found.iter().all(|(_, found)| found.as_ref() == Some(&watermark)), "{found:?}");
    drop(stores);
}

#[test]
fn a_disk_that_fails_loses_nothing_and_is_tried_again() {
    let (mut harness, control) = wayward(bounds(1_000, Duration::ZERO));
    harness.put(STOCK, "a", "1");
    harness.stores.flush().unwrap();
    for disk in [Disk::Fails, Disk::Panics] {
        control.set(disk);
        let flusher = Flusher::start(harness.engine.clone()).unwrap();
        flusher.register(&harness.stores);
        harness
            .commit(writes(STOCK, &[("a", None), ("b", Some("2")), ("c", None)]), &[("orders", Bytes::from("id"), 5)]);
        eventually("noticed", || flusher.failure().is_some());
        assert_eq!(harness.scan(STOCK, "", None, 9), "b=2");
        assert!(harness.seen("orders", "id", 5));
        harness.put(STOCK, "c", "3");
        assert_eq!(harness.scan(STOCK, "", None, 9), "b=2 c=3");
        harness.check_trees();
        control.set(Disk::Works);
        let end = harness.end(&STOCK_CHANGELOG.into()).0 - 1;
        eventually("written", || harness.watermark_on_disk(STOCK_CHANGELOG) == Some(end));
        eventually("good again", || flusher.failure().is_none());
        harness.check_trees();
        assert_eq!(harness.scan(STOCK, "", None, 9), "b=2 c=3");
        assert!(harness.seen("orders", "id", 5));
    }
}

#[test]
fn a_worker_waits_only_for_a_slow_disk_and_a_full_memtable() {
    let (mut harness, control) = wayward(bounds(10_000, Duration::ZERO));
    let soon = Duration::from_millis(20);
    let large = "x".repeat(15_000);
    harness.put(STOCK, "a", &large);
    harness.put(STOCK, "b", &large);
    assert!(harness.stores.pending_bytes() > 20_000);
    assert!(harness.stores.wait_for_room(soon), "nothing is being written, so waiting would be in vain");
    control.stick(true);
    let stores = harness.stores.clone();
    let write = std::thread::spawn(move || stores.freeze() && stores.write_frozen().is_ok());
    eventually("the write is stuck", || !harness.stores.wait_for_room(soon));
    // Meanwhile the state can be read and committed to.
    harness.put(STOCK, "c", "1");
    assert_eq!(harness.get(STOCK, "a").map(|value| value.len()), Some(15_000));
    assert_eq!(harness.get(STOCK, "c").as_deref(), Some("1"));
    let stores = harness.stores.clone();
    let waiting = std::thread::spawn(move || stores.wait_for_room(Duration::from_secs(120)));
    control.stick(false);
    assert!(waiting.join().unwrap());
    assert!(write.join().unwrap());
    assert!(harness.stores.pending_bytes() < 1_000);
}

#[test]
fn a_lookup_on_a_slow_disk_finds_what_is_merged_meanwhile() {
    let (mut harness, control) = wayward(bounds(10_000, Duration::ZERO));
    for n in 0..8 {
        harness.note("orders", &n.to_string(), 1_000);
        harness.stores.flush().unwrap();
    }
    control.stick_lookups(true);
    let stores = harness.stores.clone();
    let id = MessageId(Bytes::from("3"));
    let lookup = std::thread::spawn(move || stores.seen(&"orders".into(), &id, Timestamp(1_000)).unwrap());
    eventually("the lookup is stuck", || control.looking.load(Ordering::SeqCst) > 0);
    harness.maintain();
    assert_eq!(harness.stores.seen_status().segments, 1);
    control.stick_lookups(false);
    assert!(lookup.join().unwrap());
    harness.maintain();
    let tree = harness.engine.open(&tree_name("shop.intake", "shop.intake.dedup", PARTITION)).unwrap();
    assert_eq!(tree.scan(Bound::Unbounded, b"b", 9).unwrap().len(), 1, "what was merged is still there");
}
