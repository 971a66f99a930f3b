//! Invalid records of every kind among good ones, also under `kill -9`.
//!
//! All good records come out once. All bad ones are where the policy puts them, byte for byte, and the counts add up.

use std::collections::BTreeMap;

use heddle_core::event::{NewRecord, Record};
use heddle_fixtures::kafka::Kafka;
use heddle_fixtures::scaled_count;

use crate::failures::host::{Host, Scripts, ended, header, input, status, until};
use crate::failures::{LETTERS, NAME, clinic};
use crate::support::app::App;

const PARTITIONS: usize = 4;
const KEYS: usize = 100;
/// A multiple of a hundred for each kill, so that each kind of bad record is equally frequent.
fn records_of_all() -> usize {
    scaled_count(3_000, 10_000) / (100 * kills()) * 100 * kills()
}

fn kills() -> usize {
    scaled_count(3, 5)
}

/// The fault of a record, and the kind of its dead letter. One percent of the records has each.
const POISON: [(&str, &str); 13] = [
    ("garbage", "decode"),
    ("null", "null-value"),
    ("large", "too-large"),
    ("rejected", "rejected"),
    ("failed", "failed"),
    ("trap", "trap"),
    ("deadline", "deadline"),
    ("memory", "memory"),
    ("stack", "stack"),
    ("emit", "emit"),
    ("output", "output"),
    ("output-bytes", "output"),
    ("state", "state"),
];

/// The place of a record in its hundred. Each key has one record at each place.
fn place(n: usize) -> usize {
    (n * 37 + n / 100) % 100
}

/// The script of a bad record, or `None` for a good one.
fn poison(n: usize) -> Option<(&'static str, &'static str)> {
    POISON.get(place(n)).copied()
}

fn record(scripts: &Scripts, n: usize) -> NewRecord {
    let key = n % KEYS;
    let (partition, name) = ((key % PARTITIONS) as i32, format!("k{key}"));
    match poison(n) {
        Some(("garbage", _)) => input(partition, &name, Some(format!("no avro at all: {n}").into_bytes())),
        Some(("null", _)) => input(partition, &name, None),
        Some(("large", _)) => input(partition, &name, Some(vec![0; 8 << 10])),
        Some((what, _)) => scripts.record(partition, &name, what, n as i64),
        None if [50, 51].contains(&place(n)) => scripts.record(partition, &name, "fail-at-first", n as i64),
        None => scripts.record(partition, &name, "count", n as i64),
    }
}

fn reconciles(app: App, failure: &str) {
    let app = clinic(app, PARTITIONS as u32, failure);
    let ordered = failure.contains("order");
    let scripts = Scripts::of(&app);
    let records = (0..records_of_all()).map(|n| record(&scripts, n)).collect::<Vec<_>>();
    let mut at_work = 0;
    for kill in 0..kills() {
        let part = records_of_all() / kills();
        app.log().append(&records[kill * part..(kill + 1) * part]).unwrap();
        let host = Host::start(&app);
        let mut last = 0;
        until("it is at work", || {
            last = ended(&status(&app, NAME));
            last > (kill * 150) as u64
        });
        at_work += usize::from(last < part as u64);
        host.kill();
    }
    // The number depends on the machine. If it is positive, the kills hit their target.
    println!("{at_work} of {} kills hit a host at work", kills());
    assert!(at_work > 0);
    let host = Host::start(&app);
    until("nothing is left", || {
        let status = status(&app, NAME);
        status["lag"] == 0 && status["waiting"] == 0 && status["restoring"] == 0
    });
    let last = status(&app, NAME);
    let count = |name: &str| last[name].as_u64().unwrap();
    assert_eq!(
        count("in") + count("again"),
        count("handled") + count("retried") + count("failed") + count("duplicates")
    );
    host.stop();
    app.ok(&["run", "--until-idle"]);
    check_letters(&app, &records);
    check_outputs(&app, ordered);
}

