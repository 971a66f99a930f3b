//! Schemas and values that are made to exhaust stack, time or memory, or to lead out of the folder: in every format, an
//! answer or an error, and soon.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use heddle_contract::format::{self, Entry, Plan, Referred, Schema};
use heddle_contract::section::SchemaFormat;
use heddle_contract::wit::{self, Names, Payload, Topic, World};
use serde_json::{Value, json};

fn parse(format: SchemaFormat, text: &str, referred: &[Referred]) -> Result<Schema, String> {
    format::parse(&Entry::new(format, text), referred)
}

/// Does everything with a schema that a registry, a build or a host does. Values are nothing, and often not valid.
fn used(schema: &Schema) {
    let other = parse(schema.format(), schema.text(), schema.imports()).unwrap();
    drop((schema.problems(&other), schema.reads(&other), schema.lint(), schema.serialized()));
    drop((schema.is_same_text(&other), Plan::of(&other, schema).mismatches()));
    identified(schema.format(), schema.text());
    for bytes in [&b""[..], &[0; 64], b"{}", b"[]"] {
        drop(schema.decode(bytes));
    }
    for value in [json!(null), json!({}), json!([])] {
        drop(schema.encode(&value, &mut vec![]));
    }
    if schema.inexpressible().is_empty() {
        let shapes = schema.shapes();
        let value = Payload::Schema { subject: "t-value", shapes: &shapes };
        let topic = Topic { name: "t", value, key: Payload::String, tombstones: false };
        let world = World { consumes: vec![topic], ..World::default() };
        let names = Names::allot(&world, &BTreeMap::new(), &Names::default()).unwrap();
        drop(wit::generate(&world, &names));
    }
}

/// Does everything with a text that a registry does with one that may not be a schema.
fn identified(format: SchemaFormat, text: &str) {
    drop(format::identity(&Entry::new(format, text)));
    drop((format::canonical(format, text, true), format::canonical(format, text, false)));
    drop(format::imports(format, text));
}

/// The schema, if it is one, in everything that is done with it.
fn survives(format: SchemaFormat, text: &str) -> Result<(), String> {
    parse(format, text, &[]).map(|schema| used(&schema))
}

const LEVELS: usize = 10_000;

/// The records or messages of a chain. Their definitions are written out in full.
const RECORDS: usize = 2_000;

/// Records, each with a field of the record before it.
fn records() -> Vec<Value> {
    let field = |n: usize| json!({"name": "f", "type": format!("R{n}")});
    let record = |n: usize, fields: &[Value]| json!({"type": "record", "name": format!("R{n}"), "fields": fields});
    (0..RECORDS).map(|n| record(n, &n.checked_sub(1).map(field).into_iter().collect::<Vec<_>>())).collect()
}

#[test]
fn a_union_of_records_in_a_long_chain_is_an_answer_or_an_error() {
    drop(survives(SchemaFormat::Avro, &Value::Array(records()).to_string()));
}

#[test]
fn fields_of_records_in_a_long_chain_are_an_answer_or_an_error() {
    let fields = records().into_iter().enumerate().map(|(n, ty)| json!({"name": format!("g{n}"), "type": ty}));
    let whole = json!({"type": "record", "name": "Whole", "fields": fields.collect::<Vec<_>>()});
    drop(survives(SchemaFormat::Avro, &whole.to_string()));
}

#[test]
fn messages_in_a_long_chain_are_an_answer_or_an_error() {
    let messages = (1..RECORDS).map(|n| format!("message M{n} {{ M{} m = 1; }}\n", n + 1)).collect::<String>();
    let text = format!("syntax = \"proto3\";\npackage p;\n{messages}message M{RECORDS} {{ int32 x = 1; }}\n");
    drop(survives(SchemaFormat::Protobuf, &text));
}

#[test]
fn definitions_in_a_long_chain_are_an_answer_or_an_error() {
    let to = |n: usize| json!({"$ref": format!("#/$defs/D{n}")});
    let definitions = |inner: &dyn Fn(usize) -> Value, last: Value| {
        let inner = (1..LEVELS).map(|n| (format!("D{n}"), inner(n + 1)));
        let all = inner.chain([(format!("D{LEVELS}"), last)]).collect::<serde_json::Map<_, _>>();
        json!({"$ref": "#/$defs/D1", "$defs": all}).to_string()
    };
    let member = |n| json!({"type": "object", "properties": {"f": to(n)}});
    drop(survives(SchemaFormat::Json, &definitions(&member, json!({"type": "string"}))));
    drop(survives(SchemaFormat::Json, &definitions(&to, to(1))));
    drop(survives(SchemaFormat::Json, &definitions(&|n| json!({"allOf": [to(n)]}), json!({}))));
}

