//! Round trips of schemas and values, and garbage for the decoder.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fmt::Write as _;

use heddle_contract::format::avro::lint::lint;
use heddle_contract::format::avro::{Library, Node, Schema, json, parse};
use proptest::prelude::*;
use serde_json::{Value, json};

/// All types of Avro in one record.
const ALL: &str = r#"{"type":"record","name":"All","namespace":"t","fields":[
  {"name":"flag","type":"boolean"},{"name":"i","type":"int"},{"name":"l","type":{"type":"long","logicalType":"timestamp-millis"}},
  {"name":"f","type":"float"},{"name":"d","type":"double"},{"name":"s","type":"string"},{"name":"b","type":"bytes"},
  {"name":"fx","type":{"type":"fixed","name":"Four","size":4}},
  {"name":"e","type":{"type":"enum","name":"Colour","symbols":["RED","GREEN"]}},
  {"name":"a","type":{"type":"array","items":"long"}},{"name":"m","type":{"type":"map","values":["null","Colour"]}},
  {"name":"u","type":["null","string","long",{"type":"record","name":"Inner","fields":[{"name":"x","type":"int"}]}]},
  {"name":"dec","type":{"type":"bytes","logicalType":"decimal","precision":20,"scale":2}},
  {"name":"decf","type":{"type":"fixed","name":"D8","size":8,"logicalType":"decimal","precision":12,"scale":3}},
  {"name":"next","type":["null","All"],"default":null}]}"#;

fn sample() -> Value {
    json!({"flag":true,"i":-7,"l":1_700_000_000_000i64,"f":1.5,"d":-0.1,"s":"ä","b":"\u{00ff}\u{0000}","fx":"abcd","e":"GREEN",
        "a":[1,-1,9_223_372_036_854_775_807i64],"m":{"k":"RED","n":null},"u":{"t.Inner":{"x":5}},"dec":"-12345678901234567.89",
        "decf":"0.125","next":null})
}

fn encoded(schema: &Schema, value: &Value) -> Vec<u8> {
    let mut out = vec![];
    json::encode(schema, value, &mut out).unwrap();
    out
}

#[test]
fn a_value_of_every_type_comes_back_as_it_was() {
    let schema = parse("all.avsc", ALL).unwrap();
    let mut value = sample();
    value["next"] = sample();
    assert_eq!(json::decode(&schema, &encoded(&schema, &value)).unwrap(), value);
}

