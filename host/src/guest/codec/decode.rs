//! The writer's bytes as a component's value of the reader's type.

use std::sync::Arc;

use heddle_contract::decimal;
use heddle_contract::read::{self, deep_enough, double, float, no_symbol};
use heddle_contract::resolve::{FieldStep, Plan, Step, StepId, resolve};
use heddle_contract::schema::binary::{DecodeError, Reader};
use heddle_contract::schema::{Node, NodeId, Schema};
use heddle_contract::wit::{Shape, ShapeId, Shapes};
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

    /// Decodes one whole value.
    ///
    /// # Errors
    /// If the bytes are no value of the writer's schema, or the value has no counterpart in the reader's.
    pub fn decode(&self, bytes: &[u8]) -> Result<Val, DecodeError> {
        let mut reader = Reader::new(bytes);
        let value = self.value(self.plan.root(), self.shapes.root(), self.reader.root(), &mut reader, 0)?;
        reader.finish()?;
        Ok(value)
    }

    fn value(
        &self,
        step: StepId,
        shape: ShapeId,
        ty: NodeId,
        reader: &mut Reader<'_>,
        depth: usize,
    ) -> Result<Val, DecodeError> {
        deep_enough(depth, reader)?;
        let depth = depth + 1;
        Ok(match (self.plan.step(step), self.shapes.get(shape), self.reader.node(ty)) {
            (Step::Branch(branches), _, _) => {
                let index = reader.index("union branch", branches.len())?;
                self.value(branches[index], shape, ty, reader, depth)?
            }
            (_, Shape::Json(_), _) => {
                let value = read::json(&self.plan, step, &self.reader, ty, reader, depth)?;
                Val::String(value.to_string())
            }
            (Step::IntoBranch { index, step }, Shape::Option { some, ty: shape, .. }, Node::Union(branches)) => {
                let ty = branches[*index];
                if index == some {
                    Val::Option(Some(Box::new(self.value(*step, *shape, ty, reader, depth)?)))
                } else {
                    Val::Option(None)
                }
            }
            (Step::IntoBranch { index, step }, Shape::Variant(cases), Node::Union(branches)) => {
                let case = &cases[*index];
                let payload = match case.ty {
                    None => None,
                    Some(shape) => Some(Box::new(self.value(*step, shape, branches[*index], reader, depth)?)),
                };
                Val::Variant(case.name.clone(), payload)
            }
            (Step::Record { reads, defaults }, Shape::Record(shapes), Node::Record(record)) => {
                let mut values: Vec<(String, Val)> = Vec::with_capacity(shapes.len());
                values.extend(shapes.iter().map(|(name, _)| (name.clone(), Val::Bool(false))));
                for read in reads {
                    match read {
                        FieldStep::Read { to, step } => {
                            values[*to].1 = self.value(*step, shapes[*to].1, record.fields[*to].ty, reader, depth)?;
                        }
                        FieldStep::Skip(step) => read::skip(&self.plan, *step, reader, depth)?,
                    }
                }
                for default in defaults {
                    let mut reader = Reader::new(&default.bytes);
                    let (shape, ty) = (shapes[default.to].1, record.fields[default.to].ty);
                    values[default.to].1 = self.value(default.step, shape, ty, &mut reader, depth)?;
                }
                Val::Record(values)
            }
            (Step::Array(item), Shape::List(shape), Node::Array(ty)) => {
                let mut items = vec![];
                reader.blocks(|reader| {
                    items.push(self.value(*item, *shape, *ty, reader, depth)?);
                    Ok(())
                })?;
                Val::List(items)
            }
            (Step::Map(value), Shape::Map(shape), Node::Map(ty)) => {
                let mut entries = vec![];
                reader.blocks(|reader| {
                    let key = Val::String(reader.string()?.to_owned());
                    entries.push(Val::Tuple(vec![key, self.value(*value, *shape, *ty, reader, depth)?]));
                    Ok(())
                })?;
                Val::List(entries)
            }
            (Step::Enum { to, symbols }, Shape::Enum(names), _) => {
                let symbol = reader.index("enum symbol", symbols.len())?;
                Val::Enum(names[to[symbol].ok_or_else(|| no_symbol(&symbols[symbol]))?].clone())
            }
            (step, _, _) => leaf(step, reader)?,
        })
    }
}

fn leaf(step: &Step, reader: &mut Reader<'_>) -> Result<Val, DecodeError> {
    Ok(match step {
        Step::Boolean => Val::Bool(reader.boolean()?),
        Step::Int => Val::S32(reader.int()?),
        Step::Long => Val::S64(reader.long()?),
        Step::IntAsLong => Val::S64(reader.int()?.into()),
        Step::Float(kind) => Val::Float32(float(*kind, reader)?),
        Step::Double(kind) => Val::Float64(double(*kind, reader)?),
        Step::String => Val::String(reader.string()?.to_owned()),
        Step::Bytes => bytes(reader.bytes()?),
        Step::Fixed(size) => bytes(reader.take(*size)?),
        Step::Decimal(kind) => Val::String(decimal::read(kind, reader)?),
        Step::Mismatch(what) => return Err(DecodeError::NoCounterpart(what.clone())),
        _ => return Err(DecodeError::NoCounterpart("the plan and the component's types disagree".to_owned())),
    })
}

/// `list<u8>`
pub(in crate::guest) fn bytes(bytes: &[u8]) -> Val {
    Val::List(bytes.iter().map(|byte| Val::U8(*byte)).collect())
}
