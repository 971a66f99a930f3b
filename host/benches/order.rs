//! Measures the cost of one order: decoding it, handing it to the component, and the whole step without a broker.
//!
//! Needs the quickstart's component: `cargo run -- --app examples/quickstart build`, then `cargo bench`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use divan::{Bencher, black_box};
use heddle::guest::codec::Decoder;
use heddle::guest::{Component, Engine, Framing, Instance, Schemas};
use heddle::registry::SchemaId;
use heddle_contract::format;
use heddle_contract::format::avro::{Schema, json, parse};
use heddle_contract::format::shape::Shapes;
use heddle_core::batch::OpenBatch;
use heddle_core::delivery::Delivery;
use heddle_core::event::{Offset, Partition, Record, Timestamp, TopicPartition};
use heddle_core::policy::FailurePolicy;
use heddle_core::state::{Reads, Stateless};
use heddle_core::task::{Dispatch as _, Task, TaskSpec};

fn main() {
    divan::main();
}

fn quickstart() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart")
}

fn schema() -> Schema {
    let path = quickstart().join("contracts/orders.created-value.avsc");
    parse("orders.created-value", &std::fs::read_to_string(path).unwrap()).unwrap()
}

/// An order with three items, as Avro.
fn order(schema: &Schema) -> Vec<u8> {
    let item = |n: u32| serde_json::json!({"productId": format!("P-{n:03}"), "quantity": 2, "price": 10.5});
    let order = serde_json::json!({"orderId": "O-00001", "customerId": "C-0001", "orderDate": 1_767_225_600_000i64,
        "totalAmount": 63.0, "items": [item(1), item(2), item(3)]});
    let mut bytes = vec![];
    json::encode(schema, &order, &mut bytes).unwrap();
    bytes
}

#[divan::bench]
fn decode_by_plan(bencher: Bencher<'_, '_>) {
    let schema = schema();
    let bytes = order(&schema);
    let schema = format::Schema::from(schema);
    let decoder = Decoder::new(&schema, &schema, Arc::new(Shapes::of(&schema)));
    bencher.bench(|| decoder.decode(black_box(&bytes)).unwrap());
}

struct Known(BTreeMap<SchemaId, format::Schema>);

impl Schemas for Known {
    fn writer(&self, id: SchemaId) -> Result<Option<format::Schema>, String> {
        Ok(self.0.get(&id).cloned())
    }
}

fn instance() -> (Instance, Record) {
    let path = quickstart().join("components/intake/intake.wasm");
    let wasm = std::fs::read(&path).expect("build it first: cargo run -- --app examples/quickstart build");
    let (contract, _) = Component::contract("intake.wasm", &wasm).unwrap();
    let ids: Framing = contract.schemas.keys().cloned().zip((1..).map(SchemaId)).collect();
    let component = Component::load(&Engine::start(None).unwrap(), "intake.wasm", &wasm, &ids).unwrap();
    let (schema, id) = (schema(), ids.ids["orders.created-value"]);
    let value = [[0].as_slice(), &id.0.to_be_bytes(), &order(&schema)].concat();
    let known = Known(BTreeMap::from([(id, schema.into())]));
    let record = Record {
        source: TopicPartition::new("orders.created", 0),
        offset: Offset(0),
        timestamp: Timestamp(0),
        key: Some(Bytes::from_static(b"O-00001")),
        value: Some(value.into()),
        headers: vec![],
    };
    (Instance::new(Arc::new(component), Arc::new(known)), record)
}

#[divan::bench]
fn dispatch_of_one_order(bencher: Bencher<'_, '_>) {
    let (mut instance, record) = instance();
    let component = "quickstart.intake".into();
    bencher.bench_local(|| {
        let delivery = Delivery { component: &component, record: &record, attempt: 1, epoch: None };
        let prepared = instance.prepare(&record).unwrap();
        instance.dispatch(&prepared, &delivery, Reads::none()).unwrap()
    });
}

#[divan::bench]
fn whole_step_of_one_order(bencher: Bencher<'_, '_>) {
    let (mut instance, mut record) = instance();
    let policy = FailurePolicy::in_place(1, "dlq");
    let spec = TaskSpec::stateless("quickstart.intake".into(), policy);
    let mut task = Task::new(Arc::new(spec), Partition(0), Arc::new(Stateless));
    let mut batch = OpenBatch::default();
    bencher.bench_local(|| {
        record.offset = record.offset.next();
        task.step_at_once(&record, &mut instance, &mut batch, Timestamp(0))
    });
}
