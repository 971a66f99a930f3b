//! Compares the definitions of types that have the same full name.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::format::shape::{Shape, ShapeId, Shapes};

/// The definition of a type as text. Equal texts are equal types. Docs, aliases and defaults do not count.
pub(super) fn definition(shapes: &Shapes, id: ShapeId) -> String {
    let mut out = String::new();
    write(shapes, id, &mut BTreeSet::new(), &mut out);
    out
}

fn write(shapes: &Shapes, id: ShapeId, seen: &mut BTreeSet<ShapeId>, out: &mut String) {
    match shapes.get(id) {
        Shape::List(item) => {
            out.push('[');
            write(shapes, *item, seen, out);
            out.push(']');
        }
        Shape::Map { key, value } => {
            out.push('{');
            write(shapes, *key, seen, out);
            out.push(':');
            write(shapes, *value, seen, out);
            out.push('}');
        }
        Shape::Option(some) => {
            out.push('?');
            write(shapes, *some, seen, out);
        }
        Shape::Variant(variant) => {
            out.push('(');
            for case in &variant.cases {
                let _ = write!(out, "{}:", case.name);
                case.ty.into_iter().for_each(|ty| write(shapes, ty, seen, out));
                out.push('|');
            }
            out.push(')');
        }
        Shape::Record(record) => {
            out.push_str(record.name.full());
            if seen.insert(id) {
                out.push('<');
                for field in &record.fields {
                    let _ = write!(out, "{}:", field.name);
                    write(shapes, field.ty, seen, out);
                    out.push(',');
                }
                out.push('>');
            }
        }
        Shape::Enum(e) => {
            let symbols = e.symbols.iter().chain(&e.unrecognized);
            let symbols = symbols.map(|symbol| symbol.name.as_str()).collect::<Vec<_>>();
            let _ = write!(out, "{}<{}>", e.name, symbols.join(","));
        }
        Shape::Json(json) => match json.of {
            Some(of) => write(shapes, of, seen, out),
            None => out.push_str("json"),
        },
        plain => {
            let _ = write!(out, "{plain:?}");
        }
    }
}
