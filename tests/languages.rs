//! The conformance guests. The same inputs go through the same component in every language, and all results are equal
//! to the byte: outputs, dead letters, state, log lines.
use std::path::Path;
use std::process::Command;

use heddle_contract::format::avro::json;
use heddle_core::event::NewRecord;
use serde_json::json;

use crate::support::conformance::{Bench, Entries, Input, constructs, keyed, probe, raw, tombstone};
use crate::support::guests::schema;

/// The languages that are compared with Rust.
const OTHERS: [&str; 3] = ["go", "javascript", "python"];

fn doing(what: &str) -> Input {
    probe(json!({ "do": what }))
}

fn echoes() -> Vec<Input> {
    let branches = [
        json!(null),
        json!({"string": ""}),
        json!({"long": i64::MAX}),
        json!({"boolean": true}),
        json!({"double": "NaN"}),
        json!({"bytes": "\u{0}"}),
        json!({"guests.Point": {"x": 1, "y": 2.5}}),
        json!({"guests.Kind": "NONE"}),
        json!({"array": [{"x": 1, "y": null}]}),
        json!({"map": {"a": "b", "": "ü"}}),
    ];
    let mut all = branches.map(|choice| constructs(|value| value["choice"] = choice)).to_vec();
    all.extend([
        constructs(|value| value["float"] = json!("-Infinity")),
        constructs(|value| value["double"] = json!("NaN")),
        constructs(|value| value["float"] = json!(f32::MIN_POSITIVE)),
        constructs(|value| value["double"] = json!(-0.0)),
        constructs(|value| value["long"] = json!(9_007_199_254_740_993i64)),
        constructs(|value| value["maybe"] = json!("there")),
        constructs(|value| value["flags"] = json!(null)),
        constructs(|value| value["string"] = json!("🧵".repeat(1000))),
        constructs(|value| value["next"] = constructs(|_| {})),
    ]);
    let all = all.into_iter().enumerate();
    all.map(|(n, value)| probe(json!({"do": "echo", "text": n.to_string(), "constructs": value}))).collect()
}

fn inputs() -> Vec<Input> {
    let mut inputs = echoes();
    let thing = |text: &str, long: i64| json!({"do": "put", "text": text, "constructs": constructs(|value| value["long"] = json!(long))});
    inputs.extend(["make", "choices", "key-and-headers", "context", "random", "log"].map(doing));
    inputs.extend([thing("a", 1), thing("b", 2), thing("ab", 3), thing("ä", 4)].map(probe));
    inputs.extend([
        probe(json!({"do": "get", "text": "a"})),
        probe(json!({"do": "get", "text": "not there"})),
        probe(json!({"do": "delete", "text": "b"})),
        probe(json!({"do": "scan", "text": "", "n": 10})),
        probe(json!({"do": "scan", "text": "a", "n": 1, "after": "a"})),
        probe(json!({"do": "raw-keys", "n": 5})),
        probe(json!({"do": "typed-keys", "n": 5})),
        probe(json!({"do": "typed-keys", "n": 5})),
        probe(json!({"do": "fact", "text": "a"})),
        probe(json!({"do": "fact", "text": "ab"})),
        probe(json!({"do": "fact", "text": "not there"})),
        probe(json!({"do": "facts", "text": "", "n": 10})),
        probe(json!({"do": "facts", "text": "a", "n": 1, "after": "a"})),
        probe(json!({"do": "named", "n": 7})),
        probe(json!({"do": "named", "n": 8})),
        probe(json!({"do": "many", "n": 100})),
        probe(json!({"do": "reject", "text": "rejécted, as asked"})),
        probe(json!({"do": "fail", "text": "failed, as asked"})),
        probe(json!({"do": "fail-once", "text": "failed, as asked"})),
        doing("trap"),
        doing("emit-wrong"),
        doing("put-wrong"),
        doing("nothing"),
        doing("loop"),
        doing("grow"),
        // Afterwards the state is as if the failed deliveries had not been made.
        doing("make"),
        probe(json!({"do": "get", "text": "ab"})),
        keyed(Some(json!({"x": 41, "y": {"double": 1.5}}))),
        keyed(Some(json!({"x": -2, "y": null}))),
        keyed(None),
        tombstone(Some(json!({"x": 41, "y": {"double": 1.5}}))),
        tombstone(None),
        raw(None, (0..=255).collect::<Vec<u8>>()),
        raw(Some(&[0xff]), vec![]),
    ]);
    inputs
}

fn text(record: &NewRecord, header: &str) -> String {
    let header = record.headers.iter().find(|known| known.name == header).and_then(|header| header.value.clone());
    String::from_utf8(header.unwrap_or_default().to_vec()).unwrap()
}

