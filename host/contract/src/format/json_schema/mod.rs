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

pub mod compat;
mod error;
mod flatten;
pub mod identify;
pub mod infer;
mod json;
mod keywords;
mod names;
pub mod nodes;
pub mod number;
pub mod plan;
pub mod reader;
mod references;
mod rules;
mod shapes;
mod tree;
pub mod types;

pub use error::{DecodeError, EncodeError};

use std::fmt;
use std::sync::OnceLock;

use serde_json::{Map, Value};

use self::nodes::Node;
use self::rules::Rules;
use self::types::Types;
use crate::compat::Problem;
use crate::format::{Link, Referred};

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

    /// The schema that a reference in it leads to.
    #[must_use]
    pub fn target(&self, reference: &str) -> Option<&Value> {
        follow(&self.bundled, reference)
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

    /// The type of the name: the schema itself if that is its title, else the definition of this name as a separate
    /// schema. Of several names, the schema whose values are of one of these definitions.
    ///
    /// # Errors
    /// If there is none, or if several cannot be distinguished.
    pub fn with_types(&self, names: &[impl AsRef<str>]) -> Result<Self, String> {
        let names = names.iter().map(AsRef::as_ref).collect::<Vec<_>>();
        let whole = parsed(&self.text)?;
        let none = Map::new();
        let whole = whole.as_object().unwrap_or(&none);
        if let [name] = names.as_slice()
            && keywords::text(&self.bundled, "title") == Some(name)
        {
            return Ok(Self::new(self.text.clone(), self.bundled.clone(), self.referred.clone()));
        }
        let definitions = |key: &'static str| {
            whole.get(key).and_then(Value::as_object).into_iter().flatten().map(move |(name, _)| (key, name))
        };
        let known = definitions("$defs").chain(definitions("definitions")).collect::<Vec<_>>();
        let reference = |name: &&str| {
            let found = known.iter().find(|(_, other)| other == name).ok_or_else(|| self.no_type(name, &known))?;
            let step = name.replace('~', "~0").replace('/', "~1");
            let step = percent_encoding::utf8_percent_encode(&step, &references::FRAGMENT);
            Ok::<_, String>(Value::from(format!("#/{}/{step}", found.0)))
        };
        let references = names.iter().map(reference).collect::<Result<Vec<_>, _>>()?;
        let kept = |key: &&String| ["$schema", "$id", "id", "$defs", "definitions"].contains(&key.as_str());
        let kept = whole.iter().filter(|(key, _)| kept(key)).map(|(key, value)| (key.clone(), value.clone()));
        let types = match references.as_slice() {
            [only] => ("$ref".to_owned(), only.clone()),
            several => {
                let branches = several.iter().map(|reference| serde_json::json!({ "$ref": reference }));
                ("oneOf".to_owned(), branches.collect::<Value>())
            }
        };
        let text = Value::Object(kept.chain([types]).collect()).to_string();
        let schema = parse(&text, &self.referred)?;
        if names.len() > 1 && !matches!(schema.types().root(), Node::Variant(_)) {
            let names = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            return Err(format!(
                "{names} cannot be distinguished: each has to require one property with a constant string"
            ));
        }
        Ok(schema)
    }

    fn no_type(&self, name: &str, known: &[(&str, &String)]) -> String {
        let known = known.iter().map(|(_, name)| format!("`{name}`")).collect::<Vec<_>>();
        let known = if known.is_empty() { "no definitions".to_owned() } else { known.join(", ") };
        format!("there is no type `{name}`; the file is `{}` and has: {known}", self.title())
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
    let schema = parsed(text)?;
    check(&schema, "#", 0)?;
    Ok(Schema::new(text.to_owned(), references::bundle(schema, referred)?, referred.to_vec()))
}

/// Checks a schema and the schemas within it.
fn check(schema: &Value, path: &str, depth: usize) -> Result<(), String> {
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
    if object.get("$ref").is_some_and(|reference| !reference.is_string()) {
        return wrong("$ref", "it must be a text");
    }
    for key in ["properties", "patternProperties", "definitions", "$defs"] {
        match object.get(key) {
            None => {}
            Some(Value::Object(members)) => {
                for (name, member) in members {
                    check(member, &format!("{path}/{key}/{name}"), depth + 1)?;
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
                    check(member, &format!("{path}/{key}/{place}"), depth + 1)?;
                }
            }
            Some(_) => return wrong(key, "it must be a list of schemas"),
        }
    }
    for key in ["additionalProperties", "not", "contains", "propertyNames", "if", "then", "else"] {
        if let Some(inner) = object.get(key) {
            check(inner, &format!("{path}/{key}"), depth + 1)?;
        }
    }
    match object.get("items") {
        Some(Value::Array(list)) => list.iter().try_for_each(|item| check(item, &format!("{path}/items"), depth + 1)),
        Some(item) => check(item, &format!("{path}/items"), depth + 1),
        None => Ok(()),
    }
}

/// The files that a schema refers to.
pub(super) fn imports(text: &str) -> Result<Vec<Link>, String> {
    Ok(references::links(&parsed(text)?))
}

/// The file that a link leads to: by its identity, or by its path.
pub(super) fn follow_link<'r>(importer: &str, link: &Link, known: &'r [Referred]) -> Option<&'r Referred> {
    let identified = known.iter().find(|other| identity(&other.text).is_some_and(|id| Some(id) == link.address));
    let by_path = || {
        let name = references::find(importer, &link.name, known.iter().map(|other| other.name.as_str()))?;
        known.iter().find(|other| other.name == name)
    };
    identified.or_else(by_path)
}

/// The identity by which other schemas may refer to a file.
#[must_use]
pub fn identity(text: &str) -> Option<String> {
    references::identity_of(&parsed(text).ok()?)
}

/// The paths, from the topmost folder, by which a file may mean another.
#[must_use]
pub fn paths(importer: &str, name: &str) -> Vec<String> {
    references::paths(importer, name)
}

/// Reports a missing title and a missing description.
pub(super) fn lint(schema: &Schema) -> Vec<Problem> {
    let wanted = [
        ("title", "there is no `title`: name what it is, because the names of types are derived from it"),
        ("description", "there is no `description`: say in a sentence what it is"),
    ];
    let missing = wanted.iter().filter(|(key, _)| schema.bundled.get(key).is_none());
    let missing = missing.map(|(_, what)| (*what).to_owned());
    let unchecked = rules::unchecked(&schema.bundled).into_iter();
    let unchecked =
        unchecked.map(|pattern| format!("the pattern `{pattern}` is not checked: it is of another dialect"));
    missing.chain(unchecked).map(|what| Problem { path: "#".to_owned(), what }).collect()
}

pub(super) fn canonical(text: &str) -> Result<String, String> {
    parsed(text).map(|value| value.to_string())
}

/// The JSON of a text, which may begin with a byte order mark.
fn parsed(text: &str) -> Result<Value, String> {
    let text = text.strip_prefix(reader::BYTE_ORDER_MARK).unwrap_or(text);
    serde_json::from_str(text).map_err(|error| error.to_string())
}
