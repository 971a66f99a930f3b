//! The WIT type of every place of a schema: what generates the text of the WIT and what the host's codec follows, so
//! that the two cannot disagree.

use std::collections::{BTreeMap, BTreeSet};

use super::naming::{Names, item_place, member_key, root_place, type_key, union_key, value_place};
use crate::schema::{Decimal, Node, NodeId, Record, Schema};

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
    /// `null` where it is the only choice, as an `enum` of one case
    Null,
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
    /// A `record` without fields, which WIT does not have, as an `enum` of one case
    Empty,
    /// `enum` as `enum`: the symbols' names in WIT
    Enum(Vec<String>),
    /// A `union` without branches or an `enum` without symbols: an `enum` of one case that no value has
    Never,
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

/// The case of a type that has one value only.
pub const NULL_CASE: &str = "nothing";
/// The case of a record without fields.
pub const EMPTY_CASE: &str = "empty";
/// The case of a type that has no values.
pub const NEVER_CASE: &str = "never";

impl Shapes {
    /// The shapes of a schema that stands alone.
    #[must_use]
    pub fn of(schema: &Schema) -> Self {
        Self::named(schema, "", &Names::of_schema(schema))
    }

    /// The shapes of the schema of `subject`, with the names that were given.
    #[must_use]
    pub fn named(schema: &Schema, subject: &str, names: &Names) -> Self {
        let mut shaper = Shaper { schema, subject, names, shapes: vec![], known: BTreeMap::new() };
        let root = shaper.shape(schema.root(), None, &root_place(subject));
        Self { shapes: shaper.shapes, root }
    }

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

struct Shaper<'a> {
    schema: &'a Schema,
    subject: &'a str,
    names: &'a Names,
    shapes: Vec<Shape>,
    known: BTreeMap<NodeId, ShapeId>,
}

impl Shaper<'_> {
    fn push(&mut self, shape: Shape) -> ShapeId {
        self.shapes.push(shape);
        // A schema's nodes are numbered by `u32`, and each has at most one shape and one reference.
        ShapeId((self.shapes.len() - 1) as u32)
    }

    /// The shape of `id`, which stands at `place` within the record `owner`.
    fn shape(&mut self, id: NodeId, owner: Option<NodeId>, place: &str) -> ShapeId {
        if let (Some(owner), Node::Record(_)) = (owner, self.schema.node(id))
            && contains(self.schema, id, owner)
        {
            return self.push(Shape::Json(id));
        }
        if let Some(known) = self.known.get(&id) {
            return *known;
        }
        let shape = match self.schema.node(id) {
            Node::Null => Shape::Null,
            Node::Boolean => Shape::Bool,
            Node::Int(_) => Shape::S32,
            Node::Long(_) => Shape::S64,
            Node::Float => Shape::F32,
            Node::Double => Shape::F64,
            Node::String { .. } => Shape::String,
            Node::Bytes => Shape::Bytes,
            Node::Fixed(fixed) => Shape::Fixed(fixed.size),
            Node::Decimal(decimal) => Shape::Decimal(decimal.clone()),
            Node::Enum(e) if e.symbols.is_empty() => Shape::Never,
            Node::Enum(e) => {
                let owner = type_key(self.subject, e.name.full());
                Shape::Enum(e.symbols.iter().map(|symbol| self.names.of(&member_key(&owner, symbol))).collect())
            }
            Node::Array(item) => Shape::List(self.shape(*item, owner, &item_place(place))),
            Node::Map(value) => Shape::Map(self.shape(*value, owner, &value_place(place))),
            Node::Union(branches) => self.union(branches, owner, place),
            Node::Record(record) if record.fields.is_empty() => Shape::Empty,
            Node::Record(record) => self.record(id, record),
        };
        let shape = self.push(shape);
        self.known.insert(id, shape);
        shape
    }

    fn record(&mut self, id: NodeId, record: &Record) -> Shape {
        let owner = type_key(self.subject, record.name.full());
        let mut fields = Vec::with_capacity(record.fields.len());
        for field in &record.fields {
            let key = member_key(&owner, &field.name);
            fields.push((self.names.of(&key), self.shape(field.ty, Some(id), &key)));
        }
        Shape::Record(fields)
    }

    fn union(&mut self, branches: &[NodeId], owner: Option<NodeId>, place: &str) -> Shape {
        if let Some(option) = self.schema.as_option(branches) {
            let ty = self.shape(option.ty, owner, place);
            return Shape::Option { null: option.null, some: option.some, ty };
        }
        if branches.is_empty() {
            return Shape::Never;
        }
        let union = union_key(place);
        let mut cases = Vec::with_capacity(branches.len());
        for branch in branches {
            let key = format!("{union}{}", self.schema.describe(*branch));
            let null = *self.schema.node(*branch) == Node::Null;
            let ty = if null { None } else { Some(self.shape(*branch, owner, &key)) };
            cases.push(Case { name: self.names.of(&key), ty });
        }
        Shape::Variant(cases)
    }
}

/// Whether a value of the record `outer` can contain one of the record `inner`. Every reference among types that
/// contain each other is cut, whichever of them is looked at first, so a type has the same WIT wherever it is used.
fn contains(schema: &Schema, outer: NodeId, inner: NodeId) -> bool {
    let (mut seen, mut todo) = (BTreeSet::new(), vec![outer]);
    while let Some(id) = todo.pop() {
        if id == inner {
            return true;
        }
        if !seen.insert(id) {
            continue;
        }
        match schema.node(id) {
            Node::Array(item) | Node::Map(item) => todo.push(*item),
            Node::Union(branches) => todo.extend(branches),
            Node::Record(record) => todo.extend(record.fields.iter().map(|field| field.ty)),
            _ => {}
        }
    }
    false
}
