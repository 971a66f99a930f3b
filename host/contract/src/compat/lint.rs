//! What an Avro schema should have so that it can grow, and be understood by others.

use super::Problem;
use crate::schema::{Node, Schema};

/// What is missing: a namespace and a doc of named types, a default of optional fields.
#[must_use]
pub fn lint(schema: &Schema) -> Vec<Problem> {
    let mut found = vec![];
    let mut tell = |path: &str, what: &str| found.push(Problem { path: path.to_owned(), what: what.to_owned() });
    for (_, node) in schema.nodes() {
        let (name, doc) = match node {
            Node::Record(record) => (&record.name, Some(&record.doc)),
            Node::Enum(e) => (&e.name, Some(&e.doc)),
            Node::Fixed(fixed) => (&fixed.name, None),
            _ => continue,
        };
        if name.namespace().is_empty() {
            tell(name.full(), "there is no `namespace`: another team's type of this name could not be told from it");
        }
        if doc.is_some_and(Option::is_none) {
            tell(name.full(), "there is no `doc`: say in a sentence what it is");
        }
        let Node::Record(record) = node else { continue };
        for field in &record.fields {
            let optional = match schema.node(field.ty) {
                Node::Union(branches) => branches.iter().any(|branch| *schema.node(*branch) == Node::Null),
                _ => false,
            };
            if optional && field.default.is_none() {
                let path = format!("{}.{}", name.full(), field.name);
                tell(
                    &path,
                    "an optional field without a `default`: readers of it cannot read what was written before it was there; write `\"default\": null`, with \"null\" as the first type",
                );
            }
        }
    }
    found
}
