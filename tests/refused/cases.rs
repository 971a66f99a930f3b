//! Records that the log refuses, and the results. They are the same on both logs.

use std::collections::BTreeMap;

use bytes::Bytes;
use heddle_core::event::{NewRecord, Record, Timestamp};
use heddle_core::partitioner::partition_of;
use sha2::{Digest as _, Sha256};

use super::{EMIT_BYTES_MAX, LETTER_BYTES_MAX, LETTERS, MUTE, install, ward};
use crate::failures::host::{Scripts, header, input};
use crate::support::app::App;

const DAY: i64 = 24 * 60 * 60 * 1_000;
/// Twice the maximum size of a client's record.
const TOO_MUCH: i64 = 33 << 20;

/// A record of the input, and its expected result.
pub(crate) struct Case {
    pub(crate) record: NewRecord,
    pub(crate) becomes: Becomes,
}

/// The expected result of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Becomes {
    /// It comes out, with its own timestamp if `in_time`, or else with the host's.
    Out { in_time: bool },
    /// It is dead-lettered with this kind and a reason that contains this text, whole or reduced.
    Letter { kind: &'static str, reason: &'static str, reduced: bool },
}

fn letter(kind: &'static str, reason: &'static str) -> Becomes {
    Becomes::Letter { kind, reason, reduced: false }
}

/// A key that hashes to this partition, so that a replay uses it, too.
fn key_of(partition: i32) -> String {
    let leads = |key: &String| partition_of(key.as_bytes(), 2).0 == partition;
    (0..).map(|n| format!("large-{n}")).find(leads).unwrap()
}

/// Moves the timestamp beyond what topics accept by default.
fn ahead(record: NewRecord) -> NewRecord {
    NewRecord { timestamp: Some(Timestamp(heddle::log::now().0 + 30 * DAY)), ..record }
}

/// Each kind of refusal, between good records of the same partition.
pub(crate) fn cases(scripts: &Scripts) -> Vec<Case> {
    let script = |key: &str, what: &str, times: i64| scripts.record(0, key, what, times);
    let keyless = NewRecord { key: None, ..script("", "count", 0) };
    // The letter is refused for its reason, which is larger than the dead-letter topic accepts.
    let large = script(&key_of(0), &"?".repeat(LETTER_BYTES_MAX), 0);
    let poison = [
        (keyless, letter("emit", "without a key")),
        (ahead(script("ahead", "count", 0)), Becomes::Out { in_time: false }),
        (script("emit", "emit-bytes", EMIT_BYTES_MAX as i64 + 1_000), letter("emit", "max.message.bytes")),
        (script("reason", "reason-bytes", 17 << 20), letter("rejected", "rrrr")),
        (script("state", "state-bytes", TOO_MUCH - (2 << 20)), letter("state", "takes at most")),
        (large, Becomes::Letter { kind: "rejected", reason: "nothing to do", reduced: true }),
        (ahead(script("ahead-rejected", "rejected", 0)), letter("rejected", "no")),
        (input(0, "null", None), letter("null-value", "null")),
    ];
    let good = |n: usize| Case { record: script("good", "count", n as i64), becomes: Becomes::Out { in_time: true } };
    let mut cases = vec![good(0)];
    for (n, (record, becomes)) in poison.into_iter().enumerate() {
        cases.extend([Case { record, becomes }, good(n + 1)]);
    }
    cases
}

/// The records of the input by key and value, which identify them in these tests.
type Places<'r> = BTreeMap<(Option<Bytes>, Option<Bytes>), &'r Record>;

fn places(inputs: &BTreeMap<i32, Vec<Record>>) -> Places<'_> {
    inputs.values().flatten().map(|record| ((record.key.clone(), record.value.clone()), record)).collect()
}

/// Checks that all cases have their expected results, and that there are no others.
pub(crate) fn check(app: &App, component: &str, dead_letters: &str, cases: &[Case]) {
    let (inputs, outs, letters) = (app.records("in"), app.records("out"), app.records(dead_letters));
    let places = places(&inputs);
    let outs = outs.values().flatten();
    let mut outs = outs
        .filter(|out| header(out, "ce_id").starts_with(&format!("{component}/")))
        .map(|out| (header(out, "ce_id"), out))
        .collect::<BTreeMap<_, _>>();
    let letters = letters.values().flatten().filter(|letter| header(letter, "heddle.component") == component);
    let place =
        |letter: &Record| ["topic", "partition", "offset"].map(|n| header(letter, &format!("heddle.{n}"))).join("/");
    let mut letters = letters.map(|letter| (place(letter), letter)).collect::<BTreeMap<_, _>>();
    for case in cases {
        let input = places[&(case.record.key.clone(), case.record.value.clone())];
        let place = format!("{}/{}", input.source, input.offset);
        match case.becomes {
            Becomes::Out { in_time } => {
                let out = outs.remove(&format!("{component}/{place}/0"));
                let why = || letters.get(&place).map(|letter| header(letter, "heddle.reason"));
                let out = out.unwrap_or_else(|| panic!("{place} did not come out: {:?}", why()));
                check_time(out, input, in_time);
            }
            Becomes::Letter { kind, reason, reduced } => {
                let letter = letters.remove(&place).expect(&place);
                check_letter(letter, input, kind, reason, reduced);
            }
        }
    }
    assert!(outs.is_empty(), "{:?}", outs.keys());
    assert!(letters.is_empty(), "{:?}", letters.keys());
}

