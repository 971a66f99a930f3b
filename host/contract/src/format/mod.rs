//! The formats of schemas. Each format parses schemas, identifies them, and checks if one schema reads what another
//! wrote.
//!
//! ```text
//!  Entry { format, text, references } ──parse──> Parsed ──reads(reader, writer)──> problems
//!                                 └──identity──> equal for texts of the same schema
//! ```
//!
//! This module is pure. The caller passes the schemas to which a reference refers.

pub mod avro;
pub mod bounds;
pub mod json_schema;
mod links;
pub mod name;
pub mod plan;
pub mod protobuf;
pub mod shape;
mod values;

pub use links::{Link, follow, imports};
pub use plan::Plan;
pub use values::{DecodeError, EncodeError};

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use self::shape::Shapes;
use crate::compat::Problem;
use crate::section::SchemaFormat;
use crate::wire::{self, Guid};

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
    /// Metadata of clients, stored unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Value>,
    /// Rules of clients, stored unchanged.
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

/// A schema to which another one refers: its name there, and its text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Referred {
    /// The name in the referring schema.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// A parsed schema.
#[derive(Clone, Debug, PartialEq)]
pub enum Schema {
    /// Apache Avro.
    Avro(Arc<avro::Schema>),
    /// JSON Schema.
    JsonSchema(Arc<json_schema::Schema>),
    /// Protocol Buffers.
    Protobuf(Arc<protobuf::Schema>),
}

impl From<avro::Schema> for Schema {
    fn from(schema: avro::Schema) -> Self {
        Self::Avro(Arc::new(schema))
    }
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

/// The extension of a format's files.
#[must_use]
pub fn extension(format: SchemaFormat) -> &'static str {
    match format {
        SchemaFormat::Avro => "avsc",
        SchemaFormat::Json => "json",
        SchemaFormat::Protobuf => "proto",
    }
}

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
pub fn parse(entry: &Entry, referred: &[Referred]) -> Result<Schema, String> {
    match entry.format {
        SchemaFormat::Avro => avro::registered::parse(&entry.text, referred).map(Schema::from),
        SchemaFormat::Json => json_schema::parse(&entry.text, referred).map(|s| Schema::JsonSchema(Arc::new(s))),
        SchemaFormat::Protobuf => protobuf::parse(&entry.text, referred).map(|s| Schema::Protobuf(Arc::new(s))),
    }
}

/// Like [`parse`], for a schema that is already registered or comes from elsewhere. Old registries accepted invalid
/// defaults, and records were written with such schemas.
///
/// # Errors
/// As for [`parse`].
pub fn parse_kept(entry: &Entry, referred: &[Referred]) -> Result<Schema, String> {
    match entry.format {
        SchemaFormat::Avro => avro::registered::parse_kept(&entry.text, referred).map(Schema::from),
        _ => parse(entry, referred),
    }
}

/// Returns the text to store, without insignificant blanks. With `normalize`, equal schemas get equal texts.
///
/// # Errors
/// The reason why the text is not valid.
pub fn canonical(format: SchemaFormat, text: &str, normalize: bool) -> Result<String, String> {
    match format {
        SchemaFormat::Avro => avro::registered::canonical(text, normalize),
        SchemaFormat::Json => json_schema::canonical(text),
        SchemaFormat::Protobuf => protobuf::canonical(text),
    }
}

/// A text that is equal for entries of the same schema.
#[must_use]
pub fn identity(entry: &Entry) -> String {
    let text = match entry.format {
        // `Value` and `shop.Value` are the same name, as in the text that Avro for Java prints.
        SchemaFormat::Avro => {
            sorted_text(&avro::registered::canonical(&entry.text, true).unwrap_or_else(|_| entry.text.clone()))
        }
        SchemaFormat::Json => sorted_text(&entry.text),
        SchemaFormat::Protobuf => protobuf::identity(&entry.text),
    };
    let rest = serde_json::json!([entry.references, entry.metadata, entry.rule_set]);
    format!("{}\n{text}\n{rest}", name(entry.format))
}

