//! Components that are typed by Protobuf, as a user runs them.

use serde_json::{Value, json};

use crate::support::shop::Shop;

/// The topics that the components read from and write to.
const TOPICS: [&str; 2] = ["proto.in", "proto.out"];

/// The languages whose components do the same.
const COMPONENTS: [&str; 4] = ["protobuf-rust", "protobuf-javascript", "protobuf-go", "protobuf-python"];

fn orders() -> Vec<Value> {
    vec![
        json!({"id": "O-1"}),
        json!({
            "id": "O-2", "status": "STATUS_PAID", "total": {"currency": "EUR", "units": "9007199254740993", "nanos": -5},
            "lines": [{"product": "grüße 🧵", "quantity": -1}, {}], "counts": {"b": "2", "a": "1", "": "0"},
            "transfer": {"iban": "DE1"}, "note": "", "placedAt": "2026-11-30T01:02:03.000000004Z",
            "reference": "18446744073709551615", "extra": {"a": [1.5, null, {"b": true}]},
            "category": {"name": "x", "parent": {"name": "y", "parent": {}}}, "due": {"year": 2026, "day": 1},
            "small": 4294967295u32, "large": "18446744073709551614", "signed": -2147483648, "ratio": 0.5, "gift": true,
            "token": "AP+A", "codes": ["0", "18446744073709551615"], "byNumber": {"-3": {"quantity": 3}, "2": {}},
        }),
        json!({"id": "O-3", "status": 77, "card": ""}),
    ]
}

#[test]
fn messages_go_through_components_and_come_out_as_they_were() {
    let mut outputs = vec![];
    for component in COMPONENTS {
        let shop = Shop::of(component, TOPICS);
        shop.produce(&orders());
        let counts = shop.until_idle();
        assert_eq!([&counts["in"], &counts["out"], &counts["failed"]], [3, 3, 0], "{component}: {counts}");
        let expected = orders().into_iter().map(|order| {
            // A number that is zero is not written.
            match order["id"].as_str() {
                Some("O-1") => json!({ "order": order }),
                _ => json!({"number": "9007199254740993", "order": order}),
            }
        });
        assert_eq!(shop.values("proto.out"), expected.collect::<Vec<_>>(), "{component}");
        outputs
            .push(shop.records("proto.out").into_iter().map(|record| (record.key, record.value)).collect::<Vec<_>>());
        // The same message again is a duplicate.
        shop.produce(&orders()[..1]);
        let counts = shop.until_idle();
        assert_eq!([&counts["in"], &counts["out"], &counts["duplicates"]], [1, 0, 1], "{component}: {counts}");
    }
    assert!(outputs.windows(2).all(|pair| pair[0] == pair[1]), "the bytes of {COMPONENTS:?} differ");
}

#[test]
fn bytes_that_are_not_the_message_are_dead_lettered() {
    let shop = Shop::of("protobuf-rust", TOPICS);
    shop.produce(&[json!({"id": "O-1", "status": -1})]);
    // The schema's id, the indexes of the message, and a field that is cut off.
    let id = shop.records("proto.in")[0].value.as_ref().unwrap()[..5].to_vec();
    let broken = |rest: &[u8]| {
        use base64::Engine as _;
        json!({"$bytes": base64::engine::general_purpose::STANDARD.encode([&id, rest].concat())})
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    let lines = [broken(&[0, 10, 200]), broken(&[2, 2, 10, 1, b'x'])].map(|value| format!("{value}\n")).concat();
    std::fs::write(file.path(), lines).unwrap();
    shop.run(&["produce", "proto.in", "--file", file.path().to_str().unwrap()]).unwrap();
    let counts = shop.until_idle();
    assert_eq!([&counts["in"], &counts["failed"]], [3, 3], "{counts}");
    let letters = shop.run(&["dlq", "list", "protobuf-rust", "--json"]).unwrap();
    let letters = letters.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>();
    let details = letters.iter().map(|letter| letter.to_string()).collect::<Vec<_>>().join("\n");
    for expected in ["the status is negative", "ends early", "it is another message than shop.Order"] {
        assert!(details.contains(expected), "{expected}: {details}");
    }
}

#[test]
fn a_compatible_change_needs_no_rebuilt_component() {
    let mut shop = Shop::of("protobuf-rust", TOPICS);
    shop.produce(&orders()[..1]);
    shop.until_idle();
    // A new field, a new message, and a wider number.
    let file = "proto.in-value.proto";
    shop.change(file, "bytes token = 19;", "bytes token = 19;\n  Courier courier = 30;");
    shop.change(file, "message Transfer {", "message Courier {\n  string name = 1;\n}\n\nmessage Transfer {");
    shop.change(file, "int32 quantity = 2;", "int64 quantity = 2;");
    shop.produce(&[json!({"id": "O-9", "courier": {"name": "c"}, "lines": [{"quantity": "5"}]})]);
    let counts = shop.until_idle();
    assert_eq!([&counts["in"], &counts["out"]], [1, 1], "{counts}");
    // What the component does not know is gone.
    assert_eq!(shop.values("proto.out")[1], json!({"order": {"id": "O-9", "lines": [{"quantity": 5}]}}));

    // What would be read as something else keeps the component from starting.
    shop.run(&["schema", "set-level", "NONE", "--subject", "proto.in-value"]).unwrap();
    shop.change(file, "bool gift = 18;", "string gift = 18;");
    shop.produce(&[json!({"id": "O-10", "gift": "x"})]);
    let refused = shop.run(&["run", "--until-idle"]).unwrap_err();
    assert!(refused.contains("version 3 wrote, at `Order.gift`"), "{refused}");
}
