//! Whole records as JSON objects, one in each line, for the output of `heddle consume --json` and the input of `heddle
//! produce --json`.
//!
//! ```text
//!  {"partition":0,"offset":7,"timestamp":1700000000000,"key":…,"headers":[["name","text"]],"value":…,
//!   "schemas":{"key":"1/…","value":"2/…"},"exact":{"value":"…"}}
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use heddle_contract::format::Schema;
use heddle_contract::wire::{self, Part, SchemaId, key_subject, value_subject};
use heddle_core::event::{Header, NewRecord, Partition, Record, Timestamp, Topic};
use serde_json::{Map, Value};

use super::{Frame, PLAIN, Plain, Said, Target, digest, from_text_or_bytes, is_raw, say_part, text_or_bytes};
use crate::guest::Schemas;
use crate::registry::{Registry, format};
use crate::times::point_in_time;

/// The fields of a line.
const FIELDS: [&str; 9] = ["topic", "partition", "offset", "timestamp", "key", "headers", "value", "schemas", "exact"];

/// Prints records of one topic.
pub struct Lines<'s> {
    /// The schemas with which records were written.
    pub schemas: &'s dyn Schemas,
    /// True if the topic's keys have a schema.
    pub has_typed_keys: bool,
    /// True if the topic's values have a schema.
    pub has_typed_values: bool,
    /// The meaning of values without a schema.
    pub plain: Plain,
}

impl Lines<'_> {
    /// The value of a record.
    ///
    /// # Errors
    /// If the schema cannot be fetched now.
    pub fn value(&self, record: &Record) -> Result<Value, String> {
        let said = self.say(record, Part::Value)?;
        Ok(said.map_or(Value::Null, |said| said.json))
    }

    /// The key of a record.
    ///
    /// # Errors
    /// If the schema cannot be fetched now.
    pub fn key(&self, record: &Record) -> Result<Value, String> {
        let said = self.say(record, Part::Key)?;
        Ok(said.map_or(Value::Null, |said| said.json))
    }

    /// The whole record.
    ///
    /// # Errors
    /// If a schema cannot be fetched now.
    pub fn line(&self, record: &Record) -> Result<Value, String> {
        let (mut said, mut schemas, mut exact) = (vec![], Map::new(), Map::new());
        for part in [Part::Key, Part::Value] {
            let name = part.name();
            let Some(part) = self.say(record, part)? else {
                said.push(Value::Null);
                continue;
            };
            schemas.extend(part.schema.map(|tag| (name.to_owned(), tag.into())));
            exact.extend(part.exact.map(|bytes| (name.to_owned(), bytes.into())));
            said.push(part.json);
        }
        let (value, key) = (said.pop().unwrap_or_default(), said.pop().unwrap_or_default());
        let header =
            |header: &Header| Value::Array(vec![header.name.clone().into(), text_or_bytes(header.value.as_deref())]);
        let mut line = Map::from_iter([
            ("partition".to_owned(), record.source.partition.0.into()),
            ("offset".to_owned(), record.offset.0.into()),
            ("timestamp".to_owned(), record.timestamp.0.into()),
            ("key".to_owned(), key),
            ("headers".to_owned(), record.headers.iter().map(header).collect()),
            ("value".to_owned(), value),
        ]);
        line.extend((!schemas.is_empty()).then(|| ("schemas".to_owned(), schemas.into())));
        line.extend((!exact.is_empty()).then(|| ("exact".to_owned(), exact.into())));
        Ok(line.into())
    }

    fn say(&self, record: &Record, part: Part) -> Result<Option<Said>, String> {
        let (plain, is_typed) = match part {
            Part::Key => (Plain::Text, self.has_typed_keys),
            Part::Value => (self.plain, self.has_typed_values),
        };
        say_part(&record.source.topic, (record, part), plain, is_typed, self.schemas)
    }
}

/// Converts lines to records of one topic.
pub struct Records {
    topic: Topic,
    key: Target,
    value: Target,
    registry: Arc<dyn Registry>,
    schemas: Arc<dyn Schemas>,
    /// The targets of schemas that lines name.
    named: BTreeMap<(Part, String), Target>,
}

impl Records {
    /// Creates a converter for `topic`. The targets apply to keys and values unless a line names another schema.
    #[must_use]
    pub fn new(
        topic: &str,
        (key, value): (Target, Target),
        registry: Arc<dyn Registry>,
        schemas: Arc<dyn Schemas>,
    ) -> Self {
        Self { topic: topic.into(), key, value, registry, schemas, named: BTreeMap::new() }
    }

