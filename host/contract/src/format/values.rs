//! Converts values between bytes of a schema and JSON that people read and write.

use serde_json::Value;
use thiserror::Error;

use super::{Schema, avro, json_schema, protobuf};

/// The reason why bytes are not a value of a schema.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// They are not Avro of the schema.
    #[error(transparent)]
    Avro(#[from] avro::binary::DecodeError),
    /// They are not a message of the schema.
    #[error(transparent)]
    Protobuf(#[from] protobuf::DecodeError),
    /// They are not JSON, or not of the schema.
    #[error(transparent)]
    Json(#[from] json_schema::DecodeError),
    /// The value is valid, but cannot be read with the schema.
    #[error("{0}")]
    Unreadable(String),
}

impl DecodeError {
    /// Returns true if the bytes may be a value of their schema, but one that exceeds the bounds of any value.
    #[must_use]
    pub fn is_beyond_bounds(&self) -> bool {
        match self {
            Self::Avro(error) => error.is_beyond_bounds(),
            Self::Protobuf(error) => error.is_beyond_bounds(),
            Self::Json(error) => error.is_beyond_bounds(),
            Self::Unreadable(_) => false,
        }
    }
}

/// The reason why a JSON value does not fit a schema.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EncodeError {
    /// It does not fit the Avro schema.
    #[error(transparent)]
    Avro(#[from] avro::json::EncodeError),
    /// It does not fit the message.
    #[error(transparent)]
    Protobuf(#[from] protobuf::EncodeError),
    /// It does not fit the JSON Schema.
    #[error(transparent)]
    Json(#[from] json_schema::EncodeError),
}

impl Schema {
    /// Reads one whole value.
    ///
    /// # Errors
    /// If the bytes are not a value of the schema, or are followed by others.
    pub fn decode(&self, bytes: &[u8]) -> Result<Value, DecodeError> {
        match self {
            Self::Avro(schema) => Ok(avro::json::decode(schema, bytes)?),
            Self::Protobuf(schema) => Ok(schema.decode(bytes)?),
            Self::JsonSchema(schema) => Ok(schema.decode(bytes)?),
        }
    }

    /// Checks one whole value.
    ///
    /// # Errors
    /// If the bytes are not a value of the schema. JSON that does not fit its schema can be [read](Self::decode).
    pub fn check(&self, bytes: &[u8]) -> Result<(), DecodeError> {
        let value = self.decode(bytes)?;
        match self {
            Self::JsonSchema(schema) => Ok(schema.check(&value)?),
            Self::Avro(_) | Self::Protobuf(_) => Ok(()),
        }
    }

    /// Appends `value` to `out`.
    ///
    /// # Errors
    /// If the value does not fit the schema. The error has the place.
    pub fn encode(&self, value: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::Avro(schema) => Ok(avro::json::encode(schema, value, out)?),
            Self::Protobuf(schema) => Ok(schema.encode(value, out)?),
            Self::JsonSchema(schema) => Ok(schema.encode(value, out)?),
        }
    }
}
