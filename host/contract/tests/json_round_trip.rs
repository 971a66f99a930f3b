//! Values as JSON and back: the bytes are the same for every schema.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::needless_pass_by_value)]

#[allow(dead_code)] // other tests use changed schemas
mod generate;
#[path = "generate/values.rs"]
mod values;

use generate::Dice;
use heddle_contract::format::avro::{Schema, json, parse};
use serde_json::{Value, json};

/// The number of generated schemas.
const SCHEMAS: u64 = 3_000;

/// Encodes a line of text.
fn from_text(schema: &Schema, text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = vec![];
    let value = serde_json::from_str(text).map_err(|e| e.to_string())?;
    json::encode(schema, &value, &mut bytes).map_err(|e| e.to_string())?;
    Ok(bytes)
}

#[test]
fn the_printed_form_of_any_value_is_read_back_as_the_same_bytes() {
    let (mut values, mut wrong) = (0, vec![]);
    for seed in 0..SCHEMAS {
        let mut dice = Dice::new(seed);
        let Ok(schema) = parse("s", &generate::schema(&mut dice).to_string()) else { continue };
        for _ in 0..5 {
            let bytes = values::value(&mut dice, &schema);
            let Ok(value) = json::decode(&schema, &bytes) else { continue };
            values += 1;
            for text in [value.to_string(), json::strict(&schema, schema.root(), value.clone()).to_string()] {
                let again = from_text(&schema, &text);
                if again.as_ref() != Ok(&bytes) {
                    wrong.push(format!("seed {seed}: {text} -> {again:?}, not {bytes:?}\n  {}", schema.json()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {values}:\n{}", wrong.len(), wrong[..wrong.len().min(5)].join("\n"));
    assert!(values > SCHEMAS, "only {values}");
}

/// A record of one field of this type.
fn of_field(ty: Value) -> Schema {
    parse("f", &json!({"type": "record", "name": "R", "fields": [{"name": "f", "type": ty}]}).to_string()).unwrap()
}

/// Encodes a line, and prints the value.
fn printed(schema: &Schema, line: &Value) -> Result<Value, String> {
    let bytes = from_text(schema, &line.to_string())?;
    let printed = json::decode(schema, &bytes).unwrap();
    assert_eq!(from_text(schema, &printed.to_string()), Ok(bytes), "{line} is printed as {printed}");
    Ok(printed)
}

#[test]
fn an_object_that_looks_like_a_named_branch_is_read_as_avro_does_or_for_itself() {
    let map = json!({"type": "map", "values": "string"});
    let nullable = of_field(json!(["null", map]));
    let deep = of_field(json!(["null", {"type": "map", "values": map}]));
    let recursive = of_field(json!(["null", {"type": "map", "values": ["null", "R"]}]));
    let three = of_field(json!(["null", "string", map]));
    let named = parse("n", r#"{"type":"record","name":"R","fields":[{"name":"R","type":["null","R"]}]}"#).unwrap();
    let cases = [
        (&nullable, json!({"team": "a"}), json!({"team": "a"})),
        (&nullable, json!({"map": "a"}), json!({"map": {"map": "a"}})),
        (&nullable, json!({"map": {"map": "a"}}), json!({"map": {"map": "a"}})),
        (&nullable, json!({"map": {"a": "b"}}), json!({"a": "b"})),
        (&nullable, json!({"null": "a"}), json!({"map": {"null": "a"}})),
        (&nullable, json!({"null": null}), json!(null)),
        (&nullable, json!({"map": "a", "b": "c"}), json!({"map": "a", "b": "c"})),
        (&deep, json!({"map": {"map": "a"}}), json!({"map": {"map": {"map": "a"}}})),
        (&deep, json!({"map": {"map": {"map": "a"}}}), json!({"map": {"map": {"map": "a"}}})),
        (&recursive, json!({"map": null}), json!({"map": {"map": null}})),
        (&three, json!({"map": {"string": "x"}}), json!({"map": {"string": "x"}})),
    ];
    for (schema, given, expected) in cases {
        let line = |value: &Value| json!({"f": value});
        assert_eq!(printed(schema, &line(&given)), Ok(line(&expected)), "{given}");
    }
    // Avro's own reading takes precedence. Both readings fit here, and the inner record is meant.
    assert_eq!(printed(&named, &json!({"R": {"R": {"R": null}}})), Ok(json!({"R": {"R": {"R": null}}})));
    // The value is ambiguous at every level and wrong at the last one. It gives an error soon.
    let many = (0..60).fold(json!(1), |inner, _| json!({"R": inner}));
    assert!(printed(&named, &many).unwrap_err().contains("1 where R is expected"));
}

#[test]
fn an_error_in_a_named_branch_is_reported_as_that() {
    let schema = of_field(json!(["null", {"type": "map", "values": "int"}]));
    assert_eq!(
        printed(&schema, &json!({"f": {"map": {"a": "x"}}})).unwrap_err(),
        "at `f.a`: \"x\" where int is expected"
    );
}

#[test]
fn numbers_are_never_rounded_in_silence() {
    let decimal = of_field(json!({"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": 18}));
    let text = |line: &str| from_text(&decimal, line).map(|bytes| json::decode(&decimal, &bytes).unwrap()["f"].clone());
    let shown = |digits: &str| Ok(json!(digits));
    assert_eq!(text(r#"{"f": 12.5}"#), shown("12.500000000000000000"));
    assert_eq!(text(r#"{"f": 1e-7}"#), shown("0.000000100000000000"));
    assert_eq!(text(r#"{"f": "1E-18"}"#), shown("0.000000000000000001"));
    assert_eq!(text(r#"{"f": "1.5e3"}"#), shown("1500.000000000000000000"));
    assert_eq!(text(r#"{"f": "+0012.50"}"#), shown("12.500000000000000000"));
    assert_eq!(text(r#"{"f": "-0.00"}"#), shown("0.000000000000000000"));
    assert_eq!(text(r#"{"f": "-12e-1"}"#), shown("-1.200000000000000000"));
    assert_eq!(text(r#"{"f": 123456789012}"#), shown("123456789012.000000000000000000"));
    for (wrong, why) in [
        (r#"{"f": 123456789.123456789}"#, "may have lost digits"),
        (r#"{"f": "1e-19"}"#, "more than 18 digits after the point"),
        (r#"{"f": "1e12"}"#, "more than 30 digits"),
        (r#"{"f": "1e999999999999"}"#, "is not a plain decimal number"),
        (r#"{"f": "1e"}"#, "is not a plain decimal number"),
        (r#"{"f": "e5"}"#, "is not a plain decimal number"),
    ] {
        let error = text(wrong).unwrap_err();
        assert!(error.contains(why), "{wrong}: {error}");
    }
    let float = of_field(json!("float"));
    assert!(from_text(&float, r#"{"f": 1e300}"#).unwrap_err().contains("1e+300 where float is expected"));
    assert!(from_text(&float, r#"{"f": "Infinity"}"#).is_ok());
}
