//! Bundles a JSON Schema with the schemas that it refers to: one document, in which every reference is a position.
//!
//! ```text
//!  schema, others ──assemble──> {…, "heddle:referred": {name: other}} ──index──> the place of each identity and anchor
//!                                                       └──rewrite──> `$ref`s are `#/…`, identities are gone
//! ```
//!
//! A reference is resolved as the standard says: against the identity (`$id`) of the schema around it. Another file is
//! found by its identity, by its path from the referring file, or by its path from the `contracts` folder.

use std::collections::BTreeMap;

use jsonschema::uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Map, Value};

use super::keywords::{Draft, Object};
use crate::format::{Link, Referred};

/// The keyword that holds the other schemas. No schema uses a keyword of this name.
pub(super) const OTHERS: &str = "heddle:referred";
/// The base URI of files without an identity.
const HERE: &str = "contracts:///";
/// Keywords whose members are schemas under arbitrary names.
const NAMED: [&str; 6] =
    ["properties", "patternProperties", "definitions", "$defs", "dependentSchemas", "dependencies"];
/// Keywords that hold values instead of schemas.
const VALUES: [&str; 5] = ["const", "default", "enum", "example", "examples"];
/// Keywords whose meaning depends on the way that led to a schema. They need the identities.
const DYNAMIC: [&str; 2] = ["$dynamicRef", "$recursiveRef"];
/// The characters that a fragment escapes.
pub(super) const FRAGMENT: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/')
    .remove(b'$')
    .remove(b':')
    .remove(b'@');

/// The schemas that validators know by themselves.
pub(super) fn is_known(target: &str) -> bool {
    target.starts_with("http://json-schema.org/") || target.starts_with("https://json-schema.org/")
}

/// Returns the schema with the schemas to which it refers.
///
/// # Errors
/// If a reference leads nowhere.
pub(super) fn bundle(schema: Value, referred: &[Referred]) -> Result<Value, String> {
    if !matches!(schema, Value::Object(_)) {
        return Ok(schema);
    }
    let document = assemble(schema, referred);
    let mut index = Index::default();
    index.add(&document, "", HERE.to_owned());
    for (name, place) in others(&document) {
        let at = document.pointer(&place).unwrap_or(&Value::Null);
        index.add(at, &place, format!("{HERE}{}", utf8_percent_encode(&name, &FRAGMENT)));
        index.names.push((name, place));
    }
    if index.is_dynamic && referred.is_empty() {
        return Ok(document);
    }
    let rewritten = index.rewritten(&document)?;
    Ok(index.apply(document, rewritten))
}

/// The files that a schema refers to, in order.
pub(super) fn links(schema: &Value) -> Vec<Link> {
    let mut index = Index::default();
    index.add(schema, "", HERE.to_owned());
    let mut found = vec![];
    for reference in &index.references {
        let (name, address) = (reference.file(), reference.uri());
        let is_own = name.is_empty() || index.places.contains_key(&address);
        let link = Link { name: name.to_owned(), address: Some(address) };
        if !is_own && !link.address.as_deref().is_some_and(is_known) && !found.contains(&link) {
            found.push(link);
        }
    }
    found
}

/// The identity of a whole schema.
pub(super) fn identity_of(schema: &Value) -> Option<String> {
    let id = identity(schema.as_object()?, is_legacy(schema))?;
    Some(without_fragment(&resolve(HERE, id)).to_owned())
}

/// Finds what `target` names among files. `names` are their paths, `importer` that of the referring one.
pub(super) fn find<'n>(
    importer: &str,
    text: &str,
    mut names: impl Iterator<Item = &'n str> + Clone,
) -> Option<&'n str> {
    let exact = |wanted: &str| names.clone().find(|name| *name == wanted);
    let found = exact(text).or_else(|| paths(importer, text).iter().find_map(|path| exact(path)));
    let text = percent_decode_str(text).decode_utf8_lossy();
    let plain = text.trim_start_matches("../").trim_start_matches("./");
    found.or_else(|| names.find(|name| name.strip_suffix(plain).is_some_and(|rest| rest.ends_with('/'))))
}

/// The paths by which a file may mean another: from its own folder, and from the topmost one.
pub(super) fn paths(importer: &str, text: &str) -> Vec<String> {
    let folder = importer.rsplit_once('/').map_or("", |(folder, _)| folder);
    let text = percent_decode_str(text).decode_utf8_lossy();
    [joined(folder, &text), joined("", &text)].into_iter().flatten().collect()
}

/// A path from a folder, without `.` and `..`. `None`: it leads out of the topmost folder.
fn joined(folder: &str, path: &str) -> Option<String> {
    let mut steps = folder.split('/').filter(|step| !step.is_empty()).collect::<Vec<_>>();
    for step in path.split('/').filter(|step| !step.is_empty() && *step != ".") {
        match step {
            ".." => drop(steps.pop()?),
            step => steps.push(step),
        }
    }
    Some(steps.join("/"))
}

