//! Plans for reading values of one schema with another.
//!
//! JSON names its members, so a plan has no steps. A value of the component's own schema is checked against that
//! schema. A value of another version is checked against its writer's schema, and then the component reads the parts
//! that it knows.

use std::sync::Arc;

use super::nodes::Node;
use super::reader::Reader;
use super::types::Types;
use super::{DecodeError, Schema};
use crate::format::plan::Mismatch;

/// The plan for reading a writer's value as a reader's.
#[derive(Clone, Debug)]
pub struct Plan {
    reader: Arc<Schema>,
    /// The writer's schema, if it differs from the reader's.
    writer: Option<Arc<Schema>>,
    mismatches: Vec<Mismatch>,
}

impl Plan {
    /// Compiles a plan for reading values of `writer` as those of `reader`.
    #[must_use]
    pub fn of(writer: &Arc<Schema>, reader: &Arc<Schema>) -> Self {
        let (reader, writer) = (reader.clone(), Some(writer.clone()).filter(|writer| *writer != *reader));
        let refused = writer.iter().chain([&reader]).flat_map(|schema| schema.refused());
        let mismatch =
            |problem: &crate::compat::Problem| Mismatch { path: problem.path.clone(), what: problem.what.clone() };
        let mismatches = refused.map(mismatch).collect();
        Self { reader, writer, mismatches }
    }

    /// The reader's types.
    #[must_use]
    pub fn types(&self) -> &Types {
        self.reader.types()
    }

    /// Returns true if the values were written with another version. They may have members that the reader does not
    /// know, and lack some that have a default.
    #[must_use]
    pub fn is_of_other_version(&self) -> bool {
        self.writer.is_some()
    }

    /// The places where the writer's values have no counterpart.
    #[must_use]
    pub fn mismatches(&self) -> &[Mismatch] {
        &self.mismatches
    }

    /// Checks the rules that the reader's types do not express.
    ///
    /// # Errors
    /// If the value does not fit the writer's schema, or the reader's.
    pub fn check(&self, bytes: &[u8]) -> Result<(), DecodeError> {
        let has_rules = self.types().has_rules;
        if self.writer.is_none() && !has_rules {
            return Ok(());
        }
        let value = Reader::whole(bytes)?;
        match &self.writer {
            Some(writer) => writer.check(&value)?,
            None => return self.reader.check(&value),
        }
        if has_rules { self.reader.check_other_version(&value) } else { Ok(()) }
    }

    /// Returns true if the value as a whole has a type that the reader does not have.
    #[must_use]
    pub fn is_of_unknown_type(&self, bytes: &[u8]) -> bool {
        let types = self.types();
        let root = match types.root() {
            Node::Option { some, .. } => &types.nodes[*some],
            root => root,
        };
        let Node::Variant(variant) = root else { return false };
        let case = Reader::new(bytes).and_then(|mut reader| reader.find(&variant.discriminator));
        case.is_ok_and(|case| case.is_some_and(|case| variant.cases.iter().all(|(name, _)| *name != case)))
    }
}
