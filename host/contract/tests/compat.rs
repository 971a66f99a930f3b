//! Compatibility: the requirements of the levels, and the messages about a schema that does not fit.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fmt::Write as _;

use heddle_contract::compat::{Level, Way, violations};
use heddle_contract::format::avro::compat::problems;
use heddle_contract::format::avro::resolve::resolve;
use heddle_contract::format::avro::{Schema, parse};
use serde_json::{Value, json};

fn schema(json: &Value) -> Schema {
    parse("schema", &json.to_string()).unwrap()
}

#[allow(clippy::needless_pass_by_value)] // callers write the fields in place
fn record(fields: Value) -> Value {
    json!({"type": "record", "name": "Order", "namespace": "shop", "fields": fields})
}

#[test]
fn a_problem_has_the_place_what_was_found_and_what_would_be_accepted() {
    let item = |fields: Value| {
        record(
            json!([{"name": "items", "type": {"type": "array", "items": {"type": "record", "name": "Item", "fields": fields}}}]),
        )
    };
    let colour = |symbols: Value| json!({"type": "enum", "name": "Colour", "symbols": symbols});
    let fixed = |name: &str, size: u32| json!({"type": "fixed", "name": name, "size": size});
    let pairs = [
        ("a required field is new", item(json!([])), item(json!([{"name": "price", "type": "double"}]))),
        (
            "a type narrowed",
            record(json!([{"name": "n", "type": "long"}])),
            record(json!([{"name": "n", "type": "int"}])),
        ),
        (
            "an option became required",
            record(json!([{"name": "n", "type": ["null", "int"]}])),
            record(json!([{"name": "n", "type": "int"}])),
        ),
        ("a branch went", json!(["null", "string", "long"]), json!(["null", "string"])),
        ("a symbol went", colour(json!(["RED", "BLUE"])), colour(json!(["RED"]))),
        ("another size", fixed("Id", 8), fixed("Id", 16)),
        ("another name", fixed("old.Id", 8), fixed("new.Key", 8)),
        (
            "a record within a union",
            record(json!([{"name": "o", "type": ["null", {"type": "record", "name": "O", "fields": []}]}])),
            record(
                json!([{"name": "o", "type": ["null", {"type": "record", "name": "O", "fields": [{"name": "x", "type": "int"}]}]}]),
            ),
        ),
        (
            "two fields became one",
            record(json!([{"name": "a", "type": "int"}, {"name": "b", "type": "int"}])),
            record(json!([{"name": "a", "aliases": ["b"], "type": "int"}])),
        ),
        ("a map became a list", json!({"type": "map", "values": "int"}), json!({"type": "array", "items": "int"})),
    ];
    let mut told = String::new();
    for (what, writer, reader) in pairs {
        writeln!(told, "{what}").unwrap();
        for problem in problems(&schema(&reader), &schema(&writer)) {
            writeln!(told, "  {problem}").unwrap();
        }
    }
    insta::assert_snapshot!(told);
}

#[test]
fn levels_say_which_versions_and_which_way() {
    // Each version has one more field, without a default. It never reads the earlier versions, and always reads the
    // later ones.
    let version = |count: usize| {
        schema(&record((0..count).map(|n| json!({"name": format!("f{n}"), "type": "int"})).collect::<Vec<_>>().into()))
    };
    let (one, two, three) = (version(1), version(2), version(3));
    let versions = [(4, &one), (7, &two)];
    let found = |level: Level, new: &Schema| {
        let found = violations(level, new, &versions, problems);
        found.into_iter().map(|v| (v.version, v.way)).collect::<Vec<_>>()
    };
    assert_eq!(found(Level::None, &three), []);
    assert_eq!(found(Level::Backward, &three), [(7, Way::Backward)]);
    assert_eq!(found(Level::Forward, &three), []);
    assert_eq!(found(Level::Full, &three), [(7, Way::Backward)]);
    let all = found(Level::BackwardTransitive, &three);
    assert_eq!(all, [(7, Way::Backward), (4, Way::Backward), (4, Way::Backward)]);
    assert_eq!(found(Level::ForwardTransitive, &one), [(7, Way::Forward)]);
    assert_eq!(found(Level::FullTransitive, &two), [(4, Way::Backward)]);
    for level in Level::ALL {
        assert_eq!(level.as_str().parse::<Level>(), Ok(level));
    }
    assert_eq!("SIDEWARD".parse::<Level>(), Err(()));
}

#[test]
fn a_branch_that_takes_every_value_goes_before_one_that_takes_some() {
    let colour =
        |space: &str, symbols: Value| json!({"type": "enum", "name": format!("{space}.Colour"), "symbols": symbols});
    let writer = schema(&colour("a", json!(["RED", "BLUE"])));
    let reader = schema(&json!([colour("a", json!(["RED"])), colour("b", json!(["BLUE", "RED"]))]));
    assert_eq!(problems(&reader, &writer), []);
    assert_eq!(resolve(&writer, &reader).mismatches(), []);
}

/// Schemas come from other people, so none may end the process by its depth.
#[test]
fn endless_schemas_are_refused_or_distinguished() {
    let own_default = json!({"type": "record", "name": "A", "fields": [{"name": "a", "type": "A", "default": {}}]});
    assert!(parse("own", &own_default.to_string()).unwrap_err().to_string().contains("nested more than"));
    let chain = |last: &str| {
        let mut types = vec![json!({"type": "record", "name": "R0", "fields": [{"name": "x", "type": last}]})];
        for n in 1..2_000 {
            types.push(json!({"type": "record", "name": format!("R{n}"), "fields": [{"name": "x", "type": format!("R{}", n - 1)}]}));
        }
        types
    };
    let (long, string) = (schema(&chain("long").into()), schema(&chain("string").into()));
    assert!(!problems(&long, &string).is_empty());
    assert!(!resolve(&string, &long).mismatches().is_empty());
    // The same in reverse order: each type is used before it is defined.
    let mut backwards = chain("long");
    backwards.reverse();
    let told = parse("backwards", &Value::from(backwards).to_string()).unwrap_err().to_string();
    assert!(told.contains("deep"), "{told}");
}
