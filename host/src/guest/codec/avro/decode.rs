//! Decodes a writer's bytes as a component's value of the reader's type.

use heddle_contract::format::avro::binary::{DecodeError, Reader};
use heddle_contract::format::avro::read::{self, deep_enough, double, float, no_symbol};
use heddle_contract::format::avro::resolve::{FieldDefault, FieldStep, Plan, Step, StepId};
use heddle_contract::format::avro::{Node, NodeId, Record, Schema, decimal};
use heddle_contract::format::shape::{self, Case, Shape, ShapeId, Shapes};
use heddle_contract::wit::{EMPTY_CASE, NULL_CASE};
use wasmtime::component::Val;

use crate::guest::codec::place::{
    FIELD_BYTES, NOTHING, VALUE_BYTES, bytes, item, set_enum, set_string, take, taken_list,
};

/// Returns true if the value as a whole has a type that the reader does not have.
pub(in crate::guest::codec) fn is_of_unknown_type(plan: &Plan, bytes: &[u8]) -> bool {
    let is_unknown = |step: StepId| matches!(plan.step(step), Step::Mismatch(_));
    match plan.step(plan.root()) {
        Step::Branch(branches) => {
            let index = Reader::new(bytes).index("union branch", branches.len());
            index.is_ok_and(|index| is_unknown(branches[index]))
        }
        _ => is_unknown(plan.root()),
    }
}

/// Decodes one whole value of `reader` into a place, whose earlier value it replaces. Returns the additional memory
/// that the value takes, in bytes.
pub(in crate::guest::codec) fn decode_into(
    plan: &Plan,
    reader: &Schema,
    shapes: &Shapes,
    bytes: &[u8],
    place: &mut Val,
) -> Result<usize, DecodeError> {
    let run = Run { plan, reader, shapes };
    let mut input = Reader::new(bytes);
    let before = input.memory_left();
    let at = At { step: plan.root(), shape: shapes.root(), ty: reader.root() };
    run.value(at, &mut input, 0, place)?;
    let taken = before - input.memory_left();
    input.finish()?;
    Ok(taken)
}

type Decoded = Result<(), DecodeError>;

/// A position in a value: the step of the plan that reads it, and its shape and type.
#[derive(Clone, Copy)]
struct At {
    step: StepId,
    shape: ShapeId,
    ty: NodeId,
}

/// Decodes one value.
struct Run<'a> {
    plan: &'a Plan,
    reader: &'a Schema,
    shapes: &'a Shapes,
}

