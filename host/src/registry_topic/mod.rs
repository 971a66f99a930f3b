//! The embedded registry's storage on a log: a compacted topic with one partition. All apps of a cluster without an
//! external registry share it, because a schema id in a record must mean the same to every reader.
//!
//! ```text
//!  change: take the transactional id ─> read to the end ─> decide ─> write one transaction ─> read it back ─> answer
//!            └ fences every other host, which then reads again        └ refused if fenced
//! ```
//!
//! State consists only of what was read from the topic, so every host passes through the same states in the same order.
//! Earlier data (a copy on disk, the folder of an earlier version) is compared with the topic at the start. If the
//! topic is empty, it receives that data.

mod copy;
mod records;
mod store;

use std::path::PathBuf;
use std::sync::Arc;

pub use self::store::TopicStore;
use crate::log::Log;
use crate::registry::{Embedded, RegistryError};

/// The topic of a registry, and this host's files for it.
#[derive(Clone, Debug)]
pub struct Place {
    /// The topic.
    pub topic: String,
    /// The folder for copies of the topic. `None` keeps no copies.
    pub copies: Option<PathBuf>,
    /// The folder of an embedded registry that earlier versions of Heddle may have used with this log.
    pub before: Option<PathBuf>,
}

/// Opens the registry in a topic without writing to it. [`Registry::settle`](crate::registry::Registry::settle) and the
/// first change create the topic and move known schemas into it.
///
/// # Errors
/// If the topic cannot be read, has wrong settings, or contradicts what this host knows.
pub fn open(log: Arc<dyn Log>, place: Place) -> Result<Embedded, RegistryError> {
    let (store, state) = TopicStore::open(log, place)?;
    Ok(Embedded::with(state, Box::new(store)))
}
