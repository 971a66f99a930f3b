//! JSON Schemas in the registry. A text is validated only as far as comparisons need it.

mod bundle;
pub mod compat;

use serde_json::Value;

use self::bundle::bundle;
use crate::compat::Problem;
use crate::format::Referred;

/// A JSON Schema, with what it refers to in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    text: String,
    bundled: Value,
}

impl Schema {
    /// The text that it was read from.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The schema, with what it refers to in it.
    #[must_use]
    pub fn bundled(&self) -> &Value {
        &self.bundled
    }
}

/// The deepest nesting of schemas.
const DEPTH_MAX: usize = 100;
const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];

pub(super) fn parse(text: &str, referred: &[Referred]) -> Result<Schema, String> {
    let schema = serde_json::from_str::<Value>(text).map_err(|error| error.to_string())?;
    let known = referred.iter().map(|schema| schema.name.as_str()).collect::<Vec<_>>();
    check(&schema, &schema, &known, "#", 0)?;
    Ok(Schema { text: text.to_owned(), bundled: bundle(schema, referred) })
}

/// Checks a schema and the schemas within it.
fn check(root: &Value, schema: &Value, known: &[&str], path: &str, depth: usize) -> Result<(), String> {
    if depth > DEPTH_MAX {
        return Err(format!("schemas within schemas more than {DEPTH_MAX} deep"));
    }
    let object = match schema {
        Value::Bool(_) => return Ok(()),
        Value::Object(object) => object,
        other => return Err(format!("at {path}: {other} is not a schema; it must be an object, true or false")),
    };
    let wrong = |key: &str, what: &str| Err(format!("at {path}/{key}: {what}"));
    match object.get("type") {
        None => {}
        Some(Value::String(ty)) if TYPES.contains(&ty.as_str()) => {}
        Some(Value::Array(list)) if list.iter().all(|ty| ty.as_str().is_some_and(|ty| TYPES.contains(&ty))) => {}
        Some(other) => return wrong("type", &format!("{other} is no type; there are {}", TYPES.join(", "))),
    }
    if let Some(required) = object.get("required")
        && !required.is_boolean()
        && !required.as_array().is_some_and(|list| list.iter().all(Value::is_string))
    {
        return wrong("required", "it must be a list of names");
    }
    if object.get("enum").is_some_and(|values| !values.is_array()) {
        return wrong("enum", "it must be a list of values");
    }
    if let Some(reference) = object.get("$ref") {
        check_reference(root, reference, known).or_else(|what| wrong("$ref", &what))?;
    }
    for key in ["properties", "patternProperties", "definitions", "$defs"] {
        match object.get(key) {
            None => {}
            Some(Value::Object(members)) => {
                for (name, member) in members {
                    check(root, member, known, &format!("{path}/{key}/{name}"), depth + 1)?;
                }
            }
            Some(_) => return wrong(key, "it must be an object of schemas"),
        }
    }
    for key in ["oneOf", "anyOf", "allOf"] {
        match object.get(key) {
            None => {}
            Some(Value::Array(list)) if !list.is_empty() => {
                for (place, member) in list.iter().enumerate() {
                    check(root, member, known, &format!("{path}/{key}/{place}"), depth + 1)?;
                }
            }
            Some(_) => return wrong(key, "it must be a list of schemas"),
        }
    }
    for key in ["additionalProperties", "not", "contains", "propertyNames", "if", "then", "else"] {
        if let Some(inner) = object.get(key) {
            check(root, inner, known, &format!("{path}/{key}"), depth + 1)?;
        }
    }
    match object.get("items") {
        Some(Value::Array(list)) => {
            list.iter().try_for_each(|item| check(root, item, known, &format!("{path}/items"), depth + 1))
        }
        Some(item) => check(root, item, known, &format!("{path}/items"), depth + 1),
        None => Ok(()),
    }
}

/// Checks the target of a reference: a position in the document, a schema in the entry's references, or a URL. Heddle
/// does not fetch URLs.
fn check_reference(root: &Value, reference: &Value, known: &[&str]) -> Result<(), String> {
    let Some(text) = reference.as_str() else { return Err("it must be a text".to_owned()) };
    match text.split_once('#').unwrap_or((text, "")) {
        ("", pointer) if pointer.is_empty() || pointer.starts_with('/') => {
            let pointer = percent_encoding::percent_decode_str(pointer).decode_utf8_lossy().into_owned();
            let found = root.pointer(&pointer).is_some();
            if found { Ok(()) } else { Err(format!("`{text}` leads nowhere")) }
        }
        ("", _) => Ok(()),
        (file, _) if known.contains(&file) => Ok(()),
        (file, _)
            if root
                .get("$id")
                .or_else(|| root.get("id"))
                .and_then(Value::as_str)
                .is_some_and(|id| id.starts_with(file)) =>
        {
            Ok(())
        }
        (file, _) if file.starts_with("http://json-schema.org/") || file.starts_with("https://json-schema.org/") => {
            Ok(())
        }
        (file, _) => Err(format!("`{file}` is not among the schema's references")),
    }
}

/// Returns the files that `$ref`s name. Positions in the document and URLs are not files.
pub(super) fn imports(text: &str) -> Result<Vec<String>, String> {
    fn collect(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
            Value::Object(object) => {
                let target = object.get("$ref").and_then(Value::as_str);
                let file = target.map(|text| text.split_once('#').map_or(text, |(file, _)| file));
                if let Some(file) = file
                    && !file.is_empty()
                    && !file.contains(':')
                    && !found.iter().any(|other| other == file)
                {
                    found.push(file.to_owned());
                }
                object.values().for_each(|inner| collect(inner, found));
            }
            _ => {}
        }
    }
    let mut found = vec![];
    collect(&serde_json::from_str(text).map_err(|error: serde_json::Error| error.to_string())?, &mut found);
    Ok(found)
}

/// Reports a missing title and a missing description.
pub(super) fn lint(schema: &Schema) -> Vec<Problem> {
    let wanted = [
        ("title", "there is no `title`: name what it is, others make the names of types of it"),
        ("description", "there is no `description`: say in a sentence what it is"),
    ];
    let missing = wanted.iter().filter(|(key, _)| schema.bundled.get(key).is_none());
    missing.map(|(_, what)| Problem { path: "#".to_owned(), what: (*what).to_owned() }).collect()
}

pub(super) fn canonical(text: &str) -> Result<String, String> {
    serde_json::from_str::<Value>(text).map(|value| value.to_string()).map_err(|error| error.to_string())
}
