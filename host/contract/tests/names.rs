//! Names in WIT: no two are equal, and an addition renames nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::needless_pass_by_value)]

use std::collections::{BTreeMap, BTreeSet};

use heddle_contract::format::Schema;
use heddle_contract::format::avro::{Library, parse};
use heddle_contract::format::shape::Shapes;
use heddle_contract::wit::{Names, Payload, Topic, World, generate};
use heddle_fixtures::{hostile, scaled};
use serde_json::{Value, json};
use wit_parser::{Resolve, UnresolvedPackageGroup};

/// The shapes of a component's topics, by topic.
type Topics = BTreeMap<String, Shapes>;

fn world<'a>(topics: &'a Topics, subjects: &'a BTreeMap<String, String>) -> World<'a> {
    let topic = |(name, shapes): (&'a String, &'a Shapes)| {
        let value = Payload::Schema { subject: &subjects[name], shapes };
        Topic { name, value, key: Payload::String, tombstones: false }
    };
    World { consumes: topics.iter().map(topic).collect(), ..World::default() }
}

fn subjects(topics: &Topics) -> BTreeMap<String, String> {
    topics.keys().map(|topic| (topic.clone(), format!("{topic}-value"))).collect()
}

fn allot(topics: &Topics, renames: &[(&str, &str)], before: &Names) -> Result<Names, String> {
    let renames = renames.iter().map(|(key, name)| ((*key).to_owned(), (*name).to_owned())).collect();
    Names::allot(&world(topics, &subjects(topics)), &renames, before).map_err(|e| e.to_string())
}

fn names(topics: &Topics, before: &Names) -> Names {
    allot(topics, &[], before).unwrap()
}

fn wit(topics: &Topics, names: &Names) -> String {
    generate(&world(topics, &subjects(topics)), names)
}

fn topics<'a>(schemas: impl IntoIterator<Item = (&'a str, Value)>) -> Topics {
    schemas.into_iter().map(|(topic, schema)| (topic.to_owned(), shapes(topic, &schema).unwrap())).collect()
}

fn shapes(topic: &str, schema: &Value) -> Option<Shapes> {
    Some(Schema::from(parse(topic, &schema.to_string()).ok()?).shapes())
}

fn record(name: &str, fields: Value) -> Value {
    json!({"type": "record", "name": name, "fields": fields})
}

/// The names of everything in `topics`, by key.
fn shown(names: &Names) -> String {
    names.iter().map(|(key, name)| format!("{key} = {name}\n")).collect()
}

fn parsed(text: &str) -> Result<(), String> {
    let mut resolve = Resolve::default();
    let runtime =
        heddle_contract::wit::RUNTIME.map(|(_, text)| text.replace("package heddle:runtime@0.1.0;", "")).join("\n");
    resolve
        .push_str("runtime.wit", &format!("package heddle:runtime@0.1.0;\n{runtime}"))
        .map_err(|e| format!("{e:#}"))?;
    let group = UnresolvedPackageGroup::parse("component.wit", text).map_err(|e| format!("{e:?}\n{text}"))?;
    resolve.push_group(group).map(|_| ()).map_err(|e| format!("{e:#}\n{text}"))
}

fn assert_kept(before: &Names, after: &Names, what: &str) {
    let after = after.iter().collect::<BTreeMap<_, _>>();
    for (key, name) in before.iter() {
        assert_eq!(after.get(key), Some(&name), "{what}: `{key}` was `{name}`");
    }
}

