//! The schema files of formats other than Avro. Like Avro's, they are validated and registered, and they type
//! components.
//!
//! ```text
//!  <topic>-value.proto ──import "shop/money.proto"──> contracts/shop/money.proto    subject `shop/money.proto`
//! ```
//!
//! Files in subfolders are read only when they are imported, by their path from the folder.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use heddle_contract::section::SchemaFormat;

use super::BuildError;
use crate::files;
use crate::registry::format::{self, Referred, Schema};
use crate::registry::is_subject;

/// A schema file of a format other than Avro.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its path from the folder.
    pub file: String,
    /// Its subject in the registry: a topic's subject, or the path by which other files import it.
    pub subject: String,
    /// Its format.
    pub format: SchemaFormat,
    /// Its text.
    pub text: String,
    /// The files that it imports.
    pub imports: Vec<String>,
}

/// The files of subjects and their imports, by path.
#[derive(Debug, Default)]
pub(super) struct Documents {
    files: BTreeMap<String, Document>,
    /// The schemas of the files that can type components, by file.
    schemas: BTreeMap<String, Schema>,
}

/// The format for a file's extension.
#[must_use]
pub fn format_of(file: &Path) -> Option<SchemaFormat> {
    match file.extension()?.to_str()? {
        "avsc" => Some(SchemaFormat::Avro),
        "json" => Some(SchemaFormat::Json),
        "proto" => Some(SchemaFormat::Protobuf),
        _ => None,
    }
}

/// Returns true if a file of JSON says that it is a JSON Schema.
fn says_schema(path: &Path) -> bool {
    let json = files::read_text(path).ok().and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
    json.is_some_and(|json| json.get("$schema").is_some_and(serde_json::Value::is_string))
}

impl Documents {
    /// Reads the files in `files` that are named after a subject or define types, and all their imports.
    pub(super) fn read(folder: &Path, files: &[impl AsRef<Path>]) -> Result<Self, BuildError> {
        let mut documents = Self::default();
        for path in files.iter().map(AsRef::as_ref) {
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let is_read = match format_of(path) {
                Some(SchemaFormat::Protobuf) => true,
                Some(SchemaFormat::Json) => is_subject(stem) || says_schema(path),
                Some(SchemaFormat::Avro) | None => false,
            };
            if let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|_| is_read) {
                documents.add(folder, name, &mut vec![])?;
            }
        }
        Ok(documents)
    }

    /// Adds a file after its imports. `way` has the chain of files that import it.
    fn add(&mut self, folder: &Path, file: &str, way: &mut Vec<String>) -> Result<(), BuildError> {
        let path = folder.join(file);
        let wrong = |what: String| BuildError::Document { file: path.display().to_string(), what };
        if way.iter().any(|other| other == file) {
            return Err(wrong(format!("the schema imports itself, by way of {}", way.join(", "))));
        }
        if self.files.contains_key(file) {
            return Ok(());
        }
        let Some(format) = format_of(Path::new(file)) else {
            return Err(wrong("its extension belongs to no schema format".to_owned()));
        };
        let text = files::read_text(&path).map_err(BuildError::file(&path))?;
        let imports = format::imports(format, &text).map_err(wrong)?;
        way.push(file.to_owned());
        for import in &imports {
            let inside = Path::new(import).components().all(|part| matches!(part, Component::Normal(_)));
            if !inside || format_of(Path::new(import)) != Some(format) || !folder.join(import).is_file() {
                let file = path.display().to_string();
                return Err(BuildError::Import { file, import: import.clone() });
            }
            self.add(folder, import, way)?;
        }
        way.pop();
        let stem = Path::new(file).file_stem().and_then(|stem| stem.to_str()).filter(|stem| is_subject(stem));
        let at_top = stem.filter(|_| !file.contains('/'));
        let subject = at_top.unwrap_or(file).to_owned();
        let document = Document { file: file.to_owned(), subject, format, text, imports };
        let entry = format::Entry::new(format, document.text.as_str());
        let schema = format::parse(&entry, &self.referred(&document));
        let schema = schema.map_err(|what| wrong(format!("not a valid schema: {what}")))?;
        self.schemas.insert(file.to_owned(), schema);
        self.files.insert(file.to_owned(), document);
        Ok(())
    }

    /// The schema of a subject, if it can type components.
    pub(super) fn get(&self, subject: &str) -> Option<&Schema> {
        self.files.values().find(|document| document.subject == subject).and_then(|d| self.schemas.get(&d.file))
    }

    /// The schemas of the files that define a type of this name.
    pub(super) fn named(&self, name: &str) -> Vec<Schema> {
        self.schemas.values().filter_map(|schema| schema.with_type(name).ok()).collect()
    }

    /// All files, each after its imports.
    pub(super) fn in_order(&self) -> Vec<&Document> {
        let mut ordered = vec![];
        self.files.values().for_each(|document| self.visit(document, &mut ordered));
        ordered
    }

    /// All direct and indirect imports of a file, the outermost last.
    pub(super) fn referred(&self, document: &Document) -> Vec<Referred> {
        let mut ordered = vec![];
        document
            .imports
            .iter()
            .filter_map(|file| self.files.get(file))
            .for_each(|other| self.visit(other, &mut ordered));
        ordered.iter().map(|other| Referred { name: other.file.clone(), text: other.text.clone() }).collect()
    }

    fn visit<'a>(&'a self, document: &'a Document, ordered: &mut Vec<&'a Document>) {
        if !ordered.contains(&document) {
            document
                .imports
                .iter()
                .filter_map(|file| self.files.get(file))
                .for_each(|other| self.visit(other, ordered));
            ordered.push(document);
        }
    }
}
