//! The source of writers' schemas for decoding.

use heddle_contract::format::Schema;
use heddle_contract::wire::SchemaId;

/// Finds writers' schemas by the id in front of each record's value. The runtime implements it with the registry.
pub trait Schemas: Send + Sync {
    /// The schema with this id, or `None` if there is no such schema, so that the record is at fault.
    ///
    /// # Errors
    /// If the registry does not answer. Nothing may be decided about the record then.
    fn writer(&self, id: SchemaId) -> Result<Option<Schema>, String>;
}
