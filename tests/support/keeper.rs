//! The component `keeper`, with a task on an in-memory state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use heddle::guest::Instance;
use heddle_contract::format::avro::{Schema, json, parse};
use heddle_core::batch::OpenBatch;
use heddle_core::dedup::MessageId;
use heddle_core::event::{Header, NewRecord, Offset, Partition, Record, Timestamp, Topic, TopicPartition};
use heddle_core::fault::TaskFault;
use heddle_core::policy::FailurePolicy;
use heddle_core::state::{Entry, Range, StoreIndex, TaskState};
use heddle_core::task::{Step, Task, TaskSpec};
use serde_json::{Value, json};

use crate::support::guests::{self, Known, framed, header, schema, wasm};

pub(crate) const JOBS: u32 = 1;
pub(crate) const IN: u32 = 2;
pub(crate) const OUT: u32 = 3;
pub(crate) const COUNT: u32 = 4;
/// An older version of `Count`, with fewer and narrower fields.
pub(crate) const COUNT_BEFORE: u32 = 5;
pub(crate) const KEY: u32 = 6;
/// An id for which the registry does not answer. The registry does not know the next id.
pub(crate) const DOWN: u32 = 99;
pub(crate) const UNKNOWN: u32 = 77;

/// The stores, in the order of their names.
pub(crate) const COUNTS: StoreIndex = StoreIndex(0);
pub(crate) const RAW: StoreIndex = StoreIndex(1);
pub(crate) const TYPED: StoreIndex = StoreIndex(2);

