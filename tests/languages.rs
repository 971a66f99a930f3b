//! The conformance guests: the same inputs go through the same component in every language, and what comes out is the same to the
//! byte: outputs, dead letters, state, log lines.

use crate::support::build;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use crate::support::guests::{Known, framed, schema};
use bytes::Bytes;
use heddle::build::cache_folder;
use heddle::guest::{Component, Engine, Instance};
use heddle::registry::SchemaId;
use heddle_contract::schema::json;
use heddle_core::batch::OpenBatch;
use heddle_core::dedup::MessageId;
use heddle_core::event::{Header, NewRecord, Offset, Partition, Record, Timestamp, Topic, TopicPartition};
use heddle_core::fault::TaskFault;
use heddle_core::policy::FailurePolicy;
use heddle_core::state::{Entry, Range, StoreIndex, TaskState};
use heddle_core::task::{Task, TaskSpec};
use serde_json::{Value, json};

/// The languages that are compared with Rust.
const OTHERS: [&str; 3] = ["go", "javascript", "python"];

/// The schemas, by id: what the contract calls them, and the file or type that they are.
const SCHEMAS: [(&str, &str); 8] = [
    ("probe.values-value", "probe.values-value"),
    ("probe.values-out-value", "probe.values-out-value"),
    ("probe.keyed-key", "Point"),
    ("probe.keyed-out-key", "Point"),
    ("store:things", "Constructs"),
    ("store:raw", "Point"),
    ("store:typed", "Point"),
    ("store-key:typed", "Point"),
];

fn id(name: &str) -> u32 {
    1 + u32::try_from(SCHEMAS.iter().position(|(known, _)| *known == name).unwrap()).unwrap()
}

/// The component of a language, built as a user builds it.
fn built(language: &str) -> Vec<u8> {
    build::component("guests", &format!("conformance-{language}"))
}

/// What is committed of a task's state, in memory.
#[derive(Default)]
struct Memory(Mutex<BTreeMap<(StoreIndex, Bytes), Bytes>>);

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

/// One task of a language's component.
struct Bench {
    task: Task,
    instance: Instance,
    state: Arc<Memory>,
    offset: i64,
}

