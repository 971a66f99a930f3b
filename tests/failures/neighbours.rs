//! Components that loop, eat memory and trap on every record, beside one that works: it goes on, and the host lives.

use std::time::{Duration, Instant};

use crate::failures::host::{Host, Scripts, ended, status, until};
use crate::failures::{NAME, clinic, install};
use crate::support::app::App;

const RECORDS: i64 = 100_000;
const NEIGHBOURS: [&str; 3] = ["looper", "eater", "trapper"];

/// How long the one that works takes for the last nine tenths of its records beside these, and how much CPU its worker takes for all.
fn took(neighbours: &[&str]) -> (Duration, Duration) {
    let app = clinic(App::embedded(), 1, "attempts = 1");
    let scripts = Scripts::of(&app);
    for name in neighbours {
        install(&app, name, "attempts = 1\nretry-on = []");
    }
    let records = (0..RECORDS).map(|n| scripts.record(0, &format!("k{}", n % 100), "by-name", n));
    app.log().append(&records.collect::<Vec<_>>()).unwrap();
    let mut host = Host::start(&app);
    let mut at_first = 0;
    until("it is at work", || {
        at_first = ended(&status(&app, NAME));
        at_first > RECORDS as u64 / 10
    });
    let began = Instant::now();
    until("the one that works is through", || ended(&status(&app, NAME)) == RECORDS as u64);
    // The clock may have been started a little later than after a tenth.
    let took = began.elapsed().mul_f64(0.9 * RECORDS as f64 / (RECORDS as u64 - at_first).max(1) as f64);
    // Linux keeps 15 letters of a thread's name.
    let cpu = host.cpu(&NAME[..14]);
    assert!(host.is_running());
    assert_eq!(
        (status(&app, NAME)["handled"].as_i64(), status(&app, NAME)["failed"].as_u64()),
        (Some(RECORDS), Some(0))
    );
    for name in neighbours {
        let status = status(&app, &format!("clinic.{name}"));
        assert!(status["failed"].as_u64() > Some(0) && status["handled"] == 0, "{status}");
    }
    host.stop();
    (took, cpu)
}

#[test]
fn a_component_goes_on_beside_others_that_fail_all_the_time() {
    let (alone, beside) = (took(&[]), took(&NEIGHBOURS));
    // Told, not asserted: it is a matter of how many cores are free.
    println!("{RECORDS} records alone: {alone:?}; beside {NEIGHBOURS:?}: {beside:?}");
    for neighbour in NEIGHBOURS {
        println!("beside {neighbour}: {:?}", took(&[neighbour]));
    }
}
