//! Finds the message id in a message, and reads it without building the value.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::plan::Plan;
use super::wire::{Reader, Tag, Wire, unzigzag};
use super::{DecodeError, Schema};
use crate::identify::IdError;

/// A path to a field that can identify a message.
#[derive(Clone, PartialEq)]
pub struct IdPath {
    /// The fields on the way, the last the id, for each of the messages that values are.
    ways: Vec<Vec<FieldDescriptor>>,
}

impl Eq for IdPath {}

// Formatting the descriptors of messages that contain themselves would not end.
impl fmt::Debug for IdPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ways.iter().flatten().map(FieldDescriptor::full_name)).finish()
    }
}

impl IdPath {
    /// Finds `path` in the reader's schema of the values of `topic`.
    ///
    /// # Errors
    /// If there is no such field, or its values do not identify a message.
    pub fn of(topic: &str, schema: &Arc<Schema>, path: &[String]) -> Result<Self, IdError> {
        let error = |what: String| IdError { topic: topic.to_owned(), path: path.join("."), what };
        let roots = schema.roots();
        if roots.is_empty() {
            return Err(error("its schema has no message".to_owned()));
        }
        let ways = roots.into_iter().map(|root| Self::way(root, path, error));
        Ok(Self { ways: ways.collect::<Result<_, _>>()? })
    }

    fn way(
        mut message: MessageDescriptor,
        path: &[String],
        error: impl Fn(String) -> IdError,
    ) -> Result<Vec<FieldDescriptor>, IdError> {
        let mut fields = vec![];
        for (depth, name) in path.iter().enumerate() {
            let field = named(&message, name).map_err(&error)?;
            let is_last = depth + 1 == path.len();
            if field.is_list() || field.is_map() {
                return Err(error(format!("`{name}` is a list, and a message has one id")));
            }
            fields.push(field.clone());
            match field.kind() {
                // A wrapper stands for what it wraps.
                Kind::Message(wrapper) if is_last && super::known::wrapped(&wrapper).is_some() => {
                    fields.push(named(&wrapper, "value").map_err(&error)?);
                }
                Kind::Message(inner) => message = inner,
                _ if !is_last => return Err(error(format!("`{name}` has no fields"))),
                _ => {}
            }
        }
        match fields.last().map(FieldDescriptor::kind) {
            Some(Kind::Float | Kind::Double | Kind::Bool | Kind::Message(_)) | None => {
                Err(error("that is not a text, a whole number, bytes or an enum".to_owned()))
            }
            Some(_) => Ok(fields),
        }
    }

    /// Reads the id in `bytes`. Returns `None` if the field is absent or has its zero value, which is not written.
    ///
    /// # Errors
    /// If the bytes are not the reader's message.
    pub fn find<'b>(&self, plan: &Plan, bytes: &'b [u8]) -> Result<Option<Cow<'b, [u8]>>, DecodeError> {
        let (case, reader) = plan.begin(bytes)?;
        let (mut readers, fields) = (vec![reader], &self.ways[case]);
        for (depth, field) in fields.iter().enumerate() {
            if plan.is_broken(field.parent_message().full_name(), field.number()) {
                let what = format!("the writer's field `{}` is of another type", field.name());
                return Err(DecodeError::NoCounterpart(what));
            }
            let is_last = depth + 1 == fields.len();
            let (mut found, mut inner) = (None, vec![]);
            for reader in readers {
                scan(field, reader, is_last, &mut found, &mut inner)?;
            }
            if is_last {
                return Ok(found.filter(|id| field.supports_presence() || !is_zero(field, id)));
            }
            readers = inner;
        }
        Ok(None)
    }
}

/// Reads all fields of a message. The last value of a field counts, and several occurrences of a message are merged.
fn scan<'b>(
    field: &FieldDescriptor,
    mut reader: Reader<'b>,
    is_last: bool,
    found: &mut Option<Cow<'b, [u8]>>,
    inner: &mut Vec<Reader<'b>>,
) -> Result<(), DecodeError> {
    let in_oneof = |number: u32| {
        field.containing_oneof().is_some_and(|oneof| oneof.fields().any(|other| other.number() == number))
    };
    while let Some(tag) = reader.tag()? {
        if tag.number != field.number() {
            if in_oneof(tag.number) {
                *found = None;
                inner.clear();
            }
            reader.skip(tag)?;
        } else if is_last {
            *found = Some(leaf(field, tag, &mut reader)?);
        } else if tag.wire == Wire::Delimited {
            inner.push(reader.within()?);
        } else {
            return Err(other_wire(field, &reader));
        }
    }
    Ok(())
}

fn named(message: &MessageDescriptor, name: &str) -> Result<FieldDescriptor, String> {
    message.get_field_by_name(name).ok_or_else(|| {
        let known = message.fields().map(|field| field.name().to_owned()).collect::<Vec<_>>().join(", ");
        format!("{} has no field `{name}`; it has: {known}", message.full_name())
    })
}

fn leaf<'b>(field: &FieldDescriptor, tag: Tag, reader: &mut Reader<'b>) -> Result<Cow<'b, [u8]>, DecodeError> {
    let digits = |number: i128| Cow::Owned(number.to_string().into_bytes());
    Ok(match (field.kind(), tag.wire) {
        (Kind::String, Wire::Delimited) => Cow::Borrowed(reader.string()?.as_bytes()),
        (Kind::Bytes, Wire::Delimited) => Cow::Borrowed(reader.bytes()?),
        (Kind::Int32, Wire::Varint) => digits((reader.varint()? as i32).into()),
        (Kind::Int64, Wire::Varint) => digits(reader.varint()?.cast_signed().into()),
        (Kind::Uint32, Wire::Varint) => digits((reader.varint()? as u32).into()),
        (Kind::Uint64, Wire::Varint) => digits(reader.varint()?.into()),
        (Kind::Sint32, Wire::Varint) => digits((unzigzag(reader.varint()?) as i32).into()),
        (Kind::Sint64, Wire::Varint) => digits(unzigzag(reader.varint()?).into()),
        (Kind::Fixed32, Wire::Fixed32) => digits(reader.fixed32()?.into()),
        (Kind::Sfixed32, Wire::Fixed32) => digits(reader.fixed32()?.cast_signed().into()),
        (Kind::Fixed64, Wire::Fixed64) => digits(reader.fixed64()?.into()),
        (Kind::Sfixed64, Wire::Fixed64) => digits(reader.fixed64()?.cast_signed().into()),
        (Kind::Enum(e), Wire::Varint) => {
            let number = reader.varint()? as i32;
            let name = e.get_value(number).map_or_else(|| number.to_string(), |value| value.name().to_owned());
            Cow::Owned(name.into_bytes())
        }
        _ => return Err(other_wire(field, reader)),
    })
}

fn other_wire(field: &FieldDescriptor, reader: &Reader<'_>) -> DecodeError {
    DecodeError::WireType { field: field.name().to_owned(), at: reader.at() }
}

fn is_zero(field: &FieldDescriptor, id: &[u8]) -> bool {
    match field.kind() {
        Kind::String | Kind::Bytes => id.is_empty(),
        Kind::Enum(e) => id == e.default_value().name().as_bytes(),
        _ => id == b"0",
    }
}