impl Bench {
    fn new(language: &str) -> Self {
        static ENGINE: OnceLock<Engine> = OnceLock::new();
        // Python is 18 MB to compile: what was compiled once is kept.
        let engine = ENGINE.get_or_init(|| Engine::start(Some(&cache_folder().join("compiled"))).unwrap());
        let ids = SCHEMAS.map(|(name, _)| (name.to_owned(), SchemaId(id(name)))).into();
        let component =
            Component::load(engine, &format!("conformance-{language}.wasm"), &built(language), &ids).unwrap();
        let policy = FailurePolicy::in_place(2, "dlq");
        let state = Arc::new(Memory::default());
        // All have the same name here: it is part of ids and of the seed of random numbers.
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

    /// Hands a record to the component; returns what it wrote. Its state is committed.
    fn step(&mut self, input: &Input) -> Vec<NewRecord> {
        self.offset += 1;
        let record = Record {
            source: TopicPartition::new(input.topic, 0),
            offset: Offset(self.offset),
            timestamp: Timestamp(1_700_000_000_000 + self.offset),
            key: input.key.clone().map(Bytes::from),
            value: Some(input.value.clone().into()),
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
        step.writes
    }
}

/// A record to be handled.
struct Input {
    name: String,
    topic: &'static str,
    key: Option<Vec<u8>>,
    value: Vec<u8>,
}

/// A probe: what is to be done.
fn probe(value: Value) -> Input {
    Input {
        name: format!("{} {}", value["do"].as_str().unwrap(), value["text"].as_str().unwrap_or_default()),
        topic: "probe.values",
        key: Some(b"the key".to_vec()),
        value: framed(id("probe.values-value"), &schema("probe.values-value"), &value),
    }
}

fn doing(what: &str) -> Input {
    probe(json!({ "do": what }))
}

/// A value with all constructs, in a language's hands; `change`d where a case differs.
fn constructs(change: impl FnOnce(&mut Value)) -> Value {
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

fn echoes() -> Vec<Input> {
    let branches = [
        json!(null),
        json!({"string": ""}),
        json!({"long": i64::MAX}),
        json!({"boolean": true}),
        json!({"double": "NaN"}),
        json!({"bytes": "\u{0}"}),
        json!({"guests.Point": {"x": 1, "y": 2.5}}),
        json!({"guests.Kind": "NONE"}),
        json!({"array": [{"x": 1, "y": null}]}),
        json!({"map": {"a": "b", "": "ü"}}),
    ];
    let mut all = branches.map(|choice| constructs(|value| value["choice"] = choice)).to_vec();
    all.extend([
        constructs(|value| value["float"] = json!("-Infinity")),
        constructs(|value| value["double"] = json!("NaN")),
        constructs(|value| value["float"] = json!(f32::MIN_POSITIVE)),
        constructs(|value| value["double"] = json!(-0.0)),
        constructs(|value| value["long"] = json!(9_007_199_254_740_993i64)),
        constructs(|value| value["maybe"] = json!("there")),
        constructs(|value| value["flags"] = json!(null)),
        constructs(|value| value["string"] = json!("🧵".repeat(1000))),
        constructs(|value| value["next"] = constructs(|_| {})),
    ]);
    let all = all.into_iter().enumerate();
    all.map(|(n, value)| probe(json!({"do": "echo", "text": n.to_string(), "constructs": value}))).collect()
}

fn keyed(key: Option<Value>) -> Input {
    let key = key.map(|key| framed(id("probe.keyed-key"), &schema("Point"), &key));
    Input { name: format!("keyed {key:?}"), topic: "probe.keyed", key, value: vec![1, 0, 255] }
}

fn inputs() -> Vec<Input> {
    let mut inputs = echoes();
    let thing = |text: &str, long: i64| json!({"do": "put", "text": text, "constructs": constructs(|value| value["long"] = json!(long))});
    inputs.extend(["make", "choices", "key-and-headers", "context", "random", "log"].map(doing));
    inputs.extend([thing("a", 1), thing("b", 2), thing("ab", 3), thing("ä", 4)].map(probe));
    inputs.extend([
        probe(json!({"do": "get", "text": "a"})),
        probe(json!({"do": "get", "text": "not there"})),
        probe(json!({"do": "delete", "text": "b"})),
        probe(json!({"do": "scan", "text": "", "n": 10})),
        probe(json!({"do": "scan", "text": "a", "n": 1, "after": "a"})),
        probe(json!({"do": "raw-keys", "n": 5})),
        probe(json!({"do": "typed-keys", "n": 5})),
        probe(json!({"do": "typed-keys", "n": 5})),
        probe(json!({"do": "many", "n": 100})),
        probe(json!({"do": "reject", "text": "rejécted, as asked"})),
        probe(json!({"do": "fail", "text": "failed, as asked"})),
        probe(json!({"do": "fail-once", "text": "failed, as asked"})),
        doing("trap"),
        doing("emit-wrong"),
        doing("put-wrong"),
        doing("nothing"),
        doing("loop"),
        doing("grow"),
        // Afterwards all is as if those had not been.
        doing("make"),
        probe(json!({"do": "get", "text": "ab"})),
        keyed(Some(json!({"x": 41, "y": {"double": 1.5}}))),
        keyed(Some(json!({"x": -2, "y": null}))),
        keyed(None),
        Input { name: "raw".into(), topic: "probe.raw", key: None, value: (0..=255).collect() },
        Input { name: "raw, empty".into(), topic: "probe.raw", key: Some(vec![0xff]), value: vec![] },
    ]);
    inputs
}

fn text(record: &NewRecord, header: &str) -> String {
    let header = record.headers.iter().find(|known| known.name == header).and_then(|header| header.value.clone());
    String::from_utf8(header.unwrap_or_default().to_vec()).unwrap()
}

/// A record as it is compared, for people to see by what two languages differ. A trap is told in a language's own words, and those
/// are the last that it logs; a language may also notice that there is no more memory.
fn shown(record: &NewRecord) -> String {
    let value = match (&*record.topic, &record.value) {
        ("probe.values-out", Some(value)) => {
            json::decode(&schema("probe.values-out-value"), &value[5..]).unwrap().to_string()
        }
        _ => String::new(),
    };
    let kind = text(record, "heddle.kind");
    let compared = |name: &str| match name {
        "heddle.reason" => kind != "trap",
        "heddle.log" => kind != "trap" && kind != "memory",
        _ => true,
    };
    let headers = record.headers.iter().filter(|header| compared(&header.name));
    let headers = headers.map(|header| format!("\n  {}={:?}", header.name, header.value)).collect::<String>();
    format!("{} {:?} {value}\n  {:?}{headers}", record.topic, record.key, record.value)
}

/// What a language does with an input: the records that it writes.
type Written = (String, Vec<NewRecord>);

/// What a language does with all inputs, and its state at the end.
fn outcome(language: &str) -> (Vec<Written>, BTreeMap<(StoreIndex, Bytes), Bytes>) {
    let mut bench = Bench::new(language);
    let steps = inputs().into_iter().map(|input| (input.name.clone(), bench.step(&input))).collect();
    let state = bench.state.0.lock().unwrap().clone();
    (steps, state)
}

#[test]
fn rust_does_what_its_input_says() {
    let (steps, state) = outcome("rust");
    let written = |name: &str| &steps.iter().find(|(step, _)| step.starts_with(name)).unwrap().1;
    let failures = ["reject", "fail ", "trap", "emit-wrong", "put-wrong", "nothing", "loop", "grow"];
    let kinds = failures.map(|name| {
        let [letter] = written(name).as_slice() else { panic!("{name} leaves one record, the dead letter") };
        text(letter, "heddle.kind")
    });
    assert_eq!(kinds, ["rejected", "failed", "trap", "emit", "state", "rejected", "deadline", "memory"]);
    let counts = ["make", "choices", "many", "fail-once", "scan "].map(|name| written(name).len());
    assert_eq!(counts, [1, 10, 100, 1, 3]);
    assert_eq!(state.len(), 3 + 2 + 1);
}

#[test]
fn every_language_does_the_same() {
    let rust = outcome("rust");
    for language in OTHERS {
        let other = outcome(language);
        let differs = rust.0.iter().zip(&other.0).filter_map(|((name, ours), (_, theirs))| {
            let [ours, theirs] = [ours, theirs].map(|records| records.iter().map(shown).collect::<Vec<_>>().join("\n"));
            (ours != theirs).then(|| format!("{name}\nrust:\n{ours}\n{language}:\n{theirs}"))
        });
        let differs = differs.collect::<Vec<_>>();
        assert!(differs.is_empty(), "{} inputs end otherwise:\n{}", differs.len(), differs.join("\n\n"));
        assert!(other.1 == rust.1, "the state differs: {:?} in Rust, {:?} in {language}", rust.1, other.1);
    }
}
