//! JSON Schema: a closed subset of the language becomes types, and everything else is JSON.
//!
//! ```text
//!  text, references ──parse──> Schema ──┬─ types: shapes and nodes of its values, for a component's codec
//!                                       ├─ check: what types do not say, by the crate `jsonschema`
//!                                       ├─ Plan::of(writer, reader)
//!                                       └─ json: values as JSON
//! ```
//!
//! A value is read and written along the nodes, directly from and to its bytes. A tree of it is built only if the
//! schema has rules beyond its types.

mod bundle;
pub mod compat;
mod error;
pub mod identify;
mod json;
mod keywords;
mod names;
pub mod nodes;
pub mod number;
pub mod plan;
pub mod reader;
mod rules;
mod shapes;
mod tree;
pub mod types;

pub use error::{DecodeError, EncodeError};

use std::fmt;
use std::sync::OnceLock;

use serde_json::{Map, Value};

use self::bundle::bundle;
use self::nodes::Node;
use self::rules::Rules;
use self::types::Types;
use crate::compat::Problem;
use crate::format::Referred;

/// A JSON Schema, including everything to which it refers.
pub struct Schema {
    text: String,
    bundled: Value,
    referred: Vec<Referred>,
    types: OnceLock<Types>,
    rules: OnceLock<Result<Rules, String>>,
    lenient: OnceLock<Result<Rules, String>>,
    refused: OnceLock<Vec<Problem>>,
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema").field("text", &self.text).finish_non_exhaustive()
    }
}

impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.bundled == other.bundled
    }
}

