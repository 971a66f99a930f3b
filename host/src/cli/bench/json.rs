//! Values of a JSON Schema, generated from a number: the same number gives the same value.
//!
//! Keywords that say more than types are honoured as far as that is simple; a pattern is not, unless the schema has
//! `examples` beside it. The caller checks the values.

use heddle_contract::format::json_schema::Schema;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};
use serde_json::{Map, Number, Value, json};

use super::values::{ITEMS_MAX, TEXTS, text};

/// The depth from which lists are empty and optional members are absent.
const DEPTH_MAX: usize = 6;
/// The number of schemas that a reference or a combination may lead through.
const STEPS_MAX: usize = 50;
/// The keywords whose schemas all apply to the value.
const COMBINED: &str = "allOf";
/// The keywords of which one schema applies to the value.
const CHOSEN: [&str; 2] = ["oneOf", "anyOf"];

type Object = Map<String, Value>;

/// Generates one value.
struct Maker<'a> {
    schema: &'a Schema,
    /// The number of the value.
    number: u64,
    dice: ChaCha8Rng,
}

/// The value with this number. `id` is the path of members to the message id.
pub(super) fn value(schema: &Schema, number: u64, id: Option<&[String]>) -> Value {
    Maker { schema, number, dice: ChaCha8Rng::seed_from_u64(number) }.value(schema.bundled(), 0, id)
}

