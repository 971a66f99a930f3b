//! An app's schema files, and the parts of them that form a component's contract.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use heddle_contract::format::avro::{Library, SchemaError};
use heddle_contract::format::shape::Shapes;
use heddle_contract::format::{Referred, Schema};
use heddle_contract::identify::IdPath;
use heddle_contract::manifest::Manifest;
use heddle_contract::manifest::component::{IdSource, KeyType, SubjectNames, Tombstones, ValueFormat};
use heddle_contract::section::{self, Contract};
use heddle_contract::wire::{key_subject, record_subject, store_key_subject, store_value_subject, value_subject};
use heddle_contract::wit::{self, Names, Payload, Store, Table, Topic, World};

use super::documents::Documents;
use super::{BuildError, Document};
use crate::files;

/// The schemas of an app's `contracts` folder, by subject: the file's name without its extension.
#[derive(Debug, Default)]
pub struct AppContracts {
    folder: PathBuf,
    subjects: BTreeMap<String, Schema>,
    library: Library,
    documents: Documents,
}

impl AppContracts {
    /// Reads all schema files of `folder`. A folder that does not exist has no files.
    ///
    /// # Errors
    /// If a file cannot be read, or its schema is not valid.
    pub fn read(folder: &Path) -> Result<Self, BuildError> {
        let (mut library, mut documents) = (Library::default(), Documents::default());
        if folder.is_dir() {
            let mut paths = vec![];
            for entry in std::fs::read_dir(folder).map_err(BuildError::file(folder))? {
                paths.push(entry.map_err(BuildError::file(folder))?.path());
            }
            // Sorted, because messages about conflicts depend on the order of files.
            paths.sort();
            for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "avsc")) {
                let text = files::read_text(path).map_err(BuildError::file(path))?;
                library.add(&path.display().to_string(), &text)?;
            }
            documents = Documents::read(folder, &paths)?;
        }
        let mut subjects = BTreeMap::new();
        for file in library.files() {
            if let Some(subject) = Path::new(file).file_stem().and_then(|stem| stem.to_str()) {
                subjects.insert(subject.to_owned(), library.schema(file)?.into());
            }
        }
        if let Some(document) = documents.in_order().into_iter().find(|d| subjects.contains_key(&d.subject)) {
            let (subject, file) = (document.subject.clone(), document.file.clone());
            return Err(BuildError::TwoFormats { subject, file });
        }
        Ok(Self { folder: folder.to_owned(), subjects, library, documents })
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The files of formats other than Avro, each after its imports.
    #[must_use]
    pub fn documents(&self) -> Vec<&Document> {
        self.documents.in_order()
    }

    /// All direct and indirect imports of a file, the outermost last.
    #[must_use]
    pub fn referred(&self, document: &Document) -> Vec<Referred> {
        self.documents.referred(document)
    }

    /// The schema of a subject.
    #[must_use]
    pub fn get(&self, subject: &str) -> Option<&Schema> {
        self.subjects.get(subject).or_else(|| self.documents.get(subject))
    }

    /// The schemas of all Avro files, with the subjects in the files' names.
    pub fn subjects(&self) -> impl Iterator<Item = (&str, &Schema)> {
        self.subjects.iter().map(|(subject, schema)| (subject.as_str(), schema))
    }

    /// The schema of a topic's values: one of these types, or without types the schema in the topic's file, for the
    /// `message` in it if one is named. Types in Protobuf or JSON Schema are those of one file.
    ///
    /// # Errors
    /// If no file defines one of the types, or the topic's file does not have the message.
    pub fn values(&self, topic: &str, types: &[String], message: Option<&str>) -> Result<Option<Schema>, BuildError> {
        let subject = value_subject(topic);
        if let Some(message) = message {
            let schema = self.get(&subject).ok_or_else(|| "the topic has no schema file".to_owned());
            let schema = schema.and_then(|schema| schema.with_type(message));
            let wrong =
                |what| BuildError::Document { file: format!("message = {message:?} of the topic {topic}"), what };
            return schema.map(Some).map_err(wrong);
        }
        if types.is_empty() {
            return Ok(self.get(&subject).cloned());
        }
        if types.iter().any(|name| self.library.named(name).is_err())
            && let Some(schema) = self.of_one_file(topic, types)?
        {
            return Ok(Some(schema));
        }
        let mut names = vec![];
        for name in types {
            let schema = self.named(name)?;
            if schema.avro().is_none() {
                return Err(BuildError::Document {
                    file: format!("types = {types:?} of the topic {topic}"),
                    what: "types in Protobuf and JSON Schema must be of one file, and no file has them all".to_owned(),
                });
            }
            names.extend(schema.type_names());
        }
        let mut library = self.library.clone();
        library.add(&subject, &serde_json::json!(names).to_string())?;
        Ok(Some(library.schema(&subject)?.into()))
    }

    /// The schema of values that are of one of several types in one file. That of the topic is preferred.
    fn of_one_file(&self, topic: &str, types: &[String]) -> Result<Option<Schema>, BuildError> {
        let own = self.documents.get(&value_subject(topic));
        let mut problem = None;
        for schema in own.into_iter().chain(self.documents.schemas()) {
            match schema.with_types(types) {
                Ok(schema) => return Ok(Some(schema)),
                // The file has the types, but they cannot be distinguished.
                Err(what) if types.iter().all(|name| schema.with_type(name).is_ok()) => problem = Some(what),
                Err(_) => {}
            }
        }
        let file = format!("types = {types:?} of the topic {topic}");
        problem.map_or(Ok(None), |what| Err(BuildError::Document { file, what }))
    }

    /// The schema of a named type.
    ///
    /// # Errors
    /// If no file defines it.
    pub fn named(&self, name: &str) -> Result<Schema, BuildError> {
        match self.library.named(name) {
            Err(missing @ SchemaError::NoType { .. }) => {
                let mut found = self.documents.named(name);
                let candidates = found.iter().map(|schema| format!("`{}`", schema.describe())).collect::<Vec<_>>();
                match (found.pop(), found.is_empty()) {
                    (None, _) => Err(missing.into()),
                    (Some(schema), true) => Ok(schema),
                    (Some(_), false) => {
                        Err(SchemaError::Ambiguous { name: name.to_owned(), candidates: candidates.join(", ") }.into())
                    }
                }
            }
            answered => Ok(answered?.into()),
        }
    }
}

