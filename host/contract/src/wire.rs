//! Records on the wire: the schema that wrote a key or a value.
//!
//! ```text
//!  prefix    00 │ id, four bytes, big endian │ the value in its schema's own encoding
//!  header    __value_schema_id: 01 │ GUID, 16 bytes      value: the encoding alone
//!            __value_schema_id: 00 │ id, four bytes
//!  plain     the encoding alone, and no header
//! ```
//!
//! Prefix and header are those of Confluent's serializers ("wire format" in the Schema Registry's documentation). In
//! both places, Protobuf's message indexes follow the id.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::format::Schema;
use crate::format::avro::binary::Reader;

/// The id of a schema in a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SchemaId(pub u32);

/// The GUID of a schema. Registries derive it from the schema, so all of them have the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Guid(pub [u8; 16]);

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            let dash = if matches!(place, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

/// The text is not a GUID.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{0}` is not a GUID")]
pub struct NotGuid(String);

impl FromStr for Guid {
    type Err = NotGuid;

    fn from_str(text: &str) -> Result<Self, NotGuid> {
        let digits = text.bytes().filter(|byte| *byte != b'-').collect::<Vec<_>>();
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let pairs = digits.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?));
        let bytes = pairs.collect::<Option<Vec<_>>>().filter(|_| digits.len() == 32);
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| NotGuid(text.to_owned()))
    }
}

/// The way in which the keys and values of a topic name the schema that wrote them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Wire {
    /// By its id in front of them.
    #[default]
    Registry,
    /// By its GUID, or its id, in a header.
    Header,
    /// Not at all. The schema of the contract wrote all of them.
    Plain,
    /// By its id or not at all, which is decided for each record.
    Auto,
}

/// A part of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// The key.
    Key,
    /// The value.
    Value,
}

impl Part {
    /// The header that names the schema of this part.
    #[must_use]
    pub const fn header(self) -> &'static str {
        match self {
            Self::Key => "__key_schema_id",
            Self::Value => "__value_schema_id",
        }
    }

    /// The part's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Value => "value",
        }
    }
}

/// The schema that wrote a key or a value, as the record names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Writer {
    /// The registry's schema with this id.
    Id(SchemaId),
    /// The registry's schema with this GUID.
    Guid(Guid),
    /// The schema of the contract, because the record names none.
    Contract,
}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "the id {}", id.0),
            Self::Guid(guid) => write!(f, "the GUID {guid}"),
            Self::Contract => f.write_str("no id"),
        }
    }
}

/// A key or a value, without the bytes that the wire adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload<'b> {
    /// The schema that wrote it.
    pub writer: Writer,
    /// The encoding. In Protobuf, the message indexes precede it.
    pub bytes: Cow<'b, [u8]>,
}

/// The reason why a record does not name the schema that wrote a part of it.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Unnamed {
    /// There is no prefix.
    #[error("does not begin with a zero byte and a schema id of four bytes")]
    Prefix,
    /// The header has other content.
    #[error("has a header {0} that is neither an id nor a GUID of a schema")]
    Header(&'static str),
}

impl Wire {
    /// Reads the part `bytes` of a record. `header` is the last header of the part's name, if there is one, and takes
    /// precedence. `own` is the schema of the contract.
    ///
    /// With [`Wire::Auto`], plain bytes may begin like an id by chance: see [`plain`].
    ///
    /// # Errors
    /// If the record has to name the schema but does not.
    pub fn read<'b>(
        self,
        part: Part,
        header: Option<&[u8]>,
        bytes: &'b [u8],
        own: &Schema,
    ) -> Result<Payload<'b>, Unnamed> {
        let writer = self.writer(part, header, bytes)?;
        let indexes = header.and_then(named).map_or(&[][..], |(_, indexes)| indexes);
        let bytes = match (writer, header) {
            (Writer::Contract, _) => return Ok(plain(bytes, own)),
            (_, Some(_)) if indexes.is_empty() => bytes.into(),
            (_, Some(_)) => [indexes, bytes].concat().into(),
            (_, None) => bytes[PREFIX_BYTES..].into(),
        };
        Ok(Payload { writer, bytes })
    }

    /// The schema that wrote a part, as in [`read`](Self::read).
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn writer(self, part: Part, header: Option<&[u8]>, bytes: &[u8]) -> Result<Writer, Unnamed> {
        if let Some(header) = header {
            return named(header).map(|(writer, _)| writer).ok_or(Unnamed::Header(part.header()));
        }
        match (self, split(bytes)) {
            (Self::Plain, _) | (Self::Auto, None) => Ok(Writer::Contract),
            (_, Some((id, _))) => Ok(Writer::Id(id)),
            (Self::Registry | Self::Header, None) => Err(Unnamed::Prefix),
        }
    }
}

/// Bytes without a schema id, which the contract's schema wrote.
#[must_use]
pub fn plain<'b>(bytes: &'b [u8], own: &Schema) -> Payload<'b> {
    let indexes = own.indexes();
    let bytes = if indexes.is_empty() { bytes.into() } else { [&indexes[..], bytes].concat().into() };
    Payload { writer: Writer::Contract, bytes }
}

/// The schema that a header names, and the message indexes after it.
#[must_use]
pub fn named(header: &[u8]) -> Option<(Writer, &[u8])> {
    match header {
        [0, rest @ ..] => {
            let (id, rest) = rest.split_first_chunk()?;
            Some((Writer::Id(SchemaId(u32::from_be_bytes(*id))), rest))
        }
        [1, rest @ ..] => {
            let (guid, rest) = rest.split_first_chunk()?;
            Some((Writer::Guid(Guid(*guid)), rest))
        }
        _ => None,
    }
}

