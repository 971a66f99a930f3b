//! A registry in this process. Its storage is a sled folder, a topic of the log, or memory (for tests).
//!
//! ```text
//!  request ──> questions:  Storage::refresh ─> State
//!         └──> changes:    Storage::change: newest State ─> decide ─> make durable ─> apply ─> answer
//! ```
//!
//! Answers never contain changes that are not durable yet.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use axum::Router;
use heddle_contract::compat::Level;
use heddle_contract::section::SchemaFormat;
use heddle_contract::wire::Guid;

use super::format::{self, Entry};
use super::refusal::Refusal;
use super::state::{Asked, Change, Found, GLOBAL, Given, State};
use super::storage::{ChangeError, Memory, Storage};
use super::store::Store;
use super::{Registered, Registry, RegistryError, SchemaId, Version, http};
use crate::lock::lock;

/// The maximum age of answers about subjects. An unknown id is always looked up.
const AGE_MAX: Duration = Duration::from_millis(100);

/// The embedded registry. Clones share it.
#[derive(Clone)]
pub struct Embedded {
    shared: Arc<Shared>,
}

struct Shared {
    state: RwLock<State>,
    storage: Box<dyn Storage>,
}

impl Embedded {
    /// Opens the registry in `folder`, which is created if it does not exist. Only one process may use the folder.
    pub fn open(folder: &Path) -> Result<Self, RegistryError> {
        let store = Store::open(folder)?;
        Ok(Self::with(store.load()?, Box::new(store)))
    }

    /// Creates a registry with `state`, which keeps its changes in `storage`.
    #[must_use]
    pub fn with(state: State, storage: Box<dyn Storage>) -> Self {
        Self { shared: Arc::new(Shared { state: RwLock::new(state), storage }) }
    }

    /// Returns an in-memory registry. All callers in this process with the same `scope` share it, as with
    /// `mock://<scope>` in other clients.
    #[must_use]
    pub fn mock(scope: &str) -> Self {
        static SCOPES: Mutex<BTreeMap<String, Embedded>> = Mutex::new(BTreeMap::new());
        let new = || Self::with(State::default(), Box::new(Memory { place: format!("mock://{scope}") }));
        lock(&SCOPES).entry(scope.to_owned()).or_insert_with(new).clone()
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.shared.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state for questions about subjects.
    pub(super) fn fresh(&self) -> Result<RwLockReadGuard<'_, State>, RegistryError> {
        self.shared.storage.refresh(&self.shared.state, AGE_MAX)?;
        Ok(self.state())
    }

    /// The state for questions about an id. Ids never change their meaning, so a known id needs no refresh.
    pub(super) fn knowing(&self, id: u32) -> Result<RwLockReadGuard<'_, State>, RegistryError> {
        if self.state().schema(id).is_none() {
            self.shared.storage.refresh(&self.shared.state, Duration::ZERO)?;
        }
        Ok(self.state())
    }

    /// The state for questions about a GUID, like [`knowing`](Self::knowing).
    pub(super) fn knowing_guid(&self, guid: Guid) -> Result<RwLockReadGuard<'_, State>, RegistryError> {
        if self.state().id_of(guid).is_none() {
            self.shared.storage.refresh(&self.shared.state, Duration::ZERO)?;
        }
        Ok(self.state())
    }

    /// Decides a request, and makes its changes durable before the answer.
    pub(super) fn change<T>(
        &self,
        decide: impl Fn(&State) -> Result<(T, Vec<Change>), Refusal>,
    ) -> Result<T, ChangeError> {
        let mut answer = None;
        self.shared.storage.change(&self.shared.state, &mut |state| {
            let (decided, changes) = decide(state)?;
            answer = Some(decided);
            Ok(changes)
        })?;
        answer.ok_or_else(|| Refusal::store("the request was not decided").into())
    }

    fn failed(&self, subject: &str, error: ChangeError) -> RegistryError {
        match error {
            ChangeError::Failed(error) => error,
            ChangeError::Refused(refusal) if refusal.code >= 50_000 => {
                RegistryError::Store { place: self.place(), cause: refusal.message }
            }
            ChangeError::Refused(refusal) => {
                RegistryError::Refused { subject: subject.to_owned(), message: refusal.message }
            }
        }
    }

    /// A version. The text of its schema includes everything to which it refers.
    fn whole(&self, state: &State, found: &Found) -> Result<Version, RegistryError> {
        let failed = |refusal: Refusal| self.failed(&found.subject, refusal.into());
        let format = found.entry.format;
        let referred =
            if format == SchemaFormat::Avro { vec![] } else { state.referred(&found.entry).map_err(failed)? };
        let schema = self_contained(state, found.id).map_err(failed)?;
        Ok(Version { version: found.version, id: SchemaId(found.id), format, schema, referred })
    }
}

