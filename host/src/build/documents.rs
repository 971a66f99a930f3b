//! The schema files of formats other than Avro. Like Avro's, they are validated and registered, and they type
//! components.
//!
//! ```text
//!  <topic>-value.proto ──import "shop/money.proto"──> contracts/shop/money.proto    subject `shop/money.proto`
//! ```
//!
//! Files in subfolders are read only when they are imported: by their path from the folder; a JSON Schema also by its
//! path from the importing file, or by its `$id`.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use heddle_contract::format::{Link, avro, json_schema};
use heddle_contract::section::SchemaFormat;

use super::BuildError;
use crate::files;
use crate::registry::format::{self, Referred, Schema};
use crate::registry::is_subject;

/// The maximum depth of folders within the folder of schemas.
const FOLDERS_MAX: usize = 32;

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
    /// The files of JSON Schemas by their identities, once they are asked for.
    identities: Option<BTreeMap<String, String>>,
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

/// Reads the schema in a file that belongs to no app, with its imports from the file's folder. A file without a known
/// ending is Avro.
///
/// # Errors
/// If a file cannot be read, or its schema is not valid.
pub fn schema_of_file(path: &Path) -> Result<Schema, BuildError> {
    if matches!(format_of(path), None | Some(SchemaFormat::Avro)) {
        let text = files::read_text(path).map_err(BuildError::file(path))?;
        return Ok(avro::parse(&path.display().to_string(), &text)?.into());
    }
    let (mut documents, folder) = (Documents::default(), path.parent().unwrap_or(Path::new("")));
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    documents.add(folder, name, &mut vec![])?;
    let missing = || BuildError::Document { file: name.to_owned(), what: "it has no schema".to_owned() };
    documents.schemas.remove(name).ok_or_else(missing)
}

/// Returns true if a file of JSON says that it is a JSON Schema.
fn says_schema(path: &Path) -> bool {
    let text = files::read_text(path).ok();
    let json =
        text.and_then(|text| serde_json::from_str::<serde_json::Value>(text.trim_start_matches('\u{feff}')).ok());
    json.is_some_and(|json| json.get("$schema").is_some_and(serde_json::Value::is_string))
}

/// The JSON Schemas in a folder and the folders in it, by their identities. A file in a deeper folder is preferred to a
/// copy that is named after a topic.
fn identities(folder: &Path) -> BTreeMap<String, String> {
    let (mut found, mut files) = (BTreeMap::new(), vec![]);
    let mut folders = vec![(folder.to_owned(), 0)];
    while let Some((at, depth)) = folders.pop() {
        for entry in std::fs::read_dir(&at).into_iter().flatten().flatten() {
            let (path, kind) = (entry.path(), entry.file_type());
            if kind.is_ok_and(|kind| kind.is_dir()) && depth < FOLDERS_MAX {
                folders.push((path, depth + 1));
            } else if format_of(&path) == Some(SchemaFormat::Json) {
                files.push((std::cmp::Reverse(depth), path));
            }
        }
    }
    files.sort();
    for (_, path) in files {
        let name = path.strip_prefix(folder).ok().and_then(Path::to_str);
        let identity = files::read_text(&path).ok().and_then(|text| json_schema::identity(&text));
        if let (Some(name), Some(identity)) = (name, identity) {
            found.entry(identity).or_insert_with(|| name.to_owned());
        }
    }
    found
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
        let mut imports = vec![];
        for link in format::imports(format, &text).map_err(wrong)? {
            let found = self.linked(folder, file, format, &link);
            let missing = || BuildError::Import { file: path.display().to_string(), import: link.name.clone() };
            let import = found.ok_or_else(missing)?;
            if !imports.contains(&import) {
                imports.push(import);
            }
        }
        way.push(file.to_owned());
        imports.iter().try_for_each(|import| self.add(folder, import, way))?;
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

    /// The file that a link in `file` leads to.
    fn linked(&mut self, folder: &Path, file: &str, format: SchemaFormat, link: &Link) -> Option<String> {
        let paths = match format {
            SchemaFormat::Json => json_schema::paths(file, &link.name),
            SchemaFormat::Avro | SchemaFormat::Protobuf => vec![link.name.clone()],
        };
        let is_there = |path: &String| {
            let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
            inside && format_of(Path::new(path)) == Some(format) && folder.join(path).is_file()
        };
        let address = link.address.as_ref();
        let identified = || {
            let identities = self.identities.get_or_insert_with(|| identities(folder));
            identities.get(address?).cloned()
        };
        paths.into_iter().find(is_there).or_else(identified)
    }

    /// The schema of a subject, if it can type components.
    pub(super) fn get(&self, subject: &str) -> Option<&Schema> {
        self.files.values().find(|document| document.subject == subject).and_then(|d| self.schemas.get(&d.file))
    }

    /// The schemas of all files.
    pub(super) fn schemas(&self) -> impl Iterator<Item = &Schema> {
        self.schemas.values()
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
