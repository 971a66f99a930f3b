//! Protobuf: `.proto` files, parsed and resolved with their imports.
//!
//! ```text
//!  text, imports ──parse──> Schema ──┬─ types: shapes and layout of its message, for a component's codec
//!                                    ├─ Plan::of(writer, reader)
//!                                    └─ json: messages as JSON
//! ```
//!
//! `protox` parses and resolves files, so no compiler has to be installed. `prost-reflect` describes their content.
//! Neither is used for records: messages are read and written along the layout, directly from and to the wire format.

pub mod compat;
mod docs;
mod error;
pub mod identify;
pub mod indexes;
pub mod json;
mod known;
pub mod plan;
mod source;
mod text;
pub mod types;
pub mod wire;

pub use error::{DecodeError, EncodeError};

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use prost_reflect::{DescriptorPool, FileDescriptor, MessageDescriptor};
use protox::Compiler;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
use protox::prost::Message as _;

use self::source::source;
use self::types::Types;
use self::wire::Reader;
use crate::compat::Problem;
use crate::format::Referred;

/// The name of the schema itself among its imports.
const SELF: &str = "schema.proto";

/// A Protobuf schema: its file, with all that it imports, and the message that values are, or the messages.
pub struct Schema {
    pool: DescriptorPool,
    name: String,
    text: String,
    referred: Vec<Referred>,
    /// The full names of the messages that values are; none: the first of the file.
    messages: Vec<String>,
    types: OnceLock<Types>,
    indexes: OnceLock<Vec<Vec<usize>>>,
}

/// The files that a schema may import.
struct Files(BTreeMap<String, String>);

/// The maximum number of files that import each other in a row.
const CHAIN_MAX: usize = 100;

impl FileResolver for Files {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        let text = self.0.get(name).map(String::as_str).or_else(|| known::file(name));
        source(name, text.ok_or_else(|| protox::Error::file_not_found(name))?)
    }
}

pub(crate) fn parse(text: &str, referred: &[Referred]) -> Result<Schema, String> {
    let mut files = referred.iter().map(|file| (file.name.clone(), file.text.clone())).collect::<BTreeMap<_, _>>();
    let mut name = SELF.to_owned();
    while files.contains_key(&name) {
        name = format!("_{name}");
    }
    files.insert(name.clone(), text.to_owned());
    if files.len() > CHAIN_MAX {
        source::check_chain(&name, &files, CHAIN_MAX).map_err(|error| told(&error, &name))?;
    }
    let mut resolver = ChainFileResolver::new();
    resolver.add(Files(files));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(resolver);
    // The comments become those of the generated types.
    compiler.include_source_info(true);
    compiler.open_file(&name).map_err(|error| told(&error, &name))?;
    let (pool, text, referred) = (compiler.descriptor_pool(), text.to_owned(), referred.to_vec());
    Ok(Schema { pool, name, text, referred, messages: vec![], types: OnceLock::new(), indexes: OnceLock::new() })
}

/// Formats an error with its place in the text, on one line.
fn told(error: &protox::Error, name: &str) -> String {
    let detailed = format!("{error:?}");
    // Only errors of protox have a place; others are quoted.
    let text = if detailed.starts_with('"') { error.to_string() } else { detailed };
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ").replace(name, "the schema")
}

/// The text to store. Some clients send the file's descriptor in base64 instead of its text.
pub(crate) fn canonical(text: &str) -> Result<String, String> {
    match described(text) {
        Some(descriptor) => text::print(&descriptor),
        None => Ok(text.trim().to_owned()),
    }
}

/// The files that it imports, except those that every compiler has.
pub(crate) fn imports(text: &str) -> Result<Vec<String>, String> {
    let file = source(SELF, text).map_err(|error| told(&error, SELF))?;
    let mut names = file.file_descriptor_proto().dependency.clone();
    names.retain(|name| !name.starts_with("google/protobuf/") && known::file(name).is_none());
    Ok(names)
}

fn described(text: &str) -> Option<prost_reflect::prost_types::FileDescriptorProto> {
    let bytes = BASE64.decode(text.trim()).ok()?;
    prost_reflect::prost_types::FileDescriptorProto::decode(bytes.as_slice()).ok()
}

