//! Converts keys and values to JSON, and back to the same bytes. All commands and the admin API use it.
//!
//! ```text
//!  bytes ──say──> Said { json, schema, exact }          Target ──bytes──> bytes
//!  Record ──Lines::line──> one JSON object a record ──Records::record──> NewRecord
//! ```
//!
//! A JSON value stands for itself if a [`Target`] would convert it to the same bytes. Otherwise, the bytes become an
//! object with one key. A value that looks like such an object is put into `$value`:
//!
//! | JSON | bytes |
//! |---|---|
//! | `{"$bytes": "<base64>"}` | these bytes |
//! | `{"$text": "<text>"}` | the text in UTF-8, without a schema |
//! | `{"$value": <JSON>}` | the JSON as a value, whatever it looks like; null, too, which alone means an absent value |

mod records;
mod written;

pub use records::{Lines, Records, parse_timestamp, target};
pub use written::{Contracts, WithContracts, Written};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use heddle_contract::format::Schema;
use heddle_contract::wire::{self, Guid, Part, SchemaId, Wire, Writer};
use heddle_core::event::{Header, Record};
use heddle_core::failed::sha256;
use serde_json::{Map, Value};

use crate::guest::Schemas;

const BYTES: &str = "$bytes";
const TEXT: &str = "$text";
const VALUE: &str = "$value";

/// The replacement for an id in the tag of a schema that the record does not name.
const PLAIN: &str = "plain";

/// The number of hexadecimal digits of a schema's digest in a tag.
const DIGEST_DIGITS: usize = 16;

/// The meaning of bytes without a schema id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plain {
    /// Text, the default for keys.
    Text,
    /// JSON, the default for values.
    Json,
}

/// Bytes converted to JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// The content of the bytes.
    pub json: Value,
    /// The schema with which they were written: see [`tag`].
    pub schema: Option<String>,
    /// The bytes after the schema's id in base64, if encoding the JSON would give other bytes.
    pub exact: Option<String>,
}

/// Converts bytes to JSON. `is_typed` is true if the topic has a schema for them; then bytes without a schema are
/// marked.
///
/// # Errors
/// If the schema cannot be fetched now.
pub fn say(bytes: &[u8], plain: Plain, is_typed: bool, schemas: &dyn Schemas) -> Result<Said, String> {
    say_written(bytes, Written::by_prefix(bytes, schemas)?, plain, is_typed)
}

/// Converts a part of a record of `topic` to JSON, like [`say`]. Returns `None` if the record does not have it.
///
/// # Errors
/// As for [`say`].
pub fn say_part(
    topic: &str,
    (record, part): (&Record, Part),
    plain: Plain,
    is_typed: bool,
    schemas: &dyn Schemas,
) -> Result<Option<Said>, String> {
    let Some(bytes) = written::bytes_of(record, part) else { return Ok(None) };
    let written = Written::of(topic, &record.headers, (part, bytes), schemas)?;
    say_written(bytes, written, plain, is_typed).map(Some)
}

/// Converts a value of a table to JSON, like [`say`], but without its record's headers. `contract` is the wire of the
/// table's topic, and the schema with which the table is read.
///
/// # Errors
/// As for [`say`].
pub fn say_of_table(bytes: &[u8], contract: Option<(Wire, Schema)>, schemas: &dyn Schemas) -> Result<Said, String> {
    say_written(bytes, Written::without_header(bytes, contract, schemas)?, Plain::Text, false)
}

fn say_written(bytes: &[u8], written: Option<Written<'_>>, plain: Plain, is_typed: bool) -> Result<Said, String> {
    if let Some(Written { writer, schema, payload, .. }) = written
        && let Ok(value) = schema.decode(&payload)
    {
        let mut again = vec![];
        let is_same = schema.encode(&value, &mut again).is_ok() && again == *payload;
        let exact = (!is_same).then(|| BASE64.encode(&payload));
        return Ok(Said { json: escaped(value), schema: Some(tag(writer, &schema)), exact });
    }
    let json = unframed(bytes, plain, is_typed);
    let is_same = written_plainly(&json, plain).is_some_and(|again| again == bytes);
    let exact = (!is_same).then(|| BASE64.encode(bytes));
    Ok(Said { json, schema: None, exact })
}

/// Converts bytes to a JSON string if they are text. Absent bytes become null.
#[must_use]
pub fn text_or_bytes(bytes: Option<&[u8]>) -> Value {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => Value::Null,
        Some((_, Ok(text))) => text.into(),
        Some((bytes, Err(_))) => marked(BYTES, BASE64.encode(bytes).into()),
    }
}

