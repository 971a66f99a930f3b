//! Finds the schema that wrote a part of a record.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use heddle_contract::format::Schema;
use heddle_contract::wire::{self, Guid, Part, SchemaId, Wire, Writer};
use heddle_core::event::{Header, Record};

use crate::guest::Schemas;

/// A key or a value, and the schema that wrote it.
#[derive(Clone, Debug)]
pub struct Written<'r> {
    /// The schema as the record names it.
    pub writer: Writer,
    /// True if a header names it.
    pub in_header: bool,
    /// The schema.
    pub schema: Schema,
    /// The encoding; of Protobuf with the message indexes in front.
    pub payload: Cow<'r, [u8]>,
}

impl<'r> Written<'r> {
    /// Reads a part of a record of `topic`: its header first, then its prefix, then as the topic's contract says.
    /// Returns `None` if the part has no known schema.
    ///
    /// # Errors
    /// If the schema cannot be fetched now.
    pub fn of(
        topic: &str,
        headers: &[Header],
        (part, bytes): (Part, &'r [u8]),
        schemas: &dyn Schemas,
    ) -> Result<Option<Self>, String> {
        if let Some(header) = headers.iter().rfind(|header| header.name == part.header()) {
            let Some((writer, indexes)) = wire::named(header.value.as_deref().unwrap_or_default()) else {
                return Ok(None);
            };
            let payload = if indexes.is_empty() { bytes.into() } else { [indexes, bytes].concat().into() };
            let written = |schema| Self { writer, in_header: true, schema, payload };
            return Ok(schemas.named(writer)?.map(written));
        }
        Self::without_header(bytes, schemas.contract(topic, part), schemas)
    }

    /// Reads bytes without a header: by their prefix, or else as the contract says.
    ///
    /// # Errors
    /// If the schema cannot be fetched now.
    pub fn without_header(
        bytes: &'r [u8],
        contract: Option<(Wire, Schema)>,
        schemas: &dyn Schemas,
    ) -> Result<Option<Self>, String> {
        let Some((wire, own)) = contract.filter(|(wire, _)| matches!(wire, Wire::Plain | Wire::Auto)) else {
            return Self::by_prefix(bytes, schemas);
        };
        let framed = if wire == Wire::Plain { None } else { Self::by_prefix(bytes, schemas)? };
        if framed.as_ref().is_some_and(|framed| framed.schema.format() == own.format()) {
            return Ok(framed);
        }
        let payload = wire::plain(bytes, &own).bytes;
        Ok(Some(Self { writer: Writer::Contract, in_header: false, schema: own, payload }))
    }

    /// Reads bytes whose schema is named in front of them.
    ///
    /// # Errors
    /// If the schema cannot be fetched now.
    pub fn by_prefix(bytes: &'r [u8], schemas: &dyn Schemas) -> Result<Option<Self>, String> {
        let Some((id, payload)) = wire::split(bytes) else { return Ok(None) };
        let writer = Writer::Id(id);
        Ok(schemas.writer(id)?.map(|schema| Self { writer, in_header: false, schema, payload: payload.into() }))
    }
}

pub(super) fn bytes_of(record: &Record, part: Part) -> Option<&[u8]> {
    match part {
        Part::Key => record.key.as_deref(),
        Part::Value => record.value.as_deref(),
    }
}

/// The wires and schemas of topics whose records may name no schema, by topic and part.
pub type Contracts = BTreeMap<(String, Part), (Wire, Schema)>;

/// The registry's schemas, and those of an app's contracts for topics whose records may name none.
pub struct WithContracts {
    registered: Arc<dyn Schemas>,
    contracts: Contracts,
}

impl WithContracts {
    /// Combines both.
    #[must_use]
    pub fn new(registered: Arc<dyn Schemas>, contracts: Contracts) -> Self {
        Self { registered, contracts }
    }
}

impl Schemas for WithContracts {
    fn writer(&self, id: SchemaId) -> Result<Option<Schema>, String> {
        self.registered.writer(id)
    }

    fn by_guid(&self, guid: Guid) -> Result<Option<Schema>, String> {
        self.registered.by_guid(guid)
    }

    fn contract(&self, topic: &str, part: Part) -> Option<(Wire, Schema)> {
        self.contracts.get(&(topic.to_owned(), part)).cloned()
    }
}