impl Run<'_> {
    fn value(&self, at: At, reader: &mut Reader<'_>, depth: usize, place: &mut Val) -> Decoded {
        deep_enough(depth, reader)?;
        let depth = depth + 1;
        let At { step, shape, ty } = at;
        match (self.plan.step(step), self.shapes.get(shape), self.reader.node(ty)) {
            (Step::Branch(branches), _, _) => {
                let index = reader.index("union branch", branches.len())?;
                self.value(At { step: branches[index], ..at }, reader, depth, place)
            }
            (_, Shape::Json(_), _) => {
                let text = read::json(self.plan, step, self.reader, ty, reader, depth)?.to_string();
                reader.hold(text.len())?;
                *place = Val::String(text);
                Ok(())
            }
            (Step::IntoBranch { index, step }, Shape::Option(shape), Node::Union(branches)) => {
                if matches!(self.reader.node(branches[*index]), Node::Null) {
                    *place = Val::Option(None);
                    return Ok(());
                }
                let some = At { step: *step, shape: *shape, ty: branches[*index] };
                self.option(some, reader, depth, place)
            }
            (Step::IntoBranch { index, step }, Shape::Variant(variant), Node::Union(branches)) => {
                let Case { label, ty: shape, .. } = &variant.cases[*index];
                let payload = shape.map(|shape| At { step: *step, shape, ty: branches[*index] });
                self.variant(label, payload, reader, depth, place)
            }
            (Step::Record { .. }, Shape::Record(target), _) if target.fields.is_empty() => {
                // The writer's type may have fields.
                read::skip(self.plan, step, reader, depth)?;
                set_enum(place, EMPTY_CASE);
                Ok(())
            }
            (Step::Record { reads, defaults }, Shape::Record(target), Node::Record(record)) => {
                self.record((reads, defaults), (target, record), reader, depth, place)
            }
            (Step::Null, Shape::Null, _) => {
                set_enum(place, NULL_CASE);
                Ok(())
            }
            (Step::Array(step), Shape::List(shape), Node::Array(ty)) => {
                self.list(At { step: *step, shape: *shape, ty: *ty }, reader, depth, place)
            }
            (Step::Map(step), Shape::Map { value: shape, .. }, Node::Map(ty)) => {
                self.map(At { step: *step, shape: *shape, ty: *ty }, reader, depth, place)
            }
            (Step::Enum { to, symbols }, Shape::Enum(target), _) => {
                let symbol = reader.index("enum symbol", symbols.len())?;
                let name = &target.symbols[to[symbol].ok_or_else(|| no_symbol(&symbols[symbol]))?].label;
                set_enum(place, name);
                Ok(())
            }
            (step, _, _) => leaf(step, reader, place),
        }
    }

    fn option(&self, some: At, reader: &mut Reader<'_>, depth: usize, place: &mut Val) -> Decoded {
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
    ) -> Decoded {
        let (name, before) = match take(place) {
            Val::Variant(name, before) if name == case => (name, before),
            // The payload of another case has another type: a record in its place would keep the other record's field
            // names.
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
        (target, record): (&shape::Record, &Record),
        reader: &mut Reader<'_>,
        depth: usize,
        place: &mut Val,
    ) -> Decoded {
        let field = |to: usize, step| At { step, shape: target.fields[to].ty, ty: record.fields[to].ty };
        reader.step(1)?;
        let mut values = match take(place) {
            Val::Record(values) if values.len() == target.fields.len() => values,
            _ => fields(target, reader)?,
        };
        for read in reads {
            match read {
                FieldStep::Read { to, step } => {
                    self.value(field(*to, *step), reader, depth, &mut values[*to].1)?;
                }
                FieldStep::Skip(step) => read::skip(self.plan, *step, reader, depth)?,
            }
        }
        for FieldDefault { to, step, bytes } in defaults {
            let value = &mut values[*to].1;
            reader.aside(bytes, |reader| self.value(field(*to, *step), reader, depth, value))?;
        }
        *place = Val::Record(values);
        Ok(())
    }

    fn list(&self, of: At, reader: &mut Reader<'_>, depth: usize, place: &mut Val) -> Decoded {
        let (mut items, mut count) = (taken_list(place), 0);
        reader.blocks(|reader| {
            count += 1;
            let place = held_item(&mut items, count, reader)?;
            self.value(of, reader, depth, place)
        })?;
        items.truncate(count);
        *place = Val::List(items);
        Ok(())
    }

    fn map(&self, of: At, reader: &mut Reader<'_>, depth: usize, place: &mut Val) -> Decoded {
        let (mut entries, mut count) = (taken_list(place), 0);
        reader.blocks(|reader| {
            count += 1;
            let entry = held_item(&mut entries, count, reader)?;
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

fn leaf(step: &Step, reader: &mut Reader<'_>, place: &mut Val) -> Decoded {
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
        _ => return Err(disagree()),
    };
    Ok(())
}

fn disagree() -> DecodeError {
    DecodeError::NoCounterpart("the plan and the component's types disagree".to_owned())
}

/// Creates a place behind a pointer.
fn new(reader: &mut Reader<'_>) -> Result<Box<Val>, DecodeError> {
    reader.hold(VALUE_BYTES)?;
    Ok(Box::new(NOTHING))
}

/// The fields of a record, without values.
fn fields(record: &shape::Record, reader: &mut Reader<'_>) -> Result<Vec<(String, Val)>, DecodeError> {
    reader.hold(record.fields.iter().map(|field| FIELD_BYTES + field.label.len()).sum())?;
    Ok(record.fields.iter().map(|field| (field.label.clone(), NOTHING)).collect())
}

/// Reads a string, and counts its memory.
fn held<'r>(reader: &mut Reader<'r>) -> Result<&'r str, DecodeError> {
    let text = reader.string()?;
    reader.hold(text.len())?;
    Ok(text)
}

/// The place of an item, counted from 1. Counts its memory.
fn held_item<'i>(items: &'i mut Vec<Val>, number: usize, reader: &mut Reader<'_>) -> Result<&'i mut Val, DecodeError> {
    if items.len() < number {
        reader.hold(VALUE_BYTES)?;
    }
    Ok(item(items, number))
}
