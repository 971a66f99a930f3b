//! A cache of schemas by their id.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use heddle_contract::format::Schema;

use super::{Registry, SchemaId};
use crate::guest::Schemas;
use crate::lock::lock;

/// The most ids in the cache. A stream of garbage names many ids that do not exist.
const IDS_MAX: usize = 10_000;
/// The time for which an unknown id is not looked up again.
const UNKNOWN_FOR: Duration = Duration::from_secs(10);

/// A registry with a cache of its answers.
pub struct Cached {
    registry: Arc<dyn Registry>,
    known: Mutex<HashMap<SchemaId, Answer>>,
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
}

impl Schemas for Cached {
    fn writer(&self, id: SchemaId) -> Result<Option<Schema>, String> {
        let known = lock(&self.known).get(&id).cloned();
        match known {
            Some(Answer::Schema(schema)) => return Ok(Some(schema)),
            Some(Answer::UnknownSince(then)) if then.elapsed() < UNKNOWN_FOR => return Ok(None),
            _ => {}
        }
        // A schema of a format that components cannot read counts as unknown.
        let registered = self.registry.by_id(id).map_err(|e| e.to_string())?;
        let schema = registered.and_then(|registered| registered.schema.ok()).filter(Schema::types_components);
        let answer = schema.clone().map_or_else(|| Answer::UnknownSince(Instant::now()), Answer::Schema);
        let mut known = lock(&self.known);
        if known.len() >= IDS_MAX {
            known.clear();
        }
        known.insert(id, answer);
        Ok(schema)
    }
}
