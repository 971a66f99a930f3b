//! JSON between its text and a component's values, compared with the crate `jsonschema`, which knows nothing of types.

mod clients;
mod components;
mod dice;

use std::sync::Arc;

use heddle::guest::codec::{Decoder, Encoder};
use heddle_contract::format::shape::Shapes;
use heddle_contract::format::{self, Entry, Schema};
use heddle_contract::section::SchemaFormat;
use heddle_fixtures::scaled;
use serde_json::{Value, json};
use wasmtime::component::Val;

use self::dice::Dice;

fn schema(value: &Value) -> Schema {
    format::parse(&Entry::new(SchemaFormat::Json, value.to_string()), &[]).unwrap()
}

/// Everything that becomes a type, and nothing that types do not say.
fn typed() -> Value {
    json!({
        "title": "Order", "type": "object", "additionalProperties": false,
        "required": ["id", "kind", "note", "lines", "status", "payment", "size"],
        "properties": {
            "id": {"type": "string"}, "kind": {"const": "order"}, "note": {"type": ["string", "null"]},
            "size": {"type": "integer"}, "ratio": {"type": "number"}, "gift": {"type": "boolean"},
            "nothing": {"type": "null"}, "status": {"enum": ["NEW", "PAID", ""]}, "mood": {"enum": ["good", null]},
            "lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}},
            "labels": {"type": "object", "additionalProperties": {"type": "integer"}},
            "bill": {"oneOf": [{"type": "null"}, {"$ref": "#/$defs/Line"}]},
            "empty": {"type": "object", "additionalProperties": false},
            "payment": {"oneOf": [{"$ref": "#/$defs/Transfer"}, {"$ref": "#/$defs/Card"}]}
        },
        "$defs": {
            "Line": {"type": "object", "required": ["product"], "properties": {
                "product": {"type": "string"}, "price": {"type": "number"}, "open": {"type": "integer"}}},
            "Transfer": {"type": "object", "required": ["type", "iban"], "properties": {
                "type": {"const": "transfer"}, "iban": {"type": "string"}}},
            "Card": {"type": "object", "required": ["type", "level"], "additionalProperties": false, "properties": {
                "level": {"const": 2}, "type": {"enum": ["card"]}, "number": {"type": "string"}}}
        }
    })
}

/// A schema with bounds, with places that are JSON, and one that contains itself.
fn ruled() -> Value {
    let mut schema = typed();
    schema["properties"]["size"]["minimum"] = json!(i64::MIN);
    schema["properties"]["extra"] = json!({"type": ["array", "object"], "items": {"type": "string"}});
    schema["properties"]["any"] = json!(true);
    schema["properties"]["version"] = json!({"const": 3});
    schema["properties"]["tree"] = json!({"$ref": "#/$defs/Tree"});
    schema["$defs"]["Tree"] = json!({"type": "object", "properties": {
        "name": {"type": "string"}, "parent": {"$ref": "#/$defs/Tree"},
        "children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}}});
    schema
}

/// Reads and writes values as components do.
struct Codec {
    schema: Schema,
    decoder: Decoder,
    encoder: Encoder,
}

impl Codec {
    fn of(value: &Value) -> Self {
        let schema = schema(value);
        assert_eq!(schema.inexpressible(), []);
        let shapes = Arc::new(Shapes::of(&schema));
        let decoder = Decoder::new(&schema, &schema, shapes.clone());
        Self { encoder: Encoder::new(schema.clone(), shapes), schema, decoder }
    }

    fn written(&self, value: &Val) -> Vec<u8> {
        let mut written = vec![];
        self.encoder.encode(value, &mut written).unwrap();
        written
    }
}

/// Returns true if both are the same, but for the way of writing numbers, and for members that are null or unknown.
fn is_same(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Number(a), Value::Number(b)) => a == b || (a.as_f64() == b.as_f64() && (a.is_f64() || b.is_f64())),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            let is_kept = |name: &String, value: &Value| match b.get(name) {
                Some(after) => is_same(value, after),
                None => value.is_null() || name == "another",
            };
            b.keys().all(|name| a.contains_key(name)) && a.iter().all(|(name, value)| is_kept(name, value))
        }
        (a, b) => a == b,
    }
}

#[test]
fn values_are_read_and_written_as_they_are() {
    for (text, is_ruled) in [(typed(), false), (ruled(), true)] {
        let codec = Codec::of(&text);
        let mut place = Val::Bool(false);
        for seed in 0..scaled(2_000, 50_000) {
            let mut dice = Dice(seed);
            let value = dice.value(&text, &text, 0);
            let bytes = if seed % 2 == 0 { value.to_string() } else { serde_json::to_string_pretty(&value).unwrap() };
            codec.schema.check(bytes.as_bytes()).unwrap_or_else(|e| panic!("seed {seed}: {e}: {bytes}"));
            let read = codec.decoder.decode(bytes.as_bytes()).unwrap_or_else(|e| panic!("seed {seed}: {e}: {bytes}"));
            let written = codec.written(&read);
            let again = serde_json::from_slice(&written).unwrap();
            assert!(is_same(&value, &again), "seed {seed}, ruled: {is_ruled}:\n{value}\n{again}");
            // The same value has the same bytes, whatever order it came in.
            assert_eq!(codec.written(&codec.decoder.decode(&written).unwrap()), written, "seed {seed}");
            // A value does not depend on the one whose memory it takes over.
            codec.decoder.decode_into(bytes.as_bytes(), &mut place).unwrap();
            assert_eq!(place, read, "seed {seed}");
        }
    }
}

