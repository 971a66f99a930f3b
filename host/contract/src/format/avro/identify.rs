//! Finds the message id in a value, and reads it without building the value.
//!
//! ```text
//!  "order.id" ──IdPath::of, by the reader's schema──> positions of fields ──find, along a plan──> the id's bytes
//! ```
//!
//! The path has the names of the reader's fields, including aliases. The [`Plan`] knows their places in the writer's
//! bytes. The same id has the same bytes whatever schema wrote it: text for strings and symbols, decimal digits for
//! numbers, bytes for bytes.

use std::borrow::Cow;

use super::binary::{DecodeError, Reader};
use super::read::{deep_enough, no_symbol, skip};
use super::resolve::{FieldStep, Plan, Step, StepId};
use super::{Node, NodeId, Schema};
use crate::identify::IdError;

/// A path to a field that can identify a message, within one reader's schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdPath(Vec<usize>);

impl IdPath {
    /// Finds `path` in the reader's schema of the values of `topic`; `None` for a topic without a schema.
    ///
    /// # Errors
    /// If there is no such field, or its values do not identify a message.
    pub fn of(topic: &str, schema: Option<&Schema>, path: &[String]) -> Result<Self, IdError> {
        let error = |what: String| IdError { topic: topic.to_owned(), path: path.join("."), what };
        let schema = schema.ok_or_else(|| error("the topic has no schema: its values are bytes".to_owned()))?;
        let mut ty = schema.root();
        let mut positions = Vec::with_capacity(path.len());
        for (depth, name) in path.iter().enumerate() {
            let place = if depth == 0 { "the value".to_owned() } else { format!("`{}`", path[..depth].join(".")) };
            let Node::Record(record) = schema.node(not_null(schema, ty)) else {
                return Err(error(format!("{place} is {}, which has no fields", kind(schema, ty))));
            };
            let Some(position) = record.fields.iter().position(|field| field.name == *name) else {
                let known = record.fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>().join(", ");
                return Err(error(format!("{place} has no field `{name}`; {} has: {known}", record.name)));
            };
            positions.push(position);
            ty = record.fields[position].ty;
        }
        if identifies(schema.node(not_null(schema, ty))) {
            return Ok(Self(positions));
        }
        let kind = kind(schema, ty);
        Err(error(format!(
            "that is {kind}; an id is a string, int, long, bytes, fixed or enum, or a union of null and one of these"
        )))
    }

    /// Reads the id in `bytes`, which the plan's writer wrote. Returns `None` if it is null, or the writer does not
    /// have the field, because the reader's default would be the same for all its messages. Bytes after the field are
    /// not read.
    ///
    /// # Errors
    /// If the bytes up to the field are not a value of the writer's schema, or the field has no counterpart in the
    /// reader's.
    pub fn find<'b>(&self, plan: &Plan, bytes: &'b [u8]) -> Result<Option<Cow<'b, [u8]>>, DecodeError> {
        find(plan, plan.root(), &self.0, &mut Reader::new(bytes), 0)
    }
}

fn find<'b>(
    plan: &Plan,
    step: StepId,
    path: &[usize],
    reader: &mut Reader<'b>,
    depth: usize,
) -> Result<Option<Cow<'b, [u8]>>, DecodeError> {
    deep_enough(depth, reader)?;
    let depth = depth + 1;
    match (plan.step(step), path) {
        (Step::Branch(branches), _) => {
            let index = reader.index("union branch", branches.len())?;
            find(plan, branches[index], path, reader, depth)
        }
        (Step::IntoBranch { step, .. }, _) => find(plan, *step, path, reader, depth),
        (Step::Record { reads, .. }, [field, rest @ ..]) => {
            for read in reads {
                match read {
                    FieldStep::Read { to, step } if to == field => return find(plan, *step, rest, reader, depth),
                    FieldStep::Read { step, .. } | FieldStep::Skip(step) => skip(plan, *step, reader, depth)?,
                }
            }
            Ok(None)
        }
        (step, _) => leaf(step, reader),
    }
}

fn leaf<'b>(step: &Step, reader: &mut Reader<'b>) -> Result<Option<Cow<'b, [u8]>>, DecodeError> {
    let digits = |number: i64| Cow::Owned(number.to_string().into_bytes());
    Ok(Some(match step {
        Step::Null => return Ok(None),
        Step::Int | Step::IntAsLong => digits(reader.int()?.into()),
        Step::Long => digits(reader.long()?),
        Step::String => Cow::Borrowed(reader.string()?.as_bytes()),
        Step::Bytes => Cow::Borrowed(reader.bytes()?),
        Step::Fixed(size) => Cow::Borrowed(reader.take(*size)?),
        Step::Enum { to, symbols } => {
            // The writer's symbol is the id, because different symbols may all become the reader's default.
            let symbol = reader.index("enum symbol", symbols.len())?;
            to[symbol].ok_or_else(|| no_symbol(&symbols[symbol]))?;
            Cow::Owned(symbols[symbol].clone().into_bytes())
        }
        Step::Mismatch(what) => return Err(DecodeError::NoCounterpart(what.clone())),
        _ => return Err(DecodeError::NoCounterpart("the field that holds the id is of another type".to_owned())),
    }))
}

/// The type itself, or the other branch of a union of null and another type.
fn not_null(schema: &Schema, ty: NodeId) -> NodeId {
    match schema.node(ty) {
        Node::Union(branches) => schema.as_option(branches).map_or(ty, |option| option.ty),
        _ => ty,
    }
}

fn identifies(node: &Node) -> bool {
    matches!(node, Node::String { .. } | Node::Int(_) | Node::Long(_) | Node::Bytes | Node::Fixed(_) | Node::Enum(_))
}

/// The kind of a type in messages, if its own name does not show it.
fn kind(schema: &Schema, ty: NodeId) -> String {
    let name = schema.describe(ty);
    match schema.node(ty) {
        Node::Decimal(_) => "a decimal".to_owned(),
        Node::Record(_) => format!("the record {name}"),
        Node::Enum(_) => format!("the enum {name}"),
        Node::Fixed(_) => format!("the fixed {name}"),
        Node::Union(_) => format!("the union {name}"),
        Node::Array(_) | Node::Int(_) => format!("an {name}"),
        _ => format!("a {name}"),
    }
}
