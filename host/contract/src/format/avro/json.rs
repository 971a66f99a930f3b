//! Converts values between Avro binary and JSON that people read and write.
//!
//! It is Avro's own JSON encoding with two liberties: a value of `["null", T]` needs no `{"T": …}` around it, and a
//! decimal is written plainly (`"12.34"`). As in Avro's encoding, bytes are strings of the code points 0-255. Numbers
//! that JSON does not have are the strings `"NaN"`, `"Infinity"` and `"-Infinity"`.
//!
//! An object with one key that is a branch's name (`{"map": …}` for a map or null) can be read in two ways. Avro's way
//! comes first. The object itself is the value only if that fails. A value that could be misread is written with its
//! branch, so the result of [`decode`] is always read back as the same value.

use serde_json::{Map, Number, Value};
use thiserror::Error;

use super::binary::{
    DEPTH_MAX, DecodeError, Extent, Reader, write_boolean, write_bytes, write_double, write_float, write_index,
    write_long,
};
use super::decimal;
use super::default::latin1;
use super::{Node, NodeId, OptionBranches, Record, Schema};

/// The maximum number of values in one value that are read in the second way. It bounds values that are ambiguous at
/// every level.
const RETRIES_MAX: u32 = 1_000;

/// The memory of a JSON value, in bytes.
pub(crate) const VALUE_BYTES: usize = size_of::<Value>();
/// The memory of a field without its name and its value, in bytes.
pub(crate) const FIELD_BYTES: usize = 64;

/// The number of digits that a JSON number always keeps. Numbers with more digits have to be written as a string.
const NUMBER_DIGITS_MAX: usize = 15;

/// The reason why a JSON value is not a value of the schema.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("at `{path}`: {what}")]
pub struct EncodeError {
    /// The place in the value: `items[2].price`. The value itself is `.`.
    pub path: String,
    /// The fault.
    pub what: String,
}

/// Writes `value` as Avro binary. A missing field gets its default, and an unknown field is refused.
///
/// # Errors
/// If the value does not fit the schema. The error has the place.
pub fn encode(schema: &Schema, value: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    encode_as(schema, schema.root(), value, out)
}

/// Writes `value` as a value of the type `ty` within `schema`.
///
/// # Errors
/// As [`encode`].
pub fn encode_as(schema: &Schema, ty: NodeId, value: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let (start, mut extent) = (out.len(), Extent::default());
    encode_part(schema, ty, value, out, &mut extent)?;
    extent.check(out.len() - start).map_err(|what| EncodeError { path: ".".to_owned(), what })
}

/// Writes `value` as a part of a larger value, which has `extent` so far.
///
/// # Errors
/// As [`encode`].
pub fn encode_part(
    schema: &Schema,
    ty: NodeId,
    value: &Value,
    out: &mut Vec<u8>,
    extent: &mut Extent,
) -> Result<(), EncodeError> {
    let mut encoder = Encoder { schema, path: vec![], out, retries_left: RETRIES_MAX, extent };
    encoder.value(ty, value).map_err(|what| EncodeError { path: show_path(&encoder.path), what })
}

/// Reads one whole value.
///
/// # Errors
/// If the bytes are not a value of the schema, or are followed by others.
pub fn decode(schema: &Schema, bytes: &[u8]) -> Result<Value, DecodeError> {
    let mut reader = Reader::new(bytes);
    let value = decode_value(schema, schema.root(), &mut reader, 0)?;
    reader.finish()?;
    Ok(value)
}

