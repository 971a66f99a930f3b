//! Subjects named after records: several types on one topic without a union, types that a component does not name, and
//! tombstones that it skips. As a user runs it, on both logs.

use std::process::Output;

use heddle::registry::Registry as _;
use heddle_contract::section;
use heddle_contract::wire::{SchemaId, prefix};
use heddle_core::event::NewRecord;
use heddle_fixtures::kafka::shared;
use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::build;

fn run(app: &App, arguments: &[&str]) -> Output {
    app.command(arguments).env("HEDDLE_APP_COMPONENTS", "components/kinds").output().unwrap()
}

fn ok(app: &App, arguments: &[&str]) -> String {
    let output = run(app, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A record from another client, written with its own schema.
fn foreign(id: SchemaId, payload: &[u8]) -> NewRecord {
    let value = Some([&prefix(id)[..], payload].concat().into());
    NewRecord { topic: "kinds.in".into(), partition: None, timestamp: None, key: None, value, headers: vec![] }
}

fn records_use_the_subjects_of_their_own_types(app: &App) {
    build::component("guests", "kinds");
    ["kinds.in", "kinds.out"].iter().for_each(|topic| drop(ok(app, &["topics", "create", topic])));
    let file = app.data.path().join("lines");
    std::fs::write(&file, "{\"kinds.Placed\":{\"id\":\"a\"}}\n{\"kinds.Paid\":{\"id\":\"a\",\"cents\":7}}\nnull\n")
        .unwrap();
    ok(app, &["produce", "kinds.in", "--file", file.to_str().unwrap()]);
    let registry = app.own_registry();
    // A newer version of a type that the component names, and a type that it does not name.
    let newer = r#"{"type":"record","name":"Paid","namespace":"kinds","fields":[{"name":"id","type":"string"},{"name":"cents","type":"long"},{"name":"by","type":"string","default":""}]}"#;
    let other = r#"{"type":"record","name":"Refused","namespace":"kinds","fields":[{"name":"id","type":"string"}]}"#;
    let (newer, other) =
        (registry.register("kinds.Paid", newer).unwrap(), registry.register("kinds.Refused", other).unwrap());
    drop(registry);
    app.log().append(&[foreign(newer, b"\x02b\x10\x02x"), foreign(other, b"\x02c")]).unwrap();
    let counts: Value = serde_json::from_str(&ok(app, &["run", "--until-idle", "--json"])).unwrap();
    assert_eq!(["in", "out", "failed"].map(|name| counts[name].as_u64().unwrap()), [5, 3, 0]);

    let lines = ok(app, &["consume", "kinds.out", "--json"]);
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>();
    let values = lines.iter().map(|line| line["value"].clone()).collect::<Vec<_>>();
    assert_eq!(values, [json!({"id": "a"}), json!({"id": "a", "cents": 7}), json!({"id": "b", "cents": 8})]);
    assert_eq!(lines[1]["schemas"]["value"], lines[2]["schemas"]["value"]);
    let registry = app.own_registry();
    let id = |subject: &str| registry.latest(subject).unwrap().unwrap().id.0.to_string();
    let written = lines[..2].iter().map(|line| line["schemas"]["value"].as_str().unwrap().split('/').next().unwrap());
    assert_eq!(written.collect::<Vec<_>>(), [id("kinds.out-kinds.Placed"), id("kinds.out-kinds.Paid")]);
    for subject in ["kinds.in-value", "kinds.out-value", "kinds.in-kinds.Placed"] {
        assert_eq!(registry.latest(subject).unwrap(), None, "{subject}");
    }
}

#[test]
fn records_use_the_subjects_of_their_own_types_on_the_embedded_log() {
    records_use_the_subjects_of_their_own_types(&App::embedded().scripted());
}

#[test]
fn records_use_the_subjects_of_their_own_types_on_kafka() {
    records_use_the_subjects_of_their_own_types(&App::kafka(shared()).scripted());
}

/// An app with the component of several types, which reads unions of the topic's own subject, and treats unknown
/// branches like this.
fn reader_of_unions(mut app: App, unknown: &str) -> App {
    let wasm = build::component("guests", "kinds");
    let mut contract = section::extract(&wasm).unwrap();
    let manifest = contract.component.manifest.replace("subject = \"record\"\n", "");
    contract.component.manifest = manifest.replace("unknown-type = \"skip\"", &format!("unknown-type = \"{unknown}\""));
    app.folder = app.data.path().join("app");
    std::fs::create_dir(&app.folder).unwrap();
    std::fs::write(app.folder.join("kinds.wasm"), section::embed(&wasm, &contract).unwrap()).unwrap();
    let text =
        "[app]\nname = \"guests\"\ncomponents = [\"kinds.wasm\"]\n[topics.\"kinds.in\"]\n[topics.\"kinds.out\"]\n";
    std::fs::write(app.folder.join("heddle.toml"), text).unwrap();
    app
}

/// A branch that a writer's union has and the component's does not is a value of an unknown type.
#[test]
fn an_unknown_branch_of_a_union_is_an_unknown_type() {
    for (unknown, counts) in [("skip", [3, 2, 0]), ("dead-letter", [3, 2, 1])] {
        let app = reader_of_unions(App::embedded(), unknown);
        app.ok(&["topics", "create", "kinds.in"]);
        let id = |name: &str| {
            format!(
                r#"{{"type":"record","name":"{name}","namespace":"kinds","fields":[{{"name":"id","type":"string"}}]}}"#
            )
        };
        let paid = r#"{"type":"record","name":"Paid","namespace":"kinds","fields":[{"name":"id","type":"string"},{"name":"cents","type":"long"}]}"#;
        let union = format!("[{},{},{paid}]", id("Refused"), id("Placed"));
        let writer = app.own_registry().register("kinds.in-value", &union).unwrap();
        let records = [foreign(writer, b"\x02\x02a"), foreign(writer, b"\x00\x02b"), foreign(writer, b"\x04\x02c\x0e")];
        app.log().append(&records).unwrap();
        let found: Value = serde_json::from_str(&app.ok(&["run", "--until-idle", "--json"])).unwrap();
        assert_eq!(["in", "out", "failed"].map(|name| found[name].as_u64().unwrap()), counts, "{unknown}");
        if unknown == "dead-letter" {
            let letters = app.ok(&["dlq", "list", "kinds", "--json"]);
            let letter: Value = serde_json::from_str(letters.trim()).unwrap();
            assert_eq!((&letter["kind"], &letter["origin"]["offset"]), (&json!("decode"), &json!(1)), "{letter}");
        }
    }
}

#[test]
fn a_component_with_subjects_named_after_records_is_measured() {
    build::component("guests", "kinds");
    let app = App::embedded().scripted();
    let file = app.data.path().join("lines");
    std::fs::write(&file, "{\"kinds.Placed\":{\"id\":\"a\"}}\n{\"kinds.Paid\":{\"id\":\"a\",\"cents\":7}}\n").unwrap();
    for more in [&[][..], &["--from", file.to_str().unwrap()]] {
        let figures = ok(&app, &[&["bench", "--records", "100", "--json"], more].concat());
        let figures: Value = serde_json::from_str(&figures).unwrap();
        assert_eq!((&figures["emitted"], &figures["failures"]), (&json!(100), &json!({})), "{figures}");
    }
}
