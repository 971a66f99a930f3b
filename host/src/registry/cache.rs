//! A cache of schemas by their id or GUID.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use heddle_contract::format::Schema;
use heddle_contract::wire::Writer;

use super::{Guid, Registered, Registry, RegistryError, SchemaId};
use crate::guest::Schemas;
use crate::lock::lock;

/// The maximum number of ids and GUIDs in the cache. A stream of garbage may name many that do not exist.
const IDS_MAX: usize = 10_000;
/// The time for which an unknown id is not looked up again.
const UNKNOWN_FOR: Duration = Duration::from_secs(10);

/// A registry with a cache of its answers.
pub struct Cached {
    registry: Arc<dyn Registry>,
    known: Mutex<HashMap<Writer, Answer>>,
}

#[derive(Clone)]
enum Answer {
    Schema(Schema),
    UnknownSince(Instant),
}

impl Cached {
    /// Creates an empty cache in front of `registry`.
    #[must_use]
    pub fn new(registry: Arc<dyn Registry>) -> Self {
        Self { registry, known: Mutex::default() }
    }

    fn ask(
        &self,
        writer: Writer,
        ask: impl FnOnce(&dyn Registry) -> Result<Option<Registered>, RegistryError>,
    ) -> Result<Option<Schema>, String> {
        let known = lock(&self.known).get(&writer).cloned();
        match known {
            Some(Answer::Schema(schema)) => return Ok(Some(schema)),
            Some(Answer::UnknownSince(then)) if then.elapsed() < UNKNOWN_FOR => return Ok(None),
            _ => {}
        }
        // A schema that is not valid counts as unknown.
        let registered = ask(&*self.registry).map_err(|e| e.to_string())?;
        let schema = registered.and_then(|registered| registered.schema.ok());
        let answer = schema.clone().map_or_else(|| Answer::UnknownSince(Instant::now()), Answer::Schema);
        let mut known = lock(&self.known);
        if known.len() >= IDS_MAX {
            known.clear();
        }
        known.insert(writer, answer);
        Ok(schema)
    }
}

impl Schemas for Cached {
    fn writer(&self, id: SchemaId) -> Result<Option<Schema>, String> {
        self.ask(Writer::Id(id), |registry| registry.by_id(id))
    }

    fn by_guid(&self, guid: Guid) -> Result<Option<Schema>, String> {
        self.ask(Writer::Guid(guid), |registry| registry.by_guid(guid))
    }
}