    /// The encoding of keys.
    #[must_use]
    pub fn keys(&self) -> &Target {
        &self.key
    }

    /// A record with this value and nothing else.
    ///
    /// # Errors
    /// If the value does not match the topic's schema.
    pub fn of_value(&self, value: &Value) -> Result<NewRecord, String> {
        let headers = self.value.header(Part::Value, value).into_iter().collect();
        let (topic, value) = (self.topic.clone(), self.value.bytes(value)?);
        Ok(NewRecord { topic, partition: None, timestamp: None, key: None, value, headers })
    }

    /// Converts a line to a record. A line with an `offset` comes from a log; its partition is kept only if
    /// `keeps_partitions` is set.
    ///
    /// # Errors
    /// If the line is not a record, or does not match the topic's schemas.
    pub fn record(&mut self, line: &Value, keeps_partitions: bool) -> Result<NewRecord, String> {
        let Some(object) = line.as_object() else { return Err("a record is written as a JSON object".to_owned()) };
        if let Some(unknown) = object.keys().find(|name| !FIELDS.contains(&name.as_str())) {
            return Err(format!("a record has no field `{unknown}`; it has {}", FIELDS.join(", ")));
        }
        if !object.contains_key("value") {
            return Err("the record has no field `value`; a tombstone has `\"value\": null`".to_owned());
        }
        let field = |name: &str| object.get(name).unwrap_or(&Value::Null);
        let partition = match field("partition") {
            Value::Null => None,
            number => Some(Partition(whole(number, "partition")?)),
        };
        let mut headers = headers(field("headers"))?;
        Ok(NewRecord {
            topic: self.topic.clone(),
            partition: partition.filter(|_| keeps_partitions || field("offset").is_null()),
            timestamp: timestamp(field("timestamp"))?,
            key: self.part(Part::Key, object, &mut headers)?,
            value: self.part(Part::Value, object, &mut headers)?,
            headers,
        })
    }

    /// Encodes a part of a line. A header that names a schema decides; without one, the topic's encoding may add it.
    fn part(
        &mut self,
        part: Part,
        line: &Map<String, Value>,
        headers: &mut Vec<Header>,
    ) -> Result<Option<Bytes>, String> {
        let name = part.name();
        let of = |field: &str| line.get(field).and_then(|object| object.get(name));
        let json = line.get(name).unwrap_or(&Value::Null);
        if json.is_null() {
            return Ok(None);
        }
        let in_part = |why: String| format!("{name}: {why}");
        let named = headers.iter().rfind(|header| header.name == part.header());
        let target = match named {
            // Bytes stay as they are, whatever names their schema.
            Some(_) if is_raw(json) => Ok(Target::new(Plain::Text, None)),
            Some(header) => self.named_by(part, header),
            None => self.target(part, of("schemas")),
        };
        let target = target.map_err(in_part)?;
        if named.is_none() {
            headers.extend(target.header(part, json));
        }
        if let Some(exact) = of("exact") {
            // The exact bytes are ignored if they decode to another value, so that a value can be edited without them.
            if let Some(bytes) = target.exactly(json, exact).map_err(in_part)? {
                return Ok(Some(bytes));
            }
        }
        target.bytes(json).map_err(in_part)
    }

    /// The encoding of a part with the schema that a header of the line names.
    fn named_by(&self, part: Part, header: &Header) -> Result<Target, String> {
        let own = if part == Part::Key { &self.key } else { &self.value };
        let wrong = || format!("the header {} is neither an id nor a GUID of a schema", part.header());
        let (writer, indexes) = wire::named(header.value.as_deref().unwrap_or_default()).ok_or_else(wrong)?;
        let schema = self.schemas.named(writer)?;
        let schema = schema.ok_or_else(|| {
            let header = part.header();
            format!("the registry has no schema with {writer} of the header {header}; remove the header from the line")
        })?;
        let schema = if indexes.is_empty() { schema } else { schema.like(indexes) };
        // The header is there already, so its content does not matter.
        Ok(Target::new(own.plain, Some((SchemaId(0), schema))).framed(Frame::Header(None)))
    }

