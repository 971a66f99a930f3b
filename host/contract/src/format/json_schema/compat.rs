//! Checks that one JSON Schema accepts what another allows, in the common cases, by the rules in the documentation of
//! Confluent's registry.
//!
//! - A new property is refused, because earlier values may hold anything under its name. It is accepted if the writer
//!   allowed no other properties and the property is not required.
//! - A removed property is accepted if the reader allows other properties.
//! - Types, enums and bounds may widen, never narrow. A required property may become optional; an optional one may
//!   become required only with a default.
//!
//! `$ref`s within the document are followed, so it has to contain all schemas to which others refer. Keywords that are
//! not known here (patterns, `if`, `dependencies`, …) must not change, but can be removed.

use serde_json::Value;

use crate::compat::Problem;

/// The maximum number of problems that are reported.
const PROBLEMS_MAX: usize = 20;
/// The maximum nesting of schemas, including references.
const DEPTH_MAX: usize = 64;
/// The maximum number of compared pairs, so that the comparison of schemas with many mutual references ends.
const PAIRS_MAX: usize = 20_000;

/// Returns the places where `reader` does not accept what `writer` allows, with the reasons. Empty if it accepts
/// everything.
#[must_use]
pub fn problems(reader: &Value, writer: &Value) -> Vec<Problem> {
    Checker::new(reader, writer, false).found()
}

/// Returns the places where a component typed by `reader` does not accept what `writer` allows, with the reasons. A
/// component ignores members that the reader does not know, even if the reader forbids them.
#[must_use]
pub fn unreadable(reader: &Value, writer: &Value) -> Vec<Problem> {
    Checker::new(reader, writer, true).found()
}

type Object = serde_json::Map<String, Value>;

struct Checker<'a> {
    reader: &'a Value,
    writer: &'a Value,
    path: Vec<String>,
    /// Pairs that are being compared further up. They are compatible unless the comparison fails.
    under_way: Vec<(*const Value, *const Value)>,
    pairs: usize,
    problems: Vec<Problem>,
    /// True if the reader ignores members that it does not know.
    ignores_unknown: bool,
}

/// Keywords that bound a value: from below, and from above.
const LOWER: [&str; 5] = ["minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"];
const UPPER: [&str; 5] = ["maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"];
/// Keywords that must not be added or changed.
const FIXED: [&str; 10] = [
    "pattern",
    "uniqueItems",
    "if",
    "then",
    "else",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "patternProperties",
    "not",
];
const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];

impl<'a> Checker<'a> {
    fn new(reader: &'a Value, writer: &'a Value, ignores_unknown: bool) -> Self {
        Self { reader, writer, path: vec![], under_way: vec![], pairs: 0, problems: vec![], ignores_unknown }
    }

    fn found(mut self) -> Vec<Problem> {
        self.pair(self.reader, self.writer);
        self.problems
    }

    fn pair(&mut self, reader: &'a Value, writer: &'a Value) {
        let (reader, writer) = (follow(self.reader, reader), follow(self.writer, writer));
        let key = (std::ptr::from_ref(reader), std::ptr::from_ref(writer));
        if self.under_way.contains(&key) || self.problems.len() >= PROBLEMS_MAX {
            return;
        }
        self.pairs += 1;
        if self.under_way.len() >= DEPTH_MAX || self.pairs > PAIRS_MAX {
            return self.problem("the schemas are too large to compare".to_owned());
        }
        self.under_way.push(key);
        self.compare(reader, writer);
        self.under_way.pop();
    }

    fn compare(&mut self, reader: &'a Value, writer: &'a Value) {
        match (allowed(reader), allowed(writer)) {
            (Allowed::All, _) | (_, Allowed::Nothing) => {}
            (Allowed::Nothing, _) => self.problem("the writer allows values, the reader none".to_owned()),
            (Allowed::Some(_), Allowed::All) => {
                self.problem(format!("the writer allows any value; the reader takes {}", words(&types(reader))));
            }
            (Allowed::Some(ours), Allowed::Some(theirs)) => {
                if !self.alternatives((reader, ours), (writer, theirs)) {
                    self.objects(ours, theirs);
                }
            }
        }
    }

    fn objects(&mut self, ours: &'a Object, theirs: &'a Object) {
        let (our_types, their_types) = (types_of(ours), types_of(theirs));
        let takes = |ty: &&str| our_types.contains(ty) || (*ty == "integer" && our_types.contains(&"number"));
        let narrowed = their_types.iter().filter(|ty| !takes(ty)).copied().collect::<Vec<_>>();
        if !narrowed.is_empty() {
            self.problem(format!("the writer has {}; the reader takes {}", words(&narrowed), words(&our_types)));
            return;
        }
        self.enums(ours, theirs);
        self.bounds(ours, theirs);
        if their_types.contains(&"object") {
            self.properties(ours, theirs);
        }
        if their_types.contains(&"array") {
            self.items(ours, theirs);
        }
    }

