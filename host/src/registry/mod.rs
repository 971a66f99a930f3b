//! The schema registry: the shared truth about which schema an id stands for.
//!
//! ```text
//!  Registry ─┬─ Client     Confluent's HTTP API
//!            └─ Embedded   in this process: State (the rules, pure) + Storage; http serves it to others
//!                            │                                        └─ Store (sled), or a topic: crate::registry_topic
//!                            └─ format   what a schema is: Avro, JSON Schema, Protobuf; pure, too
//!  Cached    remembers what any of them said about an id: ids never change their meaning
//! ```
//!
//! All calls block; callers are plain threads.

mod cache;
pub mod check;
mod client;
mod embedded;
pub mod format;
pub mod http;
pub mod refusal;
pub mod state;
pub mod storage;
mod store;

pub use cache::Cached;
pub use client::{Client, ClientOptions};
pub use embedded::Embedded;

use std::path::Path;

use axum::Router;
use heddle_contract::compat::Level;
use heddle_contract::section::SchemaFormat;
pub use heddle_contract::wire::SchemaId;
use thiserror::Error;

use self::format::{Entry, Referred};
use self::state::State;
use self::store::Store;

/// Reads the state of an embedded registry's folder. `None`: there is none.
///
/// # Errors
/// If the folder cannot be read, or another process owns it.
pub fn read_folder(folder: &Path) -> Result<Option<State>, RegistryError> {
    if !folder.join("db").exists() {
        return Ok(None);
    }
    Store::open(folder)?.load().map(Some)
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
    /// The schema's text; of an Avro schema with the types it refers to in it.
    pub schema: String,
    /// What a schema of another format refers to, also by way of others, the outermost last.
    pub referred: Vec<Referred>,
}

/// A schema registry. Components work with Avro; the other formats are registered, compared and listed.
pub trait Registry: Send + Sync {
    /// The text of the schema with this id; `None` if there is none.
    ///
    /// # Errors
    /// If the registry does not answer, or not with a schema.
    fn by_id(&self, id: SchemaId) -> Result<Option<String>, RegistryError>;

    /// The newest version of a subject; `None` if there is no such subject.
    ///
    /// # Errors
    /// If the registry does not answer, or not with a schema.
    fn latest(&self, subject: &str) -> Result<Option<Version>, RegistryError>;

    /// The id of a schema that is registered under a subject; `None`: it is not.
    ///
    /// # Errors
    /// If the registry does not answer, or finds the schema invalid.
    fn lookup(&self, subject: &str, entry: &Entry) -> Result<Option<SchemaId>, RegistryError>;

    /// Registers an Avro schema under a subject. The same schema again gives the same id.
    ///
    /// # Errors
    /// If the registry refuses it or does not answer.
    fn register(&self, subject: &str, schema: &str) -> Result<SchemaId, RegistryError> {
        self.register_entry(subject, &Entry::new(SchemaFormat::Avro, schema))
    }

    /// Registers a schema of any format, as [`register`](Self::register).
    ///
    /// # Errors
    /// As there.
    fn register_entry(&self, subject: &str, entry: &Entry) -> Result<SchemaId, RegistryError>;

    /// Asks whether the registry answers.
    ///
    /// # Errors
    /// If it does not.
    fn ping(&self) -> Result<(), RegistryError> {
        Ok(())
    }

    /// All subjects.
    ///
    /// # Errors
    /// If the registry does not answer.
    fn subjects(&self) -> Result<Vec<String>, RegistryError>;

    /// The whole history of a subject, the oldest version first; empty if there is no such subject.
    ///
    /// # Errors
    /// If the registry does not answer, or not with schemas.
    fn versions(&self, subject: &str) -> Result<Vec<Version>, RegistryError>;

    /// The compatibility level that holds for a subject.
    ///
    /// # Errors
    /// If the registry does not answer, or not with a level.
    fn level(&self, subject: &str) -> Result<Level, RegistryError>;

    /// Sets the level of a subject, or of all that have none of their own.
    ///
    /// # Errors
    /// If the registry refuses it or does not answer.
    fn set_level(&self, subject: Option<&str>, level: Level) -> Result<(), RegistryError>;

    /// Makes durable what is known and not durable yet: a copy whose original was lost, or data from before the
    /// original existed.
    ///
    /// # Errors
    /// If the storage fails.
    fn settle(&self) -> Result<(), RegistryError> {
        Ok(())
    }

    /// What serves this registry to others over HTTP, if it is in this process.
    fn routes(&self) -> Option<Router> {
        None
    }

    /// Where it is, for messages.
    fn place(&self) -> String;
}

/// Why a registry did not do what it was asked for.
#[derive(Clone, Debug, Error)]
pub enum RegistryError {
    /// It cannot be reached, now.
    #[error("the schema registry at {place} cannot be reached: {cause}")]
    Unreachable {
        /// Where it is.
        place: String,
        /// What went wrong.
        cause: String,
    },
    /// It does not know who asks, or does not let them.
    #[error("the schema registry at {place} refuses the user ({status})")]
    Unauthorized {
        /// Where it is.
        place: String,
        /// 401 or 403.
        status: u16,
        /// What is to be done.
        remedy: &'static str,
    },
    /// It does not let this user register schemas.
    #[error(
        "the schema of `{subject}` is not registered, and the schema registry at {place} does not let this user register it (403)"
    )]
    MayNotRegister {
        /// Where it is.
        place: String,
        /// The subject.
        subject: String,
    },
    /// It shows a certificate that the client does not trust.
    #[error("the certificate of the schema registry at {place} is not trusted: {cause}")]
    Untrusted {
        /// Where it is.
        place: String,
        /// What is wrong with it.
        cause: String,
    },
    /// It refuses the schema.
    #[error("the schema registry refuses the schema of `{subject}`: {message}")]
    Refused {
        /// The subject.
        subject: String,
        /// What the registry says.
        message: String,
    },
    /// It answered something else than expected.
    #[error("the schema registry at {place} answered {status}: {message}")]
    Answered {
        /// Where it is.
        place: String,
        /// The HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// The log that holds the embedded registry's topic failed.
    #[error("the registry's topic `{topic}` cannot be used: {cause}")]
    Log {
        /// The topic.
        topic: String,
        /// What the log says.
        cause: String,
    },
    /// The embedded registry's topic holds or is set to something that it must not.
    #[error("the registry's topic `{topic}` {what}")]
    Topic {
        /// The topic.
        topic: String,
        /// What is wrong with it.
        what: String,
        /// What is to be done.
        remedy: String,
    },
    /// The embedded registry's store failed.
    #[error("the embedded registry at {place}: {cause}")]
    Store {
        /// Its folder.
        place: String,
        /// What went wrong.
        cause: String,
    },
}
