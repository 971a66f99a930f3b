//! The writer's bytes as a component's value of the reader's type.

use std::mem;
use std::sync::Arc;

use heddle_contract::decimal;
use heddle_contract::read::{self, deep_enough, double, float, no_symbol};
use heddle_contract::resolve::{FieldDefault, FieldStep, Plan, Step, StepId, resolve};
use heddle_contract::schema::binary::{DecodeError, Reader};
use heddle_contract::schema::{Node, NodeId, Record, Schema};
use heddle_contract::wit::{Case, EMPTY_CASE, NULL_CASE, Shape, ShapeId, Shapes};
use wasmtime::component::Val;

/// Decodes what one schema wrote for a component that reads by another. Compiled once for the pair.
#[derive(Debug)]
pub struct Decoder {
    plan: Plan,
    reader: Arc<Schema>,
    shapes: Arc<Shapes>,
}

/// A place in a value: how the writer's bytes are read there, and the shape and type they get.
#[derive(Clone, Copy)]
struct At {
    step: StepId,
    shape: ShapeId,
    ty: NodeId,
}

impl Decoder {
    /// Compiles the pair. `shapes` are those of `reader`.
    #[must_use]
    pub fn new(writer: &Schema, reader: Arc<Schema>, shapes: Arc<Shapes>) -> Self {
        Self { plan: resolve(writer, &reader), reader, shapes }
    }

    /// How the writer's values are read.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Whether the value as a whole is of a type that the reader does not have.
    #[must_use]
    pub fn is_of_unknown_type(&self, bytes: &[u8]) -> bool {
        let is_unknown = |step: StepId| matches!(self.plan.step(step), Step::Mismatch(_));
        match self.plan.step(self.plan.root()) {
            Step::Branch(branches) => {
                let index = Reader::new(bytes).index("union branch", branches.len());
                index.is_ok_and(|index| is_unknown(branches[index]))
            }
            _ => is_unknown(self.plan.root()),
        }
    }

    /// Decodes one whole value.
    ///
    /// # Errors
    /// If the bytes are no value of the writer's schema, or the value has no counterpart in the reader's.
    pub fn decode(&self, bytes: &[u8]) -> Result<Val, DecodeError> {
        self.decode_measured(bytes).map(|(value, _)| value)
    }

