//! The settings of topics in the app's file and in the manifests of its components.

use std::path::Path;
use std::sync::Arc;

use heddle_contract::format::Schema;
use heddle_contract::manifest::App;
use heddle_contract::manifest::component::{KeyType, SubjectNames, ValueFormat};
use heddle_contract::wire::{Part, Wire, key_subject};

use super::app;
use crate::build::{AppContracts, BuildError};
use crate::guest::Schemas;
use crate::registry::{Cached, Registry};
use crate::values::{Contracts, Plain, WithContracts};

/// The settings of one topic.
#[derive(Default)]
pub(super) struct Declared {
    pub(super) key: Option<KeyType>,
    pub(super) subject: SubjectNames,
    pub(super) types: Vec<String>,
    pub(super) message: Option<String>,
    pub(super) format: ValueFormat,
    pub(super) wire: Wire,
}

impl Declared {
    pub(super) fn of(folder: &Path, app: &App, topic: &str) -> Self {
        let wire = app.topics.get(topic).map(|topic| topic.wire).unwrap_or_default();
        let mut found = Self { wire, ..Self::default() };
        // `heddle build` reports components that cannot be read.
        for source in app::sources(folder, app).unwrap_or_default() {
            let manifest = &source.manifest;
            let consumed =
                manifest.consumes.get(topic).map(|it| (&it.key, it.subject, &it.types, &it.message, it.format));
            let emitted = manifest.emits.get(topic).map(|it| (&it.key, it.subject, &it.types, &it.message, it.format));
            let shown = manifest.table_of(topic).map(|it| (&it.key, it.subject, &it.types, &it.message, it.format));
            for (key, subject, types, message, format) in consumed.into_iter().chain(emitted).chain(shown) {
                found.key = found.key.or_else(|| key.clone());
                found.message = found.message.or_else(|| message.clone());
                if subject != SubjectNames::Topic {
                    found.subject = subject;
                }
                if format != ValueFormat::Schema {
                    found.format = format;
                }
                // One component may name fewer types than another.
                found
                    .types
                    .extend(types.iter().filter(|name| !found.types.contains(name)).cloned().collect::<Vec<_>>());
            }
        }
        found
    }

    /// The meaning of values without a schema.
    pub(super) fn plain(&self) -> Plain {
        if self.format == ValueFormat::Text { Plain::Text } else { Plain::Json }
    }

    /// The app's schema for the topic's values.
    pub(super) fn values(&self, contracts: &AppContracts, topic: &str) -> Result<Option<Schema>, BuildError> {
        if self.format != ValueFormat::Schema {
            return Ok(None);
        }
        contracts.values(topic, &self.types, self.message.as_deref())
    }

    /// The app's schema for the topic's keys.
    pub(super) fn keys(&self, contracts: &AppContracts, topic: &str) -> Result<Option<Schema>, BuildError> {
        match &self.key {
            Some(KeyType::Schema(name)) => contracts.named(name).map(Some),
            Some(KeyType::String | KeyType::Bytes) => Ok(None),
            None => Ok(contracts.get(&key_subject(topic)).cloned()),
        }
    }
}

/// The schemas of the registry, and those of the app for topics whose records may name none.
pub(super) fn schemas(folder: &Path, app: &App, registry: Arc<dyn Registry>) -> Arc<dyn Schemas> {
    let registered = Arc::new(Cached::new(registry));
    let unnamed = app.topics.iter().filter(|(_, topic)| matches!(topic.wire, Wire::Plain | Wire::Auto));
    let mut unnamed = unnamed.peekable();
    if unnamed.peek().is_none() {
        return registered;
    }
    // `heddle build` reports files that cannot be read.
    let contracts = AppContracts::read(&folder.join(&app.contracts)).unwrap_or_default();
    let mut found = Contracts::new();
    for (topic, settings) in unnamed {
        let declared = Declared::of(folder, app, topic);
        let parts = [(Part::Value, declared.values(&contracts, topic)), (Part::Key, declared.keys(&contracts, topic))];
        for (part, schema) in parts {
            let schema = schema.ok().flatten();
            found.extend(schema.map(|schema| ((topic.clone(), part), (settings.wire, schema))));
        }
    }
    Arc::new(WithContracts::new(registered, found))
}
