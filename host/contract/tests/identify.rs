//! Message ids: the id that is read from the bytes is the field of the decoded value, whatever schema wrote it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::needless_pass_by_value)]

use heddle_contract::format::avro::binary::Reader;
use heddle_contract::format::avro::identify::IdPath;
use heddle_contract::format::avro::read;
use heddle_contract::format::avro::resolve::resolve;
use heddle_contract::format::avro::{Schema, json, parse};
use proptest::prelude::*;
use serde_json::{Value, json};

fn schema(text: &Value) -> Schema {
    parse("s", &text.to_string()).unwrap()
}

fn record(fields: Value) -> Value {
    json!({"type":"record","name":"Order","fields":fields})
}

fn path(text: &str) -> Vec<String> {
    text.split('.').map(str::to_owned).collect()
}

fn bytes_of(schema: &Schema, value: &Value) -> Vec<u8> {
    let mut bytes = vec![];
    json::encode(schema, value, &mut bytes).unwrap();
    bytes
}

/// The id of `value`, written by one schema and read by the other, as text.
fn id(writer: &Value, reader: &Value, at: &str, value: &Value) -> Result<Option<String>, String> {
    let (writer, reader) = (schema(writer), schema(reader));
    let bytes = bytes_of(&writer, value);
    let found = IdPath::of("orders", Some(&reader), &path(at)).unwrap().find(&resolve(&writer, &reader), &bytes);
    let found = found.map_err(|e| e.to_string())?;
    Ok(found.map(|id| String::from_utf8_lossy(&id).into_owned()))
}

