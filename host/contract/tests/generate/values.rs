//! Generates values of a schema in Avro's binary encoding, from a seed. Values that are difficult for JSON are
//! frequent.

use std::collections::BTreeSet;

use heddle_contract::format::avro::binary::{
    write_boolean, write_bytes, write_double, write_float, write_index, write_long,
};
use heddle_contract::format::avro::{Node, NodeId, Schema};

use super::generate::Dice;

/// The depth from which lists are empty and optional values are absent.
const DEPTH_MAX: usize = 6;
/// They include names of branches, names of the fields of the other generator, and the marker of bytes.
const TEXTS: [&str; 14] =
    ["", "map", "null", "array", "string", "bytes", "x.A", "a", "$bytes", "$value", "NaN", "\u{0}\u{202e}", "ä", "1e3"];
const DOUBLES: [f64; 12] = [
    0.0,
    -0.0,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::MAX,
    f64::MIN_POSITIVE,
    5e-324,
    1.0,
    0.1,
    9_007_199_254_740_993.0,
    1e22,
];
const LONGS: [i64; 6] = [0, -1, i64::MAX, i64::MIN, 9_007_199_254_740_993, 1_700_000_000_000];

/// Writes a value of the whole schema.
pub(crate) fn value(dice: &mut Dice, schema: &Schema) -> Vec<u8> {
    let mut out = vec![];
    write(dice, schema, schema.root(), 0, &mut out);
    out
}

fn write(dice: &mut Dice, schema: &Schema, ty: NodeId, depth: usize, out: &mut Vec<u8>) {
    match schema.node(ty) {
        Node::Null => {}
        Node::Boolean => write_boolean(dice.one_in(2), out),
        Node::Int(_) => write_long([0, -1, i64::from(i32::MAX), i64::from(i32::MIN)][dice.below(4)], out),
        Node::Long(_) => write_long(LONGS[dice.below(LONGS.len())], out),
        Node::Float => write_float(float(dice), out),
        Node::Double => write_double(double(dice), out),
        Node::Bytes => write_bytes(&bytes(dice), out),
        Node::String { .. } => write_bytes(text(dice).as_bytes(), out),
        Node::Decimal(decimal) => match &decimal.fixed {
            None => write_bytes(&[dice.below(10) as u8], out),
            Some(fixed) => out.extend(std::iter::repeat_n(0, fixed.size)),
        },
        Node::Fixed(fixed) => out.extend((0..fixed.size).map(|_| dice.number() as u8)),
        Node::Enum(e) => write_index(dice.below(e.symbols.len()), out),
        Node::Array(item) => {
            let count = if depth > DEPTH_MAX { 0 } else { dice.below(3) };
            if count > 0 {
                write_index(count, out);
                (0..count).for_each(|_| write(dice, schema, *item, depth + 1, out));
            }
            out.push(0);
        }
        Node::Map(item) => {
            let count = if depth > DEPTH_MAX { 0 } else { dice.below(3) };
            let keys = (0..count).map(|_| text(dice)).collect::<BTreeSet<_>>();
            if !keys.is_empty() {
                write_index(keys.len(), out);
            }
            for key in keys {
                write_bytes(key.as_bytes(), out);
                write(dice, schema, *item, depth + 1, out);
            }
            out.push(0);
        }
        Node::Union(branches) => {
            let null = branches.iter().position(|branch| matches!(schema.node(*branch), Node::Null));
            let chosen = match null {
                Some(null) if depth > DEPTH_MAX => null,
                _ => dice.below(branches.len()),
            };
            write_index(chosen, out);
            write(dice, schema, branches[chosen], depth + 1, out);
        }
        Node::Record(record) => record.fields.iter().for_each(|field| write(dice, schema, field.ty, depth + 1, out)),
    }
}

fn double(dice: &mut Dice) -> f64 {
    let random = f64::from_bits(dice.number());
    if dice.one_in(2) || random.is_nan() { DOUBLES[dice.below(DOUBLES.len())] } else { random }
}

fn float(dice: &mut Dice) -> f32 {
    let random = f32::from_bits(dice.number() as u32);
    if dice.one_in(2) || random.is_nan() { DOUBLES[dice.below(DOUBLES.len())] as f32 } else { random }
}

fn bytes(dice: &mut Dice) -> Vec<u8> {
    (0..dice.below(4)).map(|_| dice.number() as u8).collect()
}

pub(crate) fn text(dice: &mut Dice) -> String {
    TEXTS[dice.below(TEXTS.len())].to_owned()
}
