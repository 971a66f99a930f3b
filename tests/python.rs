//! Python: uncaught exceptions are reported with type, message and line. System functions use the record's data, or
//! raise an exception with a remedy.

use std::sync::{Arc, OnceLock};

use crate::support::asked::Asked;
use crate::support::build;
use crate::support::guests::header;
use heddle::build::cache_folder;
use heddle::guest::{Component, Engine};
use heddle::registry::SchemaId;

fn component() -> Arc<Component> {
    static COMPONENT: OnceLock<Arc<Component>> = OnceLock::new();
    let component = COMPONENT.get_or_init(|| {
        let wasm = build::component("guests", "python-ambient");
        // Compiling Python takes long, so the compiled code is cached.
        let engine = Engine::start(Some(&cache_folder().join("compiled"))).unwrap();
        let ids = [("in-value", 1), ("out-value", 2)].map(|(name, id)| (name.to_owned(), SchemaId(id))).into();
        Arc::new(Component::load(&engine, "python-ambient.wasm", &wasm, &ids).unwrap())
    });
    component.clone()
}

fn bench() -> Asked {
    Asked::new("guests.python-ambient", component())
}

#[test]
fn an_uncaught_exception_is_reported_with_type_message_and_line() {
    let mut bench = bench();
    let raised = [
        "boom",
        "nested",
        "lines",
        "empty",
        "speechless",
        "rejected, badly",
        "refused, badly",
        "failure",
        "exit",
        "hard exit",
        "interrupt",
        "recursion",
        "nested values",
        "cause",
        "context",
        "group",
        "in a library",
        "assert",
    ];
    let reasons = raised.map(|what| bench.failure(what));
    insta::assert_snapshot!(reasons.join("\n"));
    // The message is cut, but not the location.
    let long = bench.failure("long");
    assert!(long.starts_with("long: trap: uncaught ValueError: long long "), "{long}");
    assert!(long.contains("… (5000000 characters) at inner.py:37"), "{long}");
}

#[test]
fn a_value_that_does_not_fit_its_type_is_reported_with_its_place() {
    let mut bench = bench();
    let unfit = ["none", "no text", "range", "surrogate", "below", "key", "header"];
    insta::assert_snapshot!(unfit.map(|what| bench.failure(what)).join("\n"));
}

#[test]
fn the_dead_letter_carries_the_traceback() {
    let letter = bench().step("cause", 7);
    insta::assert_snapshot!(header(&letter, "heddle.log"));
}

#[test]
fn a_forbidden_call_raises_an_exception_with_a_hint() {
    let mut bench = bench();
    insta::assert_snapshot!(bench.answer("without"));
    let attempts = ["read", "stat", "connect", "sleep", "thread", "import", "codec"];
    insta::assert_snapshot!(attempts.map(|what| bench.failure(what)).join("\n"));
}

#[test]
fn clocks_show_the_records_time_and_the_machine_is_empty() {
    let mut bench = bench();
    let answers = ["clocks", "machine", "library"].map(|what| format!("{what}: {}", bench.answer(what)));
    insta::assert_snapshot!(answers.join("\n"));
}

#[test]
fn the_same_record_gives_the_same_answer_after_any_history() {
    let asked = ["clocks", "numbers", "machine", "library", "printed", "without"];
    let mut fresh = bench();
    let first = asked.map(|what| fresh.step(what, 7));
    let mut used = bench();
    for offset in 100..120 {
        used.step("numbers", offset);
        used.step("clocks", offset);
    }
    assert_eq!(asked.map(|what| used.step(what, 7)), first);
    used.step("boom", 200);
    used.step("recursion", 201);
    assert_eq!(asked.map(|what| used.step(what, 7)), first);
    assert_ne!(used.step("numbers", 8).value, first[1].value);
}
