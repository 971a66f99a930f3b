//! The formats of schemas. Each format parses schemas, identifies them, and checks if one schema reads what another
//! wrote.
//!
//! ```text
//!  Entry { format, text, references } ──parse──> Parsed ──reads(reader, writer)──> problems
//!                                 └──identity──> equal for texts of the same schema
//! ```
//!
//! This module is pure: the caller passes the schemas that a reference names.

mod avro;
mod json;
mod json_bundle;
mod protobuf;
mod protobuf_text;

pub use protobuf::Protobuf;

use std::fmt;
use std::str::FromStr;

use heddle_contract::compat::{self, Problem};
use heddle_contract::schema::Schema;
use heddle_contract::section::SchemaFormat;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A schema in its registered form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its format.
    pub format: SchemaFormat,
    /// The schema's text, in the form that is stored and returned.
    pub text: String,
    /// The schema's references.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<Reference>,
    /// Metadata of clients, kept as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Value>,
    /// Rules of clients, kept as they are.
    #[serde(default, rename = "ruleSet", skip_serializing_if = "Option::is_none")]
    pub rule_set: Option<Value>,
}

impl Entry {
    /// Creates an entry without references, metadata and rules.
    #[must_use]
    pub fn new(format: SchemaFormat, text: impl Into<String>) -> Self {
        Self { format, text: text.into(), references: vec![], metadata: None, rule_set: None }
    }
}

/// A reference of a schema to a version of a subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// The name in the referring schema: a full name, a URL or an imported file.
    pub name: String,
    /// The subject.
    pub subject: String,
    /// The version.
    pub version: u32,
}

/// A referenced schema: its name and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referred {
    /// The name in the referring schema.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// A parsed schema.
#[derive(Debug)]
pub enum Parsed {
    /// Apache Avro.
    Avro(Schema),
    /// JSON Schema.
    Json(Value),
    /// Protocol Buffers.
    Protobuf(Protobuf),
}

/// The name of a format in registries.
#[must_use]
pub fn name(format: SchemaFormat) -> &'static str {
    match format {
        SchemaFormat::Avro => "AVRO",
        SchemaFormat::Json => "JSON",
        SchemaFormat::Protobuf => "PROTOBUF",
    }
}

/// The name of a format for users.
#[must_use]
pub fn title(format: SchemaFormat) -> &'static str {
    match format {
        SchemaFormat::Avro => "Avro",
        SchemaFormat::Json => "JSON Schema",
        SchemaFormat::Protobuf => "Protobuf",
    }
}

/// The text is not the name of a format.
#[derive(Debug)]
pub struct UnknownFormat;

/// A format that is parsed from its name in registries.
pub struct Named(pub SchemaFormat);