/// Converts a value to Avro's own JSON encoding, without this module's liberties. Within `["null", T]`, the branch is
/// named, too, and a decimal is its bytes. `value` is of the type `ty`, in the form of [`decode`].
#[must_use]
pub fn strict(schema: &Schema, ty: NodeId, value: Value) -> Value {
    match (schema.node(ty), value) {
        (Node::Decimal(kind), Value::String(text)) => {
            let mut bytes = vec![];
            match decimal::write(kind, &text, &mut bytes) {
                Ok(()) if kind.fixed.is_some() => show_bytes(&bytes),
                Ok(()) => Reader::new(&bytes).bytes().map_or(Value::Null, show_bytes),
                Err(_) => text.into(),
            }
        }
        (Node::Array(item), Value::Array(items)) => {
            items.into_iter().map(|value| strict(schema, *item, value)).collect::<Vec<_>>().into()
        }
        (Node::Map(ty), Value::Object(entries)) => {
            entries.into_iter().map(|(key, value)| (key, strict(schema, *ty, value))).collect::<Map<_, _>>().into()
        }
        (Node::Record(record), Value::Object(mut object)) => {
            for field in &record.fields {
                if let Some(value) = object.get_mut(&field.name) {
                    *value = strict(schema, field.ty, value.take());
                }
            }
            object.into()
        }
        (Node::Union(branches), value) if !value.is_null() => {
            if let Some(OptionBranches { ty, .. }) = schema.as_option(branches)
                && named(schema, branches, &value).is_none()
            {
                return Value::Object(Map::from_iter([(schema.describe(ty), strict(schema, ty, value))]));
            }
            let Value::Object(named) = value else { return value };
            let of = |name: &String| branches.iter().find(|branch| schema.describe(**branch) == *name);
            let inner = |(name, value): (String, Value)| match of(&name) {
                Some(branch) => (name, strict(schema, *branch, value)),
                None => (name, value),
            };
            named.into_iter().map(inner).collect::<Map<_, _>>().into()
        }
        (_, value) => value,
    }
}

fn show_path(path: &[String]) -> String {
    if path.is_empty() { ".".to_owned() } else { path.join(".").replace(".[", "[") }
}

struct Encoder<'a> {
    schema: &'a Schema,
    path: Vec<String>,
    out: &'a mut Vec<u8>,
    retries_left: u32,
    extent: &'a mut Extent,
}

