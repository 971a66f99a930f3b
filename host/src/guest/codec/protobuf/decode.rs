//! Decodes a writer's message as a component's value of the reader's type.
//!
//! The fields of a message come in any order, and a field with its zero value may be absent. `seen` counts the fields
//! slot by slot, for all messages that are being decoded. It is a stack, because messages are nested.

mod texts;

use heddle_contract::format::bounds::{FREE_MEMORY_BYTES_MAX, MEMORY_PER_BYTE_MAX};
use heddle_contract::format::protobuf::plan::Plan;
use heddle_contract::format::protobuf::types::{Absent, Enum, Field, Kind, Label, Message, Scalar, Types};
use heddle_contract::format::protobuf::wire::{DEPTH_MAX, Reader, Tag, Wire};
use heddle_contract::format::protobuf::{DecodeError, json};
use heddle_contract::format::shape::{Shape, Shapes, Variant};
use heddle_contract::wit::EMPTY_CASE;
use wasmtime::component::Val;

use super::scalar::{expect, read_scalar, set_variant, zero_scalar};
use super::{compare_keys, key_of};
use crate::guest::codec::place::{FIELD_BYTES, NOTHING, VALUE_BYTES, item, set_enum, take, taken_list};

/// Decodes one whole value into a place, whose earlier value it replaces. Returns the additional memory that the value
/// takes, in bytes.
pub(in crate::guest::codec) fn decode_into(
    plan: &Plan,
    shapes: &Shapes,
    bytes: &[u8],
    place: &mut Val,
) -> Result<usize, DecodeError> {
    let (case, reader) = plan.begin(bytes)?;
    let memory_left = bytes.len().saturating_mul(MEMORY_PER_BYTE_MAX).saturating_add(FREE_MEMORY_BYTES_MAX);
    let mut run = Run { plan, types: plan.types(), shapes, seen: Vec::with_capacity(32), memory_left, depth: 0 };
    match run.shapes.get(run.shapes.root()) {
        Shape::Variant(variant) => run.branch(variant, case, reader, place)?,
        _ => run.message(run.types.roots[case], reader, place, false)?,
    }
    Ok(memory_left - run.memory_left)
}

type Decoded<T> = Result<T, DecodeError>;

/// The decoding of one value.
struct Run<'a> {
    plan: &'a Plan,
    types: &'a Types,
    shapes: &'a Shapes,
    /// The number of occurrences that filled each slot of the messages being decoded. For a `oneof`, the number of its
    /// case, counted from 1.
    seen: Vec<u32>,
    memory_left: usize,
    depth: usize,
}

impl<'a> Run<'a> {
    /// Decodes a value that is of one of several messages.
    fn branch(&mut self, variant: &Variant, case: usize, reader: Reader<'_>, place: &mut Val) -> Decoded<()> {
        let label = &variant.cases[case].label;
        let (name, payload) = match take(place) {
            Val::Variant(name, payload) if name == *label => (name, payload),
            // The memory of another message's value has other names in it.
            _ => (label.clone(), None),
        };
        let mut payload = match payload {
            Some(payload) => payload,
            None => self.boxed(&reader)?,
        };
        self.message(self.types.roots[case], reader, &mut payload, false)?;
        *place = Val::Variant(name, Some(payload));
        Ok(())
    }

    /// Decodes a message. With `merge`, `place` holds what came of it before.
    fn message(&mut self, id: usize, mut reader: Reader<'_>, place: &mut Val, merge: bool) -> Decoded<()> {
        let message = &self.types.messages[id];
        if self.depth > DEPTH_MAX {
            return Err(DecodeError::TooDeep(reader.at()));
        }
        if message.slots.is_empty() {
            while let Some(tag) = reader.tag()? {
                reader.skip(tag)?;
            }
            set_enum(place, EMPTY_CASE);
            return Ok(());
        }
        let mut values = match take(place) {
            Val::Record(values) if values.len() == message.slots.len() => values,
            _ => self.empty_record(message, &reader)?,
        };
        let base = self.seen.len();
        self.seen.resize(base + message.slots.len(), 0);
        if merge {
            for (place, (_, value)) in values.iter().enumerate() {
                self.seen[base + place] = self.count(message, place, value);
            }
        }
        self.depth += 1;
        let mut texts = vec![];
        let mut next = 0;
        while let Some(tag) = reader.tag()? {
            let Some(at) = message.find(tag.number, next) else {
                reader.skip(tag)?;
                continue;
            };
            let field = &message.fields[at];
            next = if matches!(field.label, Label::Repeated { .. } | Label::Map(_)) { at } else { at + 1 };
            if self.plan.is_broken(&message.name, field.number) {
                let what = format!("the writer's field `{}` is of another type", field.name);
                return Err(DecodeError::NoCounterpart(what));
            }
            let (place, seen) = (&mut values[field.slot].1, base + field.slot);
            self.field(field, message, tag, &mut reader, place, seen, &mut texts)?;
        }
        self.depth -= 1;
        self.texts(message, texts, &mut values, base)?;
        for (at, slot) in message.slots.iter().enumerate() {
            self.fill(&slot.absent, message, at, &mut values[at].1, base)?;
        }
        self.seen.truncate(base);
        *place = Val::Record(values);
        Ok(())
    }

