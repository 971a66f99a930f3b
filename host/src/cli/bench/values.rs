//! Values of an Avro schema, generated from a number: the same number gives the same value.
//!
//! There are only a thousand different texts, so that keys repeat. Only the message id differs in every value.

use heddle_contract::format::avro::binary::{
    write_boolean, write_bytes, write_double, write_float, write_index, write_long,
};
use heddle_contract::format::avro::{IntLogical, LongLogical, Node, NodeId, Schema};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};

/// The number of different texts.
pub(super) const TEXTS: u64 = 1_000;
/// The maximum number of items in a list.
pub(super) const ITEMS_MAX: u64 = 3;
/// The depth from which lists are empty and optional values are absent.
const DEPTH_MAX: usize = 6;
/// An arbitrary day, in milliseconds since 1970.
const DAY: i64 = 1_767_225_600_000;
/// The milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// Generates one value.
struct Maker<'a> {
    schema: &'a Schema,
    /// The number of the value.
    number: u64,
    dice: ChaCha8Rng,
}

/// The value with this number, in Avro's binary form. `id` is the path of fields to the message id.
pub(super) fn value(schema: &Schema, number: u64, id: Option<&[String]>) -> Vec<u8> {
    let mut out = vec![];
    Maker { schema, number, dice: ChaCha8Rng::seed_from_u64(number) }.write(schema.root(), 0, id, &mut out);
    out
}

/// The text with this number.
pub(super) fn text(number: u64) -> String {
    format!("text-{:03}", number % TEXTS)
}