/// The GUID of a schema. It depends only on the stored form, so all registries give the same GUID.
#[must_use]
pub fn guid(entry: &Entry) -> Guid {
    let rest = serde_json::json!([entry.references, entry.metadata, entry.rule_set]);
    let digest = Sha256::digest(format!("{}\n{}\n{rest}", name(entry.format), entry.text));
    let mut guid = [0; 16];
    guid.copy_from_slice(&digest[..16]);
    // Version 8, whose content is free, and the variant of RFC 9562.
    guid[6] = guid[6] & 0x0f | 0x80;
    guid[8] = guid[8] & 0x3f | 0x80;
    Guid(guid)
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

impl Schema {
    /// Its format.
    #[must_use]
    pub fn format(&self) -> SchemaFormat {
        match self {
            Self::Avro(_) => SchemaFormat::Avro,
            Self::JsonSchema(_) => SchemaFormat::Json,
            Self::Protobuf(_) => SchemaFormat::Protobuf,
        }
    }

    /// Its text. An Avro schema's text includes the types to which it refers.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Avro(schema) => schema.json(),
            Self::JsonSchema(schema) => schema.text(),
            Self::Protobuf(schema) => schema.text(),
        }
    }

    /// Returns the places where `self` does not accept what `writer` writes, with the reasons.
    #[must_use]
    pub fn problems(&self, writer: &Self) -> Vec<Problem> {
        match (self, writer) {
            (Self::Avro(reader), Self::Avro(writer)) => avro::compat::problems(reader, writer),
            (Self::JsonSchema(reader), Self::JsonSchema(writer)) => {
                json_schema::compat::problems(reader.bundled(), writer.bundled())
            }
            (Self::Protobuf(reader), Self::Protobuf(writer)) => protobuf::compat::problems(reader, writer),
            (reader, writer) => {
                let (theirs, ours) = (name(writer.format()), name(reader.format()));
                let what = format!("the writer's schema is {theirs}, the reader's {ours}");
                vec![Problem { path: ".".to_owned(), what }]
            }
        }
    }

    /// Returns the places where a component typed by `self` cannot read what `writer` writes, with the reasons. Types
    /// of the writer's text that such values never have do not count.
    #[must_use]
    pub fn reads(&self, writer: &Self) -> Vec<Problem> {
        match (self, writer) {
            (Self::Protobuf(reader), Self::Protobuf(writer)) => protobuf::compat::unreadable(reader, writer),
            (Self::JsonSchema(reader), Self::JsonSchema(writer)) => {
                json_schema::compat::unreadable(reader.bundled(), writer.bundled())
            }
            (reader, writer) => reader.problems(writer),
        }
    }

    /// Returns true if a registry stores both as one schema.
    #[must_use]
    pub fn is_same_text(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Protobuf(a), Self::Protobuf(b)) => a.is_same_file(b),
            (a, b) => a == b,
        }
    }

    /// Returns the missing parts that others need to understand the schema, and to distinguish its types from theirs.
    #[must_use]
    pub fn lint(&self) -> Vec<Problem> {
        match self {
            Self::Avro(schema) => avro::lint::lint(schema),
            Self::JsonSchema(schema) => json_schema::lint(schema),
            Self::Protobuf(schema) => protobuf::lint(schema),
        }
    }

    /// The schema in the form for `format=serialized`, if it has one.
    #[must_use]
    pub fn serialized(&self) -> Option<String> {
        match self {
            Self::Protobuf(schema) => schema.serialized(),
            Self::Avro(_) | Self::JsonSchema(_) => None,
        }
    }

    /// The Avro schema, if it is one.
    #[must_use]
    pub fn avro(&self) -> Option<&Arc<avro::Schema>> {
        match self {
            Self::Avro(schema) => Some(schema),
            Self::JsonSchema(_) | Self::Protobuf(_) => None,
        }
    }

    /// The type of its values, for messages.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Avro(schema) => schema.describe(schema.root()),
            Self::Protobuf(_) => self.type_names().join(" or "),
            Self::JsonSchema(schema) => schema.title().to_owned(),
        }
    }

    /// Returns true if values are records, whose fields have names.
    #[must_use]
    pub fn is_record(&self) -> bool {
        match self {
            Self::Avro(schema) => matches!(schema.node(schema.root()), avro::Node::Record(_)),
            Self::Protobuf(_) => true,
            Self::JsonSchema(schema) => schema.is_record(),
        }
    }

    /// The files that it imports, directly or indirectly, in addition to its text.
    #[must_use]
    pub fn imports(&self) -> &[Referred] {
        match self {
            Self::Protobuf(schema) => schema.referred(),
            Self::JsonSchema(schema) => schema.referred(),
            Self::Avro(_) => &[],
        }
    }

    /// The names of its types within its text, where that does not say which of several they are.
    #[must_use]
    pub fn types_within(&self) -> &[String] {
        match self {
            Self::Protobuf(schema) => schema.message_names(),
            Self::Avro(_) | Self::JsonSchema(_) => &[],
        }
    }

    /// The same schema for values of another type of its text.
    ///
    /// # Errors
    /// If the text has no such type.
    pub fn with_type(&self, name: &str) -> Result<Self, String> {
        self.with_types(&[name])
    }

    /// The same schema with values of one of several types of its text.
    ///
    /// # Errors
    /// If the text has no such type.
    pub fn with_types(&self, names: &[impl AsRef<str>]) -> Result<Self, String> {
        match self {
            Self::Protobuf(schema) => schema.with_messages(names).map(|schema| Self::Protobuf(Arc::new(schema))),
            Self::JsonSchema(schema) => schema.with_types(names).map(|schema| Self::JsonSchema(Arc::new(schema))),
            Self::Avro(_) => Err(format!("{} has no choice of types", title(self.format()))),
        }
    }

    /// The bytes before an encoded value that name its type among several. These are the message indexes of Protobuf.
    #[must_use]
    pub fn indexes(&self) -> Vec<u8> {
        let mut indexes = vec![];
        if let Self::Protobuf(schema) = self {
            schema.write_indexes(0, &mut indexes);
        }
        indexes
    }

    /// The number of the type that `value` has, and the place where the value of that type begins.
    #[must_use]
    pub fn branch(&self, value: &[u8]) -> Option<(usize, usize)> {
        match self {
            Self::Avro(schema) => wire::branch(schema.type_names().len(), value),
            Self::Protobuf(schema) => schema.case_of(value).map(|case| (case, 0)),
            Self::JsonSchema(_) => None,
        }
    }

    /// The encoding of a value without what [`indexes`](Self::indexes) puts in front of it.
    #[must_use]
    pub fn without_indexes<'b>(&self, value: &'b [u8]) -> &'b [u8] {
        match self {
            Self::Protobuf(_) => protobuf::indexes::skip(value),
            Self::Avro(_) | Self::JsonSchema(_) => value,
        }
    }

    /// The same schema for the type of `value`, if its text has several types.
    #[must_use]
    pub fn like(&self, value: &[u8]) -> Self {
        match self {
            Self::Protobuf(schema) => {
                schema.like(value).map_or_else(|| self.clone(), |schema| Self::Protobuf(Arc::new(schema)))
            }
            Self::Avro(_) | Self::JsonSchema(_) => self.clone(),
        }
    }

    /// The places that cannot type a component.
    #[must_use]
    pub fn inexpressible(&self) -> &[Problem] {
        match self {
            Self::Protobuf(schema) => &schema.types().refused,
            Self::JsonSchema(schema) => schema.refused(),
            Self::Avro(_) => &[],
        }
    }

    /// Returns true if values have one of several types.
    #[must_use]
    pub fn is_union(&self) -> bool {
        match self {
            Self::Avro(schema) => schema.is_union(),
            Self::Protobuf(schema) => schema.is_union(),
            Self::JsonSchema(_) => false,
        }
    }

    /// The names of the values' types: those of a union's branches, or the only one.
    #[must_use]
    pub fn type_names(&self) -> Vec<String> {
        match self {
            Self::Avro(schema) => schema.type_names(),
            Self::Protobuf(schema) => schema.roots().iter().map(|root| root.full_name().to_owned()).collect(),
            Self::JsonSchema(_) => vec![self.describe()],
        }
    }

    /// The record types of the values by their full names, each as a separate schema. `None` if the values include
    /// types other than records.
    ///
    /// # Errors
    /// If a branch is not a schema by itself.
    pub fn records(&self) -> Result<Option<Vec<(String, Self)>>, avro::SchemaError> {
        match self {
            Self::Avro(schema) => {
                let records = schema.records()?;
                Ok(records.map(|all| all.into_iter().map(|(name, schema)| (name, schema.into())).collect()))
            }
            Self::Protobuf(schema) if schema.is_union() => {
                let of = |name: String| Some((name.clone(), self.with_type(&name).ok()?));
                Ok(Some(self.type_names().into_iter().filter_map(of).collect()))
            }
            Self::Protobuf(_) | Self::JsonSchema(_) => Ok(Some(vec![(self.describe(), self.clone())])),
        }
    }

    /// The types of its values.
    #[must_use]
    pub fn shapes(&self) -> Shapes {
        match self {
            Self::Avro(schema) => avro::shapes(schema),
            Self::Protobuf(schema) => schema.types().shapes.clone(),
            Self::JsonSchema(schema) => schema.types().shapes.clone(),
        }
    }
}