    fn empty_record(&mut self, message: &Message, reader: &Reader<'_>) -> Decoded<Vec<(String, Val)>> {
        let Shape::Record(record) = self.shapes.get(message.shape) else { return Err(disagree()) };
        self.hold(record.fields.iter().map(|field| FIELD_BYTES + field.label.len()).sum(), reader)?;
        Ok(record.fields.iter().map(|field| (field.label.clone(), NOTHING)).collect())
    }

    /// Counts memory of the value.
    fn hold(&mut self, bytes: usize, reader: &Reader<'_>) -> Decoded<()> {
        self.memory_left =
            self.memory_left.checked_sub(bytes).ok_or_else(|| DecodeError::TooMuchMemory(reader.at()))?;
        Ok(())
    }

    /// The place of an item, counted from 1. Counts its memory.
    fn item<'i>(&mut self, items: &'i mut Vec<Val>, number: u32, reader: &Reader<'_>) -> Decoded<&'i mut Val> {
        let number = number as usize;
        if items.len() < number {
            self.hold(VALUE_BYTES, reader)?;
        }
        Ok(item(items, number))
    }

    /// Creates a place behind a pointer.
    fn boxed(&mut self, reader: &Reader<'_>) -> Decoded<Box<Val>> {
        self.hold(VALUE_BYTES, reader)?;
        Ok(Box::new(NOTHING))
    }

    /// Reads a number, a text or bytes. Counts the memory that it points to.
    fn scalar(
        &mut self,
        kind: Scalar,
        field: &Field,
        tag: Tag,
        reader: &mut Reader<'_>,
        place: &mut Val,
    ) -> Decoded<()> {
        let before = reader.at();
        read_scalar(kind, field, tag, reader, place)?;
        let bytes = reader.at() - before;
        match kind {
            Scalar::String => self.hold(bytes, reader),
            Scalar::Bytes => self.hold(bytes.saturating_mul(VALUE_BYTES), reader),
            _ => Ok(()),
        }
    }

