//! Follows a [`Plan`] over the writer's bytes and builds the reader's value as JSON, or skips it.
//!
//! The host has a second follower, which builds a component's values. Both follow the same plans.

use serde_json::{Map, Value};

use super::binary::{DEPTH_MAX, DecodeError, Reader};
use super::resolve::{FieldStep, NumberIn, Plan, Step, StepId};
use super::{Node, NodeId, Schema, decimal, json};

/// Skips the value of `step`.
///
/// # Errors
/// If the bytes are not a value of the writer's schema.
pub fn skip(plan: &Plan, step: StepId, reader: &mut Reader<'_>, depth: usize) -> Result<(), DecodeError> {
    deep_enough(depth, reader)?;
    let depth = depth + 1;
    match plan.step(step) {
        Step::Null => {}
        Step::Boolean => drop(reader.boolean()?),
        Step::Int | Step::IntAsLong | Step::Float(NumberIn::Int) | Step::Double(NumberIn::Int) => drop(reader.int()?),
        Step::Long | Step::Float(NumberIn::Long) | Step::Double(NumberIn::Long) => drop(reader.long()?),
        Step::Float(_) | Step::Double(NumberIn::Float) => drop(reader.float()?),
        Step::Double(NumberIn::Double) => drop(reader.double()?),
        Step::String | Step::Bytes => drop(reader.bytes()?),
        Step::Fixed(size) => drop(reader.take(*size)?),
        Step::Decimal(kind) => match &kind.fixed {
            None => drop(reader.bytes()?),
            Some(fixed) => drop(reader.take(fixed.size)?),
        },
        Step::Enum { symbols, .. } => drop(reader.index("enum symbol", symbols.len())?),
        Step::Array(item) => reader.skip_blocks(|reader| skip(plan, *item, reader, depth))?,
        Step::Map(value) => reader.skip_blocks(|reader| {
            reader.bytes()?;
            skip(plan, *value, reader, depth)
        })?,
        Step::Record { reads, .. } => {
            reader.step(1)?;
            for read in reads {
                let (FieldStep::Read { step, .. } | FieldStep::Skip(step)) = read;
                skip(plan, *step, reader, depth)?;
            }
        }
        Step::Branch(branches) => {
            let index = reader.index("union branch", branches.len())?;
            skip(plan, branches[index], reader, depth)?;
        }
        Step::IntoBranch { step, .. } => skip(plan, *step, reader, depth)?,
        Step::Mismatch(what) => return Err(DecodeError::NoCounterpart(what.clone())),
    }
    Ok(())
}

/// Reads the value of `step` as JSON. `ty` is its type in the reader's schema.
///
/// # Errors
/// If the bytes are not a value of the writer's schema, or the value has no counterpart in the reader's.
pub fn json(
    plan: &Plan,
    step: StepId,
    schema: &Schema,
    ty: NodeId,
    reader: &mut Reader<'_>,
    depth: usize,
) -> Result<Value, DecodeError> {
    deep_enough(depth, reader)?;
    let depth = depth + 1;
    reader.hold(json::VALUE_BYTES)?;
    Ok(match (plan.step(step), schema.node(ty)) {
        (Step::Branch(branches), _) => {
            let index = reader.index("union branch", branches.len())?;
            json(plan, branches[index], schema, ty, reader, depth)?
        }
        (Step::IntoBranch { index, step }, Node::Union(branches)) => {
            let branch = branches[*index];
            let value = json(plan, *step, schema, branch, reader, depth)?;
            json::branch(schema, branches, branch, value)
        }
        (Step::Enum { to, symbols }, Node::Enum(e)) => {
            let symbol = reader.index("enum symbol", symbols.len())?;
            let place = to[symbol].ok_or_else(|| no_symbol(&symbols[symbol]))?;
            e.symbols[place].clone().into()
        }
        (Step::Array(item), Node::Array(ty)) => {
            let mut items = vec![];
            reader.blocks(|reader| {
                items.push(json(plan, *item, schema, *ty, reader, depth)?);
                Ok(())
            })?;
            items.into()
        }
        (Step::Map(value), Node::Map(ty)) => {
            let mut entries = Map::new();
            reader.blocks(|reader| {
                let key = reader.string()?.to_owned();
                entries.insert(key, json(plan, *value, schema, *ty, reader, depth)?);
                Ok(())
            })?;
            entries.into()
        }
        (Step::Record { reads, defaults }, Node::Record(record)) => {
            reader.step(1)?;
            for field in &record.fields {
                reader.hold(json::FIELD_BYTES + field.name.len())?;
            }
            let mut values = vec![Value::Null; record.fields.len()];
            for read in reads {
                match read {
                    FieldStep::Read { to, step } => {
                        values[*to] = json(plan, *step, schema, record.fields[*to].ty, reader, depth)?;
                    }
                    FieldStep::Skip(step) => skip(plan, *step, reader, depth)?,
                }
            }
            for default in defaults {
                let ty = record.fields[default.to].ty;
                values[default.to] =
                    reader.aside(&default.bytes, |reader| json(plan, default.step, schema, ty, reader, depth))?;
            }
            record.fields.iter().map(|field| field.name.clone()).zip(values).collect::<Map<_, _>>().into()
        }
        (step, _) => leaf(step, reader)?,
    })
}

fn leaf(step: &Step, reader: &mut Reader<'_>) -> Result<Value, DecodeError> {
    Ok(match step {
        Step::Boolean => reader.boolean()?.into(),
        Step::Int => reader.int()?.into(),
        Step::Long => reader.long()?.into(),
        Step::IntAsLong => i64::from(reader.int()?).into(),
        Step::Float(kind) => json::show_float(float(*kind, reader)?),
        Step::Double(kind) => json::show_double(double(*kind, reader)?),
        Step::String => reader.string()?.into(),
        Step::Bytes => json::show_bytes(reader.bytes()?),
        Step::Fixed(size) => json::show_bytes(reader.take(*size)?),
        Step::Decimal(kind) => decimal::read(kind, reader)?.into(),
        Step::Mismatch(what) => return Err(DecodeError::NoCounterpart(what.clone())),
        _ => Value::Null,
    })
}

/// Reads the writer's number for a reader's float.
///
/// # Errors
/// If the bytes end early.
pub fn float(kind: NumberIn, reader: &mut Reader<'_>) -> Result<f32, DecodeError> {
    Ok(match kind {
        NumberIn::Int => reader.int()? as f32,
        NumberIn::Long => reader.long()? as f32,
        NumberIn::Float | NumberIn::Double => reader.float()?,
    })
}

/// Reads the writer's number for a reader's double.
///
/// # Errors
/// If the bytes end early.
pub fn double(kind: NumberIn, reader: &mut Reader<'_>) -> Result<f64, DecodeError> {
    Ok(match kind {
        NumberIn::Int => reader.int()?.into(),
        NumberIn::Long => reader.long()? as f64,
        NumberIn::Float => reader.float()?.into(),
        NumberIn::Double => reader.double()?,
    })
}

/// The error for a symbol that the reader does not have.
#[must_use]
pub fn no_symbol(symbol: &str) -> DecodeError {
    DecodeError::NoCounterpart(format!("the reader's enum has no symbol `{symbol}` and no default"))
}

/// Refuses values that are nested too deep for the stack. A plan has at most two steps for each part of a value.
///
/// # Errors
/// If `depth` exceeds [`DEPTH_MAX`].
pub fn deep_enough(depth: usize, reader: &Reader<'_>) -> Result<(), DecodeError> {
    if depth > 2 * DEPTH_MAX + 1 { Err(DecodeError::TooDeep(reader.at())) } else { Ok(()) }
}
