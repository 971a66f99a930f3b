//! A task's state on an engine in a temporary folder, and the changelogs of which it is a copy.
//!
//! Batches are made as in the worker: stepped, sealed, "written" to in-memory changelogs, and confirmed.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use heddle::state::{Bounds, CACHE_BYTES, EngineKind, StateEngine, TaskStores, Watermark, open_engine, tree_name};
use heddle_core::batch::{CommittedBatch, OpenBatch};
use heddle_core::dedup::MessageId;
use heddle_core::delivery::Delivery;
use heddle_core::effects::Effects;
use heddle_core::event::{Offset, Partition, Record, Timestamp, Topic, TopicPartition};
use heddle_core::fault::{EventFault, Fault};
use heddle_core::policy::FailurePolicy;
use heddle_core::state::{Range, Reads, Stateless, StoreIndex, TaskState as _, Writes};
use heddle_core::task::{Dispatch, Prepared, Task, TaskSpec};
use heddle_fixtures::copies::allowed;
use tempfile::TempDir;

pub(crate) const PARTITION: Partition = Partition(3);
pub(crate) const STOCK: StoreIndex = StoreIndex(0);
pub(crate) const SUMS: StoreIndex = StoreIndex(1);
/// The window of every topic with dedup.
pub(crate) const WINDOW: Duration = Duration::from_secs(160);
/// The initial time of the clock: far beyond the timestamps of most tests.
pub(crate) const NOW: Timestamp = Timestamp(1_000_000_000_000);

thread_local! {
    /// The current time. It is thread-local, and each test runs in a separate thread.
    static CLOCK: Cell<Timestamp> = const { Cell::new(NOW) };
}

pub(crate) fn spec() -> TaskSpec {
    TaskSpec {
        component: "shop.intake".into(),
        digest: None,
        policy: FailurePolicy::in_place(1, "dlq"),
        retry_topics: Default::default(),
        schedule: None,
        changelogs: vec!["shop.intake.stock".into(), "shop.intake.sums".into()],
        seen_changelog: Some("shop.intake.dedup".into()),
        tables: vec![],
        windows: ["orders", "payments"].map(|topic| (topic.into(), WINDOW)).into(),
    }
}

/// Bounds under which every piece of work is due.
pub(crate) fn bounds() -> Bounds {
    Bounds { memtable_age: Duration::ZERO, changes_at_once: 2, now: || CLOCK.get(), ..Bounds::default() }
}

