//! The source of writers' schemas for decoding.

use heddle_contract::format::Schema;
use heddle_contract::wire::{Guid, Part, SchemaId, Wire, Writer};

/// Finds writers' schemas by the id in front of each record's value. The runtime implements it with the registry.
pub trait Schemas: Send + Sync {
    /// The schema with this id. `None` if there is no such schema, which is a fault of the record.
    ///
    /// # Errors
    /// If the registry does not answer. The record's outcome must stay open then.
    fn writer(&self, id: SchemaId) -> Result<Option<Schema>, String>;

    /// The schema with this GUID, like [`writer`](Self::writer). A registry without GUIDs has none.
    ///
    /// # Errors
    /// As for [`writer`](Self::writer).
    fn by_guid(&self, _: Guid) -> Result<Option<Schema>, String> {
        Ok(None)
    }

    /// The wire of a topic whose records may not name a schema, and the contract's schema for a part of them. `None` if
    /// all its records name their schemas, or the contract has no schema.
    fn contract(&self, _: &str, _: Part) -> Option<(Wire, Schema)> {
        None
    }

    /// The schema that a record names; `None` also if the record names none.
    ///
    /// # Errors
    /// As for [`writer`](Self::writer).
    fn named(&self, writer: Writer) -> Result<Option<Schema>, String> {
        match writer {
            Writer::Id(id) => self.writer(id),
            Writer::Guid(guid) => self.by_guid(guid),
            Writer::Contract => Ok(None),
        }
    }
}
