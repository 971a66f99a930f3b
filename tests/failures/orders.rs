//! `order = "key"`: later records of a key wait for one that is retried, whichever host is killed meanwhile.

use heddle_fixtures::kafka::Kafka;

use crate::failures::host::{Host, Scripts, ended, header, outcomes, status, until};
use crate::failures::{LETTERS, NAME, clinic};
use crate::support::app::App;

const KEYS: usize = 40;
/// The number of hosts that run one after another. All but the last are killed.
const HOSTS: usize = 5;
/// The rounds over all keys that each host finds when it starts. Without them, a fast host would leave the next one
/// nothing to do before its kill.
const ROUNDS_OF_A_HOST: usize = 3;
const ROUNDS: usize = HOSTS * ROUNDS_OF_A_HOST;

/// Every key fails repeatedly at first, and each host is killed. The records of every key come out in order.
fn keeps_the_order(app: App) {
    let app = clinic(app, 2, "attempts = 1\nretry = [\"100ms\", \"100ms\", \"100ms\", \"200ms\"]\norder = \"key\"");
    let scripts = Scripts::of(&app);
    let what = |round: usize| match round % 3 {
        0 => "count",
        1 => "fail-at-first",
        _ => "rejected",
    };
    let start = |host: usize| {
        let rounds = host * ROUNDS_OF_A_HOST..(host + 1) * ROUNDS_OF_A_HOST;
        let records = rounds.flat_map(|round| (0..KEYS).map(move |key| (round, key)));
        let records = records.map(|(round, key)| {
            scripts.record((key % 2) as i32, &format!("k{key}"), what(round), (round * KEYS + key) as i64)
        });
        app.log().append(&records.collect::<Vec<_>>()).unwrap();
        Host::start(&app)
    };
    for number in 0..HOSTS - 1 {
        let host = start(number);
        until("it is at work", || status(&app, NAME)["again"].as_u64() > Some(number as u64));
        host.kill();
    }
    let host = start(HOSTS - 1);
    until("nothing waits", || {
        let status = status(&app, NAME);
        status["lag"] == 0 && status["waiting"] == 0 && status["restoring"] == 0
    });
    host.stop();
    app.ok(&["run", "--until-idle"]);
    let of_key = |key: &str| {
        let outcomes = outcomes(&app);
        outcomes.into_iter().filter(|(of, _)| of == key).map(|(_, did)| did).collect::<Vec<_>>()
    };
    let expected = (0..ROUNDS).map(what).filter(|what| *what != "rejected").enumerate();
    let expected = expected.map(|(n, what)| format!("{what} {}", n + 1)).collect::<Vec<_>>();
    for key in 0..KEYS {
        assert_eq!(of_key(&format!("k{key}")), expected, "k{key}");
    }
    let letters = app.records(LETTERS).into_values().flatten().collect::<Vec<_>>();
    assert_eq!(letters.len(), KEYS * (0..ROUNDS).filter(|round| what(*round) == "rejected").count());
    assert!(letters.iter().all(|letter| header(letter, "heddle.kind") == "rejected"));
}

#[test]
fn a_key_keeps_its_order_on_the_embedded_log() {
    keeps_the_order(App::embedded());
}

#[test]
fn a_key_keeps_its_order_on_kafka() {
    keeps_the_order(App::kafka(&Kafka::start()));
}

/// No more records may be parked than the manifest allows: the partition is blocked, or the record is dead-lettered.
#[test]
fn a_record_without_room_to_park_waits_or_is_dead_lettered() {
    for (when_full, letters) in [("wait", 0), ("dead-letter", 3)] {
        let failure = format!(
            "attempts = 1\nretry = [\"1s\", \"1s\", \"60s\"]\norder = \"key\"\nwaiting = {{ per-key = 2, when-full = \"{when_full}\" }}"
        );
        let app = clinic(App::embedded(), 1, &failure);
        let scripts = Scripts::of(&app);
        let mut records = vec![scripts.record(0, "k", "fail-at-first", 0)];
        records.extend((0..4).map(|n| scripts.record(0, "k", "count", n)));
        records.push(scripts.record(0, "other", "count", 0));
        app.log().append(&records).unwrap();
        let host = Host::start(&app);
        // The first record never succeeds in time, because its third delay is a minute.
        let done = |status: &serde_json::Value| ended(status);
        if letters == 0 {
            until("two wait", || status(&app, NAME)["waiting"] == 2);
            assert_eq!(done(&status(&app, NAME)), 0, "the partition is blocked");
        } else {
            until("the others are through", || done(&status(&app, NAME)) == 4);
            assert_eq!(status(&app, NAME)["waiting"], 2);
        }
        host.stop();
        let set_aside = app.records(LETTERS).into_values().flatten().collect::<Vec<_>>();
        assert_eq!(set_aside.len(), letters);
        assert!(set_aside.iter().all(|letter| header(letter, "heddle.kind") == "crowded"));
    }
}
