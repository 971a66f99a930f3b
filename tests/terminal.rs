//! Text from records on an operator's terminal. It moves no cursor, sets no colour, changes no direction and forges no
//! line. A pipe gets the same JSON, or with `--raw` the same bytes.

use std::fs;
use std::process::{Command, Output};

use crate::support::app::App;
use heddle_core::event::{Header, NewRecord};
use serde_json::{Value, json};

/// Sets the title, clears the screen, forges a line, changes the direction, and sets a colour with a C1 control.
const HOSTILE: &str = "\u{1b}]0;PWN\u{7}\u{1b}[2J\nplace          9/9 forged\r\u{202e}\u{2066}\u{9b}31m\u{7f}\u{200f}";

/// Fails if an output contains text that could affect a terminal.
fn harmless(what: &str, output: &Output) -> String {
    for bytes in [&output.stdout, &output.stderr] {
        let text = std::str::from_utf8(bytes).unwrap();
        let is_harmful = |c: char| c.is_control() && c != '\n' || "\u{202e}\u{2066}\u{200f}".contains(c);
        assert!(!text.contains(is_harmful), "{what}: {text:?}");
        assert!(!text.lines().any(|line| line.starts_with("place          9/9")), "{what}: {text}");
    }
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// An app with one dead letter, whose key, header, value and reason are hostile.
fn with_a_letter() -> App {
    let app = App::embedded().scripted();
    app.build();
    app.ok(&["topics", "create", "in"]);
    app.ok(&["topics", "create", "out"]);
    let file = app.data.path().join("in.jsonl");
    fs::write(&file, json!({ "do": HOSTILE }).to_string()).unwrap();
    app.ok(&["produce", "in", "--key", "do", "--file", file.to_str().unwrap()]);
    let sent = app.records("in").into_values().flatten().next().unwrap();
    app.log()
        .append(&[NewRecord {
            topic: "in".into(),
            partition: None,
            timestamp: None,
            key: sent.key,
            value: sent.value,
            headers: vec![Header::new(HOSTILE, HOSTILE)],
        }])
        .unwrap();
    let ran = app.command(&["run", "--until-idle"]).env("HEDDLE_TRACE", "trace").output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    harmless("run", &ran);
    app
}

#[test]
fn records_cannot_control_a_terminal() {
    let app = with_a_letter();
    let shown = |arguments: &[&str]| harmless(&arguments.join(" "), &app.run(arguments));
    let place = shown(&["dlq", "list", "scripted"]).lines().last().unwrap().split(' ').next().unwrap().to_owned();
    assert_eq!(shown(&["dlq", "list", "scripted"]).lines().count(), 2);
    assert_eq!(shown(&["dlq", "list", "scripted", "--group"]).lines().count(), 1);
    assert_eq!(shown(&["dlq", "replay", "scripted", "--all-open", "--dry-run"]).lines().count(), 2);
    let letter = shown(&["dlq", "show", "scripted", &place]);
    assert!(
        letter.contains(r"key            \u001b]0;PWN\u0007\u001b[2J\nplace          9/9 forged\r\u202e"),
        "{letter}"
    );
    assert_eq!(shown(&["consume", "in"]).lines().count(), 2);

    // The JSON has the same content.
    let letter: Value = serde_json::from_str(&shown(&["dlq", "show", "scripted", &place, "--json"])).unwrap();
    assert_eq!((&letter["key"], &letter["headers"][0][0]), (&HOSTILE.into(), &HOSTILE.into()));
    let listed = shown(&["dlq", "list", "scripted", "--json"]);
    let listed = listed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>();
    assert!(listed.iter().all(|letter| letter["reason"].as_str().unwrap().contains(HOSTILE)), "{listed:?}");
    for arguments in [&["consume", "in"][..], &["consume", "in", "--json"]] {
        for line in shown(arguments).lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            assert_eq!(record.get("value").unwrap_or(&record)["do"], HOSTILE);
        }
    }

    // With `--raw`, a pipe gets everything unchanged.
    let raw = app.ok(&["dlq", "show", "scripted", &place, "--raw"]);
    assert!(raw.contains(&format!("key            {HOSTILE}\n")), "{raw:?}");
    assert!(app.ok(&["dlq", "list", "scripted", "--raw"]).contains(HOSTILE));
    assert!(app.ok(&["consume", "in", "--raw"]).contains('\u{202e}'));
}

#[test]
fn quotes_in_errors_cannot_control_a_terminal() {
    let app = App::embedded().scripted();
    app.ok(&["topics", "create", "in"]);
    let file = app.data.path().join("in.jsonl");
    for value in
        [json!({ "do": "x", HOSTILE: 1 }), json!({ "do": { HOSTILE: 1 } }), json!({ "do": "x", "times": HOSTILE })]
    {
        fs::write(&file, value.to_string()).unwrap();
        let output = app.run(&["produce", "in", "--file", file.to_str().unwrap()]);
        assert!(!output.status.success());
        harmless("produce", &output);
    }
    harmless("an unknown topic", &app.run(&["consume", HOSTILE]));
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    let app = App::embedded().scripted();
    app.ok(&["topics", "create", "in"]);
    let file = app.data.path().join("in.jsonl");
    fs::write(&file, "{\"do\":\"x\"}\n".repeat(20_000)).unwrap();
    app.ok(&["produce", "in", "--file", file.to_str().unwrap()]);
    let consume = app.command(&["consume", "in"]);
    let mut shell = Command::new("bash");
    shell.args(["-c", "set -o pipefail; \"$@\" | head -1", "bash"]).arg(consume.get_program()).args(consume.get_args());
    consume.get_envs().for_each(|(name, value)| {
        shell.env(name, value.unwrap());
    });
    let output = shell.output().unwrap();
    assert_eq!(output.status.code(), Some(141), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
