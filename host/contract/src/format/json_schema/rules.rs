//! The rules of a schema beyond its types, checked by the crate `jsonschema`.
//!
//! The crate fetches nothing here, because a schema includes everything to which it refers. Its checks remember their
//! results, so they end soon, but its explanations do not. So only values for which few schemas apply are explained.

use std::collections::BTreeMap;

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

use super::follow;
use super::keywords::text;

/// The maximum number of schemas that may apply to one value, which bounds the time.
const STEPS_MAX: u64 = 1_000_000;
/// The maximum depth of references among schemas, which bounds the stack.
const DEPTH_MAX: usize = 400;
/// The maximum number of attempts of a pattern that looks behind and ahead.
const BACKTRACKS_MAX: usize = 100_000;
/// The maximum size of a compiled pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;
/// The drafts, by what the address of each has in it.
const DRAFTS: [(&str, &str); 6] = [
    ("draft-04", DRAFT_4),
    ("draft-06", "http://json-schema.org/draft-06/schema#"),
    ("draft-07", DRAFT_7),
    ("2019-09", "https://json-schema.org/draft/2019-09/schema"),
    ("2020-12", NEWEST),
    ("//json-schema.org/schema", NEWEST),
];
const DRAFT_4: &str = "http://json-schema.org/draft-04/schema#";
const DRAFT_7: &str = "http://json-schema.org/draft-07/schema#";
const NEWEST: &str = "https://json-schema.org/draft/2020-12/schema";
/// Drafts that nothing here reads.
const TOO_OLD: [&str; 4] = ["draft-00", "draft-01", "draft-02", "draft-03"];
/// The characters of an explanation that are shown.
const CHARS_SHOWN: usize = 300;

/// The compiled rules of a schema.
#[derive(Debug)]
pub(super) struct Rules {
    validator: Validator,
    /// The maximum number of schemas that apply to one value.
    steps: u64,
    /// True if a schema contains itself, so that the number of applied schemas depends on the depth of a value.
    is_endless: bool,
}

impl Rules {
    /// Compiles a schema that includes everything to which it refers.
    pub(super) fn of(schema: &Value) -> Result<Self, String> {
        let anchors = anchors(schema);
        let count = |within| Unfolding { root: schema, anchors: &anchors, known: BTreeMap::new(), within }.of_all();
        let steps = count(true);
        if steps > STEPS_MAX {
            return Err(format!("more than {STEPS_MAX} schemas would apply to one value"));
        }
        let validator = built(schema)?;
        Ok(Self { validator, steps, is_endless: count(false) > STEPS_MAX })
    }

    /// Checks a value. Returns the place and the reason if it does not fit.
    pub(super) fn check(&self, value: &Value) -> Result<(), (String, String)> {
        if self.validator.is_valid(value) {
            return Ok(());
        }
        let unexplained = (String::new(), "the value does not fit the schema".to_owned());
        if self.is_endless && self.steps.saturating_pow(depth(value)) > STEPS_MAX {
            return Err(unexplained);
        }
        Err(match self.validator.validate(value) {
            Err(error) => (path(error.instance_path().as_str(), value), short(&error.to_string())),
            Ok(()) => unexplained,
        })
    }
}

/// Compiles a schema. What only some validators understand is left out if it has to be.
fn built(schema: &Value) -> Result<Validator, String> {
    let named = text(schema, "$schema").unwrap_or_default();
    if let Some(old) = TOO_OLD.iter().find(|draft| named.contains(*draft)) {
        return Err(format!("it is written by {old}; drafts 4 to 2020-12 are understood"));
    }
    let said = DRAFTS.iter().find(|(name, _)| named.contains(name));
    // The newest draft is the default, but older ones wrote tuples and exclusive bounds in another way.
    let drafts = said.map_or(vec![NEWEST, DRAFT_7, DRAFT_4], |(_, draft)| vec![*draft]);
    let (mut plain, mut first) = (schema.clone(), None);
    for _ in 0..2 {
        for draft in &drafts {
            // The draft is named as the crate knows it, however the schema names it.
            if let Value::Object(object) = &mut plain {
                object.insert("$schema".to_owned(), (*draft).into());
            }
            match options().build(&plain) {
                Ok(validator) => return Ok(validator),
                Err(error) => first = first.or_else(|| Some(at_place(&error))),
            }
        }
        tolerate(&mut plain, drafts != [DRAFT_4]);
    }
    Err(first.unwrap_or_default())
}

/// An error of a schema, with its place.
fn at_place(error: &jsonschema::ValidationError<'_>) -> String {
    let place = error.instance_path().as_str();
    let what = short(&error.to_string());
    if place.is_empty() { what } else { format!("at `#{place}`: {what}") }
}

