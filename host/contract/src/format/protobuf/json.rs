//! Converts messages to JSON and back, by Protobuf's own mapping. Handlers' values are not converted here, but along
//! the layout.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage as _, Value};

use super::wire::{Wire, write_bytes, write_tag, write_varint, zigzag};
use super::{DecodeError, EncodeError};

/// Reads a message as JSON.
///
/// # Errors
/// If the bytes are not such a message.
pub fn decode(message: &MessageDescriptor, bytes: &[u8]) -> Result<serde_json::Value, DecodeError> {
    let failed = |what: String| DecodeError::Json(what);
    let message = DynamicMessage::decode(message.clone(), bytes).map_err(|e| failed(e.to_string()))?;
    let mut json = serde_json::to_value(&message).map_err(|e| failed(e.to_string()))?;
    sort_maps(&message.descriptor(), &mut json);
    Ok(json)
}

/// Sorts the entries of maps, so that the same message has the same JSON. `prost-reflect` does not keep their order.
fn sort_maps(message: &MessageDescriptor, json: &mut serde_json::Value) {
    if ["google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue"].contains(&message.full_name()) {
        return json.sort_all_objects();
    }
    let serde_json::Value::Object(object) = json else { return };
    for (name, value) in object {
        let Some(field) = message.get_field_by_json_name(name) else { continue };
        match (field.kind(), value) {
            (Kind::Message(entry), serde_json::Value::Object(entries)) if field.is_map() => {
                entries.sort_keys();
                if let Kind::Message(inner) = entry.map_entry_value_field().kind() {
                    entries.values_mut().for_each(|value| sort_maps(&inner, value));
                }
            }
            (Kind::Message(inner), serde_json::Value::Array(items)) => {
                items.iter_mut().for_each(|item| sort_maps(&inner, item));
            }
            (Kind::Message(inner), value) => sort_maps(&inner, value),
            _ => {}
        }
    }
}

/// Appends a message to `out`: fields ordered by number, numbers packed where the schema says so, maps ordered by key.
///
/// # Errors
/// If the JSON is not such a message.
pub fn encode(message: &MessageDescriptor, json: &serde_json::Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let message = DynamicMessage::deserialize(message.clone(), json).map_err(|e| EncodeError(e.to_string()))?;
    write_message(&message, out);
    Ok(())
}

/// Writes the fields of a message.
fn write_message(message: &DynamicMessage, out: &mut Vec<u8>) {
    let mut fields = message.fields().collect::<Vec<_>>();
    fields.sort_by_key(|(field, _)| field.number());
    for (field, value) in fields {
        write_field(&field, value, out);
    }
}

fn write_field(field: &FieldDescriptor, value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::List(items) if items.is_empty() => {}
        Value::List(items) if field.is_packed() => {
            write_tag(field.number(), Wire::Delimited, out);
            delimited(out, |out| items.iter().for_each(|item| write_value(&field.kind(), item, out)));
        }
        Value::List(items) => items.iter().for_each(|item| write_single(field, item, out)),
        Value::Map(entries) => {
            let Kind::Message(entry) = field.kind() else { return };
            let (key_field, value_field) = (entry.map_entry_key_field(), entry.map_entry_value_field());
            let mut entries = entries.iter().collect::<Vec<_>>();
            entries.sort_by_key(|(key, _)| *key);
            for (key, value) in entries {
                write_tag(field.number(), Wire::Delimited, out);
                delimited(out, |out| {
                    write_single(&key_field, &of_key(key), out);
                    write_single(&value_field, value, out);
                });
            }
        }
        value if !field.supports_presence() && value.is_default_for_field(field) => {}
        value => write_single(field, value, out),
    }
}

fn of_key(key: &MapKey) -> Value {
    key.clone().into()
}

fn write_single(field: &FieldDescriptor, value: &Value, out: &mut Vec<u8>) {
    write_tag(field.number(), wire_of(&field.kind()), out);
    write_value(&field.kind(), value, out);
}

fn wire_of(kind: &Kind) -> Wire {
    match kind {
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => Wire::Fixed64,
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => Wire::Fixed32,
        Kind::String | Kind::Bytes | Kind::Message(_) => Wire::Delimited,
        _ => Wire::Varint,
    }
}

fn write_value(kind: &Kind, value: &Value, out: &mut Vec<u8>) {
    match (value, kind) {
        (Value::Bool(value), _) => write_varint(u64::from(*value), out),
        (Value::I32(value), Kind::Sint32) => write_varint(zigzag((*value).into()), out),
        (Value::I32(value), Kind::Sfixed32) => out.extend(value.to_le_bytes()),
        (Value::I32(value) | Value::EnumNumber(value), _) => write_varint(i64::from(*value).cast_unsigned(), out),
        (Value::I64(value), Kind::Sint64) => write_varint(zigzag(*value), out),
        (Value::I64(value), Kind::Sfixed64) => out.extend(value.to_le_bytes()),
        (Value::I64(value), _) => write_varint(value.cast_unsigned(), out),
        (Value::U32(value), Kind::Fixed32) => out.extend(value.to_le_bytes()),
        (Value::U32(value), _) => write_varint((*value).into(), out),
        (Value::U64(value), Kind::Fixed64) => out.extend(value.to_le_bytes()),
        (Value::U64(value), _) => write_varint(*value, out),
        (Value::F32(value), _) => out.extend(value.to_le_bytes()),
        (Value::F64(value), _) => out.extend(value.to_le_bytes()),
        (Value::String(value), _) => write_bytes(value.as_bytes(), out),
        (Value::Bytes(value), _) => write_bytes(value, out),
        (Value::Message(message), _) => delimited(out, |out| write_message(message, out)),
        // Lists and maps are fields, and never values within a list or map.
        (Value::List(_) | Value::Map(_), _) => {}
    }
}

fn delimited(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = vec![];
    write(&mut inner);
    write_bytes(&inner, out);
}
