//! The WIT type of every place of a schema: what generates the text of the WIT and what the host's codec follows, so
//! that the two cannot disagree.

use crate::schema::{Decimal, NodeId};

/// The shapes of one schema.
#[derive(Clone, Debug, PartialEq)]
pub struct Shapes {
    pub(super) shapes: Vec<Shape>,
    pub(super) root: ShapeId,
}

/// A shape within its [`Shapes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShapeId(pub(super) u32);

/// One WIT type, as it stands for an Avro type. Positions are those of the Avro schema: fields, symbols and branches
/// come in the same order.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// `boolean` as `bool`
    Bool,
    /// `int` as `s32`
    S32,
    /// `long` as `s64`
    S64,
    /// `float` as `f32`
    F32,
    /// `double` as `f64`
    F64,
    /// `string` as `string`
    String,
    /// `bytes` as `list<u8>`
    Bytes,
    /// `fixed` as `list<u8>` of so many bytes
    Fixed(usize),
    /// `decimal` as `string`
    Decimal(Decimal),
    /// `array` as `list<t>`
    List(ShapeId),
    /// `map` as `list<tuple<string, t>>`
    Map(ShapeId),
    /// A union of null and one other type as `option<t>`
    Option {
        /// The position of null in the union.
        null: usize,
        /// The position of the other type.
        some: usize,
        /// The other type.
        ty: ShapeId,
    },
    /// Any other union as `variant`
    Variant(Vec<Case>),
    /// `record` as `record`: the fields' names in WIT, and their shapes
    Record(Vec<(String, ShapeId)>),
    /// `enum` as `enum`: the symbols' names in WIT
    Enum(Vec<String>),
    /// A reference to a type that contains the place it is referred from: a `string` of JSON
    Json(NodeId),
}

/// One case of a variant.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Its name in WIT.
    pub name: String,
    /// What it carries; nothing for the branch `null`.
    pub ty: Option<ShapeId>,
}

impl Shapes {
    /// The shape of a whole value.
    #[must_use]
    pub fn root(&self) -> ShapeId {
        self.root
    }

    /// The shape `id` stands for.
    ///
    /// # Panics
    /// If `id` is of other shapes and out of the bounds of these.
    #[must_use]
    pub fn get(&self, id: ShapeId) -> &Shape {
        &self.shapes[id.0 as usize]
    }
}
