//! Many good records go through a component in every language. None traps, none is dead-lettered, and every language
//! writes the same as Rust.
//!
//! Stores, typed keys, headers and large values alternate, so that a language's garbage collector may start at any
//! moment.
//!
//! `HEDDLE_TEST_SCALE` multiplies the number of records: at 250 it is a million for Rust and Go.

use std::sync::{Arc, LazyLock, Mutex};

use heddle_contract::format::avro::json;
use heddle_contract::section::Contract;
use heddle_core::event::NewRecord;
use heddle_core::task::{Next, Step};
use serde_json::{Value, json};
use xxhash_rust::xxh3::Xxh3;

use crate::support::conformance::{Bench, Input, constructs, keyed, probe, raw};
use crate::support::guests::schema;

/// The number of records for each language at scale 1, and the maximum.
const RECORDS: [(&str, usize); 4] = [("rust", 4_000), ("go", 4_000), ("javascript", 1_000), ("python", 500)];
const RECORDS_MAX: usize = 1_000_000;
/// The number of different records.
const POOL: usize = 499;
/// The sizes of large values: for all languages, and for Rust and Go only.
const LARGE: usize = 200 << 10;
const HUGE: usize = 8 << 20;

fn scale() -> usize {
    std::env::var("HEDDLE_TEST_SCALE").ok().map_or(1, |scale| scale.parse().expect("HEDDLE_TEST_SCALE is a number"))
}

fn records(language: &str) -> usize {
    let (_, records) = RECORDS.into_iter().find(|(known, _)| *known == language).unwrap();
    (records * scale()).min(RECORDS_MAX)
}

/// Raises the limits: time for slow machines, and room for huge values.
fn patient(contract: &mut Contract) {
    let manifest = &mut contract.component.manifest;
    *manifest = manifest.replace("deadline = \"500ms\"", "deadline = \"30s\"\nrecord = \"16MiB\"\noutput = \"64MiB\"");
    assert!(manifest.contains("16MiB"), "{manifest}");
}

/// A value with a text of `size`, which also contains a second such value.
fn thing(n: usize, size: usize) -> Value {
    let named = |n: usize, size: usize| {
        constructs(|value| {
            value["string"] = json!(format!("{n} ").repeat(size.div_ceil(2)));
            value["map"] =
                (0..n % 20).map(|key| (format!("key {key}"), json!(key))).collect::<serde_json::Map<_, _>>().into();
        })
    };
    let mut outer = named(n, size);
    outer["next"] = named(n + 1, 1);
    outer
}

/// The record at this index of the pool. The pool has a prime size, so a fixed step reaches all indexes.
fn pooled(n: usize) -> Input {
    let text = (n % 23).to_string();
    match n % 14 {
        _ if n.is_multiple_of(50) => match n / 50 % 3 {
            0 => raw(Some(b"large"), vec![n as u8; LARGE]),
            1 => probe(json!({"do": "put", "text": "large", "constructs": thing(n, LARGE)})),
            _ => probe(json!({"do": "get", "text": "large"})),
        },
        0..=2 => probe(json!({"do": "echo", "text": text, "constructs": thing(n, n)})),
        3..=4 => probe(json!({"do": "put", "text": text, "constructs": thing(n, n)})),
        5 => probe(json!({"do": "get", "text": text})),
        6 => probe(json!({"do": "scan", "text": "1", "n": 5})),
        7 => probe(json!({"do": "raw-keys", "n": n})),
        8 => probe(json!({"do": "typed-keys", "n": n})),
        9 => probe(json!({"do": "key-and-headers", "text": text})),
        10 => probe(json!({"do": "context"})),
        11 => probe(json!({"do": "many", "n": 20})),
        12 => keyed(Some(json!({"x": n, "y": {"double": n as f64}}))),
        _ => raw(None, vec![n as u8; n]),
    }
}

static INPUTS: LazyLock<Vec<Input>> = LazyLock::new(|| (0..POOL).map(pooled).collect());

/// A digest of a step's output, because a million of them are kept.
fn digest(step: &Step) -> u64 {
    let mut digest = Xxh3::new();
    for record in &step.writes {
        digest.update(record.topic.as_bytes());
        for part in [&record.key, &record.value] {
            digest.update(part.as_deref().unwrap_or(b"none"));
        }
        for header in &record.headers {
            digest.update(header.name.as_bytes());
            digest.update(header.value.as_deref().unwrap_or(b"none"));
        }
    }
    digest.digest()
}

