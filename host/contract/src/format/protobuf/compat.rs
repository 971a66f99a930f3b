//! Checks if one Protobuf schema reads what another wrote, by the rules in the documentation of Confluent's registry.
//!
//! Messages are paired by full name, fields by number. Optional fields may be added and removed in both directions. A
//! field number must keep its meaning on the wire.

use prost_reflect::{Cardinality, FieldDescriptor, Kind, MessageDescriptor};

use super::Schema;
use crate::compat::Problem;

/// The maximum depth of nested messages in a comparison.
const DEPTH_MAX: usize = 64;

/// Returns the places where `reader` does not accept what `writer` writes, with the reasons. Empty if it accepts
/// everything.
#[must_use]
pub fn problems(reader: &Schema, writer: &Schema) -> Vec<Problem> {
    let (Some(ours), Some(theirs)) = (reader.file(), writer.file()) else { return vec![] };
    let mut comparison = Comparison { problems: vec![], seen: vec![], definitions: true };
    if ours.package_name() != theirs.package_name() {
        comparison.tell(
            ".",
            format!("the writer's package is `{}`; the reader's is `{}`", theirs.package_name(), ours.package_name()),
        );
        return comparison.problems;
    }
    for message in theirs.messages() {
        match ours.messages().find(|other| other.full_name() == message.full_name()) {
            Some(other) => comparison.messages(&other, &message, message.name(), 0),
            None => comparison.tell(message.name(), "the writer has this message, the reader does not".to_owned()),
        }
    }
    comparison.problems
}

/// Returns where and why a component whose values are the reader's messages cannot read those of the writer. Other
/// messages of the file do not count.
pub(crate) fn unreadable(reader: &Schema, writer: &Schema) -> Vec<Problem> {
    let mut comparison = Comparison { problems: vec![], seen: vec![], definitions: false };
    for ours in reader.roots() {
        match writer.find(ours.full_name()) {
            Some(theirs) => comparison.messages(&ours, &theirs, ours.name(), 0),
            None => comparison.tell(".", format!("the writer's schema has no message {}", ours.full_name())),
        }
    }
    comparison.problems
}

struct Comparison {
    problems: Vec<Problem>,
    seen: Vec<(String, String)>,
    /// True if definitions that no message uses are compared, too.
    definitions: bool,
}

impl Comparison {
    fn tell(&mut self, path: &str, what: String) {
        if self.problems.len() < 20 {
            self.problems.push(Problem { path: path.to_owned(), what });
        }
    }

    fn messages(&mut self, ours: &MessageDescriptor, theirs: &MessageDescriptor, path: &str, depth: usize) {
        let key = (ours.full_name().to_owned(), theirs.full_name().to_owned());
        if depth > DEPTH_MAX || self.seen.contains(&key) {
            return;
        }
        self.seen.push(key);
        let definitions = self.definitions;
        for child in theirs.child_messages().filter(|child| definitions && !child.is_map_entry()) {
            let path = format!("{path}.{}", child.name());
            match ours.child_messages().find(|other| other.name() == child.name()) {
                Some(other) => self.messages(&other, &child, &path, depth + 1),
                None => self.tell(&path, "the writer has this message, the reader does not".to_owned()),
            }
        }
        for field in theirs.fields() {
            match ours.get_field(field.number()) {
                Some(other) => self.fields(&other, &field, &format!("{path}.{}", field.name()), depth),
                None if field.cardinality() == Cardinality::Required => {
                    self.tell(
                        &format!("{path}.{}", field.name()),
                        "the writer requires the field, and the reader does not have it".to_owned(),
                    );
                }
                None if field.containing_oneof().is_some_and(|oneof| {
                    ours.oneofs().any(|other| other.name() == oneof.name() && !is_optional(&field))
                }) =>
                {
                    self.tell(
                        &format!("{path}.{}", field.name()),
                        "the writer may choose this field of a oneof, the reader's does not have it".to_owned(),
                    );
                }
                None => {}
            }
        }
        for field in ours.fields().filter(|field| theirs.get_field(field.number()).is_none()) {
            if field.cardinality() == Cardinality::Required {
                self.tell(
                    &format!("{path}.{}", field.name()),
                    "the reader requires the field, and the writer does not have it; make it `optional`".to_owned(),
                );
            }
        }
        for oneof in ours.oneofs() {
            let moved = oneof.fields().filter(|field| {
                !is_optional(field)
                    && theirs
                        .get_field(field.number())
                        .is_some_and(|was| was.containing_oneof().is_none() || is_optional(&was))
            });
            let old = theirs.oneofs().any(|other| other.name() == oneof.name());
            if moved.count() > usize::from(!old) {
                self.tell(
                    &format!("{path}.{}", oneof.name()),
                    "fields that the writer may set together are alternatives of one `oneof` in the reader".to_owned(),
                );
            }
        }
    }

    fn fields(&mut self, ours: &FieldDescriptor, theirs: &FieldDescriptor, path: &str, depth: usize) {
        if let Some(what) = other_meaning(ours, theirs) {
            self.tell(path, what);
        } else if let (Kind::Message(a), Kind::Message(b)) = (ours.kind(), theirs.kind()) {
            if a.full_name() != b.full_name() && !a.is_map_entry() {
                let (a, b, number) = (a.full_name(), b.full_name(), theirs.number());
                self.tell(path, format!("the writer's number {number} is {b}; the reader takes {a}"));
            } else {
                self.messages(&a, &b, path, depth + 1);
            }
        }
    }
}

/// The difference in the meaning of a field's bytes, if the reader and the writer differ.
pub(super) fn other_meaning(ours: &FieldDescriptor, theirs: &FieldDescriptor) -> Option<String> {
    let number = theirs.number();
    if ours.is_map() != theirs.is_map()
        || (ours.is_list() != theirs.is_list() && !matches!(ours.kind(), Kind::String | Kind::Bytes | Kind::Message(_)))
    {
        return Some(format!("the writer's number {number} is {}; the reader has {}", shape(theirs), shape(ours)));
    }
    let (a, b) = (ours.kind(), theirs.kind());
    let differs = match (&a, &b) {
        (Kind::Message(_), Kind::Message(_)) => false,
        _ => wire(&a) != wire(&b),
    };
    differs.then(|| format!("the writer's number {number} is {}; the reader takes {}", name(&b), name(&a)))
}

/// Returns true if the oneof exists only because its field is `optional`.
fn is_optional(field: &FieldDescriptor) -> bool {
    field.containing_oneof().is_some_and(|oneof| oneof.is_synthetic())
}

fn shape(field: &FieldDescriptor) -> String {
    let many = if field.is_map() {
        "a map of "
    } else if field.is_list() {
        "repeated "
    } else {
        ""
    };
    format!("{many}{}", name(&field.kind()))
}

fn name(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(e) => e.full_name().to_owned(),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// The encoding on the wire. Kinds with the same encoding can replace each other.
fn wire(kind: &Kind) -> &'static str {
    match kind {
        Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64 | Kind::Bool | Kind::Enum(_) => "varint",
        Kind::Sint32 | Kind::Sint64 => "zigzag",
        Kind::Fixed32 | Kind::Sfixed32 => "fixed32",
        Kind::Fixed64 | Kind::Sfixed64 => "fixed64",
        Kind::Float => "float",
        Kind::Double => "double",
        Kind::String | Kind::Bytes => "bytes",
        Kind::Message(_) => "message",
    }
}
