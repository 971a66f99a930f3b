//! Encodes a component's value as a Protobuf message. Equal values have equal bytes: fields are ordered by number,
//! numbers are packed where the schema says so, maps are ordered by key, and zeros are left out.

use heddle_contract::format::protobuf::types::{Enum, Field, Kind, Label, Scalar, Types};
use heddle_contract::format::protobuf::wire::{Wire, write_bytes, write_delimited, write_tag, write_varint, zigzag};
use heddle_contract::format::protobuf::{Schema, json};
use heddle_contract::format::shape::{Shape, ShapeId, Shapes};
use wasmtime::component::Val;

use super::{compare_keys, key_of};
use crate::guest::codec::Misplaced;

/// Writes one value of `schema` after its message indexes.
pub(in crate::guest::codec) fn encode(
    schema: &Schema,
    shapes: &Shapes,
    value: &Val,
    out: &mut Vec<u8>,
) -> Result<(), Misplaced> {
    let types = schema.types();
    let run = Run { types, shapes };
    if let ([only], _) | ([only, ..], false) = (types.roots.as_slice(), schema.is_union()) {
        schema.write_indexes(0, out);
        return run.message(*only, value, out);
    }
    let (Shape::Variant(variant), Val::Variant(label, Some(payload))) = (shapes.get(shapes.root()), value) else {
        return Err(other_type());
    };
    let case = variant.cases.iter().position(|case| case.label == *label).ok_or_else(other_type)?;
    schema.write_indexes(case, out);
    run.message(types.roots[case], payload, out).map_err(|misplaced| misplaced.below(label.clone()))
}

type Encoded = Result<(), Misplaced>;

struct Run<'a> {
    types: &'a Types,
    shapes: &'a Shapes,
}

impl Run<'_> {
    fn message(&self, id: usize, value: &Val, out: &mut Vec<u8>) -> Encoded {
        let message = &self.types.messages[id];
        if message.slots.is_empty() {
            return if let Val::Enum(_) = value { Ok(()) } else { Err(other_type()) };
        }
        let Val::Record(values) = value else { return Err(other_type()) };
        if values.len() != message.slots.len() {
            return Err(other_type());
        }
        for field in &message.fields {
            let (name, value) = &values[field.slot];
            let variant = message.slots[field.slot].variant;
            self.field(field, variant, value, out).map_err(|misplaced| misplaced.below(name.clone()))?;
        }
        Ok(())
    }

    fn field(&self, field: &Field, variant: Option<ShapeId>, value: &Val, out: &mut Vec<u8>) -> Encoded {
        match (field.label, field.case, value) {
            (_, Some(case), Val::Option(value)) => {
                let Some(value) = value else { return Ok(()) };
                let (Some(Shape::Variant(variant)), Val::Variant(name, Some(payload))) =
                    (variant.map(|variant| self.shapes.get(variant)), &**value)
                else {
                    return Err(other_type());
                };
                if variant.cases[case].label != *name {
                    return Ok(());
                }
                self.tagged(field, payload, out).map_err(|misplaced| misplaced.below(name.clone()))
            }
            (Label::Explicit, None, Val::Option(None)) => Ok(()),
            (Label::Explicit, None, Val::Option(Some(value))) => self.tagged(field, value, out),
            (Label::Required, None, value) => self.tagged(field, value, out),
            (Label::Implicit, None, value) => {
                if self.is_zero(field, value) {
                    Ok(())
                } else {
                    self.tagged(field, value, out)
                }
            }
            (Label::Repeated { packed }, None, Val::List(items)) => self.repeated(field, packed, items, out),
            (Label::Map(key), None, Val::List(entries)) => self.map(field, key, entries, out),
            _ => Err(other_type()),
        }
    }

    fn repeated(&self, field: &Field, packed: bool, items: &[Val], out: &mut Vec<u8>) -> Encoded {
        let each = |(place, item): (usize, &Val), out: &mut Vec<u8>| {
            let written = if packed { self.value(field, item, out) } else { self.tagged(field, item, out) };
            written.map_err(|misplaced| misplaced.below(format!("[{place}]")))
        };
        if items.is_empty() || !packed {
            return items.iter().enumerate().try_for_each(|item| each(item, out));
        }
        write_tag(field.number, Wire::Delimited, out);
        write_delimited(out, |out| items.iter().enumerate().try_for_each(|item| each(item, out)))
    }

    fn map(&self, field: &Field, key: Scalar, entries: &[Val], out: &mut Vec<u8>) -> Encoded {
        let mut sorted = entries.iter().collect::<Vec<_>>();
        sorted.sort_by(|a, b| compare_keys(key_of(a), key_of(b)));
        if let Some(pair) = sorted.windows(2).find(|pair| compare_keys(key_of(pair[0]), key_of(pair[1])).is_eq()) {
            return Err(format!("the key {} occurs twice", shown(key_of(pair[0]))).into());
        }
        for entry in sorted {
            let Val::Tuple(pair) = entry else { return Err(other_type()) };
            let [name, value] = pair.as_slice() else { return Err(other_type()) };
            write_tag(field.number, Wire::Delimited, out);
            write_delimited(out, |out| {
                write_tag(1, key.wire(), out);
                scalar(key, name, out)?;
                write_tag(2, field.kind.wire(), out);
                self.value(field, value, out).map_err(|misplaced| misplaced.below(shown(name)))
            })?;
        }
        Ok(())
    }

    fn tagged(&self, field: &Field, value: &Val, out: &mut Vec<u8>) -> Encoded {
        write_tag(field.number, field.kind.wire(), out);
        self.value(field, value, out)
    }

    /// Writes one value, without its tag.
    fn value(&self, field: &Field, value: &Val, out: &mut Vec<u8>) -> Encoded {
        match field.kind {
            Kind::Scalar(kind) => scalar(kind, value, out),
            Kind::Enum(id) => {
                let number = self.number(&self.types.enums[id], value).ok_or_else(other_type)?;
                write_varint(i64::from(number).cast_unsigned(), out);
                Ok(())
            }
            Kind::Message(id) => write_delimited(out, |out| self.message(id, value, out)),
            Kind::Text(id) => {
                let Val::String(text) = value else { return Err(other_type()) };
                let value = serde_json::from_str(text).map_err(|e| format!("not JSON: {e}"))?;
                write_delimited(out, |out| {
                    json::encode(&self.types.texts[id], &value, out).map_err(|e| Misplaced::from(e.to_string()))
                })
            }
            Kind::Wrapper(kind) => write_delimited(out, |out| {
                if is_zero_scalar(value) {
                    return Ok(());
                }
                write_tag(1, kind.wire(), out);
                scalar(kind, value, out)
            }),
        }
    }

    fn number(&self, e: &Enum, value: &Val) -> Option<i32> {
        let Shape::Enum(shape) = self.shapes.get(e.shape) else { return None };
        let named = |name: &String| {
            let place = shape.symbols.iter().position(|symbol| symbol.label == *name)?;
            e.numbers.get(place).copied()
        };
        match value {
            Val::Enum(name) | Val::Variant(name, None) => named(name),
            Val::Variant(_, Some(number)) => {
                if let Val::S32(number) = **number {
                    Some(number)
                } else {
                    None
                }
            }
            _ => None,
        }
    }

    fn is_zero(&self, field: &Field, value: &Val) -> bool {
        match field.kind {
            Kind::Enum(id) => self.number(&self.types.enums[id], value) == Some(0),
            _ => is_zero_scalar(value),
        }
    }
}