    /// Decodes one whole value, and returns it with the memory that it takes, in bytes.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_measured(&self, bytes: &[u8]) -> Result<(Val, usize), DecodeError> {
        let (mut value, mut reader) = (NOTHING, Reader::new(bytes));
        let before = reader.memory_left();
        self.read(&mut reader, &mut value)?;
        let taken = before - reader.memory_left();
        reader.finish()?;
        Ok((value, taken))
    }

    /// Decodes one whole value in the place of an earlier one, whose names, strings and lists are used again: most of
    /// the cost of a value is their memory. `place` holds an earlier value of the same reader's, whatever its writer,
    /// or one that has no parts.
    ///
    /// # Errors
    /// As [`decode`](Self::decode); what is in `place` then is good for nothing but the next value.
    pub fn decode_into(&self, bytes: &[u8], place: &mut Val) -> Result<(), DecodeError> {
        let mut reader = Reader::new(bytes);
        self.read(&mut reader, place)?;
        reader.finish()
    }

    fn read(&self, reader: &mut Reader<'_>, place: &mut Val) -> Result<(), DecodeError> {
        let at = At { step: self.plan.root(), shape: self.shapes.root(), ty: self.reader.root() };
        self.value(at, reader, 0, place)
    }

    fn value(&self, at: At, reader: &mut Reader<'_>, depth: usize, place: &mut Val) -> Result<(), DecodeError> {
        deep_enough(depth, reader)?;
        let depth = depth + 1;
        let At { step, shape, ty } = at;
        match (self.plan.step(step), self.shapes.get(shape), self.reader.node(ty)) {
            (Step::Branch(branches), _, _) => {
                let index = reader.index("union branch", branches.len())?;
                self.value(At { step: branches[index], ..at }, reader, depth, place)
            }
            (_, Shape::Json(_), _) => {
                let text = read::json(&self.plan, step, &self.reader, ty, reader, depth)?.to_string();
                reader.hold(text.len())?;
                *place = Val::String(text);
                Ok(())
            }
            (Step::IntoBranch { index, .. }, Shape::Option { some, .. }, Node::Union(_)) if index != some => {
                *place = Val::Option(None);
                Ok(())
            }
            (Step::IntoBranch { index, step }, Shape::Option { ty: shape, .. }, Node::Union(branches)) => {
                let some = At { step: *step, shape: *shape, ty: branches[*index] };
                self.option(some, reader, depth, place)
            }
            (Step::IntoBranch { index, step }, Shape::Variant(cases), Node::Union(branches)) => {
                let Case { name, ty: shape } = &cases[*index];
                let payload = shape.map(|shape| At { step: *step, shape, ty: branches[*index] });
                self.variant(name, payload, reader, depth, place)
            }
            (Step::Record { reads, defaults }, Shape::Record(shapes), Node::Record(record)) => {
                self.record((reads, defaults), (shapes, record), reader, depth, place)
            }
            (Step::Record { .. }, Shape::Empty, _) => {
                // The writer's may have fields.
                read::skip(&self.plan, step, reader, depth)?;
                set_enum(place, EMPTY_CASE);
                Ok(())
            }
            (Step::Null, Shape::Null, _) => {
                set_enum(place, NULL_CASE);
                Ok(())
            }
            (Step::Array(step), Shape::List(shape), Node::Array(ty)) => {
                self.list(At { step: *step, shape: *shape, ty: *ty }, reader, depth, place)
            }
            (Step::Map(step), Shape::Map(shape), Node::Map(ty)) => {
                self.map(At { step: *step, shape: *shape, ty: *ty }, reader, depth, place)
            }
            (Step::Enum { to, symbols }, Shape::Enum(names), _) => {
                let symbol = reader.index("enum symbol", symbols.len())?;
                let name = &names[to[symbol].ok_or_else(|| no_symbol(&symbols[symbol]))?];
                set_enum(place, name);
                Ok(())
            }
            (step, _, _) => leaf(step, reader, place),
        }
    }

    fn option(&self, some: At, reader: &mut Reader<'_>, depth: usize, place: &mut Val) -> Result<(), DecodeError> {
        let mut value = match take(place) {
            Val::Option(Some(value)) => value,
            _ => new(reader)?,
        };
        self.value(some, reader, depth, &mut value)?;
        *place = Val::Option(Some(value));
        Ok(())
    }

    fn variant(
        &self,
        case: &str,
        payload: Option<At>,
        reader: &mut Reader<'_>,
        depth: usize,
        place: &mut Val,
    ) -> Result<(), DecodeError> {
        let (name, before) = match take(place) {
            Val::Variant(name, before) if name == case => (name, before),
            // The payload of another case has another type: a record of it would keep its own field names.
            _ => (case.to_owned(), None),
        };
        let value = match payload {
            Some(payload) => {
                let mut value = before.map_or_else(|| new(reader), Ok)?;
                self.value(payload, reader, depth, &mut value)?;
                Some(value)
            }
            None => None,
        };
        *place = Val::Variant(name, value);
        Ok(())
    }

    fn record(
        &self,
        (reads, defaults): (&[FieldStep], &[FieldDefault]),
        (shapes, record): (&[(String, ShapeId)], &Record),
        reader: &mut Reader<'_>,
        depth: usize,
        place: &mut Val,
    ) -> Result<(), DecodeError> {
        let field = |to: usize, step| At { step, shape: shapes[to].1, ty: record.fields[to].ty };
        reader.step(1)?;
        let mut values = match take(place) {
            Val::Record(values) if values.len() == shapes.len() => values,
            _ => fields(shapes, reader)?,
        };
        for read in reads {
            match read {
                FieldStep::Read { to, step } => {
                    self.value(field(*to, *step), reader, depth, &mut values[*to].1)?;
                }
                FieldStep::Skip(step) => read::skip(&self.plan, *step, reader, depth)?,
            }
        }
        for FieldDefault { to, step, bytes } in defaults {
            let value = &mut values[*to].1;
            reader.aside(bytes, |reader| self.value(field(*to, *step), reader, depth, value))?;
        }
        *place = Val::Record(values);
        Ok(())
    }

    fn list(&self, of: At, reader: &mut Reader<'_>, depth: usize, place: &mut Val) -> Result<(), DecodeError> {
        let (mut items, mut count) = (taken_list(place), 0);
        reader.blocks(|reader| {
            count += 1;
            let place = item(&mut items, count, reader)?;
            self.value(of, reader, depth, place)
        })?;
        items.truncate(count);
        *place = Val::List(items);
        Ok(())
    }

    fn map(&self, of: At, reader: &mut Reader<'_>, depth: usize, place: &mut Val) -> Result<(), DecodeError> {
        let (mut entries, mut count) = (taken_list(place), 0);
        reader.blocks(|reader| {
            count += 1;
            let entry = item(&mut entries, count, reader)?;
            let mut pair = match take(entry) {
                Val::Tuple(pair) if pair.len() == 2 => pair,
                _ => {
                    reader.hold(2 * VALUE_BYTES)?;
                    vec![NOTHING, NOTHING]
                }
            };
            set_string(&mut pair[0], held(reader)?);
            self.value(of, reader, depth, &mut pair[1])?;
            *entry = Val::Tuple(pair);
            Ok(())
        })?;
        entries.truncate(count);
        *place = Val::List(entries);
        Ok(())
    }
}

