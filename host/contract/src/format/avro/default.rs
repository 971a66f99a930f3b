//! Converts defaults of fields from JSON to Avro binary, by the specification's table of field defaults.
//!
//! Bytes are a string of the code points 0-255. A union's default is a value of the first branch that it fits.

use serde_json::Value;

use super::binary::{DEPTH_MAX, write_boolean, write_bytes, write_double, write_float, write_index, write_long};
use super::{Node, NodeId, Schema};

/// The maximum number of values that are tried for one default. Nested unions may cause any number of attempts, and
/// records whose fields have defaults any number of values.
const TRIES_MAX: u32 = 100_000;
/// The maximum number of a text's characters in messages.
const TEXT_CHARS_SHOWN: usize = 40;

/// Writes the default `value` of type `ty`.
///
/// # Errors
/// If the value does not fit the type. The error has the reason.
pub fn encode(schema: &Schema, ty: NodeId, value: &Value, out: &mut Vec<u8>) -> Result<(), String> {
    Encoder { schema, tries_left: TRIES_MAX }.value(ty, value, out, 0)
}

struct Encoder<'s> {
    schema: &'s Schema,
    tries_left: u32,
}

impl Encoder<'_> {
    /// Writes a value. `depth` bounds records that are their own default, field by field, endlessly.
    fn value(&mut self, ty: NodeId, value: &Value, out: &mut Vec<u8>, depth: usize) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(format!("it is nested more than {DEPTH_MAX} deep"));
        }
        self.tries_left = self.tries_left.checked_sub(1).ok_or("it has too many values, or fits too many branches")?;
        let (schema, depth) = (self.schema, depth + 1);
        let misfit = || format!("{} is not a value of {}", shown(value), schema.describe(ty));
        let long = || value.as_i64().ok_or_else(misfit);
        match schema.node(ty) {
            Node::Null => return if value.is_null() { Ok(()) } else { Err(misfit()) },
            Node::Boolean => write_boolean(value.as_bool().ok_or_else(misfit)?, out),
            Node::Int(_) => write_long(i32::try_from(long()?).map_err(|_| misfit())?.into(), out),
            Node::Long(_) => write_long(long()?, out),
            Node::Float => write_float(value.as_f64().ok_or_else(misfit)? as f32, out),
            Node::Double => write_double(value.as_f64().ok_or_else(misfit)?, out),
            Node::String { .. } => write_bytes(value.as_str().ok_or_else(misfit)?.as_bytes(), out),
            Node::Bytes => write_bytes(&latin1(value).ok_or_else(misfit)?, out),
            Node::Fixed(fixed) => encode_fixed(&latin1(value).ok_or_else(misfit)?, fixed.size, out)?,
            Node::Decimal(decimal) => {
                let bytes = latin1(value).ok_or_else(misfit)?;
                match &decimal.fixed {
                    Some(fixed) => encode_fixed(&bytes, fixed.size, out)?,
                    None => write_bytes(&bytes, out),
                }
            }
            Node::Enum(e) => {
                let symbol = value.as_str().ok_or_else(misfit)?;
                write_index(e.symbols.iter().position(|s| s == symbol).ok_or_else(misfit)?, out);
            }
            Node::Array(item) => {
                let items = value.as_array().ok_or_else(misfit)?;
                if !items.is_empty() {
                    write_index(items.len(), out);
                    items.iter().try_for_each(|value| self.value(*item, value, out, depth))?;
                }
                out.push(0);
            }
            Node::Map(ty) => {
                let entries = value.as_object().ok_or_else(misfit)?;
                if !entries.is_empty() {
                    write_index(entries.len(), out);
                    for (key, value) in entries {
                        write_bytes(key.as_bytes(), out);
                        self.value(*ty, value, out, depth)?;
                    }
                }
                out.push(0);
            }
            Node::Union(branches) => return self.union(branches, value, out, depth).ok_or_else(misfit),
            Node::Record(record) => {
                let object = value.as_object().ok_or_else(misfit)?;
                for field in &record.fields {
                    let value = object.get(&field.name).or(field.default.as_ref());
                    let value = value.ok_or_else(|| format!("there is no value for the field `{}`", field.name))?;
                    self.value(field.ty, value, out, depth)?;
                }
            }
        }
        Ok(())
    }

    fn union(&mut self, branches: &[NodeId], value: &Value, out: &mut Vec<u8>, depth: usize) -> Option<()> {
        for (index, branch) in branches.iter().enumerate() {
            let mut attempt = Vec::new();
            if self.value(*branch, value, &mut attempt, depth).is_ok() {
                write_index(index, out);
                out.extend(attempt);
                return Some(());
            }
        }
        None
    }
}

/// Formats a value for a message. It is short, because there may be a message for each try.
fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::String(text) if text.chars().nth(TEXT_CHARS_SHOWN).is_some() => {
            format!("\"{}…\"", text.chars().take(TEXT_CHARS_SHOWN).collect::<String>())
        }
        _ => value.to_string(),
    }
}

fn encode_fixed(bytes: &[u8], size: usize, out: &mut Vec<u8>) -> Result<(), String> {
    if bytes.len() != size {
        return Err(format!("{} bytes where there must be {size}", bytes.len()));
    }
    out.extend_from_slice(bytes);
    Ok(())
}

/// The bytes of a JSON string of code points up to 255.
pub(super) fn latin1(value: &Value) -> Option<Vec<u8>> {
    value.as_str()?.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}
