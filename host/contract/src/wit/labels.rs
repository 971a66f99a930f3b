//! Sets the names of a schema's shapes in WIT.

use std::collections::BTreeSet;

use super::naming::{Names, item_place, member_key, root_place, type_key, union_key, value_place};
use crate::format::Schema;
use crate::format::shape::{Shape, ShapeId, Shapes};

impl Shapes {
    /// The shapes of a schema outside of any component.
    #[must_use]
    pub fn of(schema: &Schema) -> Self {
        let shapes = schema.shapes();
        let names = Names::of_schema(&shapes);
        labelled(shapes, "", &names)
    }

    /// The shapes of the schema of `subject`, with the recorded names.
    #[must_use]
    pub fn named(schema: &Schema, subject: &str, names: &Names) -> Self {
        labelled(schema.shapes(), subject, names)
    }
}

/// Sets the labels of shapes.
pub(super) fn labelled(mut shapes: Shapes, subject: &str, names: &Names) -> Shapes {
    let root = shapes.root();
    Labels { shapes: &mut shapes, subject, names, seen: BTreeSet::new() }.give(root, &root_place(subject));
    shapes
}

struct Labels<'a> {
    shapes: &'a mut Shapes,
    subject: &'a str,
    names: &'a Names,
    seen: BTreeSet<ShapeId>,
}

impl Labels<'_> {
    /// Sets the names of the members of the shape at `place`, and of those within it.
    fn give(&mut self, id: ShapeId, place: &str) {
        if !self.seen.insert(id) {
            return;
        }
        let mut below = vec![];
        let names = self.names;
        match self.shapes.get_mut(id) {
            Shape::List(item) => below.push((*item, item_place(place))),
            Shape::Map { value, .. } => below.push((*value, value_place(place))),
            Shape::Option(some) => below.push((*some, place.to_owned())),
            Shape::Variant(variant) => {
                let union = union_key(place);
                for case in &mut variant.cases {
                    let key = format!("{union}{}", case.name);
                    case.label = names.of(&key);
                    below.extend(case.ty.map(|ty| (ty, key)));
                }
            }
            Shape::Record(record) => {
                let owner = type_key(self.subject, record.name.full());
                for field in &mut record.fields {
                    let key = member_key(&owner, &field.name);
                    field.label = names.of(&key);
                    below.push((field.ty, key));
                }
            }
            Shape::Enum(e) => {
                let owner = type_key(self.subject, e.name.full());
                let all = e.symbols.iter_mut().chain(&mut e.unrecognized);
                all.for_each(|symbol| symbol.label = names.of(&member_key(&owner, &symbol.name)));
            }
            _ => {}
        }
        below.into_iter().for_each(|(id, place)| self.give(id, &place));
    }
}
