//! A component in Go asks for all that a program has from its system: what it gets is the same for the same record, whatever was
//! before, and nothing of the machine.

use crate::support::build;
use std::sync::{Arc, OnceLock};

use crate::support::guests::{self, Known, framed, header, schema};
use heddle::guest::{Component, Instance};
use heddle_contract::schema::json;
use heddle_core::batch::OpenBatch;
use heddle_core::event::{NewRecord, Offset, Partition, Record, Timestamp, TopicPartition};
use heddle_core::policy::FailurePolicy;
use heddle_core::state::Stateless;
use heddle_core::task::{Task, TaskSpec};
use serde_json::{Value, json};

/// A time that no machine's clock shows.
const TIME: i64 = 1_234_567_890_123;

fn component() -> Arc<Component> {
    static COMPONENT: OnceLock<Arc<Component>> = OnceLock::new();
    let component = COMPONENT.get_or_init(|| {
        let wasm = build::component("guests", "ambient");
        Arc::new(guests::load("ambient.wasm", &wasm, [("in-value", 1), ("out-value", 2)]).unwrap())
    });
    component.clone()
}

struct Bench {
    task: Task,
    instance: Instance,
}

impl Bench {
    fn new() -> Self {
        let policy = FailurePolicy::in_place(1, "dlq");
        let spec = TaskSpec::stateless("guests.ambient".into(), policy);
        let known = Known::of([(1, schema("in-value")), (2, schema("out-value"))]);
        Self {
            task: Task::new(Arc::new(spec), Partition(0), Arc::new(Stateless)),
            instance: Instance::new(component(), known),
        }
    }

    /// What becomes of a record at an offset.
    fn step(&mut self, what: &str, offset: i64) -> NewRecord {
        let record = Record {
            source: TopicPartition::new("in", 0),
            offset: Offset(offset),
            timestamp: Timestamp(TIME),
            key: None,
            value: Some(framed(1, &schema("in-value"), &json!({ "do": what })).into()),
            headers: vec![],
        };
        let step =
            self.task.step_at_once(&record, &mut self.instance, &mut OpenBatch::default(), Timestamp(0)).unwrap();
        let [written] = step.writes.as_slice() else { panic!("{what} writes one record") };
        written.clone()
    }

    /// What it answers.
    fn asks(&mut self, what: &str) -> String {
        let written = self.step(what, 7);
        assert_eq!(&*written.topic, "out", "{}: {}", what, header(&written, "heddle.reason"));
        let value: Value = json::decode(&schema("out-value"), &written.value.unwrap()[5..]).unwrap();
        value["did"].as_str().unwrap().to_owned()
    }
}

#[test]
fn a_component_gets_nothing_of_the_machine() {
    let mut bench = Bench::new();
    let asked = ["time", "environment", "files", "network", "goroutines"].map(|what| (what, bench.asks(what)));
    let told = asked.iter().map(|(what, answer)| format!("{what}: {answer}")).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(told);
}

#[test]
fn the_same_records_give_the_same_answers_whatever_was_before() {
    let asked = ["time", "random", "environment", "print", "garbage"];
    let mut fresh = Bench::new();
    let first = asked.map(|what| fresh.step(what, 7));
    // An instance that has handled others, has collected garbage and was replaced after traps.
    let mut used = Bench::new();
    for offset in 100..150 {
        used.step("garbage", offset);
        used.step("random", offset);
    }
    assert_eq!(asked.map(|what| used.step(what, 7)), first);
    used.step("exit", 200);
    used.step("panic", 201);
    assert_eq!(asked.map(|what| used.step(what, 7)), first);
    assert_ne!(used.step("random", 8).value, first[1].value);
}

#[test]
fn what_it_writes_becomes_lines_and_its_end_a_trap() {
    let mut bench = Bench::new();
    // The first record of an instance comes with what it wrote while it started, in 1970.
    let letter = bench.step("exit", 7);
    assert_eq!(header(&letter, "heddle.kind"), "trap");
    let told = |letter: &NewRecord| format!("{}\n{}", header(letter, "heddle.reason"), header(letter, "heddle.log"));
    let exit = told(&letter);
    let again = told(&bench.step("exit", 7));
    assert_eq!(exit, again);
    bench.step("print", 8);
    let panic = told(&bench.step("panic", 9));
    insta::assert_snapshot!(format!("{exit}\n{panic}"));
}
