//! Decodes a single letter.

use bytes::Bytes;
use heddle_contract::wire::{self, Part, SchemaId, Writer};
use heddle_core::event::Header;
use heddle_core::failed::header;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::letter::{Entry, Letter, Reduced};
use super::marks::Mark;
use crate::guest::Schemas;
use crate::values::{Frame, Plain, Target, Written, escaped, say_part, text_or_bytes};

/// A letter for display.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    /// The list entry.
    #[serde(flatten)]
    pub entry: Entry,
    /// The component that failed to process it.
    pub component: String,
    /// The digest of the component's file.
    pub digest: Option<String>,
    /// The time of its production, in milliseconds since 1970.
    pub timestamp: i64,
    /// The key, in the form of `heddle consume --json`.
    pub key: Value,
    /// The headers of the original record, in the same form.
    pub headers: Vec<(String, Value)>,
    /// The value, decoded with the schema with which it was written.
    pub value: Value,
    /// The value's bytes in hexadecimal digits, if it cannot be decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hex: Option<String>,
    /// The log lines of the handler in the last attempt.
    pub log: Vec<Value>,
    /// The missing parts, if the dead-letter topic refused the whole record. Then `key` and `hex` are truncated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reduced: Option<Reduced>,
}

impl Shown {
    /// Decodes a letter for display.
    #[must_use]
    pub fn new(letter: &Letter, mark: Option<&Mark>, schemas: &dyn Schemas) -> Self {
        let pair = |header: &Header| (header.name.to_string(), text_or_bytes(header.value.as_deref()));
        let bytes = letter.record.value.as_deref();
        let value = decoded(letter, schemas).ok().filter(|_| letter.reduced().is_none());
        let hex = if value.is_none() { bytes.map(hex) } else { None };
        let log = letter.told(header::LOG).unwrap_or_default();
        let line = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| Value::String(line.to_owned()));
        Self {
            entry: letter.entry(mark),
            component: letter.component.clone(),
            digest: letter.told(header::DIGEST),
            timestamp: letter.record.timestamp.0,
            key: key(letter, schemas),
            headers: letter.own_headers().iter().map(pair).collect(),
            value: value.unwrap_or(Value::Null),
            hex,
            log: log.lines().map(line).collect(),
            reduced: letter.reduced(),
        }
    }
}

/// A letter's key. The truncated key of a reduced letter is shown as text or bytes.
fn key(letter: &Letter, schemas: &dyn Schemas) -> Value {
    let bytes = letter.record.key.as_deref();
    let whole = bytes.filter(|_| letter.reduced().is_none());
    let record = (&letter.record, Part::Key);
    let said = whole.and_then(|_| say_part(&letter.origin.topic, record, Plain::Text, false, schemas).ok().flatten());
    said.map_or_else(|| text_or_bytes(bytes), |said| said.json)
}

/// Decodes the value of a letter to JSON, with the schema that wrote it.
///
/// # Errors
/// The reason why it cannot be decoded.
pub fn decoded(letter: &Letter, schemas: &dyn Schemas) -> Result<Value, String> {
    if letter.record.value.is_none() {
        return Ok(Value::Null);
    }
    let written = written(letter, schemas)?;
    written.schema.decode(&written.payload).map(escaped).map_err(|e| e.to_string())
}

/// Encodes `value` with the schema that wrote the letter's value, and names it in the same way. Null is a tombstone.
///
/// # Errors
/// The reason why `value` does not match that schema.
pub fn encode(letter: &Letter, value: &Value, schemas: &dyn Schemas) -> Result<Option<Bytes>, String> {
    if value.is_null() {
        return Ok(None);
    }
    let written = written(letter, schemas)?;
    let (id, frame) = match written.writer {
        Writer::Id(id) if !written.in_header => (id, Frame::Prefix),
        // The letter has the header.
        Writer::Id(_) | Writer::Guid(_) => (SchemaId(0), Frame::Header(None)),
        Writer::Contract => (SchemaId(0), Frame::Plain),
    };
    let schema = written.schema.like(&written.payload);
    Target::new(Plain::Json, Some((id, schema))).framed(frame).bytes(value)
}

/// The letter's value and the schema that wrote it.
fn written<'l>(letter: &'l Letter, schemas: &dyn Schemas) -> Result<Written<'l>, String> {
    let bytes = letter.record.value.as_deref().unwrap_or_default();
    if let Some(written) = Written::of(&letter.origin.topic, &letter.record.headers, (Part::Value, bytes), schemas)? {
        return Ok(written);
    }
    Err(match wire::split(bytes) {
        Some((id, _)) => format!("the registry has no schema with the id {}", id.0),
        None => "it does not begin with a zero byte and the id of a schema".to_owned(),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
