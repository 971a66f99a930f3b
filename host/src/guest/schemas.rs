//! Where writers' schemas come from when records are decoded.

use std::sync::Arc;

use heddle_contract::schema::Schema;

/// The id that the registry gave a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WriterId(pub u32);

/// Finds writers' schemas by the id in front of each record's value. The runtime puts the registry behind it.
pub trait Schemas: Send + Sync {
    /// The schema of that id.
    ///
    /// # Errors
    /// `Ok(None)`: there is no such schema, so the record is at fault. `Err`: it cannot be told now (the registry does not
    /// answer): nothing may be decided about the record.
    fn writer(&self, id: WriterId) -> Result<Option<Arc<Schema>>, String>;
}
