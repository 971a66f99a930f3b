//! What a registry holds, and the rules by which it changes: versions, compatibility, modes, deletes. Pure.
//!
//! ```text
//!  request ──State::register, delete_…, set_…──> answer + changes   decided, nothing has happened yet
//!                                                       │
//!                     the store makes them durable, all or none
//!                                                       │
//!  State::apply(change) <───────────────────────────────┘           now it has
//! ```
//!
//! A schema has one id, whatever the subjects it is registered under. Ids are never given twice, also not after a
//! delete.

mod decide;
mod reconcile;

pub use reconcile::{Contradiction, missing};

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use heddle_contract::compat::{self, Level, Violation};
use serde::{Deserialize, Serialize};

use super::format::{self, Entry, Parsed, Reference, Referred};
use super::refusal::Refusal;

/// How many schemas one may refer to, also by way of others.
const REFERENCES_MAX: usize = 1_000;
/// How many violations are told of one refusal.
const VIOLATIONS_MAX: usize = 20;
/// The key of what holds for all subjects. No subject has this name.
pub(super) const GLOBAL: &str = "";

/// What may be done with a subject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Mode {
    /// Everything.
    #[default]
    #[serde(rename = "READWRITE")]
    ReadWrite,
    /// Nothing is registered or deleted.
    #[serde(rename = "READONLY")]
    ReadOnly,
    /// As read-only, for all subjects whatever their own mode.
    #[serde(rename = "READONLY_OVERRIDE")]
    ReadOnlyOverride,
    /// Ids and versions come with the schemas, and compatibility is not asked for.
    Import,
}

impl Mode {
    /// Its name, as registries write it.
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

/// A version as it is asked for.
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

/// A version of a subject, as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The schema.
    pub id: u32,
    /// Whether it was deleted, but not permanently.
    #[serde(default)]
    pub deleted: bool,
}

/// One step from one state to the next.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A schema comes, or goes.
    Schema(u32, Option<Entry>),
    /// A version comes, is marked, or goes.
    Version(String, u32, Option<Kept>),
    /// A subject's level, or that of all.
    Level(String, Option<Level>),
    /// A subject's mode, or that of all.
    Mode(String, Option<Mode>),
    /// The highest id ever given.
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

/// A schema with what was understood of it, once somebody asked.
struct Held {
    entry: Arc<Entry>,
    parsed: OnceLock<Result<Arc<Parsed>, String>>,
}

/// All that a registry holds.
#[derive(Default)]
pub struct State {
    schemas: BTreeMap<u32, Held>,
    ids: HashMap<String, u32>,
    subjects: BTreeMap<String, BTreeMap<u32, Kept>>,
    levels: BTreeMap<String, Level>,
    modes: BTreeMap<String, Mode>,
    last_id: u32,
}

/// What comes with a schema that is to be registered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given {
    /// The id it must get; only in import mode.
    pub id: Option<u32>,
    /// The version it must get; only in import mode.
    pub version: Option<u32>,
}

impl State {
    /// Makes one change that is durable now.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Schema(id, Some(entry)) => {
                self.ids.insert(format::identity(&entry), id);
                self.last_id = self.last_id.max(id);
                self.schemas.insert(id, Held { entry: Arc::new(entry), parsed: OnceLock::new() });
            }
            Change::Schema(id, None) => {
                if let Some(held) = self.schemas.remove(&id) {
                    self.ids.remove(&format::identity(&held.entry));
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

    /// The highest id ever given.
    #[must_use]
    pub fn last_id(&self) -> u32 {
        self.last_id
    }

    /// The subjects that have versions; `deleted` takes in those of which all are deleted.
    pub fn subjects(&self, deleted: bool) -> impl Iterator<Item = &str> {
        let any = move |versions: &BTreeMap<u32, Kept>| versions.values().any(|kept| deleted || !kept.deleted);
        self.subjects.iter().filter(move |(_, versions)| any(versions)).map(|(subject, _)| subject.as_str())
    }

    /// The versions of a subject.
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

    /// Every subject and version that has the schema of this id.
    ///
    /// # Errors
    /// If there is no such schema.
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

    /// The level that holds for a subject.
    #[must_use]
    pub fn level(&self, subject: &str) -> Level {
        self.own_level(subject).or_else(|| self.own_level(GLOBAL)).unwrap_or_default()
    }

    /// The subject's own mode.
    #[must_use]
    pub fn own_mode(&self, subject: &str) -> Option<Mode> {
        self.modes.get(subject).copied()
    }

    /// The mode that holds for a subject.
    #[must_use]
    pub fn mode(&self, subject: &str) -> Mode {
        match self.own_mode(GLOBAL) {
            Some(Mode::ReadOnlyOverride) => Mode::ReadOnlyOverride,
            global => self.own_mode(subject).or(global).unwrap_or_default(),
        }
    }

    /// The version of a subject that has this schema.
    ///
    /// # Errors
    /// If the subject is not there, or has no such version.
    pub fn lookup(&self, subject: &str, entry: &Entry, deleted: bool) -> Result<Found, Refusal> {
        let versions = self.versions(subject, deleted);
        if versions.is_empty() {
            return Err(Refusal::no_subject(subject));
        }
        let id = self.ids.get(&format::identity(entry));
        versions.into_iter().rev().find(|found| Some(&found.id) == id).ok_or_else(Refusal::no_schema)
    }

    /// What was understood of a schema of this registry.
    ///
    /// # Errors
    /// If it is not there, or not understood.
    pub fn parsed(&self, id: u32) -> Result<Arc<Parsed>, Refusal> {
        let held = self.schemas.get(&id).ok_or_else(|| Refusal::no_schema_id(id))?;
        let parse = || self.parse_kept(&held.entry).map(Arc::new).map_err(|refusal| refusal.message);
        held.parsed.get_or_init(parse).clone().map_err(|message| Refusal::new(42201, message))
    }

    /// Understands a schema that may not be of this registry yet.
    ///
    /// # Errors
    /// If it is no schema, or refers to what is not there.
    pub fn parse(&self, entry: &Entry) -> Result<Parsed, Refusal> {
        let referred = self.referred(entry)?;
        format::parse(entry, &referred).map_err(Refusal::invalid_schema)
    }

    /// As [`parse`](Self::parse), for a schema that was registered already, here or elsewhere.
    ///
    /// # Errors
    /// As there.
    pub fn parse_kept(&self, entry: &Entry) -> Result<Parsed, Refusal> {
        let referred = self.referred(entry)?;
        format::parse_kept(entry, &referred).map_err(Refusal::invalid_schema)
    }

    /// All schemas that one refers to, also by way of others.
    ///
    /// # Errors
    /// If one of them is not there, or there are too many.
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
                    "it refers to version {version} of the subject '{subject}' as '{name}', which is not there"
                ))
            })?;
            todo.extend(found.entry.references.iter().cloned());
            referred.push(Referred { name, text: found.entry.text.clone() });
        }
        referred.reverse();
        Ok(referred)
    }

    /// How a schema would violate `level` towards versions of its subject.
    ///
    /// # Errors
    /// If it is no schema.
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
        let mut violations = compat::violations(level, &new, &old, Parsed::problems);
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
