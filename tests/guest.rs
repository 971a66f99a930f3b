//! Components, built as a user builds them and called through the step: the outcome of each way to succeed and to fail.

use std::sync::Arc;

use crate::support::guests::{self, Known, framed, header, refused, schema, wasm};
use bytes::Bytes;
use heddle::guest::{Component, Instance, LoadError};
use heddle_contract::format::avro::{Schema, json, parse};
use heddle_contract::section;
use heddle_core::batch::OpenBatch;
use heddle_core::event::{Header, NewRecord, Offset, Partition, Record, Timestamp, TopicPartition};
use heddle_core::policy::FailurePolicy;
use heddle_core::state::Stateless;
use heddle_core::task::{Dispatch as _, Step, Task, TaskSpec};
use serde_json::{Value, json};

const IN: u32 = 1;
const OUT: u32 = 2;
/// A possible later version of `in-value`: one field more, one less, another order.
const IN_NEXT: u32 = 3;
/// The schema of keys, where they have one.
const KEY: u32 = 4;

fn next_schema() -> Schema {
    let next = json!({"type":"record","name":"Script","namespace":"guests","fields":[
        {"name":"discountCode","type":["null","string"],"default":null},{"name":"do","type":"string"}]});
    parse("next", &next.to_string()).unwrap()
}

