//! The content of a registry and the rules for its changes: versions, compatibility, modes, deletes. This module is
//! pure.
//!
//! ```text
//!  request ──State::register, delete_…, set_…──> answer + changes   decided, nothing has happened yet
//!                                                       │
//!                     the store makes them durable, all or none
//!                                                       │
//!  State::apply(change) <───────────────────────────────┘           now it has
//! ```
//!
//! A schema has one id, even if it is registered under several subjects. An id is never reused, even after a delete.

mod decide;
mod reconcile;

pub use reconcile::{Contradiction, missing};

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use heddle_contract::compat::{self, Level, Violation};
use heddle_contract::wire::Guid;
use serde::{Deserialize, Serialize};

use super::format::{self, Entry, Reference, Referred, Schema};
use super::refusal::Refusal;

/// The maximum number of schemas to which a schema may refer, directly or indirectly.
const REFERENCES_MAX: usize = 1_000;
/// The maximum number of violations in one refusal.
const VIOLATIONS_MAX: usize = 20;
/// The key of settings for all subjects. No subject has this name.
pub(super) const GLOBAL: &str = "";

/// The operations that a subject allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Mode {
    /// Everything.
    #[default]
    #[serde(rename = "READWRITE")]
    ReadWrite,
    /// No registration and no delete.
    #[serde(rename = "READONLY")]
    ReadOnly,
    /// Like read-only, for all subjects, whatever their own modes are.
    #[serde(rename = "READONLY_OVERRIDE")]
    ReadOnlyOverride,
    /// Schemas are registered with given ids and versions, and compatibility is not checked.
    Import,
}

impl Mode {
    /// The mode's name in registries.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadWrite => "READWRITE",
            Self::ReadOnly => "READONLY",
            Self::ReadOnlyOverride => "READONLY_OVERRIDE",
            Self::Import => "IMPORT",
        }
    }
}

impl FromStr for Mode {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let all = [Self::ReadWrite, Self::ReadOnly, Self::ReadOnlyOverride, Self::Import];
        all.into_iter().find(|mode| mode.as_str().eq_ignore_ascii_case(text)).ok_or(())
    }
}

/// A requested version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The newest.
    Latest,
    /// This one.
    Number(u32),
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

/// A stored version of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The schema.
    pub id: u32,
    /// True if it was deleted, but not permanently.
    #[serde(default)]
    pub deleted: bool,
}

/// One change of a state.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Adds or removes a schema.
    Schema(u32, Option<Entry>),
    /// Adds, marks or removes a version.
    Version(String, u32, Option<Kept>),
    /// Sets or removes the level of a subject, or of all subjects.
    Level(String, Option<Level>),
    /// Sets or removes the mode of a subject, or of all subjects.
    Mode(String, Option<Mode>),
    /// Raises the highest id ever assigned.
    LastId(u32),
}

/// A version that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its subject.
    pub subject: String,
    /// Its number.
    pub version: u32,
    /// The schema's id.
    pub id: u32,
    /// The schema.
    pub entry: Arc<Entry>,
}

/// A schema, and its parsed form after the first use.
struct Held {
    entry: Arc<Entry>,
    parsed: OnceLock<Result<Arc<Schema>, String>>,
}

/// The content of a registry.
#[derive(Default)]
pub struct State {
    schemas: BTreeMap<u32, Held>,
    ids: HashMap<String, u32>,
    guids: HashMap<Guid, u32>,
    subjects: BTreeMap<String, BTreeMap<u32, Kept>>,
    levels: BTreeMap<String, Level>,
    modes: BTreeMap<String, Mode>,
    last_id: u32,
}

/// The id and version that a request sets for its schema.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given {
    /// The required id; only in import mode.
    pub id: Option<u32>,
    /// The required version; only in import mode.
    pub version: Option<u32>,
}