#[test]
fn exactly_those_values_are_read_that_the_schema_accepts() {
    let (text, mut counts) = (typed(), [0, 0]);
    let codec = Codec::of(&text);
    // So nothing is checked by the crate that it is compared with.
    let Schema::JsonSchema(schema) = &codec.schema else { panic!() };
    assert!(!schema.types().has_rules);
    for seed in 0..scaled(10_000, 1_000_000) {
        let mut dice = Dice(seed);
        let mut value = dice.value(&text, &text, 0);
        (0..dice.below(3)).for_each(|_| dice.change(&mut value));
        let bytes = value.to_string();
        let (accepted, read) = (codec.schema.check(bytes.as_bytes()), codec.decoder.decode(bytes.as_bytes()));
        counts[usize::from(accepted.is_ok())] += 1;
        assert_eq!(accepted.is_ok(), read.is_ok(), "seed {seed}: {accepted:?}, {read:?}: {bytes}");
        if let Ok(read) = read {
            let again = serde_json::from_slice(&codec.written(&read)).unwrap();
            assert!(is_same(&value, &again), "seed {seed}:\n{value}\n{again}");
        }
    }
    assert!(counts.into_iter().all(|count| count > 1_000), "{counts:?}");
}

#[test]
fn no_bytes_panic_or_take_more_memory_than_their_size_allows() {
    for text in [typed(), ruled()] {
        let codec = Codec::of(&text);
        for seed in 0..scaled(20_000, 1_000_000) {
            let mut dice = Dice(seed);
            let mut bytes = dice.value(&text, &text, 0).to_string().into_bytes();
            for _ in 0..1 + dice.below(3) {
                let place = dice.below(bytes.len() + 1);
                match dice.below(3) {
                    0 => bytes.truncate(place),
                    1 => bytes.insert(place, dice.next() as u8),
                    _ => bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte = dice.next() as u8),
                }
            }
            if let Ok((value, taken)) = codec.decoder.decode_measured(&bytes) {
                assert!(taken <= 10_000 + 256 * bytes.len(), "seed {seed}: {taken}");
                codec.written(&value);
            }
        }
    }
    // Objects without members become records with many fields.
    let many = (0..30).map(|n| (format!("f{n}"), json!({"type": "string"}))).collect::<serde_json::Map<_, _>>();
    let codec = Codec::of(&json!({"type": "array", "items": {"type": "object", "properties": many}}));
    let objects = |count: usize| format!("[{}{{}}]", "{},".repeat(count));
    codec.decoder.decode(objects(1_000).as_bytes()).unwrap();
    let refused = codec.decoder.decode(objects(300_000).as_bytes()).unwrap_err();
    assert!(refused.is_beyond_bounds(), "{refused}");
    let deep = Codec::of(&ruled()).decoder.decode("[".repeat(100_000).as_bytes()).unwrap_err();
    assert!(deep.is_beyond_bounds(), "{deep}");
}

