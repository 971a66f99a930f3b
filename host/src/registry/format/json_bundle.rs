//! A JSON Schema with what it refers to in it, so that `$ref`s to other schemas are followed as those within it are.

use serde_json::{Map, Value};

use super::Referred;

/// Where the others are: no schema has a keyword of this name.
const OTHERS: &str = "heddle:referred";
/// Keywords with schemas in them by names, whatever those are.
const NAMED: [&str; 5] = ["properties", "patternProperties", "definitions", "$defs", "dependentSchemas"];
/// Keywords with values in them instead of schemas.
const VALUES: [&str; 4] = ["const", "default", "enum", "examples"];

/// The schema with those in it that it refers to; the same where it refers to none.
pub(super) fn bundle(mut schema: Value, referred: &[Referred]) -> Value {
    if referred.is_empty() {
        return schema;
    }
    let parsed = |other: &Referred| Some((other.name.clone(), serde_json::from_str::<Value>(&other.text).ok()?));
    let mut others = referred.iter().filter_map(parsed).collect::<Map<_, _>>();
    let names = others.keys().cloned().collect::<Vec<_>>();
    for (name, other) in &mut others {
        redirect(other, &place(name), &names);
    }
    // One that refers to none of them keeps its keywords: without any it takes every value.
    if redirect(&mut schema, "", &names)
        && let Value::Object(object) = &mut schema
    {
        object.insert(OTHERS.to_owned(), others.into());
    }
    schema
}

/// Where a schema that is referred to is in the bundle, as a JSON pointer.
fn place(name: &str) -> String {
    format!("/{OTHERS}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// Lets the references of a schema, which is at `here` in the bundle, lead to their places in it. Whether there were
/// any to others.
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

/// Where a reference leads in the bundle, and whether that is another schema.
fn redirected(text: &str, here: &str, names: &[String]) -> (String, bool) {
    let (file, pointer) = text.split_once('#').unwrap_or((text, ""));
    let is_other = names.iter().any(|name| name == file);
    let is_pointer = pointer.is_empty() || pointer.starts_with('/');
    match file {
        // A name instead of a pointer is not followed within a document either.
        _ if !is_pointer => (text.to_owned(), false),
        "" => (format!("#{here}{pointer}"), false),
        _ if is_other => (format!("#{}{pointer}", place(file)), true),
        _ => (text.to_owned(), false),
    }
}