fn other_type() -> Misplaced {
    "a value of another type than the contract's".to_owned().into()
}

/// Formats a map's key for messages.
fn shown(key: &Val) -> String {
    match key {
        Val::String(text) => format!("`{text}`"),
        Val::S32(number) => number.to_string(),
        Val::S64(number) => number.to_string(),
        Val::U32(number) => number.to_string(),
        Val::U64(number) => number.to_string(),
        Val::Bool(value) => value.to_string(),
        _ => "?".to_owned(),
    }
}

fn scalar(kind: Scalar, value: &Val, out: &mut Vec<u8>) -> Encoded {
    match (kind, value) {
        (Scalar::Sint32, Val::S32(value)) => write_varint(u64::from(zigzag((*value).into()) as u32), out),
        (Scalar::Sfixed32, Val::S32(value)) => out.extend(value.to_le_bytes()),
        (Scalar::Int32, Val::S32(value)) => write_varint(i64::from(*value).cast_unsigned(), out),
        (Scalar::Sint64, Val::S64(value)) => write_varint(zigzag(*value), out),
        (Scalar::Sfixed64, Val::S64(value)) => out.extend(value.to_le_bytes()),
        (Scalar::Int64, Val::S64(value)) => write_varint(value.cast_unsigned(), out),
        (Scalar::Fixed32, Val::U32(value)) => out.extend(value.to_le_bytes()),
        (Scalar::Uint32, Val::U32(value)) => write_varint((*value).into(), out),
        (Scalar::Fixed64, Val::U64(value)) => out.extend(value.to_le_bytes()),
        (Scalar::Uint64, Val::U64(value)) => write_varint(*value, out),
        (Scalar::Bool, Val::Bool(value)) => write_varint(u64::from(*value), out),
        (Scalar::Float, Val::Float32(value)) => out.extend(value.to_le_bytes()),
        (Scalar::Double, Val::Float64(value)) => out.extend(value.to_le_bytes()),
        (Scalar::String, Val::String(value)) => write_bytes(value.as_bytes(), out),
        (Scalar::Bytes, Val::List(items)) => {
            write_varint(items.len() as u64, out);
            for item in items {
                let Val::U8(byte) = item else { return Err(other_type()) };
                out.push(*byte);
            }
        }
        _ => return Err(other_type()),
    }
    Ok(())
}

fn is_zero_scalar(value: &Val) -> bool {
    match value {
        Val::S32(value) => *value == 0,
        Val::S64(value) => *value == 0,
        Val::U32(value) => *value == 0,
        Val::U64(value) => *value == 0,
        Val::Bool(value) => !*value,
        // A negative zero is another value.
        Val::Float32(value) => value.to_bits() == 0,
        Val::Float64(value) => value.to_bits() == 0,
        Val::String(text) => text.is_empty(),
        Val::List(items) => items.is_empty(),
        _ => false,
    }
}
