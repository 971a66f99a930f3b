//! Plain JSON on a real Kafka, written and read by Python with nothing but `json`.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use heddle_fixtures::kafka::shared;
use serde_json::{Value, json};

use super::{app_on, records};
use crate::support::app::App;

fn python(arguments: &[&str], lines: &[Value]) -> Vec<Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let fetched = Command::new("bash").arg(root.join("scripts/fetch-registry-clients")).output().unwrap();
    assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
    let folder = String::from_utf8(fetched.stdout).unwrap();
    let mut python = Command::new(Path::new(folder.trim()).join("python/bin/python"));
    python.arg(root.join("tests/wires/plain.py")).arg(shared().bootstrap()).args(arguments);
    let mut python = python.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    python.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn python_without_schemas_writes_and_reads_what_components_handle() {
    let topics = ["json.moves", "json.places", "json.rooms"];
    let app = app_on(App::kafka(shared()), "json-moves", &topics.map(|topic| (topic, "plain")));
    let run = |arguments: &[&str]| {
        let output = app.command(arguments).env("HEDDLE_REGISTRY_TOPIC", "unused.registry").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    topics.iter().for_each(|topic| drop(run(&["topics", "create", topic])));
    let line = |key: Value, value: Value| json!({"key": key, "value": value});
    python(&["write", "json.rooms"], &[line(json!({"number": 1}), json!({"name": "Küche 🧵", "floor": 0}))]);
    let moves = ["Ada", "Bob"].map(|name| line(json!({ "name": name }), json!({"room": 1, "ü": [1.50, null]})));
    python(&["write", "json.moves"], &moves);
    let counts = serde_json::from_str::<Value>(&run(&["run", "--until-idle", "--json"])).unwrap();
    assert_eq!([&counts["in"], &counts["failed"]], [2, 0], "{counts}");
    // Python's records have blanks and escapes, those of components do not.
    let value = |topic: &str| String::from_utf8(records(&app, topic)[0].value.clone().unwrap().to_vec()).unwrap();
    assert_eq!(value("json.moves"), r#"{"room": 1, "\u00fc": [1.5, null]}"#);
    assert_eq!(value("json.places"), r#"{"room":"Küche 🧵"}"#);
    let read = python(&["read", "json.places", "2"], &[]);
    assert_eq!(read, ["Ada", "Bob"].map(|name| line(json!({ "name": name }), json!({"room": "Küche 🧵"}))));
    // What consumes and produces for people needs no registry either.
    assert_eq!(run(&["consume", "json.places"]).lines().count(), 2);
    assert!(!run(&["topics", "list"]).contains("unused.registry"));
}
