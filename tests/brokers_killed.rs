//! A cluster of three brokers under load, with each broker killed in turn. All results come out exactly once and in
//! order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use heddle_core::event::Record;
use heddle_fixtures::SetAtEnd;
use heddle_fixtures::cluster::{BROKERS, Cluster};

use crate::failures::host::{Host, Scripts, ended, outcomes, status, told, until};
use crate::failures::{FAILURE, NAME, clinic};
use crate::support::app::App;

const PARTITIONS: u32 = 3;
/// The topics that the host reads, writes and commits to.
const TOPICS: [&str; 5] = ["in", "out", "clinic.patient.counts", "__consumer_offsets", "__transaction_state"];
/// The number of records that must be handled before a broker is killed, and again while it is down.
const HANDLED: u64 = 100;
const KEYS: u64 = 20;

fn handled(app: &App) -> u64 {
    ended(&status(app, NAME))
}

/// Appends numbered records until `stop` is set. A dying broker may lose some, so tests compare with the content of the
/// topic.
fn produce(app: &App, scripts: &Scripts, stop: &AtomicBool) {
    let log = app.log();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let record = |number: u64| {
            let key = number % KEYS;
            let partition = i32::try_from(key % u64::from(PARTITIONS)).unwrap();
            scripts.record(partition, &format!("k{key}"), "count", i64::try_from(number).unwrap())
        };
        let records = (number..number + 10).map(record).collect::<Vec<_>>();
        number += 10;
        // The append fails if a broker is away for longer than the client waits. Later ones succeed.
        if let Err(error) = log.append(&records) {
            println!("{number}: {error}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The number of input records of each key.
fn inputs(app: &App) -> BTreeMap<String, usize> {
    let key = |record: &Record| String::from_utf8(record.key.clone().unwrap().to_vec()).unwrap();
    let mut counts = BTreeMap::new();
    app.records("in").into_values().flatten().for_each(|record| *counts.entry(key(&record)).or_default() += 1);
    counts
}

/// Prints the host's state if the test fails.
struct LastWords<'a>(&'a App);

impl Drop for LastWords<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", String::from_utf8_lossy(&self.0.run(&["status", "--partitions"]).stdout));
        }
    }
}

#[test]
fn each_broker_is_killed_at_work_and_nothing_is_lost_or_doubled() {
    let mut cluster = Cluster::start();
    let app = App { bootstrap: Some(cluster.bootstrap()), ..App::embedded() };
    let app = clinic(app, PARTITIONS, FAILURE);
    let scripts = Scripts::of(&app);
    let host = Host::start(&app);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stops = SetAtEnd(&stop);
        scope.spawn(|| produce(&app, &scripts, &stop));
        let _last_words = LastWords(&app);
        for broker in 0..BROKERS {
            let before = handled(&app);
            until("the host is at work", || handled(&app) >= before + HANDLED);
            let led = cluster.leads(broker, &TOPICS);
            assert!(led > 0, "broker {broker} has no work");
            cluster.kill(broker);
            let at_kill = handled(&app);
            until("the host goes on without the broker", || handled(&app) >= at_kill + HANDLED);
            println!("broker {broker} led {led} partitions when it was killed after {at_kill} records");
            cluster.revive(broker);
        }
    });
    let inputs = inputs(&app);
    let all = u64::try_from(inputs.values().sum::<usize>()).unwrap();
    until("all is handled", || handled(&app) == all);
    host.stop();
    assert!(!told(&app).contains("panicked"), "{}", told(&app));
    // Each result has the count of its key so far, so a lost or repeated record shows in all later results.
    let mut found = BTreeMap::<String, Vec<String>>::new();
    outcomes(&app).into_iter().for_each(|(key, did)| found.entry(key).or_default().push(did));
    let expected = inputs.into_iter().map(|(key, count)| (key, (1..=count).map(|n| format!("count {n}")).collect()));
    assert_eq!(found, expected.collect::<BTreeMap<_, Vec<_>>>());
    println!("{all} records, each once and in order");
}
