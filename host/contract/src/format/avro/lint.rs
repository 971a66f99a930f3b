//! The parts that an Avro schema should have so that it can evolve and others understand it.

use serde_json::Value;

use super::{Name, Node, Schema, ignored_logical};
use crate::compat::Problem;

/// Returns the missing parts: a namespace and a doc of named types, and a default of optional fields. Also returns
/// parts without effect: logical types that readers ignore.
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
            tell(
                name.full(),
                "there is no `namespace`: it could not be distinguished from another team's type of this name",
            );
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
                    "an optional field without a `default`: its readers cannot read values that were written before the field existed; write `\"default\": null`, with \"null\" as the first type",
                );
            }
        }
    }
    if let Ok(json) = serde_json::from_str(schema.json()) {
        in_vain(&json, "", ".", &mut found);
    }
    found
}

/// Adds the logical types that are ignored.
fn in_vain(ty: &Value, namespace: &str, path: &str, found: &mut Vec<Problem>) {
    let object = match ty {
        Value::Array(branches) => return branches.iter().for_each(|branch| in_vain(branch, namespace, path, found)),
        Value::Object(object) => object,
        _ => return,
    };
    found.extend(ignored_logical(object).map(|what| Problem { path: path.to_owned(), what }));
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    let name = text("name").map(|name| Name::resolve(name, text("namespace"), namespace));
    let inside = name.as_ref().map_or(namespace, Name::namespace);
    for key in ["type", "items", "values"] {
        object.get(key).into_iter().for_each(|inner| in_vain(inner, inside, path, found));
    }
    for field in object.get("fields").and_then(Value::as_array).into_iter().flatten() {
        let record = name.as_ref().map_or("", Name::full);
        let path = format!("{record}.{}", field["name"].as_str().unwrap_or_default());
        if field.get("logicalType").is_some() {
            let what = "the logicalType is ignored, because it is beside the type; write `\"type\": {\"type\": …, \"logicalType\": …}`";
            found.push(Problem { path: path.clone(), what: what.to_owned() });
        }
        field.get("type").into_iter().for_each(|ty| in_vain(ty, inside, &path, found));
    }
}
