//! Shapes: the types of a schema, whatever its format is. The WIT of a component, its names, the check of its types and
//! the host's codecs are derived from them, so that they cannot disagree.
//!
//! ```text
//!  Schema ──shapes──> Shapes, with the schema's names ──Shapes::named──> Shapes with labels of WIT
//! ```

use super::name::Name;

/// The shapes of one schema.
#[derive(Clone, Debug, PartialEq)]
pub struct Shapes {
    shapes: Vec<Shape>,
    origins: Vec<usize>,
    root: ShapeId,
}

/// A shape within its [`Shapes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShapeId(u32);

/// One type. Fields, symbols and cases have the schema's order. Their labels are their names in WIT. They are empty
/// until they are set.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// A value without information: an `enum` of one case.
    Null,
    /// `bool`
    Bool,
    /// `s32`, possibly under another name.
    S32(Option<Alias>),
    /// `s64`, possibly under another name.
    S64(Option<Alias>),
    /// `u32`
    U32,
    /// `u64`
    U64,
    /// `f32`
    F32,
    /// `f64`
    F64,
    /// `string`
    String,
    /// `list<u8>`
    Bytes,
    /// `list<u8>` with this number of bytes.
    Fixed(usize),
    /// A plain decimal number as a `string`.
    Decimal {
        /// The maximum number of digits.
        precision: u32,
        /// The digits after the point.
        scale: u32,
    },
    /// `list<t>`
    List(ShapeId),
    /// `list<tuple<k, t>>`
    Map {
        /// The type of the keys.
        key: ShapeId,
        /// The type of the values.
        value: ShapeId,
    },
    /// `option<t>`
    Option(ShapeId),
    /// `variant`. Without cases, it is an `enum` of one case that no value has.
    Variant(Variant),
    /// `record`. Without fields, which WIT does not allow, it is an `enum` of one case.
    Record(Record),
    /// `enum`. Without symbols, it is an `enum` of one case that no value has. An open one is a `variant`.
    Enum(Enum),
    /// A `string` of JSON.
    Json(Json),
}

/// Another name for a number, which shows its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The name in WIT.
    pub name: &'static str,
    /// The meaning.
    pub doc: &'static str,
}

/// One of several types.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// The description in WIT.
    pub doc: String,
    /// The cases.
    pub cases: Vec<Case>,
}

/// One case of a variant.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The schema's name.
    pub name: String,
    /// The name in WIT.
    pub label: String,
    /// The type of its value, if it has one.
    pub ty: Option<ShapeId>,
}

/// Named fields.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The type's name.
    pub name: Name,
    /// The author's description.
    pub doc: Option<String>,
    /// The fields.
    pub fields: Vec<Field>,
}

/// One field of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// The schema's name.
    pub name: String,
    /// The name in WIT.
    pub label: String,
    /// Earlier names.
    pub aliases: Vec<String>,
    /// The author's description.
    pub doc: Option<String>,
    /// The type.
    pub ty: ShapeId,
}

/// One of several symbols.
#[derive(Clone, Debug, PartialEq)]
pub struct Enum {
    /// The type's name.
    pub name: Name,
    /// The author's description.
    pub doc: Option<String>,
    /// The symbols.
    pub symbols: Vec<Symbol>,
    /// The case for numbers that have no symbol, if the enum is open.
    pub unrecognized: Option<Symbol>,
}

/// One symbol of an enum.
#[derive(Clone, Debug, PartialEq)]
pub struct Symbol {
    /// The schema's name.
    pub name: String,
    /// The name in WIT.
    pub label: String,
}

/// A value for which WIT has no type.
#[derive(Clone, Debug, PartialEq)]
pub struct Json {
    /// The description in WIT.
    pub doc: String,
    /// The type of the JSON value, if that type contains this place.
    pub of: Option<ShapeId>,
}

impl Shapes {
    /// The shape of a whole value.
    #[must_use]
    pub fn root(&self) -> ShapeId {
        self.root
    }

    /// Returns the shape of `id`.
    ///
    /// # Panics
    /// If `id` belongs to other shapes and is out of bounds.
    #[must_use]
    pub fn get(&self, id: ShapeId) -> &Shape {
        &self.shapes[id.0 as usize]
    }

    /// Returns the shape of `id`, to set its labels.
    pub(crate) fn get_mut(&mut self, id: ShapeId) -> &mut Shape {
        &mut self.shapes[id.0 as usize]
    }

    /// The shape of values that are text.
    #[must_use]
    pub fn text() -> Self {
        let mut shapes = Builder::default();
        let root = shapes.push(Shape::String, 0);
        shapes.finish(root)
    }

    /// The type in the schema to which a shape belongs, by the number that the schema's format gives it.
    #[must_use]
    pub fn origin(&self, id: ShapeId) -> usize {
        self.origins[id.0 as usize]
    }
}

impl ShapeId {
    /// Its index among the shapes.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Collects shapes.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    shapes: Vec<Shape>,
    origins: Vec<usize>,
}

impl Builder {
    /// Adds a shape for the type `origin`.
    pub(crate) fn push(&mut self, shape: Shape, origin: usize) -> ShapeId {
        self.shapes.push(shape);
        self.origins.push(origin);
        // A schema's types are numbered by `u32`, and each has a bounded number of shapes.
        ShapeId((self.shapes.len() - 1) as u32)
    }

    /// Reserves an id for a shape that refers to itself. [`fill`](Self::fill) it later.
    pub(crate) fn reserve(&mut self, origin: usize) -> ShapeId {
        self.push(Shape::Null, origin)
    }

    /// Sets the shape of a reserved id.
    pub(crate) fn fill(&mut self, id: ShapeId, shape: Shape) {
        self.shapes[id.0 as usize] = shape;
    }

    /// The shapes, with `root` as that of a whole value.
    pub(crate) fn finish(self, root: ShapeId) -> Shapes {
        Shapes { shapes: self.shapes, origins: self.origins, root }
    }
}
