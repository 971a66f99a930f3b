//! A component in Go requests everything that a program has from its system. The answers depend only on the record, not
//! on earlier records or the machine.

use crate::support::build;
use std::sync::{Arc, OnceLock};

use crate::support::asked::Asked;
use crate::support::guests::{self, header};
use heddle::guest::Component;
use heddle_core::event::NewRecord;

fn component() -> Arc<Component> {
    static COMPONENT: OnceLock<Arc<Component>> = OnceLock::new();
    let component = COMPONENT.get_or_init(|| {
        let wasm = build::component("guests", "ambient");
        Arc::new(guests::load("ambient.wasm", &wasm, [("in-value", 1), ("out-value", 2)]).unwrap())
    });
    component.clone()
}

fn bench() -> Asked {
    Asked::new("guests.ambient", component())
}

#[test]
fn a_component_gets_nothing_of_the_machine() {
    let mut bench = bench();
    let asked = ["time", "environment", "files", "network", "goroutines"].map(|what| (what, bench.answer(what)));
    let told = asked.iter().map(|(what, answer)| format!("{what}: {answer}")).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(told);
}

#[test]
fn the_same_records_give_the_same_answers_after_any_history() {
    let asked = ["time", "random", "environment", "print", "garbage"];
    let mut fresh = bench();
    let first = asked.map(|what| fresh.step(what, 7));
    // An instance that has handled other records, has collected garbage, and was replaced after traps.
    let mut used = bench();
    for offset in 100..150 {
        used.step("garbage", offset);
        used.step("random", offset);
    }
    assert_eq!(asked.map(|what| used.step(what, 7)), first);
    used.step("exit", 200);
    used.step("panic", 201);
    assert_eq!(asked.map(|what| used.step(what, 7)), first);
    assert_ne!(used.step("random", 8).value, first[1].value);
}

#[test]
fn output_becomes_log_lines_and_an_exit_becomes_a_trap() {
    let mut bench = bench();
    // The first record of an instance includes the output of its start, which is in 1970.
    let letter = bench.step("exit", 7);
    assert_eq!(header(&letter, "heddle.kind"), "trap");
    let told = |letter: &NewRecord| format!("{}\n{}", header(letter, "heddle.reason"), header(letter, "heddle.log"));
    let exit = told(&letter);
    let again = told(&bench.step("exit", 7));
    assert_eq!(exit, again);
    bench.step("print", 8);
    let panic = told(&bench.step("panic", 9));
    insta::assert_snapshot!(format!("{exit}\n{panic}"));
}
