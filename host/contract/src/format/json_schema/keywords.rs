//! The keywords of JSON Schema, by their meaning for types. All others are annotations.

use serde_json::{Map, Value};

/// A schema that is an object.
pub(super) type Object = Map<String, Value>;

/// Keywords that determine the types of values.
const TYPING: [&str; 10] =
    ["type", "enum", "const", "properties", "required", "additionalProperties", "items", "oneOf", "anyOf", "allOf"];

/// Keywords that restrict the values of a type without changing the type.
const NARROWING: [&str; 18] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "uniqueItems",
    "contains",
    "minContains",
    "maxContains",
    "minProperties",
    "maxProperties",
    "propertyNames",
    "dependentRequired",
];

/// Keywords that no type can express.
const BEYOND: [&str; 14] = [
    "patternProperties",
    "unevaluatedProperties",
    "unevaluatedItems",
    "prefixItems",
    "additionalItems",
    "dependencies",
    "dependentSchemas",
    "if",
    "then",
    "else",
    "not",
    "$dynamicRef",
    "$recursiveRef",
    "extends",
];

/// Returns true if the schema has a keyword that no type can express.
pub(super) fn is_beyond_types(schema: &Object) -> bool {
    BEYOND.iter().any(|key| schema.contains_key(*key))
}

/// Returns true if the keyword types nothing: it narrows values, or describes them.
pub(super) fn is_annotation(key: &str) -> bool {
    !TYPING.contains(&key) && !BEYOND.contains(&key) && key != "$ref"
}

/// Returns true if the schema narrows the values of its type.
pub(super) fn narrows(schema: &Object) -> bool {
    NARROWING.iter().any(|key| schema.contains_key(*key))
}

/// Returns true if the schema types values by a keyword other than `but`.
pub(super) fn types_beside(schema: &Object, but: &str) -> bool {
    TYPING.iter().any(|key| *key != but && schema.contains_key(*key))
}

/// Returns true if the schema accepts every value.
pub(super) fn accepts_all(schema: &Value) -> bool {
    match schema {
        Value::Bool(accepts) => *accepts,
        Value::Object(object) => {
            !object.contains_key("$ref") && !is_beyond_types(object) && !narrows(object) && !types_beside(object, "")
        }
        _ => false,
    }
}

/// A text of the schema, such as its title or its description.
pub(super) fn text<'a>(schema: &'a Value, key: &str) -> Option<&'a str> {
    schema.get(key).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty())
}

/// The names that a schema requires.
pub(super) fn required(schema: &Object) -> Vec<&str> {
    let names = schema.get("required").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    names.iter().filter_map(Value::as_str).collect()
}

/// The only value that a schema accepts, if it has no other keywords and the value has no parts.
pub(super) fn constant(schema: &Value) -> Option<&Value> {
    let object = schema.as_object()?;
    let (value, key) = match (object.get("const"), object.get("enum").and_then(Value::as_array).map(Vec::as_slice)) {
        (Some(value), None) => (value, "const"),
        (None, Some([value])) => (value, "enum"),
        _ => return None,
    };
    let ty = match value {
        Value::String(_) => "string",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() => "integer",
        _ => return None,
    };
    let says_more = is_beyond_types(object) || narrows(object) || object.contains_key("$ref");
    let says_more =
        says_more || TYPING.iter().any(|other| *other != key && *other != "type" && object.contains_key(*other));
    let fits = object.get("type").is_none_or(|said| said == ty);
    Some(value).filter(|_| fits && !says_more)
}

/// The draft of a schema, as far as types depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Draft {
    /// `1.0` is not an integer, and keywords beside a `$ref` do not count.
    Four,
    /// Keywords beside a `$ref` do not count.
    SixOrSeven,
    /// All later drafts.
    Later,
}

impl Draft {
    /// The draft of a whole schema.
    pub(super) fn of(schema: &Value) -> Self {
        let named = text(schema, "$schema").unwrap_or_default();
        if named.contains("draft-04") {
            Self::Four
        } else if named.contains("draft-06") || named.contains("draft-07") {
            Self::SixOrSeven
        } else {
            Self::Later
        }
    }
}
