//! A registry in this process: kept in sled below the app's data folder, or in memory for tests.
//!
//! ```text
//!  request ──> read lock: questions
//!         └──> write lock: decide (State) ─> make durable (Store) ─> apply ─> answer
//! ```
//!
//! Nobody sees what is not durable yet. It is for one machine: one process owns the folder.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use axum::Router;
use heddle_contract::compat::Level;
use heddle_contract::section::SchemaFormat;

use super::format::{self, Entry};
use super::refusal::Refusal;
use super::state::{Asked, Change, Found, GLOBAL, Given, State};
use super::store::Store;
use super::{Registry, RegistryError, SchemaId, Version, http};
use crate::lock::lock;

/// The embedded registry. Clones are the same registry.
#[derive(Clone)]
pub struct Embedded {
    shared: Arc<Shared>,
}

struct Shared {
    state: RwLock<State>,
    /// Absent: in memory only.
    store: Option<Store>,
    place: String,
}

impl Embedded {
    /// Opens the registry in `folder`, which is made if it is not there.
    ///
    /// # Errors
    /// If the folder cannot be used, or another process owns it.
    pub fn open(folder: &Path) -> Result<Self, RegistryError> {
        let store = Store::open(folder)?;
        let state = store.load()?;
        let place = store.place();
        Ok(Self { shared: Arc::new(Shared { state: RwLock::new(state), store: Some(store), place }) })
    }

    /// A registry in memory, shared by all of this process who name the same `scope`, as `mock://<scope>` does for other clients.
    #[must_use]
    pub fn mock(scope: &str) -> Self {
        static SCOPES: Mutex<BTreeMap<String, Embedded>> = Mutex::new(BTreeMap::new());
        let new = || {
            let (state, place) = (RwLock::default(), format!("mock://{scope}"));
            Self { shared: Arc::new(Shared { state, store: None, place }) }
        };
        lock(&SCOPES).entry(scope.to_owned()).or_insert_with(new).clone()
    }

    /// What it holds, for questions.
    pub(super) fn state(&self) -> RwLockReadGuard<'_, State> {
        self.shared.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides a request, and makes what it changes durable before it is answered.
    pub(super) fn change<T>(
        &self,
        decide: impl FnOnce(&State) -> Result<(T, Vec<Change>), Refusal>,
    ) -> Result<T, Refusal> {
        let mut state = self.shared.state.write().unwrap_or_else(PoisonError::into_inner);
        let (answer, changes) = decide(&state)?;
        if !changes.is_empty() {
            if let Some(store) = &self.shared.store {
                store.write(&changes).map_err(Refusal::store)?;
            }
            changes.into_iter().for_each(|change| state.apply(change));
        }
        Ok(answer)
    }

    fn failed(&self, subject: &str, refusal: Refusal) -> RegistryError {
        if refusal.code >= 50_000 {
            return RegistryError::Store { place: self.shared.place.clone(), cause: refusal.message };
        }
        RegistryError::Refused { subject: subject.to_owned(), message: refusal.message }
    }

    /// A version with its schema as a text that refers to nothing outside.
    fn whole(&self, state: &State, found: &Found) -> Result<Version, RegistryError> {
        let failed = |refusal| self.failed(&found.subject, refusal);
        let format = found.entry.format;
        let referred =
            if format == SchemaFormat::Avro { vec![] } else { state.referred(&found.entry).map_err(failed)? };
        let schema = self_contained(state, found.id).map_err(failed)?;
        Ok(Version { version: found.version, id: SchemaId(found.id), format, schema, referred })
    }
}

/// A schema's text with the types it refers to in it, where it refers to any.
fn self_contained(state: &State, id: u32) -> Result<String, Refusal> {
    let entry = state.schema(id).ok_or_else(|| Refusal::no_schema_id(id))?;
    if entry.references.is_empty() || entry.format != SchemaFormat::Avro {
        return Ok(entry.text.clone());
    }
    let parsed = state.parsed(id)?;
    Ok(parsed.avro().map_or_else(|| entry.text.clone(), |schema| schema.json().to_owned()))
}

impl Registry for Embedded {
    fn by_id(&self, id: SchemaId) -> Result<Option<String>, RegistryError> {
        let state = self.state();
        if state.schema(id.0).is_none() {
            return Ok(None);
        }
        self_contained(&state, id.0).map(Some).map_err(|refusal| self.failed("", refusal))
    }

    fn latest(&self, subject: &str) -> Result<Option<Version>, RegistryError> {
        let state = self.state();
        match state.version(subject, Asked::Latest, false) {
            Ok(found) => self.whole(&state, &found).map(Some),
            Err(_) => Ok(None),
        }
    }

    fn register_entry(&self, subject: &str, entry: &Entry) -> Result<SchemaId, RegistryError> {
        let text = format::canonical(entry.format, &entry.text, false).map_err(Refusal::invalid_schema);
        let registered = text.and_then(|text| {
            let entry = Entry { text, ..entry.clone() };
            self.change(|state| state.register(subject, entry, Given::default()))
        });
        registered.map(|(id, _)| SchemaId(id)).map_err(|refusal| self.failed(subject, refusal))
    }

    fn subjects(&self) -> Result<Vec<String>, RegistryError> {
        Ok(self.state().subjects(false).map(str::to_owned).collect())
    }

    fn versions(&self, subject: &str) -> Result<Vec<Version>, RegistryError> {
        let state = self.state();
        state.versions(subject, false).iter().map(|found| self.whole(&state, found)).collect()
    }

    fn level(&self, subject: &str) -> Result<Level, RegistryError> {
        Ok(self.state().level(subject))
    }

    fn set_level(&self, subject: Option<&str>, level: Level) -> Result<(), RegistryError> {
        let subject = subject.unwrap_or(GLOBAL);
        let set = self.change(|state| Ok(state.set_level(subject, Some(level))));
        set.map(drop).map_err(|refusal| self.failed(subject, refusal))
    }

    fn routes(&self) -> Option<Router> {
        Some(http::routes(self.clone(), None, http::Patience::default()))
    }

    fn place(&self) -> String {
        self.shared.place.clone()
    }
}