#[test]
fn names_that_clash_become_unique() {
    let place = |space: &str| {
        json!({"type": "record", "name": "place", "namespace": space, "fields": [
        {"name": "lat", "type": "double"}]})
    };
    let trips = record(
        "fleet.Trip",
        json!([
        {"name": "start", "type": place("fleet.start")}, {"name": "end", "type": place("fleet.end")},
        {"name": "createdAt", "type": "long"}, {"name": "created_at", "type": "long"}, {"name": "_id", "type": "long"},
        {"name": "kind", "type": [place("x"), place("y"), {"type": "enum", "name": "TripKind", "symbols": ["XL", "X_L", "SELF"]}]},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "arrival", "type": record("Date", json!([{"name": "gen", "type": "int"}]))},
        {"name": "result", "type": record("Result", json!([]))},
        {"name": "order", "type": {"type": "enum", "name": "Order", "symbols": ["ITEM"]}},
        {"name": "item", "type": record("OrderItem", json!([{"name": "größe", "type": "null"}]))}]),
    );
    let table = |space: &str| record(&format!("{space}.Value"), json!([{"name": "n", "type": "int"}]));
    let ksql = |field: &str| record("io.ksql.Row", json!([{"name": field, "type": "int"}]));
    let topics = topics([
        ("trips", trips),
        ("a.b", table("a.b")),
        ("a_b", table("a_b")),
        ("2024-orders", ksql("A")),
        ("USERS", ksql("B")),
        ("empty", json!(["null", {"type": "array", "items": []}, {"type": "enum", "name": "E", "symbols": []}])),
    ]);
    let names = names(&topics, &Names::default());
    let text = wit(&topics, &names);
    parsed(&text).unwrap();
    insta::assert_snapshot!(format!("{}\n{text}", shown(&names)));
}

#[test]
fn no_addition_renames_anything() {
    let mut clashes = 0;
    for seed in 0..scaled(300, 20_000) {
        let mut dice = hostile::Dice::new(seed ^ 0xadd);
        let names_of_topics = ["a.b", "a_b", "a-b", "2024-orders", "team-1.v2", "größe"];
        let mut values = BTreeMap::new();
        let mut lock = Names::default();
        for step in 0..4 {
            // Adds a topic, or changes a schema.
            let topic = names_of_topics[dice.below(names_of_topics.len())];
            let was = values.get(topic).cloned();
            let schema = match &was {
                Some(schema) => hostile::grown(schema, seed * 16 + step),
                None => hostile::schema(seed * 16 + step),
            };
            values.insert(topic, schema);
            let parsed = |(topic, schema): (&&str, &Value)| Some(((*topic).to_owned(), shapes(topic, schema)?));
            let topics = values.iter().map(parsed).collect::<Option<Topics>>();
            let Some(topics) = topics else {
                // The addition is not valid there.
                match was {
                    Some(schema) => values.insert(topic, schema),
                    None => values.remove(topic),
                };
                continue;
            };
            let now = names(&topics, &lock);
            assert_kept(&lock, &now, &format!("seed {seed}, step {step}"));
            clashes += u64::from(!now.for_host().is_empty());
            // Recorded names are read back unchanged.
            lock = Names::of_lock(&now.lock()).unwrap();
            assert_eq!(lock, now);
            self::parsed(&wit(&topics, &now)).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        }
    }
    assert!(clashes > 50, "only {clashes} worlds have names that are not plain");
}

#[test]
fn an_addition_at_the_end_renames_nothing_even_without_recorded_names() {
    let field = |name: &str, ty: Value| json!({"name": name, "type": ty});
    let mut fields = vec![
        field("created_at", json!("long")),
        field("start", record("b.Place", json!([field("x", json!("int"))]))),
        field("kind", json!({"type": "enum", "name": "Kind", "symbols": ["X_L"]})),
    ];
    let before = names(&topics([("a", record("shop.Order", json!(fields)))]), &Names::default());
    fields.push(field("createdAt", json!("long")));
    fields.push(field("end", record("a.Place", json!([field("x", json!("int"))]))));
    fields[2]["type"]["symbols"] = json!(["X_L", "XL"]);
    let after = names(&topics([("a", record("shop.Order", json!(fields)))]), &Names::default());
    assert_kept(&before, &after, "a field, a type and a symbol");
}

