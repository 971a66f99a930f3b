//! The schema files of an app. A file may refer to the named types of another one.
//!
//! Names belong to files: a name means what the file itself defines. Only a name that the file does not define is
//! looked up in other files. So two files may define one name differently, as long as neither refers to the other.

use std::collections::BTreeMap;

use serde_json::Value;

use super::parse::{Parser, SchemaError};
use super::{Name, Schema, text};

/// All schema files of a `contracts/` folder, by file name. The caller reads them.
#[derive(Clone, Debug, Default)]
pub struct Library {
    files: BTreeMap<String, Value>,
    /// The definitions of each named type, one for each file that defines it.
    definitions: BTreeMap<String, Vec<Definition>>,
}

/// The definition of a named type, and the namespace around it.
#[derive(Clone, Debug)]
pub(super) struct Definition {
    pub(super) file: String,
    pub(super) json: Value,
    pub(super) namespace: String,
}

impl Definition {
    /// Returns true if both definitions are equal.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        self.json == other.json && self.namespace == other.namespace
    }
}

/// The definition of a name at the place of its use.
pub(super) enum Meant<'l> {
    /// No file defines the name.
    Nothing,
    /// This definition.
    One(&'l Definition),
    /// Several files define the name differently.
    Several(Vec<&'l Definition>),
}

impl Library {
    /// Adds a file. `file` is its name for messages and for [`schema`](Self::schema).
    ///
    /// # Errors
    /// If the text is not JSON; comments and a byte order mark are accepted.
    pub fn add(&mut self, file: &str, text: &str) -> Result<(), SchemaError> {
        let json = text::json(text).map_err(|e| SchemaError::NotJson {
            file: file.to_owned(),
            line: e.line(),
            column: e.column(),
            what: e.to_string(),
        })?;
        self.collect(file, &json, "");
        self.files.insert(file.to_owned(), json);
        Ok(())
    }

    /// The names of the files, sorted.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// The schema of a file, with the types of other files that it needs.
    ///
    /// # Errors
    /// If there is no such file, or its content is not a schema.
    pub fn schema(&self, file: &str) -> Result<Schema, SchemaError> {
        let json = self.files.get(file).ok_or_else(|| SchemaError::NoFile { file: file.to_owned() })?;
        Parser::new(file, self).finish(json)
    }

    /// As [`schema`](Self::schema), for the schema of a writer. A default that does not fit its type is dropped.
    ///
    /// # Errors
    /// As for [`schema`](Self::schema).
    pub fn schema_of_writer(&self, file: &str) -> Result<Schema, SchemaError> {
        let json = self.files.get(file).ok_or_else(|| SchemaError::NoFile { file: file.to_owned() })?;
        Parser::new(file, self).of_writer().finish(json)
    }

    /// The schema of a named type of any file, by its full name, or without its namespace if that is unambiguous.
    ///
    /// # Errors
    /// If there is no such type, or more than one, or the file's content is not a schema.
    pub fn named(&self, name: &str) -> Result<Schema, SchemaError> {
        let short = |full: &str| full.rsplit('.').next() == Some(name);
        let mut candidates = self.definitions.keys().filter(|full| *full == name || short(full));
        let list = |names: Vec<&String>| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let exact = self.definitions.get_key_value(name).map(|(full, _)| full).or_else(|| candidates.next());
        let Some(full) = exact else {
            let known = list(self.definitions.keys().collect());
            return Err(SchemaError::NoType { name: name.to_owned(), known });
        };
        if full != name && candidates.next().is_some() {
            let candidates = list(self.definitions.keys().filter(|full| short(full)).collect());
            return Err(SchemaError::Ambiguous { name: name.to_owned(), candidates });
        }
        match self.definition(full, "") {
            Meant::One(definition) => Parser::new(&definition.file, self).finish(&Value::String(full.clone())),
            Meant::Several(all) => Err(SchemaError::DefinedTwice {
                file: all[0].file.clone(),
                name: full.clone(),
                other: all[1].file.clone(),
            }),
            Meant::Nothing => Err(SchemaError::NoType { name: name.to_owned(), known: String::new() }),
        }
    }

    /// The definition of a full name that is used in `file`. The file's own definition takes precedence. Next come
    /// files of shared types, which are not named after a subject, and then all other files.
    pub(super) fn definition(&self, full: &str, file: &str) -> Meant<'_> {
        let Some(all) = self.definitions.get(full) else { return Meant::Nothing };
        if let Some(own) = all.iter().find(|definition| definition.file == file) {
            return Meant::One(own);
        }
        let shared = all.iter().filter(|definition| !is_subject(&definition.file)).collect::<Vec<_>>();
        let mut candidates = if shared.is_empty() { all.iter().collect() } else { shared };
        let first = candidates[0];
        candidates.retain(|definition| !definition.agrees(first));
        if candidates.is_empty() {
            return Meant::One(first);
        }
        candidates.insert(0, first);
        Meant::Several(candidates)
    }

    fn collect(&mut self, file: &str, json: &Value, namespace: &str) {
        match json {
            Value::Array(branches) => branches.iter().for_each(|branch| self.collect(file, branch, namespace)),
            Value::Object(object) => {
                let text = |key: &str| object.get(key).and_then(Value::as_str);
                let mut namespace = namespace.to_owned();
                if let (Some("record" | "error" | "enum" | "fixed"), Some(name)) = (text("type"), text("name")) {
                    let name = Name::resolve(name, text("namespace"), &namespace);
                    let definition = Definition { file: file.to_owned(), json: json.clone(), namespace };
                    namespace = name.namespace().to_owned();
                    self.definitions.entry(name.full().to_owned()).or_default().push(definition);
                }
                for key in ["type", "items", "values"] {
                    if let Some(inner @ (Value::Object(_) | Value::Array(_))) = object.get(key) {
                        self.collect(file, inner, &namespace);
                    }
                }
                let fields = object.get("fields").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                fields.iter().filter_map(|field| field.get("type")).for_each(|ty| self.collect(file, ty, &namespace));
            }
            _ => {}
        }
    }
}

/// Returns true if a file is named after a topic's subject, so that its types belong to one topic.
fn is_subject(file: &str) -> bool {
    let stem = file.strip_suffix(".avsc").unwrap_or(file);
    stem.ends_with("-value") || stem.ends_with("-key")
}