    /// The variant of a `oneof`.
    fn variant(&self, message: &Message, slot: usize) -> Option<&'a Variant> {
        match self.shapes.get(message.slots[slot].variant?) {
            Shape::Variant(variant) => Some(variant),
            _ => None,
        }
    }

    /// The number of occurrences that filled a slot with the value `value`.
    fn count(&self, message: &Message, slot: usize, value: &Val) -> u32 {
        match (value, self.variant(message, slot)) {
            (Val::List(items), _) if message.slots[slot].absent == Absent::Empty => items.len() as u32,
            (Val::Option(None), _) => 0,
            (Val::Option(Some(value)), Some(variant)) => match &**value {
                Val::Variant(name, _) => {
                    variant.cases.iter().position(|case| case.label == *name).map_or(0, |place| place as u32 + 1)
                }
                _ => 0,
            },
            _ => 1,
        }
    }

    /// Decodes one occurrence of a field.
    #[allow(clippy::too_many_arguments)] // They are the state of the message under way, which is borrowed in parts.
    fn field<'b>(
        &mut self,
        field: &'a Field,
        message: &'a Message,
        tag: Tag,
        reader: &mut Reader<'b>,
        place: &mut Val,
        seen: usize,
        texts: &mut Vec<(&'a Field, &'b [u8])>,
    ) -> Decoded<()> {
        let is_single = !matches!(field.label, Label::Repeated { .. } | Label::Map(_));
        if let (true, Kind::Text(_)) = (is_single, field.kind) {
            // Several occurrences are one message, whose bytes are those of all occurrences.
            let bytes = delimited(field, tag, reader)?.rest();
            if field.case.is_some() {
                texts.retain(|(other, _)| other.number == field.number || other.slot != field.slot);
                self.seen[seen] = 0;
            }
            texts.push((field, bytes));
            return Ok(());
        }
        match (field.label, field.case) {
            (Label::Repeated { .. }, _) => {
                let mut items = taken_list(place);
                self.repeated(field, tag, reader, &mut items, seen)?;
                *place = Val::List(items);
            }
            (Label::Map(key), _) => {
                let mut entries = taken_list(place);
                self.entry(field, key, delimited(field, tag, reader)?, &mut entries, seen)?;
                *place = Val::List(entries);
            }
            (_, Some(case)) => {
                texts.retain(|(other, _)| other.slot != field.slot);
                self.case(field, message, case, tag, reader, place, seen)?;
            }
            (Label::Explicit, None) => {
                let merge = self.seen[seen] > 0;
                let mut value = match take(place) {
                    Val::Option(Some(value)) => value,
                    _ => self.boxed(reader)?,
                };
                let known = self.single(field, tag, reader, &mut value, merge)?;
                self.seen[seen] |= u32::from(known);
                *place = Val::Option((known || merge).then_some(value));
            }
            (Label::Implicit | Label::Required, None) => {
                let merge = self.seen[seen] > 0;
                self.seen[seen] |= u32::from(self.single(field, tag, reader, place, merge)?);
            }
        }
        Ok(())
    }

    /// Decodes a field of a `oneof`. The last one counts.
    #[allow(clippy::too_many_arguments)] // As above.
    fn case(
        &mut self,
        field: &Field,
        message: &Message,
        case: usize,
        tag: Tag,
        reader: &mut Reader<'_>,
        place: &mut Val,
        seen: usize,
    ) -> Decoded<()> {
        let Some(variant) = self.variant(message, field.slot) else { return Err(disagree()) };
        let label = &variant.cases[case].label;
        let merge = self.seen[seen] == case as u32 + 1;
        let (mut name, payload) = match take(place) {
            Val::Option(Some(value)) => match *value {
                Val::Variant(name, payload) => (name, payload),
                _ => (String::new(), None),
            },
            _ => (String::new(), None),
        };
        let mut payload = match payload {
            // The memory of another case's value has other names in it.
            Some(payload) if name == *label => payload,
            _ => self.boxed(reader)?,
        };
        name.clone_from(label);
        if !self.single(field, tag, reader, &mut payload, merge)? {
            // A closed enum has no such number, so the field counts as absent.
            return Ok(());
        }
        self.seen[seen] = case as u32 + 1;
        *place = Val::Option(Some(Box::new(Val::Variant(name, Some(payload)))));
        Ok(())
    }

    fn repeated(
        &mut self,
        field: &Field,
        tag: Tag,
        reader: &mut Reader<'_>,
        items: &mut Vec<Val>,
        seen: usize,
    ) -> Decoded<()> {
        let packable = match field.kind {
            Kind::Scalar(scalar) => scalar.is_packable(),
            Kind::Enum(_) => true,
            Kind::Message(_) | Kind::Text(_) | Kind::Wrapper(_) => false,
        };
        if !packable || tag.wire != Wire::Delimited {
            return self.push(field, tag, reader, items, seen);
        }
        let mut packed = reader.within()?;
        let tag = Tag { number: tag.number, wire: field.kind.wire() };
        while !packed.is_empty() {
            self.push(field, tag, &mut packed, items, seen)?;
        }
        Ok(())
    }

    fn push(
        &mut self,
        field: &Field,
        tag: Tag,
        reader: &mut Reader<'_>,
        items: &mut Vec<Val>,
        seen: usize,
    ) -> Decoded<()> {
        let number = self.seen[seen] + 1;
        let place = self.item(items, number, reader)?;
        if self.single(field, tag, reader, place, false)? {
            self.seen[seen] = number;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        field: &Field,
        key: Scalar,
        mut reader: Reader<'_>,
        entries: &mut Vec<Val>,
        seen: usize,
    ) -> Decoded<()> {
        let number = self.seen[seen] + 1;
        let entry = self.item(entries, number, &reader)?;
        let mut pair = match take(entry) {
            Val::Tuple(pair) if pair.len() == 2 => pair,
            _ => {
                self.hold(2 * VALUE_BYTES, &reader)?;
                vec![NOTHING, NOTHING]
            }
        };
        zero_scalar(key, &mut pair[0]);
        let (mut has_value, mut is_known) = (false, true);
        while let Some(tag) = reader.tag()? {
            match tag.number {
                1 => self.scalar(key, field, tag, &mut reader, &mut pair[0])?,
                2 => {
                    is_known = self.single(field, tag, &mut reader, &mut pair[1], has_value)?;
                    has_value |= is_known;
                }
                _ => reader.skip(tag)?,
            }
        }
        if !has_value && is_known {
            self.zero(field, &mut pair[1])?;
        }
        *entry = Val::Tuple(pair);
        if is_known {
            self.seen[seen] = number;
        }
        Ok(())
    }

    /// Decodes one value. Returns false for a number that a closed enum does not have. Such a field counts as absent.
    fn single(
        &mut self,
        field: &Field,
        tag: Tag,
        reader: &mut Reader<'_>,
        place: &mut Val,
        merge: bool,
    ) -> Decoded<bool> {
        match field.kind {
            Kind::Scalar(kind) => self.scalar(kind, field, tag, reader, place)?,
            Kind::Enum(id) => {
                expect(Wire::Varint, field, tag, reader)?;
                // Longer numbers are truncated, as everywhere in Protobuf.
                return Ok(self.symbol(&self.types.enums[id], reader.varint()? as i32, place));
            }
            Kind::Message(id) => {
                let inner = delimited(field, tag, reader)?;
                self.message(id, inner, place, merge)?;
            }
            Kind::Text(id) => {
                let bytes = delimited(field, tag, reader)?.rest();
                let text = json::decode(&self.types.texts[id], bytes)?.to_string();
                self.hold(text.len(), reader)?;
                *place = Val::String(text);
            }
            Kind::Wrapper(kind) => {
                let mut inner = delimited(field, tag, reader)?;
                if !merge {
                    zero_scalar(kind, place);
                }
                while let Some(tag) = inner.tag()? {
                    match tag.number {
                        1 => self.scalar(kind, field, tag, &mut inner, place)?,
                        _ => inner.skip(tag)?,
                    }
                }
            }
        }
        Ok(true)
    }

    fn symbol(&self, e: &Enum, number: i32, place: &mut Val) -> bool {
        let Shape::Enum(shape) = self.shapes.get(e.shape) else { return false };
        let label = e.places.get(&number).map(|place| &shape.symbols[*place].label);
        match (label, &shape.unrecognized) {
            (Some(label), None) => set_enum(place, label),
            (Some(label), Some(_)) => set_variant(place, label, None),
            (None, Some(unrecognized)) => set_variant(place, &unrecognized.label, Some(number)),
            (None, None) => return false,
        }
        true
    }

    /// Sets a slot to its value without occurrences, and truncates a list to its length.
    fn fill(&self, absent: &Absent, message: &Message, slot: usize, value: &mut Val, base: usize) -> Decoded<()> {
        let seen = self.seen[base + slot] as usize;
        match absent {
            Absent::Empty => {
                let mut items = taken_list(value);
                items.truncate(seen);
                if message.fields.iter().any(|field| field.slot == slot && matches!(field.label, Label::Map(_))) {
                    sort_entries(&mut items);
                }
                *value = Val::List(items);
            }
            _ if seen > 0 => {}
            Absent::Nothing => *value = Val::Option(None),
            Absent::Zero => {
                if let Some(field) = message.fields.iter().find(|field| field.slot == slot) {
                    match field.kind {
                        Kind::Scalar(scalar) | Kind::Wrapper(scalar) => zero_scalar(scalar, value),
                        Kind::Enum(id) => drop(self.symbol(&self.types.enums[id], self.types.enums[id].default, value)),
                        // Messages are options.
                        Kind::Message(_) | Kind::Text(_) => *value = Val::Option(None),
                    }
                }
            }
            Absent::Required(name) => return Err(DecodeError::Missing(name.clone())),
        }
        Ok(())
    }

    /// Sets the value of a map's entry that has none.
    fn zero(&mut self, field: &Field, place: &mut Val) -> Decoded<()> {
        match field.kind {
            Kind::Scalar(scalar) | Kind::Wrapper(scalar) => zero_scalar(scalar, place),
            Kind::Enum(id) => {
                let e = &self.types.enums[id];
                self.symbol(e, e.default, place);
            }
            Kind::Message(id) => self.message(id, Reader::new(&[]), place, false)?,
            Kind::Text(id) => *place = Val::String(json::decode(&self.types.texts[id], &[])?.to_string()),
        }
        Ok(())
    }
}

/// Sorts a map's entries by key. Of several entries with one key, the last one counts.
fn sort_entries(entries: &mut Vec<Val>) {
    if entries.windows(2).all(|pair| compare_keys(key_of(&pair[0]), key_of(&pair[1])).is_lt()) {
        return;
    }
    entries.sort_by(|a, b| compare_keys(key_of(a), key_of(b)));
    entries.reverse();
    entries.dedup_by(|later, earlier| compare_keys(key_of(later), key_of(earlier)).is_eq());
    entries.reverse();
}

fn disagree() -> DecodeError {
    DecodeError::NoCounterpart("the plan and the component's types disagree".to_owned())
}

fn delimited<'b>(field: &Field, tag: Tag, reader: &mut Reader<'b>) -> Decoded<Reader<'b>> {
    expect(Wire::Delimited, field, tag, reader)?;
    reader.within()
}
