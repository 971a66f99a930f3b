//! Reads of tables by a handler: the component `looker`, called through the step.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use heddle::guest::Instance;
use heddle_core::batch::OpenBatch;
use heddle_core::event::{Offset, Partition, Record, Timestamp, TopicPartition};
use heddle_core::fault::TaskFault;
use heddle_core::policy::FailurePolicy;
use heddle_core::state::{Entry, Range, Stateless, StoreIndex};
use heddle_core::tables::{GlobalTable, TableKeys, TaskTable, WithTables};
use heddle_core::task::{Step, Task, TaskSpec};
use serde_json::{Value, json};

use crate::support::guests::{self, Known, framed, header, refused, schema, wasm, with_contract};

const JOBS: u32 = 1;
const OUT: u32 = 2;
const FACT: u32 = 3;
const PRICE: u32 = 4;
/// The registry does not answer for this one, and does not know the next.
const DOWN: u32 = 99;
const UNKNOWN: u32 = 77;

/// A global table in memory.
#[derive(Default)]
struct Facts(Mutex<BTreeMap<Bytes, Bytes>>);

impl GlobalTable for Facts {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, TaskFault> {
        Ok(self.0.lock().unwrap().get(key).cloned())
    }

    fn scan(&self, range: &Range<'_>, limit: usize) -> Result<Vec<Entry>, TaskFault> {
        let entries = self.0.lock().unwrap();
        let found = entries.iter().filter(|(key, _)| range.contains(key)).take(limit);
        Ok(found.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn waits_for(&self) -> Option<String> {
        None
    }
}

impl Facts {
    fn put(&self, key: &'static str, value: impl Into<Bytes>) {
        self.0.lock().unwrap().insert(key.into(), value.into());
    }
}

fn fact(n: i64) -> Vec<u8> {
    framed(FACT, &schema("probe.facts-value"), &json!({"n": n, "note": null}))
}

/// One task of the component.
struct Bench {
    task: Task,
    instance: Instance,
    facts: Arc<Facts>,
    batch: OpenBatch,
    offset: i64,
}

impl Bench {
    fn new() -> Self {
        let component = guests::load("looker.wasm", &wasm("looker"), [("out-value", OUT)]).unwrap();
        let known = [(JOBS, "jobs-value"), (OUT, "out-value"), (FACT, "probe.facts-value"), (PRICE, "prices-value")];
        let known = Known::of(known.map(|(id, name)| (id, schema(name))));
        let mut spec = TaskSpec::stateless("guests.looker".into(), FailurePolicy::in_place(1, "dlq"));
        spec.tables = component.task_tables();
        let facts = Arc::new(Facts::default());
        let [(index, ..)] = component.global_tables().try_into().unwrap();
        let state = WithTables::beside(Arc::new(Stateless), &vec![(index, facts.clone())]);
        Self {
            task: Task::new(Arc::new(spec), Partition(0), state),
            instance: Instance::new(Arc::new(component), known),
            facts,
            batch: OpenBatch::default(),
            offset: 0,
        }
    }

    fn step(&mut self, topic: &str, key: &'static str, value: Option<Vec<u8>>) -> Result<Step, TaskFault> {
        self.offset += 1;
        let record = Record {
            source: TopicPartition::new(topic, 0),
            offset: Offset(self.offset),
            timestamp: Timestamp(1_000),
            key: Some(Bytes::from_static(key.as_bytes())),
            value: value.map(Bytes::from),
            headers: vec![],
        };
        self.task.step_at_once(&record, &mut self.instance, &mut self.batch, Timestamp(0))
    }

    fn job(&mut self, job: Value) -> Result<Step, TaskFault> {
        self.step("jobs", "k", Some(framed(JOBS, &schema("jobs-value"), &job)))
    }

    /// The handler's output: `did=n`, separated by commas.
    fn finds(&mut self, job: Value) -> String {
        let step = self.job(job).unwrap();
        assert_eq!(step.fault, None);
        crate::support::keeper::outcome(&step.writes)
    }

    /// The reason why the delivery was dead-lettered, which must be of this kind.
    fn fails(&mut self, job: Value, kind: &str) -> String {
        let step = self.job(job).unwrap();
        let [letter] = step.writes.as_slice() else { panic!("one record, the dead letter: {step:?}") };
        assert_eq!(header(letter, "heddle.kind"), kind);
        header(letter, "heddle.reason")
    }
}

#[test]
fn a_handler_finds_the_newest_values_by_key_and_by_prefix() {
    let mut bench = Bench::new();
    assert_eq!(bench.finds(json!({"do": "fact", "key": "a"})), "fact a=-1");
    for (key, n) in [("b", 2), ("a", 1), ("ab", 3)] {
        bench.facts.put(key, fact(n));
    }
    assert_eq!(bench.finds(json!({"do": "fact", "key": "ab"})), "fact ab=3");
    assert_eq!(bench.finds(json!({"do": "facts", "key": "a", "n": 10})), "a=1 ab=3");
    assert_eq!(bench.finds(json!({"do": "facts", "key": "", "after": "a", "n": 1})), "ab=3");
}

#[test]
fn records_of_a_tasks_table_are_rolled_back_with_their_transaction() {
    let mut bench = Bench::new();
    let price = |cents: i64| Some(framed(PRICE, &schema("prices-value"), &json!({"cents": cents})));
    bench.step("prices", "p1", price(10)).unwrap();
    assert_eq!(bench.finds(json!({"do": "price", "key": "p1"})), "price p1=10");
    bench.step("prices", "p1", price(12)).unwrap();
    assert_eq!(bench.finds(json!({"do": "price", "key": "p1"})), "price p1=12");
    bench.step("prices", "p1", None).unwrap();
    assert_eq!(bench.finds(json!({"do": "price", "key": "p1"})), "price p1=-1");
    bench.step("prices", "p1", price(14)).unwrap();
    // The log does not commit.
    bench.batch = OpenBatch::default();
    assert_eq!(bench.finds(json!({"do": "price", "key": "p1"})), "price p1=-1");
}

#[test]
fn an_entry_that_cannot_be_read_fails_the_delivery_that_asks_for_it() {
    let mut bench = Bench::new();
    bench.facts.put("good", fact(1));
    bench.facts.put("text", "no schema");
    bench.facts.put("cut", fact(1)[..5].to_vec());
    bench.facts.put("unknown", framed(UNKNOWN, &schema("probe.facts-value"), &json!({"n": 1, "note": null})));
    let mut why = |key| bench.fails(json!({"do": "fact", "key": key}), "table");
    assert_eq!(
        why("text"),
        "the key `text` of the table `facts`: the value does not begin with a zero byte and a schema id of four bytes"
    );
    assert!(why("cut").starts_with("the key `cut` of the table `facts`: "));
    assert_eq!(why("unknown"), "the key `unknown` of the table `facts`: the registry has no schema with the id 77");
    assert_eq!(bench.finds(json!({"do": "fact", "key": "good"})), "fact good=1");
    // A later value of the key cures it.
    bench.facts.put("text", fact(2));
    assert_eq!(bench.finds(json!({"do": "fact", "key": "text"})), "fact text=2");
}

#[test]
fn a_registry_outage_makes_the_task_give_up() {
    let mut bench = Bench::new();
    bench.facts.put("a", framed(DOWN, &schema("probe.facts-value"), &json!({"n": 1, "note": null})));
    let fault = bench.job(json!({"do": "fact", "key": "a"})).unwrap_err();
    assert!(fault.0.contains("the registry does not answer"), "{fault}");
    assert_eq!(
        heddle::runtime::Handler::take_unavailable(&mut bench.instance).as_deref(),
        Some("the registry does not answer")
    );
}

#[test]
fn a_component_reads_no_table_that_its_manifest_does_not_name() {
    let without = |table: &str| {
        with_contract(&wasm("looker"), |contract| {
            let manifest = &contract.component.manifest;
            let (before, rest) = manifest.split_once(&format!("[tables.{table}]")).unwrap();
            let rest = rest.split_once("\n\n").map_or("", |(_, rest)| rest);
            contract.component.manifest = format!("{before}{rest}");
        })
    };
    let told =
        ["facts", "prices"].map(|table| refused(guests::load("looker.wasm", &without(table), [("out-value", OUT)])));
    let other = with_contract(&wasm("looker"), |contract| {
        contract.component.manifest =
            contract.component.manifest.replace("topic = \"prices\"", "topic = \"jobs-of-others\"");
    });
    let other = refused(guests::load("looker.wasm", &other, [("out-value", OUT)]));
    insta::assert_snapshot!([told.join("\n"), other].join("\n"));
}

#[test]
fn a_contract_says_how_tables_are_read() {
    let component = guests::load("looker.wasm", &wasm("looker"), [("out-value", OUT)]).unwrap();
    let prices = TaskTable { index: StoreIndex::table(1), topic: "prices".into(), keys: TableKeys::Plain };
    assert_eq!(component.task_tables(), [prices]);
    assert_eq!(component.global_tables(), [(StoreIndex::table(0), "probe.facts".into(), TableKeys::Plain)]);
}