#[test]
fn a_rename_goes_before_everything_else() {
    let place = |space: &str| {
        json!({"type": "record", "name": "Place", "namespace": space, "fields": [
        {"name": "_id", "type": "int"}, {"name": "id", "type": "int"}]})
    };
    let trip = record(
        "Trip",
        json!([{"name": "start", "type": place("start")}, {"name": "end", "type": ["int", place("end")]}]),
    );
    let topics = topics([("a.b", trip.clone()), ("a_b", trip)]);
    let before = names(&topics, &Names::default());
    let renames = [
        ("end.Place", "place"),
        ("start.Place", "origin"),
        ("start.Place:_id", "mongo-id"),
        ("topic:a_b", "second"),
        ("Trip:end|", "target"),
    ];
    let names = allot(&topics, &renames, &before).unwrap();
    insta::assert_snapshot!(shown(&names));
    let text = wit(&topics, &names);
    parsed(&text).unwrap();
    for word in ["record origin {", "mongo-id: s32", "interface on-second {", "variant target {", "end: target"] {
        assert!(text.contains(word), "{word} is not in\n{text}");
    }
    let refused = |renames: &[(&str, &str)]| allot(&topics, renames, &before).unwrap_err();
    insta::assert_snapshot!(
        [
            refused(&[("Trips", "trip")]),
            refused(&[("end.Place", "same"), ("start.Place", "same")]),
            refused(&[("start.Place", "date")]),
            refused(&[("start.Place:id", "x"), ("start.Place:_id", "x")]),
        ]
        .join("\n")
    );
}

#[test]
fn a_type_that_two_topics_define_alike_is_one() {
    let source = |fields: Value| json!({"type": "record", "name": "Source", "namespace": "io.debezium", "doc": "any", "fields": fields});
    let table =
        |space: &str, source: Value| record(&format!("{space}.Envelope"), json!([{"name": "source", "type": source}]));
    let one = source(json!([{"name": "lsn", "type": "long"}]));
    let alike = topics([("a", table("a", one.clone())), ("b", table("b", one.clone()))]);
    let alike_names = names(&alike, &Names::default());
    let types = |names: &Names| {
        names
            .iter()
            .filter(|(key, _)| key.ends_with("Source"))
            .map(|(_, name)| name.to_owned())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(types(&alike_names).len(), 1);
    assert_eq!(wit(&alike, &alike_names).matches("record source {").count(), 1);
    // From now on they differ.
    let other = source(json!([{"name": "lsn", "type": "long"}, {"name": "xid", "type": "long"}]));
    let differ = topics([("a", table("a", one)), ("b", table("b", other))]);
    let names = names(&differ, &alike_names);
    assert_eq!(types(&names), BTreeSet::from(["b-source".to_owned(), "source".to_owned()]));
    parsed(&wit(&differ, &names)).unwrap();
}

#[test]
fn names_belong_to_the_file_that_defines_them() {
    let mut library = Library::default();
    let row = |field: &str| record("io.ksql.Row", json!([{"name": field, "type": "int"}])).to_string();
    library.add("contracts/CLICKS-value.avsc", &row("PAGE")).unwrap();
    library.add("contracts/USERS-value.avsc", &row("NAME")).unwrap();
    for (file, field) in [("contracts/CLICKS-value.avsc", "PAGE"), ("contracts/USERS-value.avsc", "NAME")] {
        assert!(library.schema(file).unwrap().json().contains(field), "{file}");
    }
    // A file that refers to the name needs one meaning of it.
    library
        .add("contracts/both-value.avsc", &record("B", json!([{"name": "row", "type": "io.ksql.Row"}])).to_string())
        .unwrap();
    let several = library.schema("contracts/both-value.avsc").unwrap_err().to_string();
    // A file of shared types takes precedence over those of topics.
    library.add("contracts/Row.avsc", &row("SHARED")).unwrap();
    assert!(library.schema("contracts/both-value.avsc").unwrap().json().contains("SHARED"));
    // One schema cannot have both definitions.
    let own = json!([record("io.ksql.Row", json!([{"name": "OWN", "type": "int"}])), "C"]);
    library.add("contracts/C.avsc", &record("C", json!([{"name": "row", "type": "io.ksql.Row"}])).to_string()).unwrap();
    library.add("contracts/own-value.avsc", &own.to_string()).unwrap();
    let twice = library.schema("contracts/own-value.avsc").unwrap_err().to_string();
    insta::assert_snapshot!(format!("{several}\n{twice}"));
}
