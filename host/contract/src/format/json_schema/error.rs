//! The reasons why bytes are not a value.

use thiserror::Error;

use crate::format::bounds::MEMORY_PER_BYTE_MAX;

/// The reason why bytes are not a JSON value that the reader accepts.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// The bytes are not JSON.
    #[error("not JSON: {what} at byte {at}")]
    Syntax {
        /// The problem.
        what: &'static str,
        /// Its position.
        at: usize,
    },
    /// The bytes are not UTF-8.
    #[error("not JSON: byte {0} is not UTF-8")]
    NotUtf8(usize),
    /// An object with two members of the same name. Readers disagree about which of them counts.
    #[error("the member `{name}` at byte {at} occurs twice")]
    Twice {
        /// The name.
        name: String,
        /// The position of the second one.
        at: usize,
    },
    /// A number that would have to be rounded.
    #[error("the number {text} at byte {at} does not fit {ty}")]
    Number {
        /// The text of the number, or its beginning.
        text: String,
        /// The type that it does not fit.
        ty: &'static str,
        /// Its position.
        at: usize,
    },
    /// Arrays and objects that are nested deeper than [`DEPTH_MAX`](super::reader::DEPTH_MAX).
    #[error("the value at byte {0} is nested too deep")]
    TooDeep(usize),
    /// More memory than allowed for the size of the value: see [`bounds`](crate::format::bounds).
    #[error("the value takes too much memory at byte {0}: more than {MEMORY_PER_BYTE_MAX} bytes for each of its bytes")]
    TooMuchMemory(usize),
    /// JSON that does not fit the schema.
    #[error("at `{}`: {what}", if path.is_empty() { "." } else { path })]
    Misfit {
        /// The place in the value: `lines[2].price`.
        path: String,
        /// The fault.
        what: String,
    },
}

impl DecodeError {
    /// Creates the error for JSON that does not fit the schema, at the current place.
    #[must_use]
    pub fn misfit(what: impl Into<String>) -> Self {
        Self::Misfit { path: String::new(), what: what.into() }
    }

    /// The same error, one step further out: in a member, or in an item `[3]`.
    #[must_use]
    pub fn below(self, step: &str) -> Self {
        match self {
            Self::Misfit { path, what } if path.is_empty() => Self::Misfit { path: step.to_owned(), what },
            Self::Misfit { path, what } => {
                let dot = if path.starts_with('[') { "" } else { "." };
                Self::Misfit { path: format!("{step}{dot}{path}"), what }
            }
            other => other,
        }
    }

    /// Returns true if the bytes may be a value of their schema, but one that exceeds the bounds of any value.
    #[must_use]
    pub fn is_beyond_bounds(&self) -> bool {
        matches!(self, Self::TooDeep(_) | Self::TooMuchMemory(_))
    }
}

/// The reason why a value does not fit its schema.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct EncodeError(pub String);
