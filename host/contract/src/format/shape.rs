//! Shapes: the type of every place of a schema, whatever format the schema has. The WIT of a component, its names, the
//! check of its types and the host's codecs follow them, so that they cannot disagree.
//!
//! ```text
//!  Schema ──shapes──> Shapes, named as the schema names things ──Shapes::named──> Shapes with labels of WIT
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

/// One type. Fields, symbols and cases come in the schema's order. Their labels are their names in WIT, empty until
/// they are given.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// A value that says nothing: an `enum` of one case.
    Null,
    /// `bool`
    Bool,
    /// `s32`, maybe under another name.
    S32(Option<Alias>),
    /// `s64`, maybe under another name.
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
    /// `list<u8>` of so many bytes.
    Fixed(usize),
    /// A plain decimal number as a `string`.
    Decimal {
        /// The most digits it may have.
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
    /// `variant`; without cases, an `enum` of one case that no value has.
    Variant(Variant),
    /// `record`; without fields, which WIT does not have, an `enum` of one case.
    Record(Record),
    /// `enum`; without symbols, an `enum` of one case that no value has. An open one is a `variant`.
    Enum(Enum),
    /// A `string` of JSON.
    Json(Json),
}

/// Another name for a number, which says what it means.
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

/// One of some symbols.
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

/// A value that WIT has no type for.
#[derive(Clone, Debug, PartialEq)]
pub struct Json {
    /// The description in WIT.
    pub doc: String,
    /// The type that the JSON is a value of, where that is a type which contains the place itself.
    pub of: Option<ShapeId>,
}

impl Shapes {
    /// The shape of a whole value.
    #[must_use]
    pub fn root(&self) -> ShapeId {
        self.root
    }

    /// Returns the shape `id` stands for.
    ///
    /// # Panics
    /// If `id` belongs to other shapes and is out of bounds.
    #[must_use]
    pub fn get(&self, id: ShapeId) -> &Shape {
        &self.shapes[id.0 as usize]
    }

    /// Returns the shape `id` stands for, to give it labels.
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

    /// The place in the schema that a shape stands for, as the schema's format numbers its types.
    #[must_use]
    pub fn origin(&self, id: ShapeId) -> usize {
        self.origins[id.0 as usize]
    }
}

impl ShapeId {
    /// Its place among the shapes.
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
    /// Adds a shape that stands for `origin`.
    pub(crate) fn push(&mut self, shape: Shape, origin: usize) -> ShapeId {
        self.shapes.push(shape);
        self.origins.push(origin);
        // A schema's types are numbered by `u32`, and each has a bounded number of shapes.
        ShapeId((self.shapes.len() - 1) as u32)
    }

    /// Takes a place for a shape that refers to itself; [`fill`](Self::fill) it later.
    pub(crate) fn reserve(&mut self, origin: usize) -> ShapeId {
        self.push(Shape::Null, origin)
    }

    /// Fills a reserved place.
    pub(crate) fn fill(&mut self, id: ShapeId, shape: Shape) {
        self.shapes[id.0 as usize] = shape;
    }

    /// The shapes, with `root` as that of a whole value.
    pub(crate) fn finish(self, root: ShapeId) -> Shapes {
        Shapes { shapes: self.shapes, origins: self.origins, root }
    }
}