#[test]
fn values_that_do_not_fit_are_reported_with_their_place() {
    let codec = Codec::of(&typed());
    let refused = |text: &str| codec.decoder.decode(text.as_bytes()).unwrap_err().to_string();
    let order = |change: &str| {
        let rest =
            r#""kind":"order","note":null,"lines":[],"status":"NEW","payment":{"type":"transfer","iban":"D"},"size":1"#;
        format!("{{{change},{rest}}}")
    };
    codec.decoder.decode(order(r#""id":"a""#).as_bytes()).unwrap();
    assert_eq!(refused(&order(r#""gift":true"#)), "at `id`: it is missing");
    assert_eq!(refused(&order(r#""id":7"#)), "at `id`: a number where a string belongs");
    assert_eq!(refused(&order(r#""id":"a","lines":[]"#)), "the member `lines` at byte 56 occurs twice");
    assert_eq!(
        refused(&order(r#""id":"a","bill":{"product":"p","price":"1"}"#)),
        "at `bill.price`: a string where a number belongs"
    );
    assert_eq!(refused(&order(r#""id":"a","other":1"#)), "at `.`: there is no property `other`");
    assert_eq!(
        refused(&order(r#""id":"a","ratio":9007199254740993"#)),
        "the number 9007199254740993 at byte 18 does not fit a number of 64 bits"
    );
    assert_eq!(
        refused(&order(r#""id":"a","labels":{"x":9223372036854775808}"#)),
        "the number 9223372036854775808 at byte 24 does not fit an integer of 64 bits"
    );
    assert_eq!(refused(&order(r#""id":"a","labels":{"x":1,"x":2}"#)), "the member `x` at byte 32 occurs twice");
    let misfit = |value: Val| codec.encoder.encode(&value, &mut vec![]).unwrap_err().to_string();
    assert_eq!(misfit(Val::Bool(true)), "at `.`: a value of another type than the contract's");
    let number = Codec::of(&json!({"type": "number"}));
    let nan = number.encoder.encode(&Val::Float64(f64::NAN), &mut vec![]).unwrap_err().to_string();
    assert_eq!(nan, "at `.`: NaN is not a number in JSON");
}

#[test]
fn json_of_a_component_is_checked_and_not_rounded() {
    let codec = Codec::of(&json!({"type": "object", "required": ["a"]}));
    let text = " {\"a\": 0.12345678901234567890,  \"b c\": \"x \\\" y\"}\n";
    let value = codec.decoder.decode(text.as_bytes()).unwrap();
    assert_eq!(value, Val::String(text.trim().to_owned()));
    // Blanks go, numbers stay as they are written.
    assert_eq!(codec.written(&value), br#"{"a":0.12345678901234567890,"b c":"x \" y"}"#);
    let misfit = |text: &str| codec.encoder.encode(&Val::String(text.to_owned()), &mut vec![]).unwrap_err().to_string();
    assert_eq!(misfit("{}"), "at `.`: at `.`: \"a\" is a required property");
    assert!(misfit("{").contains("ends early"), "{}", misfit("{"));
    assert!(codec.decoder.decode(b"{}").unwrap_err().to_string().contains("required property"));
    assert!(codec.decoder.decode(br#"{"a":1,"a":2}"#).unwrap_err().to_string().contains("occurs twice"));
}

#[test]
fn another_version_is_read_as_far_as_it_is_known() {
    let old = json!({"title": "A", "type": "object", "additionalProperties": false, "required": ["id", "note"],
        "properties": {"id": {"type": "string", "minLength": 1}, "note": {"type": "string", "default": "none"}}});
    let mut new = old.clone();
    new["properties"] = json!({"id": {"type": "string"}, "more": {"type": "integer", "maximum": 9}});
    new["required"] = json!(["id"]);
    let (old, new) = (schema(&old), schema(&new));
    let shapes = Arc::new(Shapes::of(&old));
    let decoder = Decoder::new(&new, &old, shapes.clone());
    let field = |name: &str, text: &str| (name.to_owned(), Val::String(text.to_owned()));
    let read = decoder.decode(br#"{"more": 5, "id": "x"}"#).unwrap();
    assert_eq!(read, Val::Record(vec![field("id", "x"), field("note", "none")]));
    // The writer's rules count, and the reader's.
    assert!(decoder.decode(br#"{"more": 10, "id": "x"}"#).unwrap_err().to_string().starts_with("at `more`"));
    assert!(decoder.decode(br#"{"other": 1, "id": "x"}"#).is_err());
    assert!(decoder.decode(br#"{"id": ""}"#).unwrap_err().to_string().starts_with("at `id`"));
    // The component's own schema has no members that it does not know, and none that are missing.
    let own = Decoder::new(&old, &old, shapes);
    assert!(own.decode(br#"{"id": "x", "note": "n", "more": 1}"#).is_err());
    assert!(own.decode(br#"{"id": "x"}"#).is_err());
}

#[test]
fn unknown_types_are_distinguished_from_broken_values() {
    let union = |names: &[&str]| {
        let branch =
            |name: &&str| json!({"type": "object", "required": ["type"], "properties": {"type": {"const": name}}});
        schema(&json!({"title": "Event", "oneOf": names.iter().map(branch).collect::<Vec<_>>()}))
    };
    let (reader, writer) = (union(&["placed", "paid"]), union(&["placed", "paid", "sent"]));
    let decoder = Decoder::new(&writer, &reader, Arc::new(Shapes::of(&reader)));
    assert!(decoder.is_of_unknown_type(br#"{"at": {"type": "paid"}, "type": "sent"}"#));
    for known in [r#"{"type": "paid"}"#, r#"{"type": 3}"#, "{", "{}", "[]"] {
        assert!(!decoder.is_of_unknown_type(known.as_bytes()), "{known}");
    }
    assert!(decoder.decode(br#"{"type": "paid", "more": 1}"#).is_ok());
    assert!(!reader.reads(&writer).is_empty());
}

#[test]
fn whole_numbers_of_people_are_exact() {
    let schema = schema(&json!({"type": "object", "properties": {"n": {"type": "integer"}}}));
    let written = |text: &str| {
        let mut out = vec![];
        schema.encode(&serde_json::from_str(text).unwrap(), &mut out).map_err(|e| e.to_string())?;
        Ok::<_, String>(String::from_utf8(out).unwrap())
    };
    assert_eq!(written(r#"{"n": 9007199254740993}"#), Ok(r#"{"n":9007199254740993}"#.to_owned()));
    for rounded in ["123456789012345678901234567890", "18446744073709551615", "1e30"] {
        let refused = written(&format!("{{\"n\": {rounded}}}")).unwrap_err();
        assert!(refused.starts_with("at `n`:") && refused.contains("does not fit"), "{refused}");
    }
}