/// Takes out what authors write and validators ignore: patterns of other dialects, and `required` of draft 3. With
/// `has_bounds`, exclusive bounds become those of later drafts than 4.
fn tolerate(schema: &mut Value, has_bounds: bool) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(|item| tolerate(item, has_bounds)),
        Value::Object(object) => {
            for (key, plain) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
                if let (true, Some(Value::Bool(is_exclusive))) = (has_bounds, object.get(key).cloned()) {
                    object.shift_remove(key);
                    let bound = if is_exclusive { object.shift_remove(plain) } else { None };
                    object.extend(bound.map(|bound| (key.to_owned(), bound)));
                }
            }
            if object.get("required").is_some_and(Value::is_boolean) {
                object.shift_remove("required");
            }
            if object.get("pattern").and_then(Value::as_str).is_some_and(|pattern| !is_pattern(pattern)) {
                object.shift_remove("pattern");
            }
            if let Some(Value::Object(patterns)) = object.get_mut("patternProperties") {
                let before = patterns.len();
                patterns.retain(|pattern, _| is_pattern(pattern));
                // Which members the others are is not known then.
                if patterns.len() < before {
                    object.shift_remove("additionalProperties");
                    object.shift_remove("unevaluatedProperties");
                }
            }
            let inner = object.iter_mut().filter(|(key, _)| !HOLDING_VALUES.contains(&key.as_str()));
            inner.for_each(|(_, inner)| tolerate(inner, has_bounds));
        }
        _ => {}
    }
}

/// The patterns of a schema that cannot be checked.
pub(super) fn unchecked(schema: &Value) -> Vec<&str> {
    let (mut found, mut todo) = (vec![], vec![schema]);
    while let Some(value) = todo.pop() {
        match value {
            Value::Array(items) => todo.extend(items),
            Value::Object(object) => {
                let named = object.get("patternProperties").and_then(Value::as_object).into_iter().flatten();
                let patterns = object.get("pattern").and_then(Value::as_str).into_iter();
                found.extend(patterns.chain(named.map(|(name, _)| name.as_str())).filter(|text| !is_pattern(text)));
                let inner = object.iter().filter(|(key, _)| !HOLDING_VALUES.contains(&key.as_str()));
                todo.extend(inner.map(|(_, inner)| inner));
            }
            _ => {}
        }
    }
    found
}

fn is_pattern(pattern: &str) -> bool {
    options().build(&serde_json::json!({ "pattern": pattern })).is_ok()
}

fn options() -> jsonschema::ValidationOptions<'static> {
    let patterns = PatternOptions::fancy_regex().backtrack_limit(BACKTRACKS_MAX).size_limit(PATTERN_BYTES_MAX);
    jsonschema::options()
        // Formats and encodings are annotations, as in most validators.
        .should_validate_formats(false)
        .without_content_encoding_support("base64")
        .without_content_media_type_support("application/json")
        .with_pattern_options(patterns.dfa_size_limit(PATTERN_BYTES_MAX))
        .offline()
}

/// The nesting of arrays and objects.
fn depth(value: &Value) -> u32 {
    let inner = match value {
        Value::Array(items) => items.iter().map(depth).max(),
        Value::Object(members) => members.values().map(depth).max(),
        _ => return 0,
    };
    1 + inner.unwrap_or_default()
}

/// Converts a JSON pointer to the notation of other messages: `lines[2].price`.
fn path(pointer: &str, value: &Value) -> String {
    let (mut path, mut at) = (String::new(), Some(value));
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        if let Some(Value::Array(items)) = at {
            path.push_str(&format!("[{step}]"));
            at = step.parse::<usize>().ok().and_then(|place| items.get(place));
        } else {
            path.push_str(if path.is_empty() { "" } else { "." });
            path.push_str(&step);
            at = at.and_then(|value| value.get(&step));
        }
    }
    path
}

fn short(text: &str) -> String {
    let mut shown = text.chars().take(CHARS_SHOWN).collect::<String>();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// A schema that accepts values of an older or newer version: it ignores unknown members, and required members with a
/// default may be absent.
pub(super) fn lenient(schema: &Value) -> Value {
    let mut lenient = schema.clone();
    relax(&mut lenient);
    lenient
}

fn relax(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(relax),
        Value::Object(object) => {
            if let Some(properties) = object.get("properties").and_then(Value::as_object) {
                let with_default = properties.iter().filter(|(_, member)| member.get("default").is_some());
                let with_default = with_default.map(|(name, _)| name.clone()).collect::<Vec<_>>();
                if let Some(Value::Array(names)) = object.get_mut("required") {
                    names.retain(|name| !with_default.iter().any(|other| name == other));
                }
                for key in ["additionalProperties", "unevaluatedProperties"] {
                    if object.get(key) == Some(&Value::Bool(false)) {
                        object.shift_remove(key);
                    }
                }
                if object.get("required").and_then(Value::as_array).is_some_and(Vec::is_empty) {
                    object.shift_remove("required");
                }
            }
            let inner = object.iter_mut().filter(|(key, _)| !HOLDING_VALUES.contains(&key.as_str()));
            inner.for_each(|(_, inner)| relax(inner));
        }
        _ => {}
    }
}

