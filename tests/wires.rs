//! Topics whose records name their schemas in front of values, in headers, or not at all.

mod json;
mod kafka;
mod npm;

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use heddle::registry::format::Entry;
use heddle::registry::{Embedded, Guid, Registry as _};
use heddle_contract::section::SchemaFormat;
use heddle_core::event::Record;
use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::build;

const VALUE_HEADER: &str = "__value_schema_id";

/// An app with one of the guests, on topics with these wires.
fn app(component: &str, topics: &[(&str, &str)]) -> App {
    app_on(App::embedded(), component, topics)
}

fn app_on(mut app: App, component: &str, topics: &[(&str, &str)]) -> App {
    build::built("guests", &[component]);
    let guests = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../guests").canonicalize().unwrap();
    app.folder = app.data.path().join("app");
    std::fs::create_dir(&app.folder).unwrap();
    let (component, contracts) = (guests.join("components").join(component), guests.join("contracts"));
    let mut toml = format!("[app]\nname = \"guests\"\ncomponents = [{component:?}]\ncontracts = {contracts:?}\n");
    for (topic, wire) in topics {
        toml += &format!("[topics.\"{topic}\"]\nwire = \"{wire}\"\n");
    }
    std::fs::write(app.folder.join("heddle.toml"), toml).unwrap();
    app
}

fn orders(wire: &str) -> App {
    app("protobuf-rust", &[("proto.in", wire), ("proto.out", wire)])
}

fn produce(app: &App, topic: &str, arguments: &[&str], lines: &[Value]) -> Result<(), String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    let output = app.run(&[&["produce", topic, "--file", file.path().to_str().unwrap()], arguments].concat());
    let failed = || String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(failed()) }
}

/// The number of records that one run handles, and the number of those that fail.
fn counts(app: &App) -> [u64; 2] {
    let counts = serde_json::from_str::<Value>(&app.ok(&["run", "--until-idle", "--json"])).unwrap();
    ["in", "failed"].map(|name| counts[name].as_u64().unwrap())
}