/// The readable form of a record, to show how two languages differ.
///
/// A trap is described in a language's own words, which are its last log line. A language may also report by itself
/// that memory is exhausted.
fn shown(record: &NewRecord) -> String {
    let value = match (&*record.topic, &record.value) {
        ("probe.values-out", Some(value)) => {
            json::decode(&schema("probe.values-out-value"), &value[5..]).unwrap().to_string()
        }
        _ => String::new(),
    };
    let kind = text(record, "heddle.kind");
    let compared = |name: &str| match name {
        "heddle.reason" => kind != "trap",
        "heddle.log" => kind != "trap" && kind != "memory",
        _ => true,
    };
    let headers = record.headers.iter().filter(|header| compared(&header.name));
    let headers = headers.map(|header| format!("\n  {}={:?}", header.name, header.value)).collect::<String>();
    format!("{} {:?} {value}\n  {:?}{headers}", record.topic, record.key, record.value)
}

/// An input, and the records that a language writes for it.
type Written = (String, Vec<NewRecord>);

/// The records that a language writes for all inputs, and its state at the end.
fn outcome(language: &str) -> (Vec<Written>, Entries) {
    let mut bench = Bench::new(language);
    let steps = inputs().into_iter().map(|input| (input.name.clone(), bench.step(&input).writes)).collect();
    let state = bench.state.0.lock().unwrap().clone();
    (steps, state)
}

#[test]
fn rust_handles_every_probe() {
    let (steps, state) = outcome("rust");
    let written = |name: &str| &steps.iter().find(|(step, _)| step.starts_with(name)).unwrap().1;
    let failures = ["reject", "fail ", "trap", "emit-wrong", "put-wrong", "nothing", "loop", "grow"];
    let kinds = failures.map(|name| {
        let [letter] = written(name).as_slice() else { panic!("{name} leaves one record, the dead letter") };
        text(letter, "heddle.kind")
    });
    assert_eq!(kinds, ["rejected", "failed", "trap", "emit", "state", "rejected", "deadline", "memory"]);
    let counts = ["make", "choices", "many", "fail-once", "scan ", "facts "].map(|name| written(name).len());
    assert_eq!(counts, [1, 10, 100, 1, 3, 3]);
    let stored = state.keys().filter(|(store, _)| !store.is_table());
    assert_eq!(stored.count(), 3 + 2 + 1);
    let deleted = written("tombstone keyed Some").iter().map(|record| (&*record.topic, record.value.clone()));
    let topics = ["probe.keyed-out", "probe.values-out", "probe.raw-out"];
    assert_eq!(deleted.collect::<Vec<_>>(), topics.map(|topic| (topic, None)));
    assert!(written("tombstone keyed Some").iter().all(|record| record.headers.iter().any(|h| h.name == "ce_id")));
    assert_eq!(text(&written("tombstone keyed None")[0], "heddle.kind"), "rejected");
}

#[test]
fn every_language_writes_the_same_records_and_state() {
    let rust = outcome("rust");
    for language in OTHERS {
        let other = outcome(language);
        let differs = rust.0.iter().zip(&other.0).filter_map(|((name, ours), (_, theirs))| {
            let [ours, theirs] = [ours, theirs].map(|records| records.iter().map(shown).collect::<Vec<_>>().join("\n"));
            (ours != theirs).then(|| format!("{name}\nrust:\n{ours}\n{language}:\n{theirs}"))
        });
        let differs = differs.collect::<Vec<_>>();
        assert!(differs.is_empty(), "{} inputs end otherwise:\n{}", differs.len(), differs.join("\n\n"));
        assert!(other.1 == rust.1, "the state differs: {:?} in Rust, {:?} in {language}", rust.1, other.1);
    }
}

/// Runs a program of one text and returns what it prints.
fn printed(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn sdk() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk").display().to_string()
}

#[test]
fn javascript_reports_text_and_numbers_that_do_not_fit() {
    let script = format!(
        r#"import {{ f32, list, lowered, string }} from "{}/javascript/types.js";
        const report = (type, value) => {{
            try {{ console.log(lowered(type, value, "the value")); }} catch (error) {{ console.log(error.message); }}
        }};
        report(list(string), ["fine \u{{1f600}}", "a\ud800b"]);
        [1e300, -3.5e38, 3.4028235e38, Infinity, NaN].forEach((number) => report(f32, number));"#,
        sdk()
    );
    let expected = "at the value[1]: text in Unicode is expected, but a surrogate stands alone at 1\n\
        at the value: 1e+300 does not fit into 32 bits\nat the value: -3.5e+38 does not fit into 32 bits\n\
        3.4028235e+38\nInfinity\nNaN\n";
    assert_eq!(printed("node", &["--input-type=module", "--eval", &script]), expected);
}

#[test]
fn python_reports_numbers_that_do_not_fit() {
    let script = format!(
        r#"import sys; sys.dont_write_bytecode = True; sys.path.insert(0, "{}/python"); import heddle_values as v
for number in [1e300, -3.5e38, 10**40, 3.4028235e38, float("inf"), float("nan"), 5]:
    try: v.checked(v.single, number, "the value"); print("fits")
    except TypeError as error: print(error)"#,
        sdk()
    );
    let large = "at the value: a float of 32 bits is expected, the number is too large\n";
    assert_eq!(printed("python3", &["-c", &script]), format!("{}{}", large.repeat(3), "fits\n".repeat(4)));
}
