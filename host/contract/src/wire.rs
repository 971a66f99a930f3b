//! Records of a schema registry on the wire: which schema a key or a value was written by.
//!
//! ```text
//!  0x00 │ id, four bytes, big endian │ the value in its schema's own encoding
//! ```
//!
//! The format of Confluent's serializers ("wire format" in the Schema Registry's documentation).

use crate::format::avro::binary::Reader;

/// The id that a registry gave a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SchemaId(pub u32);

/// What stands in front of a value written by the schema `id`.
#[must_use]
pub fn prefix(id: SchemaId) -> [u8; 5] {
    let [a, b, c, d] = id.0.to_be_bytes();
    [0, a, b, c, d]
}

/// The schema that `bytes` say they were written by, and the value itself; `None` if they do not begin as they should.
#[must_use]
pub fn split(bytes: &[u8]) -> Option<(SchemaId, &[u8])> {
    let [0, a, b, c, d, value @ ..] = bytes else { return None };
    Some((SchemaId(u32::from_be_bytes([*a, *b, *c, *d])), value))
}

/// The subject of a topic's values.
#[must_use]
pub fn value_subject(topic: &str) -> String {
    format!("{topic}{VALUE}")
}

/// The subject of a topic's keys.
#[must_use]
pub fn key_subject(topic: &str) -> String {
    format!("{topic}{KEY}")
}

/// What a contract calls the schema of a store's values: the topic that holds them is named by the app, which a `.wasm`
/// file does not know. [`Manifest::registered`](crate::manifest::Manifest::registered) names the subject.
#[must_use]
pub fn store_value_subject(store: &str) -> String {
    format!("{STORE_VALUE}{store}")
}

/// What a contract calls the schema of a store's keys.
#[must_use]
pub fn store_key_subject(store: &str) -> String {
    format!("{STORE_KEY}{store}")
}

/// What a contract calls the schema of one of the record types of a topic, where each of them has a subject.
#[must_use]
pub fn record_subject(topic: &str, full_name: &str) -> String {
    format!("{RECORD}{topic}:{full_name}")
}

/// The topic and the record's full name of what [`record_subject`] gave.
#[must_use]
pub fn record_of(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix(RECORD)?.split_once(':')
}

/// A value of a union as a value of its branch, framed by the id of the branch's own schema. `None`: `value` is not a
/// value of a union of as many branches as there are ids.
#[must_use]
pub fn by_branch(ids: &[SchemaId], value: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader::new(value);
    let branch = reader.index("union branch", ids.len()).ok()?;
    Some([&prefix(ids[branch])[..], &value[reader.at()..]].concat())
}

pub(crate) const VALUE: &str = "-value";
pub(crate) const KEY: &str = "-key";
const RECORD: &str = "record:";

// No topic's name holds a colon, so no subject of one begins like these.
pub(crate) const STORE_VALUE: &str = "store:";
pub(crate) const STORE_KEY: &str = "store-key:";
