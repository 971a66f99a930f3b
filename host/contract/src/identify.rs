//! Finds the message id in a value, and reads it without building the value.

use std::borrow::Cow;

use thiserror::Error;

use crate::format::{DecodeError, Plan, Schema, avro, json_schema, protobuf};

/// A path to a field that can identify a message, within one reader's schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdPath {
    /// In an Avro value.
    Avro(avro::identify::IdPath),
    /// In a Protobuf message.
    Protobuf(protobuf::identify::IdPath),
    /// In a JSON value.
    Json(json_schema::identify::IdPath),
}

/// The reason why a path does not lead to a field that can identify a message.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("the id of the topic `{topic}` cannot be the field `{path}` of its values: {what}")]
pub struct IdError {
    /// The topic.
    pub topic: String,
    /// The whole path.
    pub path: String,
    /// The fault, and its place.
    pub what: String,
}

impl IdPath {
    /// Finds `path` in the reader's schema of the values of `topic`; `None` for a topic without a schema.
    ///
    /// # Errors
    /// If there is no such field, or its values do not identify a message.
    pub fn of(topic: &str, schema: Option<&Schema>, path: &[String]) -> Result<Self, IdError> {
        match schema {
            None => avro::identify::IdPath::of(topic, None, path).map(Self::Avro),
            Some(Schema::Avro(schema)) => avro::identify::IdPath::of(topic, Some(schema), path).map(Self::Avro),
            Some(Schema::Protobuf(schema)) => protobuf::identify::IdPath::of(topic, schema, path).map(Self::Protobuf),
            Some(Schema::JsonSchema(schema)) => json_schema::identify::IdPath::of(topic, schema, path).map(Self::Json),
        }
    }

    /// Reads the id in `bytes`, which the plan's writer wrote. Returns `None` if the value has none.
    ///
    /// # Errors
    /// If the bytes up to the field are not a value of the writer's schema, or the field has no counterpart in the
    /// reader's.
    pub fn find<'b>(&self, plan: &Plan, bytes: &'b [u8]) -> Result<Option<Cow<'b, [u8]>>, DecodeError> {
        match (self, plan) {
            (Self::Avro(path), Plan::Avro { plan, .. }) => Ok(path.find(plan, bytes)?),
            (Self::Protobuf(path), Plan::Protobuf(plan)) => Ok(path.find(plan, bytes)?),
            (Self::Json(path), Plan::JsonSchema(_)) => Ok(path.find(bytes)?),
            (_, Plan::Unreadable(what)) => Err(DecodeError::Unreadable(what.clone())),
            // A plan has the format of its reader.
            (Self::Avro(_), Plan::Protobuf(_) | Plan::JsonSchema(_))
            | (Self::Protobuf(_), Plan::Avro { .. } | Plan::JsonSchema(_))
            | (Self::Json(_), Plan::Avro { .. } | Plan::Protobuf(_)) => Ok(None),
        }
    }
}
