//! The conformance guests, one for each language, and the requests that tests send them.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, OnceLock};

use bytes::Bytes;
use heddle::build::cache_folder;
use heddle::guest::{Component, Engine, Instance};
use heddle::registry::SchemaId;
use heddle_contract::format::avro::Schema;
use heddle_contract::section::Contract;
use heddle_core::batch::OpenBatch;
use heddle_core::dedup::MessageId;
use heddle_core::event::{Header, Offset, Partition, Record, Timestamp, Topic, TopicPartition};
use heddle_core::fault::TaskFault;
use heddle_core::policy::FailurePolicy;
use heddle_core::state::{Entry, Range, StoreIndex, TaskState};
use heddle_core::task::{Step, Task, TaskSpec};
use serde_json::{Value, json};

use crate::support::build;
use crate::support::guests::{Known, framed, schema, with_contract};

/// The schemas, by id: the name in the contract, and the file or type.
const SCHEMAS: [(&str, &str); 9] = [
    ("probe.values-value", "probe.values-value"),
    ("probe.values-out-value", "probe.values-out-value"),
    ("probe.keyed-key", "Point"),
    ("probe.keyed-out-key", "Point"),
    ("store:things", "Constructs"),
    ("store:raw", "Point"),
    ("store:typed", "Point"),
    ("store-key:typed", "Point"),
    ("probe.facts-value", "probe.facts-value"),
];

/// The tables, in the order of their names.
const FACTS: StoreIndex = StoreIndex::table(0);
const NAMED: StoreIndex = StoreIndex::table(1);

pub(crate) fn id(name: &str) -> u32 {
    1 + u32::try_from(SCHEMAS.iter().position(|(known, _)| *known == name).unwrap()).unwrap()
}

/// The component of a language, built as a user builds it.
fn built(language: &str) -> Vec<u8> {
    build::component("guests", &format!("conformance-{language}"))
}

/// The committed state of a task, in memory.
#[derive(Default)]
pub(crate) struct Memory(pub(crate) Mutex<Entries>);

/// The entries of all stores.
pub(crate) type Entries = BTreeMap<(StoreIndex, Bytes), Bytes>;

impl TaskState for Memory {
    fn get(&self, store: StoreIndex, key: &[u8]) -> Result<Option<Bytes>, TaskFault> {
        Ok(self.0.lock().unwrap().get(&(store, Bytes::copy_from_slice(key))).cloned())
    }

    fn scan(&self, store: StoreIndex, range: &Range<'_>, limit: usize) -> Result<Vec<Entry>, TaskFault> {
        let entries = self.0.lock().unwrap();
        let within = entries.iter().filter(|((place, key), _)| *place == store && range.contains(key));
        Ok(within.map(|((_, key), value)| (key.clone(), value.clone())).take(limit).collect())
    }

    fn seen(&self, _: &Topic, _: &MessageId, _: Timestamp) -> Result<bool, TaskFault> {
        Ok(false)
    }
}

/// The content of the tables.
fn tables() -> Entries {
    let fact = |n: i64, note: Value| {
        Bytes::from(framed(id("probe.facts-value"), &schema("probe.facts-value"), &json!({"n": n, "note": note})))
    };
    let mut entries =
        [("a", 1, json!(null)), ("ab", 2, json!({"string": "two"})), ("ä", i64::MAX, json!({"string": ""}))]
            .map(|(key, n, note)| ((FACTS, Bytes::from(key)), fact(n, note)))
            .into_iter()
            .collect::<Entries>();
    // Removes the schema id in front of it.
    let key = framed(0, &schema("Point"), &json!({"x": 7, "y": {"double": 0.5}})).split_off(5);
    entries.insert((NAMED, key.into()), Bytes::from_static(&[0, 255]));
    entries
}

/// One task of a language's component.
pub(crate) struct Bench {
    task: Task,
    instance: Instance,
    pub(crate) state: Arc<Memory>,
    offset: i64,
}

impl Bench {
    pub(crate) fn new(language: &str) -> Self {
        Self::with(language, |_| ())
    }