    /// Compares `oneOf` and `anyOf`: each of the writer's alternatives needs one of the reader's. Returns true if there
    /// were any.
    fn alternatives(
        &mut self,
        (reader, ours): (&'a Value, &'a Object),
        (writer, theirs): (&'a Value, &'a Object),
    ) -> bool {
        let list = |object: &'a Object| {
            ["oneOf", "anyOf"]
                .iter()
                .find_map(|key| object.get(*key)?.as_array())
                .map(|list| list.iter().collect::<Vec<_>>())
        };
        let (our_list, their_list) = (list(ours), list(theirs));
        if our_list.is_none() && their_list.is_none() {
            // All parts of `allOf` apply, so the reader may have fewer parts, but not more.
            let all = |object: &'a Object| object.get("allOf").and_then(Value::as_array);
            if let Some(parts) = all(ours) {
                for part in parts {
                    let same = all(theirs).is_some_and(|theirs| theirs.iter().any(|other| self.fits(part, other)));
                    if !same {
                        self.problem("the reader's `allOf` requires more than the writer's".to_owned());
                    }
                }
            }
            return false;
        }
        let our_list = our_list.unwrap_or_else(|| vec![reader]);
        for (place, alternative) in their_list.unwrap_or_else(|| vec![writer]).into_iter().enumerate() {
            if !our_list.iter().any(|branch| self.fits(branch, alternative)) {
                let what = words(&types(follow(self.writer, alternative)));
                self.problem(format!(
                    "no alternative of the reader takes the writer's alternative {} ({what})",
                    place + 1
                ));
            }
        }
        true
    }

    fn fits(&mut self, reader: &'a Value, writer: &'a Value) -> bool {
        let before = std::mem::take(&mut self.problems);
        self.pair(reader, writer);
        std::mem::replace(&mut self.problems, before).is_empty()
    }

    fn enums(&mut self, ours: &Object, theirs: &Object) {
        let list = |object: &Object| match object.get("enum").and_then(Value::as_array) {
            Some(values) => Some(values.clone()),
            None => object.get("const").map(|value| vec![value.clone()]),
        };
        let Some(takes) = list(ours) else { return };
        match list(theirs) {
            None => self.problem(format!("the writer allows any value; the reader takes only {}", Value::from(takes))),
            Some(written) => {
                let unknown = written.into_iter().filter(|value| !takes.contains(value)).collect::<Vec<_>>();
                if !unknown.is_empty() {
                    self.problem(format!(
                        "the writer's values have {}; the reader takes {}",
                        Value::from(unknown),
                        Value::from(takes)
                    ));
                }
            }
        }
    }

    fn bounds(&mut self, ours: &Object, theirs: &Object) {
        let number = |object: &Object, key: &str| object.get(key).and_then(Value::as_f64);
        for (keys, is_lower) in [(LOWER, true), (UPPER, false)] {
            for key in keys {
                let Some(bound) = number(ours, key) else { continue };
                let within =
                    number(theirs, key).is_some_and(|other| if is_lower { other >= bound } else { other <= bound });
                if !within {
                    let written = number(theirs, key).map_or("unbounded".to_owned(), |other| other.to_string());
                    self.problem(format!("the writer's `{key}` is {written}; the reader takes {bound}"));
                }
            }
        }
        if let Some(step) = number(ours, "multipleOf") {
            let written = number(theirs, "multipleOf");
            if !written.is_some_and(|other| other == step || (other / step).fract() == 0.0) {
                let written = written.map_or("no step".to_owned(), |other| other.to_string());
                self.problem(format!("the writer's `multipleOf` is {written}; the reader takes {step}"));
            }
        }
        for key in FIXED {
            let demanded = ours.get(key).filter(|rule| **rule != Value::Bool(false));
            if let Some(rule) = demanded.filter(|rule| theirs.get(key) != Some(rule)) {
                self.problem(format!("the reader requires `{key}` = {rule}, and the writer does not"));
            }
        }
    }

    fn properties(&mut self, ours: &'a Object, theirs: &'a Object) {
        let (our_properties, their_properties) = (members(ours, "properties"), members(theirs, "properties"));
        let (our_others, their_others) = (ours.get("additionalProperties"), theirs.get("additionalProperties"));
        let closed = |others: Option<&Value>| others == Some(&Value::Bool(false));
        let is_closed = closed(our_others) && (!self.ignores_unknown || our_properties.is_empty());
        for (name, writer) in their_properties {
            match our_properties.iter().find(|(other, _)| other == &name) {
                Some((_, reader)) => self.within(name, |this| this.pair(reader, writer)),
                None if is_closed => {
                    self.within(name, |this| {
                        this.problem("the reader has no such property and forbids others".to_owned());
                    });
                }
                None => {
                    if let Some(others @ Value::Object(_)) = our_others {
                        self.within(name, |this| this.pair(others, writer));
                    }
                }
            }
        }
        for (name, reader) in &our_properties {
            if their_properties_lack(theirs, name) && !closed(their_others) && !matches!(allowed(reader), Allowed::All)
            {
                // The writer may have written anything under this name.
                match their_others {
                    Some(others @ Value::Object(_)) => self.within(name, |this| this.pair(reader, others)),
                    _ => self.within(name, |this| {
                        this.problem("the property is new, and the writer allows any value under its name; it can be added only if the writer's `additionalProperties` is false".to_owned());
                    }),
                }
            }
        }
        self.required(ours, theirs);
        match (our_others, their_others) {
            (Some(Value::Bool(false)), others) if is_closed && !closed(others) => {
                self.problem("the writer allows other properties, and the reader does not".to_owned());
            }
            (Some(ours @ Value::Object(_)), Some(theirs @ Value::Object(_))) => {
                self.within("*", |this| this.pair(ours, theirs));
            }
            _ => {}
        }
    }

    fn required(&mut self, ours: &Object, theirs: &Object) {
        let list = |object: &Object| {
            let names = object.get("required").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            names.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
        };
        let written = list(theirs);
        for name in list(ours).iter().filter(|name| !written.contains(name)) {
            let has_default =
                ours.get("properties").and_then(|p| p.get(name)).is_some_and(|p| p.get("default").is_some());
            if !has_default {
                self.within(name, |this| {
                    this.problem(
                        "the reader requires it, and the writer does not; give it a `default`, or do not require it"
                            .to_owned(),
                    );
                });
            }
        }
    }

    fn items(&mut self, ours: &'a Object, theirs: &'a Object) {
        static ANY: Value = Value::Bool(true);
        let Some(reader) = ours.get("items") else { return };
        match (reader, theirs.get("items").unwrap_or(&ANY)) {
            (Value::Array(ours), Value::Array(theirs)) => {
                for (place, (reader, writer)) in ours.iter().zip(theirs).enumerate() {
                    self.within(&format!("[{place}]"), |this| this.pair(reader, writer));
                }
            }
            (reader, writer) => self.within("[]", |this| this.pair(reader, writer)),
        }
    }

    fn problem(&mut self, what: String) {
        let path = if self.path.is_empty() { ".".to_owned() } else { self.path.join(".").replace(".[", "[") };
        let problem = Problem { path, what };
        if self.problems.len() < PROBLEMS_MAX && !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    fn within(&mut self, step: &str, then: impl FnOnce(&mut Self)) {
        self.path.push(step.to_owned());
        then(self);
        self.path.pop();
    }
}

