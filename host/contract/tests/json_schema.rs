//! JSON Schemas as types, and what they demand beyond them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::needless_pass_by_value)]

use std::collections::BTreeMap;

use heddle_contract::format::json_schema::reader::{DEPTH_MAX, Reader};
use heddle_contract::format::shape::{Shape, Shapes};
use heddle_contract::format::{self, Entry, Plan, Referred, Schema};
use heddle_contract::identify::IdPath;
use heddle_contract::section::SchemaFormat;
use heddle_contract::wit::{self, Names, Payload, Topic, World};
use serde_json::{Value, json};
use wit_parser::{Resolve, UnresolvedPackageGroup};

fn schema(value: &Value) -> Schema {
    schema_with(value, &[])
}

fn schema_with(value: &Value, referred: &[Referred]) -> Schema {
    format::parse(&Entry::new(SchemaFormat::Json, value.to_string()), referred).unwrap()
}

/// The types of a schema in WIT, which the tools of components can parse.
fn wit(schema: &Schema) -> String {
    let shapes = schema.shapes();
    let value = Payload::Schema { subject: "orders-value", shapes: &shapes };
    let topic = Topic { name: "orders", value, key: Payload::String, tombstones: false };
    let world = World { consumes: vec![topic], emits: vec![topic], ..World::default() };
    let names = Names::allot(&world, &BTreeMap::new(), &Names::default()).unwrap();
    let text = wit::generate(&world, &names);
    let mut resolve = Resolve::default();
    let runtime = wit::RUNTIME.map(|(_, text)| text.replace("package heddle:runtime@0.1.0;", "")).join("\n");
    resolve.push_str("runtime.wit", &format!("package heddle:runtime@0.1.0;\n{runtime}")).unwrap();
    let group = UnresolvedPackageGroup::parse("component.wit", &text).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    resolve.push_group(group).unwrap_or_else(|e| panic!("{e:#}\n{text}"));
    text
}

/// The types alone, without blanks at the ends.
fn types(value: Value) -> String {
    let text = wit(&schema(&value));
    let Some((_, types)) = text.split_once("interface contracts {\n") else { return String::new() };
    let (types, _) = types.split_once("\n}\n").unwrap();
    types.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

fn is_json(value: Value) -> bool {
    let schema = schema(&value);
    let shapes = schema.shapes();
    matches!(shapes.get(shapes.root()), Shape::Json(_))
}

#[test]
fn the_closed_subset_becomes_types() {
    insta::assert_snapshot!(wit(&schema(&everything())));
}

fn everything() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Order", "description": "An order was placed.", "type": "object", "additionalProperties": false,
        "required": ["id", "kind", "lines", "status", "total", "paidAt", "payment"],
        "properties": {
            "id": {"type": "string", "description": "Who it is.", "minLength": 1},
            "kind": {"const": "order"},
            "placedAt": {"type": "string", "format": "date-time", "description": "When."},
            "paidAt": {"type": ["string", "null"], "format": "date-time"},
            "lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}},
            "status": {"enum": ["NEW", "PAID", "in transit"]},
            "mood": {"enum": ["good", null]},
            "total": {"type": "number"},
            "count": {"type": "integer"},
            "gift": {"type": "boolean"},
            "nothing": {"type": "null"},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "address": {"type": "object", "properties": {"city": {"type": "string"}, "geo": {
                "type": "object", "properties": {"lat": {"type": "number"}}}}},
            "bill": {"oneOf": [{"type": "null"}, {"$ref": "#/$defs/Line"}]},
            "payment": {"oneOf": [
                {"type": "object", "required": ["type", "iban"], "properties": {
                    "type": {"const": "transfer"}, "iban": {"type": "string"}}},
                {"$ref": "#/$defs/Card"}]},
            "extra": {"type": "object"},
            "category": {"$ref": "#/$defs/Category"}
        },
        "$defs": {
            "Line": {"type": "object", "required": ["product"], "additionalProperties": false,
                "properties": {"product": {"type": "string"}, "quantity": {"type": "integer", "minimum": 1}}},
            "Card": {"type": "object", "required": ["type", "number"],
                "properties": {"number": {"type": "string"}, "type": {"enum": ["card"]}}},
            "Category": {"type": "object", "required": ["name"], "properties": {
                "name": {"type": "string"},
                "parent": {"$ref": "#/$defs/Category"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/Category"}}}}
        }
    })
}

#[test]
fn all_else_is_json() {
    for beyond in [
        json!(true),
        json!({}),
        json!({"type": "object"}),
        json!({"type": ["string", "integer"]}),
        json!({"oneOf": [{"type": "string"}, {"type": "integer"}]}),
        json!({"allOf": [{"type": "string"}, {"minLength": 3}]}),
        json!({"type": "object", "properties": {"a": {}}, "patternProperties": {"^x": {"type": "string"}}}),
        json!({"type": "object", "properties": {"a": {}}, "if": {"required": ["a"]}, "then": {"required": ["b"]}}),
        json!({"type": "object", "properties": {"a": {}}, "additionalProperties": {"type": "string"}}),
        json!({"type": "object", "properties": {"a": {}}, "required": ["b"]}),
        json!({"type": "array", "items": [{"type": "string"}]}),
        json!({"enum": ["a", 1]}),
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}),
        json!({"$ref": "#"}),
        json!({"type": "array", "items": {"$ref": "#"}}),
    ] {
        assert!(is_json(beyond.clone()), "{beyond}");
    }
    // Only the place that no type can express is JSON.
    let types = types(
        json!({"title": "A", "type": "object", "properties": {"a": {"type": "object"}, "b": {"type": "string"}}}),
    );
    assert_eq!(types, "record a { /// JSON. a: option<string>, b: option<string>, }");
}

