//! Plans for reading values of a writer's schema as values of a reader's schema. A plan is compiled once for each pair.

use std::sync::Arc;

use super::{Schema, avro, json_schema, protobuf, title};

/// The plan for reading a writer's value as a reader's value.
#[derive(Clone, Debug)]
pub enum Plan {
    /// Both schemas are Avro.
    Avro {
        /// The steps over the writer's bytes.
        plan: avro::resolve::Plan,
        /// The reader's schema.
        reader: Arc<avro::Schema>,
    },
    /// Both schemas are Protobuf.
    Protobuf(Box<protobuf::plan::Plan>),
    /// Both schemas are JSON Schema.
    JsonSchema(Box<json_schema::plan::Plan>),
    /// The reader cannot read any value of the writer.
    Unreadable(String),
}

/// A place where some or all values of the writer have no counterpart in the reader's schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The place in the reader's schema: `Order.items[].price`.
    pub path: String,
    /// The reason.
    pub what: String,
}

impl Plan {
    /// Compiles a plan for reading values of `writer` as values of `reader`.
    #[must_use]
    pub fn of(writer: &Schema, reader: &Schema) -> Self {
        match (writer, reader) {
            (Schema::Avro(writer), Schema::Avro(reader)) => {
                Self::Avro { plan: avro::resolve::resolve(writer, reader), reader: reader.clone() }
            }
            (Schema::Protobuf(writer), Schema::Protobuf(reader)) => {
                Self::Protobuf(Box::new(protobuf::plan::Plan::of(writer, reader)))
            }
            (Schema::JsonSchema(writer), Schema::JsonSchema(reader)) => {
                Self::JsonSchema(Box::new(json_schema::plan::Plan::of(writer, reader)))
            }
            (writer, reader) => {
                let (theirs, ours) = (title(writer.format()), title(reader.format()));
                Self::Unreadable(format!("it was written as {theirs}, and the reader's schema is {ours}"))
            }
        }
    }

    /// The places where values of the writer have no counterpart. Empty if the reader can read everything that the
    /// writer writes.
    #[must_use]
    pub fn mismatches(&self) -> Vec<Mismatch> {
        match self {
            Self::Avro { plan, .. } => plan.mismatches().to_vec(),
            Self::Protobuf(plan) => plan.mismatches().to_vec(),
            Self::JsonSchema(plan) => plan.mismatches().to_vec(),
            Self::Unreadable(what) => vec![Mismatch { path: ".".to_owned(), what: what.clone() }],
        }
    }
}