/// Puts the other schemas into the schema.
fn assemble(mut schema: Value, referred: &[Referred]) -> Value {
    let parsed = |other: &Referred| Some((other.name.clone(), serde_json::from_str::<Value>(&other.text).ok()?));
    let others = referred.iter().filter_map(parsed).collect::<Map<_, _>>();
    if let (Value::Object(object), false) = (&mut schema, others.is_empty()) {
        object.insert(OTHERS.to_owned(), others.into());
    }
    schema
}

/// The names of the other schemas, and their places.
fn others(document: &Value) -> Vec<(String, String)> {
    let others = document.get(OTHERS).and_then(Value::as_object).into_iter().flatten();
    others.map(|(name, _)| (name.clone(), format!("/{OTHERS}/{}", escaped(name)))).collect()
}

fn escaped(step: &str) -> String {
    step.replace('~', "~0").replace('/', "~1")
}

/// The schema around a place that has an identity, or else the whole file.
#[derive(Clone, Debug)]
struct Resource {
    uri: String,
    place: String,
    /// The place of the whole file.
    file: String,
}

/// A `$ref`, and where it stands.
#[derive(Debug)]
struct Found {
    place: String,
    text: String,
    resource: Resource,
}

impl Found {
    fn file(&self) -> &str {
        without_fragment(&self.text)
    }

    fn uri(&self) -> String {
        if self.file().is_empty() { self.resource.uri.clone() } else { resolve(&self.resource.uri, self.file()) }
    }
}

/// The identities, anchors and references of a document, with their places.
#[derive(Debug, Default)]
struct Index {
    /// The places of identities.
    places: BTreeMap<String, String>,
    /// The places of anchors, by the place of the schema around them.
    anchors: BTreeMap<(String, String), String>,
    references: Vec<Found>,
    /// The places that have an identity or an anchor.
    identified: Vec<String>,
    /// The names and places of other files.
    names: Vec<(String, String)>,
    is_dynamic: bool,
}

impl Index {
    /// Adds a whole file.
    fn add(&mut self, file: &Value, place: &str, uri: String) {
        self.places.entry(uri.clone()).or_insert_with(|| place.to_owned());
        let resource = Resource { uri, place: place.to_owned(), file: place.to_owned() };
        self.value(file, place, &resource, Walk::of(file), false);
    }

    fn value(&mut self, value: &Value, place: &str, resource: &Resource, walk: Walk, is_named: bool) {
        match value {
            Value::Array(items) => {
                for (number, item) in items.iter().enumerate() {
                    self.value(item, &format!("{place}/{number}"), resource, walk, false);
                }
            }
            Value::Object(object) if is_named => {
                for (name, member) in object {
                    self.value(member, &format!("{place}/{}", escaped(name)), resource, walk, false);
                }
            }
            // A schema within another may be of another draft.
            Value::Object(object) if object.get("$schema").is_some_and(Value::is_string) => {
                self.schema(object, place, resource, Walk::of(value));
            }
            Value::Object(object) => self.schema(object, place, resource, walk),
            _ => {}
        }
    }

    fn schema(&mut self, object: &Object, place: &str, resource: &Resource, walk: Walk) {
        let mut resource = resource.clone();
        // Older drafts ignore what stands beside a reference.
        let is_reference = walk.ignores_beside && object.contains_key("$ref");
        if let Some(id) = identity(object, walk.is_legacy).filter(|_| !is_reference) {
            self.identify(id, place, &mut resource);
        }
        for key in ["$anchor", "$dynamicAnchor"] {
            if let Some(anchor) = object.get(key).and_then(Value::as_str) {
                self.anchors.insert((resource.place.clone(), anchor.to_owned()), place.to_owned());
                self.identified.push(place.to_owned());
            }
        }
        self.is_dynamic |= DYNAMIC.iter().any(|key| object.contains_key(*key));
        if let Some(text) = object.get("$ref").and_then(Value::as_str) {
            self.references.push(Found { place: place.to_owned(), text: text.to_owned(), resource: resource.clone() });
        }
        for (key, member) in object {
            if !VALUES.contains(&key.as_str()) && key != OTHERS {
                let is_named = NAMED.contains(&key.as_str());
                self.value(member, &format!("{place}/{}", escaped(key)), &resource, walk, is_named);
            }
        }
    }

    fn identify(&mut self, id: &str, place: &str, resource: &mut Resource) {
        self.identified.push(place.to_owned());
        let (file, fragment) = id.split_once('#').unwrap_or((id, ""));
        if !file.is_empty() {
            resource.uri = resolve(&resource.uri, file);
            resource.place = place.to_owned();
            self.places.entry(resource.uri.clone()).or_insert_with(|| place.to_owned());
        }
        if !fragment.is_empty() {
            self.anchors.insert((resource.place.clone(), fragment.to_owned()), place.to_owned());
        }
    }

