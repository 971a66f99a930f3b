//! Whether two types that have one full name are one type.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::schema::{Node, NodeId, Schema};

/// What a type is made of, as text: equal texts are equal types. Docs, aliases and defaults do not count.
pub(super) fn definition(schema: &Schema, id: NodeId) -> String {
    let mut out = String::new();
    write(schema, id, &mut BTreeSet::new(), &mut out);
    out
}

fn write(schema: &Schema, id: NodeId, seen: &mut BTreeSet<NodeId>, out: &mut String) {
    match schema.node(id) {
        Node::Array(item) => {
            out.push('[');
            write(schema, *item, seen, out);
            out.push(']');
        }
        Node::Map(value) => {
            out.push('{');
            write(schema, *value, seen, out);
            out.push('}');
        }
        Node::Union(branches) => {
            out.push('(');
            for branch in branches {
                write(schema, *branch, seen, out);
                out.push('|');
            }
            out.push(')');
        }
        Node::Record(record) => {
            out.push_str(record.name.full());
            if seen.insert(id) {
                out.push('<');
                for field in &record.fields {
                    let _ = write!(out, "{}:", field.name);
                    write(schema, field.ty, seen, out);
                    out.push(',');
                }
                out.push('>');
            }
        }
        Node::Enum(e) => {
            let _ = write!(out, "{}<{}>", e.name, e.symbols.join(","));
        }
        plain => {
            let _ = write!(out, "{plain:?}");
        }
    }
}