impl Schema {
    fn new(text: String, bundled: Value, referred: Vec<Referred>) -> Self {
        let (types, rules, lenient, refused) = (OnceLock::new(), OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self { text, bundled, referred, types, rules, lenient, refused }
    }

    /// The text of the schema.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The schema, including everything to which it refers.
    #[must_use]
    pub fn bundled(&self) -> &Value {
        &self.bundled
    }

    /// The schemas to which it refers, directly or indirectly.
    #[must_use]
    pub fn referred(&self) -> &[Referred] {
        &self.referred
    }

    /// The types of its values.
    #[must_use]
    pub fn types(&self) -> &Types {
        self.types.get_or_init(|| Types::of(&self.bundled))
    }

    /// Returns true if values are objects with known names.
    #[must_use]
    pub fn is_record(&self) -> bool {
        matches!(self.types().root(), Node::Record(_))
    }

    /// The name of its values: the title.
    #[must_use]
    pub fn title(&self) -> &str {
        keywords::text(&self.bundled, "title").unwrap_or("JSON Schema")
    }

    /// The reasons why values cannot be checked against it.
    #[must_use]
    pub fn refused(&self) -> &[Problem] {
        self.refused.get_or_init(|| {
            let what = self.rules().as_ref().err();
            what.map(|what| Problem { path: "#".to_owned(), what: what.clone() }).into_iter().collect()
        })
    }

    fn rules(&self) -> &Result<Rules, String> {
        self.rules.get_or_init(|| Rules::of(&self.bundled))
    }

    /// Checks a value against the schema.
    ///
    /// # Errors
    /// If it does not fit the schema.
    pub fn check(&self, value: &Value) -> Result<(), DecodeError> {
        by_rules(self.rules(), value)
    }

    /// Checks a value of an older or newer version, as far as a component depends on it. Unknown members are ignored,
    /// and required members with a default may be absent.
    ///
    /// # Errors
    /// If it does not fit the schema.
    pub fn check_other_version(&self, value: &Value) -> Result<(), DecodeError> {
        by_rules(self.lenient.get_or_init(|| Rules::of(&rules::lenient(&self.bundled))), value)
    }

    /// The same schema without the types that `reader` does not distinguish.
    #[must_use]
    pub fn limited_to(&self, reader: &Self) -> Self {
        let mut bundled = self.bundled.clone();
        if let (Node::Variant(theirs), Node::Variant(ours)) = (self.types().root(), reader.types().root()) {
            let known = |case: &String| ours.cases.iter().any(|(name, _)| name == case);
            for key in ["oneOf", "anyOf"] {
                if let Some(branches) = bundled.get_mut(key).and_then(Value::as_array_mut) {
                    // Branches are cases, in the same order.
                    let mut cases = theirs.cases.iter();
                    branches.retain(|_| cases.next().is_none_or(|(case, _)| known(case)));
                }
            }
        }
        Self::new(self.text.clone(), bundled, self.referred.clone())
    }

    /// Reads a value as JSON. It is not checked against the schema.
    ///
    /// # Errors
    /// If the bytes are not JSON, or a number would have to be rounded.
    pub fn decode(&self, bytes: &[u8]) -> Result<Value, DecodeError> {
        json::decode(bytes)
    }

    /// Appends a value to `out`.
    ///
    /// # Errors
    /// If it does not fit the schema.
    pub fn encode(&self, value: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        json::encode(self, value, out)
    }

    /// The type `name`: the schema itself if that is its title, else the definition of this name as a schema of its
    /// own.
    ///
    /// # Errors
    /// If there is none.
    pub fn with_type(&self, name: &str) -> Result<Self, String> {
        let whole = serde_json::from_str::<Map<String, Value>>(&self.text).map_err(|error| error.to_string())?;
        if keywords::text(&self.bundled, "title") == Some(name) {
            return Ok(Self::new(self.text.clone(), self.bundled.clone(), self.referred.clone()));
        }
        let mut known = vec![];
        for key in ["$defs", "definitions"] {
            let Some(definitions) = whole.get(key).and_then(Value::as_object) else { continue };
            known.extend(definitions.keys().map(|name| format!("`{name}`")));
            if definitions.contains_key(name) {
                let kept = |key: &&String| ["$schema", "$id", "id", "$defs", "definitions"].contains(&key.as_str());
                let kept = whole.iter().filter(|(key, _)| kept(key)).map(|(key, value)| (key.clone(), value.clone()));
                let step = name.replace('~', "~0").replace('/', "~1");
                let text = kept.chain([("$ref".to_owned(), format!("#/{key}/{step}").into())]).collect::<Map<_, _>>();
                return parse(&Value::Object(text).to_string(), &self.referred);
            }
        }
        let known = if known.is_empty() { "no definitions".to_owned() } else { known.join(", ") };
        Err(format!("there is no type `{name}`; the file is `{}` and has: {known}", self.title()))
    }
}

fn by_rules(rules: &Result<Rules, String>, value: &Value) -> Result<(), DecodeError> {
    match rules {
        Ok(rules) => rules.check(value).map_err(|(path, what)| DecodeError::Misfit { path, what }),
        Err(what) => Err(DecodeError::misfit(format!("the schema is not valid: {what}"))),
    }
}

/// The schema that a reference leads to within a document.
fn follow<'a>(root: &'a Value, reference: &str) -> Option<&'a Value> {
    let (file, pointer) = reference.split_once('#').unwrap_or((reference, ""));
    let own = || root.get("$id").or_else(|| root.get("id")).and_then(Value::as_str);
    if !file.is_empty() && own().is_none_or(|own| own.trim_end_matches('#') != file) {
        return None;
    }
    let pointer = percent_encoding::percent_decode_str(pointer).decode_utf8().ok()?;
    if pointer.is_empty() { Some(root) } else { root.pointer(&pointer) }
}

/// The maximum nesting of schemas.
const DEPTH_MAX: usize = 100;
const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];

pub(super) fn parse(text: &str, referred: &[Referred]) -> Result<Schema, String> {
    let schema = serde_json::from_str::<Value>(text).map_err(|error| error.to_string())?;
    let known = referred.iter().map(|schema| schema.name.as_str()).collect::<Vec<_>>();
    check(&schema, &schema, &known, "#", 0)?;
    Ok(Schema::new(text.to_owned(), bundle(schema, referred), referred.to_vec()))
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
        Some(other) => return wrong("type", &format!("{other} is not a type; there are {}", TYPES.join(", "))),
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
        ("title", "there is no `title`: name what it is, because the names of types are derived from it"),
        ("description", "there is no `description`: say in a sentence what it is"),
    ];
    let missing = wanted.iter().filter(|(key, _)| schema.bundled.get(key).is_none());
    missing.map(|(_, what)| Problem { path: "#".to_owned(), what: (*what).to_owned() }).collect()
}

pub(super) fn canonical(text: &str) -> Result<String, String> {
    serde_json::from_str::<Value>(text).map(|value| value.to_string()).map_err(|error| error.to_string())
}
