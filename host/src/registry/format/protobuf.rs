//! Protobuf schemas in the registry: parsed, resolved, and compared by the rules in the documentation of Confluent's
//! registry.
//!
//! Messages are paired by full name, fields by number. Optional fields may be added and removed in both directions. A
//! field number must keep its meaning on the wire.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use heddle_contract::compat::Problem;
use protox::Compiler;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
use protox::prost::Message as _;
use protox::prost_reflect::{Cardinality, DescriptorPool, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor};

use super::{Referred, protobuf_text};

/// The name of the parsed schema among the files it imports.
const SELF: &str = "schema.proto";
/// The deepest nesting of messages in a comparison.
const DEPTH_MAX: usize = 64;

/// The deepest nesting of brackets in a file.
const NESTING_MAX: usize = 100;

/// A Protobuf schema: its file and all imports.
#[derive(Debug)]
pub struct Protobuf {
    pool: DescriptorPool,
    name: String,
}

/// The files that a schema may import.
struct Files(BTreeMap<String, String>);

impl FileResolver for Files {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        let text = self.0.get(name).ok_or_else(|| protox::Error::file_not_found(name))?;
        source(name, text)
    }
}

/// Parses a file. protox parses the values of options by recursion without a bound, and a stack overflow would end the
/// process.
fn source(name: &str, text: &str) -> Result<File, protox::Error> {
    if nesting(text) > NESTING_MAX {
        return Err(protox::Error::new(format!("brackets within brackets more than {NESTING_MAX} deep")));
    }
    File::from_source(name, text)
}

