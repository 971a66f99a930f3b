//! Decodes a writer's JSON as a component's value of the reader's type.
//!
//! Members come in any order. `seen` records the members of all objects that are being decoded. It is a stack, because
//! objects are nested.

use heddle_contract::format::bounds::{FREE_MEMORY_BYTES_MAX, MEMORY_PER_BYTE_MAX};
use heddle_contract::format::json_schema::DecodeError;
use heddle_contract::format::json_schema::nodes::{Node, Property, Record, Variant};
use heddle_contract::format::json_schema::plan::Plan;
use heddle_contract::format::json_schema::reader::{Kind, Reader};
use heddle_contract::format::json_schema::types::Types;
use heddle_contract::format::shape::{self, Shape, ShapeId, Shapes};
use heddle_contract::wit::{EMPTY_CASE, NULL_CASE};
use wasmtime::component::Val;

use super::name_of;
use crate::guest::codec::place::{FIELD_BYTES, NOTHING, VALUE_BYTES, item, set_enum, set_string, take, taken_list};

/// Decodes one whole value into a place, whose earlier value it replaces. Returns the additional memory that the value
/// takes, in bytes.
pub(in crate::guest::codec) fn decode_into(
    plan: &Plan,
    shapes: &Shapes,
    bytes: &[u8],
    place: &mut Val,
) -> Result<usize, DecodeError> {
    plan.check(bytes)?;
    let memory_left = bytes.len().saturating_mul(MEMORY_PER_BYTE_MAX).saturating_add(FREE_MEMORY_BYTES_MAX);
    let (types, reader) = (plan.types(), Reader::new(bytes)?);
    let mut run = Run { plan, types, shapes, reader, seen: Vec::with_capacity(32), memory_left };
    run.value(shapes.root(), 0, place)?;
    let taken = memory_left - run.memory_left;
    run.reader.finish()?;
    Ok(taken)
}

type Decoded<T = ()> = Result<T, DecodeError>;

/// The decoding of one value.
struct Run<'a> {
    plan: &'a Plan,
    types: &'a Types,
    shapes: &'a Shapes,
    reader: Reader<'a>,
    /// True for each property that has been read, of all objects that are being decoded.
    seen: Vec<bool>,
    memory_left: usize,
}

impl<'a> Run<'a> {
    /// Counts memory of the value.
    fn hold(&mut self, bytes: usize) -> Decoded {
        let at = self.reader.at();
        self.memory_left = self.memory_left.checked_sub(bytes).ok_or(DecodeError::TooMuchMemory(at))?;
        Ok(())
    }

    fn value(&mut self, shape: ShapeId, depth: usize, place: &mut Val) -> Decoded {
        self.reader.deep_enough(depth)?;
        match (self.shapes.get(shape), &self.types.nodes[self.shapes.origin(shape)]) {
            (Shape::Json(_), _) => {
                let text = self.reader.raw(depth)?;
                self.hold(text.len())?;
                set_string(place, text);
            }
            (Shape::Null, _) => {
                self.reader.null()?;
                set_enum(place, NULL_CASE);
            }
            (Shape::Bool, _) => *place = Val::Bool(self.reader.boolean()?),
            (Shape::S64(_), _) => *place = Val::S64(self.reader.integer(self.types.has_plain_integers)?),
            (Shape::F64, _) => *place = Val::Float64(self.reader.float()?),
            (Shape::String, _) => {
                let text = self.reader.string()?;
                self.hold(text.len())?;
                set_string(place, &text);
            }
            (Shape::Enum(target), Node::Enum(e)) => {
                let text = self.reader.string()?;
                let found = e.symbols.iter().position(|symbol| *symbol == text);
                let found = found.ok_or_else(|| DecodeError::misfit(format!("there is no symbol {text:?}")))?;
                set_enum(place, &target.symbols[found].label);
            }
            (Shape::Option(some), Node::Option { is_nullable, .. }) => {
                self.option(*some, *is_nullable, depth, place)?;
            }
            (Shape::List(item), _) => self.list(*item, depth, place)?,
            (Shape::Map { value, .. }, _) => self.map(*value, depth, place)?,
            (Shape::Record(target), Node::Record(record)) => self.record(target, record, None, depth, place)?,
            (Shape::Variant(target), Node::Variant(variant)) => self.variant(target, variant, depth, place)?,
            _ => return Err(DecodeError::misfit("the schema and the component's types disagree")),
        }
        Ok(())
    }

