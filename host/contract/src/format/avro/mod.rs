//! Avro schemas, checked and ready for traversal.
//!
//! ```text
//!  text ──parse──> Schema { nodes, root, json }          one subject, self-contained
//!            └─ Library: the other files of `contracts/`, for named types that it refers to
//! ```
//!
//! A [`Schema`] is an arena: types refer to each other by [`NodeId`], so recursion needs no special case. The parser is
//! our own, because its errors name the place in the schema (the path of the field), it takes named types from other
//! files, and its result is one self-contained text. It accepts what the Avro 1.12 specification accepts.

pub mod binary;
pub mod compat;
pub mod decimal;
pub mod default;
pub mod diff;
mod graph;
pub mod identify;
pub mod json;
mod library;
pub mod lint;
mod logical;
mod parse;
pub mod read;
mod records;
pub(crate) mod registered;
pub mod resolve;
mod shapes;
pub mod text;

pub use library::Library;
pub(crate) use logical::ignored as ignored_logical;
pub use parse::{SchemaError, parse, parse_writer};
pub(crate) use shapes::shapes;

use serde_json::Value;

pub use super::name::Name;

/// One schema: a type and all the types that it consists of.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    nodes: Vec<Node>,
    root: NodeId,
    json: String,
}

/// A type within its [`Schema`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u32);

impl NodeId {
    /// The type at an index of the arena.
    #[must_use]
    pub fn at(index: usize) -> Self {
        Self(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// Its index in the arena.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One Avro type.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// `null`
    Null,
    /// `boolean`
    Boolean,
    /// `int`, with a logical type or without
    Int(Option<IntLogical>),
    /// `long`, with a logical type or without
    Long(Option<LongLogical>),
    /// `float`
    Float,
    /// `double`
    Double,
    /// `bytes`
    Bytes,
    /// `string`. With the logical type `uuid`, it may still be any string.
    String {
        /// True if the schema declares a UUID.
        uuid: bool,
    },
    /// `bytes` or `fixed` with the logical type `decimal`
    Decimal(Decimal),
    /// `fixed`
    Fixed(Fixed),
    /// `enum`
    Enum(Enum),
    /// `array` of the type
    Array(NodeId),
    /// `map` from strings to the type
    Map(NodeId),
    /// `union`: its branches in order
    Union(Vec<NodeId>),
    /// `record` (or `error`)
    Record(Record),
}

/// The logical type of an `int`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntLogical {
    /// Days since 1970-01-01.
    Date,
    /// Milliseconds since midnight.
    TimeMillis,
}

/// The logical type of a `long`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongLogical {
    /// Microseconds since midnight.
    TimeMicros,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    TimestampMillis,
    /// Microseconds since 1970-01-01T00:00:00Z.
    TimestampMicros,
    /// Nanoseconds since 1970-01-01T00:00:00Z.
    TimestampNanos,
    /// Milliseconds since 1970-01-01T00:00:00 of some local calendar.
    LocalTimestampMillis,
    /// Microseconds since 1970-01-01T00:00:00 of some local calendar.
    LocalTimestampMicros,
    /// Nanoseconds since 1970-01-01T00:00:00 of some local calendar.
    LocalTimestampNanos,
}

/// A decimal number: an unscaled big-endian two's complement integer, and the number of its digits after the point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal {
    /// The maximum number of digits.
    pub precision: u32,
    /// The number of digits after the point.
    pub scale: u32,
    /// The fixed type of its bytes; `None` for `bytes`.
    pub fixed: Option<Fixed>,
}

/// A fixed number of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// The type's name.
    pub name: Name,
    /// Its earlier full names.
    pub aliases: Vec<String>,
    /// The size in bytes.
    pub size: usize,
}

/// One of several symbols.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enum {
    /// The type's name.
    pub name: Name,
    /// Its earlier full names.
    pub aliases: Vec<String>,
    /// The author's documentation.
    pub doc: Option<String>,
    /// The symbols, in order.
    pub symbols: Vec<String>,
    /// The symbol that replaces those that a reader does not know.
    pub default: Option<String>,
}

/// A record: named fields.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The type's name.
    pub name: Name,
    /// Its earlier full names.
    pub aliases: Vec<String>,
    /// The author's documentation.
    pub doc: Option<String>,
    /// The fields, in the order in which they are written.
    pub fields: Vec<Field>,
}

/// One field of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its earlier names.
    pub aliases: Vec<String>,
    /// The author's documentation.
    pub doc: Option<String>,
    /// Its type.
    pub ty: NodeId,
    /// The value for a reader if the writer has no such field, as JSON of the schema. It was checked to fit the type.
    pub default: Option<Value>,
}

impl Schema {
    /// The type of a whole value.
    #[must_use]
    pub fn root(&self) -> NodeId {
        self.root
    }

    /// The type of `id`.
    ///
    /// # Panics
    /// If `id` belongs to another schema and is out of bounds in this one.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// All types, in the order of their ids.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        (0..).map(NodeId).zip(&self.nodes)
    }

    /// The schema as JSON that needs no other file. This text is registered and embedded.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The name of the type in messages: a full name, or the kind of an unnamed type.
    #[must_use]
    pub fn describe(&self, id: NodeId) -> String {
        match self.node(id) {
            Node::Union(branches) => {
                format!("[{}]", branches.iter().map(|branch| self.describe(*branch)).collect::<Vec<_>>().join(", "))
            }
            node => parse::branch_name(node),
        }
    }

    /// The positions of null and of the other branch, if `branches` are exactly null and one other type.
    #[must_use]
    pub fn as_option(&self, branches: &[NodeId]) -> Option<OptionBranches> {
        let [first, second] = branches else { return None };
        match (self.node(*first), self.node(*second)) {
            (Node::Null, Node::Null) => None,
            (Node::Null, _) => Some(OptionBranches { null: 0, some: 1, ty: *second }),
            (_, Node::Null) => Some(OptionBranches { null: 1, some: 0, ty: *first }),
            _ => None,
        }
    }
}

/// The two branches of a union of null and one other type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionBranches {
    /// The position of `null`.
    pub null: usize,
    /// The position of the other type.
    pub some: usize,
    /// The other type.
    pub ty: NodeId,
}