    /// The new texts of the references, by the place of each.
    fn rewritten(&self, document: &Value) -> Result<Vec<(String, String)>, String> {
        let mut rewritten = vec![];
        for reference in &self.references {
            let known = is_known(&reference.uri()) && !self.places.contains_key(&reference.uri());
            if !known {
                let target = self.target(document, reference);
                let target = target.map_err(|what| format!("at #{}/$ref: {what}", reference.place))?;
                rewritten.push((reference.place.clone(), format!("#{}", utf8_percent_encode(&target, &FRAGMENT))));
            }
        }
        Ok(rewritten)
    }

    /// The place that a reference leads to.
    fn target(&self, document: &Value, reference: &Found) -> Result<String, String> {
        let (file, uri) = (reference.file(), reference.uri());
        let fragment = reference.text.split_once('#').map_or("", |(_, fragment)| fragment);
        let fragment = percent_decode_str(fragment).decode_utf8_lossy();
        let by_name = || {
            let importer = self.names.iter().find(|(_, place)| *place == reference.resource.file);
            let importer = importer.map_or("", |(name, _)| name);
            let name = find(importer, file, self.names.iter().map(|(name, _)| name.as_str()))?;
            self.names.iter().find(|(other, _)| other == name).map(|(_, place)| place)
        };
        let within = if file.is_empty() { Some(&reference.resource.place) } else { self.places.get(&uri) };
        let Some(place) = within.or_else(by_name) else {
            return Err(format!("`{file}` is not among the schema's references"));
        };
        if fragment.is_empty() {
            return Ok(place.clone());
        }
        if fragment.starts_with('/') {
            let candidates = [place, &reference.resource.file].map(|place| format!("{place}{fragment}"));
            let found = candidates.into_iter().find(|target| document.pointer(target).is_some());
            return found.ok_or_else(|| format!("`{}` leads nowhere", reference.text));
        }
        let anchor = |place: &String| self.anchors.get(&(place.clone(), fragment.to_string())).cloned();
        let found = anchor(place).or_else(|| anchor(&reference.resource.file));
        found.ok_or_else(|| format!("`{}` leads nowhere", reference.text))
    }

    /// Puts the new references in, and takes identities away: a reference below one would begin there.
    fn apply(&self, mut document: Value, rewritten: Vec<(String, String)>) -> Value {
        let is_other = |place: &str| place.trim_start_matches('#').starts_with(&format!("/{OTHERS}/"));
        let needs_others = rewritten.iter().any(|(place, target)| !is_other(place) && is_other(target));
        let mut object_at = |place: &str, change: &mut dyn FnMut(&mut Object)| {
            if let Some(object) = document.pointer_mut(place).and_then(Value::as_object_mut) {
                change(object);
            }
        };
        for (place, target) in rewritten {
            object_at(&place, &mut |object| drop(object.insert("$ref".to_owned(), target.clone().into())));
        }
        let files = self.names.iter().map(|(_, place)| place);
        for place in self.identified.iter().chain(files) {
            object_at(place, &mut |object| {
                for key in ["$id", "id", "$anchor"] {
                    object.shift_remove(key);
                }
                if !self.is_dynamic {
                    object.shift_remove("$dynamicAnchor");
                }
                if !place.is_empty() {
                    object.shift_remove("$schema");
                }
            });
        }
        if !needs_others && let Some(object) = document.as_object_mut() {
            object.shift_remove(OTHERS);
        }
        document
    }
}

/// The way in which identities are found in a file.
#[derive(Clone, Copy, Debug)]
struct Walk {
    /// True if `id` is an identity.
    is_legacy: bool,
    /// True if keywords beside a reference do not count.
    ignores_beside: bool,
}

impl Walk {
    fn of(file: &Value) -> Self {
        Self { is_legacy: is_legacy(file), ignores_beside: Draft::of(file) != Draft::Later }
    }
}

/// Returns true if the file calls its identity `id`, as draft 4 does.
fn is_legacy(file: &Value) -> bool {
    let has_address = || file.get("id").and_then(Value::as_str).is_some_and(|id| id.contains(':'));
    Draft::of(file) == Draft::Four || (file.get("$schema").is_none() && has_address())
}

fn identity(object: &Object, is_legacy: bool) -> Option<&str> {
    let key = if object.contains_key("$id") || !is_legacy { "$id" } else { "id" };
    object.get(key).and_then(Value::as_str).filter(|id| !id.is_empty())
}

fn without_fragment(text: &str) -> &str {
    text.split_once('#').map_or(text, |(file, _)| file)
}

