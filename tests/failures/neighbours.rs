//! Components that loop, eat memory and trap on every record, beside one that works: it goes on, and the host lives.

use std::time::{Duration, Instant};

use crate::app::App;
use crate::host::{Host, Scripts, ended, status, until};
use crate::{NAME, clinic, install};

const RECORDS: i64 = 20_000;
const NEIGHBOURS: [&str; 3] = ["looper", "eater", "trapper"];

/// How long the one that works takes for its records beside these.
fn took(neighbours: &[&str]) -> Duration {
    let app = clinic(App::embedded(), 1, "attempts = 1");
    let scripts = Scripts::of(&app);
    for name in neighbours {
        install(&app, name, "attempts = 1\nretry-on = []");
    }
    let records = (0..RECORDS).map(|n| scripts.record(0, &format!("k{}", n % 100), "by-name", n));
    app.log().append(&records.collect::<Vec<_>>()).unwrap();
    let began = Instant::now();
    let mut host = Host::start(&app);
    until("the one that works is through", || ended(&status(&app, NAME)) == RECORDS as u64);
    let took = began.elapsed();
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
    took
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