impl Encoder<'_> {
    fn value(&mut self, ty: NodeId, value: &Value) -> Result<(), String> {
        self.extent.enter()?;
        let written = self.inner(ty, value);
        self.extent.leave();
        written
    }

    fn inner(&mut self, ty: NodeId, value: &Value) -> Result<(), String> {
        let schema = self.schema;
        let misfit = || format!("{} where {} is expected", shorten(value), schema.describe(ty));
        match schema.node(ty) {
            Node::Null => return if value.is_null() { Ok(()) } else { Err(misfit()) },
            Node::Boolean => write_boolean(value.as_bool().ok_or_else(misfit)?, self.out),
            Node::Int(_) => {
                let number = value.as_i64().and_then(|number| i32::try_from(number).ok());
                write_long(number.ok_or_else(misfit)?.into(), self.out);
            }
            Node::Long(_) => write_long(value.as_i64().ok_or_else(misfit)?, self.out),
            Node::Float => write_float(single(float(value).ok_or_else(misfit)?).ok_or_else(misfit)?, self.out),
            Node::Double => write_double(float(value).ok_or_else(misfit)?, self.out),
            Node::String { .. } => write_bytes(value.as_str().ok_or_else(misfit)?.as_bytes(), self.out),
            Node::Bytes => write_bytes(&latin1(value).ok_or_else(misfit)?, self.out),
            Node::Fixed(fixed) => {
                let bytes = latin1(value).filter(|bytes| bytes.len() == fixed.size);
                self.out.extend(bytes.ok_or_else(|| format!("{} of {} bytes", misfit(), fixed.size))?);
            }
            Node::Decimal(kind) => {
                let text = match value {
                    Value::String(text) => text.clone(),
                    Value::Number(number) => decimal_digits(number).ok_or_else(|| {
                        format!("the number {number} may have lost digits; write the decimal as a string")
                    })?,
                    _ => return Err(misfit()),
                };
                decimal::write(kind, &text, self.out).map_err(|e| e.to_string())?;
            }
            Node::Enum(e) => {
                let symbol = value.as_str().ok_or_else(misfit)?;
                let index = e.symbols.iter().position(|s| s == symbol);
                write_index(index.ok_or_else(|| format!("{}: {}", misfit(), e.symbols.join(", ")))?, self.out);
            }
            Node::Array(item) => self.array(*item, value.as_array().ok_or_else(misfit)?)?,
            Node::Map(ty) => self.map(*ty, value.as_object().ok_or_else(misfit)?)?,
            Node::Union(branches) => self.union(branches, value).map_err(|e| e.unwrap_or_else(misfit))?,
            Node::Record(record) => self.record(record, value.as_object().ok_or_else(misfit)?)?,
        }
        Ok(())
    }

    fn array(&mut self, item: NodeId, items: &[Value]) -> Result<(), String> {
        self.extent.add_items(items.len());
        if !items.is_empty() {
            write_index(items.len(), self.out);
        }
        for (place, value) in items.iter().enumerate() {
            self.at(format!("[{place}]"), item, value)?;
        }
        self.out.push(0);
        Ok(())
    }

    fn map(&mut self, ty: NodeId, entries: &Map<String, Value>) -> Result<(), String> {
        self.extent.add_items(entries.len());
        if !entries.is_empty() {
            write_index(entries.len(), self.out);
        }
        for (key, value) in entries {
            write_bytes(key.as_bytes(), self.out);
            self.at(key.clone(), ty, value)?;
        }
        self.out.push(0);
        Ok(())
    }

    fn record(&mut self, record: &Record, object: &Map<String, Value>) -> Result<(), String> {
        self.extent.add_record();
        let known = |key: &String| record.fields.iter().any(|field| field.name == *key);
        if let Some(unknown) = object.keys().find(|key| !known(key)) {
            return Err(format!("{} has no field `{unknown}`", record.name));
        }
        for field in &record.fields {
            match (object.get(&field.name), &field.default) {
                (Some(value), _) => self.at(field.name.clone(), field.ty, value)?,
                (None, Some(default)) => super::default::encode(self.schema, field.ty, default, self.out)?,
                (None, None) => return Err(format!("the field `{}` of {} is missing", field.name, record.name)),
            }
        }
        Ok(())
    }

    fn union(&mut self, branches: &[NodeId], value: &Value) -> Result<(), Option<String>> {
        let plain = plain(self.schema, branches, value);
        let Some((index, inner)) = named(self.schema, branches, value) else {
            let index = plain.ok_or(None)?;
            return self.branch(branches, index, value).map_err(Some);
        };
        let (start, depth, extent) = (self.out.len(), self.path.len(), *self.extent);
        let Err(why) = self.branch(branches, index, inner) else { return Ok(()) };
        let Some(plain) = plain.filter(|_| self.retries_left > 0) else { return Err(Some(why)) };
        // The object only looks as if it named its branch.
        self.retries_left -= 1;
        self.out.truncate(start);
        *self.extent = extent;
        let path = self.path.clone();
        self.path.truncate(depth);
        self.branch(branches, plain, value).map_err(|_| {
            self.path = path;
            Some(why)
        })
    }

    fn branch(&mut self, branches: &[NodeId], index: usize, value: &Value) -> Result<(), String> {
        write_index(index, self.out);
        self.value(branches[index], value)
    }

    fn at(&mut self, step: String, ty: NodeId, value: &Value) -> Result<(), String> {
        self.path.push(step);
        self.value(ty, value)?;
        self.path.pop();
        Ok(())
    }
}

fn shorten(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 40 { text } else { format!("{}…", text.chars().take(40).collect::<String>()) }
}

fn float(value: &Value) -> Option<f64> {
    match value.as_str() {
        Some("NaN") => Some(f64::NAN),
        Some("Infinity") => Some(f64::INFINITY),
        Some("-Infinity") => Some(f64::NEG_INFINITY),
        Some(_) => None,
        None => value.as_f64(),
    }
}

/// The nearest float; `None` if the value is out of range.
fn single(value: f64) -> Option<f32> {
    let single = value as f32;
    (single.is_finite() || !value.is_finite()).then_some(single)
}

/// The digits of a number, if a JSON number keeps all of them.
fn decimal_digits(number: &Number) -> Option<String> {
    let text = number.to_string();
    let digits = text.split(['e', 'E']).next()?.bytes().filter(u8::is_ascii_digit).count();
    (number.is_i64() || number.is_u64() || digits <= NUMBER_DIGITS_MAX).then_some(text)
}