/// Returns the contract for `manifest`: its text, the schemas of its topics, stores and tables, and the names that a
/// host needs.
///
/// # Errors
/// If the manifest names a schema that no file has, or an unsuitable field for message ids.
pub fn contract_of(
    manifest: &Manifest,
    text: &str,
    contracts: &AppContracts,
    locked: &Names,
) -> Result<Contract, BuildError> {
    let typed = Typed::of(manifest, contracts)?;
    let names = typed.names(manifest, locked)?.for_host();
    let schemas = typed.schemas.into_iter().map(|(subject, (schema, _))| (subject, section::Schema::of(&schema)));
    Ok(Contract {
        component: section::Component { name: manifest.name.clone(), manifest: text.to_owned() },
        schemas: schemas.collect(),
        names,
        built_with: concat!("heddle ", env!("CARGO_PKG_VERSION")).to_owned(),
    })
}

/// The schemas of the topics, stores and tables of `manifest`, by subject. The manifest's type for a topic's keys takes
/// precedence over the schema file.
fn subjects_of(manifest: &Manifest, contracts: &AppContracts) -> Result<BTreeMap<String, Schema>, BuildError> {
    let consumed =
        manifest.consumes.iter().map(|(topic, it)| (topic, it.key.as_ref(), &it.types, &it.message, it.format));
    let emitted = manifest.emits.iter().map(|(topic, it)| (topic, it.key.as_ref(), &it.types, &it.message, it.format));
    let mut subjects = BTreeMap::<String, Schema>::new();
    let shown = manifest.tables.values().map(|it| (&it.topic, it.key.as_ref(), &it.types, &it.message, it.format));
    for (topic, key, types, message, format) in consumed.chain(emitted).chain(shown) {
        let has_schema = format == ValueFormat::Schema;
        let schema = if has_schema { contracts.values(topic, types, message.as_deref())? } else { None };
        if let Some(schema) = schema {
            subjects.extend(records_of(manifest, topic, &schema)?);
            subjects.insert(value_subject(topic), schema);
        }
        let subject = key_subject(topic);
        let schema = match key {
            Some(KeyType::Bytes | KeyType::String) => None,
            Some(KeyType::Schema(name)) => Some(contracts.named(name)?),
            None => contracts.get(&subject).cloned(),
        };
        let Some(schema) = schema else { continue };
        if let Some(other) = subjects.get(&subject).filter(|other| **other != schema) {
            let types = [other, &schema].map(Schema::describe);
            let component = manifest.name.clone();
            return Err(BuildError::TwoKeyTypes { component, topic: topic.clone(), types: types.join("` and `") });
        }
        subjects.insert(subject, schema);
    }
    for (name, store) in &manifest.stores {
        subjects.insert(store_value_subject(name), contracts.named(&store.value)?);
        if let Some(KeyType::Schema(key)) = &store.key {
            subjects.insert(store_key_subject(name), contracts.named(key)?);
        }
    }
    for (subject, schema) in &subjects {
        if let Some(problem) = schema.inexpressible().first() {
            let (component, subject) = (manifest.name.clone(), subject.clone());
            return Err(BuildError::Inexpressible { component, subject, problem: problem.clone() });
        }
    }
    for (topic, consumes) in &manifest.consumes {
        if let Some(IdSource::Value(path)) = &consumes.id {
            IdPath::of(topic, subjects.get(&value_subject(topic)), path)
                .map_err(|cause| BuildError::Id { component: manifest.name.clone(), cause })?;
        }
    }
    Ok(subjects)
}