impl Maker<'_> {
    fn below(&mut self, bound: u64) -> u64 {
        self.dice.next_u64() % bound.max(1)
    }

    fn one_of<'v>(&mut self, values: &'v [Value]) -> Option<&'v Value> {
        let place = self.below(values.len() as u64);
        values.get(usize::try_from(place).unwrap_or_default())
    }

    /// A value of `schema`. `id` holds the remaining members on the path to the message id, and is empty at the id
    /// itself.
    fn value(&mut self, schema: &Value, depth: usize, id: Option<&[String]>) -> Value {
        let schema = self.resolved(schema, id.is_some());
        let is_id = id.is_some_and(<[String]>::is_empty);
        if let Some(constant) = schema.get("const") {
            return constant.clone();
        }
        let listed = ["enum", "examples"].into_iter().filter(|_| !is_id);
        let listed = listed.filter_map(|key| schema.get(key)?.as_array()).find(|values| !values.is_empty());
        if let Some(value) = listed.and_then(|values| self.one_of(values)) {
            return value.clone();
        }
        match self.ty(&schema, id.is_some(), depth) {
            "object" => self.object(&schema, depth, id),
            "array" => self.array(&schema, depth),
            "integer" if is_id => self.number.into(),
            "integer" => self.integer(&schema),
            "number" => self.fraction(&schema),
            "boolean" => (self.below(2) == 1).into(),
            "null" => Value::Null,
            _ => self.string(&schema, is_id).into(),
        }
    }

    /// The schema with all that it refers to and combines in one object. Of several alternatives one is chosen;
    /// `null` is not, if a value is needed.
    fn resolved(&mut self, schema: &Value, is_needed: bool) -> Object {
        let (mut all, mut open) = (Object::new(), vec![schema.clone()]);
        for _ in 0..STEPS_MAX {
            let Some(Value::Object(mut next)) = open.pop() else { break };
            if let Some(Value::String(reference)) = next.shift_remove("$ref") {
                open.extend(self.schema.target(&reference).cloned());
            }
            if let Some(Value::Array(combined)) = next.shift_remove(COMBINED) {
                open.extend(combined);
            }
            for key in CHOSEN {
                let Some(Value::Array(mut choices)) = next.shift_remove(key) else { continue };
                let is_null = |choice: &Value| choice.get("type").is_some_and(|ty| ty == "null");
                if is_needed && !choices.iter().all(is_null) {
                    choices.retain(|choice| !is_null(choice));
                }
                open.extend(self.one_of(&choices).cloned());
            }
            merge(&mut all, next);
        }
        all
    }

    fn ty<'s>(&mut self, schema: &'s Object, is_needed: bool, depth: usize) -> &'s str {
        let implied = || match schema {
            _ if ["properties", "required", "additionalProperties"].iter().any(|key| schema.contains_key(*key)) => {
                "object"
            }
            _ if schema.contains_key("items") => "array",
            _ if ["minimum", "maximum", "multipleOf"].iter().any(|key| schema.contains_key(*key)) => "number",
            _ => "string",
        };
        match schema.get("type") {
            Some(Value::String(ty)) => ty,
            Some(Value::Array(types)) => {
                let (null, others) = types.iter().partition::<Vec<_>, _>(|ty| *ty == "null");
                let is_null = others.is_empty() || (!null.is_empty() && !is_needed && self.below(4) == 0);
                let chosen = if is_null || depth >= DEPTH_MAX && !null.is_empty() { None } else { others.first() };
                chosen.and_then(|ty| ty.as_str()).unwrap_or("null")
            }
            _ => implied(),
        }
    }

    fn object(&mut self, schema: &Object, depth: usize, id: Option<&[String]>) -> Value {
        let mut members = Object::new();
        let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
        let next = id.and_then(<[String]>::split_first);
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, member) in properties.into_iter().flatten() {
            let rest = next.filter(|(step, _)| *step == name).map(|(_, rest)| rest);
            let is_needed = required.iter().any(|other| other == name) || rest.is_some();
            if is_needed || (depth < DEPTH_MAX && self.below(2) == 1) {
                members.insert(name.clone(), self.value(member, depth + 1, rest));
            }
        }
        for name in required.iter().filter_map(Value::as_str) {
            if !members.contains_key(name) {
                members.insert(name.to_owned(), self.below(TEXTS).into());
            }
        }
        if let (None, Some(values @ Value::Object(_))) = (properties, schema.get("additionalProperties")) {
            for number in 0..if depth >= DEPTH_MAX { 0 } else { 1 + self.below(ITEMS_MAX) } {
                members.insert(text(number), self.value(values, depth + 1, None));
            }
        }
        members.into()
    }

    fn array(&mut self, schema: &Object, depth: usize) -> Value {
        let (least, most) = (length(schema, "minItems").unwrap_or(0), length(schema, "maxItems").unwrap_or(u64::MAX));
        let usual = if depth >= DEPTH_MAX { 0 } else { 1 + self.below(ITEMS_MAX) };
        // A tuple has a schema for each place.
        let tuple = ["prefixItems", "items"].into_iter().find_map(|key| schema.get(key)?.as_array());
        let anything = json!({});
        let mut items = vec![];
        for place in 0..tuple.map_or(usual.max(least).min(most), |tuple| tuple.len() as u64) {
            let place = usize::try_from(place).unwrap_or_default();
            let item = tuple.and_then(|tuple| tuple.get(place)).or_else(|| schema.get("items"));
            let item = self.value(item.unwrap_or(&anything), depth + 1, None);
            if schema.get("uniqueItems") != Some(&Value::Bool(true)) || !items.contains(&item) {
                items.push(item);
            }
        }
        items.into()
    }

    fn integer(&mut self, schema: &Object) -> Value {
        let bound = |key: &str| schema.get(key).and_then(Value::as_i64);
        let is_open = |key: &str| schema.get(key) == Some(&Value::Bool(true));
        let least = bound("exclusiveMinimum").map(|least| least.saturating_add(1));
        let least = least.or(bound("minimum").map(|least| least.saturating_add(is_open("exclusiveMinimum").into())));
        let most = bound("exclusiveMaximum").map(|most| most.saturating_sub(1));
        let most = most.or(bound("maximum").map(|most| most.saturating_sub(is_open("exclusiveMaximum").into())));
        let step = bound("multipleOf").filter(|step| *step > 0).unwrap_or(1);
        let least = least.unwrap_or_else(|| most.map_or(0, |most| most.min(0)));
        let first = least.div_euclid(step) + i64::from(least.rem_euclid(step) > 0);
        let last = most.map_or(first.saturating_add(TEXTS.cast_signed() - 1), |most| most.div_euclid(step));
        let count = last.saturating_sub(first).saturating_add(1).clamp(1, TEXTS.cast_signed()).cast_unsigned();
        first.saturating_add(self.below(count).cast_signed()).saturating_mul(step).into()
    }

    fn fraction(&mut self, schema: &Object) -> Value {
        let bound = |keys: [&str; 2]| keys.into_iter().find_map(|key| schema.get(key)?.as_f64());
        let (least, most) = (bound(["minimum", "exclusiveMinimum"]), bound(["maximum", "exclusiveMaximum"]));
        if schema.contains_key("multipleOf") {
            return self.integer(schema);
        }
        let least = least.unwrap_or_else(|| most.map_or(0.0, |most| most.min(0.0)));
        // A step that no bound falls on.
        let step = most.map_or(0.25, |most| (most - least) / (TEXTS + 2) as f64);
        let value = least + step * (1 + self.below(TEXTS)) as f64;
        Number::from_f64(value).map_or_else(|| 0.into(), Value::Number)
    }

    fn string(&mut self, schema: &Object, is_id: bool) -> String {
        let number = if is_id { self.number } else { self.below(TEXTS) };
        let (hour, minute, second) = (number / 3_600 % 24, number / 60 % 60, number % 60);
        let time = format!("{hour:02}:{minute:02}:{second:02}Z");
        let day = format!("2026-01-{:02}", 1 + number % 28);
        let made = match schema.get("format").and_then(Value::as_str) {
            Some("uuid") => format!("00000000-0000-4000-8000-{number:012x}"),
            Some("date-time") if !is_id => format!("{day}T{time}"),
            Some("date") if !is_id => day,
            Some("time") if !is_id => time,
            Some("email") => format!("someone-{number}@example.com"),
            Some("uri") => format!("https://example.com/{number}"),
            _ if is_id => format!("id-{number}"),
            _ => text(number),
        };
        let least = usize::try_from(length(schema, "minLength").unwrap_or(0)).unwrap_or_default();
        let most = length(schema, "maxLength").and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
        // Texts differ at their end.
        let cut = made.chars().count().saturating_sub(most);
        format!("{:x>least$}", made.chars().skip(cut).collect::<String>())
    }
}