impl FromStr for Named {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        let all = [SchemaFormat::Avro, SchemaFormat::Json, SchemaFormat::Protobuf];
        all.into_iter().find(|format| name(*format).eq_ignore_ascii_case(text)).map(Self).ok_or(UnknownFormat)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Parses a schema. `referred` has all schemas to which it refers, directly or indirectly, the outermost last.
///
/// # Errors
/// The reason why the schema is not valid.
pub fn parse(entry: &Entry, referred: &[Referred]) -> Result<Parsed, String> {
    match entry.format {
        SchemaFormat::Avro => avro::parse(&entry.text, referred).map(Parsed::Avro),
        SchemaFormat::Json => json::parse(&entry.text, referred).map(Parsed::Json),
        SchemaFormat::Protobuf => protobuf::parse(&entry.text, referred).map(Parsed::Protobuf),
    }
}

/// Like [`parse`], for a schema that is already registered or comes from elsewhere. Old registries accepted invalid
/// defaults, and records were written with such schemas.
///
/// # Errors
/// As for [`parse`].
pub fn parse_kept(entry: &Entry, referred: &[Referred]) -> Result<Parsed, String> {
    match entry.format {
        SchemaFormat::Avro => avro::parse_kept(&entry.text, referred).map(Parsed::Avro),
        _ => parse(entry, referred),
    }
}

/// Returns the text to store, without insignificant blanks. With `normalize`, equal schemas get equal texts.
///
/// # Errors
/// The reason why the text is not valid.
pub fn canonical(format: SchemaFormat, text: &str, normalize: bool) -> Result<String, String> {
    match format {
        SchemaFormat::Avro => avro::canonical(text, normalize),
        SchemaFormat::Json => json::canonical(text),
        SchemaFormat::Protobuf => protobuf::canonical(text),
    }
}

/// Returns the files that a schema names by path: imports of a `.proto` file, targets of a `$ref`. Files that every
/// compiler has are left out.
///
/// # Errors
/// The reason why the schema is not valid.
pub fn imports(format: SchemaFormat, text: &str) -> Result<Vec<String>, String> {
    match format {
        SchemaFormat::Avro => Ok(vec![]),
        SchemaFormat::Json => json::imports(text),
        SchemaFormat::Protobuf => protobuf::imports(text),
    }
}

/// A text that is equal for entries of the same schema.
#[must_use]
pub fn identity(entry: &Entry) -> String {
    let text = match entry.format {
        // `Value` and `shop.Value` are the same name, as in the text that Avro for Java prints.
        SchemaFormat::Avro => sorted_text(&avro::canonical(&entry.text, true).unwrap_or_else(|_| entry.text.clone())),
        SchemaFormat::Json => sorted_text(&entry.text),
        SchemaFormat::Protobuf => protobuf::identity(&entry.text),
    };
    let rest = serde_json::json!([entry.references, entry.metadata, entry.rule_set]);
    format!("{}\n{text}\n{rest}", name(entry.format))
}

/// JSON with the keys of objects sorted, because their order has no meaning.
fn sorted_text(text: &str) -> String {
    fn sort(value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(sort),
            Value::Object(object) => {
                object.sort_keys();
                object.values_mut().for_each(sort);
            }
            _ => {}
        }
    }
    serde_json::from_str::<Value>(text).map_or_else(
        |_| text.to_owned(),
        |mut value| {
            sort(&mut value);
            value.to_string()
        },
    )
}

impl Parsed {
    /// Returns where and why `self` cannot read everything that `writer` writes.
    #[must_use]
    pub fn problems(&self, writer: &Self) -> Vec<Problem> {
        match (self, writer) {
            (Self::Avro(reader), Self::Avro(writer)) => compat::avro::problems(reader, writer),
            (Self::Json(reader), Self::Json(writer)) => compat::json::problems(reader, writer),
            (Self::Protobuf(reader), Self::Protobuf(writer)) => protobuf::problems(reader, writer),
            (reader, writer) => {
                let what = format!("the writer's schema is {}, the reader's {}", writer.format(), reader.format());
                vec![Problem { path: ".".to_owned(), what }]
            }
        }
    }

    fn format(&self) -> &'static str {
        name(match self {
            Self::Avro(_) => SchemaFormat::Avro,
            Self::Json(_) => SchemaFormat::Json,
            Self::Protobuf(_) => SchemaFormat::Protobuf,
        })
    }

    /// Returns what others miss to understand the schema, and to distinguish its types from their own.
    #[must_use]
    pub fn lint(&self) -> Vec<Problem> {
        match self {
            Self::Avro(schema) => compat::lint::lint(schema),
            Self::Json(schema) => json::lint(schema),
            Self::Protobuf(schema) => protobuf::lint(schema),
        }
    }

    /// The schema in the form for `format=serialized`, if it has one.
    #[must_use]
    pub fn serialized(&self) -> Option<String> {
        match self {
            Self::Protobuf(schema) => schema.serialized(),
            _ => None,
        }
    }

    /// The Avro schema, if it is one.
    #[must_use]
    pub fn avro(&self) -> Option<&Schema> {
        match self {
            Self::Avro(schema) => Some(schema),
            _ => None,
        }
    }
}