fn leaf(step: &Step, reader: &mut Reader<'_>, place: &mut Val) -> Result<(), DecodeError> {
    *place = match step {
        Step::Boolean => Val::Bool(reader.boolean()?),
        Step::Int => Val::S32(reader.int()?),
        Step::Long => Val::S64(reader.long()?),
        Step::IntAsLong => Val::S64(reader.int()?.into()),
        Step::Float(kind) => Val::Float32(float(*kind, reader)?),
        Step::Double(kind) => Val::Float64(double(*kind, reader)?),
        Step::String => {
            set_string(place, held(reader)?);
            return Ok(());
        }
        Step::Bytes => {
            let read = reader.bytes()?;
            reader.hold(read.len().saturating_mul(VALUE_BYTES))?;
            bytes(read)
        }
        Step::Fixed(size) => {
            reader.hold(size.saturating_mul(VALUE_BYTES))?;
            bytes(reader.take(*size)?)
        }
        Step::Decimal(kind) => Val::String(decimal::read(kind, reader)?),
        Step::Mismatch(what) => return Err(DecodeError::NoCounterpart(what.clone())),
        _ => return Err(DecodeError::NoCounterpart("the plan and the component's types disagree".to_owned())),
    };
    Ok(())
}

/// The value of a place that none has been written to.
const NOTHING: Val = Val::Bool(false);
/// The memory of a value without what it points to, in bytes.
const VALUE_BYTES: usize = size_of::<Val>();
/// The memory of a field beside the characters of its name, in bytes.
const FIELD_BYTES: usize = size_of::<(String, Val)>();

/// A new place behind a pointer.
fn new(reader: &mut Reader<'_>) -> Result<Box<Val>, DecodeError> {
    reader.hold(VALUE_BYTES)?;
    Ok(Box::new(NOTHING))
}

/// A record's fields without values.
fn fields(shapes: &[(String, ShapeId)], reader: &mut Reader<'_>) -> Result<Vec<(String, Val)>, DecodeError> {
    reader.hold(shapes.iter().map(|(name, _)| FIELD_BYTES + name.len()).sum())?;
    Ok(shapes.iter().map(|(name, _)| (name.clone(), NOTHING)).collect())
}

/// The next string, counted.
fn held<'r>(reader: &mut Reader<'r>) -> Result<&'r str, DecodeError> {
    let text = reader.string()?;
    reader.hold(text.len())?;
    Ok(text)
}

fn take(place: &mut Val) -> Val {
    mem::replace(place, NOTHING)
}

fn taken_list(place: &mut Val) -> Vec<Val> {
    match take(place) {
        Val::List(items) => items,
        _ => vec![],
    }
}

/// The place of an item, counted from 1: that of an earlier value's, if it had so many.
fn item<'i>(items: &'i mut Vec<Val>, number: usize, reader: &mut Reader<'_>) -> Result<&'i mut Val, DecodeError> {
    if items.len() < number {
        reader.hold(VALUE_BYTES)?;
        items.push(NOTHING);
    }
    Ok(&mut items[number - 1])
}

fn set_enum(place: &mut Val, name: &str) {
    if let Val::Enum(there) = place {
        there.clear();
        there.push_str(name);
    } else {
        *place = Val::Enum(name.to_owned());
    }
}