/// The part of a text that identifies its schema, without comments and blanks.
pub(crate) fn identity(text: &str) -> String {
    let Ok(file) = source(SELF, text) else { return text.to_owned() };
    let mut descriptor = file.file_descriptor_proto().clone();
    descriptor.source_code_info = None;
    BASE64.encode(descriptor.encode_to_vec())
}

// Formatting the descriptors of messages that contain themselves would not end.
impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema").field("text", &self.text).field("messages", &self.messages).finish_non_exhaustive()
    }
}

impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.messages == other.messages && self.is_same_file(other)
    }
}

/// The index of a message among those of its file, or the indexes on the way to a nested one.
pub(crate) fn indexes_of(message: &MessageDescriptor) -> Vec<usize> {
    let mut indexes = vec![];
    let mut message = Some(message.clone());
    while let Some(inner) = message {
        message = inner.parent_message();
        let place = match &message {
            Some(outer) => children(outer).iter().position(|other| *other == inner),
            None => inner.parent_file().messages().position(|other| other == inner),
        };
        indexes.insert(0, place.unwrap_or_default());
    }
    indexes
}

/// The messages that are defined inside another. The entries of maps have no definition.
fn children(message: &MessageDescriptor) -> Vec<MessageDescriptor> {
    message.child_messages().filter(|child| !child.is_map_entry()).collect()
}

impl Schema {
    /// The text of the file.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its imports, including those of its imports.
    #[must_use]
    pub fn referred(&self) -> &[Referred] {
        &self.referred
    }

    /// Returns true if both files and their imports are equal.
    #[must_use]
    pub fn is_same_file(&self, other: &Self) -> bool {
        let same_text = self.text == other.text || identity(&self.text) == identity(&other.text);
        same_text && self.imported() == other.imported()
    }

    /// The same file, with values of others of its messages.
    ///
    /// # Errors
    /// If the file has no such message; says which it has.
    pub fn with_messages(&self, names: &[impl AsRef<str>]) -> Result<Self, String> {
        let messages = self.messages();
        let mut found = vec![];
        for name in names.iter().map(AsRef::as_ref) {
            let short = |message: &&MessageDescriptor| message.full_name().rsplit('.').next() == Some(name);
            let message = messages.iter().find(|message| message.full_name() == name);
            let message = message.or_else(|| messages.iter().find(short)).ok_or_else(|| {
                let known = messages.iter().map(|message| format!("`{}`", message.full_name())).collect::<Vec<_>>();
                format!("there is no message `{name}`; the file has: {}", known.join(", "))
            })?;
            if !found.iter().any(|other| other == message.full_name()) {
                found.push(message.full_name().to_owned());
            }
        }
        Ok(Self {
            pool: self.pool.clone(),
            name: self.name.clone(),
            text: self.text.clone(),
            referred: self.referred.clone(),
            messages: found,
            types: OnceLock::new(),
            indexes: OnceLock::new(),
        })
    }

    /// The names of the messages that values are, if that is not the first of the file.
    #[must_use]
    pub fn message_names(&self) -> &[String] {
        &self.messages
    }

    /// The message that values are, or the first of several; `None`: the file has none.
    #[must_use]
    pub fn root(&self) -> Option<MessageDescriptor> {
        self.roots().into_iter().next()
    }

    /// The messages that values are.
    #[must_use]
    pub fn roots(&self) -> Vec<MessageDescriptor> {
        if self.messages.is_empty() {
            return self.file().and_then(|file| file.messages().next()).into_iter().collect();
        }
        self.messages.iter().filter_map(|name| self.find(name)).collect()
    }

    /// Returns true if values are of several messages.
    #[must_use]
    pub fn is_union(&self) -> bool {
        self.messages.len() > 1
    }

