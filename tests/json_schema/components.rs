//! Components that are typed by JSON Schema, as a user runs them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::support::shop::Shop;

/// The languages whose components do the same.
const COMPONENTS: [&str; 4] = ["json-rust", "json-javascript", "json-go", "json-python"];
const TOPICS: [&str; 2] = ["json.in", "json.out"];

fn orders() -> Vec<Value> {
    let order = |id: &str, more: Value| {
        let mut order = json!({"id": id, "kind": "order", "quantity": 1, "status": "NEW", "lines": [],
            "payment": {"type": "card", "number": "4"}, "reference": null});
        order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        order
    };
    vec![
        order("O-1", json!({})),
        order(
            "O-2",
            json!({
                "quantity": -1 + 1, "status": "in transit", "placedAt": "2026-11-30T01:02:03.000000004+01:00",
                "lines": [{"product": "grüße 🧵 \"\\\n", "price": -0.1}, {"product": ""}],
                "counts": {"": 0, "a": 9_007_199_254_740_993i64, "b": -1}, "note": "", "reference": i64::MIN,
                "ratio": 1e300, "gift": true, "address": {"city": "B", "type": "home"},
                "payment": {"type": "transfer", "iban": "DE1"}, "extra": {"a": [1, null, {"b": true}]},
                "category": {"name": "x", "parent": {"name": "y", "parent": {"name": "z"}}},
            }),
        ),
    ]
}

#[test]
fn values_go_through_components_and_come_out_as_they_were() {
    let mut outputs = vec![];
    for component in COMPONENTS {
        let shop = Shop::of(component, TOPICS);
        shop.produce(&orders());
        let counts = shop.until_idle();
        assert_eq!([&counts["in"], &counts["out"], &counts["failed"]], [2, 2, 0], "{component}: {counts}");
        let expected = orders().into_iter().map(|order| json!({"number": 1, "order": order}));
        assert_eq!(shop.values("json.out"), expected.collect::<Vec<_>>(), "{component}");
        let records = shop.records("json.out").into_iter();
        outputs.push(records.map(|record| (record.key, record.value)).collect::<Vec<_>>());
        // The same order again is a duplicate.
        shop.produce(&orders()[..1]);
        let counts = shop.until_idle();
        assert_eq!([&counts["in"], &counts["out"], &counts["duplicates"]], [1, 0, 1], "{component}: {counts}");
    }
    assert!(outputs.windows(2).all(|pair| pair[0] == pair[1]), "the bytes of {COMPONENTS:?} differ");
}

#[test]
fn values_that_do_not_fit_are_dead_lettered_and_shown_as_json() {
    let shop = Shop::of("json-rust", TOPICS);
    let mut negative = orders().remove(0);
    negative["quantity"] = json!(-1);
    shop.produce(&[negative]);
    let id = shop.records("json.in")[0].value.as_ref().unwrap()[..5].to_vec();
    let mut many = orders().remove(0);
    many["quantity"] = json!(1_000_001);
    let texts = [many.to_string(), many.to_string().replace("1000001", "\"many\""), "{\"id\": NaN}".to_owned()];
    let bytes = texts.map(|text| json!({"$bytes": BASE64.encode([&id, text.as_bytes()].concat())}));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes.map(|value| format!("{value}\n")).concat()).unwrap();
    shop.run(&["produce", "json.in", "--file", file.path().to_str().unwrap()]).unwrap();
    let counts = shop.until_idle();
    assert_eq!([&counts["in"], &counts["failed"]], [4, 4], "{counts}");
    let letters = shop.run(&["dlq", "list", "json-rust", "--json"]).unwrap();
    let bound = "at `quantity`: 1000001 is greater than the maximum of 1000000";
    for expected in [
        "the quantity is negative",
        bound,
        "at `quantity`: \\\"many\\\" is not of type",
        "NaN and Infinity are not JSON",
    ] {
        assert!(letters.contains(expected), "{expected}: {letters}");
    }
    // What does not fit can be seen, and goes back in as it was.
    let lines = shop.run(&["consume", "json.in", "--json"]).unwrap();
    assert!(lines.contains(r#""quantity":"many""#), "{lines}");
    let refused = shop.run(&["produce", "json.in", "--file", {
        std::fs::write(file.path(), many.to_string()).unwrap();
        file.path().to_str().unwrap()
    }]);
    assert!(refused.unwrap_err().contains(bound));
}

#[test]
fn consumed_lines_are_produced_again_byte_for_byte() {
    let shop = Shop::of("json-rust", TOPICS);
    shop.produce(&orders());
    let id = shop.records("json.in")[0].value.as_ref().unwrap()[..5].to_vec();
    let text = "{ \"id\":\"O-3\", \"quantity\": 1.0 }";
    let odd = json!({"$bytes": BASE64.encode([&id, text.as_bytes()].concat())}).to_string();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), odd).unwrap();
    shop.run(&["produce", "json.in", "--file", file.path().to_str().unwrap()]).unwrap();
    let before = shop.records("json.in").into_iter().map(|record| record.value).collect::<Vec<_>>();
    let lines = shop.run(&["consume", "json.in", "--json"]).unwrap();
    std::fs::write(file.path(), lines).unwrap();
    shop.run(&["produce", "json.in", "--json", "--file", file.path().to_str().unwrap()]).unwrap();
    let after = shop.records("json.in").into_iter().map(|record| record.value).collect::<Vec<_>>();
    assert_eq!(after, [before.clone(), before].concat());
}

#[test]
fn a_compatible_change_needs_no_rebuilt_component() {
    let mut shop = Shop::of("json-rust", TOPICS);
    shop.produce(&orders()[..1]);
    shop.until_idle();
    // A new property of a closed object.
    let file = "json.in-value.json";
    shop.change(file, "\"gift\": {", "\"courier\": {\n      \"type\": \"string\"\n    },\n    \"gift\": {");
    let mut order = orders().remove(0);
    order["id"] = json!("O-9");
    order["courier"] = json!("c");
    shop.produce(&[order.clone()]);
    let counts = shop.until_idle();
    assert_eq!([&counts["in"], &counts["out"]], [1, 1], "{counts}");
    // What the component does not know is gone.
    order.as_object_mut().unwrap().remove("courier");
    assert_eq!(shop.values("json.out")[1], json!({"number": 2, "order": order}));

    // A component takes no more than it was built for.
    shop.change(file, "\"maximum\": 1000000", "\"maximum\": 2000000");
    order["id"] = json!("O-10");
    shop.produce(&[order]);
    let refused = shop.run(&["run", "--until-idle"]).unwrap_err();
    assert!(refused.contains("at `quantity`: the writer's `maximum` is 2000000"), "{refused}");
}