#[test]
fn types_that_contain_themselves_are_json_where_they_do() {
    let tree = json!({"title": "Tree", "type": "object", "properties": {
        "name": {"type": "string"}, "left": {"$ref": "#"}, "all": {"type": "array", "items": {"$ref": "#"}}}});
    assert_eq!(
        types(tree),
        "record tree { name: option<string>, /// JSON of `Tree`. left: option<string>, \
         /// JSON of `Tree`. all: option<list<string>>, }"
    );
    let expression = json!({"title": "Term", "oneOf": [{"$ref": "#/$defs/Number"}, {"$ref": "#/$defs/Sum"}], "$defs": {
        "Number": {"type": "object", "required": ["is", "value"], "properties": {
            "is": {"const": "number"}, "value": {"type": "number"}}},
        "Sum": {"type": "object", "required": ["is", "left", "right"], "properties": {
            "is": {"const": "sum"}, "left": {"$ref": "#"}, "right": {"$ref": "#"}}}}});
    let types = types(expression);
    assert!(types.contains("number(number), sum(string),"), "{types}");
    assert!(types.contains("number(number), sum(sum),"), "{types}");
}

#[test]
fn types_of_the_same_title_have_different_names() {
    let place = |city: &str| json!({"type": "object", "title": "Place", "properties": {city: {"type": "string"}}});
    let types =
        types(json!({"title": "Trip 1.0", "type": "object", "required": ["from", "to", "stops"], "properties": {
        "from": place("a"), "to": place("b"), "stops": {"type": "array", "items": {"type": "object", "properties": {
            "a.b": {"type": "string"}, "a_b": {"type": "string"}}}}}}));
    for named in ["record trip10 {", "%from: place,", "to: to,", "stops: list<stops-item>"] {
        assert!(types.contains(named), "{named}: {types}");
    }
}

#[test]
fn rules_beyond_the_types_are_checked() {
    let schema = schema(&everything());
    let check = |change: &dyn Fn(&mut Value)| {
        let mut value = json!({"id": "1", "kind": "order", "lines": [{"product": "p"}], "status": "NEW", "total": 1.5,
            "paidAt": null, "payment": {"type": "card", "number": "1"}});
        change(&mut value);
        schema.check(value.to_string().as_bytes()).map_err(|error| error.to_string())
    };
    check(&|_| {}).unwrap();
    let wrong = |change: &dyn Fn(&mut Value)| check(change).unwrap_err();
    assert_eq!(wrong(&|value| value["id"] = json!("")), "at `id`: \"\" is shorter than 1 character");
    assert_eq!(
        wrong(&|value| value["lines"][0]["quantity"] = json!(0)),
        "at `lines[0].quantity`: 0 is less than the minimum of 1"
    );
    assert!(wrong(&|value| value["status"] = json!("OLD")).starts_with("at `status`: \"OLD\" is not one of"));
}