    /// A message of the file, by its full name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<MessageDescriptor> {
        self.pool.get_message_by_name(name).filter(|message| message.parent_file().name() == self.name)
    }

    /// The message at these indexes.
    #[must_use]
    pub fn at(&self, indexes: &[usize]) -> Option<MessageDescriptor> {
        let (first, rest) = indexes.split_first()?;
        let top = self.file()?.messages().nth(*first)?;
        rest.iter().try_fold(top, |message, place| children(&message).get(*place).cloned())
    }

    /// The types of the message that values have.
    #[must_use]
    pub fn types(&self) -> &Types {
        self.types.get_or_init(|| Types::of(&self.roots()))
    }

    /// Reads a value as JSON: the message indexes, and their message.
    ///
    /// # Errors
    /// If the bytes are not a message of the file.
    pub fn decode(&self, bytes: &[u8]) -> Result<serde_json::Value, DecodeError> {
        let mut reader = Reader::new(bytes);
        let indexes = indexes::read(&mut reader)?;
        let message = self.at(&indexes).ok_or(DecodeError::NoMessage(indexes))?;
        let value = json::decode(&message, reader.rest())?;
        if !self.is_union() {
            return Ok(value);
        }
        Ok(serde_json::Value::Object([(message.full_name().to_owned(), value)].into_iter().collect()))
    }

    /// Writes a value behind `out`: the indexes of the message that values are, and the message. Of several messages,
    /// the value names its own: `{"shop.Paid": {…}}`.
    ///
    /// # Errors
    /// If the JSON does not fit the message.
    pub fn encode(&self, value: &serde_json::Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let roots = self.roots();
        let (case, value) =
            match value.as_object().and_then(|object| object.iter().next().filter(|_| object.len() == 1)) {
                _ if !self.is_union() => (0, value),
                Some((name, value)) if let Some(case) = roots.iter().position(|root| root.full_name() == name) => {
                    (case, value)
                }
                _ => {
                    let known = roots.iter().map(|root| format!("`{}`", root.full_name())).collect::<Vec<_>>();
                    return Err(EncodeError(format!("it is an object with one key, one of {}", known.join(", "))));
                }
            };
        let root = roots.get(case).ok_or_else(|| EncodeError("the schema has no message".to_owned()))?;
        self.write_indexes(case, out);
        json::encode(root, value, out)
    }

    /// Writes the indexes of one of the messages that values are.
    pub fn write_indexes(&self, case: usize, out: &mut Vec<u8>) {
        indexes::write(self.indexes().get(case).map_or(&[0], Vec::as_slice), out);
    }

    /// The indexes of the messages that values are.
    fn indexes(&self) -> &[Vec<usize>] {
        self.indexes.get_or_init(|| self.roots().iter().map(indexes_of).collect())
    }

    /// The number of the message that `value` is, among those of the schema.
    #[must_use]
    pub fn case_of(&self, value: &[u8]) -> Option<usize> {
        let found = indexes::read(&mut Reader::new(value)).ok()?;
        self.indexes().iter().position(|indexes| *indexes == found)
    }

    /// The same file for values of the message type of `value`.
    #[must_use]
    pub fn like(&self, value: &[u8]) -> Option<Self> {
        let indexes = indexes::read(&mut Reader::new(value)).ok()?;
        self.with_messages(&[self.at(&indexes)?.full_name()]).ok()
    }

    /// All messages of the file, also those within others, in order.
    #[must_use]
    pub fn messages(&self) -> Vec<MessageDescriptor> {
        fn add(message: MessageDescriptor, all: &mut Vec<MessageDescriptor>) {
            let inner = children(&message);
            all.push(message);
            inner.into_iter().for_each(|message| add(message, all));
        }
        let mut all = vec![];
        self.file().into_iter().for_each(|file| file.messages().for_each(|message| add(message, &mut all)));
        all
    }

    fn imported(&self) -> BTreeMap<&str, String> {
        self.referred.iter().map(|file| (file.name.as_str(), identity(&file.text))).collect()
    }

    fn file(&self) -> Option<FileDescriptor> {
        self.pool.get_file_by_name(&self.name)
    }

    /// The file's descriptor in base64, for requests with `format=serialized`.
    pub(crate) fn serialized(&self) -> Option<String> {
        let mut descriptor = self.file()?.file_descriptor_proto().clone();
        descriptor.source_code_info = None;
        Some(BASE64.encode(descriptor.encode_to_vec()))
    }
}

/// A missing part: a package or a message.
pub(crate) fn lint(schema: &Schema) -> Vec<Problem> {
    let Some(file) = schema.file() else { return vec![] };
    let mut found = vec![];
    if file.package_name().is_empty() {
        let what = "there is no `package`: it could not be distinguished from another team's message of this name";
        found.push(Problem { path: ".".to_owned(), what: what.to_owned() });
    }
    if file.messages().len() == 0 {
        let what = "there is no message, so no value can be written";
        found.push(Problem { path: ".".to_owned(), what: what.to_owned() });
    }
    found
}
