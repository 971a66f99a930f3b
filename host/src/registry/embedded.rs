//! A registry in this process, for a first run, development and tests. Kept in sled below the app's data folder.

use std::path::Path;

use heddle_contract::schema::parse;
use serde_json::Value;

use super::{Registry, RegistryError, SchemaId, Version};
use crate::lock::lock;

/// The embedded registry. One process owns its folder.
///
/// ```text
///  tree "ids"       id                          -> schema      ids ascend from 1
///  tree "schemas"   schema                      -> id          one id a schema, whatever its subjects
///  tree "subjects"  subject, 0, version         -> id
/// ```
pub struct Embedded {
    db: sled::Db,
    ids: sled::Tree,
    schemas: sled::Tree,
    subjects: sled::Tree,
    place: String,
    /// Registering reads and then writes.
    registering: std::sync::Mutex<()>,
}

impl Embedded {
    /// Opens the registry in `folder`, which is made if it is not there.
    ///
    /// # Errors
    /// If the folder cannot be used, or another process owns it.
    pub fn open(folder: &Path) -> Result<Self, RegistryError> {
        let place = folder.display().to_string();
        let failed =
            |e: sled::Error| RegistryError::Store { place: folder.display().to_string(), cause: e.to_string() };
        let db =
            sled::Config::new().path(folder).cache_capacity(4 << 20).flush_every_ms(None).open().map_err(failed)?;
        let tree = |name: &str| db.open_tree(name).map_err(failed);
        let (ids, schemas, subjects) = (tree("ids")?, tree("schemas")?, tree("subjects")?);
        Ok(Self { ids, schemas, subjects, db, place, registering: std::sync::Mutex::default() })
    }

    fn failed(&self, e: &sled::Error) -> RegistryError {
        RegistryError::Store { place: self.place.clone(), cause: e.to_string() }
    }

    fn refused(subject: &str, message: String) -> RegistryError {
        RegistryError::Refused { subject: subject.to_owned(), message }
    }

    fn next_id(&self) -> Result<u32, RegistryError> {
        let last = self.ids.last().map_err(|e| self.failed(&e))?;
        Ok(last.and_then(|(key, _)| number(&key)).unwrap_or(0) + 1)
    }
}

fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

fn versions_of(subject: &str) -> Vec<u8> {
    [subject.as_bytes(), &[0]].concat()
}

impl Registry for Embedded {
    fn by_id(&self, id: SchemaId) -> Result<Option<String>, RegistryError> {
        let found = self.ids.get(id.0.to_be_bytes()).map_err(|e| self.failed(&e))?;
        Ok(found.and_then(|text| String::from_utf8(text.to_vec()).ok()))
    }

    fn latest(&self, subject: &str) -> Result<Option<Version>, RegistryError> {
        let prefix = versions_of(subject);
        let Some(last) = self.subjects.scan_prefix(&prefix).next_back() else { return Ok(None) };
        let (key, id) = last.map_err(|e| self.failed(&e))?;
        let (Some(version), Some(id)) = (number(&key[prefix.len()..]), number(&id)) else { return Ok(None) };
        let schema = self.by_id(SchemaId(id))?;
        Ok(schema.map(|schema| Version { version, id: SchemaId(id), schema }))
    }

    fn register(&self, subject: &str, schema: &str) -> Result<SchemaId, RegistryError> {
        if subject.is_empty() || subject.contains('\0') {
            return Err(Self::refused(subject, "that is no name for a subject".to_owned()));
        }
        parse(subject, schema).map_err(|e| Self::refused(subject, e.to_string()))?;
        // Blanks make no other schema of it.
        let schema =
            serde_json::from_str::<Value>(schema).map_err(|e| Self::refused(subject, e.to_string()))?.to_string();
        let _one_at_a_time = lock(&self.registering);
        let failed = |e: sled::Error| self.failed(&e);
        let known = self.schemas.get(&schema).map_err(failed)?.and_then(|id| number(&id));
        let id = match known {
            Some(id) => id,
            None => self.next_id()?,
        };
        let prefix = versions_of(subject);
        let mut last = 0;
        for entry in self.subjects.scan_prefix(&prefix) {
            let (key, registered) = entry.map_err(failed)?;
            if number(&registered) == Some(id) {
                return Ok(SchemaId(id));
            }
            last = number(&key[prefix.len()..]).unwrap_or(last);
        }
        // The id comes first: a crash in between leaves an id that nothing names, never a name without its schema.
        self.ids.insert(id.to_be_bytes(), schema.as_bytes()).map_err(failed)?;
        self.schemas.insert(schema.as_bytes(), &id.to_be_bytes()).map_err(failed)?;
        self.subjects
            .insert([prefix, (last + 1).to_be_bytes().to_vec()].concat(), &id.to_be_bytes())
            .map_err(failed)?;
        self.db.flush().map_err(failed)?;
        Ok(SchemaId(id))
    }

    fn place(&self) -> String {
        self.place.clone()
    }
}
