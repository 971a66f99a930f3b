//! Why bytes are not a value.

use thiserror::Error;

use crate::format::bounds::MEMORY_PER_BYTE_MAX;

/// Why bytes are not a JSON value that the reader takes.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// The bytes are not JSON.
    #[error("not JSON: {what} at byte {at}")]
    Syntax {
        /// What was found or expected.
        what: &'static str,
        /// Where.
        at: usize,
    },
    /// The bytes are not UTF-8.
    #[error("not JSON: byte {0} is not UTF-8")]
    NotUtf8(usize),
    /// An object that has two members of one name: readers disagree which of them counts.
    #[error("the member `{name}` at byte {at} is there twice")]
    Twice {
        /// The name.
        name: String,
        /// Where the second one stands.
        at: usize,
    },
    /// A number that would have to be rounded.
    #[error("the number {text} at byte {at} does not fit {ty}")]
    Number {
        /// The number as it is written, or its beginning.
        text: String,
        /// What it was to be.
        ty: &'static str,
        /// Where it stands.
        at: usize,
    },
    /// Arrays and objects within each other deeper than [`DEPTH_MAX`](super::reader::DEPTH_MAX).
    #[error("the value at byte {0} is nested too deep")]
    TooDeep(usize),
    /// More memory than the value has bytes for: see [`bounds`](crate::format::bounds).
    #[error("the value takes too much memory at byte {0}: more than {MEMORY_PER_BYTE_MAX} bytes for each of its bytes")]
    TooMuchMemory(usize),
    /// JSON that does not fit the schema.
    #[error("at `{}`: {what}", if path.is_empty() { "." } else { path })]
    Misfit {
        /// The place in the value: `lines[2].price`.
        path: String,
        /// What is wrong there.
        what: String,
    },
}

impl DecodeError {
    /// JSON that does not fit the schema, at the place that is read.
    #[must_use]
    pub fn misfit(what: impl Into<String>) -> Self {
        Self::Misfit { path: String::new(), what: what.into() }
    }

    /// The same error one step further down: in a member, or in an item `[3]`.
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

    /// Returns true if the bytes may be a value of their schema, but one beyond what is read at all.
    #[must_use]
    pub fn is_beyond_bounds(&self) -> bool {
        matches!(self, Self::TooDeep(_) | Self::TooMuchMemory(_))
    }
}

/// Why a value does not fit its schema.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct EncodeError(pub String);
