//! Confluent's client for Python: it reads what Heddle writes, and the other way round. Its validator agrees.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use heddle_contract::wire;
use serde_json::{Value, json};

use super::dice::Dice;
use super::{Codec, is_same, ruled, typed};
use crate::support::registry::Server;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The client's output for lines.
fn client(url: &str, schema: &Value, does: &str, lines: &[String]) -> Vec<String> {
    let fetched = Command::new("bash").arg(root().join("scripts/fetch-registry-clients")).output().unwrap();
    assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
    let folder = String::from_utf8(fetched.stdout).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), schema.to_string()).unwrap();
    let mut python = Command::new(Path::new(folder.trim()).join("python/bin/python"));
    python.arg(root().join("tests/json_schema/client.py")).arg(url).arg(file.path()).arg(does);
    let mut python = python.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut input, lines) = (python.stdin.take().unwrap(), lines.join("\n"));
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = python.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    writer.join().unwrap().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn confluents_client_for_python_reads_and_writes_the_same_values() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let mut schema = ruled();
    // The serializer of that client refuses names of files.
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    let codec = Codec::of(&schema);
    let values = (0..200).map(|seed| Dice(seed).value(&schema, &schema, 0)).collect::<Vec<_>>();
    let lines = values.iter().map(Value::to_string).collect::<Vec<_>>();
    let theirs = client(&server.url, &schema, "write", &lines);
    assert_eq!(theirs.len(), values.len());
    let mut ours = vec![];
    for (value, line) in values.iter().zip(theirs) {
        let bytes = BASE64.decode(line).unwrap();
        let (id, payload) = wire::split(&bytes).unwrap();
        let read = codec.decoder.decode(payload).unwrap();
        let written = [&wire::prefix(id)[..], &codec.written(&read)].concat();
        ours.push(BASE64.encode(&written));
        assert!(is_same(value, &serde_json::from_slice(&written[5..]).unwrap()), "{value}");
    }
    let read = client(&server.url, &schema, "read", &ours);
    assert_eq!(read.len(), values.len());
    for (value, read) in values.iter().zip(read) {
        assert!(is_same(value, &serde_json::from_str(&read).unwrap()), "{value}\n{read}");
    }
}

#[test]
fn the_validator_of_python_accepts_the_same_values() {
    for schema in [typed(), ruled()] {
        let codec = Codec::of(&schema);
        let values = (0..2_000).map(|seed| {
            let mut dice = Dice(seed);
            let mut value = dice.value(&schema, &schema, 0);
            (0..dice.below(3)).for_each(|_| dice.change(&mut value));
            value
        });
        let lines = values.map(|value| value.to_string()).collect::<Vec<_>>();
        let theirs = client("none", &schema, "check", &lines);
        assert_eq!(theirs.len(), lines.len());
        for (line, theirs) in lines.iter().zip(theirs) {
            let ours = codec.schema.check(line.as_bytes());
            assert_eq!(ours.is_ok().to_string(), theirs, "{line}: {ours:?}");
        }
    }
}