#[test]
fn the_path_must_lead_to_what_can_identify() {
    let inner = json!({"type":"record","name":"Inner","fields":[
        {"name":"id","type":["null","string"]},{"name":"flag","type":"boolean"}]});
    let reader = schema(&record(json!([
        {"name":"text","type":"string"}, {"name":"uuid","type":{"type":"string","logicalType":"uuid"}},
        {"name":"int","type":"int"}, {"name":"long","type":["long","null"]}, {"name":"bytes","type":"bytes"},
        {"name":"fixed","type":{"type":"fixed","name":"Four","size":4}},
        {"name":"colour","type":{"type":"enum","name":"Colour","symbols":["RED"]}},
        {"name":"inner","type":["null",inner]}, {"name":"list","type":{"type":"array","items":"int"}},
        {"name":"choice","type":["string","long"]}, {"name":"double","type":["null","double"]},
        {"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}}])));
    for good in ["text", "uuid", "int", "long", "bytes", "fixed", "colour", "inner.id"] {
        IdPath::of("orders", Some(&reader), &path(good)).unwrap();
    }
    let bad = ["nothing", "inner", "inner.flag", "inner.nothing", "text.id", "list", "choice", "double", "price"];
    let errors = bad.map(|bad| IdPath::of("orders", Some(&reader), &path(bad)).unwrap_err().to_string());
    let root = IdPath::of("orders", Some(&schema(&json!("string"))), &path("id")).unwrap_err().to_string();
    let none = IdPath::of("orders", None, &path("id")).unwrap_err().to_string();
    insta::assert_snapshot!([&errors[..], &[root, none]].concat().join("\n"));
}

#[test]
fn an_id_has_the_same_bytes_whatever_schema_wrote_it() {
    let with = |ty: Value| record(json!([{"name":"id","type":ty}]));
    let colours = |symbols: Value| json!({"type":"enum","name":"Colour","symbols":symbols,"default":"OTHER"});
    for (writer, reader, value, expected) in [
        (json!("int"), json!("long"), json!(-42), "-42"),
        (json!("long"), json!(["null", "long"]), json!(-42), "-42"),
        (json!(["null", "int"]), json!(["long", "null"]), json!(-42), "-42"),
        (json!("string"), json!("bytes"), json!("grüße"), "grüße"),
        (json!("bytes"), json!("string"), json!("abc"), "abc"),
        (colours(json!(["OTHER", "RED"])), colours(json!(["RED", "OTHER"])), json!("RED"), "RED"),
        // The reader converts both to OTHER, but they are not the same.
        (colours(json!(["OTHER", "BLUE"])), colours(json!(["OTHER"])), json!("BLUE"), "BLUE"),
    ] {
        let found = id(&with(writer.clone()), &with(reader.clone()), "id", &json!({"id":value}));
        assert_eq!(found, Ok(Some(expected.to_owned())), "{writer} -> {reader}");
    }
}

#[test]
fn fields_are_found_by_alias_behind_others_and_within() {
    let inner = |name: &str| {
        json!(["null",{"type":"record","name":"Inner","fields":[
        {"name":"pad","type":{"type":"map","values":["null","string"]}},{"name":name,"type":"string"}]}])
    };
    let writer = record(
        json!([{"name":"dropped","type":{"type":"array","items":"string"}},{"name":"order","type":inner("nr")}]),
    );
    let mut reader = record(json!([{"name":"order","type":inner("id")},{"name":"more","type":"int","default":0}]));
    reader["fields"][0]["type"][1]["fields"][1]["aliases"] = json!(["nr"]);
    let value = |order: Value| json!({"dropped":["a","b"],"order":order});
    let found = |order: Value| id(&writer, &reader, "order.id", &value(order));
    assert_eq!(found(json!({"pad":{"k":null},"nr":"o-1"})), Ok(Some("o-1".to_owned())));
    assert_eq!(found(Value::Null), Ok(None));
}

#[test]
fn a_field_that_the_writer_does_not_have_is_not_an_id() {
    let old = record(json!([{"name":"n","type":"int"}]));
    let new = record(json!([{"name":"n","type":"int"},{"name":"id","type":"string","default":"none"}]));
    assert_eq!(id(&old, &new, "id", &json!({"n":1})), Ok(None));
    let strict = |symbols: Value| record(json!([{"name":"id","type":{"type":"enum","name":"E","symbols":symbols}}]));
    let found = id(&strict(json!(["A", "B"])), &strict(json!(["A"])), "id", &json!({"id":"B"}));
    assert!(found.unwrap_err().contains("no symbol `B`"));
}

/// A type that can identify, and the id for the JSON of its values.
fn identifying() -> impl Strategy<Value = (Value, Value)> {
    let text = "[a-zäß0-9]{0,6}";
    let leaf = prop_oneof![
        text.prop_map(|value| (json!("string"), json!(value))),
        any::<i32>().prop_map(|value| (json!("int"), json!(value))),
        any::<i64>().prop_map(|value| (json!("long"), json!(value))),
        "[\u{0}-\u{ff}]{0,5}".prop_map(|value| (json!("bytes"), json!(value))),
        "[\u{0}-\u{ff}]{3}".prop_map(|value| (json!({"type":"fixed","name":"Three","size":3}), json!(value))),
        proptest::sample::select(vec!["A", "B"])
            .prop_map(|value| (json!({"type":"enum","name":"Letter","symbols":["A","B"]}), json!(value))),
    ];
    (leaf, 0..4u8).prop_map(|((ty, value), null)| match null {
        0 => (json!(["null", ty]), Value::Null),
        1 => (json!([ty, "null"]), value),
        _ => (ty, value),
    })
}

/// Fields around the id.
fn padding() -> impl Strategy<Value = (Value, Value)> {
    prop_oneof![
        Just((json!("boolean"), json!(true))),
        Just((json!({"type":"array","items":["null","string"]}), json!(["a", null]))),
        Just((json!({"type":"map","values":{"type":"array","items":"double"}}), json!({"k":[1.5]}))),
        Just((json!(["null", "string", "long"]), json!({"long":7}))),
        Just((json!({"type":"bytes","logicalType":"decimal","precision":5,"scale":2}), json!("1.25"))),
    ]
}

/// Converts an id's JSON to bytes.
fn as_id(ty: &Value, value: &Value) -> Option<Vec<u8>> {
    let of_bytes = ty.to_string().contains("\"bytes\"") || ty.to_string().contains("\"fixed\"");
    match value {
        Value::Null => None,
        Value::String(text) if of_bytes => Some(text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()),
        Value::String(text) => Some(text.clone().into_bytes()),
        other => Some(other.to_string().into_bytes()),
    }
}

proptest! {
    #[test]
    fn the_id_is_the_field_of_the_decoded_value(
        (ty, value) in identifying(),
        before in proptest::collection::vec(padding(), 0..3),
        after in proptest::collection::vec(padding(), 0..3),
        dropped in 0..4usize,
        shuffled in any::<bool>(),
        nested in any::<bool>(),
        wider in any::<bool>(),
        cut in any::<proptest::sample::Index>(),
    ) {
        // The writer has the id among other fields. The reader has it under another name, with a wider type, in another
        // order, and with fewer fields around it.
        let named = |prefix: &str, list: &[(Value, Value)]| list.iter().enumerate()
            .map(|(n, (ty, value))| (format!("{prefix}{n}"), ty.clone(), value.clone())).collect::<Vec<_>>();
        let mut all = named("b", &before);
        all.push(("old".to_owned(), ty.clone(), value));
        all.extend(named("a", &after));
        let fields = all.iter().map(|(name, ty, _)| json!({"name":name,"type":ty})).collect::<Vec<_>>();
        let values = all.iter().map(|(name, _, value)| (name.clone(), value.clone())).collect::<serde_json::Map<_, _>>();
        let mut read = fields.clone();
        if dropped < read.len() && read[dropped]["name"] != "old" {
            read.remove(dropped);
        }
        let field = read.iter_mut().find(|field| field["name"] == "old").unwrap();
        let long = json!("long");
        let wide = if wider && ty == "int" { &long } else { &ty };
        *field = json!({"name":"id","aliases":["old"],"type":wide});
        if shuffled {
            read.reverse();
        }
        let outer = |fields: Vec<Value>| {
            let inner = json!({"type":"record","name":"Inner","fields":fields});
            if nested { record(json!([{"name":"pad","type":"string"},{"name":"order","type":["null",inner]}])) } else { inner }
        };
        let whole = if nested { json!({"pad":"x","order":values}) } else { Value::Object(values) };
        let (writer, reader) = (schema(&outer(fields)), schema(&outer(read)));
        let bytes = bytes_of(&writer, &whole);
        let plan = resolve(&writer, &reader);
        let decoded = read::json(&plan, plan.root(), &reader, reader.root(), &mut Reader::new(&bytes), 0).unwrap();
        let (at, field) = if nested { ("order.id", &decoded["order"]["id"]) } else { ("id", &decoded["id"]) };
        let id = IdPath::of("orders", Some(&reader), &path(at)).unwrap();
        let found = id.find(&plan, &bytes).unwrap().map(std::borrow::Cow::into_owned);
        prop_assert_eq!(&found, &as_id(&ty, field));
        // Truncated bytes give the same id (if the cut is after it) or an error, but never another id.
        let cut = id.find(&plan, &bytes[..cut.index(bytes.len())]).map(|id| id.map(std::borrow::Cow::into_owned));
        prop_assert!(cut.is_err() || cut == Ok(found));
    }
}
