//! The items of a world that need names, in the order of its schemas.

use std::collections::{BTreeMap, BTreeSet};

use super::definition::definition;
use super::{item_place, member_key, plain_member, type_key, union_key, value_place};
use crate::format::name::Name;
use crate::format::shape::{Shape, ShapeId, Shapes, Variant};
use crate::wit::names::kebab;
use crate::wit::{Payload, World};

/// A type that WIT defines.
#[derive(Debug)]
pub(super) struct Thing {
    /// The subjects whose schemas have it. A type with the same definition in several subjects is one item.
    pub(super) subjects: Vec<String>,
    /// Its key, without the subject.
    pub(super) local: String,
    pub(super) base: Base,
    pub(super) kind: Kind,
    /// The schema's names of its fields, symbols or branches.
    pub(super) members: Vec<String>,
}

/// The origin of a type's name.
#[derive(Debug)]
pub(super) enum Base {
    /// A named type.
    Named(Name),
    /// A union within a type: the index of the type, and the place of the union in it.
    Within { owner: usize, path: Vec<String> },
    /// A union in the whole value of a subject, and its place there.
    Subject(Vec<String>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Record,
    Enum,
    Union,
}

impl Thing {
    /// Its keys, one for each subject.
    pub(super) fn keys(&self) -> impl Iterator<Item = String> {
        self.subjects.iter().map(|subject| type_key(subject, &self.local))
    }

    /// The key of a member, without the subject.
    pub(super) fn member(&self, member: &str) -> String {
        match self.kind {
            Kind::Union => format!("{}{member}", self.local),
            Kind::Record | Kind::Enum => member_key(&self.local, member),
        }
    }
}

/// All types of `world`.
pub(super) fn of_world(world: &World<'_>) -> Vec<Thing> {
    let mut walk = Walk::default();
    let topics = world.emits.iter().map(|topic| [topic.value, topic.key]);
    let stores = world.stores.iter().map(|store| [store.value, store.key]);
    let consumed = world.consumes.iter().map(|topic| [topic.value, topic.key]);
    let tables = world.tables.iter().map(|table| [table.value, table.key]);
    for payload in topics.chain(stores).chain(tables).chain(consumed).flatten() {
        if let Payload::Schema { subject, shapes } = payload {
            walk.schema(subject, shapes);
        }
    }
    walk.things
}

/// All types of a schema outside of any component.
pub(super) fn of_schema(subject: &str, shapes: &Shapes) -> Vec<Thing> {
    let mut walk = Walk::default();
    walk.schema(subject, shapes);
    walk.things
}

/// The current place of the walk.
#[derive(Clone)]
struct Place {
    /// Its key, without the subject.
    local: String,
    /// The named type around it.
    owner: Option<usize>,
    /// The plain names of the steps from there.
    path: Vec<String>,
}

impl Place {
    fn below(&self, local: String, step: String) -> Self {
        let path = self.path.iter().cloned().chain([step]).collect();
        Self { local, owner: self.owner, path }
    }
}

#[derive(Default)]
struct Walk {
    things: Vec<Thing>,
    /// By the key without the subject, and by the definition or the owner, which distinguishes items with the same key.
    known: BTreeMap<(String, String), usize>,
    seen: BTreeSet<(usize, String)>,
}

impl Walk {
    fn schema(&mut self, subject: &str, shapes: &Shapes) {
        self.ty(subject, shapes, shapes.root(), &Place { local: String::new(), owner: None, path: vec![] });
    }

    fn ty(&mut self, subject: &str, shapes: &Shapes, id: ShapeId, place: &Place) {
        match shapes.get(id) {
            Shape::List(item) => {
                self.ty(subject, shapes, *item, &place.below(item_place(&place.local), "item".to_owned()));
            }
            Shape::Map { value, .. } => {
                self.ty(subject, shapes, *value, &place.below(value_place(&place.local), "value".to_owned()));
            }
            Shape::Option(some) => self.ty(subject, shapes, *some, place),
            Shape::Json(json) => json.of.into_iter().for_each(|of| self.ty(subject, shapes, of, place)),
            Shape::Variant(variant) => self.variant(subject, shapes, variant, place),
            Shape::Record(record) => {
                let members = record.fields.iter().map(|field| field.name.clone()).collect();
                let Some(owner) = self.named(subject, shapes, id, &record.name, Kind::Record, members) else { return };
                for field in &record.fields {
                    let local = member_key(record.name.full(), &field.name);
                    let place = Place { local, owner: Some(owner), path: vec![kebab(&field.name)] };
                    self.ty(subject, shapes, field.ty, &place);
                }
            }
            Shape::Enum(e) => {
                let symbols = e.symbols.iter().chain(&e.unrecognized);
                let members = symbols.map(|symbol| symbol.name.clone()).collect();
                self.named(subject, shapes, id, &e.name, Kind::Enum, members);
            }
            _ => {}
        }
    }

    /// Adds a named type. Returns its index among the items. `None` if this subject has it already.
    fn named(
        &mut self,
        subject: &str,
        shapes: &Shapes,
        id: ShapeId,
        name: &Name,
        kind: Kind,
        members: Vec<String>,
    ) -> Option<usize> {
        let key = (name.full().to_owned(), definition(shapes, id));
        let base = Base::Named(name.clone());
        self.add(subject, key, Thing { subjects: vec![], local: name.full().to_owned(), base, kind, members })
    }

    fn variant(&mut self, subject: &str, shapes: &Shapes, variant: &Variant, place: &Place) {
        let members = variant.cases.iter().map(|case| case.name.clone()).collect();
        let local = union_key(&place.local);
        let (base, told_by) = match place.owner {
            Some(owner) => (Base::Within { owner, path: place.path.clone() }, owner.to_string()),
            None => (Base::Subject(place.path.clone()), subject.to_owned()),
        };
        let thing = Thing { subjects: vec![], local: local.clone(), base, kind: Kind::Union, members };
        if self.add(subject, (local.clone(), told_by), thing).is_none() {
            return;
        }
        for case in &variant.cases {
            let place = place.below(format!("{local}{}", case.name), plain_member(&case.name));
            case.ty.into_iter().for_each(|ty| self.ty(subject, shapes, ty, &place));
        }
    }

    fn add(&mut self, subject: &str, key: (String, String), thing: Thing) -> Option<usize> {
        let place = *self.known.entry(key).or_insert_with(|| {
            self.things.push(thing);
            self.things.len() - 1
        });
        if !self.seen.insert((place, subject.to_owned())) {
            return None;
        }
        self.things[place].subjects.push(subject.to_owned());
        Some(place)
    }
}
