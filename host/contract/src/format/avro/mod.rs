//! Avro schemas, checked and ready to walk.
//!
//! ```text
//!  text ──parse──> Schema { nodes, root, json }          one subject, self-contained
//!            └─ Library: the other files of `contracts/`, for named types that it refers to
//! ```
//!
//! A [`Schema`] is an arena: types refer to each other by [`NodeId`], so recursion needs no special case. The parser is
//! our own because a schema here must say where it is wrong (the path of the field), take named types from other files
//! and come out as one self-contained text; what it accepts is the Avro 1.12 specification.

pub mod binary;
pub mod compat;
pub mod decimal;
pub mod default;
pub mod diff;
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

/// One schema: a type and all the types that it is made of.
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
    /// The type at a place in the arena.
    #[must_use]
    pub fn at(index: usize) -> Self {
        Self(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// Its place in the arena.
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
    /// `int`, maybe with a meaning
    Int(Option<IntLogical>),
    /// `long`, maybe with a meaning
    Long(Option<LongLogical>),
    /// `float`
    Float,
    /// `double`
    Double,
    /// `bytes`
    Bytes,
    /// `string`; with `uuid` as logical type it is still any string
    String {
        /// Whether the schema says that it holds a UUID.
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

/// What an `int` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntLogical {
    /// Days since 1970-01-01.
    Date,
    /// Milliseconds since midnight.
    TimeMillis,
}

/// What a `long` means.
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

/// A decimal number: an unscaled big-endian two's complement integer and how many of its digits are after the point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal {
    /// The most digits it may have.
    pub precision: u32,
    /// How many of them follow the point.
    pub scale: u32,
    /// The fixed type that holds it; absent for `bytes`.
    pub fixed: Option<Fixed>,
}

/// A fixed number of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// The type's name.
    pub name: Name,
    /// Other full names that it had.
    pub aliases: Vec<String>,
    /// How many bytes.
    pub size: usize,
}

/// One of some symbols.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enum {
    /// The type's name.
    pub name: Name,
    /// Other full names that it had.
    pub aliases: Vec<String>,
    /// What its author wrote about it.
    pub doc: Option<String>,
    /// The symbols, in order.
    pub symbols: Vec<String>,
    /// The symbol that stands for those a reader does not know.
    pub default: Option<String>,
}

/// Named fields.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The type's name.
    pub name: Name,
    /// Other full names that it had.
    pub aliases: Vec<String>,
    /// What its author wrote about it.
    pub doc: Option<String>,
    /// The fields, in the order in which they are written.
    pub fields: Vec<Field>,
}

/// One field of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Other names that it had.
    pub aliases: Vec<String>,
    /// What its author wrote about it.
    pub doc: Option<String>,
    /// Its type.
    pub ty: NodeId,
    /// What a reader takes when the writer has no such field, as the schema's JSON says it; checked to fit the type.
    pub default: Option<Value>,
}

impl Schema {
    /// The type of a whole value.
    #[must_use]
    pub fn root(&self) -> NodeId {
        self.root
    }

    /// The type `id` stands for.
    ///
    /// # Panics
    /// If `id` is of another schema and out of this one's bounds.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// All types, in the order of their ids.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        (0..).map(NodeId).zip(&self.nodes)
    }

    /// The schema as JSON that needs no other file: what is registered and embedded.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }

    /// What messages call the type: a full name, or the kind of an unnamed type.
    #[must_use]
    pub fn describe(&self, id: NodeId) -> String {
        match self.node(id) {
            Node::Union(branches) => {
                format!("[{}]", branches.iter().map(|branch| self.describe(*branch)).collect::<Vec<_>>().join(", "))
            }
            node => parse::branch_name(node),
        }
    }

    /// The position of the branch that is not null and of the one that is, if `branches` are exactly those two.
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
