//! A component's value as Avro bytes of its topic's schema.

use std::sync::Arc;

use heddle_contract::decimal;
use heddle_contract::schema::binary::{
    Extent, write_boolean, write_bytes, write_double, write_float, write_index, write_long,
};
use heddle_contract::schema::{Schema, json};
use heddle_contract::wit::{Shape, ShapeId, Shapes};
use thiserror::Error;
use wasmtime::component::Val;

/// Why a component's value breaks its topic's schema: types alone cannot say everything that Avro does.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("at `{path}`: {what}")]
pub struct Misfit {
    /// Where in the value, in the names of the WIT.
    pub path: String,
    /// What is wrong.
    pub what: String,
}

/// What is wrong, and the steps to it, the innermost first: collected on the way out, so that a value that fits costs
/// nothing.
struct Misplaced {
    path: Vec<String>,
    what: String,
}

impl From<String> for Misplaced {
    fn from(what: String) -> Self {
        Self { path: vec![], what }
    }
}

/// Encodes the values that a component emits to one topic.
#[derive(Clone, Debug)]
pub struct Encoder {
    schema: Arc<Schema>,
    shapes: Arc<Shapes>,
}

impl Encoder {
    /// Encodes by `schema`, whose shapes are `shapes`.
    #[must_use]
    pub fn new(schema: Arc<Schema>, shapes: Arc<Shapes>) -> Self {
        Self { schema, shapes }
    }

    /// The shapes that it encodes by.
    #[must_use]
    pub fn shapes(&self) -> &Shapes {
        &self.shapes
    }

    /// Writes one value.
    ///
    /// # Errors
    /// If the schema cannot hold the value, or nobody could read it; `out` is then of no use.
    pub fn encode(&self, value: &Val, out: &mut Vec<u8>) -> Result<(), Misfit> {
        let (start, mut extent) = (out.len(), Extent::default());
        let written = self.value(self.shapes.root(), value, out, &mut extent);
        let written = written.and_then(|()| Ok(extent.check(out.len() - start)?));
        written.map_err(|Misplaced { mut path, what }| {
            path.reverse();
            Misfit { path: if path.is_empty() { ".".to_owned() } else { path.join(".") }, what }
        })
    }

    fn value(&self, shape: ShapeId, value: &Val, out: &mut Vec<u8>, extent: &mut Extent) -> Result<(), Misplaced> {
        if let (Shape::Json(ty), Val::String(text)) = (self.shapes.get(shape), value) {
            let value = serde_json::from_str(text).map_err(|e| format!("no JSON: {e}"))?;
            return Ok(json::encode_part(&self.schema, *ty, &value, out, extent).map_err(|e| e.to_string())?);
        }
        extent.enter()?;
        self.inner(shape, value, out, extent)?;
        extent.leave();
        Ok(())
    }

    fn inner(&self, shape: ShapeId, value: &Val, out: &mut Vec<u8>, extent: &mut Extent) -> Result<(), Misplaced> {
        match (self.shapes.get(shape), value) {
            (Shape::Bool, Val::Bool(value)) => write_boolean(*value, out),
            (Shape::S32, Val::S32(value)) => write_long((*value).into(), out),
            (Shape::S64, Val::S64(value)) => write_long(*value, out),
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
            (Shape::Decimal(kind), Val::String(text)) => {
                decimal::write(kind, text, out).map_err(|e| e.to_string())?;
            }
            (Shape::List(item), Val::List(items)) => {
                extent.add_items(items.len());
                blocks(items, out, |(place, value), out| {
                    self.step(|| format!("[{place}]"), *item, value, out, extent)
                })?;
            }
            (Shape::Map(ty), Val::List(entries)) => {
                extent.add_items(entries.len());
                blocks(entries, out, |(_, entry), out| match entry {
                    Val::Tuple(pair) => match pair.as_slice() {
                        [Val::String(key), value] => {
                            write_bytes(key.as_bytes(), out);
                            self.step(|| key.clone(), *ty, value, out, extent)
                        }
                        _ => Err("an entry that is no pair".to_owned().into()),
                    },
                    _ => Err("an entry that is no pair".to_owned().into()),
                })?;
            }
            (Shape::Option { null, .. }, Val::Option(None)) => write_index(*null, out),
            (Shape::Option { some, ty, .. }, Val::Option(Some(value))) => {
                write_index(*some, out);
                self.value(*ty, value, out, extent)?;
            }
            (Shape::Variant(cases), Val::Variant(name, payload)) => {
                let index = cases.iter().position(|case| case.name == *name);
                let index = index.ok_or_else(|| format!("there is no case `{name}`"))?;
                write_index(index, out);
                if let (Some(ty), Some(value)) = (cases[index].ty, payload) {
                    self.step(|| name.clone(), ty, value, out, extent)?;
                }
            }
            (Shape::Record(fields), Val::Record(values)) if fields.len() == values.len() => {
                extent.add_record();
                for ((name, shape), (_, value)) in fields.iter().zip(values) {
                    self.step(|| name.clone(), *shape, value, out, extent)?;
                }
            }
            (Shape::Null, Val::Enum(_)) => {}
            (Shape::Empty, Val::Enum(_)) => extent.add_record(),
            (Shape::Never, Val::Enum(_)) => {
                return Err("the schema has no value there: its union or enum is empty".to_owned().into());
            }
            (Shape::Enum(names), Val::Enum(name)) => {
                let index = names.iter().position(|other| other == name);
                write_index(index.ok_or_else(|| format!("there is no symbol `{name}`"))?, out);
            }
            _ => return Err("a value of another type than the contract's".to_owned().into()),
        }
        Ok(())
    }

    /// One step down. What it is called matters only when something is wrong there.
    fn step(
        &self,
        step: impl FnOnce() -> String,
        shape: ShapeId,
        value: &Val,
        out: &mut Vec<u8>,
        extent: &mut Extent,
    ) -> Result<(), Misplaced> {
        self.value(shape, value, out, extent).map_err(|mut misplaced| {
            misplaced.path.push(step());
            misplaced
        })
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

fn extend(items: &[Val], out: &mut Vec<u8>) -> Result<(), String> {
    for item in items {
        let Val::U8(byte) = item else { return Err("a list of something else than bytes".to_owned()) };
        out.push(*byte);
    }
    Ok(())
}