/// Passes a good record to a component.
fn handle(bench: &mut Bench, input: &Input) -> Result<Step, String> {
    let step = bench.step(input);
    match &step.fault {
        None if step.next == Next::Done => Ok(step),
        _ => Err(format!("{}: {:?}, {:?}", input.name, step.fault, step.next)),
    }
}

/// The digests of a language's output for this many records, and its errors.
fn run(language: &str, records: usize) -> (Vec<u64>, Vec<String>) {
    let mut bench = Bench::with(language, patient);
    let mut faults = vec![];
    let steps = (0..records).map(|n| {
        let handled = handle(&mut bench, &INPUTS[n * 7 % POOL]);
        handled.map_or_else(
            |fault| {
                faults.push(format!("{n}: {fault}"));
                0
            },
            |step| digest(&step),
        )
    });
    let digests = steps.collect();
    (digests, faults)
}

/// The digests of Rust's output, for at least this many records.
fn expected(records: usize) -> Arc<Vec<u64>> {
    static DONE: Mutex<Option<Arc<Vec<u64>>>> = Mutex::new(None);
    let mut done = DONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(digests) = done.as_ref().filter(|digests| digests.len() >= records) {
        return digests.clone();
    }
    let (digests, faults) = run("rust", records);
    assert!(
        faults.is_empty(),
        "{} of {records} records fail in Rust: {:#?}",
        faults.len(),
        &faults[..faults.len().min(3)]
    );
    done.insert(Arc::new(digests)).clone()
}

fn every_good_record_goes_through(language: &str) {
    let records = records(language);
    let (digests, faults) = run(language, records);
    assert!(faults.is_empty(), "{} of {records} records fail: {:#?}", faults.len(), &faults[..faults.len().min(3)]);
    let expected = expected(records);
    let differs = digests.iter().zip(expected.iter()).position(|(ours, theirs)| ours != theirs);
    assert_eq!(differs.map(|n| (n, &INPUTS[n * 7 % POOL].name)), None, "the first record that Rust handles otherwise");
}

#[test]
fn rust_handles_every_good_record() {
    assert_eq!(expected(records("rust")).len(), records("rust"));
}

#[test]
fn go_handles_every_good_record() {
    every_good_record_goes_through("go");
}

#[test]
fn javascript_handles_every_good_record() {
    every_good_record_goes_through("javascript");
}

#[test]
fn python_handles_every_good_record() {
    every_good_record_goes_through("python");
}

/// The value that a probe emitted.
fn emitted(record: &NewRecord) -> Value {
    static SCHEMA: LazyLock<heddle_contract::format::avro::Schema> = LazyLock::new(|| schema("probe.values-out-value"));
    json::decode(&SCHEMA, &record.value.as_ref().unwrap()[5..]).unwrap()
}

#[test]
fn huge_values_go_through_rust_and_go() {
    for language in ["rust", "go"] {
        let mut bench = Bench::with(language, patient);
        for n in 0..3 * scale().min(10) {
            // Sizes vary, so that memory freed by one value does not fit the next.
            let value = vec![n as u8; HUGE - (n % 8) * (1 << 20)];
            let step = handle(&mut bench, &raw(None, value.clone())).unwrap();
            assert!(
                step.writes.iter().all(|record| record.value.as_deref() == Some(value.as_slice())),
                "{language}, {n}"
            );
            handle(&mut bench, &INPUTS[n * 7 % POOL]).unwrap();
        }
    }
}

#[test]
fn values_that_go_keeps_from_a_record_do_not_change() {
    let mut bench = Bench::with("go", patient);
    let texts = (0..200).map(|n| format!("text {n}")).collect::<Vec<_>>();
    for (n, text) in texts.iter().enumerate() {
        let step = handle(&mut bench, &probe(json!({"do": "remember", "text": text}))).unwrap();
        assert_eq!(emitted(&step.writes[0])["text"], texts[..=n].join(" "));
        handle(&mut bench, &INPUTS[n * 7 % POOL]).unwrap();
    }
}

#[test]
fn goroutines_take_turns_within_calls_of_the_host() {
    let mut bench = Bench::with("go", patient);
    let stored = thing(1, LARGE / 10);
    handle(&mut bench, &probe(json!({"do": "put", "text": "a", "constructs": stored}))).unwrap();
    for n in 0..50 {
        let step = handle(&mut bench, &probe(json!({"do": "goroutines", "text": "a", "n": 50}))).unwrap();
        let id = format!("guests.conformance/probe.values/0/{}", n + 2);
        assert_eq!(emitted(&step.writes[0])["text"], format!("{}{id}", stored["string"].as_str().unwrap()));
    }
}