/// Converts the result of [`text_or_bytes`] back to bytes.
///
/// # Errors
/// If it is another JSON value.
pub fn from_text_or_bytes(json: &Value) -> Result<Option<Bytes>, String> {
    match (json, marker(json)) {
        (Value::Null, _) => Ok(None),
        (Value::String(text), _) => Ok(Some(text.clone().into())),
        (_, Some((BYTES, encoded))) => from_base64(encoded).map(Some),
        _ => Err(format!("write text, null or {{\"{BYTES}\": \"<base64>\"}}")),
    }
}

/// The name of a schema in lines: its id, its GUID or `plain`, and the beginning of its text's SHA-256, because ids
/// differ between registries.
#[must_use]
pub fn tag(writer: Writer, schema: &Schema) -> String {
    let digest = digest(schema);
    match writer {
        Writer::Id(id) => format!("{}/{digest}", id.0),
        Writer::Guid(guid) => format!("{guid}/{digest}"),
        Writer::Contract => format!("{PLAIN}/{digest}"),
    }
}

fn digest(schema: &Schema) -> String {
    let mut digest = sha256(schema.text().as_bytes());
    digest.truncate(DIGEST_DIGITS);
    digest
}

fn marked(name: &str, value: Value) -> Value {
    Value::Object(Map::from_iter([(name.to_owned(), value)]))
}

/// The marker in an object with one key, and its value.
fn marker(json: &Value) -> Option<(&str, &Value)> {
    let object = json.as_object().filter(|object| object.len() == 1)?;
    let (name, value) = object.iter().next()?;
    [BYTES, TEXT, VALUE].contains(&name.as_str()).then_some((name.as_str(), value))
}

/// Returns true if the JSON represents bytes without a schema.
fn is_raw(json: &Value) -> bool {
    matches!(marker(json), Some((BYTES | TEXT, _)))
}

/// Marks a value that would otherwise be taken for a marker or for null.
#[must_use]
pub fn escaped(value: Value) -> Value {
    if value.is_null() || marker(&value).is_some() { marked(VALUE, value) } else { value }
}

fn unframed(bytes: &[u8], plain: Plain, is_typed: bool) -> Value {
    let Ok(text) = std::str::from_utf8(bytes) else { return marked(BYTES, BASE64.encode(bytes).into()) };
    match (plain, serde_json::from_str::<Value>(text)) {
        (Plain::Text, _) if !is_typed => text.into(),
        (Plain::Json, Ok(value)) if !is_typed => escaped(value),
        _ => marked(TEXT, text.into()),
    }
}

/// The bytes that a [`Target`] without a schema writes for the result of [`unframed`].
fn written_plainly(json: &Value, plain: Plain) -> Option<Bytes> {
    Target::new(plain, None).bytes(json).ok().flatten()
}

fn from_base64(encoded: &Value) -> Result<Bytes, String> {
    let text = encoded.as_str().ok_or_else(|| format!("{encoded} is not base64"))?;
    BASE64.decode(text).map(Bytes::from).map_err(|e| format!("{encoded} is not base64: {e}"))
}

/// The encoding of keys or values of one topic.
#[derive(Clone, Debug)]
pub struct Target {
    /// The meaning of values without a schema.
    pub plain: Plain,
    /// The schema for writing, if there is one. An error is the reason why the topic's schema cannot be used.
    pub schema: Result<Option<(SchemaId, Schema)>, String>,
    /// The ids of the branches in their order, if the schema is a union whose records are written with separate
    /// schemas.
    pub records: Vec<SchemaId>,
    /// The place in which the record names the schema.
    pub frame: Frame,
}

/// The place in which a record names the schema of a key or value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// In front of it.
    Prefix,
    /// In a header, by its GUID if it has one.
    Header(Option<Guid>),
    /// Nowhere.
    Plain,
}

impl Target {
    /// Creates a target with a schema, if there is one.
    #[must_use]
    pub fn new(plain: Plain, schema: Option<(SchemaId, Schema)>) -> Self {
        Self { plain, schema: Ok(schema), records: vec![], frame: Frame::Prefix }
    }

    /// Sets another frame.
    #[must_use]
    pub fn framed(self, frame: Frame) -> Self {
        Self { frame, ..self }
    }