pub(crate) fn before() -> Schema {
    parse("before", r#"{"type":"record","name":"Count","namespace":"guests","fields":[{"name":"n","type":"int"}]}"#)
        .unwrap()
}

pub(crate) fn ids() -> [(&'static str, u32); 7] {
    let stores = [("store:counts", COUNT), ("store:raw", COUNT), ("store:typed", COUNT), ("store-key:typed", KEY)];
    let topics = [("jobs-value", JOBS), ("in-value", IN), ("out-value", OUT)];
    [topics[0], topics[1], topics[2], stores[0], stores[1], stores[2], stores[3]]
}

#[derive(Default)]
pub(crate) struct Committed {
    pub(crate) entries: BTreeMap<(StoreIndex, Bytes), Bytes>,
    seen: BTreeSet<(Topic, MessageId)>,
    pub(crate) broken: bool,
}

/// The committed state of a task, in memory.
#[derive(Default)]
pub(crate) struct Memory(pub(crate) Mutex<Committed>);

impl Memory {
    fn open(&self) -> Result<MutexGuard<'_, Committed>, TaskFault> {
        let committed = self.0.lock().unwrap();
        if committed.broken { Err(TaskFault("the disk is gone".to_owned())) } else { Ok(committed) }
    }
}

impl TaskState for Memory {
    fn get(&self, store: StoreIndex, key: &[u8]) -> Result<Option<Bytes>, TaskFault> {
        Ok(self.open()?.entries.get(&(store, Bytes::copy_from_slice(key))).cloned())
    }

    fn scan(&self, store: StoreIndex, range: &Range<'_>, limit: usize) -> Result<Vec<Entry>, TaskFault> {
        let committed = self.open()?;
        let entries = committed.entries.iter().filter(|((place, key), _)| *place == store && range.contains(key));
        Ok(entries.map(|((_, key), value)| (key.clone(), value.clone())).take(limit).collect())
    }

    fn seen(&self, topic: &Topic, id: &MessageId, _: Timestamp) -> Result<bool, TaskFault> {
        Ok(self.open()?.seen.contains(&(topic.clone(), id.clone())))
    }
}

/// The task of one partition of the component `keeper`.
pub(crate) struct Bench {
    task: Task,
    pub(crate) state: Arc<Memory>,
    pub(crate) instance: Instance,
    pub(crate) batch: OpenBatch,
    offset: i64,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let component = guests::load("keeper.wasm", &wasm("keeper"), ids()).unwrap();
        let known = [
            (JOBS, schema("jobs-value")),
            (IN, schema("in-value")),
            (OUT, schema("out-value")),
            (COUNT, schema("Count")),
            (COUNT_BEFORE, before()),
        ];
        let policy = FailurePolicy::in_place(3, "dlq");
        let state = Arc::new(Memory::default());
        let mut spec = TaskSpec::stateless("guests.keeper".into(), policy);
        spec.windows = ["jobs", "in"].map(|topic| (topic.into(), Duration::from_secs(60))).into();
        Self {
            task: Task::new(Arc::new(spec), Partition(0), state.clone()),
            instance: Instance::new(Arc::new(component), Known::of(known)),
            state,
            batch: OpenBatch::default(),
            offset: 0,
        }
    }

    pub(crate) fn record(&mut self, topic: &str, value: Vec<u8>, headers: Vec<Header>) -> Record {
        self.offset += 1;
        Record {
            source: TopicPartition::new(topic, 0),
            offset: Offset(self.offset),
            timestamp: Timestamp(1_000),
            key: Some(Bytes::from_static(b"key")),
            value: Some(value.into()),
            headers,
        }
    }

    pub(crate) fn try_step(&mut self, topic: &str, value: Vec<u8>, headers: Vec<Header>) -> Result<Step, TaskFault> {
        let record = self.record(topic, value, headers);
        self.task.step_at_once(&record, &mut self.instance, &mut self.batch, Timestamp(0))
    }

    pub(crate) fn try_job(&mut self, job: Value) -> Result<Step, TaskFault> {
        self.try_step("jobs", framed(JOBS, &schema("jobs-value"), &job), vec![])
    }

    /// Runs a job that must succeed. Returns what the handler emitted: `did=n`, separated by spaces.
    pub(crate) fn job(&mut self, job: Value) -> String {
        let step = self.try_job(job).unwrap();
        assert_eq!(step.fault, None);
        outcome(&step.writes)
    }

    pub(crate) fn get(&mut self, key: &str) -> String {
        self.job(json!({"do":"get","key":key}))
    }

    /// Runs a job that must be dead-lettered for `reason`.
    pub(crate) fn fails(&mut self, job: Value, reason: &str) -> String {
        let step = self.try_job(job).unwrap();
        let [letter] = step.writes.as_slice() else { panic!("one record, the dead letter: {step:?}") };
        assert_eq!((&*letter.topic, header(letter, "heddle.kind").as_str()), ("dlq", reason), "{step:?}");
        header(letter, "heddle.reason")
    }

    /// Confirms the open batch, as the log does at a commit.
    pub(crate) fn commit(&mut self) {
        let batch = std::mem::take(&mut self.batch).seal().confirmed(BTreeMap::new());
        let mut committed = self.state.0.lock().unwrap();
        for (_, overlay) in batch.overlays() {
            for (store, key, value) in overlay.writes() {
                let place = (store, key.clone());
                match value {
                    Some(value) => committed.entries.insert(place, value.clone()),
                    None => committed.entries.remove(&place),
                };
            }
            for (topic, ids) in overlay.seen().topics() {
                committed.seen.extend(ids.keys().map(|id| (topic.clone(), id.clone())));
            }
        }
    }

    /// Puts bytes into the committed state that no handler wrote.
    pub(crate) fn store(&self, store: StoreIndex, key: &'static str, value: Vec<u8>) {
        self.state.0.lock().unwrap().entries.insert((store, key.into()), value.into());
    }

    /// The committed entries of one store.
    pub(crate) fn stored(&self, store: StoreIndex) -> Vec<(Bytes, Value)> {
        let committed = self.state.0.lock().unwrap();
        let entries = committed.entries.iter().filter(|((place, _), _)| *place == store);
        let decode = |value: &Bytes| {
            assert_eq!(value[..5], [0, 0, 0, 0, u8::try_from(COUNT).unwrap()]);
            json::decode(&schema("Count"), &value[5..]).unwrap()
        };
        entries.map(|((_, key), value)| (key.clone(), decode(value))).collect()
    }
}

pub(crate) fn outcome(writes: &[NewRecord]) -> String {
    let show = |record: &NewRecord| {
        assert_eq!(&*record.topic, "out");
        let value = json::decode(&schema("out-value"), &record.value.as_ref().unwrap()[5..]).unwrap();
        format!("{}={}", value["did"].as_str().unwrap(), value["n"])
    };
    writes.iter().map(show).collect::<Vec<_>>().join(" ")
}
