//! Schema resolution, by each of the specification's rules, and compared with the reference implementation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::needless_pass_by_value)]

use heddle_contract::format::avro::binary::Reader;
use heddle_contract::format::avro::resolve::resolve;
use heddle_contract::format::avro::{Schema, read};
use heddle_contract::format::avro::{json, parse};
use serde_json::{Value, json};

fn schema(text: &Value) -> Schema {
    parse("s", &text.to_string()).unwrap()
}

/// Writes `value` with one schema and reads it with the other.
fn through(writer: &Value, reader: &Value, value: &Value) -> Result<Value, String> {
    let (writer, reader) = (schema(writer), schema(reader));
    let mut bytes = vec![];
    json::encode(&writer, value, &mut bytes).unwrap();
    let plan = resolve(&writer, &reader);
    let mut input = Reader::new(&bytes);
    let value = read::json(&plan, plan.root(), &reader, reader.root(), &mut input, 0).map_err(|e| e.to_string())?;
    input.finish().map_err(|e| e.to_string())?;
    Ok(value)
}

fn record(fields: Value) -> Value {
    json!({"type":"record","name":"Order","fields":fields})
}

fn mismatches(writer: &Value, reader: &Value) -> Vec<String> {
    let plan = resolve(&schema(writer), &schema(reader));
    plan.mismatches().iter().map(|m| format!("{}: {}", m.path, m.what)).collect()
}

#[test]
fn numbers_and_strings_are_promoted() {
    for (writer, reader, value, expected) in [
        ("int", "long", json!(-5), json!(-5)),
        ("int", "float", json!(7), json!(7.0)),
        ("int", "double", json!(7), json!(7.0)),
        ("long", "float", json!(7), json!(7.0)),
        ("long", "double", json!(1i64 << 40), json!((1i64 << 40) as f64)),
        ("float", "double", json!(0.5), json!(0.5)),
        ("string", "bytes", json!("ä"), json!("\u{c3}\u{a4}")),
        ("bytes", "string", json!("abc"), json!("abc")),
    ] {
        assert_eq!(through(&json!(writer), &json!(reader), &value), Ok(expected), "{writer} -> {reader}");
    }
    assert_eq!(mismatches(&json!("long"), &json!("int")), [".: the writer's long cannot be read as int"]);
    assert!(through(&json!("bytes"), &json!("string"), &json!("\u{ff}")).unwrap_err().contains("UTF-8"));
}

#[test]
fn fields_are_matched_by_name_skipped_and_defaulted() {
    let writer = record(json!([
        {"name":"dropped","type":{"type":"map","values":{"type":"array","items":["null","string"]}}},
        {"name":"id","type":"string"}, {"name":"old","type":"int"}]));
    let reader = record(json!([
        {"name":"discountCode","type":["null","string"],"default":null},
        {"name":"lines","type":{"type":"array","items":"int"},"default":[1,2]},
        {"name":"new","aliases":["old"],"type":"long"}, {"name":"id","type":"string"}]));
    let value = json!({"dropped":{"k":["a",null]},"id":"o-1","old":3});
    let expected = json!({"discountCode":null,"lines":[1,2],"new":3,"id":"o-1"});
    assert_eq!(through(&writer, &reader, &value), Ok(expected));
    assert!(mismatches(&writer, &reader).is_empty());
}

#[test]
fn a_field_without_default_is_a_mismatch_with_its_path() {
    let item = |fields: Value| {
        record(
            json!([{"name":"items","type":{"type":"array","items":{"type":"record","name":"Item","fields":fields}}}]),
        )
    };
    let found = mismatches(&item(json!([])), &item(json!([{"name":"price","type":"double"}])));
    assert_eq!(found, ["items[].price: the writer has no field `price` and the reader no default for it"]);
}

#[test]
fn unions_go_by_the_written_branch() {
    let (narrow, wide) = (json!(["null", "int"]), json!(["null", "string", "long"]));
    assert_eq!(through(&narrow, &wide, &json!(5)), Ok(json!({"long":5})));
    assert_eq!(through(&json!("int"), &wide, &json!(5)), Ok(json!({"long":5})));
    assert_eq!(through(&wide, &json!("string"), &json!({"string":"x"})), Ok(json!("x")));
    assert!(through(&wide, &json!("string"), &json!({"long":1})).unwrap_err().contains("cannot be read as string"));
    assert_eq!(mismatches(&wide, &json!("string")).len(), 2);
    // The same type takes precedence over an earlier one that would fit.
    assert_eq!(through(&json!("int"), &json!(["double", "int"]), &json!(5)), Ok(json!({"int":5})));
}

#[test]
fn enums_fall_back_to_the_readers_default() {
    let colours = |symbols: Value, default: Value| {
        let mut e = json!({"type":"enum","name":"Colour","symbols":symbols});
        if !default.is_null() {
            e["default"] = default;
        }
        e
    };
    let writer = colours(json!(["RED", "BLUE"]), Value::Null);
    let lenient = colours(json!(["OTHER", "RED"]), json!("OTHER"));
    assert_eq!(through(&writer, &lenient, &json!("BLUE")), Ok(json!("OTHER")));
    assert_eq!(through(&writer, &lenient, &json!("RED")), Ok(json!("RED")));
    let strict = colours(json!(["RED"]), Value::Null);
    assert_eq!(through(&writer, &strict, &json!("RED")), Ok(json!("RED")));
    assert!(through(&writer, &strict, &json!("BLUE")).unwrap_err().contains("no symbol `BLUE`"));
    assert_eq!(mismatches(&writer, &strict), [".: Colour has no symbol BLUE and no default"]);
}

#[test]
fn names_match_without_namespace_or_by_alias() {
    let named = |name: &str, aliases: Value| json!({"type":"record","name":name,"aliases":aliases,"fields":[{"name":"x","type":"int"}]});
    let value = json!({"x":1});
    assert_eq!(through(&named("a.Order", json!([])), &named("b.Order", json!([])), &value), Ok(value.clone()));
    assert_eq!(through(&named("a.Old", json!([])), &named("b.New", json!(["a.Old"])), &value), Ok(value.clone()));
    assert!(through(&named("a.Old", json!([])), &named("b.New", json!([])), &value).is_err());
}

#[test]
fn recursive_types_resolve() {
    let tree = |extra: Value| {
        let mut fields = vec![json!({"name":"left","type":["null","Tree"]})];
        fields.extend(extra.as_array().unwrap().clone());
        json!({"type":"record","name":"Tree","fields":fields})
    };
    let (old, new) = (tree(json!([])), tree(json!([{"name":"size","type":"int","default":1}])));
    assert_eq!(
        through(&old, &new, &json!({"left":{"left":null}})),
        Ok(json!({"left":{"left":null,"size":1},"size":1}))
    );
    assert_eq!(
        through(&new, &old, &json!({"left":{"left":null,"size":1},"size":2})),
        Ok(json!({"left":{"left":null}}))
    );
}

#[test]
fn decimals_must_agree() {
    let decimal = |precision: u32, scale: u32| json!({"type":"bytes","logicalType":"decimal","precision":precision,"scale":scale});
    assert_eq!(through(&decimal(6, 2), &decimal(6, 2), &json!("12.30")), Ok(json!("12.30")));
    assert!(!mismatches(&decimal(6, 2), &decimal(6, 3)).is_empty());
}