/// A schema's text, including the types to which it refers.
fn self_contained(state: &State, id: u32) -> Result<String, Refusal> {
    let entry = state.schema(id).ok_or_else(|| Refusal::no_schema_id(id))?;
    if entry.references.is_empty() || entry.format != SchemaFormat::Avro {
        return Ok(entry.text.clone());
    }
    let parsed = state.parsed(id)?;
    Ok(parsed.avro().map_or_else(|| entry.text.clone(), |schema| schema.json().to_owned()))
}

impl Registry for Embedded {
    fn by_id(&self, id: SchemaId) -> Result<Option<Registered>, RegistryError> {
        let state = self.knowing(id.0)?;
        let Some(entry) = state.schema(id.0) else { return Ok(None) };
        let (format, references, guid) = (entry.format, entry.references.clone(), Some(format::guid(entry)));
        let text = self_contained(&state, id.0).map_err(|refusal| self.failed("", refusal.into()))?;
        let schema = state.parsed(id.0).map(|schema| (*schema).clone()).map_err(|refusal| refusal.message);
        Ok(Some(Registered { format, text, references, guid, schema }))
    }

    fn by_guid(&self, guid: Guid) -> Result<Option<Registered>, RegistryError> {
        let id = self.knowing_guid(guid)?.id_of(guid);
        id.map_or(Ok(None), |id| self.by_id(SchemaId(id)))
    }

    fn latest(&self, subject: &str) -> Result<Option<Version>, RegistryError> {
        let state = self.fresh()?;
        match state.version(subject, Asked::Latest, false) {
            Ok(found) => self.whole(&state, &found).map(Some),
            Err(_) => Ok(None),
        }
    }

    fn lookup(&self, subject: &str, entry: &Entry) -> Result<Option<SchemaId>, RegistryError> {
        let text = format::canonical(entry.format, &entry.text, false).map_err(Refusal::invalid_schema);
        let text = text.map_err(|refusal| self.failed(subject, refusal.into()))?;
        let found = self.fresh()?.lookup(subject, &Entry { text, ..entry.clone() }, false);
        // The lookup fails only if the schema is not registered.
        Ok(found.ok().map(|found| SchemaId(found.id)))
    }

    fn register_entry(&self, subject: &str, entry: &Entry) -> Result<SchemaId, RegistryError> {
        let text = format::canonical(entry.format, &entry.text, false).map_err(Refusal::invalid_schema);
        let registered = text.map_err(ChangeError::from).and_then(|text| {
            let entry = Entry { text, ..entry.clone() };
            self.change(|state| state.register(subject, entry.clone(), Given::default()))
        });
        registered.map(|(id, _)| SchemaId(id)).map_err(|error| self.failed(subject, error))
    }

    fn subjects(&self) -> Result<Vec<String>, RegistryError> {
        Ok(self.fresh()?.subjects(false).map(str::to_owned).collect())
    }

    fn versions(&self, subject: &str) -> Result<Vec<Version>, RegistryError> {
        let state = self.fresh()?;
        state.versions(subject, false).iter().map(|found| self.whole(&state, found)).collect()
    }

    fn level(&self, subject: &str) -> Result<Level, RegistryError> {
        Ok(self.fresh()?.level(subject))
    }

    fn set_level(&self, subject: Option<&str>, level: Level) -> Result<(), RegistryError> {
        let subject = subject.unwrap_or(GLOBAL);
        let set = self.change(|state| Ok(state.set_level(subject, Some(level))));
        set.map(drop).map_err(|error| self.failed(subject, error))
    }

    fn settle(&self) -> Result<(), RegistryError> {
        self.change(|_| Ok(((), vec![]))).map_err(|error| self.failed("", error))
    }

    fn routes(&self) -> Option<Router> {
        Some(http::routes(self.clone(), None, http::Patience::default()))
    }

    fn place(&self) -> String {
        self.shared.storage.place()
    }
}