#[test]
fn json_is_read_exactly_or_not_at_all() {
    let refused = |text: &str| Reader::whole(text.as_bytes()).unwrap_err().to_string();
    assert_eq!(refused(r#"{"a": 1, "b": {"a": 1, "a": 2}}"#), "the member `a` at byte 27 occurs twice");
    assert_eq!(refused("NaN"), "not JSON: NaN and Infinity are not JSON at byte 0");
    assert_eq!(refused("[-Infinity]"), "not JSON: NaN and Infinity are not JSON at byte 1");
    assert_eq!(refused("18446744073709551616"), "the number 18446744073709551616 at byte 0 does not fit 64 bits");
    assert_eq!(refused("[1e400]"), "the number 1e400 at byte 1 does not fit 64 bits");
    assert_eq!(refused(r#""\ud800""#), "not JSON: half a character at byte 1");
    assert_eq!(refused("[1,]"), "not JSON: no value begins at byte 3");
    assert_eq!(refused("01"), "not JSON: a number goes on with something else at byte 1");
    assert_eq!(refused("{} {}"), "not JSON: something follows the value at byte 3");
    assert_eq!(refused("\"\u{1}\""), "not JSON: a control character in a string at byte 1");
    assert!(refused(&"[".repeat(DEPTH_MAX + 2)).contains("nested too deep"));
    assert_eq!(Reader::whole(&[b'"', 0xff, b'"']).unwrap_err().to_string(), "not JSON: byte 1 is not UTF-8");
    assert_eq!(Reader::whole("\u{feff} [1]".as_bytes()).unwrap(), json!([1]));
    assert_eq!(Reader::whole(r#""\ud83e\uddf5\n\/""#.as_bytes()).unwrap(), json!("🧵\n/"));
    assert_eq!(Reader::whole(b"18446744073709551615").unwrap(), json!(u64::MAX));
}

#[test]
fn json_that_serde_reads_is_read_alike() {
    // Broken and whole JSON, from a few bytes that matter.
    let alphabet = b"{}[]\",:\\u01-.eE+ntrfalsx\x00\xc3\xbc \n";
    let mut state = 1u64;
    let mut dice = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    let seeds = [r#"{"a":[1,-0.5e3,true,null],"b":"x\u00fc\n"}"#, "[[],{},\"\"]", "-1.5E-7", r#"{"a":{"a":{}}}"#];
    for round in 0..heddle_fixtures::scaled(200_000, 10_000_000) {
        let mut bytes = seeds[round as usize % seeds.len()].as_bytes().to_vec();
        for _ in 0..dice(4) {
            let at = dice(bytes.len() + 1);
            match dice(3) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, alphabet[dice(alphabet.len())]),
                _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = alphabet[dice(alphabet.len())]),
            }
        }
        let (ours, theirs) = (Reader::whole(&bytes), serde_json::from_slice::<Value>(&bytes));
        let shown = String::from_utf8_lossy(&bytes);
        match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs, "{shown}"),
            (Err(_), Err(_)) => {}
            (Err(error), Ok(_)) => {
                let text = error.to_string();
                assert!(text.contains("occurs twice") || text.contains("does not fit"), "{shown}: {text}");
            }
            (Ok(_), Err(error)) => panic!("{shown}: {error}"),
        }
    }
}

#[test]
fn schemas_that_cost_too_much_are_refused() {
    let mut definitions = serde_json::Map::new();
    for level in 0..40 {
        let next = json!({"$ref": format!("#/$defs/a{}", level + 1)});
        definitions.insert(format!("a{level}"), json!({"allOf": [next, next]}));
    }
    definitions.insert("a40".to_owned(), json!({"type": "string"}));
    let schema = schema(&json!({"$defs": definitions, "$ref": "#/$defs/a0"}));
    let problem = schema.inexpressible().first().unwrap().to_string();
    assert_eq!(problem, "at `#`: more than 1000000 schemas would apply to one value");
    // One whose alternatives contain it is checked in little time, however deep the value is.
    let operation =
        |name: &str| json!({"properties": {"x": {"$ref": "#"}, "op": {"const": name}}, "required": ["x", "op"]});
    let schema = self::schema(&json!({"oneOf": [{"type": "integer"}, operation("a"), operation("b")]}));
    let mut value = json!("no number");
    for _ in 0..90 {
        value = json!({"x": value, "op": "b"});
    }
    assert_eq!(
        schema.check(value.to_string().as_bytes()).unwrap_err().to_string(),
        "at `.`: the value does not fit the schema"
    );
}

#[test]
fn a_schema_that_cannot_check_values_is_inexpressible() {
    let problem = |value: Value| schema(&value).inexpressible().first().map(ToString::to_string).unwrap_or_default();
    assert!(problem(json!({"$schema": "http://json-schema.org/draft-03/schema#"})).contains("draft-03"));
    assert!(problem(json!({"minLength": "3"})).contains("at `#/minLength`"), "{}", problem(json!({"minLength": "3"})));
    assert_eq!(problem(json!({"items": [{"type": "integer"}]})), "");
    // No schema is fetched, from the network or from files.
    for url in ["https://json-schema.org/other.json", "http://json-schema.org/x"] {
        assert!(!problem(json!({"$ref": url})).is_empty());
    }
}

#[test]
fn versions_are_compared_by_what_they_let_be() {
    let object = |properties: Value, required: Value, others: Value| {
        schema(
            &json!({"type": "object", "properties": properties, "required": required, "additionalProperties": others}),
        )
    };
    let (string, closed, open) = (json!({"type": "string"}), json!(false), json!(true));
    let one = |others: &Value| object(json!({"a": string}), json!(["a"]), others.clone());
    let two = |others: &Value| object(json!({"a": string, "b": string}), json!(["a"]), others.clone());
    let fits = |reader: &Schema, writer: &Schema| reader.problems(writer).is_empty();
    // Closed objects gain properties, open ones lose them.
    assert!(fits(&two(&closed), &one(&closed)) && !fits(&one(&closed), &two(&closed)));
    assert!(fits(&one(&open), &two(&open)) && !fits(&two(&open), &one(&open)));
    // A component ignores what it does not know.
    assert_eq!(one(&closed).reads(&two(&closed)), []);
    assert_eq!(one(&closed).reads(&one(&open)), []);
    let with_default = object(json!({"a": string, "b": {"type": "string", "default": ""}}), json!(["a", "b"]), closed);
    assert!(fits(&with_default, &one(&json!(false))));
    let rule = |more: Value| schema(&json!({"type": "object", "properties": {"a": more}, "required": ["a"]}));
    for (narrow, wide) in [
        (json!({"const": "x"}), json!({"enum": ["x", "y"]})),
        (json!({"type": "integer"}), json!({"type": "number"})),
        (json!({"type": "string"}), json!({"type": ["string", "null"]})),
        (json!({"type": "number", "multipleOf": 6}), json!({"type": "number", "multipleOf": 2})),
        (json!({"type": "string", "maxLength": 2}), json!({"type": "string", "maxLength": 3})),
        (json!({"type": "string", "pattern": "x"}), json!({"type": "string", "format": "date-time"})),
    ] {
        assert!(fits(&rule(wide.clone()), &rule(narrow.clone())), "{wide} {narrow}");
        assert!(!fits(&rule(narrow.clone()), &rule(wide.clone())), "{narrow} {wide}");
    }
}

#[test]
fn references_to_other_files_become_types() {
    let money = Referred {
        name: "money.json".to_owned(),
        text: json!({"$id": "https://shop.example/money.json", "title": "Money", "type": "object",
            "required": ["units"], "properties": {"units": {"$ref": "#/$defs/Units"}},
            "$defs": {"Units": {"type": "integer", "minimum": 0}}})
        .to_string(),
    };
    let order = json!({"$id": "https://shop.example/order.json", "title": "Order", "type": "object",
        "required": ["total"], "properties": {"total": {"$ref": "money.json"}}});
    let schema = schema_with(&order, std::slice::from_ref(&money));
    assert_eq!(schema.inexpressible(), []);
    assert_eq!(schema.imports(), [money]);
    assert!(wit(&schema).contains("total: money,"));
    schema.check(br#"{"total": {"units": 3}}"#).unwrap();
    let refused = schema.check(br#"{"total": {"units": -3}}"#).unwrap_err().to_string();
    assert_eq!(refused, "at `total.units`: -3 is less than the minimum of 0");
}

#[test]
fn definitions_are_types_by_their_names() {
    let schema = schema(&everything());
    let line = schema.with_type("Line").unwrap();
    assert!(wit(&line).contains("record line {"));
    line.check(br#"{"product": "x"}"#).unwrap();
    line.check(br#"{"product": "x", "quantity": 0}"#).unwrap_err();
    assert_eq!(schema.with_type("Order").unwrap(), schema);
    let missing = schema.with_type("Other").unwrap_err();
    assert_eq!(missing, "there is no type `Other`; the file is `Order` and has: `Line`, `Card`, `Category`");
}

#[test]
fn ids_are_found_without_building_the_value() {
    let schema = schema(&everything());
    let plan = Plan::of(&schema, &schema);
    let found = |path: &str, value: &str| {
        let path = path.split('.').map(str::to_owned).collect::<Vec<_>>();
        let path = IdPath::of("t", Some(&schema), &path).map_err(|e| e.to_string())?;
        let id = path.find(&plan, value.as_bytes()).map_err(|e| e.to_string())?;
        Ok::<_, String>(id.map(|id| String::from_utf8(id.into_owned()).unwrap()))
    };
    let some = |text: &str| Ok(Some(text.to_owned()));
    assert_eq!(found("id", r#"{"x": [1], "id": "a\u00fc"}"#), some("aü"));
    assert_eq!(found("count", r#"{"count": 1.20e1}"#), some("12"));
    assert_eq!(found("address.city", r#"{"address": {"city": "B"}}"#), some("B"));
    assert_eq!(found("payment.iban", r#"{"payment": {"iban": "D"}}"#), some("D"));
    assert_eq!(found("extra.any.where", r#"{"extra": {"any": {"where": 7}}}"#), some("7"));
    assert_eq!(found("paidAt", r#"{"paidAt": null}"#), Ok(None));
    assert_eq!(found("paidAt", "{}"), Ok(None));
    // Which of two counts is nobody's guess.
    assert!(found("id", r#"{"id": "a", "id": "b"}"#).unwrap_err().contains("occurs twice"));
    for wrong in ["total", "gift", "lines", "kind", "none", "id.x"] {
        found(wrong, "{}").unwrap_err();
    }
}

#[test]
fn the_shapes_of_a_schema_are_named() {
    let schema = schema(&everything());
    let shapes = Shapes::of(&schema);
    let Shape::Record(record) = shapes.get(shapes.root()) else { panic!() };
    let labels = record.fields.iter().map(|field| field.label.as_str()).collect::<Vec<_>>();
    assert_eq!(labels[..4], ["id", "placed-at", "paid-at", "lines"]);
}

#[test]
fn patterns_of_other_validators_are_not_checked() {
    let fits = |schema: &Schema, value: Value| schema.check(value.to_string().as_bytes()).is_ok();
    let odd = schema(&json!({"title": "A", "description": "B", "type": "object", "properties": {
        "a": {"type": "string", "pattern": "[\\w-.]+(?<=x{1,2})\\Z("}, "b": {"type": "string", "required": true},
        "c": {"type": "integer", "minimum": 3}}, "patternProperties": {"(": {"type": "integer"}, "^d": {"type": "null"}},
        "additionalProperties": false}));
    assert_eq!(odd.inexpressible(), []);
    assert!(fits(&odd, json!({"a": "any", "other": "any", "d": null})));
    assert!(!fits(&odd, json!({"c": 2})) && !fits(&odd, json!({"d": 1})));
    let lint = odd.lint().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(lint.len(), 2, "{lint:?}");
    assert!(lint.iter().any(|problem| problem.contains("the pattern `(` is not checked")), "{lint:?}");
    // Bounds of draft 4, and addresses of drafts that nobody knows, or that are written in another way.
    let bounds = json!({"type": "integer", "minimum": 3, "exclusiveMinimum": true});
    assert!(!fits(&schema(&bounds), json!(3)) && fits(&schema(&bounds), json!(4)));
    for draft in
        ["http://json-schema.org/schema#", "https://a.example/meta", "http://json-schema.org/draft-07/schema#/"]
    {
        let named = schema(&json!({"$schema": draft, "type": "integer", "minimum": 3}));
        assert_eq!(named.inexpressible(), [], "{draft}");
        assert!(!fits(&named, json!(2)) && fits(&named, json!(3)), "{draft}");
    }
}

#[test]
fn an_object_of_several_schemas_is_one_type() {
    let base = json!({"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}, "any": {}}});
    let merged = types(json!({"title": "Order", "unevaluatedProperties": false, "required": ["count"],
        "allOf": [{"$ref": "#/$defs/Base"}, {"properties": {"any": {"type": "boolean"}, "id": {"type": "string"}}}],
        "properties": {"count": {"type": "integer"}}, "$defs": {"Base": base}}));
    assert_eq!(merged, "record order { id: string, any: option<bool>, count: s64, }");
    let extended = types(json!({"title": "Order", "$ref": "#/$defs/Base", "properties": {"b": {"type": "string"}},
        "$defs": {"Base": base}}));
    assert_eq!(extended, "record order { id: string, /// JSON. any: option<string>, b: option<string>, }");
    for beyond in [
        json!({"allOf": [base, {"properties": {"id": {"type": "integer"}}}]}),
        json!({"allOf": [base, {"properties": {"b": {}}, "additionalProperties": false}]}),
        json!({"allOf": [base, {"if": {"required": ["any"]}, "then": {"required": ["b"]}}]}),
        json!({"allOf": [base, {"$ref": "#"}]}),
        json!({"allOf": [{"properties": {"a": {"type": "string"}}}, {"required": ["a"]}]}),
    ] {
        assert!(is_json(beyond.clone()), "{beyond}");
    }
    // What is merged is checked by the schemas themselves.
    let schema = schema(&json!({"allOf": [base, {"minProperties": 2}]}));
    schema.check(br#"{"id": "a", "b": 1}"#).unwrap();
    schema.check(br#"{"id": "a"}"#).unwrap_err();
}

#[test]
fn several_definitions_are_one_type_if_a_constant_distinguishes_them() {
    let kind =
        |name: &str| json!({"type": "object", "required": ["kind"], "properties": {"kind": {"const": name}, "a": {}}});
    let schema = schema(&json!({"$defs": {"A b": kind("a"), "B": kind("b"), "C": {"type": "object"}}}));
    let both = schema.with_types(&["B", "A b"]).unwrap();
    assert!(wit(&both).contains("variant"), "{}", wit(&both));
    both.check(br#"{"kind": "a"}"#).unwrap();
    both.check(br#"{"kind": "c"}"#).unwrap_err();
    let refused = schema.with_types(&["B", "C"]).unwrap_err();
    assert_eq!(refused, "`B`, `C` cannot be distinguished: each has to require one property with a constant string");
}

#[test]
fn a_schema_may_begin_with_a_byte_order_mark() {
    let text = format!(
        "\u{feff}{}",
        json!({"$id": "https://a.example/a.json", "items": {"$ref": "a.json#/$defs/a"},
        "$defs": {"a": {"type": "string"}}})
    );
    let schema = format::parse(&Entry::new(SchemaFormat::Json, text.clone()), &[]).unwrap();
    schema.check(br#"["a"]"#).unwrap();
    schema.check(br#"[1]"#).unwrap_err();
    assert!(format::canonical(SchemaFormat::Json, &text, false).unwrap().starts_with('{'));
    assert_eq!(format::imports(SchemaFormat::Json, &text).unwrap(), []);
}
