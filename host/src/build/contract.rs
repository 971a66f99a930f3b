//! An app's schema files, and what of them is a component's contract.

use std::collections::BTreeMap;
use std::path::Path;

use heddle_contract::manifest::Manifest;
use heddle_contract::manifest::component::KeyType;
use heddle_contract::schema::{Library, Schema};
use heddle_contract::section::{self, Contract, SchemaFormat};
use heddle_contract::wire::{key_subject, value_subject};
use heddle_contract::wit::{self, Payload, Topic, World};

use super::BuildError;

/// The schemas of an app's `contracts` folder, by subject: the file's name without `.avsc`.
#[derive(Debug, Default)]
pub struct AppContracts {
    subjects: BTreeMap<String, Schema>,
}

impl AppContracts {
    /// Reads all schema files of `folder`; a folder that is not there holds none.
    ///
    /// # Errors
    /// If a file cannot be read or is no schema.
    pub fn read(folder: &Path) -> Result<Self, BuildError> {
        let mut library = Library::default();
        if folder.is_dir() {
            let mut paths = vec![];
            for entry in std::fs::read_dir(folder).map_err(BuildError::file(folder))? {
                paths.push(entry.map_err(BuildError::file(folder))?.path());
            }
            // The order decides which file a message calls the first.
            paths.sort();
            for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "avsc")) {
                let text = std::fs::read_to_string(path).map_err(BuildError::file(path))?;
                library.add(&path.display().to_string(), &text)?;
            }
        }
        let mut subjects = BTreeMap::new();
        for file in library.files() {
            if let Some(subject) = Path::new(file).file_stem().and_then(|stem| stem.to_str()) {
                subjects.insert(subject.to_owned(), library.schema(file)?);
            }
        }
        Ok(Self { subjects })
    }

    /// The schema of a subject.
    #[must_use]
    pub fn get(&self, subject: &str) -> Option<&Schema> {
        self.subjects.get(subject)
    }
}

/// What `manifest` is typed by: its text, and the schemas of the topics it names.
#[must_use]
pub fn contract_of(manifest: &Manifest, text: &str, contracts: &AppContracts) -> Contract {
    let topics = manifest.consumes.keys().chain(manifest.emits.keys());
    let subjects = topics.flat_map(|topic| [key_subject(topic), value_subject(topic)]);
    let schemas = subjects.filter_map(|subject| {
        let text = contracts.get(&subject)?.json().to_owned();
        Some((subject, section::Schema { format: SchemaFormat::Avro, text }))
    });
    Contract {
        component: section::Component { name: manifest.name.clone(), manifest: text.to_owned() },
        schemas: schemas.collect(),
        built_with: concat!("heddle ", env!("CARGO_PKG_VERSION")).to_owned(),
    }
}

/// The files of the component's `wit` folder, by path.
///
/// # Errors
/// If WIT cannot hold one of its schemas.
pub fn world_files(manifest: &Manifest, contracts: &AppContracts) -> Result<BTreeMap<String, String>, BuildError> {
    let names = manifest.consumes.keys().chain(manifest.emits.keys());
    let subjects = names.map(|topic| (topic.clone(), (key_subject(topic), value_subject(topic))));
    let subjects = subjects.collect::<BTreeMap<_, _>>();
    let topic = |name: &'_ String, key: Option<&KeyType>| -> Option<Topic<'_>> {
        let (name, (keys, values)) = subjects.get_key_value(name)?;
        let value = match contracts.get(values) {
            Some(schema) => Payload::Schema { subject: values, schema },
            None => Payload::Bytes,
        };
        let key = match (key, contracts.get(keys)) {
            (Some(KeyType::Bytes), _) => Payload::Bytes,
            (_, Some(schema)) => Payload::Schema { subject: keys, schema },
            _ => Payload::String,
        };
        Some(Topic { name, value, key })
    };
    let world = World {
        consumes: manifest.consumes.iter().filter_map(|(name, consumes)| topic(name, consumes.key.as_ref())).collect(),
        emits: manifest.emits.iter().filter_map(|(name, emits)| topic(name, emits.key.as_ref())).collect(),
    };
    wit::files(&world).map_err(|cause| BuildError::Wit { component: manifest.name.clone(), cause })
}
