//! Converts between bytes and a component's values, with one codec for each format. No tree of the format's values is
//! built in between.
//!
//! ```text
//!  bytes ──Decoder: plan writer → reader, shapes of the reader──> Val ──> handler
//!  emit ──> Val ──Encoder: shapes of the writer──> bytes
//! ```

mod avro;
mod json_schema;
mod place;
mod protobuf;

pub(super) use place::bytes;

use std::sync::Arc;

use heddle_contract::format::shape::Shapes;
use heddle_contract::format::{DecodeError, Plan, Schema};
use thiserror::Error;
use wasmtime::component::Val;

/// The reason why a component's value breaks its topic's schema. A format has rules that types cannot express.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("at `{path}`: {what}")]
pub struct Misfit {
    /// The place in the value, by the names in the WIT.
    pub path: String,
    /// The fault.
    pub what: String,
}

/// A fault, and the steps to its place, the innermost first. They are collected on the way out, so that a value without
/// faults costs nothing.
struct Misplaced {
    path: Vec<String>,
    what: String,
}

impl Misplaced {
    /// Adds a step from the outside to the place of the fault.
    fn below(mut self, step: String) -> Self {
        self.path.push(step);
        self
    }
}

impl From<String> for Misplaced {
    fn from(what: String) -> Self {
        Self { path: vec![], what }
    }
}

/// Decodes the values of one writer's schema for a component that reads with another schema. Compiled once for each
/// pair.
#[derive(Debug)]
pub struct Decoder {
    plan: Plan,
    shapes: Arc<Shapes>,
}

impl Decoder {
    /// Compiles the pair. `shapes` are those of `reader`.
    #[must_use]
    pub fn new(writer: &Schema, reader: &Schema, shapes: Arc<Shapes>) -> Self {
        Self { plan: Plan::of(writer, reader), shapes }
    }

    /// The plan for the writer's values.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Returns true if the value as a whole has a type that the reader does not have.
    #[must_use]
    pub fn is_of_unknown_type(&self, bytes: &[u8]) -> bool {
        match &self.plan {
            Plan::Avro { plan, .. } => avro::is_of_unknown_type(plan, bytes),
            Plan::Protobuf(plan) => plan.is_of_unknown_type(bytes),
            Plan::JsonSchema(plan) => plan.is_of_unknown_type(bytes),
            // A value in another format is a fault, and not an unknown type.
            Plan::Unreadable(_) => false,
        }
    }

    /// Decodes one whole value.
    ///
    /// # Errors
    /// If the bytes are not a value of the writer's schema, or the value has no counterpart in the reader's.
    pub fn decode(&self, bytes: &[u8]) -> Result<Val, DecodeError> {
        self.decode_measured(bytes).map(|(value, _)| value)
    }

    /// Decodes one whole value, and returns it with the memory that it takes, in bytes.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_measured(&self, bytes: &[u8]) -> Result<(Val, usize), DecodeError> {
        let mut value = place::NOTHING;
        let taken = self.read(bytes, &mut value)?;
        Ok((value, taken))
    }

    /// Decodes one whole value into a place, whose earlier value it replaces. The names, strings and lists of the
    /// earlier value are reused, because most of the cost of a value is their memory. `place` has an earlier value for
    /// the same reader, whatever its writer was, or a value without parts.
    ///
    /// # Errors
    /// As [`decode`](Self::decode). After an error, `place` is only good for the next value.
    pub fn decode_into(&self, bytes: &[u8], place: &mut Val) -> Result<(), DecodeError> {
        self.read(bytes, place).map(drop)
    }

    fn read(&self, bytes: &[u8], place: &mut Val) -> Result<usize, DecodeError> {
        match &self.plan {
            Plan::Avro { plan, reader } => Ok(avro::decode_into(plan, reader, &self.shapes, bytes, place)?),
            Plan::Protobuf(plan) => Ok(protobuf::decode_into(plan, &self.shapes, bytes, place)?),
            Plan::JsonSchema(plan) => Ok(json_schema::decode_into(plan, &self.shapes, bytes, place)?),
            Plan::Unreadable(what) => Err(DecodeError::Unreadable(what.clone())),
        }
    }
}

/// Encodes the values that a component emits to one topic.
#[derive(Clone, Debug)]
pub struct Encoder {
    schema: Schema,
    shapes: Arc<Shapes>,
}

impl Encoder {
    /// Creates an encoder for `schema`, whose shapes are `shapes`.
    #[must_use]
    pub fn new(schema: Schema, shapes: Arc<Shapes>) -> Self {
        Self { schema, shapes }
    }

    /// The schema of the values.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The shapes of the schema.
    #[must_use]
    pub fn shapes(&self) -> &Shapes {
        &self.shapes
    }

    /// Writes one value.
    ///
    /// # Errors
    /// If the schema cannot hold the value, or no reader could read it. `out` is then not usable.
    pub fn encode(&self, value: &Val, out: &mut Vec<u8>) -> Result<(), Misfit> {
        let encoded = match &self.schema {
            Schema::Avro(schema) => avro::encode(schema, &self.shapes, value, out),
            Schema::Protobuf(schema) => protobuf::encode(schema, &self.shapes, value, out),
            Schema::JsonSchema(schema) => json_schema::encode(schema, &self.shapes, value, out),
        };
        encoded.map_err(|Misplaced { mut path, what }| {
            path.reverse();
            Misfit { path: if path.is_empty() { ".".to_owned() } else { path.join(".") }, what }
        })
    }
}