/// Checks that every bad record is dead-lettered once and unchanged.
fn check_letters(app: &App, records: &[NewRecord]) {
    let letters = app.records(LETTERS).into_values().flatten().collect::<Vec<_>>();
    let mut by_place = BTreeMap::new();
    for letter in &letters {
        let place = (header(letter, "heddle.partition"), header(letter, "heddle.offset").parse::<i64>().unwrap());
        assert!(by_place.insert(place, letter).is_none(), "one occurs twice");
    }
    let inputs = app.records("in");
    let places = inputs.values().flatten().map(|r| (r.key.clone(), r.value.clone(), r)).collect::<Vec<_>>();
    let bad = (0..records_of_all()).filter_map(poison).count();
    let mut kinds = BTreeMap::<String, usize>::new();
    letters.iter().for_each(|letter| *kinds.entry(header(letter, "heddle.kind")).or_default() += 1);
    assert_eq!((letters.len(), places.len(), records.len()), (bad, records_of_all(), records_of_all()), "{kinds:?}");
    // A partition has its records in the order of production.
    let mut next = BTreeMap::<i32, std::slice::Iter<'_, Record>>::new();
    for (n, record) in records.iter().enumerate() {
        let partition = record.partition.unwrap().0;
        let input = next.entry(partition).or_insert_with(|| inputs[&partition].iter()).next().unwrap();
        assert_eq!((&input.key, &input.value), (&record.key, &record.value));
        let letter = by_place.get(&(partition.to_string(), input.offset.0));
        assert_eq!(
            letter.map(|letter| header(letter, "heddle.kind")).as_deref(),
            poison(n).map(|(_, kind)| kind),
            "{n}"
        );
        if let Some(letter) = letter {
            assert_eq!((&letter.key, &letter.value, letter.timestamp), (&input.key, &input.value, input.timestamp));
            assert_eq!(letter.headers[..input.headers.len()], input.headers[..]);
        }
    }
}

/// Checks that every good record comes out once, and that the sums of a key grow by one. Its records are in order if
/// that is guaranteed.
fn check_outputs(app: &App, ordered: bool) {
    let mut found = BTreeMap::<String, Vec<(String, i64)>>::new();
    for line in app.ok(&["consume", "out", "--json"]).lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let (key, value) = (line["key"].as_str().unwrap().to_owned(), &line["value"]);
        found.entry(key).or_default().push((value["did"].as_str().unwrap().to_owned(), value["n"].as_i64().unwrap()));
    }
    for key in 0..KEYS {
        let good = (0..records_of_all())
            .filter(|n| n % KEYS == key && poison(*n).is_none())
            .map(|n| n as i64)
            .collect::<Vec<_>>();
        let found = found.remove(&format!("k{key}")).unwrap();
        let sums = found.iter().map(|(did, _)| did.rsplit_once(' ').unwrap().1.parse::<usize>().unwrap());
        assert_eq!(sums.collect::<Vec<_>>(), (1..=good.len()).collect::<Vec<_>>(), "k{key}");
        let mut numbers = found.iter().map(|(_, n)| *n).collect::<Vec<_>>();
        if !ordered {
            // Records that failed at first were overtaken, the others were not.
            let at_once = found.iter().filter(|(did, _)| did.starts_with("count")).map(|(_, n)| *n);
            assert!(at_once.is_sorted(), "k{key}");
            numbers.sort_unstable();
        }
        assert_eq!(numbers, good, "k{key}");
    }
}

const OVERTAKING: &str = "attempts = 2\nbackoff = \"10ms\"\nretry = [\"200ms\", \"500ms\", \"500ms\"]";
const ORDERED: &str = "attempts = 1\nretry = [\"100ms\", \"200ms\", \"200ms\"]\norder = \"key\"";

#[test]
fn poison_is_reconciled_on_the_embedded_log() {
    reconciles(App::embedded(), OVERTAKING);
}

#[test]
fn poison_is_reconciled_on_kafka() {
    reconciles(App::kafka(&Kafka::start()), OVERTAKING);
}

#[test]
fn poison_is_reconciled_in_order_on_the_embedded_log() {
    reconciles(App::embedded(), ORDERED);
}

#[test]
fn poison_is_reconciled_in_order_on_kafka() {
    reconciles(App::kafka(&Kafka::start()), ORDERED);
}
