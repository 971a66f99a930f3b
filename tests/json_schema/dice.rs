//! Random values of a schema, and random changes of values.

use serde_json::{Value, json};

/// Numbers from a seed.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// A text with characters that JSON and UTF-8 treat specially.
    fn text(&mut self) -> String {
        (0..self.below(6)).map(|_| ['a', 'ü', '\0', '🧵', '"', '\\', '\n', '/'][self.below(8)]).collect()
    }

    fn integer(&mut self) -> i64 {
        match self.below(4) {
            0 => self.below(3) as i64 - 1,
            1 => [i64::MIN, i64::MAX, 9_007_199_254_740_993][self.below(3)],
            _ => self.next().cast_signed() >> self.below(64),
        }
    }

    fn number(&mut self) -> f64 {
        match self.below(3) {
            0 => [0.0, -0.0, 1.5, f64::MAX, f64::MIN_POSITIVE, 1e300, -0.1][self.below(7)],
            _ => f64::from_bits(self.next() % (0x7fe << 52)),
        }
    }

    /// A value of the schema; `root` has its definitions.
    pub(super) fn value(&mut self, root: &Value, schema: &Value, depth: usize) -> Value {
        if let Some(pointer) = schema.get("$ref").and_then(Value::as_str) {
            return self.value(root, root.pointer(&pointer[1..]).unwrap(), depth);
        }
        if let Some(list) = schema.get("oneOf").or(schema.get("enum")).and_then(Value::as_array) {
            let chosen = &list[self.below(list.len())];
            return if schema.get("enum").is_some() { chosen.clone() } else { self.value(root, chosen, depth) };
        }
        if let Some(constant) = schema.get("const") {
            return constant.clone();
        }
        let ty = match &schema["type"] {
            Value::Array(types) => types[self.below(types.len())].clone(),
            ty => ty.clone(),
        };
        let count = if depth > 4 { 0 } else { self.below(4) };
        match ty.as_str() {
            Some("null") => Value::Null,
            Some("boolean") => (self.below(2) == 1).into(),
            Some("integer") => self.integer().into(),
            Some("number") => self.number().into(),
            Some("string") => self.text().into(),
            Some("array") => (0..count).map(|_| self.value(root, &schema["items"], depth + 1)).collect(),
            Some("object") => self.object(root, schema, depth, count),
            _ => [json!(null), json!(7), json!({"a": [1.5, {"b": "ü"}]}), json!([])][self.below(4)].clone(),
        }
    }

    fn object(&mut self, root: &Value, schema: &Value, depth: usize, count: usize) -> Value {
        let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut members = serde_json::Map::new();
        for (name, member) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let often = if depth > 2 { 5 } else { 2 };
            if required.contains(&json!(name)) || self.below(often) == 0 {
                members.insert(name.clone(), self.value(root, member, depth + 1));
            }
        }
        if let Some(values @ Value::Object(_)) = schema.get("additionalProperties") {
            members.extend((0..count).map(|_| (self.text(), self.value(root, values, depth + 1))));
        }
        let mut members = members.into_iter().collect::<Vec<_>>();
        // Members come in any order.
        members.sort_by_cached_key(|_| self.next());
        members.into_iter().collect()
    }

    /// Changes something somewhere in a value.
    pub(super) fn change(&mut self, value: &mut Value) {
        let others =
            [json!(null), json!(1), json!(1.5), json!("transfer"), json!([]), json!({}), json!(true), json!(2.0)];
        let inner = match value {
            Value::Array(items) => items.len(),
            Value::Object(members) => members.len(),
            _ => 0,
        };
        if inner == 0 || self.below(4) == 0 {
            *value = others[self.below(others.len())].clone();
            return;
        }
        let place = self.below(inner);
        match value {
            Value::Array(items) => self.change(&mut items[place]),
            Value::Object(members) => {
                let name = members.keys().nth(place).unwrap().clone();
                match self.below(4) {
                    0 => drop(members.remove(&name)),
                    1 => drop(members.insert("another".to_owned(), others[self.below(others.len())].clone())),
                    _ => self.change(&mut members[&name]),
                }
            }
            _ => {}
        }
    }
}