impl State {
    /// Applies a change that is durable.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Schema(id, Some(entry)) => {
                self.ids.insert(format::identity(&entry), id);
                self.guids.insert(format::guid(&entry), id);
                self.last_id = self.last_id.max(id);
                self.schemas.insert(id, Held { entry: Arc::new(entry), parsed: OnceLock::new() });
            }
            Change::Schema(id, None) => {
                if let Some(held) = self.schemas.remove(&id) {
                    self.ids.remove(&format::identity(&held.entry));
                    self.guids.remove(&format::guid(&held.entry));
                }
            }
            Change::Version(subject, version, Some(kept)) => {
                self.subjects.entry(subject).or_default().insert(version, kept);
            }
            Change::Version(subject, version, None) => {
                let versions = self.subjects.entry(subject.clone()).or_default();
                versions.remove(&version);
                if versions.is_empty() {
                    self.subjects.remove(&subject);
                }
            }
            Change::Level(subject, level) => set(&mut self.levels, subject, level),
            Change::Mode(subject, mode) => set(&mut self.modes, subject, mode),
            Change::LastId(id) => self.last_id = self.last_id.max(id),
        }
    }

    /// The schema of an id.
    #[must_use]
    pub fn schema(&self, id: u32) -> Option<&Arc<Entry>> {
        self.schemas.get(&id).map(|held| &held.entry)
    }

    /// The id of the schema with this GUID.
    #[must_use]
    pub fn id_of(&self, guid: Guid) -> Option<u32> {
        self.guids.get(&guid).copied()
    }

    /// The highest id ever assigned.
    #[must_use]
    pub fn last_id(&self) -> u32 {
        self.last_id
    }

    /// The subjects with versions. With `deleted`, also those whose versions are all deleted.
    pub fn subjects(&self, deleted: bool) -> impl Iterator<Item = &str> {
        let any = move |versions: &BTreeMap<u32, Kept>| versions.values().any(|kept| deleted || !kept.deleted);
        self.subjects.iter().filter(move |(_, versions)| any(versions)).map(|(subject, _)| subject.as_str())
    }

    /// The versions of a subject. With `deleted`, also the deleted ones.
    pub fn versions(&self, subject: &str, deleted: bool) -> Vec<Found> {
        let versions = self.subjects.get(subject).into_iter().flatten();
        versions
            .filter(|(_, kept)| deleted || !kept.deleted)
            .filter_map(|(version, kept)| self.found(subject, *version, *kept))
            .collect()
    }

    fn found(&self, subject: &str, version: u32, kept: Kept) -> Option<Found> {
        let entry = self.schema(kept.id)?.clone();
        Some(Found { subject: subject.to_owned(), version, id: kept.id, entry })
    }

    /// One version of a subject.
    ///
    /// # Errors
    /// If there is no such subject or version.
    pub fn version(&self, subject: &str, asked: Asked, deleted: bool) -> Result<Found, Refusal> {
        let versions = self.subjects.get(subject).ok_or_else(|| Refusal::no_subject(subject))?;
        let mut shown = versions.iter().filter(|(_, kept)| deleted || !kept.deleted).peekable();
        if shown.peek().is_none() {
            return Err(Refusal::no_subject(subject));
        }
        let found = match asked {
            Asked::Latest => shown.next_back(),
            Asked::Number(number) => shown.find(|(version, _)| **version == number),
        };
        let found = found.and_then(|(version, kept)| self.found(subject, *version, *kept));
        found.ok_or_else(|| Refusal::no_version(asked))
    }

    /// Every subject and version with the schema of this id.
    ///
    /// # Errors
    /// If the id is unknown.
    pub fn uses(&self, id: u32, deleted: bool) -> Result<Vec<(&str, u32)>, Refusal> {
        self.schema(id).ok_or_else(|| Refusal::no_schema_id(id))?;
        let mut uses = vec![];
        for (subject, versions) in &self.subjects {
            for (version, kept) in versions {
                if kept.id == id && (deleted || !kept.deleted) {
                    uses.push((subject.as_str(), *version));
                }
            }
        }
        Ok(uses)
    }

    /// The ids of the schemas that refer to a version.
    #[must_use]
    pub fn referrers(&self, subject: &str, version: u32) -> Vec<u32> {
        let refers = |held: &Held| held.entry.references.iter().any(|r| r.subject == subject && r.version == version);
        self.schemas.iter().filter(|(_, held)| refers(held)).map(|(id, _)| *id).collect()
    }

    /// The subject's own level.
    #[must_use]
    pub fn own_level(&self, subject: &str) -> Option<Level> {
        self.levels.get(subject).copied()
    }

    /// The level that applies to a subject.
    #[must_use]
    pub fn level(&self, subject: &str) -> Level {
        self.own_level(subject).or_else(|| self.own_level(GLOBAL)).unwrap_or_default()
    }

    /// The subject's own mode.
    #[must_use]
    pub fn own_mode(&self, subject: &str) -> Option<Mode> {
        self.modes.get(subject).copied()
    }

    /// The mode that applies to a subject.
    #[must_use]
    pub fn mode(&self, subject: &str) -> Mode {
        match self.own_mode(GLOBAL) {
            Some(Mode::ReadOnlyOverride) => Mode::ReadOnlyOverride,
            global => self.own_mode(subject).or(global).unwrap_or_default(),
        }
    }

    /// The version of a subject with this schema.
    ///
    /// # Errors
    /// If the subject does not exist, or has no such version.
    pub fn lookup(&self, subject: &str, entry: &Entry, deleted: bool) -> Result<Found, Refusal> {
        let versions = self.versions(subject, deleted);
        if versions.is_empty() {
            return Err(Refusal::no_subject(subject));
        }
        let id = self.ids.get(&format::identity(entry));
        versions.into_iter().rev().find(|found| Some(&found.id) == id).ok_or_else(Refusal::no_schema)
    }

    /// The parsed form of a schema in this registry.
    ///
    /// # Errors
    /// If the id is unknown, or the schema is not valid.
    pub fn parsed(&self, id: u32) -> Result<Arc<Schema>, Refusal> {
        let held = self.schemas.get(&id).ok_or_else(|| Refusal::no_schema_id(id))?;
        let parse = || self.parse_kept(&held.entry).map(Arc::new).map_err(|refusal| refusal.message);
        held.parsed.get_or_init(parse).clone().map_err(|message| Refusal::new(42201, message))
    }

    /// Parses a schema that may not be registered yet.
    ///
    /// # Errors
    /// If the schema is not valid, or one of its references does not exist.
    pub fn parse(&self, entry: &Entry) -> Result<Schema, Refusal> {
        let referred = self.referred(entry)?;
        format::parse(entry, &referred).map_err(Refusal::invalid_schema)
    }

    /// Like [`parse`](Self::parse), for a schema that is already registered, here or elsewhere.
    ///
    /// # Errors
    /// As for [`parse`](Self::parse).
    pub fn parse_kept(&self, entry: &Entry) -> Result<Schema, Refusal> {
        let referred = self.referred(entry)?;
        format::parse_kept(entry, &referred).map_err(Refusal::invalid_schema)
    }

    /// All schemas to which a schema refers, directly or indirectly.
    ///
    /// # Errors
    /// If one of them does not exist, or there are too many.
    pub fn referred(&self, entry: &Entry) -> Result<Vec<Referred>, Refusal> {
        let mut todo = entry.references.clone();
        let mut seen = BTreeSet::new();
        let mut referred = vec![];
        while let Some(Reference { name, subject, version }) = todo.pop() {
            if !seen.insert((name.clone(), subject.clone(), version)) {
                continue;
            }
            if seen.len() > REFERENCES_MAX {
                return Err(Refusal::invalid_schema(format!("it refers to more than {REFERENCES_MAX} schemas")));
            }
            let found = self.version(&subject, Asked::Number(version), true).map_err(|_| {
                Refusal::invalid_schema(format!(
                    "it refers to version {version} of the subject '{subject}' as '{name}', which does not exist"
                ))
            })?;
            todo.extend(found.entry.references.iter().cloned());
            referred.push(Referred { name, text: found.entry.text.clone() });
        }
        referred.reverse();
        Ok(referred)
    }

    /// Returns the violations of `level` between a schema and versions of its subject.
    ///
    /// # Errors
    /// If the schema is not valid.
    pub fn violations(&self, level: Level, entry: &Entry, versions: &[Found]) -> Result<Vec<Violation>, Refusal> {
        let new = self.parse(entry)?;
        if level == Level::None {
            return Ok(vec![]);
        }
        let mut old = vec![];
        for found in versions {
            old.push((found.version, self.parsed(found.id)?));
        }
        let old = old.iter().map(|(version, parsed)| (*version, parsed.as_ref())).collect::<Vec<_>>();
        let mut violations = compat::violations(level, &new, &old, Schema::problems);
        violations.truncate(VIOLATIONS_MAX);
        Ok(violations)
    }
}

fn set<T>(map: &mut BTreeMap<String, T>, key: String, value: Option<T>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}
