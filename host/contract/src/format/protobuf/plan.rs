//! Plans for reading messages of one schema with another, along the reader's layout. A plan is for one message of the
//! writer's file.

use std::collections::BTreeSet;
use std::sync::Arc;

use prost_reflect::{Kind as ProtoKind, MessageDescriptor};

use super::types::Types;
use super::wire::Reader;
use super::{DecodeError, Schema, compat, indexes};
use crate::format::plan::Mismatch;

/// The maximum depth of a comparison of messages.
const DEPTH_MAX: usize = 64;

/// The plan for reading a writer's message as a reader's value.
#[derive(Clone, Debug)]
pub struct Plan {
    reader: Arc<Schema>,
    /// The indexes by which the writer's file has each of the reader's messages. `None`: it does not have it.
    indexes: Vec<Option<Vec<usize>>>,
    /// The fields, by message and number, whose values mean something else for the writer.
    broken: BTreeSet<(String, u32)>,
    mismatches: Vec<Mismatch>,
}

impl Plan {
    /// Compiles a plan for reading messages of `writer` as those of `reader`.
    #[must_use]
    pub fn of(writer: &Schema, reader: &Arc<Schema>) -> Self {
        let mut plan = Self { reader: reader.clone(), indexes: vec![], broken: BTreeSet::new(), mismatches: vec![] };
        let roots = reader.roots();
        if roots.is_empty() {
            plan.tell(".", "the reader's schema has no message".to_owned());
        }
        for ours in roots {
            let theirs = writer.find(ours.full_name());
            plan.indexes.push(theirs.as_ref().map(super::indexes_of));
            match theirs {
                Some(theirs) => plan.pair(&ours, &theirs, ours.name(), &mut BTreeSet::new(), 0),
                None => plan.tell(".", format!("the writer's schema has no message {}", ours.full_name())),
            }
        }
        plan
    }

    /// The reader's types.
    #[must_use]
    pub fn types(&self) -> &Types {
        self.reader.types()
    }

    /// The places where the writer's values have no counterpart.
    #[must_use]
    pub fn mismatches(&self) -> &[Mismatch] {
        &self.mismatches
    }

    /// Reads the message indexes: which of the reader's messages it is. What is left is the message.
    ///
    /// # Errors
    /// If they are broken, or lead to another message than the reader's.
    pub fn begin<'b>(&self, bytes: &'b [u8]) -> Result<(usize, Reader<'b>), DecodeError> {
        let mut reader = Reader::new(bytes);
        let found = indexes::read(&mut reader)?;
        if let Some(case) = self.case(&found) {
            return Ok((case, reader));
        }
        let ours = self.reader.roots().iter().map(|message| message.full_name().to_owned()).collect::<Vec<_>>();
        let ours = ours.join(" and ");
        Err(DecodeError::NoCounterpart(format!("it is another message than {ours}: its indexes are {found:?}")))
    }

    fn case(&self, found: &[usize]) -> Option<usize> {
        self.indexes.iter().position(|indexes| indexes.as_deref() == Some(found))
    }

    /// Returns true if the value as a whole is of a message that the reader does not have.
    #[must_use]
    pub fn is_of_unknown_type(&self, bytes: &[u8]) -> bool {
        indexes::read(&mut Reader::new(bytes)).is_ok_and(|found| self.case(&found).is_none())
    }

    /// Returns true if the field's values have another meaning for the writer.
    #[must_use]
    pub fn is_broken(&self, message: &str, number: u32) -> bool {
        !self.broken.is_empty() && self.broken.contains(&(message.to_owned(), number))
    }

    fn tell(&mut self, path: &str, what: String) {
        self.mismatches.push(Mismatch { path: path.to_owned(), what });
    }

    fn pair(
        &mut self,
        ours: &MessageDescriptor,
        theirs: &MessageDescriptor,
        path: &str,
        seen: &mut BTreeSet<(String, String)>,
        depth: usize,
    ) {
        if depth > DEPTH_MAX || !seen.insert((ours.full_name().to_owned(), theirs.full_name().to_owned())) {
            return;
        }
        for field in ours.fields() {
            let Some(other) = theirs.get_field(field.number()) else { continue };
            let path = format!("{path}.{}", field.name());
            if let Some(what) = compat::other_meaning(&field, &other) {
                self.broken.insert((ours.full_name().to_owned(), field.number()));
                self.tell(&path, what);
            } else if let (ProtoKind::Message(a), ProtoKind::Message(b)) = (field.kind(), other.kind()) {
                self.pair(&a, &b, &path, seen, depth + 1);
            }
        }
    }
}
