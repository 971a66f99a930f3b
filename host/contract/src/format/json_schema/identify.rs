//! The path to the member that identifies a message.

use std::borrow::Cow;

use super::nodes::Node;
use super::reader::{Kind, Reader};
use super::types::Types;
use super::{DecodeError, Schema};
use crate::identify::IdError;

/// A path to a member that can identify a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdPath {
    steps: Vec<String>,
}

impl IdPath {
    /// Finds `path` in the values of `topic`.
    ///
    /// # Errors
    /// If there is no such member, or its values do not identify a message.
    pub fn of(topic: &str, schema: &Schema, path: &[String]) -> Result<Self, IdError> {
        let types = schema.types();
        match leads(types, types.root(), path) {
            Ok(()) => Ok(Self { steps: path.to_vec() }),
            Err(what) => Err(IdError { topic: topic.to_owned(), path: path.join("."), what }),
        }
    }

    /// Reads the id in `bytes`. Returns `None` if the member is absent or null.
    ///
    /// # Errors
    /// If the bytes are not JSON up to the member, or the member is neither a text nor a whole number.
    pub fn find<'b>(&self, bytes: &'b [u8]) -> Result<Option<Cow<'b, [u8]>>, DecodeError> {
        let mut reader = Reader::new(bytes)?;
        for (place, step) in self.steps.iter().enumerate() {
            match reader.kind()? {
                Kind::Null => return Ok(None),
                Kind::Object => {}
                other => return Err(self.misfit(place, &format!("{} where an object belongs", other.name()))),
            }
            match reader.member(step)? {
                Some(member) => reader = member,
                None => return Ok(None),
            }
        }
        match reader.kind()? {
            Kind::Null => Ok(None),
            Kind::String => Ok(Some(match reader.string()? {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            })),
            Kind::Number => Ok(Some(Cow::Owned(reader.integer(false)?.to_string().into_bytes()))),
            other => Err(self.misfit(self.steps.len(), &format!("{} where an id belongs", other.name()))),
        }
    }

    fn misfit(&self, place: usize, what: &str) -> DecodeError {
        DecodeError::Misfit { path: self.steps[..place].join("."), what: what.to_owned() }
    }
}

/// Checks that a path leads to texts or whole numbers. Otherwise returns the reason.
fn leads(types: &Types, node: &Node, path: &[String]) -> Result<(), String> {
    let node_at = |at: usize| &types.nodes[at];
    match (node, path.split_first()) {
        // A member that is JSON for a component may have any members.
        (Node::Any, _) => Ok(()),
        (Node::Option { some, .. }, _) => leads(types, node_at(*some), path),
        (Node::String | Node::Integer | Node::Enum(_), None) => Ok(()),
        (_, None) => Err("that is neither a text nor a whole number".to_owned()),
        (Node::Map(value), Some((_, rest))) => leads(types, node_at(*value), rest),
        (Node::Variant(variant), Some(_)) => {
            let found = variant.cases.iter().map(|(_, record)| leads(types, node_at(*record), path));
            found.reduce(Result::or).unwrap_or_else(|| Err("there are no types".to_owned()))
        }
        (Node::Record(record), Some((name, rest))) => {
            let found = record.find(name, 0).map(|at| &record.properties[at]);
            match found {
                Some(property) if property.slot.is_none() => Err(format!("`{name}` is the same in all values")),
                Some(property) => leads(types, node_at(property.node), rest),
                None => {
                    let known = record.properties.iter().map(|property| property.name.as_str());
                    let known = known.collect::<Vec<_>>().join(", ");
                    Err(format!("{} has no property `{name}`; it has: {known}", record.name))
                }
            }
        }
        (_, Some((name, _))) => Err(format!("there are no properties, so no `{name}`")),
    }
}