    /// Creates a place behind a pointer.
    fn boxed(&mut self) -> Decoded<Box<Val>> {
        self.hold(VALUE_BYTES)?;
        Ok(Box::new(NOTHING))
    }

    fn option(&mut self, some: ShapeId, is_nullable: bool, depth: usize, place: &mut Val) -> Decoded {
        if is_nullable && self.reader.kind()? == Kind::Null {
            self.reader.null()?;
            *place = Val::Option(None);
            return Ok(());
        }
        let mut value = match take(place) {
            Val::Option(Some(value)) => value,
            _ => self.boxed()?,
        };
        self.value(some, depth, &mut value)?;
        *place = Val::Option(Some(value));
        Ok(())
    }

    /// The place of an item, counted from 1. Counts its memory.
    fn held_item<'i>(&mut self, items: &'i mut Vec<Val>, number: usize) -> Decoded<&'i mut Val> {
        if items.len() < number {
            self.hold(VALUE_BYTES)?;
        }
        Ok(item(items, number))
    }

    fn list(&mut self, of: ShapeId, depth: usize, place: &mut Val) -> Decoded {
        let (mut items, mut count, mut is_first) = (taken_list(place), 0, true);
        self.reader.array()?;
        while self.reader.next_item(&mut is_first)? {
            count += 1;
            let place = self.held_item(&mut items, count)?;
            self.value(of, depth + 1, place).map_err(|error| error.below(&format!("[{}]", count - 1)))?;
        }
        items.truncate(count);
        *place = Val::List(items);
        Ok(())
    }

    fn map(&mut self, of: ShapeId, depth: usize, place: &mut Val) -> Decoded {
        let (mut entries, mut count, mut is_first) = (taken_list(place), 0, true);
        self.reader.object()?;
        while let Some(name) = self.reader.next_member(&mut is_first)? {
            count += 1;
            let entry = self.held_item(&mut entries, count)?;
            let mut pair = match take(entry) {
                Val::Tuple(pair) if pair.len() == 2 => pair,
                _ => {
                    self.hold(2 * VALUE_BYTES)?;
                    vec![NOTHING, NOTHING]
                }
            };
            self.hold(name.len())?;
            set_string(&mut pair[0], &name);
            self.value(of, depth + 1, &mut pair[1]).map_err(|error| error.below(&name))?;
            *entry = Val::Tuple(pair);
        }
        entries.truncate(count);
        self.sort(&mut entries)?;
        *place = Val::List(entries);
        Ok(())
    }

    /// Sorts a map's entries by name. A name must not occur twice.
    fn sort(&self, entries: &mut [Val]) -> Decoded {
        if !entries.is_sorted_by(|a, b| name_of(a) < name_of(b)) {
            entries.sort_by(|a, b| name_of(a).cmp(name_of(b)));
        }
        match entries.windows(2).find(|pair| name_of(&pair[0]) == name_of(&pair[1])) {
            Some(pair) => Err(DecodeError::Twice { name: name_of(&pair[0]).to_owned(), at: self.reader.at() }),
            None => Ok(()),
        }
    }

    /// Decodes an object with known names. `discriminator` is the name of a member that was read already.
    fn record(
        &mut self,
        target: &'a shape::Record,
        record: &'a Record,
        discriminator: Option<&str>,
        depth: usize,
        place: &mut Val,
    ) -> Decoded {
        let mut values = match take(place) {
            Val::Record(values) if values.len() == target.fields.len() => values,
            _ => {
                self.hold(target.fields.iter().map(|field| FIELD_BYTES + field.label.len()).sum())?;
                target.fields.iter().map(|field| (field.label.clone(), NOTHING)).collect()
            }
        };
        let base = self.seen.len();
        self.seen.resize(base + record.properties.len(), false);
        let (mut is_first, mut next) = (true, 0);
        self.reader.object()?;
        while let Some(name) = self.reader.next_member(&mut is_first)? {
            let Some(at) = record.find(&name, next) else {
                if record.is_closed && !self.plan.is_of_other_version() {
                    return Err(DecodeError::misfit(format!("there is no property `{name}`")));
                }
                self.reader.skip(depth + 1)?;
                continue;
            };
            next = at + 1;
            if std::mem::replace(&mut self.seen[base + at], true) {
                return Err(DecodeError::Twice { name: name.into_owned(), at: self.reader.at() });
            }
            let property = &record.properties[at];
            let read = match property.slot {
                Some(slot) => self.value(target.fields[slot].ty, depth + 1, &mut values[slot].1),
                None if discriminator == Some(&property.name) => self.reader.skip(depth + 1),
                None => self.constant(property, depth),
            };
            read.map_err(|error| error.below(&property.name))?;
        }
        for (at, property) in record.properties.iter().enumerate() {
            if !self.seen[base + at] {
                self.absent(target, property, &mut values, depth)?;
            }
        }
        self.seen.truncate(base);
        if values.is_empty() {
            set_enum(place, EMPTY_CASE);
        } else {
            *place = Val::Record(values);
        }
        Ok(())
    }

    /// Reads a member that always has the same value.
    fn constant(&mut self, property: &Property, depth: usize) -> Decoded {
        let found = self.reader.value(depth + 1)?;
        match &property.constant {
            Some(constant) if *constant == found || is_same_number(constant, &found) => Ok(()),
            Some(constant) => Err(DecodeError::misfit(format!("{found} where {constant} belongs"))),
            None => Ok(()),
        }
    }

    /// Sets the value of an absent property.
    fn absent(
        &mut self,
        target: &'a shape::Record,
        property: &'a Property,
        values: &mut [(String, Val)],
        depth: usize,
    ) -> Decoded {
        let default = property.default.as_deref().filter(|_| self.plan.is_of_other_version());
        match (property.slot, default) {
            (Some(slot), _) if !property.is_required => values[slot].1 = Val::Option(None),
            (None, Some(_)) => {}
            (Some(slot), Some(default)) => {
                let outer = std::mem::replace(&mut self.reader, Reader::of_text(default));
                let read = self.value(target.fields[slot].ty, depth + 1, &mut values[slot].1);
                self.reader = outer;
                read.map_err(|error| error.below(&property.name))?;
            }
            (_, None) => return Err(DecodeError::misfit("it is missing").below(&property.name)),
        }
        Ok(())
    }

    fn variant(&mut self, target: &'a shape::Variant, variant: &'a Variant, depth: usize, place: &mut Val) -> Decoded {
        let discriminator = variant.discriminator.as_str();
        let case = self.reader.clone().find(discriminator)?;
        let case = case.ok_or_else(|| DecodeError::misfit("it is missing, or is not a text").below(discriminator))?;
        let found = variant.cases.iter().position(|(name, _)| *name == case);
        let found =
            found.ok_or_else(|| DecodeError::misfit(format!("there is no type {case:?}")).below(discriminator))?;
        let (label, ty) = (&target.cases[found].label, target.cases[found].ty);
        let (name, before) = match take(place) {
            Val::Variant(name, before) if name == *label => (name, before),
            // The payload of another case has another type: a record in its place would keep the other record's field
            // names.
            _ => (label.clone(), None),
        };
        let mut value = match before {
            Some(value) => value,
            None => self.boxed()?,
        };
        match (ty.map(|ty| self.shapes.get(ty)), &self.types.nodes[variant.cases[found].1]) {
            (Some(Shape::Record(target)), Node::Record(record)) => {
                self.record(target, record, Some(discriminator), depth, &mut value)?;
            }
            (Some(_), _) => self.value(ty.unwrap_or(self.shapes.root()), depth, &mut value)?,
            (None, _) => return Err(DecodeError::misfit("the schema and the component's types disagree")),
        }
        *place = Val::Variant(name, Some(value));
        Ok(())
    }
}

/// Returns true if both are the same number in different notations.
fn is_same_number(a: &serde_json::Value, b: &serde_json::Value) -> bool {
    let is_whole = |number: f64| number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0;
    match (a.as_i64(), b.as_f64()) {
        (Some(a), Some(b)) if b.is_finite() && is_whole(b) => a as f64 == b,
        _ => false,
    }
}