/// The address of a reference. What is not an address is only equal to itself.
fn resolve(base: &str, text: &str) -> String {
    let resolved = uri::from_str(base).and_then(|base| uri::resolve_against(&base.borrow(), text));
    resolved.map_or_else(|_| text.to_owned(), |uri| uri.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn other(name: &str, schema: &Value) -> Referred {
        Referred { name: name.to_owned(), text: schema.to_string() }
    }

    #[test]
    fn references_are_resolved_as_the_standard_says() {
        let schema = json!({"$id": "https://a.example/x/order.json", "properties": {
            "a": {"$ref": "#/$defs/Line"}, "b": {"$ref": "order.json#/$defs/Line"}, "c": {"$ref": "#line"},
            "d": {"$ref": "https://a.example/x/order.json#line"}, "e": {"$ref": "../core/money.json#/$defs/Units"},
            "f": {"$ref": "inner.json"}, "g": {"$ref": "http://json-schema.org/draft-07/schema#"},
            "$ref": {"type": "string"}, "h": {"const": {"$ref": "#/none"}}},
            "$defs": {"Line": {"$anchor": "line"}, "a b": {"$id": "inner.json", "items": {"$ref": "#/$defs/z"},
                "$defs": {"z": {"$ref": "#"}}}}});
        let money = json!({"$id": "https://a.example/core/money.json", "$defs": {"Units": {"$ref": "#/$defs/Whole"},
            "Whole": {"type": "integer"}}});
        let bundled = bundle(schema, &[other("gcn/core/money.json", &money)]).unwrap();
        let of = |place: &str| bundled.pointer(place).and_then(|at| at["$ref"].as_str()).unwrap_or_default();
        for name in ["a", "b", "c", "d"] {
            assert_eq!(of(&format!("/properties/{name}")), "#/$defs/Line", "{name}");
        }
        let units = of("/properties/e");
        assert_eq!(units, "#/heddle:referred/gcn~1core~1money.json/$defs/Units");
        assert_eq!(of("/heddle:referred/gcn~1core~1money.json/$defs/Units"), units.replace("Units", "Whole"));
        assert_eq!(of("/properties/f"), "#/$defs/a%20b");
        assert_eq!(of("/$defs/a b/items"), "#/$defs/a%20b/$defs/z");
        assert_eq!(of("/$defs/a b/$defs/z"), "#/$defs/a%20b");
        assert_eq!(of("/properties/g"), "http://json-schema.org/draft-07/schema#");
        assert_eq!(bundled["properties"]["h"]["const"], json!({"$ref": "#/none"}));
        assert!(!bundled.to_string().contains("$id"), "{bundled}");
    }

    #[test]
    fn files_are_found_by_their_paths() {
        let names = ["money.json", "a/core/line.json", "a/b/line.json"];
        let found = |importer: &str, text: &str| find(importer, text, names.into_iter());
        assert_eq!(found("", "money.json"), Some("money.json"));
        assert_eq!(found("", "./money.json"), Some("money.json"));
        assert_eq!(found("a/b/x.json", "line.json"), Some("a/b/line.json"));
        assert_eq!(found("a/b/x.json", "../core/line.json"), Some("a/core/line.json"));
        assert_eq!(found("a/b/x.json", "money.json"), Some("money.json"));
        assert_eq!(found("", "../core/line.json"), Some("a/core/line.json"));
        assert_eq!(found("", "other.json"), None);
    }

    #[test]
    fn a_reference_that_leads_nowhere_is_reported_with_its_place() {
        let refused = |reference: &str| bundle(json!({"items": {"$ref": reference}}), &[]).unwrap_err();
        assert_eq!(refused("#/a"), "at #/items/$ref: `#/a` leads nowhere");
        assert_eq!(refused("#a"), "at #/items/$ref: `#a` leads nowhere");
        assert_eq!(
            refused("https://a.example/b.json#/c"),
            "at #/items/$ref: `https://a.example/b.json` is not among the schema's references"
        );
    }

    #[test]
    fn identities_of_generators_do_not_move_references() {
        let schema = json!({"$schema": "http://json-schema.org/draft-04/schema#", "id": "http://a.example/root.json",
            "properties": {"a": {"id": "/properties/a", "$ref": "#/definitions/b"},
                "c": {"id": "/properties/c", "items": {"id": "#/properties/c/items", "$ref": "#/definitions/b"}},
                "id": {"type": "string"}},
            "definitions": {"b": {"type": "string"}}});
        let bundled = bundle(schema, &[]).unwrap();
        assert_eq!(bundled["properties"]["a"]["$ref"], "#/definitions/b");
        assert_eq!(bundled["properties"]["c"]["items"]["$ref"], "#/definitions/b");
        assert_eq!(bundled["properties"]["id"], json!({"type": "string"}));
    }
}
