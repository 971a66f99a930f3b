//! Compares the definitions of types that have the same full name.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::format::shape::{Shape, ShapeId, Shapes};

/// The definition of a type as text. Equal texts are equal types. Docs, aliases and defaults do not count.
pub(super) fn definition(shapes: &Shapes, id: ShapeId) -> String {
    let mut out = String::new();
    let mut named = Named::default();
    write(shapes, id, &mut named, &mut out);
    // Records follow one another: within each other, they would need a stack as deep as they are.
    while let Some(id) = named.todo.pop() {
        let Shape::Record(record) = shapes.get(id) else { continue };
        let _ = write!(out, ";{}<", record.name.full());
        for field in &record.fields {
            let _ = write!(out, "{}:", field.name);
            write(shapes, field.ty, &mut named, &mut out);
            out.push(',');
        }
        out.push('>');
    }
    out
}

/// The records that a definition names.
#[derive(Default)]
struct Named {
    seen: BTreeSet<ShapeId>,
    /// Those whose fields are to be written.
    todo: Vec<ShapeId>,
}

fn write(shapes: &Shapes, id: ShapeId, named: &mut Named, out: &mut String) {
    match shapes.get(id) {
        Shape::List(item) => {
            out.push('[');
            write(shapes, *item, named, out);
            out.push(']');
        }
        Shape::Map { key, value } => {
            out.push('{');
            write(shapes, *key, named, out);
            out.push(':');
            write(shapes, *value, named, out);
            out.push('}');
        }
        Shape::Option(some) => {
            out.push('?');
            write(shapes, *some, named, out);
        }
        Shape::Variant(variant) => {
            out.push('(');
            for case in &variant.cases {
                let _ = write!(out, "{}:", case.name);
                case.ty.into_iter().for_each(|ty| write(shapes, ty, named, out));
                out.push('|');
            }
            out.push(')');
        }
        Shape::Record(record) => {
            out.push_str(record.name.full());
            if named.seen.insert(id) {
                named.todo.push(id);
            }
        }
        Shape::Enum(e) => {
            let symbols = e.symbols.iter().chain(&e.unrecognized);
            let symbols = symbols.map(|symbol| symbol.name.as_str()).collect::<Vec<_>>();
            let _ = write!(out, "{}<{}>", e.name, symbols.join(","));
        }
        Shape::Json(json) => match json.of {
            Some(of) => write(shapes, of, named, out),
            None => out.push_str("json"),
        },
        plain => {
            let _ = write!(out, "{plain:?}");
        }
    }
}
