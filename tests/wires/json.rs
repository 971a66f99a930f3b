//! JSON Schema on every wire.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use heddle::registry::Registry as _;
use heddle::registry::format::Entry;
use heddle_contract::section::SchemaFormat;
use serde_json::{Value, json};

use super::{VALUE_HEADER, app, counts, header, produce, records, values};
use crate::support::app::App;
use crate::support::registry::ask;

/// An address where no registry answers.
const NO_REGISTRY: &str = "http://127.0.0.1:1";

const ALL: [&str; 4] = ["registry", "header", "plain", "auto"];

fn orders(wire: &str) -> App {
    app("json-rust", &[("json.in", wire), ("json.out", wire)])
}

/// An app without state whose topics are plain, and whose registry does not answer.
fn moves() -> App {
    let topics = [("json.moves", "plain"), ("json.places", "plain"), ("json.rooms", "plain")];
    App { registry: Some(NO_REGISTRY.to_owned()), ..app("json-moves", &topics) }
}

fn order(id: &str) -> Value {
    json!({"id": id, "kind": "order", "quantity": 1, "status": "NEW", "lines": [],
        "reference": null, "payment": {"type": "card", "number": "4"}})
}

/// A line whose value has these bytes.
fn raw(text: &str) -> Value {
    json!({ "$bytes": BASE64.encode(text) })
}

#[test]
fn records_are_read_and_written_on_every_wire() {
    for wire in ALL {
        let app = orders(wire);
        produce(&app, "json.in", &["--key", "id"], &[order("O-1")]).unwrap();
        assert_eq!(counts(&app), [1, 0], "{wire}");
        let receipt = json!({"number": 1, "order": order("O-1")});
        assert_eq!(values(&app, "json.out"), std::slice::from_ref(&receipt), "{wire}");
        let (input, output) = (records(&app, "json.in").remove(0), records(&app, "json.out").remove(0));
        let (input_value, output_value) = (input.value.as_deref().unwrap(), output.value.as_deref().unwrap());
        let (order, receipt) = (order("O-1").to_string().into_bytes(), receipt.to_string().into_bytes());
        let registry = app.own_registry();
        match wire {
            "header" => {
                let guid = |subject: &str| {
                    let id = registry.latest(subject).unwrap().unwrap().id;
                    [&[1][..], &registry.by_id(id).unwrap().unwrap().guid.unwrap().0].concat()
                };
                assert_eq!((input_value, output_value), (&order[..], &receipt[..]));
                assert_eq!(header(&input).unwrap(), guid("json.in-value"));
                assert_eq!(header(&output).unwrap(), guid("json.out-value"));
            }
            "plain" => {
                assert_eq!((input_value, output_value), (&order[..], &receipt[..]));
                assert_eq!((header(&input), header(&output)), (None, None));
                // Only the store's schema is registered.
                assert_eq!(registry.subjects().unwrap(), ["guests.json-rust.sums-value"]);
            }
            _ => {
                assert_eq!((input_value[0], &input_value[5..]), (0, &order[..]), "{wire}");
                assert_eq!((output_value[0], &output_value[5..]), (0, &receipt[..]), "{wire}");
                assert_eq!((header(&input), header(&output)), (None, None), "{wire}");
            }
        }
    }
}

