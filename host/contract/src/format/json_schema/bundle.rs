//! Bundles a JSON Schema with the schemas to which it refers, so that `$ref`s to them resolve within one document.

use serde_json::{Map, Value};

use crate::format::Referred;

/// The keyword that holds the other schemas. No schema uses a keyword of this name.
pub(super) const OTHERS: &str = "heddle:referred";
/// Keywords whose members are schemas under arbitrary names.
const NAMED: [&str; 5] = ["properties", "patternProperties", "definitions", "$defs", "dependentSchemas"];
/// Keywords that hold values instead of schemas.
const VALUES: [&str; 4] = ["const", "default", "enum", "examples"];

/// Returns the schema with the schemas to which it refers. A schema without references is returned unchanged.
pub(super) fn bundle(mut schema: Value, referred: &[Referred]) -> Value {
    if referred.is_empty() {
        return schema;
    }
    let parsed = |other: &Referred| Some((other.name.clone(), serde_json::from_str::<Value>(&other.text).ok()?));
    let mut others = referred.iter().filter_map(parsed).collect::<Map<_, _>>();
    let names = others.keys().cloned().collect::<Vec<_>>();
    for (name, other) in &mut others {
        // It is found by its place. Under an identity of its own, references in it would begin there.
        for key in ["$id", "id", "$schema"] {
            other.as_object_mut().and_then(|object| object.shift_remove(key));
        }
        redirect(other, &place(name), &names);
    }
    // A schema without references to the others keeps its keywords: without any keyword it would accept every value.
    if redirect(&mut schema, "", &names)
        && let Value::Object(object) = &mut schema
    {
        object.insert(OTHERS.to_owned(), others.into());
    }
    schema
}

/// The position of a referenced schema in the bundle, as a JSON pointer.
fn place(name: &str) -> String {
    format!("/{OTHERS}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// Redirects the references of the schema at `here` to their positions in the bundle. Returns true if any led to other
/// schemas.
fn redirect(schema: &mut Value, here: &str, names: &[String]) -> bool {
    let count = match schema {
        Value::Array(items) => items.iter_mut().map(|item| redirect(item, here, names)).filter(|found| *found).count(),
        Value::Object(object) => {
            let found = object.iter_mut().map(|(key, value)| match (key.as_str(), value) {
                ("$ref", Value::String(text)) => {
                    let (to, is_other) = redirected(text, here, names);
                    *text = to;
                    is_other
                }
                (key, Value::Object(members)) if NAMED.contains(&key) => {
                    members.values_mut().map(|member| redirect(member, here, names)).filter(|found| *found).count() > 0
                }
                (key, _) if VALUES.contains(&key) => false,
                (_, value) => redirect(value, here, names),
            });
            found.filter(|found| *found).count()
        }
        _ => 0,
    };
    count > 0
}

/// The target of a reference in the bundle. The flag is true if it is another schema.
fn redirected(text: &str, here: &str, names: &[String]) -> (String, bool) {
    let (file, pointer) = text.split_once('#').unwrap_or((text, ""));
    let is_other = names.iter().any(|name| name == file);
    let is_pointer = pointer.is_empty() || pointer.starts_with('/');
    match file {
        // Names instead of pointers are not followed within a document either.
        _ if !is_pointer => (text.to_owned(), false),
        "" => (format!("#{here}{pointer}"), false),
        _ if is_other => (format!("#{}{pointer}", place(file)), true),
        _ => (text.to_owned(), false),
    }
}