impl Maker<'_> {
    fn below(&mut self, bound: u64) -> u64 {
        self.dice.next_u64() % bound
    }

    fn small(&mut self) -> i64 {
        self.below(1_000).cast_signed()
    }

    /// Writes a value of type `ty`. `id` holds the remaining fields on the path to the message id, and is empty at the
    /// id itself.
    fn write(&mut self, ty: NodeId, depth: usize, id: Option<&[String]>, out: &mut Vec<u8>) {
        let schema = self.schema;
        let is_id = id.is_some_and(<[String]>::is_empty);
        match schema.node(ty) {
            Node::Null => {}
            Node::Boolean => write_boolean(self.below(2) == 1, out),
            Node::Int(_) | Node::Long(_) if is_id => write_long(self.number.cast_signed(), out),
            Node::Int(logical) => {
                let value = match logical {
                    None => self.small(),
                    Some(IntLogical::Date) => 20_000 + self.small(),
                    Some(IntLogical::TimeMillis) => self.below(DAY_MS).cast_signed(),
                };
                write_long(value, out);
            }
            Node::Long(logical) => {
                let value = self.long(*logical);
                write_long(value, out);
            }
            Node::Float => write_float(self.small() as f32 / 4.0, out),
            Node::Double => write_double(self.small() as f64 / 4.0, out),
            Node::Bytes => write_bytes(&self.number.to_be_bytes(), out),
            Node::String { uuid: true } => {
                let number = if is_id { self.number } else { self.below(TEXTS) };
                write_bytes(format!("00000000-0000-4000-8000-{number:012x}").as_bytes(), out);
            }
            Node::String { .. } if is_id => write_bytes(format!("id-{}", self.number).as_bytes(), out),
            Node::String { .. } => {
                let number = self.below(TEXTS);
                write_bytes(text(number).as_bytes(), out);
            }
            // One digit, which fits every precision.
            Node::Decimal(decimal) => match &decimal.fixed {
                None => write_bytes(&[self.below(10) as u8], out),
                Some(fixed) => self.fixed(fixed.size, out),
            },
            Node::Fixed(fixed) => self.fixed(fixed.size, out),
            Node::Enum(symbols) => write_index(self.below(symbols.symbols.len().max(1) as u64) as usize, out),
            Node::Array(item) => self.items(depth, out, |maker, _, out| maker.write(*item, depth + 1, None, out)),
            Node::Map(item) => self.items(depth, out, |maker, number, out| {
                write_bytes(text(number).as_bytes(), out);
                maker.write(*item, depth + 1, None, out);
            }),
            Node::Union(branches) => {
                let nothing = branches.iter().position(|branch| matches!(schema.node(*branch), Node::Null));
                let something = branches.iter().position(|branch| !matches!(schema.node(*branch), Node::Null));
                let chosen = match (nothing, something) {
                    (Some(nothing), _) if depth >= DEPTH_MAX => nothing,
                    (_, Some(something)) if id.is_some() => something,
                    _ => self.below(branches.len().max(1) as u64) as usize,
                };
                write_index(chosen, out);
                if let Some(branch) = branches.get(chosen) {
                    self.write(*branch, depth + 1, id, out);
                }
            }
            Node::Record(record) => {
                for field in &record.fields {
                    let rest = id.and_then(<[String]>::split_first).filter(|(name, _)| **name == field.name);
                    self.write(field.ty, depth + 1, rest.map(|(_, rest)| rest), out);
                }
            }
        }
    }

    fn long(&mut self, logical: Option<LongLogical>) -> i64 {
        let ms = |maker: &mut Self| DAY + maker.below(DAY_MS).cast_signed();
        match logical {
            None => self.small(),
            Some(LongLogical::TimeMicros) => self.below(DAY_MS * 1_000).cast_signed(),
            Some(LongLogical::TimestampMillis | LongLogical::LocalTimestampMillis) => ms(self),
            Some(LongLogical::TimestampMicros | LongLogical::LocalTimestampMicros) => ms(self) * 1_000,
            Some(LongLogical::TimestampNanos | LongLogical::LocalTimestampNanos) => ms(self) * 1_000_000,
        }
    }

    /// A small number in `size` bytes.
    fn fixed(&mut self, size: usize, out: &mut Vec<u8>) {
        out.extend(std::iter::repeat_n(0, size.saturating_sub(1)));
        out.extend((size > 0).then(|| self.below(10) as u8));
    }

    fn items(&mut self, depth: usize, out: &mut Vec<u8>, mut item: impl FnMut(&mut Self, u64, &mut Vec<u8>)) {
        let count = if depth >= DEPTH_MAX { 0 } else { 1 + self.below(ITEMS_MAX) };
        if count > 0 {
            write_index(count as usize, out);
            (0..count).for_each(|number| item(self, number, out));
        }
        out.push(0);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use heddle_contract::format::avro::Library;
    use heddle_contract::format::avro::json::{decode, encode};

    use super::*;

    /// The Avro schemas of a folder, with the types that they share.
    fn schemas(folder: &str) -> Vec<Schema> {
        let mut library = Library::default();
        for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "avsc") {
                continue;
            }
            library.add(&path.display().to_string(), &std::fs::read_to_string(&path).unwrap()).unwrap();
        }
        library.files().map(|file| library.schema(file).unwrap()).collect()
    }

    #[test]
    fn values_of_every_construct_are_values_of_their_schema() {
        for schema in ["../guests/contracts", "../examples/quickstart/contracts"].into_iter().flat_map(schemas) {
            for number in 0..200 {
                let made = value(&schema, number, None);
                let read = decode(&schema, &made).unwrap_or_else(|e| panic!("{}: {e}", schema.json()));
                let mut again = vec![];
                encode(&schema, &read, &mut again).unwrap();
                assert_eq!(again.len(), made.len(), "{}", schema.json());
                assert_eq!(value(&schema, number, None), made);
            }
        }
    }

    #[test]
    fn the_message_id_differs_in_every_value() {
        let orders = schemas("../examples/quickstart/contracts").into_iter();
        let orders = orders.filter(|schema| schema.json().contains("\"OrderCreated\"")).collect::<Vec<_>>();
        let schema = orders.first().unwrap();
        let id = |number, path: Option<&[String]>| {
            decode(schema, &value(schema, number, path)).unwrap()["orderId"].as_str().unwrap().to_owned()
        };
        let path = ["orderId".to_owned()];
        let different =
            |path| (0..5_000).map(|number| id(number, path)).collect::<std::collections::BTreeSet<_>>().len();
        assert_eq!(different(Some(&path[..])), 5_000);
        assert!(different(None) <= 1_000);
    }
}
