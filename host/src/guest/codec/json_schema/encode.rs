//! Encodes a component's value as JSON, by the schema of its topic. Equal values have equal bytes: properties have the
//! schema's order, maps are ordered by name, and blanks and absent options are left out.

use heddle_contract::format::json_schema::Schema;
use heddle_contract::format::json_schema::nodes::{Node, Property, Record};
use heddle_contract::format::json_schema::reader::Reader;
use heddle_contract::format::json_schema::types::Types;
use heddle_contract::format::shape::{self, Shape, ShapeId, Shapes};
use wasmtime::component::Val;

use super::name_of;
use crate::guest::codec::Misplaced;

/// Writes one value of `schema`, whose shapes are `shapes`.
pub(in crate::guest::codec) fn encode(
    schema: &Schema,
    shapes: &Shapes,
    value: &Val,
    out: &mut Vec<u8>,
) -> Result<(), Misplaced> {
    let (start, types) = (out.len(), schema.types());
    Run { types, shapes }.value(shapes.root(), value, 0, out)?;
    if types.has_rules {
        let written = Reader::whole(&out[start..]).map_err(|error| error.to_string())?;
        schema.check(&written).map_err(|error| error.to_string())?;
    }
    Ok(())
}

type Encoded = Result<(), Misplaced>;

struct Run<'a> {
    types: &'a Types,
    shapes: &'a Shapes,
}

impl Run<'_> {
    fn value(&self, shape: ShapeId, value: &Val, depth: usize, out: &mut Vec<u8>) -> Encoded {
        match (self.shapes.get(shape), &self.types.nodes[self.shapes.origin(shape)], value) {
            (Shape::Json(_), _, Val::String(text)) => json(text, depth, out)?,
            (Shape::Null, _, Val::Enum(_)) | (Shape::Option(_), _, Val::Option(None)) => {
                out.extend_from_slice(b"null");
            }
            (Shape::Bool, _, Val::Bool(value)) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
            (Shape::S64(_), _, Val::S64(value)) => write(value, out),
            (Shape::F64, _, Val::Float64(value)) if value.is_finite() => write(value, out),
            (Shape::F64, _, Val::Float64(value)) => return Err(format!("{value} is not a number in JSON").into()),
            (Shape::String, _, Val::String(value)) => write(value, out),
            (Shape::Enum(target), Node::Enum(e), Val::Enum(label)) => {
                let found = target.symbols.iter().position(|symbol| symbol.label == *label);
                write(&e.symbols[found.ok_or_else(|| format!("there is no symbol `{label}`"))?], out);
            }
            (Shape::Option(some), _, Val::Option(Some(value))) => self.value(*some, value, depth, out)?,
            (Shape::List(item), _, Val::List(items)) => self.list(*item, items, depth, out)?,
            (Shape::Map { value: ty, .. }, _, Val::List(entries)) => self.map(*ty, entries, depth, out)?,
            (Shape::Record(target), Node::Record(record), Val::Record(values))
                if values.len() == target.fields.len() =>
            {
                self.record(target, record, values, depth, out)?;
            }
            (Shape::Record(target), Node::Record(record), Val::Enum(_)) if target.fields.is_empty() => {
                self.record(target, record, &[], depth, out)?;
            }
            (Shape::Variant(target), _, Val::Variant(label, Some(payload))) => {
                self.variant(target, (label, payload), depth, out)?;
            }
            _ => return Err(other_type()),
        }
        Ok(())
    }

    fn list(&self, item: ShapeId, items: &[Val], depth: usize, out: &mut Vec<u8>) -> Encoded {
        out.push(b'[');
        for (place, value) in items.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            self.value(item, value, depth + 1, out).map_err(|misplaced| misplaced.below(format!("[{place}]")))?;
        }
        out.push(b']');
        Ok(())
    }

    fn map(&self, ty: ShapeId, entries: &[Val], depth: usize, out: &mut Vec<u8>) -> Encoded {
        let mut sorted = entries.iter().collect::<Vec<_>>();
        sorted.sort_by(|a, b| name_of(a).cmp(name_of(b)));
        out.push(b'{');
        for (place, entry) in sorted.iter().enumerate() {
            let Val::Tuple(pair) = entry else { return Err(other_type()) };
            let [Val::String(name), value] = pair.as_slice() else { return Err(other_type()) };
            if place > 0 {
                if name_of(sorted[place - 1]) == name {
                    return Err(format!("the key `{name}` occurs twice").into());
                }
                out.push(b',');
            }
            write(name, out);
            out.push(b':');
            self.value(ty, value, depth + 1, out).map_err(|misplaced| misplaced.below(name.clone()))?;
        }
        out.push(b'}');
        Ok(())
    }

    fn record(
        &self,
        target: &shape::Record,
        record: &Record,
        values: &[(String, Val)],
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Encoded {
        out.push(b'{');
        let mut is_first = true;
        for property in &record.properties {
            let field = property.slot.map(|slot| (&target.fields[slot], &values[slot].1));
            if let (Some((_, Val::Option(None))), false) = (field, property.is_required) {
                continue;
            }
            if !std::mem::replace(&mut is_first, false) {
                out.push(b',');
            }
            write(&property.name, out);
            out.push(b':');
            match field {
                Some((field, value)) => self
                    .value(field.ty, value, depth + 1, out)
                    .map_err(|misplaced| misplaced.below(field.label.clone()))?,
                None => constant(property, out),
            }
        }
        out.push(b'}');
        Ok(())
    }

    fn variant(
        &self,
        target: &shape::Variant,
        (label, payload): (&String, &Val),
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Encoded {
        let found = target.cases.iter().position(|case| case.label == *label);
        let found = found.ok_or_else(|| format!("there is no case `{label}`"))?;
        let ty = target.cases[found].ty.ok_or_else(other_type)?;
        self.value(ty, payload, depth, out).map_err(|misplaced| misplaced.below(label.clone()))
    }
}

/// Writes the only value of a property.
fn constant(property: &Property, out: &mut Vec<u8>) {
    write(&property.constant, out);
}

/// Writes JSON that a component created, without its blanks. Numbers keep their notation.
fn json(text: &str, depth: usize, out: &mut Vec<u8>) -> Encoded {
    let not_json = |error: heddle_contract::format::json_schema::DecodeError| Misplaced::from(error.to_string());
    let mut reader = Reader::of_text(text);
    let raw = reader.raw(depth).map_err(not_json)?;
    reader.finish().map_err(not_json)?;
    let mut in_string = false;
    let mut is_escaped = false;
    for byte in raw.bytes() {
        if !in_string && matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            continue;
        }
        out.push(byte);
        if is_escaped {
            is_escaped = false;
        } else if in_string && byte == b'\\' {
            is_escaped = true;
        } else if byte == b'"' {
            in_string = !in_string;
        }
    }
    Ok(())
}

/// Writes a number, a text or a constant.
fn write(value: &impl serde::Serialize, out: &mut Vec<u8>) {
    // Writing to memory cannot fail, and these values are always valid.
    let _ = serde_json::to_writer(out, value);
}

fn other_type() -> Misplaced {
    "a value of another type than the contract's".to_owned().into()
}
