//! Values of a schema, generated from a number.

use heddle_contract::format::avro::binary::{
    write_boolean, write_bytes, write_double, write_float, write_index, write_long,
};
use heddle_contract::format::avro::{Node, NodeId, Schema};
use heddle_fixtures::hostile::Dice;

/// At this depth lists are empty and optional values are absent.
const DEPTH_MAX: usize = 8;

/// A value in Avro's binary form, or `None` if the schema has no small value.
pub(crate) fn value(schema: &Schema, seed: u64) -> Option<Vec<u8>> {
    let mut out = vec![];
    write(schema, schema.root(), &mut Dice::new(seed), 0, &mut out)?;
    Some(out)
}

fn write(schema: &Schema, ty: NodeId, dice: &mut Dice, depth: usize, out: &mut Vec<u8>) -> Option<()> {
    if depth > 4 * DEPTH_MAX {
        return None;
    }
    match schema.node(ty) {
        Node::Null => {}
        Node::Boolean => write_boolean(dice.below(2) == 1, out),
        Node::Int(_) => write_long(i64::from(dice.of(&[0, 1, -1, i32::MAX, i32::MIN])), out),
        Node::Long(_) => write_long(dice.of(&[0, 1, -1, i64::MAX, i64::MIN, 9_007_199_254_740_993]), out),
        Node::Float => write_float(dice.of(&[0.0, -1.5, f32::MAX, f32::MIN_POSITIVE]), out),
        Node::Double => write_double(dice.of(&[0.0, -1.5, f64::MAX, 0.1]), out),
        Node::Bytes => write_bytes(dice.of(&[b"".as_slice(), b"\0\xff", b"bytes"]), out),
        Node::String { .. } => write_bytes(dice.of(&["", "text", "größe \u{0} 🧵", "\"'\\"]).as_bytes(), out),
        Node::Decimal(kind) => match &kind.fixed {
            None => write_bytes(&[dice.of(&[0, 5, 0xfe])], out),
            Some(fixed) => out.extend(std::iter::repeat_n(0, fixed.size.saturating_sub(1)).chain([5]).take(fixed.size)),
        },
        Node::Fixed(fixed) => out.extend((0..fixed.size).map(|place| place as u8)),
        Node::Enum(e) if e.symbols.is_empty() => return None,
        Node::Enum(e) => write_index(dice.below(e.symbols.len()), out),
        Node::Array(item) => blocks(dice, depth, out, |_, dice, out| write(schema, *item, dice, depth + 1, out)),
        Node::Map(value) => blocks(dice, depth, out, |number, dice, out| {
            write_bytes(format!("key {number}").as_bytes(), out);
            write(schema, *value, dice, depth + 1, out)
        }),
        Node::Union(branches) => {
            let null = branches.iter().position(|branch| *schema.node(*branch) == Node::Null);
            let first = match null {
                Some(null) if depth >= DEPTH_MAX => null,
                _ => dice.below(branches.len()),
            };
            // Some branches may have no values.
            let (chosen, bytes) = (0..branches.len()).find_map(|step| {
                let (chosen, mut bytes) = ((first + step) % branches.len(), vec![]);
                write(schema, branches[chosen], dice, depth + 1, &mut bytes).map(|()| (chosen, bytes))
            })?;
            write_index(chosen, out);
            out.extend(bytes);
        }
        Node::Record(record) => {
            record.fields.iter().try_for_each(|field| write(schema, field.ty, dice, depth + 1, out))?;
        }
    }
    Some(())
}

/// A list, empty if its items have no values.
fn blocks(
    dice: &mut Dice,
    depth: usize,
    out: &mut Vec<u8>,
    mut item: impl FnMut(usize, &mut Dice, &mut Vec<u8>) -> Option<()>,
) {
    let count = if depth >= DEPTH_MAX { 0 } else { dice.below(3) };
    let mut items = vec![];
    if count > 0 && (0..count).try_for_each(|number| item(number, dice, &mut items)).is_some() {
        write_index(count, out);
        out.extend(items);
    }
    out.push(0);
}