    /// The encoding of a part with the schema that the line names.
    fn target(&mut self, part: Part, tag: Option<&Value>) -> Result<Target, String> {
        let own = if part == Part::Key { &self.key } else { &self.value };
        let Some(tag) = tag else { return Ok(own.clone()) };
        let tag = tag.as_str().ok_or_else(|| format!("{tag} does not name a schema"))?;
        if let Some(known) = self.named.get(&(part, tag.to_owned())) {
            return Ok(known.clone());
        }
        let is_own = |schema: &Schema| tag.split_once('/') == Some((PLAIN, &digest(schema)));
        if own.schema.as_ref().is_ok_and(|own| own.as_ref().is_some_and(|(_, schema)| is_own(schema))) {
            return Ok(own.clone().framed(Frame::Plain));
        }
        if tag.split_once('/').is_some_and(|(id, _)| id == PLAIN) {
            return Err(format!("{tag} is not the schema in contracts/; remove `schemas` from the line"));
        }
        let target = match self.find(part, tag)? {
            Some(found) => Target::new(own.plain, Some(found)),
            None => own.clone(),
        };
        if target.schema == Ok(None) {
            return Err(format!("the registry has no schema {tag}; register it, or remove `schemas` from the line"));
        }
        self.named.insert((part, tag.to_owned()), target.clone());
        Ok(target)
    }

    /// The schema of a tag. It is found by its id if this registry has the same schema there, otherwise among the
    /// versions of the topic's subject.
    fn find(&self, part: Part, tag: &str) -> Result<Option<(SchemaId, Schema)>, String> {
        let wrong = || format!("`{tag}` does not name a schema; write <id>/<digest>, as `heddle consume --json` does");
        let (id, expected) = tag.split_once('/').ok_or_else(wrong)?;
        let id = SchemaId(id.parse().map_err(|_| wrong())?);
        let is_it = |schema: &Schema| digest(schema) == expected;
        if let Some(schema) = self.schemas.writer(id)?.filter(|schema| is_it(schema)) {
            return Ok(Some((id, schema)));
        }
        let subject = if part == Part::Key { key_subject(&self.topic) } else { value_subject(&self.topic) };
        for version in self.registry.versions(&subject).map_err(|e| e.to_string())? {
            if let Some(schema) = self.schemas.writer(version.id)?.filter(|schema| is_it(schema)) {
                return Ok(Some((version.id, schema)));
            }
        }
        Ok(None)
    }
}

/// The encoding with the newest schema of a subject.
///
/// # Errors
/// If the schema cannot be fetched now.
pub fn target(plain: Plain, registry: &dyn Registry, subject: &str, schemas: &dyn Schemas) -> anyhow::Result<Target> {
    let schema = match registry.latest(subject)? {
        None => Ok(None),
        Some(version) => match schemas.writer(version.id).map_err(|why| anyhow::anyhow!(why))? {
            Some(schema) => Ok(Some((version.id, schema))),
            None => Err(format!(
                "version {} of the subject `{subject}` is not valid {}; write {{\"$bytes\": \"<base64>\"}}",
                version.version,
                format::title(version.format)
            )),
        },
    };
    Ok(Target { plain, schema, records: vec![], frame: Frame::Prefix })
}

fn whole(number: &Value, what: &str) -> Result<i32, String> {
    let whole = number.as_i64().and_then(|number| i32::try_from(number).ok()).filter(|number| *number >= 0);
    whole.ok_or_else(|| format!("{what}: {number} is not the number of a partition"))
}

fn timestamp(json: &Value) -> Result<Option<Timestamp>, String> {
    match json {
        Value::Null => Ok(None),
        Value::String(text) => parse_timestamp(text).map(Some),
        number => {
            let ms = number.as_i64().ok_or_else(|| format!("timestamp: {number} is not a number of milliseconds"))?;
            Ok(Some(Timestamp(ms)))
        }
    }
}

/// Parses a record's timestamp: milliseconds since 1970, or a point in time.
///
/// # Errors
/// If it is neither.
pub fn parse_timestamp(text: &str) -> Result<Timestamp, String> {
    text.parse().map(Timestamp).or_else(|_| point_in_time(text))
}

fn headers(json: &Value) -> Result<Vec<Header>, String> {
    let header = |name: &str, value: &Value| {
        let value = from_text_or_bytes(value).map_err(|why| format!("header `{name}`: {why}"))?;
        Ok(Header { name: name.to_owned().into(), value })
    };
    let wrong = || "headers: write [[\"<name>\", \"<value>\"], …] or {\"<name>\": \"<value>\", …}".to_owned();
    match json {
        Value::Null => Ok(vec![]),
        Value::Object(object) => object.iter().map(|(name, value)| header(name, value)).collect(),
        Value::Array(list) => {
            let pair = |pair: &Value| match pair.as_array().map(Vec::as_slice) {
                Some([Value::String(name), value]) => header(name, value),
                _ => Err(wrong()),
            };
            list.iter().map(pair).collect()
        }
        _ => Err(wrong()),
    }
}