/// Checks that the record has the time of its input, or else a header with that time.
fn check_time(record: &Record, input: &Record, in_time: bool) {
    let told = header(record, "heddle.timestamp");
    if in_time {
        assert_eq!((record.timestamp, &*told), (input.timestamp, ""));
    } else {
        assert_eq!(told, input.timestamp.0.to_string());
        assert!(record.timestamp.0 <= heddle::log::now().0, "{record:?}");
    }
}

fn check_letter(letter: &Record, input: &Record, kind: &str, reason: &str, reduced: bool) {
    let told = header(letter, "heddle.reason");
    assert_eq!(header(letter, "heddle.kind"), kind, "{told}");
    assert!(told.contains(reason) && told.len() <= 4 << 10, "{told}");
    if !reduced {
        assert_eq!((&letter.key, &letter.value), (&input.key, &input.value));
        assert_eq!(letter.headers[..input.headers.len()], input.headers[..]);
        assert_eq!(header(letter, "heddle.reduced"), "");
        check_time(letter, input, input.timestamp.0 < heddle::log::now().0);
        return;
    }
    let value = input.value.as_deref().unwrap();
    assert!(header(letter, "heddle.reduced").contains("takes at most"), "{letter:?}");
    assert_eq!(letter.value.as_deref(), Some(&value[..1_024]));
    assert_eq!(header(letter, "heddle.value-bytes"), value.len().to_string());
    assert_eq!(header(letter, "heddle.value-sha256"), format!("{:x}", Sha256::digest(value)));
    assert_eq!(header(letter, "heddle.headers"), input.headers.len().to_string());
}

/// Checks that a reduced letter says so, and that its replay sends the complete record from the input.
pub(crate) fn check_replay(app: &App, case: &Case) {
    let list = app.ok(&["dlq", "list", "patient", "--json"]);
    let lines = list.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let is_it = |line: &serde_json::Value| line["reason"].as_str().unwrap().contains("nothing to do");
    let place = lines.into_iter().find(is_it).unwrap()["place"].as_str().unwrap().to_owned();
    let shown = app.ok(&["dlq", "show", "patient", &place]);
    let bytes = case.record.value.as_ref().unwrap().len();
    assert!(shown.contains("reduced") && shown.contains(&format!("{bytes} bytes, sha256 ")), "{shown}");
    app.ok(&["dlq", "replay", "patient", &place]);
    let same = |record: &&Record| (&record.key, &record.value) == (&case.record.key, &case.record.value);
    let inputs = app.records("in");
    let sent = inputs.values().flatten().filter(same).collect::<Vec<_>>();
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[1].headers[..sent[0].headers.len()], sent[0].headers[..]);
}

pub(crate) const STRICT: &str = r#""cleanup.policy" = "compact", "max.message.bytes" = "1000000""#;

#[test]
fn a_record_that_the_embedded_log_refuses_fails_alone() {
    let app = ward(App::embedded(), STRICT);
    let scripts = Scripts::of(&app);
    let cases = cases(&scripts);
    app.log().append(&cases.iter().map(|case| case.record.clone()).collect::<Vec<_>>()).unwrap();
    app.ok(&["run", "--until-idle"]);
    check(&app, super::NAME, LETTERS, &cases);
    check_replay(
        &app,
        cases.iter().find(|case| matches!(case.becomes, Becomes::Letter { reduced: true, .. })).unwrap(),
    );
    // The dead letters of this component are refused. Its task is blocked, its other task and the other component
    // continue, and the run ends with an error.
    install(&app, "mute");
    app.log().append(&[scripts.record(1, "elsewhere", "count", 1)]).unwrap();
    let output = app.run(&["run", "--until-idle", "--json"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("records are left: the log refuses"), "{told}");
    assert!(
        told.contains("in/0@1") && told.contains(super::MUTE_LETTERS) && told.contains("max.message.bytes"),
        "{told}"
    );
    let out = app.records("out");
    let elsewhere = |component: &str| {
        let of =
            |out: &&Record| out.key.as_deref() == Some(b"elsewhere") && header(out, "ce_id").starts_with(component);
        out.values().flatten().filter(of).count()
    };
    assert_eq!((elsewhere(MUTE), elsewhere(super::NAME)), (1, 1));
}
