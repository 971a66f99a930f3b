//! The source of writers' schemas for decoding.

use heddle_contract::format::Schema;
use heddle_contract::wire::{Guid, Part, SchemaId, Wire, Writer};

/// Finds writers' schemas by the id in front of each record's value. The runtime implements it with the registry.
pub trait Schemas: Send + Sync {
    /// The schema with this id, or `None` if there is no such schema, so that the record is at fault.
    ///
    /// # Errors
    /// If the registry does not answer. Nothing may be decided about the record then.
    fn writer(&self, id: SchemaId) -> Result<Option<Schema>, String>;

    /// The schema with this GUID, like [`writer`](Self::writer). A registry without GUIDs has none.
    ///
    /// # Errors
    /// As for [`writer`](Self::writer).
    fn by_guid(&self, _: Guid) -> Result<Option<Schema>, String> {
        Ok(None)
    }

    /// The wire of a topic whose records may name no schema, and the schema of its contract for a part of them. `None`:
    /// its records name their schemas, or the contract has none.
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
