//! The rules of every registry, tested on the embedded one and through the client on a real one over HTTP.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::support::server::serve;
use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use heddle::registry::format::{self, Entry, Reference, Referred, Schema};
use heddle::registry::state::{Asked, Given, State};
use heddle::registry::{Client, ClientOptions, Embedded, Registry, RegistryError, SchemaId};
use heddle_contract::compat::Level;
use heddle_contract::section::SchemaFormat;
use heddle_fixtures::apicurio::Apicurio;

fn client(url: String) -> Client {
    Client::new(ClientOptions { url, retries_max: 1, ..ClientOptions::default() })
}

const ORDER: &str = r#"{"type":"record","name":"Order","fields":[{"name":"id","type":"string"}]}"#;
const ORDER_NEXT: &str = r#"{"type":"record","name":"Order","fields":[{"name":"id","type":"string"},{"name":"n","type":"int","default":0}]}"#;

const ORDER_BROKEN: &str =
    r#"{"type":"record","name":"Order","fields":[{"name":"id","type":"string"},{"name":"n","type":"string"}]}"#;

fn a_registry_keeps_what_it_is_told(registry: &dyn Registry) {
    for subject in ["orders-value", "orders/created 100%-value"] {
        assert_eq!(registry.latest(subject).unwrap(), None);
        let first = registry.register(subject, ORDER).unwrap();
        assert_eq!(registry.register(subject, ORDER).unwrap(), first, "the same schema again");
        let second = registry.register(subject, ORDER_NEXT).unwrap();
        assert_ne!(first, second);
        let latest = registry.latest(subject).unwrap().unwrap();
        assert_eq!((latest.id, latest.version), (second, 2));
        for (id, schema) in [(first, ORDER), (second, ORDER_NEXT)] {
            let text = registry.by_id(id).unwrap().unwrap().text;
            let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            assert_eq!(json(&text), json(schema));
        }
    }
    let subjects = registry.subjects().unwrap();
    assert!(subjects.contains(&"orders-value".to_owned()) && subjects.len() == 2, "{subjects:?}");
    let history = registry.versions("orders-value").unwrap();
    let history = history.iter().map(|version| (version.version, version.schema.contains("\"n\""))).collect::<Vec<_>>();
    assert_eq!(history, [(1, false), (2, true)]);
    assert_eq!(registry.versions("nothing-value").unwrap(), []);
    registry.set_level(None, Level::Forward).unwrap();
    registry.set_level(Some("orders-value"), Level::FullTransitive).unwrap();
    assert_eq!(registry.level("orders-value").unwrap(), Level::FullTransitive);
    assert_eq!(registry.level("other-value").unwrap(), Level::Forward);
    let refused = registry.register("orders-value", ORDER_BROKEN);
    assert!(matches!(refused, Err(RegistryError::Refused { .. })), "{refused:?}");
    assert_eq!(registry.by_id(SchemaId(4_000_000)).unwrap(), None);
    let refused = registry.register("wrong-value", r#"{"type":"recrod"}"#);
    assert!(matches!(refused, Err(RegistryError::Refused { .. })), "{refused:?}");
}

#[test]
fn the_embedded_registry() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Embedded::open(folder.path()).unwrap();
    a_registry_keeps_what_it_is_told(&registry);
    let id = registry.latest("orders-value").unwrap().unwrap().id;
    drop(registry);
    assert_eq!(Embedded::open(folder.path()).unwrap().latest("orders-value").unwrap().unwrap().id, id);
}

#[test]
fn a_real_registry_over_http() {
    let apicurio = Apicurio::start();
    a_registry_keeps_what_it_is_told(&client(apicurio.url()));
}

