//! Lists of letters, single letters, and requests that are refused.

use heddle::log::now;
use heddle_core::date::rfc3339;
use heddle_core::event::NewRecord;
use serde_json::Value;

use crate::dlq::kinds::{input, prepared};
use crate::dlq::replay::letter;
use crate::dlq::told::Told;
use crate::dlq::{LETTERS, all, run};
use crate::support::app::App;

#[test]
fn letters_are_listed_shown_and_discarded() {
    let app = App::embedded().scripted();
    prepared(&app);
    run(&app, 9);
    // A second letter with the same failure.
    let letters = all(&app, LETTERS);
    let again = letters.iter().find(|letter| letter.key.as_deref() == Some(b"null-value")).unwrap();
    let again = NewRecord { headers: again.headers[..4].to_vec(), ..input("null-value", None) };
    app.log().append(&[again]).unwrap();
    let late = rfc3339(now());
    run(&app, 1);
    let place = |kind: &str| {
        let lines = app.ok(&["dlq", "list", "scripted", "--kind", kind, "--json"]);
        serde_json::from_str::<Value>(lines.lines().next().unwrap()).unwrap()["place"].as_str().unwrap().to_owned()
    };
    let (rejected, decode, emit) = (place("rejected"), place("decode"), place("emit"));
    let mut told = Told(&app, String::new());
    told.tell(&["dlq", "list", "scripted"]);
    told.tell(&["dlq", "list", "guests.scripted", "--group"]);
    told.tell(&["dlq", "list", "scripted", "--kind", "null-value", "--json"]);
    told.tell(&["dlq", "list", "scripted", "--kind", "null-value", "--group", "--json"]);
    told.tell(&["dlq", "list", "scripted", "--topic", "out"]);
    told.tell(&["dlq", "list", "scripted", "--schema", "0"]);
    told.tell(&["dlq", "show", "scripted", &rejected]);
    told.tell(&["dlq", "show", "scripted", &place("trap")]);
    told.tell(&["dlq", "show", "scripted", &decode]);
    told.tell(&["dlq", "show", "scripted", &decode, "--json"]);
    told.tell(&["dlq", "replay", "scripted", "--kind", "decode", "--dry-run"]);
    told.tell(&["dlq", "discard", "scripted", &decode, &emit]);
    told.tell(&["dlq", "discard", "scripted", &decode]);
    told.tell(&["dlq", "list", "scripted", "--kind", "decode"]);
    told.tell(&["dlq", "list", "scripted", "--kind", "decode", "--all"]);
    told.tell(&["dlq", "discard", "scripted", "--kind", "null-value"]);
    insta::assert_snapshot!(told.1);
    let lines =
        |arguments: &[&str]| app.ok(&[&["dlq", "list", "scripted", "--all"], arguments].concat()).lines().count();
    assert_eq!((lines(&[]), lines(&["--since", &late]), lines(&["--until", &late])), (9, 1, 8));
    assert_eq!((lines(&["--since", "1h"]), lines(&["--until", "2020-01-01"])), (9, 0));
    // Only the topic of marks was written to.
    assert_eq!((all(&app, LETTERS).len(), all(&app, "in").len()), (9, 10));
}

#[test]
fn impossible_requests_are_reported_with_cause_place_and_hint() {
    let app = App::embedded().scripted();
    let mut told = Told(&app, String::new());
    told.tell(&["dlq", "list", "script"]);
    told.tell(&["dlq", "list", "scripted"]);
    app.ok(&["topics", "create", LETTERS]);
    app.ok(&["topics", "create", "in"]);
    told.tell(&["dlq", "list", "scripted"]);
    told.tell(&["dlq", "show", "scripted", "0/7"]);
    told.tell(&["dlq", "show", "scripted", "7"]);
    told.tell(&["dlq", "replay", "scripted"]);
    told.tell(&["dlq", "replay", "scripted", "--all-open"]);
    told.tell(&["dlq", "replay", "scripted", "3/1"]);
    told.tell(&["dlq", "replay", "scripted", "--all-open", "--dry-run", "--edit"]);
    told.tell(&["dlq", "list", "scripted", "--since", "yesterday"]);
    app.log().append(&[letter(0, "gone"), letter(1, "in"), letter(2, "in")]).unwrap();
    told.tell(&["dlq", "replay", "scripted", "--all-open"]);
    told.tell(&["dlq", "replay", "scripted", "--topic", "in", "--edit"]);
    told.tell(&["dlq", "replay", "scripted", "0/1", "--edit"]);
    insta::assert_snapshot!(told.1);
    assert_eq!(all(&app, "in").len(), 0);
    for command in ["show", "discard", "replay"] {
        let refused = app.run(&["dlq", command, "scripted", &format!("0/{}", i64::MAX)]);
        let text = String::from_utf8(refused.stderr).unwrap();
        assert!(refused.status.code() == Some(1) && text.contains("no dead letter"), "{command}: {text}");
    }
}
