//! The embedded registry's storage on a log: a compacted topic of one partition, shared by all apps of a cluster that
//! have no registry of their own, because an id in a record of a topic must mean the same to everybody who reads it.
//!
//! ```text
//!  change: take the transactional id ─> read to the end ─> decide ─> write one transaction ─> read it back ─> answer
//!            └ fences every other host, which then reads again        └ refused if fenced
//! ```
//!
//! Only what was read from the topic becomes state, so every host goes through the same states in the same order. What
//! was known before (a copy on disk, the folder of an earlier version) is compared with the topic at the start; an
//! empty topic gets it.

mod copy;
mod records;
mod store;

use std::path::PathBuf;
use std::sync::Arc;

pub use self::store::TopicStore;
use crate::log::Log;
use crate::registry::{Embedded, RegistryError};

/// The topic of a registry, and what this host has on disk.
#[derive(Clone, Debug)]
pub struct Place {
    /// The topic.
    pub topic: String,
    /// The folder for copies of the topic; `None`: none is kept.
    pub copies: Option<PathBuf>,
    /// The folder of an embedded registry that may hold what earlier versions of Heddle registered for this log.
    pub before: Option<PathBuf>,
}

/// Opens the registry in a topic. Nothing is written: [`Registry::settle`](crate::registry::Registry::settle) and the
/// first change create the topic, and move what is known into it.
///
/// # Errors
/// If the topic cannot be read, is not set as it must be, or contradicts what this host knows.
pub fn open(log: Arc<dyn Log>, place: Place) -> Result<Embedded, RegistryError> {
    let (store, state) = TopicStore::open(log, place)?;
    Ok(Embedded::with(state, Box::new(store)))
}
