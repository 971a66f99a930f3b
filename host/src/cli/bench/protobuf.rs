//! Messages of a Protobuf schema as JSON, generated from a number: the same number gives the same message.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};
use serde_json::{Map, Value, json};

use super::values::{ITEMS_MAX, TEXTS, text};

/// The depth from which lists are empty and optional messages are absent.
const DEPTH_MAX: usize = 3;

/// Generates one message.
struct Maker {
    /// The number of the message.
    number: u64,
    dice: ChaCha8Rng,
}

/// The message with this number. `id` is the path of fields to the message id.
pub(super) fn value(message: &MessageDescriptor, number: u64, id: Option<&[String]>) -> Value {
    Maker { number, dice: ChaCha8Rng::seed_from_u64(number) }.message(message, 0, id)
}

impl Maker {
    fn below(&mut self, bound: u64) -> u64 {
        self.dice.next_u64() % bound.max(1)
    }

    /// A message. `id` holds the remaining fields on the path to the message id, and is empty at the id itself.
    fn message(&mut self, message: &MessageDescriptor, depth: usize, id: Option<&[String]>) -> Value {
        if let Some(known) = self.well_known(message, id) {
            return known;
        }
        let mut fields = Map::new();
        for field in message.fields() {
            let next = id.and_then(<[String]>::split_first);
            let is_named = |name: &str| name == field.name() || name == field.json_name();
            let rest = next.filter(|(name, _)| is_named(name)).map(|(_, rest)| rest);
            // Of a oneof, the first case is taken, or the one on the way to the id.
            let is_other_case = field.containing_oneof().is_some_and(|oneof| {
                !oneof.is_synthetic()
                    && oneof.fields().any(|other| fields.contains_key(other.json_name()))
                    && rest.is_none()
            });
            let is_deep = depth >= DEPTH_MAX && matches!(field.kind(), Kind::Message(_));
            if field.is_required() || rest.is_some() || !(is_other_case || is_deep) {
                if let Some(oneof) = field.containing_oneof().filter(|_| rest.is_some()) {
                    oneof.fields().for_each(|other| drop(fields.shift_remove(other.json_name())));
                }
                fields.insert(field.json_name().to_owned(), self.field(&field, depth, rest));
            }
        }
        fields.into()
    }

    fn field(&mut self, field: &FieldDescriptor, depth: usize, id: Option<&[String]>) -> Value {
        let count = 1 + self.below(ITEMS_MAX);
        if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
            let (key, value) = (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
            let entry = |number: u64, maker: &mut Self| {
                let key = match key {
                    Kind::String => text(number),
                    Kind::Bool => number.is_multiple_of(2).to_string(),
                    _ => number.to_string(),
                };
                (key, maker.one(&value, depth + 1, None))
            };
            return (0..count).map(|number| entry(number, self)).collect::<Map<_, _>>().into();
        }
        if field.is_list() {
            return (0..count).map(|_| self.one(&field.kind(), depth + 1, None)).collect();
        }
        self.one(&field.kind(), depth + 1, id)
    }

    fn one(&mut self, kind: &Kind, depth: usize, id: Option<&[String]>) -> Value {
        let is_id = id.is_some_and(<[String]>::is_empty);
        let number = if is_id { self.number } else { self.below(TEXTS) };
        match kind {
            Kind::Double | Kind::Float => (number as f64 / 4.0).into(),
            Kind::Bool => (number % 2 == 1).into(),
            Kind::String if is_id => format!("id-{number}").into(),
            Kind::String => text(number).into(),
            // Twelve digits are base64 of nine bytes.
            Kind::Bytes => format!("{number:012}").into(),
            Kind::Enum(e) => {
                let place = self.below(e.values().len() as u64);
                let chosen = e.values().nth(usize::try_from(place).unwrap_or_default());
                chosen.map_or(Value::Null, |value| value.name().into())
            }
            Kind::Message(message) => self.message(message, depth, id),
            _ => number.into(),
        }
    }

    /// A message that has a form of its own in JSON.
    fn well_known(&mut self, message: &MessageDescriptor, id: Option<&[String]>) -> Option<Value> {
        let name = message.full_name().strip_prefix("google.protobuf.")?;
        let number = self.below(TEXTS);
        Some(match name {
            "Timestamp" => format!("2026-01-01T00:{:02}:{:02}Z", number / 60, number % 60).into(),
            "Duration" => format!("{number}s").into(),
            "FieldMask" => "a".into(),
            "Struct" => json!({ text(number): number }),
            "Value" => text(number).into(),
            "ListValue" => json!([text(number)]),
            name if name.ends_with("Value") => self.one(&message.fields().next()?.kind(), 0, id),
            _ => return None,
        })
    }
}
