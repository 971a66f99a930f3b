//! The schema files of an app, so that one may refer to the named types of another.

use std::collections::BTreeMap;

use serde_json::Value;

use super::parse::{Parser, SchemaError};
use super::{Name, Schema};

/// All schema files of a `contracts/` folder, by file name. Reading them is the caller's business.
#[derive(Clone, Debug, Default)]
pub struct Library {
    files: BTreeMap<String, Value>,
    /// Where each named type is defined: its definition and the namespace around it.
    definitions: BTreeMap<String, Definition>,
}

/// Where a named type is defined.
#[derive(Clone, Debug)]
pub(super) struct Definition {
    pub(super) file: String,
    pub(super) json: Value,
    pub(super) namespace: String,
}

impl Library {
    /// Takes one file in. `file` is its name for messages and for [`schema`](Self::schema).
    ///
    /// # Errors
    /// If the text is not JSON, or defines a type that another file defines differently.
    pub fn add(&mut self, file: &str, text: &str) -> Result<(), SchemaError> {
        let json: Value = serde_json::from_str(text).map_err(|e| SchemaError::NotJson {
            file: file.to_owned(),
            line: e.line(),
            column: e.column(),
            what: e.to_string(),
        })?;
        self.collect(file, &json, "")?;
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
    /// If there is no such file, or what it holds is not a schema.
    pub fn schema(&self, file: &str) -> Result<Schema, SchemaError> {
        let json = self.files.get(file).ok_or_else(|| SchemaError::NoFile { file: file.to_owned() })?;
        Parser::new(file, self).finish(json)
    }

    /// As [`schema`](Self::schema), for the schema of a writer: a default that does not fit its type is left out.
    ///
    /// # Errors
    /// As there.
    pub fn schema_of_writer(&self, file: &str) -> Result<Schema, SchemaError> {
        let json = self.files.get(file).ok_or_else(|| SchemaError::NoFile { file: file.to_owned() })?;
        Parser::new(file, self).of_writer().finish(json)
    }

    /// The schema of a named type of any file, by its full name, or without its namespace where that says which one.
    ///
    /// # Errors
    /// If there is no such type, or more than one, or what the file holds is not a schema.
    pub fn named(&self, name: &str) -> Result<Schema, SchemaError> {
        let short = |full: &str| full.rsplit('.').next() == Some(name);
        let mut candidates = self.definitions.iter().filter(|(full, _)| *full == name || short(full));
        let list = |names: Vec<&String>| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let exact = self.definitions.get_key_value(name).or_else(|| candidates.next());
        let Some((full, definition)) = exact else {
            let known = list(self.definitions.keys().collect());
            return Err(SchemaError::NoType { name: name.to_owned(), known });
        };
        if full != name && candidates.next().is_some() {
            let candidates = list(self.definitions.keys().filter(|full| short(full)).collect());
            return Err(SchemaError::Ambiguous { name: name.to_owned(), candidates });
        }
        Parser::new(&definition.file, self).finish(&Value::String(full.clone()))
    }

    pub(super) fn definition(&self, full: &str) -> Option<&Definition> {
        self.definitions.get(full)
    }

    fn collect(&mut self, file: &str, json: &Value, namespace: &str) -> Result<(), SchemaError> {
        match json {
            Value::Array(branches) => branches.iter().try_for_each(|branch| self.collect(file, branch, namespace)),
            Value::Object(object) => {
                let text = |key: &str| object.get(key).and_then(Value::as_str);
                let mut namespace = namespace.to_owned();
                if let (Some("record" | "error" | "enum" | "fixed"), Some(name)) = (text("type"), text("name")) {
                    let name = Name::resolve(name, text("namespace"), &namespace);
                    let definition = Definition { file: file.to_owned(), json: json.clone(), namespace };
                    namespace = name.namespace().to_owned();
                    if let Some(other) = self.definitions.get(name.full())
                        && (other.json != definition.json || other.namespace != definition.namespace)
                    {
                        return Err(SchemaError::DefinedTwice {
                            file: file.to_owned(),
                            name: name.full().to_owned(),
                            other: other.file.clone(),
                        });
                    }
                    self.definitions.insert(name.full().to_owned(), definition);
                }
                for key in ["type", "items", "values"] {
                    if let Some(inner @ (Value::Object(_) | Value::Array(_))) = object.get(key) {
                        self.collect(file, inner, &namespace)?;
                    }
                }
                let fields = object.get("fields").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                fields
                    .iter()
                    .filter_map(|field| field.get("type"))
                    .try_for_each(|ty| self.collect(file, ty, &namespace))
            }
            _ => Ok(()),
        }
    }
}
