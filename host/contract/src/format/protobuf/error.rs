//! The reasons why bytes are not a value.

use thiserror::Error;

use crate::format::bounds::MEMORY_PER_BYTE_MAX;

/// The reason why bytes are not a message that the reader accepts.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// The bytes end in the middle of a value.
    #[error("the message ends early, at byte {0}")]
    EndsEarly(usize),
    /// A number with more than 64 bits.
    #[error("the number at byte {0} is too large")]
    NumberTooLarge(usize),
    /// The bytes at the start of a field are not a tag.
    #[error("no field begins at byte {0}")]
    Tag(usize),
    /// A field whose value has another wire type than the field's type.
    #[error("the field `{field}` at byte {at} has the wrong wire type")]
    WireType {
        /// The field.
        field: String,
        /// Its position.
        at: usize,
    },
    /// A text that is not UTF-8.
    #[error("the text at byte {0} is not UTF-8")]
    NotUtf8(usize),
    /// Messages or groups that are nested too deep.
    #[error("the message at byte {0} is nested too deep")]
    TooDeep(usize),
    /// More memory than allowed for the size of the value: see [`bounds`](crate::format::bounds).
    #[error("the value takes too much memory at byte {0}: more than {MEMORY_PER_BYTE_MAX} bytes for each of its bytes")]
    TooMuchMemory(usize),
    /// A required field is absent.
    #[error("the required field `{0}` is missing")]
    Missing(String),
    /// The bytes between the schema id and the message are not message indexes.
    #[error("the message indexes at byte {0} are broken")]
    Indexes(usize),
    /// The message indexes do not lead to a message of the writer's file.
    #[error("the writer's schema has no message with the indexes {0:?}")]
    NoMessage(Vec<usize>),
    /// The value has no counterpart in the reader's schema.
    #[error("{0}")]
    NoCounterpart(String),
    /// The message cannot be converted to JSON.
    #[error("the message is not valid: {0}")]
    Json(String),
}

impl DecodeError {
    /// Returns true if the bytes may be a message, but one that exceeds the bounds of any value.
    #[must_use]
    pub fn is_beyond_bounds(&self) -> bool {
        matches!(self, Self::TooDeep(_) | Self::TooMuchMemory(_))
    }
}

/// The reason why a JSON value does not fit a schema.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct EncodeError(pub String);