/// Keywords that hold values instead of schemas.
const HOLDING_VALUES: [&str; 4] = ["const", "default", "enum", "examples"];
/// Keywords whose schemas apply to the same value.
const SAME_VALUE: [&str; 9] =
    ["allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies"];
/// Keywords whose schemas apply to a part of the value.
const PART: [&str; 11] = [
    "properties",
    "patternProperties",
    "additionalProperties",
    "unevaluatedProperties",
    "propertyNames",
    "items",
    "prefixItems",
    "additionalItems",
    "unevaluatedItems",
    "contains",
    "extends",
];
/// Keywords whose members are schemas under names.
const NAMED: [&str; 4] = ["properties", "patternProperties", "dependentSchemas", "dependencies"];

/// The schemas that references can name, by that name.
fn anchors(root: &Value) -> BTreeMap<&str, &Value> {
    let (mut found, mut todo) = (BTreeMap::new(), vec![root]);
    while let Some(value) = todo.pop() {
        if let Value::Object(object) = value {
            for key in ["$id", "id", "$anchor", "$dynamicAnchor"] {
                if let Some(name) = object.get(key).and_then(Value::as_str) {
                    found.insert(name.trim_end_matches('#'), value);
                    found.insert(name.trim_end_matches('#').rsplit('/').next().unwrap_or_default(), value);
                }
            }
            todo.extend(object.values());
        } else if let Value::Array(items) = value {
            todo.extend(items);
        }
    }
    found
}

/// Counts the schemas that a schema unfolds to.
struct Unfolding<'a> {
    root: &'a Value,
    anchors: &'a BTreeMap<&'a str, &'a Value>,
    /// The counts of schemas that were visited; `None` for those in progress.
    known: BTreeMap<*const Value, Option<u64>>,
    /// True if only schemas that apply to the same value count. Otherwise, a schema that contains itself is endless.
    within: bool,
}

impl<'a> Unfolding<'a> {
    /// The largest count of all schemas in the document.
    fn of_all(&mut self) -> u64 {
        let (mut largest, mut todo) = (0, vec![self.root]);
        while let Some(value) = todo.pop() {
            match value {
                Value::Object(object) => {
                    largest = largest.max(self.count(value, 0));
                    let inner = object.iter().filter(|(key, _)| !HOLDING_VALUES.contains(&key.as_str()));
                    todo.extend(inner.map(|(_, inner)| inner));
                }
                Value::Array(items) => todo.extend(items),
                _ => {}
            }
        }
        largest
    }

    fn count(&mut self, schema: &'a Value, depth: usize) -> u64 {
        let key = std::ptr::from_ref(schema);
        match self.known.get(&key) {
            Some(Some(known)) => return *known,
            // The crate detects that it checks a value with the same schema again.
            Some(None) => return if self.within { 1 } else { u64::MAX },
            None if depth > DEPTH_MAX => return u64::MAX,
            None => {}
        }
        self.known.insert(key, None);
        let count =
            self.inner(schema).into_iter().fold(1u64, |sum, inner| sum.saturating_add(self.count(inner, depth + 1)));
        self.known.insert(key, Some(count));
        count
    }

    /// The schemas that a schema applies to a value or its parts.
    fn inner(&self, schema: &'a Value) -> Vec<&'a Value> {
        let Value::Object(object) = schema else { return vec![] };
        let mut found = vec![];
        for (key, value) in object {
            let key = key.as_str();
            if SAME_VALUE.contains(&key) || (!self.within && PART.contains(&key)) {
                match value {
                    Value::Array(items) => found.extend(items),
                    Value::Object(members) if NAMED.contains(&key) => found.extend(members.values()),
                    other => found.push(other),
                }
            }
            if let ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(reference)) = (key, value) {
                let (file, anchor) = reference.split_once('#').unwrap_or((reference, ""));
                let name = if anchor.is_empty() { file.rsplit('/').next().unwrap_or_default() } else { anchor };
                found.extend(follow(self.root, reference).or_else(|| self.anchors.get(name).copied()));
            }
        }
        found
    }
}