enum Allowed<'a> {
    All,
    Nothing,
    Some(&'a Object),
}

fn allowed(schema: &Value) -> Allowed<'_> {
    const SAYS_NOTHING: [&str; 8] = ["$schema", "$id", "id", "title", "description", "default", "examples", "$comment"];
    match schema {
        Value::Bool(false) => Allowed::Nothing,
        Value::Object(object) if object.keys().any(|key| !SAYS_NOTHING.contains(&key.as_str())) => {
            Allowed::Some(object)
        }
        _ => Allowed::All,
    }
}

fn members<'a>(object: &'a Object, key: &str) -> Vec<(&'a String, &'a Value)> {
    object.get(key).and_then(Value::as_object).into_iter().flatten().collect()
}

fn their_properties_lack(theirs: &Object, name: &str) -> bool {
    theirs.get("properties").and_then(|properties| properties.get(name)).is_none()
}

fn types(schema: &Value) -> Vec<&str> {
    schema.as_object().map_or_else(|| TYPES.to_vec(), types_of)
}

fn types_of(object: &Object) -> Vec<&str> {
    match object.get("type") {
        Some(Value::String(ty)) => vec![ty.as_str()],
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ if object.contains_key("properties") || object.contains_key("required") => vec!["object"],
        _ => TYPES.to_vec(),
    }
}

fn words(types: &[&str]) -> String {
    if types.len() == TYPES.len() { "any value".to_owned() } else { types.join(" or ") }
}

/// The schema behind references within the document. A reference without a target is returned itself.
fn follow<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let mut at = schema;
    for _ in 0..DEPTH_MAX {
        let next = at.get("$ref").and_then(Value::as_str).and_then(|reference| super::follow(root, reference));
        let Some(next) = next else { break };
        at = next;
    }
    at
}
