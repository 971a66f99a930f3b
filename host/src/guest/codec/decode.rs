//! The writer's bytes as a component's value of the reader's type.

use std::mem;
use std::sync::Arc;

use heddle_contract::decimal;
use heddle_contract::read::{self, deep_enough, double, float, no_symbol};
use heddle_contract::resolve::{FieldStep, Plan, Step, StepId, resolve};
use heddle_contract::schema::binary::{DecodeError, Reader};
use heddle_contract::schema::{Node, NodeId, Schema};
use heddle_contract::wit::{EMPTY_CASE, NULL_CASE, Shape, ShapeId, Shapes};
use wasmtime::component::Val;

/// Decodes what one schema wrote for a component that reads by another. Compiled once for the pair.
#[derive(Debug)]
pub struct Decoder {
    plan: Plan,
    reader: Arc<Schema>,
    shapes: Arc<Shapes>,
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
        let mut value = NOTHING;
        self.decode_into(bytes, &mut value)?;
        Ok(value)
    }

    /// Decodes one whole value in the place of an earlier one, whose names, strings and lists are used again: most of
    /// the cost of a value is their memory. `place` holds an earlier value of the same reader's, whatever its writer,
    /// or one that has no parts.
    ///
    /// # Errors
    /// As [`decode`](Self::decode); what is in `place` then is good for nothing but the next value.
    pub fn decode_into(&self, bytes: &[u8], place: &mut Val) -> Result<(), DecodeError> {
        let mut reader = Reader::new(bytes);
        self.value(self.plan.root(), self.shapes.root(), self.reader.root(), &mut reader, 0, place)?;
        reader.finish()
    }

    fn value(
        &self,
        step: StepId,
        shape: ShapeId,
        ty: NodeId,
        reader: &mut Reader<'_>,
        depth: usize,
        place: &mut Val,
    ) -> Result<(), DecodeError> {
        deep_enough(depth, reader)?;
        let depth = depth + 1;
        match (self.plan.step(step), self.shapes.get(shape), self.reader.node(ty)) {
            (Step::Branch(branches), _, _) => {
                let index = reader.index("union branch", branches.len())?;
                self.value(branches[index], shape, ty, reader, depth, place)
            }
            (_, Shape::Json(_), _) => {
                let value = read::json(&self.plan, step, &self.reader, ty, reader, depth)?;
                *place = Val::String(value.to_string());
                Ok(())
            }
            (Step::IntoBranch { index, step }, Shape::Option { some, ty: shape, .. }, Node::Union(branches)) => {
                if index != some {
                    *place = Val::Option(None);
                    return Ok(());
                }
                let mut value = match take(place) {
                    Val::Option(Some(value)) => value,
                    _ => Box::new(NOTHING),
                };
                self.value(*step, *shape, branches[*index], reader, depth, &mut value)?;
                *place = Val::Option(Some(value));
                Ok(())
            }
            (Step::IntoBranch { index, step }, Shape::Variant(cases), Node::Union(branches)) => {
                let case = &cases[*index];
                let (mut name, payload) = match take(place) {
                    Val::Variant(name, payload) => (name, payload),
                    _ => (String::new(), None),
                };
                name.clone_from(&case.name);
                let mut payload = case.ty.map(|_| payload.unwrap_or_else(|| Box::new(NOTHING)));
                if let (Some(shape), Some(payload)) = (case.ty, &mut payload) {
                    self.value(*step, shape, branches[*index], reader, depth, payload)?;
                }
                *place = Val::Variant(name, payload);
                Ok(())
            }
            (Step::Record { reads, defaults }, Shape::Record(shapes), Node::Record(record)) => {
                let mut values = match take(place) {
                    Val::Record(values) if values.len() == shapes.len() => values,
                    _ => shapes.iter().map(|(name, _)| (name.clone(), NOTHING)).collect(),
                };
                for read in reads {
                    match read {
                        FieldStep::Read { to, step } => {
                            let (shape, ty) = (shapes[*to].1, record.fields[*to].ty);
                            self.value(*step, shape, ty, reader, depth, &mut values[*to].1)?;
                        }
                        FieldStep::Skip(step) => read::skip(&self.plan, *step, reader, depth)?,
                    }
                }
                for default in defaults {
                    let mut reader = Reader::new(&default.bytes);
                    let (shape, ty) = (shapes[default.to].1, record.fields[default.to].ty);
                    self.value(default.step, shape, ty, &mut reader, depth, &mut values[default.to].1)?;
                }
                *place = Val::Record(values);
                Ok(())
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
                let (mut items, mut count) = (taken_list(place), 0);
                reader.blocks(|reader| {
                    count += 1;
                    self.value(*step, *shape, *ty, reader, depth, item(&mut items, count))
                })?;
                items.truncate(count);
                *place = Val::List(items);
                Ok(())
            }
            (Step::Map(value), Shape::Map(shape), Node::Map(ty)) => {
                let (mut entries, mut count) = (taken_list(place), 0);
                reader.blocks(|reader| {
                    count += 1;
                    let entry = item(&mut entries, count);
                    let mut pair = match take(entry) {
                        Val::Tuple(pair) if pair.len() == 2 => pair,
                        _ => vec![NOTHING, NOTHING],
                    };
                    set_string(&mut pair[0], reader.string()?);
                    self.value(*value, *shape, *ty, reader, depth, &mut pair[1])?;
                    *entry = Val::Tuple(pair);
                    Ok(())
                })?;
                entries.truncate(count);
                *place = Val::List(entries);
                Ok(())
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
            set_string(place, reader.string()?);
            return Ok(());
        }
        Step::Bytes => bytes(reader.bytes()?),
        Step::Fixed(size) => bytes(reader.take(*size)?),
        Step::Decimal(kind) => Val::String(decimal::read(kind, reader)?),
        Step::Mismatch(what) => return Err(DecodeError::NoCounterpart(what.clone())),
        _ => return Err(DecodeError::NoCounterpart("the plan and the component's types disagree".to_owned())),
    };
    Ok(())
}

/// The value of a place that none has been written to.
const NOTHING: Val = Val::Bool(false);

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
fn item(items: &mut Vec<Val>, number: usize) -> &mut Val {
    if items.len() < number {
        items.push(NOTHING);
    }
    &mut items[number - 1]
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
}
