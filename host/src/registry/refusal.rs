//! Refusals of requests, with the error codes of Confluent's registry.

use std::fmt;

/// The refusal of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The error code: the HTTP status, or the status followed by two digits.
    pub code: u32,
    /// The message to the client.
    pub message: String,
}

impl Refusal {
    /// Creates a refusal with this code.
    #[must_use]
    pub fn new(code: u32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        let status = if self.code >= 1_000 { self.code / 100 } else { self.code };
        u16::try_from(status).unwrap_or(500)
    }

    pub(super) fn no_subject(subject: &str) -> Self {
        Self::new(40401, format!("Subject '{subject}' not found."))
    }

    pub(super) fn no_version(version: impl fmt::Display) -> Self {
        Self::new(40402, format!("Version {version} not found."))
    }

    pub(super) fn no_schema() -> Self {
        Self::new(40403, "Schema not found")
    }

    pub(super) fn no_schema_id(id: u32) -> Self {
        Self::new(40403, format!("Schema {id} not found"))
    }

    pub(super) fn no_guid(guid: &str) -> Self {
        Self::new(40403, format!("Schema {guid} not found"))
    }

    pub(super) fn soft_deleted(subject: &str, version: Option<u32>) -> Self {
        match version {
            None => Self::new(
                40404,
                format!("Subject '{subject}' was soft deleted. Set permanent=true to delete permanently"),
            ),
            Some(version) => Self::new(
                40406,
                format!(
                    "Subject '{subject}' Version {version} was soft deleted. Set permanent=true to delete permanently"
                ),
            ),
        }
    }

    pub(super) fn not_soft_deleted(subject: &str, version: Option<u32>) -> Self {
        match version {
            None => {
                Self::new(40405, format!("Subject '{subject}' was not deleted first before being permanently deleted"))
            }
            Some(version) => Self::new(
                40407,
                format!("Subject '{subject}' Version {version} was not deleted first before being permanently deleted"),
            ),
        }
    }

    pub(super) fn no_level(subject: &str) -> Self {
        Self::new(40408, format!("Subject '{subject}' does not have subject-level compatibility configured"))
    }

    pub(super) fn no_mode(subject: &str) -> Self {
        Self::new(40409, format!("Subject '{subject}' does not have subject-level mode configured"))
    }

    pub(super) fn invalid_schema(what: impl fmt::Display) -> Self {
        Self::new(42201, format!("Invalid schema: {what}"))
    }

    pub(super) fn invalid_version(version: &str) -> Self {
        Self::new(
            42202,
            format!(
                "The specified version '{version}' is not a valid version id. Allowed values are between [1, 2^31-1] and the string \"latest\""
            ),
        )
    }

    pub(super) fn invalid_level() -> Self {
        Self::new(
            42203,
            "Invalid compatibility level. Valid values are none, backward, forward, full, backward_transitive, forward_transitive, and full_transitive",
        )
    }

    pub(super) fn invalid_mode() -> Self {
        Self::new(42204, "Invalid mode. Valid values are READWRITE, READONLY, READONLY_OVERRIDE, IMPORT")
    }

    pub(super) fn not_permitted(what: impl fmt::Display) -> Self {
        Self::new(42205, what.to_string())
    }

    pub(super) fn referred_to(subject: &str, version: u32) -> Self {
        Self::new(
            42206,
            format!("One or more references exist to the schema {{subject={subject}, version={version}}}."),
        )
    }

    pub(super) fn invalid_subject(subject: &str) -> Self {
        Self::new(42208, format!("The specified subject '{subject}' is not a valid name for a subject"))
    }

    pub(super) fn store(what: impl fmt::Display) -> Self {
        Self::new(50001, format!("Error in the backend data store: {what}"))
    }
}