fn values(app: &App, topic: &str) -> Vec<Value> {
    app.ok(&["consume", topic]).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn records(app: &App, topic: &str) -> Vec<Record> {
    app.records(topic).into_values().flatten().collect()
}

fn header(record: &Record) -> Option<&[u8]> {
    record.headers.iter().find(|header| header.name == VALUE_HEADER)?.value.as_deref()
}

/// The message `{"id": "O-1"}`.
const MESSAGE: [u8; 5] = [10, 3, b'O', b'-', b'1'];

#[test]
fn records_are_read_and_written_on_every_wire() {
    for wire in ["registry", "header", "plain", "auto"] {
        let app = orders(wire);
        produce(&app, "proto.in", &["--key", "id"], &[json!({"id": "O-1"})]).unwrap();
        assert_eq!(counts(&app), [1, 0], "{wire}");
        assert_eq!(values(&app, "proto.out"), [json!({"order": {"id": "O-1"}})], "{wire}");
        let (input, output) = (records(&app, "proto.in").remove(0), records(&app, "proto.out").remove(0));
        let (input_value, output_value) = (input.value.as_deref().unwrap(), output.value.as_deref().unwrap());
        let receipt = [&[18, 5][..], &MESSAGE].concat();
        let registry = app.own_registry();
        let guid = |subject: &str| {
            let id = registry.latest(subject).unwrap().unwrap().id;
            registry.by_id(id).unwrap().unwrap().guid.unwrap().0
        };
        match wire {
            // The first message of its file, and the second.
            "header" => {
                assert_eq!((input_value, output_value), (&MESSAGE[..], &receipt[..]));
                assert_eq!(header(&input).unwrap(), [&[1], &guid("proto.in-value")[..], &[0]].concat());
                assert_eq!(header(&output).unwrap(), [&[1], &guid("proto.out-value")[..], &[2, 2]].concat());
            }
            "plain" => {
                assert_eq!((input_value, output_value), (&MESSAGE[..], &receipt[..]));
                assert_eq!((header(&input), header(&output)), (None, None));
                // Only the store's schema is registered.
                let subjects = registry.subjects().unwrap();
                assert_eq!(subjects, ["guests.protobuf-rust.tallies-value"]);
            }
            _ => {
                assert_eq!((input_value[0], &input_value[5..]), (0, &[&[0], &MESSAGE[..]].concat()[..]), "{wire}");
                assert_eq!((output_value[0], &output_value[5..]), (0, &[&[2, 2], &receipt[..]].concat()[..]), "{wire}");
                assert_eq!((header(&input), header(&output)), (None, None), "{wire}");
            }
        }
    }
}

#[test]
fn output_of_consume_is_written_back_unchanged_on_every_wire() {
    for wire in ["registry", "header", "plain", "auto"] {
        let app = orders(wire);
        // A message whose fields are in another order than Heddle writes them, and one that is not named on its wire.
        let odd = json!({"$bytes": BASE64.encode([16, 1, 10, 1, b'x'])});
        produce(&app, "proto.in", &[], &[json!({"id": "O-1"}), json!({"id": "O-2", "codes": ["1"]}), odd]).unwrap();
        let lines = app.ok(&["consume", "proto.in", "--json"]);
        let lines = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>();
        produce(&app, "proto.in", &["--json"], &lines).unwrap();
        let parts = |record: &Record| (record.headers.clone(), record.value.clone());
        let all = records(&app, "proto.in").iter().map(parts).collect::<Vec<_>>();
        assert_eq!(all[..3], all[3..], "{wire}");
    }
}

#[test]
fn headers_are_understood_on_every_wire_and_auto_decides_record_by_record() {
    for wire in ["registry", "plain", "auto"] {
        let app = orders(wire);
        produce(&app, "proto.in", &[], &[json!({"id": "O-1"})]).unwrap();
        let registry = app.own_registry();
        let id = registry.register_entry("elsewhere-value", &entry()).unwrap();
        drop(registry);
        let named = [&[0][..], &id.0.to_be_bytes(), &[2, 0]].concat();
        let named = json!([[VALUE_HEADER, {"$bytes": BASE64.encode(named)}]]);
        let raw = json!({"$bytes": BASE64.encode(MESSAGE)});
        let unknown = json!([[VALUE_HEADER, {"$bytes": BASE64.encode([&[1][..], &[7; 16]].concat())}]]);
        let broken = json!([[VALUE_HEADER, "x"]]);
        let line = |headers: &Value, value: &Value| json!({"headers": headers, "value": value});
        produce(&app, "proto.in", &["--json"], &[line(&named, &json!({"id": "O-2"}))]).unwrap();
        produce(&app, "proto.in", &["--json"], &[line(&Value::Null, &raw)]).unwrap();
        for headers in [unknown, broken] {
            let refused = produce(&app, "proto.in", &["--json"], &[line(&headers, &json!({"id": "O-3"}))]);
            assert!(refused.unwrap_err().contains(VALUE_HEADER));
        }
        // Without a prefix, only a plain value can be read.
        let expected = if wire == "registry" { [3, 1] } else { [3, 0] };
        assert_eq!(counts(&app), expected, "{wire}");
    }
}

/// An earlier schema of orders, which another producer registered elsewhere.
fn entry() -> Entry {
    Entry::new(SchemaFormat::Protobuf, "syntax = \"proto3\"; package shop; message Order { string id = 1; }")
}

#[test]
fn a_dead_letter_keeps_its_wire_when_it_is_edited() {
    for wire in ["registry", "header", "plain"] {
        let app = orders(wire);
        produce(&app, "proto.in", &[], &[json!({"id": "O-1", "status": -1})]).unwrap();
        assert_eq!(counts(&app), [1, 1], "{wire}");
        let list = app.ok(&["dlq", "list", "protobuf-rust", "--json"]);
        let place = serde_json::from_str::<Value>(&list).unwrap()["place"].as_str().unwrap().to_owned();
        let shown =
            serde_json::from_str::<Value>(&app.ok(&["dlq", "show", "protobuf-rust", &place, "--json"])).unwrap();
        assert_eq!(shown["value"], json!({"id": "O-1", "status": -1}), "{wire}");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "{\"id\": \"O-1\"}").unwrap();
        app.ok(&["dlq", "replay", "protobuf-rust", &place, "--value", file.path().to_str().unwrap()]);
        let records = records(&app, "proto.in");
        assert_eq!(header(&records[0]), header(&records[1]), "{wire}");
        assert!(records[1].value.as_deref().unwrap().ends_with(&MESSAGE), "{wire}");
        assert_eq!(counts(&app), [1, 0], "{wire}");
    }
}

#[test]
fn values_can_be_text_and_bytes() {
    let app = app("texts", &[("texts.in", "registry"), ("texts.out", "registry"), ("bytes.in", "registry")]);
    produce(&app, "texts.in", &[], &[json!("grüße"), json!({"$bytes": BASE64.encode([0xff])})]).unwrap();
    produce(&app, "bytes.in", &[], &[json!({"$bytes": BASE64.encode([0, 0, 0, 0, 1])})]).unwrap();
    assert_eq!(counts(&app), [3, 1]);
    let mut texts = records(&app, "texts.out").into_iter().map(|record| record.value.unwrap()).collect::<Vec<_>>();
    texts.sort();
    assert_eq!(texts, ["5 bytes".as_bytes(), "GRÜSSE".as_bytes()]);
    let letters = app.ok(&["dlq", "list", "texts", "--json"]);
    assert!(letters.contains("the value is not UTF-8"), "{letters}");
}

#[test]
fn a_registry_finds_schemas_by_their_guids() {
    let registry = Embedded::mock("guids");
    let id = registry.register("counts-value", "\"long\"").unwrap();
    let guid = registry.by_id(id).unwrap().unwrap().guid.unwrap();
    assert_eq!(registry.by_guid(guid).unwrap(), registry.by_id(id).unwrap());
    assert_eq!(registry.by_guid(Guid([0; 16])).unwrap(), None);
    // Another registry gives the same schema the same GUID, whatever its id is there.
    let other = Embedded::mock("other guids");
    other.register("texts-value", "\"string\"").unwrap();
    let same = other.register("counts-value", "\"long\"").unwrap();
    assert_ne!(same, id);
    assert_eq!(other.by_id(same).unwrap().unwrap().guid, Some(guid));
}