/// The record types of a topic whose subjects are named after records, by their names in the contract.
fn records_of(manifest: &Manifest, topic: &str, schema: &Schema) -> Result<Vec<(String, Schema)>, BuildError> {
    if manifest.subject_names(topic) == SubjectNames::Topic {
        return Ok(vec![]);
    }
    let records = schema.records()?.ok_or_else(|| BuildError::NoRecords {
        component: manifest.name.clone(),
        topic: topic.to_owned(),
        schema: schema.describe(),
    })?;
    Ok(records.into_iter().map(|(name, schema)| (record_subject(topic, &name), schema)).collect())
}

/// Returns the files of the component's `wit` folder, by path, and the names of everything in them.
///
/// # Errors
/// If the manifest names a schema that no file has, an unsuitable field for message ids, or a `[rename]` that is not
/// possible.
pub fn world_files(
    manifest: &Manifest,
    contracts: &AppContracts,
    locked: &Names,
) -> Result<(BTreeMap<String, String>, Names), BuildError> {
    let typed = Typed::of(manifest, contracts)?;
    let names = typed.names(manifest, locked)?;
    Ok((wit::files(&typed.world(manifest), &names), names))
}

/// A component's schemas and their shapes, by subject.
struct Typed {
    schemas: BTreeMap<String, (Schema, Shapes)>,
}

impl Typed {
    fn of(manifest: &Manifest, contracts: &AppContracts) -> Result<Self, BuildError> {
        let schemas = subjects_of(manifest, contracts)?.into_iter();
        let with_shapes = schemas.map(|(subject, schema)| {
            let shapes = schema.shapes();
            (subject, (schema, shapes))
        });
        Ok(Self { schemas: with_shapes.collect() })
    }

    fn names(&self, manifest: &Manifest, locked: &Names) -> Result<Names, BuildError> {
        Names::allot(&self.world(manifest), &manifest.rename, locked)
            .map_err(|cause| BuildError::Wit { component: manifest.name.clone(), cause })
    }

    fn world<'a>(&'a self, manifest: &'a Manifest) -> World<'a> {
        let by_schema = |subject: String| {
            let (subject, (_, shapes)) = self.schemas.get_key_value(&subject)?;
            Some(Payload::Schema { subject, shapes })
        };
        let payloads = |name: &str, key: Option<&KeyType>, format: ValueFormat| {
            let value = match format {
                ValueFormat::Text => Payload::String,
                ValueFormat::Bytes => Payload::Bytes,
                ValueFormat::Schema => by_schema(value_subject(name)).unwrap_or(Payload::Bytes),
            };
            let key = match key {
                Some(KeyType::Bytes) => Payload::Bytes,
                Some(KeyType::String) => Payload::String,
                _ => by_schema(key_subject(name)).unwrap_or(Payload::String),
            };
            (value, key)
        };
        let consumes = manifest.consumes.iter().map(|(name, consumes)| {
            let (value, key) = payloads(name, consumes.key.as_ref(), consumes.format);
            Topic { name, value, key, tombstones: consumes.tombstones == Tombstones::Handle }
        });
        let emits = manifest.emits.iter().map(|(name, emits)| {
            let (value, key) = payloads(name, emits.key.as_ref(), emits.format);
            Topic { name, value, key, tombstones: false }
        });
        let stores = manifest.stores.iter().map(|(name, store)| {
            let value = by_schema(store_value_subject(name)).unwrap_or(Payload::Bytes);
            let key = match store.key {
                Some(KeyType::Bytes) => Payload::Bytes,
                _ => by_schema(store_key_subject(name)).unwrap_or(Payload::String),
            };
            Store { name, value, key }
        });
        let tables = manifest.tables.iter().map(|(name, table)| {
            let (value, key) = payloads(&table.topic, table.key.as_ref(), table.format);
            Table { name, topic: &table.topic, value, key }
        });
        World {
            consumes: consumes.collect(),
            emits: emits.collect(),
            stores: stores.collect(),
            tables: tables.collect(),
        }
    }
}
