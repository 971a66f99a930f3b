//! Reports the requests to a registry.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use heddle_contract::compat::Level;

use super::format::Entry;
use super::{Guid, Registered, Registry, RegistryError, SchemaId, Version};
use crate::telemetry::{RegistryCalled, Telemetry};

/// A registry whose requests are reported.
pub struct Observed {
    registry: Arc<dyn Registry>,
    telemetry: Telemetry,
}

impl Observed {
    /// Reports the requests to `registry`.
    #[must_use]
    pub fn new(registry: Arc<dyn Registry>, telemetry: Telemetry) -> Self {
        Self { registry, telemetry }
    }

    fn call<T>(
        &self,
        call: &'static str,
        request: impl FnOnce(&dyn Registry) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let began = Instant::now();
        let answer = request(self.registry.as_ref());
        let error = answer.as_ref().err().map(RegistryError::kind);
        self.telemetry.report(RegistryCalled { call, took: began.elapsed(), error });
        answer
    }
}

impl Registry for Observed {
    fn by_id(&self, id: SchemaId) -> Result<Option<Registered>, RegistryError> {
        self.call("by-id", |registry| registry.by_id(id))
    }

    fn by_guid(&self, guid: Guid) -> Result<Option<Registered>, RegistryError> {
        self.call("by-guid", |registry| registry.by_guid(guid))
    }

    fn latest(&self, subject: &str) -> Result<Option<Version>, RegistryError> {
        self.call("latest", |registry| registry.latest(subject))
    }

    fn lookup(&self, subject: &str, entry: &Entry) -> Result<Option<SchemaId>, RegistryError> {
        self.call("lookup", |registry| registry.lookup(subject, entry))
    }

    fn register_entry(&self, subject: &str, entry: &Entry) -> Result<SchemaId, RegistryError> {
        self.call("register", |registry| registry.register_entry(subject, entry))
    }

    fn ping(&self) -> Result<(), RegistryError> {
        self.call("ping", |registry| registry.ping())
    }

    fn subjects(&self) -> Result<Vec<String>, RegistryError> {
        self.call("subjects", |registry| registry.subjects())
    }

    fn versions(&self, subject: &str) -> Result<Vec<Version>, RegistryError> {
        self.call("versions", |registry| registry.versions(subject))
    }

    fn level(&self, subject: &str) -> Result<Level, RegistryError> {
        self.call("level", |registry| registry.level(subject))
    }

    fn set_level(&self, subject: Option<&str>, level: Level) -> Result<(), RegistryError> {
        self.call("set-level", |registry| registry.set_level(subject, level))
    }

    fn settle(&self) -> Result<(), RegistryError> {
        self.registry.settle()
    }

    fn routes(&self) -> Option<Router> {
        self.registry.routes()
    }

    fn place(&self) -> String {
        self.registry.place()
    }
}
