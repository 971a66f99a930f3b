//! Confluent's client for npm: components handle what it writes, and it reads what they emit.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use heddle_core::event::Record;
use serde_json::{Map, Value, json};

use super::{app, counts, header, produce, records};
use crate::support::app::App;
use crate::support::registry::Server;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The client's lines for these.
fn client(registry: &str, arguments: &[&str], lines: &[Value]) -> Vec<Value> {
    let fetched = Command::new("bash").arg(root().join("scripts/fetch-registry-clients")).output().unwrap();
    assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
    let modules = Path::new(String::from_utf8(fetched.stdout).unwrap().trim()).join("node");
    let mut node = Command::new("node");
    node.arg(root().join("tests/registry_clients/serdes.mjs")).arg(registry).arg(modules).args(arguments);
    let mut node = node.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut input, text) =
        (node.stdin.take().unwrap(), lines.iter().map(|line| format!("{line}\n")).collect::<String>());
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    writer.join().unwrap().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A line of the client as a line of `heddle produce --json`.
fn line(written: &Value) -> Value {
    let bytes = |base64: &Value| json!({ "$bytes": base64 });
    let headers = written["headers"].as_object().unwrap().iter();
    let headers = headers.map(|(name, value)| (name.clone(), bytes(value))).collect::<Map<_, _>>();
    json!({"value": bytes(&written["value"]), "headers": headers})
}

/// A record as a line for the client.
fn read(record: &Record) -> Value {
    let base64 = |bytes: Option<&[u8]>| BASE64.encode(bytes.unwrap_or_default());
    let headers = record.headers.iter();
    let headers = headers.map(|header| (header.name.to_string(), base64(header.value.as_deref()).into()));
    json!({"value": base64(record.value.as_deref()), "headers": headers.collect::<Map<_, _>>()})
}

/// Sends values through a component. `messages` are the names of their types and of what is emitted.
fn through(
    component: &str,
    format: &str,
    [input, output]: [&str; 2],
    messages: [&str; 2],
    values: &[Value],
) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let mut emitted = vec![];
    for place in ["prefix", "header"] {
        let wire = if place == "header" { "header" } else { "registry" };
        let app = App { registry: Some(server.url.clone()), ..app(component, &[(input, wire), (output, wire)]) };
        app.ok(&["schema", "register", &format!("{input}-value")]);
        let written = client(&server.url, &[format, input, messages[0], "write", place], values);
        let lines = written.iter().map(line).collect::<Vec<_>>();
        produce(&app, input, &["--json"], &lines).unwrap();
        assert_eq!(counts(&app), [values.len() as u64, 0], "{format}, {place}");
        let records = records(&app, output);
        assert!(records.iter().all(|record| header(record).is_some() == (place == "header")), "{format}, {place}");
        let lines = records.iter().map(read).collect::<Vec<_>>();
        emitted.push(client(&server.url, &[format, output, messages[1], "read"], &lines));
    }
    assert_eq!(emitted[0], emitted[1], "{format}");
    emitted.swap_remove(0)
}

#[test]
fn avro_of_confluents_client_for_npm_is_handled_and_read() {
    let values =
        [json!({"do": "echo", "times": 1, "everything": null}), json!({"do": "echo", "times": -7, "everything": null})];
    let read = through("scripted", "AVRO", ["in", "out"], ["", ""], &values);
    assert_eq!(read, vec![json!({"did": "echo", "n": 0, "everything": null}); 2]);
}

#[test]
fn json_of_confluents_client_for_npm_is_handled_and_read() {
    let order = |id: &str, note: Value| {
        json!({"id": id, "kind": "order", "quantity": 1, "status": "in transit", "note": note,
            "lines": [{"product": "grüße 🧵 \"\\", "price": -0.1}], "payment": {"type": "transfer", "iban": "DE1"},
            "reference": null, "counts": {"": 0, "a": 9_007_199_254_740_991i64}, "extra": {"a": [1.5, null]}})
    };
    let values = [order("O-1", "n".into()), order("O-2", "".into())];
    let read = through("json-rust", "JSON", ["json.in", "json.out"], ["", ""], &values);
    assert_eq!(read, [json!({"number": 1, "order": values[0]}), json!({"number": 2, "order": values[1]})]);
}

#[test]
fn protobuf_of_confluents_client_for_npm_is_handled_and_read() {
    let values = [
        json!({"id": "O-1"}),
        json!({"id": "O-2", "total": {"currency": "EUR", "units": "9007199254740993", "nanos": -5},
            "status": "STATUS_PAID", "lines": [{"product": "grüße 🧵", "quantity": -1}], "counts": {"a": "1"},
            "transfer": {"iban": "DE1"}, "placedAt": "2026-11-30T01:02:03Z", "reference": "18446744073709551615",
            "due": {"year": 2026, "day": 1}, "large": "18446744073709551614", "ratio": 0.5, "token": "AP+A"}),
    ];
    let messages = ["shop.Order", "shop.Receipt"];
    let read = through("protobuf-rust", "PROTOBUF", ["proto.in", "proto.out"], messages, &values);
    assert_eq!(read, [json!({"order": values[0]}), json!({"number": "9007199254740993", "order": values[1]})]);
}
