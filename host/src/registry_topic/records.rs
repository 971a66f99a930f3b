//! The registry's records in its topic. Each item that can change has its own key, so compaction keeps all current
//! values.
//!
//! ```text
//!  format                       1
//!  id                           the highest id ever assigned
//!  schema/<id>                  {"format":…,"text":…,"references":…}
//!  version/<number>/<subject>   {"id":…,"deleted":…}
//!  level/<subject>, mode/<subject>    "BACKWARD", "READONLY"; the defaults for all have no subject
//! ```
//!
//! A removal is written as `null`, never as a tombstone: a broker drops tombstones after a day, and a host that was
//! away for longer would miss it.

use bytes::Bytes;
use heddle_contract::compat::Level;
use heddle_core::event::{NewRecord, Partition, Record};
use serde_json::{Value, json};

use crate::registry::state::{Change, Mode};

/// The version of these keys and values.
const FORMAT: u64 = 1;
const FORMAT_KEY: &str = "format";
const LAST_ID_KEY: &str = "id";

/// The content of a record.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    /// A change.
    Change(Box<Change>),
    /// The format, which is known.
    Format,
    /// Unknown content.
    Foreign,
}

/// Returns the key and the value of a change.
pub(super) fn encode(change: &Change) -> (String, Value) {
    match change {
        Change::LastId(id) => (LAST_ID_KEY.to_owned(), json!(id)),
        Change::Schema(id, entry) => (format!("schema/{id}"), json!(entry)),
        Change::Version(subject, version, kept) => (format!("version/{version}/{subject}"), json!(kept)),
        Change::Level(subject, level) => (format!("level/{subject}"), json!(level.map(Level::as_str))),
        Change::Mode(subject, mode) => (format!("mode/{subject}"), json!(mode.map(Mode::as_str))),
    }
}

/// Decodes a key and its value.
pub(super) fn decode(key: &str, value: &Value) -> Result<Said, String> {
    let broken = |error: serde_json::Error| format!("the value of `{key}` is not valid: {error}");
    let number = |text: &str| text.parse::<u32>().map_err(|error| format!("the key `{key}` is not valid: {error}"));
    let text = || match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.as_str())),
        _ => Err(format!("the value of `{key}` is not text")),
    };
    let change = match (key, key.split_once('/')) {
        (FORMAT_KEY, _) if value.as_u64() == Some(FORMAT) => return Ok(Said::Format),
        (FORMAT_KEY, _) => {
            return Err(format!("it has the format {value}, which this version of Heddle does not know"));
        }
        (LAST_ID_KEY, _) => Change::LastId(serde_json::from_value(value.clone()).map_err(broken)?),
        (_, Some(("schema", id))) => {
            Change::Schema(number(id)?, serde_json::from_value(value.clone()).map_err(broken)?)
        }
        (_, Some(("version", rest))) => {
            let (version, subject) = rest.split_once('/').ok_or_else(|| format!("the key `{key}` is not valid"))?;
            let kept = serde_json::from_value(value.clone()).map_err(broken)?;
            Change::Version(subject.to_owned(), number(version)?, kept)
        }
        (_, Some(("level", subject))) => {
            let level = text()?.map(|text| text.parse::<Level>().map_err(|()| format!("`{text}` is not a level")));
            Change::Level(subject.to_owned(), level.transpose()?)
        }
        (_, Some(("mode", subject))) => {
            let mode = text()?.map(|text| text.parse::<Mode>().map_err(|()| format!("`{text}` is not a mode")));
            Change::Mode(subject.to_owned(), mode.transpose()?)
        }
        _ => return Ok(Said::Foreign),
    };
    Ok(Said::Change(Box::new(change)))
}

/// Decodes a record of the topic.
pub(super) fn read(record: &Record) -> Result<Said, String> {
    let Some(key) = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()) else {
        return Ok(Said::Foreign);
    };
    let value = match record.value.as_deref() {
        None => Value::Null,
        Some(value) => match serde_json::from_slice(value) {
            Ok(value) => value,
            Err(error) => return Err(format!("the value of `{key}` is not JSON: {error}")),
        },
    };
    decode(key, &value)
}

/// The records of changes. The first records of a topic also set its format.
pub(super) fn of(topic: &str, changes: &[Change], first: bool) -> Vec<NewRecord> {
    let format = first.then(|| (FORMAT_KEY.to_owned(), json!(FORMAT)));
    let entries = format.into_iter().chain(changes.iter().map(encode));
    let record = |(key, value): (String, Value)| NewRecord {
        topic: topic.into(),
        partition: Some(Partition(0)),
        timestamp: None,
        key: Some(Bytes::from(key)),
        value: Some(Bytes::from(value.to_string())),
        headers: vec![],
    };
    entries.map(record).collect()
}

#[cfg(test)]
mod tests {
    use heddle_contract::section::SchemaFormat;

    use super::*;
    use crate::registry::format::Entry;
    use crate::registry::state::Kept;

    #[test]
    fn every_change_is_read_as_it_was_written() {
        let entry = Entry::new(SchemaFormat::Avro, "\"string\"");
        let (subject, kept) = ("a/b-value".to_owned(), Kept { id: 7, deleted: true });
        let changes = [
            Change::LastId(7),
            Change::Schema(7, Some(entry)),
            Change::Schema(7, None),
            Change::Version(subject.clone(), 3, Some(kept)),
            Change::Version(subject.clone(), 3, None),
            Change::Level(subject.clone(), Some(Level::Full)),
            Change::Level(String::new(), None),
            Change::Mode(subject, Some(Mode::ReadOnlyOverride)),
            Change::Mode(String::new(), None),
        ];
        for change in changes {
            let (key, value) = encode(&change);
            assert_eq!(decode(&key, &value), Ok(Said::Change(Box::new(change))), "{key}");
        }
    }

    #[test]
    fn a_newer_format_is_refused_and_a_foreign_key_passed_over() {
        assert!(decode("format", &json!(2)).unwrap_err().contains("format 2"));
        assert_eq!(decode("format", &json!(1)), Ok(Said::Format));
        assert_eq!(decode("hello", &json!(1)), Ok(Said::Foreign));
        assert!(decode("schema/x", &json!(null)).is_err());
    }
}
