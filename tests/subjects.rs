//! Subjects named after records: several types on one topic without a union, types that a component does not name, and
//! tombstones that it skips. As a user runs it, on both logs.

use std::process::Output;

use heddle::registry::Registry as _;
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

fn records_go_by_their_own_subjects(app: &App) {
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
fn records_go_by_their_own_subjects_on_the_embedded_log() {
    records_go_by_their_own_subjects(&App::embedded().scripted());
}

#[test]
fn records_go_by_their_own_subjects_on_kafka() {
    records_go_by_their_own_subjects(&App::kafka(shared()).scripted());
}
