//! Where writers' schemas come from when records are decoded.

use std::sync::Arc;

use heddle_contract::schema::Schema;
use heddle_contract::wire::SchemaId;

/// Finds writers' schemas by the id in front of each record's value. The runtime puts the registry behind it.
pub trait Schemas: Send + Sync {
    /// The schema of that id.
    ///
    /// # Errors
    /// `Ok(None)`: there is no such schema, so the record is at fault. `Err`: it cannot be told now (the registry does
    /// not answer): nothing may be decided about the record.
    fn writer(&self, id: SchemaId) -> Result<Option<Arc<Schema>>, String>;
}