#[test]
fn types_of_other_files_come_along() {
    let mut library = Library::default();
    library.add("orders-value.avsc", r#"{"type":"record","name":"Order","namespace":"a","fields":[{"name":"items","type":{"type":"array","items":"b.Item"}},{"name":"first","type":"b.Item"}]}"#).unwrap();
    library
        .add("Item.avsc", r#"{"type":"record","name":"Item","namespace":"b","fields":[{"name":"unit","type":"Unit"}]}"#)
        .unwrap();
    library.add("Unit.avsc", r#"{"type":"enum","name":"b.Unit","symbols":["KG","PIECE"]}"#).unwrap();
    let schema = library.schema("orders-value.avsc").unwrap();
    // The registered text is valid alone.
    let value = json!({"items":[{"unit":"KG"}],"first":{"unit":"PIECE"}});
    let bytes = encoded(&schema, &value);
    assert_eq!(parse("alone", schema.json()).unwrap(), schema);
    assert_eq!(json::decode(&schema, &bytes).unwrap(), value);
}

#[test]
fn a_record_may_contain_itself() {
    let schema = parse("tree", r#"{"type":"record","name":"Tree","fields":[{"name":"children","type":{"type":"array","items":"Tree"}},{"name":"left","type":["null","Tree"]}]}"#).unwrap();
    let Node::Record(record) = schema.node(schema.root()) else { panic!("a record") };
    assert_eq!(*schema.node(record.fields[0].ty), Node::Array(schema.root()));
    let value = json!({"children":[{"children":[],"left":null}],"left":null});
    assert_eq!(json::decode(&schema, &encoded(&schema, &value)).unwrap(), value);
}

#[test]
fn errors_of_a_schema_have_its_place() {
    let wrong = |text: &str| parse("orders-value.avsc", text).unwrap_err().to_string();
    let messages = [
        wrong("{\n  \"type\": record }"),
        wrong(r#"{"type":"record","name":"Order","fields":[{"name":"items","type":{"type":"array","items":"Itme"}}]}"#),
        wrong(r#"{"type":"record","name":"Order","fields":[{"name":"n","type":["null","int","int"]}]}"#),
        wrong(r#"{"type":"record","name":"Order","fields":[{"name":"n","type":"int","default":"x"}]}"#),
        wrong(r#"{"type":"record","name":"Order","fields":[{"name":"n","type":"int"},{"name":"n","type":"int"}]}"#),
        wrong(r#"{"type":"enum","name":"E"}"#),
        wrong(r#"{"type":"record","name":"2nd","fields":[]}"#),
        wrong("7"),
    ];
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn invalid_logical_types_are_ignored_and_reported() {
    let ty = |ty: Value| json!({"name": "x", "type": ty});
    let fixed = |size: u32, more: Value| {
        let mut fixed = json!({"type": "fixed", "name": "F", "namespace": "t", "size": size});
        fixed.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        fixed
    };
    let decimal = |precision: Value, scale: Value| json!({"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale});
    // The type as which the value is read and encoded.
    let cases = [
        (ty(decimal(json!(2), json!(3))), "bytes"),
        (ty(decimal(json!(0), json!(0))), "bytes"),
        (ty(decimal(json!("9"), json!(0))), "bytes"),
        (ty(decimal(json!(9), json!(-1))), "bytes"),
        (ty(json!({"type": "bytes", "logicalType": "decimal"})), "bytes"),
        (ty(fixed(2, json!({"logicalType": "decimal", "precision": 5}))), "t.F"),
        (ty(fixed(2, json!({"logicalType": "duration"}))), "t.F"),
        (ty(json!({"type": "int", "logicalType": "uuid"})), "int"),
        (ty(json!({"type": "string", "logicalType": "date"})), "string"),
        (ty(json!({"type": "long", "logicalType": "timestamp-weeks"})), "long"),
        (ty(json!({"type": "long", "logicalType": 7})), "long"),
        (ty(json!({"type": "array", "items": ["null", {"type": "int", "logicalType": "time-micros"}]})), "array"),
        (json!({"name": "x", "type": "int", "logicalType": "date"}), "int"),
    ];
    let mut told = String::new();
    for (field, expected) in cases {
        let record = json!({"type": "record", "name": "R", "namespace": "t", "doc": "R.", "fields": [field]});
        let schema = parse("r", &record.to_string()).unwrap();
        let Node::Record(parsed) = schema.node(schema.root()) else { panic!("a record") };
        assert_eq!(schema.describe(parsed.fields[0].ty), expected, "{field}");
        let found = lint(&schema);
        assert_eq!(found.len(), 1, "{field}: {found:?}");
        writeln!(told, "{}\n  {}", field, found[0]).unwrap();
    }
    insta::assert_snapshot!(told);
    // Valid ones are not reported.
    let sense = json!({"type": "record", "name": "R", "namespace": "t", "doc": "R.", "fields": [
        ty(fixed(2, json!({"logicalType": "decimal", "precision": 4, "scale": 4})))]});
    assert_eq!(lint(&parse("r", &sense.to_string()).unwrap()), []);
    assert_eq!(lint(&parse("all.avsc", ALL).unwrap()).iter().filter(|p| p.what.contains("logicalType")).count(), 0);
}

#[test]
fn json_that_does_not_fit_says_where() {
    let schema = parse("all.avsc", ALL).unwrap();
    let wrong = |field: &str, value: Value| {
        let mut order = sample();
        order[field] = value;
        json::encode(&schema, &order, &mut vec![]).unwrap_err().to_string()
    };
    let mut missing = sample();
    missing.as_object_mut().unwrap().remove("s");
    let messages = [
        wrong("i", json!(3_000_000_000u64)),
        wrong("s", json!(7)),
        wrong("a", json!([1, "two"])),
        wrong("m", json!({"k": "BLUE"})),
        wrong("u", json!("which branch?")),
        wrong("dec", json!("1.234")),
        wrong("decf", json!("1234567890.123")),
        wrong("fx", json!("abc")),
        wrong("extra", json!(1)),
        json::encode(&schema, &missing, &mut vec![]).unwrap_err().to_string(),
    ];
    insta::assert_snapshot!(messages.join("\n"));
}

proptest! {
    #[test]
    fn garbage_is_an_error_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let schema = parse("all.avsc", ALL).unwrap();
        let _ = json::decode(&schema, &bytes);
    }

    #[test]
    fn a_flipped_byte_is_an_error_or_another_value(at in 0usize..100, to in any::<u8>()) {
        let schema = parse("all.avsc", ALL).unwrap();
        let mut bytes = encoded(&schema, &sample());
        let at = at % bytes.len();
        bytes[at] = to;
        if let Ok(value) = json::decode(&schema, &bytes) {
            // Everything that was read is a value of the schema.
            json::encode(&schema, &value, &mut vec![]).unwrap();
        }
    }

    #[test]
    fn decimals_keep_their_digits(unscaled in -99_999_999_999_999_999_999i128..99_999_999_999_999_999_999) {
        let schema = parse("d", r#"{"type":"bytes","logicalType":"decimal","precision":20,"scale":5}"#).unwrap();
        let digits = format!("{:06}", unscaled.unsigned_abs());
        let (whole, fraction) = digits.split_at(digits.len() - 5);
        let text = format!("{}{whole}.{fraction}", if unscaled < 0 { "-" } else { "" });
        let bytes = encoded(&schema, &json!(text));
        prop_assert_eq!(json::decode(&schema, &bytes).unwrap(), json!(text));
    }
}

#[test]
fn a_type_is_found_by_its_name() {
    let mut library = Library::default();
    library.add("a", r#"{"type":"record","name":"Stock","namespace":"shop","fields":[{"name":"level","type":{"type":"record","name":"Level","fields":[{"name":"n","type":"int"}]}}]}"#).unwrap();
    library
        .add("b", r#"{"type":"record","name":"Level","namespace":"other","fields":[{"name":"n","type":"long"}]}"#)
        .unwrap();
    let root = |name: &str| library.named(name).map(|schema| schema.describe(schema.root())).map_err(|e| e.to_string());
    assert_eq!(root("Stock").unwrap(), "shop.Stock");
    assert_eq!(root("shop.Level").unwrap(), "shop.Level");
    assert_eq!(root("Level").unwrap_err(), "`Level` could be any of `other.Level`, `shop.Level`; write the full name");
    assert_eq!(
        root("Stok").unwrap_err(),
        "no schema file defines the type `Stok`; there are: `other.Level`, `shop.Level`, `shop.Stock`"
    );
}
