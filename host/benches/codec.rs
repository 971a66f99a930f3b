//! Protobuf and JSON values for a component: straight from the wire by a plan, and by way of `DynamicMessage` and
//! `serde_json::Value`. The same order in Avro stands beside them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::sync::Arc;

use divan::{Bencher, black_box};
use heddle::guest::codec::{Decoder, Encoder};
use heddle_contract::format::shape::Shapes;
use heddle_contract::format::{self, Entry, Schema};
use heddle_contract::section::SchemaFormat;
use prost_reflect::DynamicMessage;
use serde_json::{Value, json};

fn main() {
    divan::main();
}

const PROTO: &str = "syntax = \"proto3\"; package shop; message Order { string order_id = 1; string customer_id = 2; \
     int64 order_date = 3; double total_amount = 4; repeated Item items = 5; } \
     message Item { string product_id = 1; int32 quantity = 2; double price = 3; }";
const AVRO: &str = r#"{"type": "record", "name": "Order", "fields": [
    {"name": "orderId", "type": "string"}, {"name": "customerId", "type": "string"}, {"name": "orderDate", "type": "long"},
    {"name": "totalAmount", "type": "double"}, {"name": "items", "type": {"type": "array", "items":
        {"type": "record", "name": "Item", "fields": [{"name": "productId", "type": "string"},
            {"name": "quantity", "type": "int"}, {"name": "price", "type": "double"}]}}}]}"#;

const JSON: &str = r##"{"title": "Order", "type": "object",
    "required": ["orderId", "customerId", "orderDate", "totalAmount", "items"], "properties": {
        "orderId": {"type": "string"}, "customerId": {"type": "string"}, "orderDate": {"type": "integer"},
        "totalAmount": {"type": "number"}, "items": {"type": "array", "items": {"$ref": "#/$defs/Item"}}},
    "$defs": {"Item": {"type": "object", "required": ["productId", "quantity", "price"], "properties": {
        "productId": {"type": "string"}, "quantity": {"type": "integer"}, "price": {"type": "number"}}}}}"##;

fn schema(format: SchemaFormat, text: &str) -> Schema {
    format::parse(&Entry::new(format, text), &[]).unwrap()
}

/// An order with three items.
fn order() -> Value {
    let item = |n: u32| json!({"productId": format!("P-{n:03}"), "quantity": 2, "price": 10.5});
    json!({"orderId": "O-00001", "customerId": "C-0001", "orderDate": 1_767_225_600_000i64, "totalAmount": 63.0,
        "items": [item(1), item(2), item(3)]})
}

fn encoded(schema: &Schema) -> Vec<u8> {
    let mut bytes = vec![];
    schema.encode(&order(), &mut bytes).unwrap();
    bytes
}

fn decode(bencher: Bencher<'_, '_>, schema: &Schema) {
    let bytes = encoded(schema);
    let decoder = Decoder::new(schema, schema, Arc::new(Shapes::of(schema)));
    let mut place = decoder.decode(&bytes).unwrap();
    bencher.bench_local(|| decoder.decode_into(black_box(&bytes), &mut place).unwrap());
}

fn encode(bencher: Bencher<'_, '_>, schema: &Schema) {
    let shapes = Arc::new(Shapes::of(schema));
    let value = Decoder::new(schema, schema, shapes.clone()).decode(&encoded(schema)).unwrap();
    let encoder = Encoder::new(schema.clone(), shapes);
    let mut out = Vec::with_capacity(256);
    bencher.bench_local(|| {
        out.clear();
        encoder.encode(black_box(&value), &mut out).unwrap();
    });
}

#[divan::bench]
fn decode_avro(bencher: Bencher<'_, '_>) {
    decode(bencher, &schema(SchemaFormat::Avro, AVRO));
}

#[divan::bench]
fn decode_protobuf(bencher: Bencher<'_, '_>) {
    decode(bencher, &schema(SchemaFormat::Protobuf, PROTO));
}

#[divan::bench]
fn decode_protobuf_as_dynamic_message(bencher: Bencher<'_, '_>) {
    let schema = schema(SchemaFormat::Protobuf, PROTO);
    let bytes = encoded(&schema);
    let Schema::Protobuf(schema) = schema else { panic!("not Protobuf") };
    let root = schema.root().unwrap();
    // Without the indexes in front, and without making a component's value of it.
    bencher.bench_local(|| DynamicMessage::decode(root.clone(), black_box(&bytes[1..])).unwrap());
}

#[divan::bench]
fn decode_json(bencher: Bencher<'_, '_>) {
    decode(bencher, &schema(SchemaFormat::Json, JSON));
}

#[divan::bench]
fn decode_json_as_value(bencher: Bencher<'_, '_>) {
    let bytes = encoded(&schema(SchemaFormat::Json, JSON));
    // Without making a component's value of it.
    bencher.bench_local(|| serde_json::from_slice::<Value>(black_box(&bytes)).unwrap());
}

#[divan::bench]
fn encode_json(bencher: Bencher<'_, '_>) {
    encode(bencher, &schema(SchemaFormat::Json, JSON));
}

#[divan::bench]
fn encode_avro(bencher: Bencher<'_, '_>) {
    encode(bencher, &schema(SchemaFormat::Avro, AVRO));
}

#[divan::bench]
fn encode_protobuf(bencher: Bencher<'_, '_>) {
    encode(bencher, &schema(SchemaFormat::Protobuf, PROTO));
}