#[test]
fn schemas_nested_without_end_are_refused() {
    let nested =
        |open: &str, inner: &str, close: &str| [open.repeat(LEVELS), inner.to_owned(), close.repeat(LEVELS)].concat();
    let refused = [
        (SchemaFormat::Avro, nested(r#"{"type":"array","items":"#, "\"int\"", "}")),
        (SchemaFormat::Avro, nested("[", "\"int\"", "]")),
        (SchemaFormat::Json, nested(r#"{"items":"#, "{}", "}")),
        (SchemaFormat::Json, nested(r#"{"allOf":["#, "{}", "]}")),
        (SchemaFormat::Json, nested(r#"{"const":["#, "1", "]}")),
        (SchemaFormat::Json, nested("[", "", "]")),
        (SchemaFormat::Protobuf, format!("syntax = \"proto3\"; {}", nested("message A { ", "", "} "))),
        (SchemaFormat::Protobuf, format!("syntax = \"proto3\"; message A {{ {} }}", nested("oneof a { ", "", "} "))),
    ];
    for (format, text) in refused {
        survives(format, &text).unwrap_err();
        identified(format, &text);
    }
}

#[test]
fn imports_in_circles_and_long_chains_end() {
    let file = |name: String, text: String| Referred { name, text };
    let proto = |n: usize, import: usize| {
        file(format!("f{n}.proto"), format!("syntax = \"proto3\"; import \"f{import}.proto\"; message M{n} {{}}"))
    };
    let text = "syntax = \"proto3\"; import \"f0.proto\"; message M { }";
    let circle = [proto(0, 1), proto(1, 2), proto(2, 0)];
    let why = parse(SchemaFormat::Protobuf, text, &circle).unwrap_err();
    assert!(why.contains("import cycle"), "{why}");
    let own = "syntax = \"proto3\"; import \"schema.proto\"; message M { }";
    parse(SchemaFormat::Protobuf, own, &[]).map(|schema| used(&schema)).unwrap_err();
    // As many as a registry's client follows.
    let last = file("f999.proto".to_owned(), "syntax = \"proto3\"; message M999 {}".to_owned());
    let chain = (0..999).map(|n| proto(n, n + 1)).chain([last]).collect::<Vec<_>>();
    let why = parse(SchemaFormat::Protobuf, text, &chain).unwrap_err();
    assert!(why.contains("more than 100 files import each other in a row"), "{why}");
    let json = |n: usize, to: usize| {
        file(format!("f{n}.json"), json!({"properties": {"p": {"$ref": format!("f{to}.json")}}}).to_string())
    };
    let text = json!({"type": "object", "properties": {"p": {"$ref": "f0.json"}}}).to_string();
    let circle = [json(0, 1), json(1, 0)];
    used(&parse(SchemaFormat::Json, &text, &circle).unwrap());
    let chain = (0..999).map(|n| json(n, n + 1)).chain([file("f999.json".to_owned(), "{}".to_owned())]);
    used(&parse(SchemaFormat::Json, &text, &chain.collect::<Vec<_>>()).unwrap());
}

/// Nothing outside of a schema and its references is read, from a disk or from another machine.
#[test]
fn references_lead_nowhere_else() {
    for reference in [
        "file:///etc/passwd",
        "http://127.0.0.1:1/x.json",
        "https://example.com/x.json",
        "/etc/passwd",
        "../../../../etc/passwd",
        "C:\\windows\\x.json",
        "urn:x:y",
        "#/$defs/absent",
    ] {
        for keyword in ["$ref", "$dynamicRef", "$recursiveRef"] {
            let text = json!({"properties": {"p": {(keyword): reference}}}).to_string();
            match parse(SchemaFormat::Json, &text, &[]) {
                Err(why) => assert!(why.contains(&reference.replace('\\', "\\\\")) || why.contains(reference), "{why}"),
                Ok(schema) => {
                    assert_ne!(keyword, "$ref", "{reference}");
                    used(&schema);
                }
            }
        }
        // Under another identity, a relative reference may lead to another machine.
        let text = json!({"$id": "http://127.0.0.1:1/y.json", "properties": {"p": {"$ref": reference}}}).to_string();
        drop(survives(SchemaFormat::Json, &text));
        let text = format!("syntax = \"proto3\"; import \"{}\"; message M {{}}", reference.replace('\\', "\\\\"));
        parse(SchemaFormat::Protobuf, &text, &[]).map(drop).unwrap_err();
    }
    let meta = json!({"$schema": "http://127.0.0.1:1/schema", "type": "string"}).to_string();
    drop(survives(SchemaFormat::Json, &meta));
    drop(survives(SchemaFormat::Json, &json!({"$schema": 7, "$id": [], "$defs": {"a": {"$id": 3}}}).to_string()));
}

#[test]
fn patterns_that_explode_end() {
    let text = "a".repeat(2_000) + "!";
    for pattern in [
        "^(a+)+$",
        "^(a|a)*$",
        "^(a|aa)+$",
        "^(?=(a+)+$)a*$",
        "(?<=a{1000})(a+)+$",
        "^(([a-z])+.)+[A-Z]([a-z])+$",
        r"^(a*)*\1$",
        "(x{1000}){1000}",
        "((a{0,100}){0,100}){0,100}",
        r"\p{L}{10000}",
        "(",
        "[",
        "(?P<n>a)(?P<n>b)",
    ] {
        for schema in [
            json!({"type": "string", "pattern": pattern}),
            json!({"type": "object", "patternProperties": {(pattern): {"type": "integer"}}}),
            json!({"type": "object", "propertyNames": {"pattern": pattern}}),
        ] {
            let Ok(schema) = parse(SchemaFormat::Json, &schema.to_string(), &[]) else { continue };
            used(&schema);
            for value in [json!(text), json!({(text.as_str()): 1})] {
                drop(schema.encode(&value, &mut vec![]));
                let bytes = value.to_string();
                drop(schema.check(bytes.as_bytes()));
            }
        }
    }
}

/// Numbers, names and texts at the borders of JSON are read as they are, or refused.
#[test]
fn values_at_the_borders_of_json_are_not_changed() {
    let any = parse(SchemaFormat::Json, "{}", &[]).unwrap();
    let read = |text: &str| any.decode(text.as_bytes()).map_err(|error| error.to_string());
    assert_eq!(read("9007199254740993").unwrap().to_string(), "9007199254740993");
    assert_eq!(read("18446744073709551615").unwrap().to_string(), "18446744073709551615");
    assert_eq!(read("-9223372036854775808").unwrap().to_string(), "-9223372036854775808");
    assert_eq!(read("\"\\u0000\"").unwrap(), json!("\0"));
    assert_eq!(read("\"\\ud83d\\ude00\"").unwrap(), json!("😀"));
    assert_eq!(read("-0").unwrap().as_f64().map(f64::is_sign_negative), Some(true));
    assert_eq!(read("-0.0").unwrap().as_f64().map(f64::is_sign_negative), Some(true));
    for (text, why) in [
        ("1e400", "64 bits"),
        ("-1e400", "64 bits"),
        ("18446744073709551616", "64 bits"),
        ("\"\\ud800\"", "half a character"),
        ("\"\\ude00\\ud83d\"", "half a character"),
        ("\"\\ud800\\u0041\"", "half a character"),
        ("\"\0\"", "control character"),
        ("{\"a\":1,\"a\":1}", "twice"),
        ("{\"a\":1,\"\\u0061\":2}", "twice"),
        ("[1,]", "no value"),
        ("NaN", "not JSON"),
        ("-Infinity", "not JSON"),
        ("01", "something"),
        ("+1", "no value"),
        (".5", "no value"),
        ("1.", "digits"),
        ("\u{a0}1", "no value"),
        ("", "ends early"),
        ("1 1", "something follows"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
    }
    for deep in ["[".repeat(LEVELS), "{\"a\":".repeat(LEVELS), "[".repeat(102) + &"]".repeat(102)] {
        let error = read(&deep).unwrap_err();
        assert!(error.contains("deep"), "{error}");
    }
    let typed = json!({"type": "object", "properties": {"n": {"type": "integer"}, "t": {"type": "string"}}});
    let typed = parse(SchemaFormat::Json, &typed.to_string(), &[]).unwrap();
    for text in [
        "{\"n\":1e400}",
        "{\"n\":1.5}",
        "{\"n\":1,\"n\":2}",
        "{\"x\":[[[]]],\"x\":1}",
        "{\"t\":\"\\udfff\"}",
        &format!("{{\"x\":{}}}", "[".repeat(LEVELS)),
    ] {
        typed.check(text.as_bytes()).unwrap_err();
    }
}