fn decode_value(schema: &Schema, ty: NodeId, reader: &mut Reader<'_>, depth: usize) -> Result<Value, DecodeError> {
    if depth > DEPTH_MAX {
        return Err(DecodeError::TooDeep(reader.at()));
    }
    let depth = depth + 1;
    reader.hold(VALUE_BYTES)?;
    Ok(match schema.node(ty) {
        Node::Null => Value::Null,
        Node::Boolean => reader.boolean()?.into(),
        Node::Int(_) => reader.int()?.into(),
        Node::Long(_) => reader.long()?.into(),
        Node::Float => show_float(reader.float()?),
        Node::Double => show_double(reader.double()?),
        Node::String { .. } => reader.string()?.into(),
        Node::Bytes => show_bytes(reader.bytes()?),
        Node::Fixed(fixed) => show_bytes(reader.take(fixed.size)?),
        Node::Decimal(kind) => decimal::read(kind, reader)?.into(),
        Node::Enum(e) => e.symbols[reader.index("enum symbol", e.symbols.len())?].clone().into(),
        Node::Array(item) => {
            let mut items = vec![];
            reader.blocks(|reader| {
                items.push(decode_value(schema, *item, reader, depth)?);
                Ok(())
            })?;
            items.into()
        }
        Node::Map(ty) => {
            let mut entries = Map::new();
            reader.blocks(|reader| {
                let key = reader.string()?.to_owned();
                entries.insert(key, decode_value(schema, *ty, reader, depth)?);
                Ok(())
            })?;
            entries.into()
        }
        Node::Union(branches) => {
            let branch = branches[reader.index("union branch", branches.len())?];
            let value = decode_value(schema, branch, reader, depth)?;
            self::branch(schema, branches, branch, value)
        }
        Node::Record(record) => {
            reader.step(1)?;
            let mut object = Map::new();
            for field in &record.fields {
                reader.hold(FIELD_BYTES + field.name.len())?;
                object.insert(field.name.clone(), decode_value(schema, field.ty, reader, depth)?);
            }
            object.into()
        }
    })
}

/// Formats the value of a union. Null, and the only other branch if it cannot be misread, stand alone. Any other value
/// is in an object that names the branch.
pub(crate) fn branch(schema: &Schema, branches: &[NodeId], branch: NodeId, value: Value) -> Value {
    let is_plain = *schema.node(branch) == Node::Null
        || (schema.as_option(branches).is_some() && named(schema, branches, &value).is_none());
    if is_plain { value } else { Value::Object(Map::from_iter([(schema.describe(branch), value)])) }
}

/// The branch that `value` names, as in Avro's own JSON, and the value inside.
fn named<'v>(schema: &Schema, branches: &[NodeId], value: &'v Value) -> Option<(usize, &'v Value)> {
    let object = value.as_object().filter(|object| object.len() == 1)?;
    let (name, inner) = object.iter().next()?;
    let index = branches.iter().position(|branch| schema.describe(*branch) == *name)?;
    Some((index, inner))
}

/// The branch of a value that names none: null, or the only other branch.
fn plain(schema: &Schema, branches: &[NodeId], value: &Value) -> Option<usize> {
    let null = || branches.iter().position(|branch| *schema.node(*branch) == Node::Null);
    let null = if value.is_null() { null() } else { None };
    null.or_else(|| Some(schema.as_option(branches)?.some))
}

pub(crate) fn show_bytes(bytes: &[u8]) -> Value {
    bytes.iter().map(|byte| char::from(*byte)).collect::<String>().into()
}

pub(crate) fn show_double(value: f64) -> Value {
    Number::from_f64(value).map_or_else(|| odd_number(value.is_nan(), value > 0.0), Value::Number)
}

/// The shortest digits of a float, instead of those of the equal double.
pub(crate) fn show_float(value: f32) -> Value {
    let shortest = value.to_string().parse().ok().and_then(Number::from_f64);
    shortest.map_or_else(|| odd_number(value.is_nan(), value > 0.0), Value::Number)
}

fn odd_number(nan: bool, positive: bool) -> Value {
    let text = if nan {
        "NaN"
    } else if positive {
        "Infinity"
    } else {
        "-Infinity"
    };
    text.into()
}
