//! The schema registry, which defines the meaning of schema ids for all programs.
//!
//! ```text
//!  Registry ─┬─ Client     Confluent's HTTP API
//!            └─ Embedded   in this process: State (the rules, pure) + Storage; http serves it to others
//!                            │                                    └─ Store (sled), or a topic: crate::registry_topic
//!                            └─ format   schemas of Avro, JSON Schema and Protobuf; pure, too
//!  Cached    remembers answers about ids, which never change their meaning
//! ```
//!
//! All calls block, so callers are plain threads.

mod cache;
pub mod check;
mod client;
mod embedded;
mod guids;
pub mod http;
mod observed;
pub mod publish;
pub mod refusal;
pub mod state;
pub mod storage;
mod store;

pub use cache::Cached;
pub use client::{Client, ClientOptions};
pub use embedded::Embedded;
pub use guids::guids;
pub use heddle_contract::format;
pub use observed::Observed;

use std::path::Path;

use axum::Router;
use heddle_contract::compat::Level;
use heddle_contract::section::SchemaFormat;
pub use heddle_contract::wire::{Guid, SchemaId};
use heddle_core::explain::Explain;
use thiserror::Error;

use self::format::{Entry, Reference, Referred, Schema};
use self::state::State;
use self::store::Store;

/// Reads the state in an embedded registry's folder. Returns `None` if the folder holds no registry.
pub fn read_folder(folder: &Path) -> Result<Option<State>, RegistryError> {
    if !folder.join("db").exists() {
        return Ok(None);
    }
    Store::open(folder)?.load().map(Some)
}

/// Returns true if a file of this name, without its ending, belongs to a topic's subject.
pub(crate) fn is_subject(stem: &str) -> bool {
    stem.ends_with("-value") || stem.ends_with("-key")
}

/// A version of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its number within the subject, from 1.
    pub version: u32,
    /// The schema's id.
    pub id: SchemaId,
    /// The schema's format.
    pub format: SchemaFormat,
    /// The schema's text. The text of an Avro schema includes the types to which it refers.
    pub schema: String,
    /// For other formats, the schemas to which it refers, directly or indirectly, the outermost last.
    pub referred: Vec<Referred>,
}

impl Version {
    /// Parses its schema as that of a writer.
    ///
    /// # Errors
    /// If its text is not a schema.
    pub fn parsed(&self) -> Result<Schema, String> {
        format::parse_kept(&Entry::new(self.format, self.schema.as_str()), &self.referred)
    }
}

/// A schema that a registry has under an id.
#[derive(Clone, Debug, PartialEq)]
pub struct Registered {
    /// Its format.
    pub format: SchemaFormat,
    /// Its text. The text of an Avro schema includes the types to which it refers.
    pub text: String,
    /// The versions that it refers to.
    pub references: Vec<Reference>,
    /// Its GUID, if the registry has GUIDs.
    pub guid: Option<Guid>,
    /// The schema, or the reason why the text is not one.
    pub schema: Result<Schema, String>,
}

impl Registered {
    /// Parses a text. `referred` has the schemas to which it refers, directly or indirectly.
    #[must_use]
    pub fn parse(format: SchemaFormat, text: String, references: Vec<Reference>, referred: &[Referred]) -> Self {
        let schema = format::parse_kept(&Entry::new(format, text.as_str()), referred);
        Self { format, text, references, guid: None, schema }
    }
}

/// A schema registry.
pub trait Registry: Send + Sync {
    /// Returns the schema with this id; `None` if there is none.
    ///
    /// # Errors
    /// If the registry does not answer, or not with a schema.
    fn by_id(&self, id: SchemaId) -> Result<Option<Registered>, RegistryError>;

    /// Returns the schema with this GUID; `None` if there is none.
    ///
    /// # Errors
    /// As for [`by_id`](Self::by_id); also if the registry has no GUIDs.
    fn by_guid(&self, guid: Guid) -> Result<Option<Registered>, RegistryError>;

    /// Returns the newest version of a subject, or `None` if the subject does not exist.
    ///
    /// # Errors
    /// If the registry does not answer with a schema.
    fn latest(&self, subject: &str) -> Result<Option<Version>, RegistryError>;

    /// Returns the id of a schema under a subject, or `None` if it is not registered there.
    ///
    /// # Errors
    /// If the registry does not answer, or refuses the schema as invalid.
    fn lookup(&self, subject: &str, entry: &Entry) -> Result<Option<SchemaId>, RegistryError>;

    /// Registers an Avro schema under a subject. The same schema gets the same id again.
    ///
    /// # Errors
    /// If the registry refuses it or does not answer.
    fn register(&self, subject: &str, schema: &str) -> Result<SchemaId, RegistryError> {
        self.register_entry(subject, &Entry::new(SchemaFormat::Avro, schema))
    }

    /// Registers a schema of any format, like [`register`](Self::register).
    ///
    /// # Errors
    /// As for [`register`](Self::register).
    fn register_entry(&self, subject: &str, entry: &Entry) -> Result<SchemaId, RegistryError>;

    /// Checks that the registry answers.
    ///
    /// # Errors
    /// If it does not answer.
    fn ping(&self) -> Result<(), RegistryError> {
        Ok(())
    }

    /// Returns all subjects.
    ///
    /// # Errors
    /// If the registry does not answer.
    fn subjects(&self) -> Result<Vec<String>, RegistryError>;

    /// Returns the versions of a subject, the oldest first; empty if the subject does not exist.
    ///
    /// # Errors
    /// If the registry does not answer with schemas.
    fn versions(&self, subject: &str) -> Result<Vec<Version>, RegistryError>;