    /// The header that names the schema of the result of [`bytes`](Self::bytes) for `json`, if there is one.
    #[must_use]
    pub fn header(&self, part: Part, json: &Value) -> Option<Header> {
        let (Frame::Header(guid), Ok(Some((id, schema)))) = (self.frame, &self.schema) else { return None };
        let is_bytes = json.is_null() || is_raw(json);
        let content = || wire::header(*id, guid, &schema.indexes());
        (!is_bytes && self.records.is_empty()).then(|| Header::new(part.header(), content()))
    }

    /// Encodes `json`. Returns `None` for null.
    ///
    /// # Errors
    /// If it does not match the schema.
    pub fn bytes(&self, json: &Value) -> Result<Option<Bytes>, String> {
        match marker(json) {
            _ if json.is_null() => Ok(None),
            Some((BYTES, encoded)) => from_base64(encoded).map(Some),
            Some((TEXT, Value::String(text))) => Ok(Some(text.clone().into())),
            Some((TEXT, other)) => Err(format!("{other} is not a text")),
            Some((_, value)) => self.value(value).map(Some),
            None => self.value(json).map(Some),
        }
    }

    /// Encodes a value. Null is encoded, too.
    ///
    /// # Errors
    /// If it does not match the schema.
    pub fn value(&self, value: &Value) -> Result<Bytes, String> {
        match (self.schema.as_ref()?, value, self.plain) {
            (Some((id, schema)), ..) => {
                let mut bytes = vec![];
                schema.encode(value, &mut bytes).map_err(|e| e.to_string())?;
                if self.records.is_empty() {
                    return Ok(self.framed_bytes(*id, schema, &bytes));
                }
                wire::by_branch(&self.records, &bytes).map(Bytes::from).ok_or_else(|| "it has no branch".to_owned())
            }
            (None, Value::String(text), Plain::Text) => Ok(text.clone().into()),
            (None, value, _) => Ok(value.to_string().into()),
        }
    }

    /// Encodes text that a user typed: as JSON if there is a schema, otherwise as text. Text that does not match the
    /// schema as JSON is encoded as a string.
    ///
    /// # Errors
    /// If it does not match the schema.
    pub fn typed_in(&self, text: &str) -> Result<Bytes, String> {
        let json = serde_json::from_str::<Value>(text).ok();
        let string = || self.value(&text.into());
        match json.filter(|json| marker(json).is_some() || !matches!(self.schema, Ok(None))) {
            None => string(),
            Some(json) if json.is_null() => self.value(&json).or_else(|_| string()),
            Some(json) => match self.bytes(&json) {
                Ok(bytes) => bytes.ok_or_else(|| "null is not a key".to_owned()),
                Err(why) => string().map_err(|_| why),
            },
        }
    }

    /// Encodes a key from fields of a value: from a single field, or from the fields of a key that is a record.
    ///
    /// # Errors
    /// If the value lacks a field, or the fields do not match the schema.
    pub fn of_fields(&self, value: &Value, names: &[String]) -> Result<Bytes, String> {
        let field = |name: &String| match value.get(name) {
            Some(Value::Null) | None => Err(format!("the value has no field `{name}` to take the key from")),
            Some(field) => Ok((name.clone(), field.clone())),
        };
        let fields = names.iter().map(field).collect::<Result<Map<_, _>, _>>()?;
        let whole = match fields.values().collect::<Vec<_>>().as_slice() {
            [one] => self.value(one),
            _ => Err("a key without a schema consists of one field".to_owned()),
        };
        match self.schema.as_ref()? {
            Some((_, schema)) if schema.is_record() => whole.or_else(|_| self.value(&fields.into())),
            _ => whole,
        }
    }

    /// The bytes of a record for an encoded value.
    fn framed_bytes(&self, id: SchemaId, schema: &Schema, encoded: &[u8]) -> Bytes {
        match self.frame {
            Frame::Prefix => [&wire::prefix(id)[..], encoded].concat().into(),
            Frame::Header(_) | Frame::Plain => Bytes::copy_from_slice(schema.without_indexes(encoded)),
        }
    }

    /// Returns the bytes in `exact` if they decode to `json`.
    fn exactly(&self, json: &Value, exact: &Value) -> Result<Option<Bytes>, String> {
        let payload = from_base64(exact)?;
        let (says, bytes) = match self.schema.as_ref()? {
            None => (unframed(&payload, self.plain, false), payload),
            Some((id, schema)) => {
                let Ok(value) = schema.decode(&payload) else { return Ok(None) };
                (escaped(value), self.framed_bytes(*id, schema, &payload))
            }
        };
        Ok((says == *json).then_some(bytes))
    }
}
