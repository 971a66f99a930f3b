//! Converts values to JSON that people read, and back.

use serde_json::Value;

use super::nodes::Node;
use super::reader::{DEPTH_MAX, Reader};
use super::types::Types;
use super::{DecodeError, EncodeError, Schema};

/// Whole numbers below this one are exact in an `f64`.
const EXACT_BELOW: f64 = 9_007_199_254_740_992.0;

/// Reads a value. It is not checked against the schema, so that a value which has to be corrected can be read.
///
/// # Errors
/// If the bytes are not JSON, or a number would have to be rounded.
pub(super) fn decode(bytes: &[u8]) -> Result<Value, DecodeError> {
    Reader::whole(bytes)
}

/// Appends a value to `out`.
///
/// # Errors
/// If it does not fit the schema.
pub(super) fn encode(schema: &Schema, value: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if is_too_deep(value, 0) {
        return Err(EncodeError(format!("the value is nested deeper than {DEPTH_MAX}")));
    }
    schema.check(value).map_err(|error| EncodeError(error.to_string()))?;
    let types = schema.types();
    whole_numbers(types, types.root(), value).map_err(|error| EncodeError(error.to_string()))?;
    out.extend(value.to_string().as_bytes());
    Ok(())
}

fn is_too_deep(value: &Value, depth: usize) -> bool {
    if depth > DEPTH_MAX {
        return true;
    }
    match value {
        Value::Array(items) => items.iter().any(|item| is_too_deep(item, depth + 1)),
        Value::Object(members) => members.values().any(|member| is_too_deep(member, depth + 1)),
        _ => false,
    }
}

/// Refuses numbers that are whole for the schema, but not for a component, because they have more than 64 bits. `value`
/// fits the schema.
fn whole_numbers(types: &Types, node: &Node, value: &Value) -> Result<(), DecodeError> {
    let inner = |node: usize, value: &Value, step: &dyn Fn() -> String| {
        whole_numbers(types, &types.nodes[node], value).map_err(|error| error.below(&step()))
    };
    match (node, value) {
        (Node::Integer, Value::Number(number)) => {
            let is_exact = number.as_f64().is_some_and(|number| number.fract() == 0.0 && number.abs() < EXACT_BELOW);
            if !number.is_i64() && (number.is_u64() || !is_exact) {
                return Err(DecodeError::misfit(format!("{number} does not fit an integer of 64 bits")));
            }
            Ok(())
        }
        (Node::Option { some, .. }, value) if !value.is_null() => whole_numbers(types, &types.nodes[*some], value),
        (Node::List(item), Value::Array(items)) => {
            let mut all = items.iter().enumerate();
            all.try_for_each(|(place, value)| inner(*item, value, &|| format!("[{place}]")))
        }
        (Node::Map(ty), Value::Object(members)) => {
            members.iter().try_for_each(|(name, value)| inner(*ty, value, &|| name.clone()))
        }
        (Node::Record(record), Value::Object(members)) => {
            let fields = record.properties.iter().filter(|property| property.slot.is_some());
            let mut found = fields.filter_map(|property| Some((property, members.get(&property.name)?)));
            found.try_for_each(|(property, value)| inner(property.node, value, &|| property.name.clone()))
        }
        (Node::Variant(variant), Value::Object(members)) => {
            let case = members.get(&variant.discriminator).and_then(Value::as_str);
            let found = variant.cases.iter().find(|(name, _)| Some(name.as_str()) == case);
            found.map_or(Ok(()), |(_, node)| whole_numbers(types, &types.nodes[*node], value))
        }
        _ => Ok(()),
    }
}