    /// Replaces the contract in the component.
    pub(crate) fn with(language: &str, change: impl FnOnce(&mut Contract)) -> Self {
        static ENGINE: OnceLock<Engine> = OnceLock::new();
        // Compiling Python's 18 MB takes long, so the compiled code is cached.
        let engine = ENGINE.get_or_init(|| Engine::start(Some(&cache_folder().join("compiled"))).unwrap());
        let ids = SCHEMAS.map(|(name, _)| (name.to_owned(), SchemaId(id(name)))).into();
        let wasm = with_contract(&built(language), change);
        let component = Component::load(engine, &format!("conformance-{language}.wasm"), &wasm, &ids).unwrap();
        let policy = FailurePolicy::in_place(2, "dlq");
        let state = Arc::new(Memory(Mutex::new(tables())));
        // All languages have the same component name here: it is part of ids and of the seed of random numbers.
        let spec = TaskSpec::stateless("guests.conformance".into(), policy);
        Self {
            task: Task::new(Arc::new(spec), Partition(0), state.clone()),
            instance: Instance::new(
                Arc::new(component),
                Known::of(SCHEMAS.map(|(name, file)| (id(name), schema(file)))),
            ),
            state,
            offset: 0,
        }
    }

    /// Hands a record to the component and commits its state.
    pub(crate) fn step(&mut self, input: &Input) -> Step {
        self.offset += 1;
        let record = Record {
            source: TopicPartition::new(input.topic, 0),
            offset: Offset(self.offset),
            timestamp: Timestamp(1_700_000_000_000 + self.offset),
            key: input.key.clone(),
            value: input.value.clone(),
            headers: vec![Header::new("traceparent", "00-a-b-01"), Header { name: "null".into(), value: None }],
        };
        let mut batch = OpenBatch::default();
        let step = self.task.step_at_once(&record, &mut self.instance, &mut batch, Timestamp(0)).unwrap();
        for (_, overlay) in batch.seal().confirmed(BTreeMap::new()).overlays() {
            let mut entries = self.state.0.lock().unwrap();
            for (store, key, value) in overlay.writes() {
                let place = (store, key.clone());
                match value {
                    Some(value) => entries.insert(place, value.clone()),
                    None => entries.remove(&place),
                };
            }
        }
        step
    }
}

/// A record for the component.
#[derive(Clone)]
pub(crate) struct Input {
    pub(crate) name: String,
    pub(crate) topic: &'static str,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
}

/// A probe: a record whose value says what the handler does.
pub(crate) fn probe(value: Value) -> Input {
    static SCHEMA: LazyLock<Schema> = LazyLock::new(|| schema("probe.values-value"));
    Input {
        name: format!("{} {}", value["do"].as_str().unwrap(), value["text"].as_str().unwrap_or_default()),
        topic: "probe.values",
        key: Some(Bytes::from_static(b"the key")),
        value: Some(framed(id("probe.values-value"), &SCHEMA, &value).into()),
    }
}

/// A value with all constructs that the component has to decode, changed by `change`.
pub(crate) fn constructs(change: impl FnOnce(&mut Value)) -> Value {
    let point = json!({"x": 7, "y": {"double": -0.25}});
    let mut value = json!({
        "flag": false, "int": i32::MAX, "long": i64::MIN, "float": 1.5, "double": 1e-300, "string": "a\u{0}ß", "uuid": "u",
        "bytes": "\u{0}\u{ff}", "four": "\u{1}\u{80}\u{ff}\u{0}", "day": -1, "timeMillis": 0, "timeMicros": 1, "atMillis": 1_700_000_000_000i64,
        "atMicros": -5, "localMillis": i64::MAX, "price": "0.10", "rate": "-1.500000", "class": "", "type": "default",
        "point": {"x": 1, "y": null}, "longs": [i64::MAX, 9_007_199_254_740_993i64], "points": [], "rows": [[null, "x"], []],
        "map": {"k": 0.5}, "kinds": {"k": null, "l": "RED_2"}, "maybe": null, "perhaps": null, "flags": [true],
        "choice": null, "next": null,
    });
    value["points"] = json!([point]);
    change(&mut value);
    value
}

/// A record with a typed key.
pub(crate) fn keyed(key: Option<Value>) -> Input {
    let key = key.map(|key| Bytes::from(framed(id("probe.keyed-key"), &schema("Point"), &key)));
    Input { name: format!("keyed {key:?}"), topic: "probe.keyed", key, value: Some(Bytes::from_static(&[1, 0, 255])) }
}

/// A tombstone with a typed key.
pub(crate) fn tombstone(key: Option<Value>) -> Input {
    let Input { name, topic, key, .. } = keyed(key);
    Input { name: format!("tombstone {name}"), topic, key, value: None }
}

/// A record whose value is raw bytes.
pub(crate) fn raw(key: Option<&'static [u8]>, value: impl Into<Bytes>) -> Input {
    Input { name: "raw".to_owned(), topic: "probe.raw", key: key.map(Bytes::from_static), value: Some(value.into()) }
}
