//! The components in `guests/`, built as a user builds them, and helpers around them.

use crate::support::build;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use heddle::build::cache_folder;
use heddle::guest::{Component, Engine, LoadError, Schemas};
use heddle::registry::SchemaId;
use heddle_contract::format;
use heddle_contract::format::avro::{Library, Schema, json};
use heddle_contract::section::{self, Contract};
use heddle_core::event::NewRecord;
use heddle_core::explain::to_text;
use serde_json::Value;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../guests")
}

/// The components that most tests use. The conformance guests of other languages need their tools, so only the
/// conformance tests build those.
const RUST: [&str; 4] = ["keeper", "keyed", "scripted", "wrong-import"];

/// The file of a component. The first call builds all of [`RUST`] with the command that users type.
pub(crate) fn wasm(name: &str) -> Vec<u8> {
    build::built("guests", &RUST);
    build::component("guests", name)
}

/// The files with Avro schemas.
fn contracts() -> impl Iterator<Item = PathBuf> {
    let files = std::fs::read_dir(folder().join("contracts")).unwrap().map(|file| file.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "avsc"))
}

/// Copies the Avro schemas to an app.
pub(crate) fn copy_contracts(app: &Path) {
    std::fs::create_dir_all(app.join("contracts")).unwrap();
    for file in contracts() {
        std::fs::copy(&file, app.join("contracts").join(file.file_name().unwrap())).unwrap();
    }
}

/// The schema of a subject or a named type.
pub(crate) fn schema(name: &str) -> Schema {
    let mut library = Library::default();
    for path in contracts() {
        let file = path.file_stem().unwrap().to_str().unwrap();
        library.add(file, &std::fs::read_to_string(&path).unwrap()).unwrap();
    }
    library.schema(name).unwrap_or_else(|_| library.named(name).unwrap())
}

/// A registry with these schemas. It does not answer for the id 99.
pub(crate) struct Known(BTreeMap<SchemaId, format::Schema>);

impl Known {
    pub(crate) fn of(schemas: impl IntoIterator<Item = (u32, Schema)>) -> Arc<Self> {
        Arc::new(Self(schemas.into_iter().map(|(id, schema)| (SchemaId(id), schema.into())).collect()))
    }
}

impl Schemas for Known {
    fn writer(&self, id: SchemaId) -> Result<Option<format::Schema>, String> {
        if id.0 == 99 { Err("the registry does not answer".to_owned()) } else { Ok(self.0.get(&id).cloned()) }
    }
}

/// Loads a component whose schemas have these ids. Messages call the component `name`.
pub(crate) fn load<'a>(
    name: &str,
    wasm: &[u8],
    ids: impl IntoIterator<Item = (&'a str, u32)>,
) -> Result<Component, LoadError> {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    let ids = ids.into_iter().map(|(name, id)| (name.to_owned(), SchemaId(id))).collect();
    Component::load(
        ENGINE.get_or_init(|| Engine::start(Some(&cache_folder().join("compiled"))).unwrap()),
        name,
        wasm,
        &ids,
    )
}

/// The message of a component that must not load.
pub(crate) fn refused(loaded: Result<Component, LoadError>) -> String {
    match loaded {
        Ok(_) => panic!("it loads"),
        Err(error) => to_text(&error),
    }
}

/// Replaces the contract in the file.
pub(crate) fn with_contract(wasm: &[u8], change: impl FnOnce(&mut Contract)) -> Vec<u8> {
    let mut contract = section::extract(wasm).unwrap();
    change(&mut contract);
    section::embed(wasm, &contract).unwrap()
}

/// A value in the wire format.
pub(crate) fn framed(id: u32, schema: &Schema, value: &Value) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend(id.to_be_bytes());
    json::encode(schema, value, &mut bytes).unwrap();
    bytes
}

pub(crate) fn header(record: &NewRecord, name: &str) -> String {
    let header = record.headers.iter().find(|header| header.name == name).unwrap_or_else(|| panic!("no header {name}"));
    String::from_utf8(header.value.clone().unwrap().to_vec()).unwrap()
}