fn key_schema() -> Schema {
    parse("key", r#"{"type":"record","name":"Inner","namespace":"guests","fields":[{"name":"x","type":"int"}]}"#)
        .unwrap()
}

fn known() -> Arc<Known> {
    let schemas = [(IN, schema("in-value")), (OUT, schema("out-value")), (IN_NEXT, next_schema()), (KEY, key_schema())];
    Known::of(schemas)
}

fn load(wasm: &[u8]) -> Result<Component, LoadError> {
    guests::load("scripted.wasm", wasm, [("in-value", IN), ("out-value", OUT), ("in-key", KEY), ("out-key", KEY)])
}

struct Bench {
    task: Task,
    instance: Instance,
    offset: i64,
}

impl Bench {
    fn new() -> Self {
        Self::of("scripted")
    }

    fn of(component: &str) -> Self {
        let component = Arc::new(load(&wasm(component)).unwrap());
        let policy = FailurePolicy::in_place(3, "dlq");
        Self {
            task: Task::new(
                Arc::new(TaskSpec::stateless("guests.scripted".into(), policy)),
                Partition(0),
                Arc::new(Stateless),
            ),
            instance: Instance::new(component, known()),
            offset: 0,
        }
    }

    fn record(&mut self, value: Option<Vec<u8>>) -> Record {
        self.offset += 1;
        Record {
            source: TopicPartition::new("in", 0),
            offset: Offset(self.offset),
            timestamp: Timestamp(1_000),
            key: Some(Bytes::from_static(b"key")),
            value: value.map(Bytes::from),
            headers: vec![Header::new("traceparent", "00-a-b-01")],
        }
    }

    fn step(&mut self, value: Option<Vec<u8>>) -> (Record, Step) {
        let record = self.record(value);
        let step =
            self.task.step_at_once(&record, &mut self.instance, &mut OpenBatch::default(), Timestamp(0)).unwrap();
        (record, step)
    }

    fn script(&mut self, script: Value) -> (Record, Step) {
        self.step(Some(framed(IN, &schema("in-value"), &script)))
    }

    /// Runs a record that must be dead-lettered unchanged, for this reason.
    fn set_aside(&mut self, value: Option<Vec<u8>>, reason: &str) -> String {
        let (record, step) = self.step(value);
        let [letter] = step.writes.as_slice() else { panic!("one record, the dead letter: {step:?}") };
        assert_eq!((&*letter.topic, &letter.key, &letter.value), ("dlq", &record.key, &record.value));
        assert_eq!(header(letter, "heddle.kind"), reason, "{step:?}");
        header(letter, "heddle.reason")
    }

    fn fails(&mut self, what: Value, reason: &str) -> String {
        let detail = self.set_aside(Some(framed(IN, &schema("in-value"), &what)), reason);
        // The next record is processed as if nothing had happened.
        let (_, step) = self.script(json!({"do":"echo"}));
        assert_eq!(out(&step.writes), [json!({"did":"echo","n":0,"everything":null})]);
        detail
    }
}

fn out(writes: &[NewRecord]) -> Vec<Value> {
    let decode = |record: &NewRecord| {
        assert_eq!(&*record.topic, "out");
        let value = record.value.as_ref().unwrap();
        assert_eq!(value[..5], [0, 0, 0, 0, u8::try_from(OUT).unwrap()]);
        json::decode(&schema("out-value"), &value[5..]).unwrap()
    };
    writes.iter().map(decode).collect()
}

fn everything() -> Value {
    let inner = json!({"flag":true,"int":-7,"long":1_700_000_000_000i64,"float":1.5,"double":-0.1,"string":"grüße","bytes":"\u{ff}\u{0}",
        "fixed":"abcd","colour":"GREEN","list":[1,-1],"map":{"a":"RED","b":null},"choice":{"guests.Inner":{"x":5}},"price":"-12.30","next":null});
    let mut outer = inner.clone();
    outer["choice"] = Value::Null;
    outer["next"] = inner;
    outer
}

#[test]
fn every_type_goes_through_a_component_and_back() {
    let (record, step) = Bench::new().script(json!({"do":"echo","everything":everything()}));
    assert_eq!(out(&step.writes), [json!({"did":"echo","n":0,"everything":everything()})]);
    let [write] = step.writes.as_slice() else { panic!() };
    assert_eq!((&write.key, header(write, "traceparent").as_str()), (&record.key, "00-a-b-01"));
    assert_eq!(header(write, "ce_id"), "guests.scripted/in/0/1/0");
}

#[test]
fn emits_keep_their_order_and_may_have_a_key_and_headers() {
    let mut bench = Bench::new();
    let (_, step) = bench.script(json!({"do":"emit-many","times":100}));
    assert!(out(&step.writes).iter().enumerate().all(|(n, value)| value["n"] == n));
    assert_eq!(step.writes.len(), 100);
    let (_, step) = bench.script(json!({"do":"emit-with-key"}));
    let [write] = step.writes.as_slice() else { panic!() };
    assert_eq!(write.key.as_deref(), Some(b"own key".as_slice()));
    assert_eq!(header(write, "attempt"), "1");
    assert_eq!(out(&step.writes)[0]["did"], "guests.scripted/in/0/2");
}

#[test]
fn a_failed_delivery_leaves_nothing_but_its_dead_letter() {
    let mut bench = Bench::new();
    assert_eq!(bench.fails(json!({"do":"emit-then-reject"}), "rejected"), "rejected, as asked");
    let detail = bench.fails(json!({"do":"trap"}), "trap");
    assert!(
        detail.starts_with("panicked at ")
            && detail.contains("src/lib.rs:")
            && detail.contains(": as asked (wasm trap: "),
        "{detail}"
    );
    assert_eq!(bench.fails(json!({"do":"loop"}), "deadline"), "the handler ran past its deadline of 100 ms");
    assert_eq!(
        bench.fails(json!({"do":"grow"}), "memory"),
        "the handler asked for more than its 8388608 bytes of memory"
    );
    let detail = bench.fails(json!({"do":"emit-wrong","everything":everything()}), "emit");
    assert_eq!(
        detail,
        "the value emitted to `out` breaks its schema: at `everything.price`: `1.234` has more than 2 digits after the point"
    );
}

#[test]
fn a_transient_failure_is_retried() {
    let (_, step) = Bench::new().script(json!({"do":"fail-once"}));
    assert_eq!(out(&step.writes), [json!({"did":"fail-once","n":0,"everything":null})]);
}

#[test]
fn bytes_that_do_not_decode_never_reach_the_component() {
    let mut bench = Bench::new();
    let good = framed(IN, &schema("in-value"), &json!({"do":"echo"}));
    let cut = good[..good.len() - 1].to_vec();
    let mut longer = good.clone();
    longer.push(0);
    let mut stranger = good;
    stranger[4] = 77;
    let details = [
        bench.set_aside(None, "null-value"),
        bench.set_aside(Some(vec![]), "decode"),
        bench.set_aside(Some(b"{\"do\":\"echo\"}".to_vec()), "decode"),
        bench.set_aside(Some(cut), "decode"),
        bench.set_aside(Some(longer), "decode"),
        bench.set_aside(Some(stranger), "decode"),
        bench.set_aside(Some(vec![0; 5 << 20]), "too-large"),
    ];
    insta::assert_snapshot!(details.join("\n"));
}

#[test]
fn a_newer_writer_needs_no_new_component() {
    let bytes = framed(IN_NEXT, &next_schema(), &json!({"discountCode":"SPRING","do":"echo"}));
    let (_, step) = Bench::new().step(Some(bytes));
    assert_eq!(out(&step.writes), [json!({"did":"echo","n":0,"everything":null})]);
}

#[test]
fn a_registry_outage_is_not_the_records_fault() {
    let mut bench = Bench::new();
    let mut bytes = framed(IN, &schema("in-value"), &json!({"do":"echo"}));
    bytes[4] = 99;
    let record = bench.record(Some(bytes));
    assert_eq!(bench.instance.prepare(&record), Err("the registry does not answer".to_owned()));
}

#[test]
fn the_same_records_give_the_same_bytes() {
    let run = || {
        let mut bench = Bench::new();
        let scripts = ["echo", "trap", "emit-many", "loop", "emit-with-key"];
        scripts.map(|what| bench.script(json!({"do":what,"times":3,"everything":everything()})).1.writes)
    };
    assert_eq!(run(), run());
}

#[test]
fn keys_are_typed_where_the_manifest_names_their_schema() {
    let mut bench = Bench::of("keyed");
    let mut record = bench.record(Some(framed(IN, &schema("in-value"), &json!({"do":"key"}))));
    let mut step = |key: Option<Vec<u8>>| {
        record.key = key.map(Bytes::from);
        bench.task.step_at_once(&record, &mut bench.instance, &mut OpenBatch::default(), Timestamp(0)).unwrap().writes
    };
    let writes = step(Some(framed(KEY, &key_schema(), &json!({"x":41}))));
    assert_eq!(out(&writes), [json!({"did":"key","n":41,"everything":null})]);
    assert_eq!(writes[0].key.as_deref(), Some(framed(KEY, &key_schema(), &json!({"x":42})).as_slice()));
    let reason = |writes: Vec<NewRecord>| header(&writes[0], "heddle.kind");
    assert_eq!(reason(step(None)), "rejected");
    assert_eq!(reason(step(Some(b"a string".to_vec()))), "decode");
}

fn with_manifest(wasm: &[u8], change: impl FnOnce(&mut section::Contract)) -> String {
    refused(load(&guests::with_contract(wasm, change)))
}

#[test]
fn a_component_that_differs_from_its_contract_is_refused() {
    let wasm = wasm("wrong-import");
    let manifest = |from: &'static str, to: &'static str| {
        with_manifest(&wasm, |contract| contract.component.manifest = contract.component.manifest.replace(from, to))
    };
    let messages = [
        manifest("[emits.out]", ""),
        manifest("[consumes.in]", "[consumes.other]"),
        with_manifest(&wasm, |contract| {
            let schema = contract.schemas.get_mut("in-value").unwrap();
            schema.text = schema.text.replace("\"times\"", "\"often\"");
        }),
        with_manifest(&wasm, |contract| {
            let key = section::Schema::new(section::SchemaFormat::Avro, key_schema().json());
            contract.schemas.insert("in-key".to_owned(), key);
        }),
        with_manifest(&self::wasm("keyed"), |contract| {
            let manifest = &mut contract.component.manifest;
            *manifest = manifest.replace("key = \"guests.Inner\"", "key = \"bytes\"");
        }),
        with_manifest(&self::wasm("keyed"), |contract| {
            let key = contract.schemas.get_mut("out-key").unwrap();
            key.text = key.text.replace("\"x\"", "\"y\"");
        }),
        with_manifest(&wasm, |contract| contract.component.manifest = "[component]".to_owned()),
        refused(load(b"\0asm\x01\0\0\0")),
    ];
    insta::assert_snapshot!(messages.join("\n"));
}
