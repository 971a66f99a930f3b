//! Schemas and values that would take far more time or memory than their size. They are refused soon, and before a
//! value is written that could not be read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use heddle_contract::format::avro::binary::{DEPTH_MAX, FREE_ITEMS_MAX, Reader};
use heddle_contract::format::avro::read;
use heddle_contract::format::avro::resolve::resolve;
use heddle_contract::format::avro::{Schema, json, parse};
use serde_json::{Value, json};

fn schema(json: &Value) -> Schema {
    parse("s", &json.to_string()).unwrap()
}

/// Nested records, each with two of the inner ones: this many levels around `inner`.
fn doubled(levels: usize, inner: Value, default: Option<&Value>) -> Value {
    (0..levels).fold(inner, |inner, level| {
        let name = inner["name"].as_str().map_or(inner.clone(), |name| json!(name));
        let mut fields = [json!({"name": "a", "type": inner}), json!({"name": "b", "type": name})];
        if let Some(default) = default {
            fields.iter_mut().for_each(|field| field["default"] = default.clone());
        }
        json!({"type": "record", "name": format!("R{level}"), "fields": fields})
    })
}

/// Writes a value and reads it again. Everything that is written can be read, by its own schema and by a plan.
fn written(schema: &Schema, value: &Value) -> Result<usize, String> {
    let mut bytes = vec![];
    json::encode(schema, value, &mut bytes).map_err(|e| e.to_string())?;
    assert_eq!(&json::decode(schema, &bytes).unwrap(), value);
    let plan = resolve(schema, schema);
    read::skip(&plan, plan.root(), &mut Reader::new(&bytes), 0).unwrap();
    let read = read::json(&plan, plan.root(), schema, schema.root(), &mut Reader::new(&bytes), 0);
    assert_eq!(&read.unwrap(), value);
    Ok(bytes.len())
}

#[test]
fn a_value_that_is_too_deep_to_be_read_is_not_written() {
    let list =
        schema(&json!({"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}));
    let nested = |levels: usize| (1..levels).fold(json!({"next": null}), |inner, _| json!({"next": inner}));
    // The record and the union around the next one are one level each.
    let deepest = DEPTH_MAX / 2;
    assert_eq!(written(&list, &nested(deepest)), Ok(deepest));
    let error = written(&list, &nested(deepest + 1)).unwrap_err();
    assert!(error.contains("nested deeper than"), "{error}");
}

#[test]
fn more_items_than_can_be_read_are_not_written() {
    let nulls = schema(&json!({"type": "array", "items": {"type": "array", "items": "null"}}));
    let value = |count: usize| json!([vec![Value::Null; count / 2], vec![Value::Null; count - count / 2]]);
    assert!(written(&nulls, &value(FREE_ITEMS_MAX)).is_ok());
    let error = written(&nulls, &value(FREE_ITEMS_MAX + 100)).unwrap_err();
    assert!(error.contains("cannot be read"), "{error}");
}

#[test]
fn more_records_than_can_be_read_are_not_written() {
    let nothing = json!({"type": "record", "name": "Nothing", "fields": []});
    let shell =
        |name: &str, inner: Value| json!({"type": "record", "name": name, "fields": [{"name": "f", "type": inner}]});
    let items = (0..5).fold(nothing, |inner, level| shell(&format!("R{level}"), inner));
    let list = schema(&json!({"type": "array", "items": items}));
    let value = |count: usize| json!(vec![(0..5).fold(json!({}), |inner, _| json!({"f": inner})); count]);
    assert!(written(&list, &value(30_000)).is_ok());
    let error = written(&list, &value(60_000)).unwrap_err();
    assert!(error.contains("records") && error.contains("cannot be read"), "{error}");
}

#[test]
fn records_that_double_are_not_followed_to_their_end() {
    let nothing = json!({"type": "record", "name": "Nothing", "fields": []});
    let writer = schema(&doubled(40, nothing.clone(), None));
    let error = json::decode(&writer, &[]).unwrap_err();
    assert!(error.is_beyond_bounds(), "{error}");
    let plan = resolve(&writer, &writer);
    for error in [
        read::skip(&plan, plan.root(), &mut Reader::new(&[]), 0).unwrap_err(),
        read::json(&plan, plan.root(), &writer, writer.root(), &mut Reader::new(&[]), 0).unwrap_err(),
    ] {
        assert!(error.is_beyond_bounds(), "{error}");
    }
    // A few levels are common.
    let writer = schema(&doubled(8, nothing, None));
    json::decode(&writer, &[]).unwrap();
}

#[test]
fn items_that_take_no_bytes_and_much_memory_are_not_held() {
    let nulls = (0..2_000).map(|n| json!({"name": format!("field_{n}"), "type": "null"})).collect::<Vec<_>>();
    let wide = schema(&json!({"type": "array", "items": {"type": "record", "name": "Wide", "fields": nulls}}));
    let mut bytes = vec![];
    heddle_contract::format::avro::binary::write_long(60_000, &mut bytes);
    bytes.push(0);
    let error = json::decode(&wide, &bytes).unwrap_err();
    assert!(error.is_beyond_bounds(), "{error}");
}

#[test]
fn defaults_that_double_are_refused() {
    let leaf = json!({"type": "record", "name": "Leaf", "fields": [{"name": "x", "type": "int", "default": 1}]});
    let ty = doubled(40, leaf, Some(&json!({})));
    let whole = json!({"type": "record", "name": "Whole", "fields": [{"name": "all", "type": ty, "default": {}}]});
    let error = parse("s", &whole.to_string()).unwrap_err().to_string();
    assert!(error.contains("too many values"), "{error}");
    // In a union, two records at each level accept the value, except at its end.
    let union = |level: usize, inner: &Value| {
        let branch = |side: &str, ty: &Value| json!({"type": "record", "name": format!("{side}{level}"), "fields": [{"name": "f", "type": ty}]});
        let names = inner.as_array().map_or(inner.clone(), |all| all.iter().map(|ty| ty["name"].clone()).collect());
        json!([branch("A", inner), branch("B", &names)])
    };
    let ty = (0..28).fold(json!("int"), |inner, level| union(level, &inner));
    let value = (0..28).fold(json!("no number"), |inner, _| json!({"f": inner}));
    let whole = json!({"type": "record", "name": "Whole", "fields": [{"name": "all", "type": ty, "default": value}]});
    let error = parse("s", &whole.to_string()).unwrap_err().to_string();
    assert!(error.contains("does not fit the type"), "{}", &error[error.len() - 200..]);
}

#[test]
fn unions_of_records_with_one_short_name_are_compared_soon() {
    const LEVELS: usize = 28;
    let record = |space: &str, level: usize, ty: Value| json!({"type": "record", "name": format!("{space}.L{level}"), "fields": [{"name": "f", "type": ty}]});
    let writer = (0..LEVELS).fold(json!("int"), |inner, level| record("w", level, inner));
    let reader = (0..LEVELS).fold(json!("string"), |inner, level| {
        let name = |space: &str| json!(format!("{space}.L{}", level.saturating_sub(1)));
        let again = if level == 0 { inner.clone() } else { json!([name("x"), name("y")]) };
        json!([record("x", level, inner), record("y", level, again)])
    });
    let (writer, reader) = (schema(&writer), schema(&reader));
    assert!(!resolve(&writer, &reader).mismatches().is_empty());
    assert!(!heddle_contract::format::avro::compat::problems(&reader, &writer).is_empty());
}
