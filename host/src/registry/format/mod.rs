//! The formats of schemas: each is parsed, has an identity, and answers whether one schema reads what another wrote.
//!
//! ```text
//!  Entry { format, text, references } ──parse──> Parsed ──reads(reader, writer)──> problems
//!                                 └──identity──> what makes two texts the same schema
//! ```
//!
//! Pure: what a schema refers to is handed in.

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

/// One schema as it was registered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its format.
    pub format: SchemaFormat,
    /// Its text, in the form that is stored and handed out.
    pub text: String,
    /// What it refers to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<Reference>,
    /// What clients keep beside it; not looked into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Value>,
    /// Rules that clients apply; not looked into.
    #[serde(default, rename = "ruleSet", skip_serializing_if = "Option::is_none")]
    pub rule_set: Option<Value>,
}

impl Entry {
    /// A schema that refers to nothing, with nothing beside it.
    #[must_use]
    pub fn new(format: SchemaFormat, text: impl Into<String>) -> Self {
        Self { format, text: text.into(), references: vec![], metadata: None, rule_set: None }
    }
}

/// A version of a subject that a schema refers to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// What the schema calls it: a full name, a URL or a file to import.
    pub name: String,
    /// The subject.
    pub subject: String,
    /// The version.
    pub version: u32,
}

/// A schema that is referred to: what it is called, and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referred {
    /// What the schema that refers to it calls it.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// A schema that was understood.
#[derive(Debug)]
pub enum Parsed {
    /// Apache Avro.
    Avro(Schema),
    /// JSON Schema.
    Json(Value),
    /// Protocol Buffers.
    Protobuf(Protobuf),
}

/// The name of a format, as registries write it.
#[must_use]
pub fn name(format: SchemaFormat) -> &'static str {
    match format {
        SchemaFormat::Avro => "AVRO",
        SchemaFormat::Json => "JSON",
        SchemaFormat::Protobuf => "PROTOBUF",
    }
}

/// The name of a format, as people write it.
#[must_use]
pub fn title(format: SchemaFormat) -> &'static str {
    match format {
        SchemaFormat::Avro => "Avro",
        SchemaFormat::Json => "JSON Schema",
        SchemaFormat::Protobuf => "Protobuf",
    }
}

/// A format's name that is none.
#[derive(Debug)]
pub struct UnknownFormat;

/// Reads the name of a format.
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

/// Understands a schema; `referred` are all schemas it refers to, also by way of others, the outermost last.
///
/// # Errors
/// Says what is wrong with it.
pub fn parse(entry: &Entry, referred: &[Referred]) -> Result<Parsed, String> {
    match entry.format {
        SchemaFormat::Avro => avro::parse(&entry.text, referred).map(Parsed::Avro),
        SchemaFormat::Json => json::parse(&entry.text, referred).map(Parsed::Json),
        SchemaFormat::Protobuf => protobuf::parse(&entry.text, referred).map(Parsed::Protobuf),
    }
}

/// As [`parse`], for a schema that is registered already or comes from elsewhere: old registries took defaults that do
/// not fit, and records were written by such schemas.
///
/// # Errors
/// As there.
pub fn parse_kept(entry: &Entry, referred: &[Referred]) -> Result<Parsed, String> {
    match entry.format {
        SchemaFormat::Avro => avro::parse_kept(&entry.text, referred).map(Parsed::Avro),
        _ => parse(entry, referred),
    }
}

/// The text that is stored: without blanks that mean nothing; with `normalize`, also the same for all ways to write the
/// same.
///
/// # Errors
/// Says what is wrong with it.
pub fn canonical(format: SchemaFormat, text: &str, normalize: bool) -> Result<String, String> {
    match format {
        SchemaFormat::Avro => avro::canonical(text, normalize),
        SchemaFormat::Json => json::canonical(text),
        SchemaFormat::Protobuf => protobuf::canonical(text),
    }
}

/// The files that a schema asks for by their path: what a `.proto` file imports, what a `$ref` leads to. Not those that
/// every compiler has.
///
/// # Errors
/// Says what is wrong with the schema.
pub fn imports(format: SchemaFormat, text: &str) -> Result<Vec<String>, String> {
    match format {
        SchemaFormat::Avro => Ok(vec![]),
        SchemaFormat::Json => json::imports(text),
        SchemaFormat::Protobuf => protobuf::imports(text),
    }
}

/// What makes two entries the same schema.
#[must_use]
pub fn identity(entry: &Entry) -> String {
    let text = match entry.format {
        SchemaFormat::Avro | SchemaFormat::Json => sorted_text(&entry.text),
        SchemaFormat::Protobuf => protobuf::identity(&entry.text),
    };
    let rest = serde_json::json!([entry.references, entry.metadata, entry.rule_set]);
    format!("{}\n{text}\n{rest}", name(entry.format))
}

/// JSON with the keys of objects in order: their order says nothing.
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
    /// Where and why `self` does not take everything that `writer` writes.
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

    /// What it lacks so that others understand it, and can tell its types from their own.
    #[must_use]
    pub fn lint(&self) -> Vec<Problem> {
        match self {
            Self::Avro(schema) => compat::lint::lint(schema),
            Self::Json(schema) => json::lint(schema),
            Self::Protobuf(schema) => protobuf::lint(schema),
        }
    }

    /// The schema in the form that `format=serialized` asks for, if it has one.
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