#[cfg(test)]
mod tests {
    use heddle_contract::format::avro::binary::{FREE_ITEMS_MAX, write_long};
    use heddle_contract::format::avro::parse;
    use heddle_contract::wit::NULL_CASE;
    use serde_json::json;

    use super::place::NOTHING;
    use super::*;

    const SCHEMA: &str = r#"{"type": "record", "name": "Mixed", "fields": [
        {"name": "text", "type": "string"},
        {"name": "maybe", "type": ["null", "string"]},
        {"name": "either", "type": ["null", "string", {"type": "array", "items": "long"}]},
        {"name": "suit", "type": {"type": "enum", "name": "Suit", "symbols": ["HEARTS", "SPADES"]}},
        {"name": "parts", "type": {"type": "array", "items": {"type": "record", "name": "Part", "fields": [
            {"name": "name", "type": "string"}, {"name": "count", "type": "int"}]}}},
        {"name": "labels", "type": {"type": "map", "values": "string"}},
        {"name": "raw", "type": "bytes"}
    ]}"#;

    #[test]
    fn a_value_does_not_depend_on_the_one_whose_memory_it_takes_over() {
        let schema = Schema::from(parse("Mixed.avsc", SCHEMA).unwrap());
        let decoder = Decoder::new(&schema, &schema, Arc::new(Shapes::of(&schema)));
        let part = |name: &str, count: i32| json!({"name": name, "count": count});
        let values = [
            json!({"text": "a longer text", "maybe": {"string": "there"}, "either": {"array": [1, 2, 3]}, "suit": "SPADES",
                "parts": [part("one", 1), part("two", 2)], "labels": {"a": "x", "b": "y"}, "raw": "abc"}),
            json!({"text": "", "maybe": null, "either": null, "suit": "HEARTS", "parts": [], "labels": {}, "raw": ""}),
            json!({"text": "t", "maybe": {"string": ""}, "either": {"string": "s"}, "suit": "HEARTS",
                "parts": [part("three", 3)], "labels": {"c": "z"}, "raw": "a"}),
        ];
        let bytes = values.map(|value| {
            let mut bytes = vec![];
            schema.encode(&value, &mut bytes).unwrap();
            bytes
        });
        let mut place = NOTHING;
        for n in [0, 1, 2, 0, 2, 1, 0] {
            decoder.decode_into(&bytes[n], &mut place).unwrap();
            assert_eq!(place, decoder.decode(&bytes[n]).unwrap(), "{n}");
            // A value that ends early leaves a place for the next one.
            assert!(decoder.decode_into(&bytes[0][..9], &mut place).is_err());
        }
    }

    #[test]
    fn a_branch_takes_over_no_names_of_another() {
        let branch = |name: &str, field: &str| json!({"type": "record", "name": name, "fields": [{"name": field, "type": "long"}]});
        let union = json!(["null", branch("Paid", "amount"), branch("Shipped", "parcels")]);
        let schema = Schema::from(parse("either", &union.to_string()).unwrap());
        let decoder = Decoder::new(&schema, &schema, Arc::new(Shapes::of(&schema)));
        let mut place = NOTHING;
        for value in
            [json!({"Paid": {"amount": 7}}), json!({"Shipped": {"parcels": 2}}), json!({"Paid": {"amount": 1}})]
        {
            let mut bytes = vec![];
            schema.encode(&value, &mut bytes).unwrap();
            decoder.decode_into(&bytes, &mut place).unwrap();
            assert_eq!(place, decoder.decode(&bytes).unwrap(), "{value}");
        }
    }

    #[test]
    fn a_few_bytes_cannot_take_much_memory() {
        let fields = (0..100).map(|n| json!({"name": format!("f{n}"), "type": "string", "default": "text"}));
        let items = |fields: Vec<serde_json::Value>| {
            let item = json!({"type": "record", "name": "Item", "fields": fields});
            Schema::from(parse("items", &json!({"type": "array", "items": item}).to_string()).unwrap())
        };
        let (writer, reader) = (items(vec![]), items(fields.collect()));
        let decoder = Decoder::new(&writer, &reader, Arc::new(Shapes::of(&reader)));
        let list = |count: i64| {
            let mut bytes = vec![];
            write_long(count, &mut bytes);
            bytes.push(0);
            decoder.decode_measured(&bytes)
        };
        let (value, taken) = list(10).unwrap();
        assert!(matches!(value, Val::List(items) if items.len() == 10));
        assert!((10_000..1_000_000).contains(&taken), "{taken}");
        assert!(list(60_000).unwrap_err().is_beyond_bounds());
    }

    #[test]
    fn a_value_that_cannot_be_read_is_not_written() {
        let schema = Schema::from(parse("nulls", r#"{"type": "array", "items": "null"}"#).unwrap());
        let shapes = Arc::new(Shapes::of(&schema));
        let decoder = Decoder::new(&schema, &schema, shapes.clone());
        let encoder = Encoder::new(schema, shapes);
        let written = |count: usize| {
            let mut bytes = vec![];
            encoder.encode(&Val::List(vec![Val::Enum(NULL_CASE.to_owned()); count]), &mut bytes).map(|()| bytes)
        };
        assert!(decoder.decode(&written(FREE_ITEMS_MAX).unwrap()).is_ok());
        let misfit = written(FREE_ITEMS_MAX + 100).unwrap_err();
        assert!(misfit.to_string().contains("cannot be read"), "{misfit}");
    }
}