    /// Returns the compatibility level that applies to a subject.
    ///
    /// # Errors
    /// If the registry does not answer with a level.
    fn level(&self, subject: &str) -> Result<Level, RegistryError>;

    /// Sets the level of a subject, or, with `None`, the level of all subjects that have no separate level.
    fn set_level(&self, subject: Option<&str>, level: Level) -> Result<(), RegistryError>;

    /// Makes known schemas durable that are not durable yet: those of a copy whose original was lost, or those in data
    /// that is older than the original.
    fn settle(&self) -> Result<(), RegistryError> {
        Ok(())
    }

    /// The HTTP routes that serve this registry to others, if it is embedded.
    fn routes(&self) -> Option<Router> {
        None
    }

    /// Returns its location, for messages.
    fn place(&self) -> String;
}

/// The reason why a registry did not do what was requested.
#[derive(Clone, Debug, Error)]
pub enum RegistryError {
    /// The registry is currently unreachable.
    #[error("the schema registry at {place} cannot be reached: {cause}")]
    Unreachable {
        /// Its location.
        place: String,
        /// The cause.
        cause: String,
    },
    /// The registry does not know the user, or denies access.
    #[error("the schema registry at {place} refuses the user ({status})")]
    Unauthorized {
        /// Its location.
        place: String,
        /// 401 or 403.
        status: u16,
        /// The remedy.
        remedy: &'static str,
    },
    /// The registry does not let this user register schemas.
    #[error(
        "the schema of `{subject}` is not registered, and the schema registry at {place} does not let this user register it (403)"
    )]
    MayNotRegister {
        /// Its location.
        place: String,
        /// The subject.
        subject: String,
    },
    /// The registry's certificate is not trusted.
    #[error("the certificate of the schema registry at {place} is not trusted: {cause}")]
    Untrusted {
        /// Its location.
        place: String,
        /// The reason.
        cause: String,
        /// The remedy.
        remedy: &'static str,
    },
    /// The registry refuses the schema.
    #[error("the schema registry refuses the schema of `{subject}`: {message}")]
    Refused {
        /// The subject.
        subject: String,
        /// The registry's message.
        message: String,
    },
    /// The registry's answer was unexpected.
    #[error("the schema registry at {place} answered {status}: {message}")]
    Answered {
        /// Its location.
        place: String,
        /// The HTTP status.
        status: u16,
        /// The message of the answer.
        message: String,
    },
    /// The server is not a registry.
    #[error("the server at {place} is not a schema registry: it answered {status}: {message}")]
    Foreign {
        /// Its location.
        place: String,
        /// The HTTP status.
        status: u16,
        /// The beginning of the answer.
        message: String,
    },
    /// The log that holds the embedded registry's topic failed.
    #[error("the registry's topic `{topic}` cannot be used: {cause}")]
    Log {
        /// The topic.
        topic: String,
        /// The log's error.
        cause: String,
    },
    /// The embedded registry's topic has wrong content or wrong settings.
    #[error("the registry's topic `{topic}` {what}")]
    Topic {
        /// The topic.
        topic: String,
        /// The fault.
        what: String,
        /// The remedy.
        remedy: String,
    },
    /// The embedded registry's store failed.
    #[error("the embedded registry at {place}: {cause}")]
    Store {
        /// Its folder.
        place: String,
        /// The cause.
        cause: String,
    },
}

impl RegistryError {
    /// The kind of the error, for metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::Unauthorized { .. } => "unauthorized",
            Self::MayNotRegister { .. } => "may-not-register",
            Self::Untrusted { .. } => "untrusted",
            Self::Refused { .. } => "refused",
            Self::Answered { .. } => "answered",
            Self::Foreign { .. } => "foreign",
            Self::Log { .. } => "log",
            Self::Topic { .. } => "topic",
            Self::Store { .. } => "store",
        }
    }
}

impl Explain for RegistryError {
    fn place(&self) -> Option<String> {
        Some(match self {
            Self::Unreachable { place, .. }
            | Self::Unauthorized { place, .. }
            | Self::Untrusted { place, .. }
            | Self::Answered { place, .. }
            | Self::Foreign { place, .. }
            | Self::Store { place, .. } => place.clone(),
            Self::MayNotRegister { place, subject } => format!("the subject `{subject}` at {place}"),
            Self::Refused { subject, .. } => format!("contracts/{subject}.avsc"),
            Self::Log { topic, .. } | Self::Topic { topic, .. } => {
                format!("the topic `{topic}` of [log] in heddle.toml")
            }
        })
    }

    fn remedy(&self) -> Option<String> {
        let remedy: &str = match self {
            Self::Unreachable { .. } | Self::Answered { .. } => {
                "start the registry, or correct [registry] url (HEDDLE_REGISTRY_URL)"
            }
            Self::Foreign { .. } => {
                "correct [registry] url (HEDDLE_REGISTRY_URL), with the path of the registry's API; a proxy or a login page in front of the registry answers like this, too"
            }
            Self::Unauthorized { remedy, .. } => remedy,
            Self::MayNotRegister { .. } => {
                "let a user with the right register it (`heddle schema register`), or grant this user the right to write the subject (Confluent: DeveloperWrite)"
            }
            Self::Untrusted { remedy, .. } => remedy,
            Self::Refused { .. } => {
                "make the change compatible, or change the subject's compatibility level in the registry"
            }
            Self::Log { .. } => {
                "check the broker; the app needs the rights to create, read, write and describe that topic, and to use the transactional id of the same name"
            }
            Self::Topic { remedy, .. } => remedy,
            Self::Store { .. } => {
                "stop the other `heddle` that uses it, or wait until it has ended; if there is none, check the folder's disk and permissions"
            }
        };
        Some(remedy.to_owned())
    }
}
