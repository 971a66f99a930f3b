//! Derives a schema from values, as a first draft of what a topic of plain JSON holds.
//!
//! The draft says what the values have in common and leaves objects open, so that later values may have more members.
//! It guesses no constants and no bounds.

use serde_json::{Map, Value, json};

/// From this number of names on, an object whose names all differ is taken for a map.
const MAP_NAMES_MIN: usize = 20;

/// The knowledge about the values of one place.
#[derive(Clone, Debug, Default)]
pub struct Inferred {
    has_null: bool,
    has_bool: bool,
    has_whole: bool,
    has_fraction: bool,
    has_text: bool,
    items: Option<Box<Inferred>>,
    members: Option<Members>,
}

/// The members of the objects at one place.
#[derive(Clone, Debug, Default)]
struct Members {
    /// The number of objects.
    objects: u64,
    /// The members by name, in the order in which they were seen first, and how many objects have them.
    by_name: Vec<(String, u64, Inferred)>,
}

impl Inferred {
    /// Takes a value into account.
    pub fn add(&mut self, value: &Value) {
        match value {
            Value::Null => self.has_null = true,
            Value::Bool(_) => self.has_bool = true,
            Value::Number(number) if number.is_f64() => self.has_fraction = true,
            Value::Number(_) => self.has_whole = true,
            Value::String(_) => self.has_text = true,
            Value::Array(items) => {
                let all = self.items.get_or_insert_default();
                items.iter().for_each(|item| all.add(item));
            }
            Value::Object(members) => self.members.get_or_insert_default().add(members),
        }
    }

    /// The schema of a topic's values.
    #[must_use]
    pub fn document(&self, title: &str) -> Value {
        let mut document = Map::from_iter([
            ("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into()),
            ("title".to_owned(), title.into()),
        ]);
        document.extend(self.keywords());
        document.into()
    }

    /// The keywords that describe the values. There are none if nothing is known.
    fn keywords(&self) -> Map<String, Value> {
        let number = if self.has_fraction { "number" } else { "integer" };
        let types = [
            ("boolean", self.has_bool),
            (number, self.has_whole || self.has_fraction),
            ("string", self.has_text),
            ("array", self.items.is_some()),
            ("object", self.members.is_some()),
        ];
        let mut types = types.into_iter().filter(|(_, is_there)| *is_there).map(|(ty, _)| ty).collect::<Vec<_>>();
        let mut keywords = Map::new();
        if types.is_empty() {
            // Null alone does not say what else there may be.
            return keywords;
        }
        types.extend(self.has_null.then_some("null"));
        keywords.insert("type".to_owned(), if let [ty] = types[..] { ty.into() } else { json!(types) });
        if let Some(items) = &self.items {
            keywords.insert("items".to_owned(), items.keywords().into());
        }
        if let Some(members) = &self.members {
            keywords.extend(members.keywords());
        }
        keywords
    }

    fn merge(&mut self, other: &Self) {
        self.has_null |= other.has_null;
        self.has_bool |= other.has_bool;
        self.has_whole |= other.has_whole;
        self.has_fraction |= other.has_fraction;
        self.has_text |= other.has_text;
        if let Some(items) = &other.items {
            self.items.get_or_insert_default().merge(items);
        }
        if let Some(members) = &other.members {
            let all = self.members.get_or_insert_default();
            all.objects += members.objects;
            for (name, count, member) in &members.by_name {
                let (known, all) = all.of(name);
                *known += count;
                all.merge(member);
            }
        }
    }
}

impl Members {
    fn add(&mut self, members: &Map<String, Value>) {
        self.objects += 1;
        for (name, value) in members {
            let (count, member) = self.of(name);
            *count += 1;
            member.add(value);
        }
    }

    fn of(&mut self, name: &str) -> (&mut u64, &mut Inferred) {
        let place = self.by_name.iter().position(|(known, ..)| known == name).unwrap_or_else(|| {
            self.by_name.push((name.to_owned(), 0, Inferred::default()));
            self.by_name.len() - 1
        });
        let (_, count, member) = &mut self.by_name[place];
        (count, member)
    }

    fn keywords(&self) -> Map<String, Value> {
        let required = self.by_name.iter().filter(|(_, count, _)| *count == self.objects);
        let required = required.map(|(name, ..)| Value::from(name.as_str())).collect::<Vec<_>>();
        if required.is_empty() && self.by_name.len() >= MAP_NAMES_MIN {
            let mut values = Inferred::default();
            self.by_name.iter().for_each(|(.., member)| values.merge(member));
            return Map::from_iter([("additionalProperties".to_owned(), values.keywords().into())]);
        }
        let property = |(name, _, member): &(String, u64, Inferred)| (name.clone(), member.keywords().into());
        let properties = self.by_name.iter().map(property).collect::<Map<_, _>>();
        let mut keywords = Map::new();
        if !required.is_empty() {
            keywords.insert("required".to_owned(), required.into());
        }
        keywords.insert("properties".to_owned(), properties.into());
        keywords
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inferred(values: &[Value]) -> Value {
        let mut all = Inferred::default();
        values.iter().for_each(|value| all.add(value));
        all.document("T")
    }

    #[test]
    fn a_draft_says_what_values_have_in_common() {
        let document = inferred(&[
            json!({"id": "a", "n": 1, "price": 2, "lines": [{"x": true}], "note": null, "odd": 1, "none": null}),
            json!({"id": "b", "n": 2, "price": 2.5, "lines": [], "note": "n", "odd": "1", "more": {"deep": [[1]]}}),
        ]);
        assert_eq!(
            document,
            json!({
                "$schema": "https://json-schema.org/draft/2020-12/schema", "title": "T", "type": "object",
                "required": ["id", "n", "price", "lines", "note", "odd"],
                "properties": {
                    "id": {"type": "string"}, "n": {"type": "integer"}, "price": {"type": "number"},
                    "lines": {"type": "array", "items": {
                        "type": "object", "required": ["x"], "properties": {"x": {"type": "boolean"}}}},
                    "note": {"type": ["string", "null"]}, "odd": {"type": ["integer", "string"]}, "none": {},
                    "more": {"type": "object", "required": ["deep"], "properties": {
                        "deep": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}}}
                }
            })
        );
    }

    #[test]
    fn many_names_without_a_common_one_are_a_map() {
        let values = (0..30).map(|n| json!({ format!("k{n}"): {"n": n, format!("m{n}"): 1} })).collect::<Vec<_>>();
        let document = inferred(&values);
        assert_eq!(document["additionalProperties"]["required"], json!(["n"]));
        assert_eq!(document.get("properties"), None);
        // Nothing is known about no value.
        assert_eq!(inferred(&[]).as_object().unwrap().len(), 2);
    }
}
