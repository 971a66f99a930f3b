//! Registers schemas together with the files that they import.
//!
//! ```text
//!  orders.created-value ──import "shop/money.proto"──> subject `shop/money.proto`, registered first
//! ```
//!
//! The subject of an imported file is its path, and a reference has the name that is in the text, as Confluent's
//! serializers do it.

use std::collections::BTreeMap;
use std::path::Path;

use heddle_contract::format::{self, Entry, Reference, Referred, Schema};
use heddle_contract::section::{self, SchemaFormat};

use super::{Registry, RegistryError, SchemaId};

/// A schema and its imports, in the form for registration.
#[derive(Clone, Copy, Debug)]
pub struct Publication<'a> {
    format: SchemaFormat,
    text: &'a str,
    imports: &'a [Referred],
}

impl<'a> From<&'a Schema> for Publication<'a> {
    fn from(schema: &'a Schema) -> Self {
        Self { format: schema.format(), text: schema.text(), imports: schema.imports() }
    }
}

impl<'a> From<&'a section::Schema> for Publication<'a> {
    fn from(schema: &'a section::Schema) -> Self {
        Self { format: schema.format, text: &schema.text, imports: &schema.imports }
    }
}

impl Publication<'_> {
    /// Registers the schema under a subject, after the files that it imports.
    ///
    /// # Errors
    /// If the registry refuses one of them or does not answer.
    pub fn register(&self, registry: &dyn Registry, subject: &str) -> Result<SchemaId, RegistryError> {
        let mut versions = BTreeMap::new();
        for import in self.imports {
            let (subject, entry) =
                (import_subject(&import.name), self.entry(subject, &import.name, &import.text, &versions)?);
            let id = registry.register_entry(subject, &entry)?;
            versions.insert(import.name.as_str(), version_of(registry, subject, id)?);
        }
        registry.register_entry(subject, &self.entry(subject, "", self.text, &versions)?)
    }

    /// The id of the schema under a subject, or `None` if it or one of its imports is not registered.
    ///
    /// # Errors
    /// If the registry does not answer, or refuses a schema as invalid.
    pub fn lookup(&self, registry: &dyn Registry, subject: &str) -> Result<Option<SchemaId>, RegistryError> {
        let mut versions = BTreeMap::new();
        for import in self.imports {
            let (subject, entry) =
                (import_subject(&import.name), self.entry(subject, &import.name, &import.text, &versions)?);
            let Some(id) = registry.lookup(subject, &entry)? else { return Ok(None) };
            versions.insert(import.name.as_str(), version_of(registry, subject, id)?);
        }
        registry.lookup(subject, &self.entry(subject, "", self.text, &versions)?)
    }

    /// A text with references to the versions of what it imports. `file` is its name among the imports.
    fn entry(
        &self,
        subject: &str,
        file: &str,
        text: &str,
        versions: &BTreeMap<&str, u32>,
    ) -> Result<Entry, RegistryError> {
        let mut entry = Entry::new(self.format, text);
        if self.imports.is_empty() {
            return Ok(entry);
        }
        let refused = |message| RegistryError::Refused { subject: subject.to_owned(), message };
        for link in format::imports(self.format, text).map_err(refused)? {
            let found = format::follow(self.format, file, &link, self.imports);
            let found =
                found.and_then(|import| Some((import_subject(&import.name), versions.get(import.name.as_str())?)));
            let name = link.name;
            let (subject, version) = found.ok_or_else(|| refused(format!("the import `{name}` is missing")))?;
            entry.references.push(Reference { subject: subject.to_owned(), name, version: *version });
        }
        Ok(entry)
    }
}

/// The subject of an imported file. A file that is named after a topic's subject has that subject.
fn import_subject(name: &str) -> &str {
    let stem = Path::new(name).file_stem().and_then(|stem| stem.to_str()).filter(|_| !name.contains('/'));
    stem.filter(|stem| crate::registry::is_subject(stem)).unwrap_or(name)
}

fn version_of(registry: &dyn Registry, subject: &str, id: SchemaId) -> Result<u32, RegistryError> {
    let versions = registry.versions(subject)?;
    let version = versions.iter().rev().find(|version| version.id == id).map(|version| version.version);
    version.ok_or_else(|| RegistryError::Refused {
        subject: subject.to_owned(),
        message: "the registered version was deleted at once".to_owned(),
    })
}
