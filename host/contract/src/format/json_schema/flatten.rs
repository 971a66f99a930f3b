//! Merges what several schemas say of one object into one schema, as far as that is possible: types follow one schema.
//!
//! ```text
//!  {"allOf": [{"$ref": "#/$defs/Base"}, {"properties": {"b": …}}], "properties": {"a": …}}
//!      ──> {"type": "object", "properties": {"a": …, "b": …, and those of Base}}
//! ```

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::keywords::{Draft, Object, accepts_all, is_annotation, required};

/// The maximum depth of merged schemas.
const DEPTH_MAX: usize = 32;
/// Keywords that are merged.
const MERGED: [&str; 6] = ["type", "properties", "required", "additionalProperties", "unevaluatedProperties", "allOf"];

/// The schema with merged objects. What cannot be merged stays as it is.
pub(super) fn flattened(schema: &Value) -> Cow<'_, Value> {
    let draft = Draft::of(schema);
    let mut places = vec![];
    collect(schema, draft, &mut String::new(), &mut places);
    let merge = Merge { root: schema, draft };
    let merged = places.into_iter().filter_map(|place| {
        let object = schema.pointer(&place)?.as_object()?;
        Some((place, merge.whole(object)?))
    });
    let merged = merged.collect::<Vec<_>>();
    if merged.is_empty() {
        return Cow::Borrowed(schema);
    }
    let mut flattened = schema.clone();
    for (place, object) in merged {
        let Some(Value::Object(at)) = flattened.pointer_mut(&place) else { continue };
        for key in MERGED.iter().chain(&["$ref"]) {
            at.shift_remove(*key);
        }
        at.extend(object);
    }
    Cow::Owned(flattened)
}

/// Collects the places of objects that may be merged.
fn collect(value: &Value, draft: Draft, place: &mut String, places: &mut Vec<String>) {
    let length = place.len();
    match value {
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                place.push_str(&format!("/{number}"));
                collect(item, draft, place, places);
                place.truncate(length);
            }
        }
        Value::Object(object) => {
            let has = |key: &str| object.contains_key(key);
            let later = draft == Draft::Later;
            if object.get("allOf").is_some_and(Value::is_array)
                || (later && (has("unevaluatedProperties") || (has("$ref") && has("properties"))))
            {
                places.push(place.clone());
            }
            for (key, inner) in object {
                place.push_str(&format!("/{}", key.replace('~', "~0").replace('/', "~1")));
                collect(inner, draft, place, places);
                place.truncate(length);
            }
        }
        _ => {}
    }
}

struct Merge<'a> {
    root: &'a Value,
    draft: Draft,
}

/// The knowledge about an object so far.
#[derive(Default)]
struct Merged {
    properties: Map<String, Value>,
    required: Vec<String>,
    says_object: bool,
    /// True if one of the schemas allows other members.
    is_open: bool,
}

impl Merge<'_> {
    /// The keywords of an object that is one of several schemas. `None`: they cannot be merged.
    fn whole(&self, object: &Object) -> Option<Object> {
        let list = object.get("allOf").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let is_one = list.len() == 1 && MERGED.iter().all(|key| *key == "allOf" || !object.contains_key(*key));
        if is_one && !object.contains_key("$ref") {
            return None;
        }
        let mut merged = Merged::default();
        self.add(object, true, &mut merged, 0)?;
        if !merged.says_object || merged.properties.is_empty() {
            return None;
        }
        let is_closed = object.get("unevaluatedProperties") == Some(&Value::Bool(false));
        let is_closed = self.draft == Draft::Later && is_closed && !merged.is_open;
        let mut whole = Map::new();
        whole.insert("type".to_owned(), "object".into());
        whole.insert("properties".to_owned(), merged.properties.into());
        whole.insert("required".to_owned(), merged.required.into());
        whole.insert("additionalProperties".to_owned(), (!is_closed).into());
        Some(whole)
    }

    fn add(&self, object: &Object, is_outermost: bool, merged: &mut Merged, depth: usize) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        for (key, value) in object {
            let is_fine = match key.as_str() {
                "type" => value == "object",
                "properties" | "required" | "allOf" => true,
                "additionalProperties" => accepts_all(value),
                "unevaluatedProperties" => self.draft != Draft::Later || is_outermost || accepts_all(value),
                "$ref" => value.is_string(),
                key => is_annotation(key),
            };
            if !is_fine {
                return None;
            }
        }
        merged.says_object |= object.contains_key("type");
        merged.is_open |= object.contains_key("additionalProperties");
        merged.is_open |= !is_outermost && object.contains_key("unevaluatedProperties");
        if let Some(reference) = object.get("$ref").and_then(Value::as_str) {
            let target = super::follow(self.root, reference)?.as_object()?;
            self.add(target, false, merged, depth + 1)?;
            if self.draft != Draft::Later {
                return Some(());
            }
        }
        for part in object.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            self.add(part.as_object()?, false, merged, depth + 1)?;
        }
        for (name, member) in object.get("properties").and_then(Value::as_object).into_iter().flatten() {
            self.member(name, member, merged)?;
        }
        for name in required(object) {
            if !merged.required.iter().any(|other| other == name) {
                merged.required.push(name.to_owned());
            }
        }
        Some(())
    }

    /// Adds a property. One that is there already must say the same, or one of the two nothing.
    fn member(&self, name: &str, member: &Value, merged: &mut Merged) -> Option<()> {
        match merged.properties.get_mut(name) {
            None => drop(merged.properties.insert(name.to_owned(), member.clone())),
            Some(there) if accepts_all(there) => *there = member.clone(),
            Some(there) => {
                if *there != *member && !accepts_all(member) {
                    return None;
                }
            }
        }
        Some(())
    }
}
