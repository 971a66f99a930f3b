//! Avro schemas in the registry.

use serde_json::{Map, Value, json};

use super::{Library, Schema, text};
use crate::format::Referred;

/// The name of the parsed schema among those to which it refers.
const SELF: &str = "the schema";
/// The order of a definition's attributes, as in Avro's canonical form. Other attributes follow by name.
const ORDER: [&str; 11] =
    ["name", "type", "doc", "fields", "symbols", "items", "values", "size", "default", "order", "aliases"];

pub(crate) fn parse(text: &str, referred: &[Referred]) -> Result<Schema, String> {
    library(text, referred)?.schema(SELF).map_err(|e| e.to_string())
}

/// Like [`parse`], but drops invalid defaults.
pub(crate) fn parse_kept(text: &str, referred: &[Referred]) -> Result<Schema, String> {
    library(text, referred)?.schema_of_writer(SELF).map_err(|e| e.to_string())
}

fn library(text: &str, referred: &[Referred]) -> Result<Library, String> {
    let mut library = Library::default();
    for (place, schema) in referred.iter().enumerate() {
        library.add(&format!("{} ({place})", schema.name), &schema.text).map_err(|e| e.to_string())?;
    }
    library.add(SELF, text).map_err(|e| e.to_string())?;
    Ok(library)
}

pub(crate) fn canonical(text: &str, normalize: bool) -> Result<String, String> {
    let value = match text::json(text) {
        Ok(value) => value,
        // Some clients name a primitive type without quotes, like `string`.
        Err(_)
            if text.trim().chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
                && !text.trim().is_empty() =>
        {
            json!(text.trim())
        }
        Err(error) => return Err(error.to_string()),
    };
    Ok(if normalize { normal(&value, "") } else { value }.to_string())
}

/// Normalizes a schema: full names, short forms, attributes in one order. Equal schemas get equal texts.
fn normal(ty: &Value, namespace: &str) -> Value {
    match ty {
        Value::Array(branches) => branches.iter().map(|branch| normal(branch, namespace)).collect(),
        Value::Object(object) => normal_object(object, namespace),
        Value::String(name) => json!(full(name, None, namespace)),
        other => other.clone(),
    }
}

fn full(name: &str, own: Option<&str>, around: &str) -> String {
    const PRIMITIVES: [&str; 8] = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];
    let namespace = own.unwrap_or(around);
    if name.contains('.') || namespace.is_empty() || (own.is_none() && PRIMITIVES.contains(&name)) {
        name.trim_start_matches('.').to_owned()
    } else {
        format!("{namespace}.{name}")
    }
}

fn normal_object(object: &Map<String, Value>, namespace: &str) -> Value {
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    if let (1, Some(ty)) = (object.len(), object.get("type")) {
        return normal(ty, namespace);
    }
    let is_named = matches!(text("type"), Some("record" | "error" | "enum" | "fixed"));
    let name = text("name").filter(|_| is_named).map(|name| full(name, text("namespace").or(Some(namespace)), ""));
    let inside = name.as_deref().map_or(namespace, |name| name.rsplit_once('.').map_or("", |(space, _)| space));
    let mut out = Map::new();
    for (key, value) in object {
        let value = match (key.as_str(), value) {
            ("namespace", _) if is_named => continue,
            ("name", _) if is_named => json!(name),
            ("items" | "values", ty) => normal(ty, inside),
            ("type", Value::Object(_) | Value::Array(_)) => normal(value, inside),
            ("type", Value::String(name)) if !is_named && !["array", "map"].contains(&name.as_str()) => {
                json!(full(name, None, namespace))
            }
            ("fields", Value::Array(fields)) => fields.iter().map(|field| normal_field(field, inside)).collect(),
            (_, value) => value.clone(),
        };
        out.insert(key.clone(), value);
    }
    ordered(out)
}

fn normal_field(field: &Value, namespace: &str) -> Value {
    let Some(object) = field.as_object() else { return field.clone() };
    let mut out = object.clone();
    if let Some(ty) = out.get_mut("type") {
        *ty = normal(ty, namespace);
    }
    ordered(out)
}

fn ordered(object: Map<String, Value>) -> Value {
    let mut entries = object.into_iter().collect::<Vec<_>>();
    let place = |key: &str| ORDER.iter().position(|known| *known == key).unwrap_or(ORDER.len());
    entries.sort_by(|(a, _), (b, _)| (place(a), a).cmp(&(place(b), b)));
    Value::Object(entries.into_iter().collect())
}