/// A server whose answer to the nth request, counted from 1, comes from `answer`. Returns its address and the count.
fn server(
    answer: impl Fn(u32, &Request) -> (StatusCode, String) + Clone + Send + Sync + 'static,
) -> (String, Arc<AtomicU32>) {
    let count = Arc::new(AtomicU32::new(0));
    let counted = count.clone();
    let answer = move |request: Request| {
        let (status, body) = answer(counted.fetch_add(1, Ordering::SeqCst) + 1, &request);
        async move {
            if status == StatusCode::GATEWAY_TIMEOUT {
                tokio::time::sleep(Duration::from_secs(60)).await;
            }
            (status, body).into_response()
        }
    };
    let url = serve(Router::new().fallback(answer));
    (url, count)
}

fn schema_answer(schema: &str) -> String {
    serde_json::json!({ "schema": schema }).to_string()
}

#[test]
fn a_registry_that_is_overloaded_is_asked_again() {
    let (url, count) = server(|n, _| match n {
        1 => (StatusCode::SERVICE_UNAVAILABLE, String::new()),
        2 => (StatusCode::TOO_MANY_REQUESTS, String::new()),
        _ => (StatusCode::OK, schema_answer(ORDER)),
    });
    let client = Client::new(ClientOptions { url, retries_max: 2, ..ClientOptions::default() });
    assert_eq!(client.by_id(SchemaId(1)).unwrap().map(|found| found.text).as_deref(), Some(ORDER));
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

#[test]
fn retries_end_and_the_registrys_answer_is_reported() {
    let (url, count) = server(|_, _| (StatusCode::INTERNAL_SERVER_ERROR, r#"{"message":"out of order"}"#.to_owned()));
    let error = client(url).by_id(SchemaId(1)).unwrap_err();
    assert!(
        matches!(&error, RegistryError::Answered { status: 500, message, .. } if message == "out of order"),
        "{error}"
    );
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[test]
fn a_registry_that_hangs_is_not_waited_for_longer_than_its_timeout() {
    let (url, count) = server(|_, _| (StatusCode::GATEWAY_TIMEOUT, String::new()));
    let client = Client::new(ClientOptions {
        url,
        timeout: Duration::from_millis(200),
        retries_max: 1,
        ..ClientOptions::default()
    });
    let error = client.by_id(SchemaId(1)).unwrap_err();
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error}");
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[test]
fn a_registry_answers_only_its_user() {
    let (url, _) = server(|_, request| match request.headers().get("authorization") {
        Some(basic) if basic == "Basic aGVkZGxlOnNlY3JldA==" => (StatusCode::OK, schema_answer(ORDER)),
        _ => (StatusCode::UNAUTHORIZED, String::new()),
    });
    let user = Some(("heddle".to_owned(), "secret".to_owned()));
    let known = Client::new(ClientOptions { url: url.clone(), user, ..ClientOptions::default() });
    assert!(known.by_id(SchemaId(1)).unwrap().is_some());
    let error = client(url).by_id(SchemaId(1)).unwrap_err();
    assert!(matches!(error, RegistryError::Unauthorized { status: 401, .. }), "{error}");
}

#[test]
fn a_schema_that_refers_to_others_comes_with_them() {
    let (url, _) = server(|_, request| {
        match request.uri().path() {
        "/schemas/ids/7" => (StatusCode::OK, serde_json::json!({
            "schema": r#"{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"lines","type":{"type":"array","items":"shop.Line"}}]}"#,
            "references": [{"name": "shop.Line", "subject": "line", "version": 2}],
        }).to_string()),
        "/subjects/line/versions/2" => (StatusCode::OK, serde_json::json!({
            "schema": r#"{"type":"record","name":"Line","namespace":"shop","fields":[{"name":"price","type":"shop.Money"}]}"#,
            "references": [{"name": "shop.Money", "subject": "money", "version": 1}],
        }).to_string()),
        "/subjects/money/versions/1" => (StatusCode::OK, serde_json::json!({
            "schema": r#"{"type":"record","name":"Money","namespace":"shop","fields":[{"name":"cents","type":"long"}]}"#,
        }).to_string()),
        "/schemas/ids/8" => (StatusCode::OK, serde_json::json!({
            "schema": "\"shop.Gone\"", "references": [{"name": "shop.Gone", "subject": "gone", "version": 1}],
        }).to_string()),
        _ => (StatusCode::NOT_FOUND, r#"{"message":"not found"}"#.to_owned()),
    }
    });
    let client = client(url);
    let text = client.by_id(SchemaId(7)).unwrap().unwrap().text;
    let schema = heddle_contract::format::avro::parse("order", &text).unwrap();
    let mut bytes = vec![];
    let order = serde_json::json!({"lines": [{"price": {"cents": 250}}]});
    heddle_contract::format::avro::json::encode(&schema, &order, &mut bytes).unwrap();
    assert_eq!(bytes, [2, 244, 3, 0]);
    let error = client.by_id(SchemaId(8)).unwrap_err().to_string();
    assert!(error.contains("refers to version 1 of `gone`: not found"), "{error}");
}

#[test]
fn registries_in_memory_are_separated_by_their_scope() {
    let (one, same, other) = (Embedded::mock("one"), Embedded::mock("one"), Embedded::mock("other"));
    a_registry_keeps_what_it_is_told(&one);
    assert_eq!(same.latest("orders-value").unwrap().unwrap().version, 2);
    assert_eq!(other.latest("orders-value").unwrap(), None);
}

/// The parts of the older schema that the newer one does not accept. Empty if it accepts all.
fn unread(format: SchemaFormat, older: &str, newer: &str) -> String {
    let parsed = |text: &str| {
        let text = format::canonical(format, text, false).unwrap();
        let entry = Entry { format, text, references: vec![], metadata: None, rule_set: None };
        format::parse(&entry, &[]).unwrap()
    };
    let problems = parsed(newer).problems(&parsed(older));
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[test]
fn json_schemas_are_compared() {
    let object = |properties: &str, required: &str, others: &str| {
        format!(
            r#"{{"type":"object","properties":{{{properties}}},"required":[{required}],"additionalProperties":{others}}}"#
        )
    };
    let id = r#""id":{"type":"string"}"#;
    let (two, closed) = (format!(r#"{id},"n":{{"type":"integer"}}"#), "false");
    let with = |n: &str| object(&format!(r#"{id},"n":{n}"#), "\"id\"", "true");
    // older, newer, part of the message
    let cases = [
        (object(id, "", closed), object(&two, "", closed), ""),
        (object(id, "", closed), object(&two, "\"n\"", closed), "at `n`: the reader requires it"),
        (object(id, "", "true"), object(&two, "", "true"), "at `n`: the property is new"),
        (object(&two, "", "true"), object(id, "", "true"), ""),
        (object(&two, "", closed), object(id, "", closed), "at `n`: the reader has no such property"),
        (object(id, "\"id\"", "true"), object(id, "", "true"), ""),
        (object(id, "", "true"), object(id, "\"id\"", "true"), "at `id`: the reader requires it"),
        (object(id, "", "true"), object(id, "", closed), "allows other properties"),
        (with(r#"{"type":"integer"}"#), with(r#"{"type":"number"}"#), ""),
        (
            with(r#"{"type":"number"}"#),
            with(r#"{"type":"integer"}"#),
            "at `n`: the writer has number; the reader takes integer",
        ),
        (with(r#"{"type":"integer"}"#), with(r#"{"type":["integer","null"]}"#), ""),
        (with(r#"{"enum":["a"]}"#), with(r#"{"enum":["a","b"]}"#), ""),
        (with(r#"{"enum":["a","b"]}"#), with(r#"{"enum":["a"]}"#), "at `n`: the writer's values have [\"b\"]"),
        (with(r#"{"type":"string","maxLength":5}"#), with(r#"{"type":"string","maxLength":9}"#), ""),
        (
            with(r#"{"type":"string"}"#),
            with(r#"{"type":"string","maxLength":9}"#),
            "at `n`: the writer's `maxLength` is unbounded",
        ),
        (
            with(r#"{"type":"array","items":{"type":"integer"}}"#),
            with(r#"{"type":"array","items":{"type":"string"}}"#),
            "at `n[]`",
        ),
        (with(r#"{"type":"string"}"#), with(r#"{"oneOf":[{"type":"string"},{"type":"null"}]}"#), ""),
        (
            with(r#"{"oneOf":[{"type":"string"},{"type":"null"}]}"#),
            with(r#"{"type":"string"}"#),
            "at `n`: no alternative",
        ),
        (with(r##"{"$ref":"#"}"##), with(r##"{"$ref":"#"}"##), ""),
    ];
    for (older, newer, told) in cases {
        let found = unread(SchemaFormat::Json, &older, &newer);
        assert_eq!(found.is_empty(), told.is_empty(), "{older} -> {newer}: {found}");
        assert!(found.contains(told), "{older} -> {newer}: {found}");
    }
    for wrong in [r#"{"type":"strnig"}"#, r#"{"properties":[]}"#, r##"{"$ref":"#/definitions/gone"}"##, "7"] {
        let entry = Entry {
            format: SchemaFormat::Json,
            text: wrong.to_owned(),
            references: vec![],
            metadata: None,
            rule_set: None,
        };
        assert!(format::parse(&entry, &[]).is_err(), "{wrong}");
    }
}

#[test]
fn json_schemas_are_compared_with_what_they_refer_to() {
    let order = r#"{"type":"object","properties":{"customer":{"$ref":"shop/customer.json"},"default":{"$ref":"a~b.json#/definitions/Zip"}}}"#;
    let customer = |more: &str| {
        format!(
            r##"{{"type":"object","properties":{{"id":{{"$ref":"#/definitions/Id"}},"friend":{{"$ref":"#"}},"zip":{{"$ref":"a~b.json#/definitions/Zip"}}}},"definitions":{{"Id":{{"type":"string"{more}}}}}}}"##
        )
    };
    let zip = |ty: &str| format!(r#"{{"definitions":{{"Zip":{{"type":"{ty}"}}}}}}"#);
    let parsed = |text: &str, customer: &str, zip: &str| {
        let referred = [("a~b.json", zip), ("shop/customer.json", customer)];
        let referred = referred.map(|(name, text)| Referred { name: name.to_owned(), text: text.to_owned() });
        format::parse(&Entry::new(SchemaFormat::Json, text), &referred).unwrap()
    };
    let unread = |newer: &Schema, older: &Schema| {
        newer.problems(older).iter().map(|problem| problem.path.clone()).collect::<Vec<_>>()
    };
    let old = parsed(order, &customer(""), &zip("integer"));
    assert_eq!(unread(&old, &parsed(order, &customer(""), &zip("integer"))), [""; 0]);
    assert_eq!(unread(&parsed(order, &customer(""), &zip("number")), &old), [""; 0]);
    // In a reference, in a reference of that, and in a property that is named like a keyword.
    assert_eq!(unread(&parsed(order, &customer(r#","maxLength":5"#), &zip("integer")), &old), ["customer.id"]);
    assert_eq!(unread(&parsed(order, &customer(""), &zip("string")), &old), ["customer.zip", "default"]);
    // The root is a reference to another schema. A value that looks like a reference is not one.
    let whole = |text: &str| parsed(text, &customer(""), &zip("integer"));
    assert_eq!(
        unread(&whole(r#"{"$ref":"shop/customer.json#/definitions/Id"}"#), &whole(r#"{"type":"integer"}"#)),
        ["."]
    );
    assert_eq!(
        unread(&whole(r#"{"enum":[{"$ref":"a~b.json"}]}"#), &whole(r#"{"const":1,"enum":[{"$ref":"a~b.json"}]}"#)),
        [""; 0]
    );
    assert_eq!(unread(&whole(r#"{"title":"t"}"#), &whole("true")), [""; 0]);
}

#[test]
fn a_version_is_compared_with_what_it_referred_to_then() {
    let registry = Embedded::mock("versions of references");
    let json = |text: &str, references: Vec<Reference>| Entry { references, ..Entry::new(SchemaFormat::Json, text) };
    registry.set_level(Some("customer"), Level::None).unwrap();
    registry.register_entry("customer", &json(r#"{"type":"string"}"#, vec![])).unwrap();
    registry.register_entry("customer", &json(r#"{"type":"integer"}"#, vec![])).unwrap();
    let order = |version: u32| {
        let reference = Reference { name: "customer.json".to_owned(), subject: "customer".to_owned(), version };
        let text =
            r#"{"type":"object","properties":{"customer":{"$ref":"customer.json"}},"additionalProperties":false}"#;
        registry.register_entry("orders-value", &json(text, vec![reference]))
    };
    order(1).unwrap();
    let refused = order(2).unwrap_err().to_string();
    assert!(refused.contains("`customer`") && refused.contains("the writer has string"), "{refused}");
}

#[test]
fn protobuf_schemas_are_compared() {
    let file = |fields: &str| format!("syntax = \"proto3\"; package shop; message Order {{ string id = 1; {fields} }}");
    let two = |fields: &str| format!("syntax = \"proto2\"; package shop; message Order {{ {fields} }}");
    // older, newer, part of the message
    let cases = [
        (file(""), file("int32 n = 2;"), ""),
        (file("int32 n = 2;"), file(""), ""),
        (file("int32 n = 2;"), file("int64 renamed = 2;"), ""),
        (
            file("int32 n = 2;"),
            file("string n = 2;"),
            "at `Order.n`: the writer's number 2 is int32; the reader takes string",
        ),
        (file("int32 n = 2;"), file("sint32 n = 2;"), "at `Order.n`"),
        (file("int32 n = 2;"), file("repeated int32 n = 2;"), "the reader has repeated int32"),
        (file("string n = 2;"), file("bytes n = 2;"), ""),
        (
            file("message In { int32 x = 1; } In in = 2;"),
            file("message In { bool x = 1; string y = 2; } In in = 2;"),
            "",
        ),
        (
            file("message In { int32 x = 1; } In in = 2;"),
            file("message In { double x = 1; } In in = 2;"),
            "at `Order.In.x`",
        ),
        (
            file("int32 a = 2; int32 b = 3;"),
            file("oneof one { int32 a = 2; int32 b = 3; }"),
            "alternatives of one `oneof`",
        ),
        (file("oneof one { int32 a = 2; int32 b = 3; }"), file("oneof one { int32 a = 2; }"), "may choose this field"),
        (
            two("optional int32 a = 1;"),
            two("optional int32 a = 1; required int32 b = 2;"),
            "the reader requires the field",
        ),
        (file(""), file("").replace("shop", "store"), "the writer's package is `shop`"),
        (file("") + "message Gone {}", file(""), "at `Gone`"),
    ];
    for (older, newer, told) in cases {
        let found = unread(SchemaFormat::Protobuf, &older, &newer);
        assert_eq!(found.is_empty(), told.is_empty(), "{older} -> {newer}: {found}");
        assert!(found.contains(told), "{older} -> {newer}: {found}");
    }
    let entry = |text: &str| Entry {
        format: SchemaFormat::Protobuf,
        text: text.to_owned(),
        references: vec![],
        metadata: None,
        rule_set: None,
    };
    let told = format::parse(&entry("syntax = \"proto3\"; message A { B b = 1; }"), &[]).unwrap_err();
    assert!(told.contains('B'), "{told}");
    // Comments and whitespace do not make a different schema.
    let (plain, commented) = (file("int32 n = 2;"), format!("// An order.\n{}", file("int32   n = 2; /* how many */")));
    assert_eq!(format::identity(&entry(&plain)), format::identity(&entry(&commented)));
    assert_ne!(format::identity(&entry(&plain)), format::identity(&entry(&file("int32 m = 2;"))));
}

/// Applies random changes. After each, the rules hold.
#[test]
fn ids_and_versions_keep_their_meaning_after_any_change() {
    let entry = |number: u64| {
        let text = format!(r#"{{"type":"record","name":"R{number}","fields":[]}}"#);
        Entry { format: SchemaFormat::Avro, text, references: vec![], metadata: None, rule_set: None }
    };
    let mut seed = 7u64;
    let mut dice = |bound: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % bound
    };
    const SCHEMAS: u64 = 40;
    let mut state = State::default();
    let mut meaning = BTreeMap::<u32, String>::new();
    let mut refused = 0_u64;
    let rounds = heddle_fixtures::scaled(4_000, 20_000);
    for _ in 0..rounds {
        let subject = format!("s{}", dice(3));
        let before = state.versions(&subject, true).len();
        let decided = match dice(10) {
            0..=5 => {
                let new = entry(dice(SCHEMAS));
                let there = state.lookup(&subject, &new, false).ok();
                state.set_level(&subject, Some(Level::None)).1.into_iter().for_each(|change| state.apply(change));
                let (answer, changes) = state.register(&subject, new.clone(), Given::default()).unwrap();
                if let Some(there) = there {
                    assert_eq!((answer, changes.len()), ((there.id, there.version), 0), "the same schema again");
                }
                let known = meaning.entry(answer.0).or_insert_with(|| new.text.clone());
                assert_eq!(*known, new.text, "an id stands for one schema, for ever");
                Ok(changes)
            }
            6 => state.delete_subject(&subject, false).map(|(_, changes)| changes),
            7 => state.delete_subject(&subject, true).map(|(_, changes)| changes),
            8 => state.delete_version(&subject, Asked::Latest, false).map(|(_, changes)| changes),
            _ => {
                let version = u32::try_from(dice(5)).unwrap() + 1;
                state.delete_version(&subject, Asked::Number(version), dice(2) == 0).map(|(_, changes)| changes)
            }
        };
        match decided {
            Ok(changes) => changes.into_iter().for_each(|change| state.apply(change)),
            Err(_) => {
                refused += 1;
                assert_eq!(state.versions(&subject, true).len(), before, "a refusal changes nothing");
            }
        }
        // Every version has its schema, and no schema has two ids.
        for found in state.versions(&subject, true) {
            assert_eq!(meaning[&found.id], found.entry.text);
            assert_eq!(state.lookup(&subject, &found.entry, true).unwrap().id, found.id);
        }
    }
    // Schemas were deleted and registered again under other ids.
    assert!(refused > rounds / 20 && meaning.len() > 2 * 40, "{refused} refused, {} ids", meaning.len());
}

/// Equal schemas as Avro for Java prints them have one id: Debezium writes short names, and others full ones.
#[test]
fn names_with_and_without_their_namespace_are_one_schema() {
    let schema = |value: &str| {
        format!(
            r#"{{"type":"record","name":"Envelope","namespace":"shop.orders","fields":[{{"name":"before","type":["null",{{"type":"record","name":"Value","fields":[]}}],"default":null}},{{"name":"after","type":["null","{value}"],"default":null}},{{"name":"odd","type":{{"type":"{value}","connect.doc":"x"}}}}]}}"#
        )
    };
    let full = r#"{"type":"record","name":"shop.orders.Key","fields":[{"name":"id","type":{"type":"int"}}]}"#;
    let short = r#"{"name":"Key","namespace":"shop.orders","type":"record","fields":[{"name":"id","type":"int"}]}"#;
    let registry = Embedded::mock("names");
    for (subject, one, other) in [
        ("shop.orders-value", schema("Value"), schema("shop.orders.Value")),
        ("shop.orders-key", short.to_owned(), full.to_owned()),
    ] {
        let id = registry.register(subject, &one).unwrap();
        assert_eq!(registry.register(subject, &other).unwrap(), id);
        assert_eq!(registry.versions(subject).unwrap().len(), 1);
    }
    let other = registry.register("shop.others-value", &schema("Value").replace("shop.orders", "shop.others")).unwrap();
    assert_ne!(registry.latest("shop.orders-value").unwrap().unwrap().id, other);
}