fn length(schema: &Object, key: &str) -> Option<u64> {
    schema.get(key)?.as_u64()
}

/// Adds the keywords of another schema of the same value.
fn merge(all: &mut Object, more: Object) {
    for (key, value) in more {
        match all.get_mut(&key) {
            Some(known) => join(known, &key, value),
            None => drop(all.insert(key, value)),
        }
    }
}

/// Adds to a keyword what another schema of the same value says by it.
fn join(known: &mut Value, key: &str, more: Value) {
    match (known, more) {
        (Value::Object(known), Value::Object(more)) if key == "properties" => {
            for (name, member) in more {
                match (known.get_mut(&name), member) {
                    (Some(Value::Object(known)), Value::Object(member)) => known.extend(member),
                    (_, member) => drop(known.insert(name, member)),
                }
            }
        }
        (Value::Array(known), Value::Array(more)) if key == "required" => known.extend(more),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use heddle_contract::format::{self, Entry, parse};
    use heddle_contract::section::SchemaFormat;

    use super::*;

    #[test]
    fn values_fit_their_schema_and_differ_in_the_id() {
        let schema = json!({
            "type": "object", "additionalProperties": false, "required": ["order", "kind", "at", "lines", "payment"],
            "properties": {
                "order": {"$ref": "#/$defs/Order"}, "kind": {"const": "x"}, "at": {"type": "string", "format": "date-time"},
                "size": {"type": "integer", "minimum": 3, "maximum": 9, "multipleOf": 3},
                "share": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
                "code": {"type": "string", "pattern": "^[A-Z]{3}$", "examples": ["ABC", "XYZ"]},
                "name": {"type": "string", "minLength": 20, "maxLength": 25}, "short": {"type": "string", "maxLength": 3},
                "lines": {"type": "array", "minItems": 2, "items": {"type": ["integer", "null"]}},
                "pair": {"prefixItems": [{"type": "string"}, {"type": "boolean"}], "items": false},
                "payment": {"oneOf": [
                    {"type": "object", "required": ["type"], "properties": {"type": {"const": "card"}}},
                    {"type": "object", "required": ["type", "iban"],
                        "properties": {"type": {"const": "transfer"}, "iban": {"type": "string"}}}]},
                "tree": {"$ref": "#/$defs/Tree"}, "counts": {"additionalProperties": {"type": "integer"}},
                "both": {"allOf": [{"$ref": "#/$defs/Order"}, {"properties": {"id": {"minLength": 2}}}]},
                "any": true
            },
            "$defs": {
                "Order": {"type": "object", "properties": {"id": {"type": ["null", "string"]}}},
                "Tree": {"type": "object", "properties": {
                    "children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}}}
            }
        });
        let schema = parse(&Entry::new(SchemaFormat::Json, schema.to_string()), &[]);
        let Ok(format::Schema::JsonSchema(schema)) = schema else { panic!("{schema:?}") };
        let path = ["order".to_owned(), "id".to_owned()];
        let mut ids = BTreeSet::new();
        for number in 0..2_000 {
            let made = value(&schema, number, Some(&path));
            schema.check(&made).unwrap_or_else(|error| panic!("{number}: {error}: {made}"));
            assert_eq!(value(&schema, number, Some(&path)), made);
            ids.insert(made["order"]["id"].as_str().unwrap().to_owned());
        }
        assert_eq!(ids.len(), 2_000);
    }
}