/// A message id to record.
pub(crate) type Noted = (&'static str, Bytes, i64);

pub(crate) struct Harness {
    pub(crate) folder: TempDir,
    kind: EngineKind,
    pub(crate) engine: Arc<dyn StateEngine>,
    pub(crate) stores: Arc<TaskStores>,
    pub(crate) spec: TaskSpec,
    pub(crate) bounds: Bounds,
    /// The task's partition of each changelog. Offsets have gaps, as on Kafka where transactions end.
    pub(crate) log: BTreeMap<Topic, Vec<Record>>,
    pub(crate) topic_id: Option<String>,
}

impl Harness {
    pub(crate) fn new(kind: EngineKind) -> Self {
        CLOCK.set(NOW);
        let folder = tempfile::tempdir().unwrap();
        let engine = open_engine(kind, folder.path(), CACHE_BYTES).unwrap();
        let (spec, bounds) = (spec(), bounds());
        let stores = TaskStores::open(&*engine, &spec, PARTITION, bounds).unwrap();
        let log = changelogs().into_iter().map(|topic| (topic, vec![])).collect();
        let harness = Self { folder, kind, engine, stores, spec, bounds, log, topic_id: Some("id-1".to_owned()) };
        harness.restore();
        harness
    }

    /// Replaces the process with a new one. The memory is lost.
    pub(crate) fn restart(&mut self) {
        self.engine = Arc::new(NoEngine);
        self.reopen_with(|harness| open_engine(harness.kind, harness.folder.path(), CACHE_BYTES).unwrap());
    }

    /// Closes the task and opens it again in the same process.
    pub(crate) fn reopen(&mut self) {
        self.reopen_with(|harness| harness.engine.clone());
    }

    fn reopen_with(&mut self, engine: impl FnOnce(&Self) -> Arc<dyn StateEngine>) {
        self.stores = TaskStores::open(&NoEngine, &none(), PARTITION, self.bounds).unwrap();
        self.engine = engine(self);
        self.stores = TaskStores::open(&*self.engine, &self.spec, PARTITION, self.bounds).unwrap();
        self.check_trees();
        self.restore();
    }

    /// Reads the tail of each changelog, as the worker does on assignment.
    pub(crate) fn restore(&self) {
        for (changelog, watermark) in self.stores.watermarks() {
            let from = watermark.map_or(Offset(0), |watermark| watermark.offset);
            self.reached(&changelog, from);
            let tail = self.log[&changelog].iter().filter(|record| record.offset >= from);
            for (number, record) in tail.enumerate() {
                self.stores.replay(record).unwrap();
                if number % 3 == 2 {
                    self.reached(&changelog, record.offset.next());
                }
            }
            self.reached(&changelog, self.end(&changelog));
        }
    }

    fn reached(&self, changelog: &Topic, offset: Offset) {
        self.stores.reached(changelog, Watermark { topic_id: self.topic_id.clone(), offset });
    }

    pub(crate) fn end(&self, changelog: &Topic) -> Offset {
        self.log[changelog].last().map_or(Offset(0), |record| Offset(record.offset.0 + 2))
    }

    /// Commits a transaction to the changelogs and then to the state.
    pub(crate) fn commit(&mut self, writes: Writes, noted: &[Noted]) {
        let mut batch = self.commit_to_log(writes, noted);
        self.stores.commit(&mut batch);
    }

    pub(crate) fn commit_to_log(&mut self, writes: Writes, noted: &[Noted]) -> CommittedBatch {
        let sealed = open_batch(writes, noted).seal();
        let mut ends = BTreeMap::new();
        for new in sealed.changelog(&spec()).map(|record| record.record().copied()) {
            assert_eq!(new.partition, Some(PARTITION));
            let source = TopicPartition { topic: new.topic.clone(), partition: PARTITION };
            let first = if ends.contains_key(&source) { 1 } else { 2 };
            let log = self.log.get_mut(&new.topic).unwrap();
            let offset = Offset(log.last().map_or(0, |record: &Record| record.offset.0 + first));
            let timestamp = new.timestamp.unwrap_or(NOW);
            ends.insert(source.clone(), offset.next());
            log.push(Record { source, offset, timestamp, key: new.key, value: new.value, headers: vec![] });
        }
        sealed.confirmed(ends)
    }

    pub(crate) fn put(&mut self, store: StoreIndex, key: &str, value: &str) {
        self.commit(writes(store, &[(key, Some(value))]), &[]);
    }

    pub(crate) fn note(&mut self, topic: &'static str, id: &str, at: i64) {
        self.commit(Writes::new(), &[(topic, Bytes::copy_from_slice(id.as_bytes()), at)]);
    }

    pub(crate) fn get(&self, store: StoreIndex, key: &str) -> Option<String> {
        let value = self.stores.get(store, key.as_bytes()).unwrap();
        value.map(|value| String::from_utf8(value.to_vec()).unwrap())
    }

    pub(crate) fn scan(&self, store: StoreIndex, prefix: &str, after: Option<&str>, limit: usize) -> String {
        let range = Range { prefix: prefix.as_bytes(), after: after.map(str::as_bytes) };
        let entries = self.stores.scan(store, &range, limit).unwrap();
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        entries.iter().map(|(key, value)| format!("{}={}", text(key), text(value))).collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn seen(&self, topic: &str, id: &str, at: i64) -> bool {
        let id = MessageId(Bytes::copy_from_slice(id.as_bytes()));
        self.stores.seen(&topic.into(), &id, Timestamp(at)).unwrap()
    }

    /// Advances the clock.
    pub(crate) fn pass(&self, time: Duration) {
        CLOCK.set(Timestamp(CLOCK.get().0 + i64::try_from(time.as_millis()).unwrap()));
    }

    /// Merges and expires until no work is left.
    pub(crate) fn maintain(&self) {
        while self.stores.maintain().unwrap() {}
    }

    /// The watermark of a changelog's tree, on disk.
    pub(crate) fn watermark_on_disk(&self, changelog: &str) -> Option<i64> {
        self.on_disk_says(changelog, "offset")
    }

    /// The end of the write in progress, on disk.
    pub(crate) fn early_on_disk(&self, changelog: &str) -> Option<i64> {
        self.on_disk_says(changelog, "early")
    }

    fn on_disk_says(&self, changelog: &str, what: &str) -> Option<i64> {
        let tree = self.engine.open(&tree_name("shop.intake", changelog, PARTITION)).unwrap();
        let stored = tree.get(b"\0watermark").unwrap()?;
        serde_json::from_slice::<serde_json::Value>(&stored).unwrap()[what].as_i64()
    }

    /// The entries of a store's tree on disk, without its watermark.
    pub(crate) fn on_disk(&self, store: StoreIndex) -> BTreeMap<Bytes, Bytes> {
        let name = tree_name("shop.intake", &spec().changelogs[store.0], PARTITION);
        let tree = self.engine.open(&name).unwrap();
        let entries = tree.scan(Bound::Unbounded, &[1], usize::MAX).unwrap();
        entries.into_iter().map(|(key, value)| (key.slice(1..), value)).collect()
    }

    /// Checks the invariant: a tree is the fold of its changelog below its watermark. Some keys may be newer if a write
    /// was cut off.
    pub(crate) fn check_trees(&self) {
        for store in [STOCK, SUMS] {
            let changelog = &spec().changelogs[store.0];
            let watermark = self.watermark_on_disk(changelog).unwrap_or(0);
            let early = self.early_on_disk(changelog).unwrap_or(watermark);
            let from_to = |from, to| self.log[changelog].iter().filter(move |r| (from..to).contains(&r.offset.0));
            let found = self.on_disk(store);
            let later = from_to(watermark, early).map(|record| (record.key.clone().unwrap(), record.value.clone()));
            let expected = allowed(&found, &fold(from_to(0, watermark)), later);
            assert_eq!(found, expected, "{changelog} below {watermark}, in part below {early}");
        }
    }
}

/// The fold of a compacted topic's records.
pub(crate) fn fold<'a>(records: impl Iterator<Item = &'a Record>) -> BTreeMap<Bytes, Bytes> {
    let mut folded = BTreeMap::new();
    for record in records {
        let key = record.key.clone().unwrap();
        match record.value.clone() {
            Some(value) => drop(folded.insert(key, value)),
            None => drop(folded.remove(&key)),
        }
    }
    folded
}

pub(crate) fn writes(store: StoreIndex, entries: &[(&str, Option<&str>)]) -> Writes {
    let copy = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    entries.iter().map(|(key, value)| ((store, copy(key)), value.map(copy))).collect()
}

pub(crate) fn changelogs() -> Vec<Topic> {
    spec().changelogs.into_iter().chain(spec().seen_changelog).collect()
}

/// A component without state, to delete trees.
fn none() -> TaskSpec {
    TaskSpec { changelogs: vec![], seen_changelog: None, windows: BTreeMap::new(), ..spec() }
}

/// The batch of a transaction in which one delivery wrote all of `writes`, and messages with these ids were handled.
pub(crate) fn open_batch(writes: Writes, noted: &[Noted]) -> OpenBatch {
    let mut batch = OpenBatch::default();
    let mut task = Task::new(Arc::new(spec()), PARTITION, Arc::new(Stateless));
    let mut handler = Handler(Some(writes));
    let mut offsets = BTreeMap::<&str, i64>::new();
    let deliveries = noted.iter().map(|(topic, id, at)| (*topic, Some(id.clone()), *at));
    for (topic, id, at) in [("unnoted", None, 1)].into_iter().chain(deliveries) {
        let offset = offsets.entry(topic).or_default();
        let record = Record {
            source: TopicPartition { topic: topic.into(), partition: PARTITION },
            offset: Offset(*offset),
            timestamp: Timestamp(at),
            key: id,
            value: None,
            headers: vec![],
        };
        *offset += 1;
        task.step_at_once(&record, &mut handler, &mut batch, Timestamp(0)).unwrap();
    }
    batch
}

/// A handler that writes once. The record's key is its message id.
struct Handler(Option<Writes>);

impl Dispatch for Handler {
    fn identify(&mut self, prepared: &Prepared<'_>) -> Result<Option<MessageId>, EventFault> {
        Ok(prepared.record.key.clone().map(MessageId))
    }

    fn dispatch(&mut self, _: &Prepared<'_>, _: &Delivery<'_>, _: Reads) -> Result<Effects, Fault> {
        Ok(Effects { writes: self.0.take().unwrap_or_default(), ..Effects::default() })
    }
}

/// Takes the place of an engine that has to be closed.
struct NoEngine;

impl StateEngine for NoEngine {
    fn open(&self, _: &str) -> Result<Arc<dyn heddle::state::StateStore>, heddle::state::StateError> {
        unreachable!("nothing is opened here")
    }

    fn remove(&self, _: &str) -> Result<(), heddle::state::StateError> {
        Ok(())
    }

    fn trees(&self) -> Result<Vec<String>, heddle::state::StateError> {
        Ok(vec![])
    }

    fn size_bytes(&self) -> Result<u64, heddle::state::StateError> {
        Ok(0)
    }

    fn flush(&self) -> Result<(), heddle::state::StateError> {
        Ok(())
    }
}
