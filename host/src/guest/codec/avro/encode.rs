//! Encodes a component's value as Avro, by the schema of its topic.

use heddle_contract::format::avro::binary::{
    Extent, write_boolean, write_bytes, write_double, write_float, write_index, write_long,
};
use heddle_contract::format::avro::{Node, NodeId, Schema, decimal, json};
use heddle_contract::format::shape::{Shape, ShapeId, Shapes};
use wasmtime::component::Val;

use crate::guest::codec::Misplaced;

/// Writes one value of `schema`, whose shapes are `shapes`.
pub(in crate::guest::codec) fn encode(
    schema: &Schema,
    shapes: &Shapes,
    value: &Val,
    out: &mut Vec<u8>,
) -> Result<(), Misplaced> {
    let (start, mut extent) = (out.len(), Extent::default());
    Run { schema, shapes }.value(shapes.root(), value, out, &mut extent)?;
    Ok(extent.check(out.len() - start)?)
}

/// The encoding of one value.
struct Run<'a> {
    schema: &'a Schema,
    shapes: &'a Shapes,
}

impl Run<'_> {
    /// The type of the schema for a shape.
    fn node(&self, shape: ShapeId) -> &Node {
        self.schema.node(NodeId::at(self.shapes.origin(shape)))
    }

    fn value(&self, shape: ShapeId, value: &Val, out: &mut Vec<u8>, extent: &mut Extent) -> Result<(), Misplaced> {
        if let (Shape::Json(_), Val::String(text)) = (self.shapes.get(shape), value) {
            let value = serde_json::from_str(text).map_err(|e| format!("no JSON: {e}"))?;
            let ty = NodeId::at(self.shapes.origin(shape));
            return Ok(json::encode_part(self.schema, ty, &value, out, extent).map_err(|e| e.to_string())?);
        }
        extent.enter()?;
        self.inner(shape, value, out, extent)?;
        extent.leave();
        Ok(())
    }

    fn inner(&self, shape: ShapeId, value: &Val, out: &mut Vec<u8>, extent: &mut Extent) -> Result<(), Misplaced> {
        match (self.shapes.get(shape), value) {
            (Shape::Bool, Val::Bool(value)) => write_boolean(*value, out),
            (Shape::S32(_), Val::S32(value)) => write_long((*value).into(), out),
            (Shape::S64(_), Val::S64(value)) => write_long(*value, out),
            (Shape::F32, Val::Float32(value)) => write_float(*value, out),
            (Shape::F64, Val::Float64(value)) => write_double(*value, out),
            (Shape::String, Val::String(value)) => write_bytes(value.as_bytes(), out),
            (Shape::Bytes, Val::List(items)) => {
                write_index(items.len(), out);
                extend(items, out)?;
            }
            (Shape::Fixed(size), Val::List(items)) if items.len() == *size => extend(items, out)?,
            (Shape::Fixed(size), Val::List(items)) => {
                return Err(format!("{} bytes where the schema has exactly {size}", items.len()).into());
            }
            (Shape::Decimal { .. }, Val::String(text)) => {
                let Node::Decimal(kind) = self.node(shape) else { return Err(disagree()) };
                decimal::write(kind, text, out).map_err(|e| e.to_string())?;
            }
            (Shape::List(item), Val::List(items)) => {
                extent.add_items(items.len());
                blocks(items, out, |(place, value), out| {
                    self.step(|| format!("[{place}]"), *item, value, out, extent)
                })?;
            }
            (Shape::Map { value: ty, .. }, Val::List(entries)) => {
                extent.add_items(entries.len());
                blocks(entries, out, |(_, entry), out| self.entry(*ty, entry, out, extent))?;
            }
            (Shape::Option(some), Val::Option(value)) => self.option(shape, *some, value.as_deref(), out, extent)?,
            (Shape::Variant(variant), Val::Variant(name, payload)) => {
                let index = variant.cases.iter().position(|case| case.label == *name);
                let index = index.ok_or_else(|| format!("there is no case `{name}`"))?;
                write_index(index, out);
                if let (Some(ty), Some(value)) = (variant.cases[index].ty, payload) {
                    self.step(|| name.clone(), ty, value, out, extent)?;
                }
            }
            (Shape::Record(record), Val::Record(values)) if record.fields.len() == values.len() => {
                extent.add_record();
                for (field, (_, value)) in record.fields.iter().zip(values) {
                    self.step(|| field.label.clone(), field.ty, value, out, extent)?;
                }
            }
            (Shape::Null, Val::Enum(_)) => {}
            (Shape::Record(record), Val::Enum(_)) if record.fields.is_empty() => extent.add_record(),
            (Shape::Variant(_), Val::Enum(_)) => {
                return Err("the schema has no value there: its union is empty".to_owned().into());
            }
            (Shape::Enum(e), Val::Enum(_)) if e.symbols.is_empty() => {
                return Err("the schema has no value there: its enum is empty".to_owned().into());
            }
            (Shape::Enum(e), Val::Enum(name)) => {
                let index = e.symbols.iter().position(|symbol| symbol.label == *name);
                write_index(index.ok_or_else(|| format!("there is no symbol `{name}`"))?, out);
            }
            _ => return Err("a value of another type than the contract's".to_owned().into()),
        }
        Ok(())
    }

    /// Encodes a union of null and another type.
    fn option(
        &self,
        shape: ShapeId,
        some: ShapeId,
        value: Option<&Val>,
        out: &mut Vec<u8>,
        extent: &mut Extent,
    ) -> Result<(), Misplaced> {
        let Node::Union(branches) = self.node(shape) else { return Err(disagree()) };
        let option = self.schema.as_option(branches).ok_or_else(disagree)?;
        match value {
            None => write_index(option.null, out),
            Some(value) => {
                write_index(option.some, out);
                self.value(some, value, out, extent)?;
            }
        }
        Ok(())
    }

    /// Encodes an entry of a map.
    fn entry(&self, ty: ShapeId, entry: &Val, out: &mut Vec<u8>, extent: &mut Extent) -> Result<(), Misplaced> {
        let Val::Tuple(pair) = entry else { return Err("an entry that is not a pair".to_owned().into()) };
        let [Val::String(key), value] = pair.as_slice() else {
            return Err("an entry that is not a pair".to_owned().into());
        };
        write_bytes(key.as_bytes(), out);
        self.step(|| key.clone(), ty, value, out, extent)
    }

    /// Encodes a part of the value. The name of the part is built only for an error.
    fn step(
        &self,
        step: impl FnOnce() -> String,
        shape: ShapeId,
        value: &Val,
        out: &mut Vec<u8>,
        extent: &mut Extent,
    ) -> Result<(), Misplaced> {
        self.value(shape, value, out, extent).map_err(|misplaced| misplaced.below(step()))
    }
}

fn blocks(
    items: &[Val],
    out: &mut Vec<u8>,
    mut each: impl FnMut((usize, &Val), &mut Vec<u8>) -> Result<(), Misplaced>,
) -> Result<(), Misplaced> {
    if !items.is_empty() {
        write_index(items.len(), out);
    }
    items.iter().enumerate().try_for_each(|item| each(item, out))?;
    out.push(0);
    Ok(())
}

fn disagree() -> Misplaced {
    "the schema and the component's types disagree".to_owned().into()
}

fn extend(items: &[Val], out: &mut Vec<u8>) -> Result<(), String> {
    for item in items {
        let Val::U8(byte) = item else { return Err("a list of items other than bytes".to_owned()) };
        out.push(*byte);
    }
    Ok(())
}