fn set_string(place: &mut Val, text: &str) {
    if let Val::String(there) = place {
        there.clear();
        there.push_str(text);
    } else {
        *place = Val::String(text.to_owned());
    }
}

/// `list<u8>`
pub(in crate::guest) fn bytes(bytes: &[u8]) -> Val {
    Val::List(bytes.iter().map(|byte| Val::U8(*byte)).collect())
}

#[cfg(test)]
mod tests {
    use heddle_contract::schema::binary::FREE_ITEMS_MAX;
    use heddle_contract::schema::{json, parse};
    use serde_json::json;

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
        let schema = Arc::new(parse("Mixed.avsc", SCHEMA).unwrap());
        let decoder = Decoder::new(&schema, schema.clone(), Arc::new(Shapes::of(&schema)));
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
            json::encode(&schema, &value, &mut bytes).unwrap();
            bytes
        });
        let mut place = NOTHING;
        for n in [0, 1, 2, 0, 2, 1, 0] {
            decoder.decode_into(&bytes[n], &mut place).unwrap();
            assert_eq!(place, decoder.decode(&bytes[n]).unwrap(), "{n}");
            // One that breaks off leaves a place for the next.
            assert!(decoder.decode_into(&bytes[0][..9], &mut place).is_err());
        }
    }

    #[test]
    fn a_branch_takes_over_no_names_of_another() {
        let branch = |name: &str, field: &str| json!({"type": "record", "name": name, "fields": [{"name": field, "type": "long"}]});
        let union = json!(["null", branch("Paid", "amount"), branch("Shipped", "parcels")]);
        let schema = Arc::new(parse("either", &union.to_string()).unwrap());
        let decoder = Decoder::new(&schema, schema.clone(), Arc::new(Shapes::of(&schema)));
        let mut place = NOTHING;
        for value in
            [json!({"Paid": {"amount": 7}}), json!({"Shipped": {"parcels": 2}}), json!({"Paid": {"amount": 1}})]
        {
            let mut bytes = vec![];
            json::encode(&schema, &value, &mut bytes).unwrap();
            decoder.decode_into(&bytes, &mut place).unwrap();
            assert_eq!(place, decoder.decode(&bytes).unwrap(), "{value}");
        }
    }

    #[test]
    fn a_few_bytes_cannot_take_much_memory() {
        let fields = (0..100).map(|n| json!({"name": format!("f{n}"), "type": "string", "default": "text"}));
        let items = |fields: Vec<serde_json::Value>| {
            let item = json!({"type": "record", "name": "Item", "fields": fields});
            Arc::new(parse("items", &json!({"type": "array", "items": item}).to_string()).unwrap())
        };
        let (writer, reader) = (items(vec![]), items(fields.collect()));
        let decoder = Decoder::new(&writer, reader.clone(), Arc::new(Shapes::of(&reader)));
        let list = |count: i64| {
            let mut bytes = vec![];
            heddle_contract::schema::binary::write_long(count, &mut bytes);
            bytes.push(0);
            decoder.decode_measured(&bytes)
        };
        let (value, taken) = list(10).unwrap();
        assert!(matches!(value, Val::List(items) if items.len() == 10));
        assert!((10_000..1_000_000).contains(&taken), "{taken}");
        assert!(list(60_000).unwrap_err().is_beyond_bounds());
    }

    #[test]
    fn what_cannot_be_read_is_not_written() {
        let schema = Arc::new(parse("nulls", r#"{"type": "array", "items": "null"}"#).unwrap());
        let shapes = Arc::new(Shapes::of(&schema));
        let encoder = super::super::Encoder::new(schema.clone(), shapes.clone());
        let decoder = Decoder::new(&schema, schema.clone(), shapes);
        let written = |count: usize| {
            let mut bytes = vec![];
            encoder.encode(&Val::List(vec![Val::Enum(NULL_CASE.to_owned()); count]), &mut bytes).map(|()| bytes)
        };
        assert!(decoder.decode(&written(FREE_ITEMS_MAX).unwrap()).is_ok());
        let misfit = written(FREE_ITEMS_MAX + 100).unwrap_err();
        assert!(misfit.to_string().contains("cannot be read"), "{misfit}");
    }
}