/// The content of a header that names a schema. `indexes` are the message indexes of Protobuf.
#[must_use]
pub fn header(id: SchemaId, guid: Option<Guid>, indexes: &[u8]) -> Vec<u8> {
    match guid {
        Some(Guid(guid)) => [&[1], &guid[..], indexes].concat(),
        None => [&prefix(id)[..], indexes].concat(),
    }
}

/// The size of a [`prefix`] in bytes.
pub const PREFIX_BYTES: usize = 5;

/// The bytes in front of a value of the schema `id`.
#[must_use]
pub fn prefix(id: SchemaId) -> [u8; PREFIX_BYTES] {
    let [a, b, c, d] = id.0.to_be_bytes();
    [0, a, b, c, d]
}

/// The schema id in front of a value, and the value itself; `None` if `bytes` have no valid prefix.
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

/// The name of the schema of a store's values in a contract. The app names the store's changelog, and a `.wasm` file
/// does not know the app. [`Manifest::registered`](crate::manifest::Manifest::registered) returns the subject.
#[must_use]
pub fn store_value_subject(store: &str) -> String {
    format!("{STORE_VALUE}{store}")
}

/// The name of the schema of a store's keys in a contract.
#[must_use]
pub fn store_key_subject(store: &str) -> String {
    format!("{STORE_KEY}{store}")
}

/// The name of the schema of one record type in a contract, if each type of the topic has a separate subject.
#[must_use]
pub fn record_subject(topic: &str, full_name: &str) -> String {
    format!("{RECORD}{topic}:{full_name}")
}

/// The topic and the record's full name in a result of [`record_subject`].
#[must_use]
pub fn record_of(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix(RECORD)?.split_once(':')
}

/// Converts a value of a union to a value of its branch, after the id of the branch's own schema. Returns `None` if
/// `value` is not a value of a union with one branch for each id.
#[must_use]
pub fn by_branch(ids: &[SchemaId], value: &[u8]) -> Option<Vec<u8>> {
    let (branch, at) = branch(ids.len(), value)?;
    Some([&prefix(ids[branch])[..], &value[at..]].concat())
}

/// The branch of a union's value, and the position of the branch's value. `None` if `value` is not a value of a union
/// of `count` branches.
#[must_use]
pub fn branch(count: usize, value: &[u8]) -> Option<(usize, usize)> {
    let mut reader = Reader::new(value);
    let branch = reader.index("union branch", count).ok()?;
    Some((branch, reader.at()))
}

pub(crate) const VALUE: &str = "-value";
pub(crate) const KEY: &str = "-key";
const RECORD: &str = "record:";

// A topic's name cannot have a colon, so no topic's subject begins like these.
pub(crate) const STORE_VALUE: &str = "store:";
pub(crate) const STORE_KEY: &str = "store-key:";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Entry, avro, parse};
    use crate::section::SchemaFormat;

    const GUID: &str = "89791762-2336-4186-9674-299b90a802e2";

    fn avro() -> Schema {
        avro::parse("count", r#""long""#).unwrap().into()
    }

    fn second_message() -> Schema {
        let text = "syntax = \"proto3\"; message A { int32 a = 1; } message B { int32 b = 1; }";
        parse(&Entry::new(SchemaFormat::Protobuf, text), &[]).unwrap().with_type("B").unwrap()
    }

    #[test]
    fn a_guid_is_read_as_it_is_written() {
        let guid = GUID.parse::<Guid>().unwrap();
        assert_eq!(guid.to_string(), GUID);
        assert_eq!(GUID.to_uppercase().parse(), Ok(guid));
        for wrong in ["", "89791762", "8979176223364186967429", &GUID.replace('8', "g"), &format!("{GUID}0")] {
            wrong.parse::<Guid>().unwrap_err();
        }
    }

    #[test]
    fn a_header_precedes_a_prefix_on_every_wire() {
        let (guid, framed) = (GUID.parse::<Guid>().unwrap(), [0, 0, 0, 0, 7, 2]);
        for wire in [Wire::Registry, Wire::Header, Wire::Plain, Wire::Auto] {
            for (header, writer) in [
                (header(SchemaId(3), None, &[]), Writer::Id(SchemaId(3))),
                (header(SchemaId(3), Some(guid), &[]), Writer::Guid(guid)),
            ] {
                let read = wire.read(Part::Value, Some(&header), &framed, &avro()).unwrap();
                assert_eq!(read, Payload { writer, bytes: framed[..].into() });
            }
            for header in [&[][..], &[0, 0, 0, 1], &[1, 2, 3], &[2; 17]] {
                let wrong = wire.read(Part::Key, Some(header), &framed, &avro()).unwrap_err();
                assert_eq!(wrong, Unnamed::Header("__key_schema_id"));
            }
        }
    }

    #[test]
    fn message_indexes_come_from_where_the_schema_is_named() {
        let (own, message) = (second_message(), [8, 1]);
        let indexed = [&own.indexes()[..], &message].concat();
        assert_eq!(own.indexes(), [2, 2]);
        let header = header(SchemaId(1), None, &own.indexes());
        let read = |wire: Wire, header: Option<&[u8]>, bytes: &[u8]| {
            wire.read(Part::Value, header, bytes, &own).map(|payload| payload.bytes.into_owned())
        };
        assert_eq!(read(Wire::Registry, Some(&header), &message).unwrap(), indexed);
        assert_eq!(read(Wire::Plain, None, &message).unwrap(), indexed);
        let framed = [&prefix(SchemaId(1))[..], &indexed].concat();
        assert_eq!(read(Wire::Auto, None, &framed).unwrap(), indexed);
        assert_eq!(read(Wire::Auto, None, &message).unwrap(), indexed);
        assert_eq!(read(Wire::Registry, None, &message), Err(Unnamed::Prefix));
    }
}