#[test]
fn output_of_consume_is_written_back_unchanged_on_every_wire() {
    for wire in ALL {
        let app = orders(wire);
        // As Python writes it, in another order, without a member that is required, and no JSON.
        let texts = [r#"{"kind": "order", "id": "O-2"}"#, "{\n}", "{", "null"].map(raw);
        produce(&app, "json.in", &[], &[&[order("O-1")][..], &texts].concat()).unwrap();
        let lines = app.ok(&["consume", "json.in", "--json"]);
        let lines = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>();
        produce(&app, "json.in", &["--json"], &lines).unwrap();
        let parts = |record: &heddle_core::event::Record| (record.headers.clone(), record.value.clone());
        let all = records(&app, "json.in").iter().map(parts).collect::<Vec<_>>();
        assert_eq!(all[..5], all[5..], "{wire}");
    }
}

#[test]
fn headers_are_understood_on_every_wire_and_auto_decides_record_by_record() {
    for wire in ["registry", "plain", "auto"] {
        let app = orders(wire);
        produce(&app, "json.in", &[], &[order("O-1")]).unwrap();
        let registry = app.own_registry();
        // Another producer registered another version elsewhere.
        let contracts = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../guests/contracts");
        let text = std::fs::read_to_string(contracts.join("json.in-value.json")).unwrap();
        let text = text.replace("\"title\": \"Order\"", "\"title\": \"OtherOrder\"");
        let id = registry.register_entry("elsewhere-value", &Entry::new(SchemaFormat::Json, text)).unwrap();
        drop(registry);
        let named = json!([[VALUE_HEADER, {"$bytes": BASE64.encode([&[0][..], &id.0.to_be_bytes()].concat())}]]);
        let line = |headers: &Value, value: &Value| json!({"headers": headers, "value": value});
        produce(&app, "json.in", &["--json"], &[line(&named, &order("O-2"))]).unwrap();
        produce(&app, "json.in", &["--json"], &[line(&Value::Null, &raw(&order("O-3").to_string()))]).unwrap();
        let framed = [&[0][..], &id.0.to_be_bytes(), order("O-4").to_string().as_bytes()].concat();
        let framed = json!({"$bytes": BASE64.encode(framed)});
        produce(&app, "json.in", &["--json"], &[line(&Value::Null, &framed)]).unwrap();
        // Without a prefix, only a plain value can be read; on a plain wire, the prefix is part of the value.
        let expected = if wire == "auto" { [4, 0] } else { [4, 1] };
        assert_eq!(counts(&app), expected, "{wire}");
    }
}

#[test]
fn a_dead_letter_keeps_its_wire_when_it_is_edited() {
    for wire in ["registry", "header", "plain", "auto"] {
        let app = orders(wire);
        let mut wrong = order("O-1");
        wrong["quantity"] = json!(-1);
        produce(&app, "json.in", &["--key", "id"], &[wrong.clone()]).unwrap();
        assert_eq!(counts(&app), [1, 1], "{wire}");
        let list = app.ok(&["dlq", "list", "json-rust", "--json"]);
        let place = serde_json::from_str::<Value>(&list).unwrap()["place"].as_str().unwrap().to_owned();
        let shown = app.ok(&["dlq", "show", "json-rust", &place, "--json"]);
        let shown = serde_json::from_str::<Value>(&shown).unwrap();
        assert_eq!((&shown["key"], &shown["value"]), (&json!("O-1"), &wrong), "{wire}");
        let mut edit = app.command(&["dlq", "replay", "json-rust", &place, "--edit"]);
        let edit = edit.env_remove("VISUAL").env("EDITOR", "sed -i 's/: -1/: 1/'").output().unwrap();
        assert!(edit.status.success(), "{wire}: {}", String::from_utf8_lossy(&edit.stderr));
        let records = records(&app, "json.in");
        assert_eq!(header(&records[0]), header(&records[1]), "{wire}");
        assert!(records[1].value.as_deref().unwrap().ends_with(order("O-1").to_string().as_bytes()), "{wire}");
        assert_eq!(counts(&app), [1, 0], "{wire}");
    }
}

#[test]
fn produce_uses_the_newest_schema_of_a_topic_without_a_file() {
    let app = app("texts", &[("elsewhere", "registry"), ("named", "header")]);
    let schema = json!({"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}});
    for topic in ["elsewhere", "named"] {
        let entry = Entry::new(SchemaFormat::Json, schema.to_string());
        let id = app.own_registry().register_entry(&format!("{topic}-value"), &entry).unwrap();
        produce(&app, topic, &[], &[json!({"n": 1})]).unwrap();
        let refused = produce(&app, topic, &[], &[json!({"n": 1.5})]).unwrap_err();
        assert!(refused.contains("at `n`"), "{refused}");
        assert_eq!(values(&app, topic), [json!({"n": 1})]);
        let record = records(&app, topic).remove(0);
        let value = record.value.as_deref().unwrap();
        match header(&record) {
            None => {
                assert_eq!((&value[..5], &value[5..]), (&heddle_contract::wire::prefix(id)[..], &br#"{"n":1}"#[..]));
            }
            Some(_) => assert_eq!((topic, value), ("named", &br#"{"n":1}"#[..])),
        }
    }
}

/// Three rooms, and three moves, one to a room that does not exist.
fn fill(app: &App) {
    let line = |key: Value, value: Value| json!({"key": key, "value": value});
    let rooms = [(1, "kitchen"), (2, "hall"), (1, "study")];
    let rooms = rooms.map(|(number, name)| line(json!({"number": number}), json!({"name": name, "floor": 0})));
    produce(app, "json.rooms", &["--json"], &rooms).unwrap();
    let moves = [("Ada", 1), ("Bob", 2), ("Cleo", 3)];
    let moves = moves.map(|(name, room)| line(json!({"name": name}), json!({"room": room, "more": "ignored"})));
    produce(app, "json.moves", &["--json"], &moves).unwrap();
}

#[test]
fn keys_and_tables_of_json_are_read_and_written_on_every_wire() {
    // A table has its records without headers.
    for wire in ALL {
        let rooms = if wire == "header" { "registry" } else { wire };
        let app = app("json-moves", &[("json.moves", wire), ("json.places", wire), ("json.rooms", rooms)]);
        fill(&app);
        assert_eq!(counts(&app), [3, 1], "{wire}");
        let lines = app.ok(&["consume", "json.places", "--json"]);
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>();
        let parts = lines.iter().map(|line| (&line["key"], &line["value"])).collect::<Vec<_>>();
        let expected = [("Ada", "study"), ("Bob", "hall")];
        let expected = expected.map(|(name, room)| (json!({ "name": name }), json!({ "room": room })));
        assert_eq!(parts, expected.iter().map(|(key, value)| (key, value)).collect::<Vec<_>>(), "{wire}");
        let record = records(&app, "json.places").remove(0);
        let key = record.key.as_deref().unwrap();
        match wire {
            "plain" => {
                assert_eq!(key, br#"{"name":"Ada"}"#);
                assert!(record.headers.iter().all(|header| !header.name.ends_with("_schema_id")));
            }
            "header" => {
                assert_eq!(key, br#"{"name":"Ada"}"#);
                assert!(record.headers.iter().any(|header| header.name == "__key_schema_id"));
            }
            _ => assert_eq!((key[0], &key[5..]), (0, &br#"{"name":"Ada"}"#[..])),
        }
        let letters = app.ok(&["dlq", "list", "json-moves", "--json"]);
        let place = serde_json::from_str::<Value>(&letters).unwrap()["place"].as_str().unwrap().to_owned();
        let shown = app.ok(&["dlq", "show", "json-moves", &place, "--json"]);
        let shown = serde_json::from_str::<Value>(&shown).unwrap();
        assert_eq!(shown["key"], json!({"name": "Cleo"}), "{wire}: {shown}");
    }
}

/// A host that runs until it is dropped.
struct Host(Child);

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a host, and returns its address once it is ready.
fn host(app: &App) -> (Host, String) {
    let host = app.command(&["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let (host, deadline) = (Host(host), Instant::now() + Duration::from_secs(60));
    let (file, mut seen) = (app.data.path().join("admin-address"), String::new());
    loop {
        if let Ok(address) = std::fs::read_to_string(&file) {
            let url = format!("http://{}", address.trim());
            match ask(&url, "GET", "/health/ready", None, &[]) {
                Ok((200, _)) => return (host, url),
                other => seen = format!("{other:?}"),
            }
        }
        assert!(Instant::now() < deadline, "waited in vain for a host that is ready: {seen}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_app_of_plain_topics_needs_no_registry() {
    let app = moves();
    fill(&app);
    app.ok(&["check"]);
    assert_eq!(counts(&app), [3, 1]);
    assert_eq!(values(&app, "json.places"), [json!({"room": "study"}), json!({"room": "hall"})]);
    let (_host, url) = host(&app);
    // The admin API reads plain records, too.
    let (_, letters) = ask(&url, "GET", "/dlq/json-moves", None, &[]).unwrap();
    let place = letters[0]["place"].as_str().unwrap();
    let (status, letter) = ask(&url, "GET", &format!("/dlq/json-moves/{place}"), None, &[]).unwrap();
    let expected = (&json!({"name": "Cleo"}), &json!({"room": 3, "more": "ignored"}));
    assert_eq!((status, (&letter["key"], &letter["value"])), (200, expected), "{letter}");
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let output = app.run(&["state", "get", "json-moves", "rooms", r#"{"number": 2}"#]);
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        if out.contains(r#""name":"hall""#) {
            return;
        }
        assert!(Instant::now() < deadline, "waited in vain for the table: {out}{err}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn schemas_of_plain_topics_stay_out_of_the_registry() {
    let app = App { registry: None, ..moves() };
    let run = |arguments: &[&str]| {
        let output = app.run(arguments);
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        (output.status.success(), out, err)
    };
    for command in ["check", "register"] {
        let (ok, out, err) = run(&["schema", command]);
        assert!(ok && out.contains("json.in-value") && !out.contains("json.places"), "{out}{err}");
        assert!(err.contains("left out, because their topics are plain: json.moves-key, json.moves-value"), "{err}");
    }
    let (ok, _, err) = run(&["schema", "diff", "json.moves-value", "1"]);
    assert!(!ok && err.contains("has no versions, because its topic is plain"), "{err}");
    // One that is named is registered, for tools that read it there.
    let (ok, out, err) = run(&["schema", "register", "json.moves-value"]);
    assert!(ok && out.starts_with("json.moves-value"), "{out}{err}");
    let (ok, out, err) = run(&["schema", "get", "json.moves-value"]);
    assert!(ok && out.contains("\"Move\""), "{out}{err}");
}

#[test]
fn a_component_of_plain_topics_is_measured_and_shadowed() {
    let app = moves();
    let measured = app.ok(&["bench", "json-moves", "--records", "200", "--json"]);
    let measured = serde_json::from_str::<Value>(&measured).unwrap();
    // The table is empty.
    assert_eq!((&measured["records"], &measured["failures"]), (&json!(200), &json!({"rejected": 200})), "{measured}");
    fill(&app);
    counts(&app);
    let file =
        std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../guests/components/json-moves/json-moves.wasm");
    let shadow = app.ok(&["shadow", file.to_str().unwrap(), "--json"]);
    let report = serde_json::from_str::<Value>(&shadow).unwrap();
    assert_eq!((&report["records"], &report["outputs"]["differ"]), (&json!(3), &json!(0)), "{report}");
    // A version that names rooms otherwise.
    let wasm = std::fs::read(&file).unwrap();
    let mut contract = heddle_contract::section::extract(&wasm).unwrap();
    let manifest = &mut contract.component.manifest;
    *manifest = manifest.replace("[emits.\"json.places\"]", "[emits.\"json.places\"]\ncloudevents = true");
    let other = app.data.path().join("other.wasm");
    std::fs::write(&other, heddle_contract::section::embed(&wasm, &contract).unwrap()).unwrap();
    let shadow = app.ok(&["shadow", other.to_str().unwrap(), "--json"]);
    let report = serde_json::from_str::<Value>(&shadow).unwrap();
    let new = &report["outputs"]["samples"][0]["new"][0];
    assert_eq!((&new["key"], &new["value"]), (&json!({"name": "Ada"}), &json!({"room": "study"})), "{report}");
}

#[test]
fn records_are_made_for_schemas_of_all_formats() {
    for component in ["json-rust", "protobuf-rust"] {
        let app = app(component, &[]);
        let measured = app.ok(&["bench", component, "--records", "500", "--json"]);
        let measured = serde_json::from_str::<Value>(&measured).unwrap();
        let counts = ["records", "duplicates"].map(|name| measured[name].as_u64().unwrap());
        assert_eq!(counts, [500, 0], "{measured}");
        assert_eq!(measured["failures"].get("decode"), None, "{measured}");
    }
}