/// The deepest nesting of brackets, without those in texts and comments.
fn nesting(text: &str) -> usize {
    let (mut deepest, mut depth) = (0_usize, 0_usize);
    let mut rest = text.bytes().peekable();
    while let Some(byte) = rest.next() {
        match (byte, rest.peek()) {
            (b'/', Some(b'/')) => while rest.next().is_some_and(|byte| byte != b'\n') {},
            (b'/', Some(b'*')) => {
                rest.next();
                let mut last = 0;
                while let Some(byte) = rest.next()
                    && (last, byte) != (b'*', b'/')
                {
                    last = byte;
                }
            }
            (b'#', _) => while rest.next().is_some_and(|byte| byte != b'\n') {},
            (quote @ (b'"' | b'\''), _) => {
                // A text ends with its line at the latest.
                while let Some(byte) = rest.next()
                    && byte != quote
                    && byte != b'\n'
                {
                    if byte == b'\\' {
                        rest.next();
                    }
                }
            }
            (b'{' | b'[' | b'(' | b'<', _) => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            (b'}' | b']' | b')' | b'>', _) => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

pub(super) fn parse(text: &str, referred: &[Referred]) -> Result<Protobuf, String> {
    let mut files = referred.iter().map(|file| (file.name.clone(), file.text.clone())).collect::<BTreeMap<_, _>>();
    let mut name = SELF.to_owned();
    while files.contains_key(&name) {
        name = format!("_{name}");
    }
    files.insert(name.clone(), text.to_owned());
    let mut resolver = ChainFileResolver::new();
    resolver.add(Files(files));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(resolver);
    compiler.open_file(&name).map_err(|error| told(&error, &name))?;
    Ok(Protobuf { pool: compiler.descriptor_pool(), name })
}

/// The error with its position in the text, on one line.
fn told(error: &protox::Error, name: &str) -> String {
    format!("{error:?}").lines().map(str::trim).collect::<Vec<_>>().join(" ").replace(name, "the schema")
}

/// The text to store. Some clients send the file's descriptor in base64 instead of its text.
pub(super) fn canonical(text: &str) -> Result<String, String> {
    match described(text) {
        Some(descriptor) => protobuf_text::print(&descriptor),
        None => Ok(text.trim().to_owned()),
    }
}

/// The imported files, without those of Google that every compiler has.
pub(super) fn imports(text: &str) -> Result<Vec<String>, String> {
    let file = source(SELF, text).map_err(|error| told(&error, SELF))?;
    let mut names = file.file_descriptor_proto().dependency.clone();
    names.retain(|name| !name.starts_with("google/protobuf/"));
    Ok(names)
}

fn described(text: &str) -> Option<protox::prost_reflect::prost_types::FileDescriptorProto> {
    let bytes = BASE64.decode(text.trim()).ok()?;
    protox::prost_reflect::prost_types::FileDescriptorProto::decode(bytes.as_slice()).ok()
}

/// A text that is equal for texts of the same schema; comments and blanks do not count.
pub(super) fn identity(text: &str) -> String {
    let Ok(file) = source(SELF, text) else { return text.to_owned() };
    let mut descriptor = file.file_descriptor_proto().clone();
    descriptor.source_code_info = None;
    BASE64.encode(descriptor.encode_to_vec())
}

impl Protobuf {
    fn file(&self) -> Option<FileDescriptor> {
        self.pool.get_file_by_name(&self.name)
    }

    /// The file's descriptor in base64, for requests with `format=serialized`.
    pub(super) fn serialized(&self) -> Option<String> {
        let mut descriptor = self.file()?.file_descriptor_proto().clone();
        descriptor.source_code_info = None;
        Some(BASE64.encode(descriptor.encode_to_vec()))
    }
}

/// Reports a missing package and a missing message.
pub(super) fn lint(schema: &Protobuf) -> Vec<Problem> {
    let Some(file) = schema.file() else { return vec![] };
    let mut found = vec![];
    if file.package_name().is_empty() {
        let what = "there is no `package`: another team's message of this name could not be told from it";
        found.push(Problem { path: ".".to_owned(), what: what.to_owned() });
    }
    if file.messages().len() == 0 {
        let what = "there is no message: nothing can be written by it";
        found.push(Problem { path: ".".to_owned(), what: what.to_owned() });
    }
    found
}

/// Returns where and why `reader` cannot read everything that `writer` writes; empty if it can.
pub(super) fn problems(reader: &Protobuf, writer: &Protobuf) -> Vec<Problem> {
    let (Some(ours), Some(theirs)) = (reader.file(), writer.file()) else { return vec![] };
    let mut comparison = Comparison { problems: vec![], seen: vec![] };
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

struct Comparison {
    problems: Vec<Problem>,
    seen: Vec<(String, String)>,
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
        for child in theirs.child_messages().filter(|child| !child.is_map_entry()) {
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
                        "the field is required by the writer, and gone in the reader".to_owned(),
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
                    "the reader requires it, the writer does not have it; it takes it as `optional`".to_owned(),
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
        if ours.is_map() != theirs.is_map()
            || (ours.is_list() != theirs.is_list()
                && !matches!(ours.kind(), Kind::String | Kind::Bytes | Kind::Message(_)))
        {
            self.tell(
                path,
                format!("the writer's number {} is {}; the reader has {}", theirs.number(), shape(theirs), shape(ours)),
            );
            return;
        }
        match (ours.kind(), theirs.kind()) {
            (Kind::Message(a), Kind::Message(b)) => {
                if a.full_name() != b.full_name() && !a.is_map_entry() {
                    self.tell(
                        path,
                        format!(
                            "the writer's number {} is {}; the reader takes {}",
                            theirs.number(),
                            b.full_name(),
                            a.full_name()
                        ),
                    );
                } else {
                    self.messages(&a, &b, path, depth + 1);
                }
            }
            (a, b) if wire(&a) == wire(&b) => {}
            (a, b) => self.tell(
                path,
                format!("the writer's number {} is {}; the reader takes {}", theirs.number(), name(&b), name(&a)),
            ),
        }
    }
}

/// Returns true if the oneof exists only because the field is `optional`.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_are_nested_without_end_are_refused() {
        let deep = |levels: usize| {
            let (open, close) = ("a:{".repeat(levels), "}".repeat(levels));
            let declared = "message A {optional A a = 1;} extend google.protobuf.FileOptions {optional A x = 50000;}";
            format!(
                "syntax = \"proto2\"; import \"google/protobuf/descriptor.proto\"; {declared} option (x) = {{{open}{close}}};"
            )
        };
        parse(&deep(5), &[]).unwrap();
        for result in [parse(&deep(30_000), &[]).map(drop), imports(&deep(30_000)).map(drop)] {
            assert!(result.unwrap_err().contains("brackets within brackets"));
        }
        assert_eq!(identity(&deep(30_000)), deep(30_000));
    }

    #[test]
    fn only_brackets_of_the_file_itself_count() {
        for (text, deepest) in [
            ("a{b{c}d{e}}", 2),
            ("// {{{\n{", 1),
            ("# {{{\n{", 1),
            ("/* {{{ **/{/*/{*/", 1),
            (r#"{"{{\"{{" '{{"{' {"#, 2),
            ("\"{\n{{", 2),
            ("}}}{", 1),
            ("/* {{{", 0),
        ] {
            assert_eq!(nesting(text), deepest, "{text}");
        }
    }
}
