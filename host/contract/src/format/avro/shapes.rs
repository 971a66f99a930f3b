//! The shapes of an Avro schema. Each shape belongs to a type, by the number that the schema gives it.

use std::collections::BTreeMap;

use super::graph::Circles;
use super::{IntLogical, LongLogical, Node, NodeId, Schema};
use crate::format::shape::{Alias, Builder, Case, Enum, Field, Json, Record, Shape, ShapeId, Shapes, Symbol, Variant};

pub(crate) fn shapes(schema: &Schema) -> Shapes {
    let circles = Circles::find(schema);
    let mut shaper = Shaper { schema, circles, shapes: Builder::default(), known: BTreeMap::new() };
    let root = shaper.shape(schema.root(), None);
    shaper.shapes.finish(root)
}

struct Shaper<'a> {
    schema: &'a Schema,
    circles: Circles,
    shapes: Builder,
    known: BTreeMap<NodeId, ShapeId>,
}

impl Shaper<'_> {
    /// The shape of `id`, which stands within the record `owner`. Every reference among types that contain each other
    /// is cut, whichever of them comes first, so a type has the same WIT wherever it is used.
    fn shape(&mut self, id: NodeId, owner: Option<NodeId>) -> ShapeId {
        if let (Some(owner), Node::Record(record)) = (owner, self.schema.node(id))
            && self.circles.have_both(id, owner)
        {
            let doc = format!("Avro JSON of `{}`.", record.name);
            let of = Some(self.plain(id, Some(owner)));
            return self.shapes.push(Shape::Json(Json { doc, of }), id.index());
        }
        self.plain(id, owner)
    }

    /// The shape of `id`, even if it contains the place that refers to it.
    fn plain(&mut self, id: NodeId, owner: Option<NodeId>) -> ShapeId {
        if let Some(known) = self.known.get(&id) {
            return *known;
        }
        let place = self.shapes.reserve(id.index());
        self.known.insert(id, place);
        let shape = self.type_of(id, owner);
        self.shapes.fill(place, shape);
        place
    }

    fn type_of(&mut self, id: NodeId, owner: Option<NodeId>) -> Shape {
        match self.schema.node(id) {
            Node::Null => Shape::Null,
            Node::Boolean => Shape::Bool,
            Node::Int(logical) => Shape::S32(logical.map(int_alias)),
            Node::Long(logical) => Shape::S64(logical.map(long_alias)),
            Node::Float => Shape::F32,
            Node::Double => Shape::F64,
            Node::String { .. } => Shape::String,
            Node::Bytes => Shape::Bytes,
            Node::Fixed(fixed) => Shape::Fixed(fixed.size),
            Node::Decimal(decimal) => Shape::Decimal { precision: decimal.precision, scale: decimal.scale },
            Node::Enum(e) => {
                let symbol = |name: &String| Symbol { name: name.clone(), label: String::new() };
                let symbols = e.symbols.iter().map(symbol).collect();
                Shape::Enum(Enum { name: e.name.clone(), doc: e.doc.clone(), symbols, unrecognized: None })
            }
            Node::Array(item) => Shape::List(self.shape(*item, owner)),
            Node::Map(value) => {
                let key = self.shapes.push(Shape::String, id.index());
                Shape::Map { key, value: self.shape(*value, owner) }
            }
            Node::Union(branches) => self.union(branches, owner),
            Node::Record(record) => {
                let field = |field: &super::Field| Field {
                    name: field.name.clone(),
                    label: String::new(),
                    aliases: field.aliases.clone(),
                    doc: field.doc.clone(),
                    ty: self.shape(field.ty, Some(id)),
                };
                let fields = record.fields.iter().map(field).collect();
                Shape::Record(Record { name: record.name.clone(), doc: record.doc.clone(), fields })
            }
        }
    }

    fn union(&mut self, branches: &[NodeId], owner: Option<NodeId>) -> Shape {
        if let Some(option) = self.schema.as_option(branches) {
            return Shape::Option(self.shape(option.ty, owner));
        }
        let case = |branch: &NodeId| {
            let null = *self.schema.node(*branch) == Node::Null;
            let ty = if null { None } else { Some(self.shape(*branch, owner)) };
            Case { name: self.schema.describe(*branch), label: String::new(), ty }
        };
        let cases = branches.iter().map(case).collect::<Vec<_>>();
        Shape::Variant(Variant { doc: format!("A union of {} types.", cases.len()), cases })
    }
}

fn int_alias(logical: IntLogical) -> Alias {
    let (name, doc) = match logical {
        IntLogical::Date => ("date", "Days since 1970-01-01."),
        IntLogical::TimeMillis => ("time-millis", "Milliseconds since midnight."),
    };
    Alias { name, doc }
}

fn long_alias(logical: LongLogical) -> Alias {
    let (name, doc) = match logical {
        LongLogical::TimeMicros => ("time-micros", "Microseconds since midnight."),
        LongLogical::TimestampMillis => ("timestamp-millis", "Milliseconds since 1970-01-01T00:00:00Z."),
        LongLogical::TimestampMicros => ("timestamp-micros", "Microseconds since 1970-01-01T00:00:00Z."),
        LongLogical::TimestampNanos => ("timestamp-nanos", "Nanoseconds since 1970-01-01T00:00:00Z."),
        LongLogical::LocalTimestampMillis => {
            ("local-timestamp-millis", "Milliseconds since 1970-01-01T00:00:00, local time.")
        }
        LongLogical::LocalTimestampMicros => {
            ("local-timestamp-micros", "Microseconds since 1970-01-01T00:00:00, local time.")
        }
        LongLogical::LocalTimestampNanos => {
            ("local-timestamp-nanos", "Nanoseconds since 1970-01-01T00:00:00, local time.")
        }
    };
    Alias { name, doc }
}
