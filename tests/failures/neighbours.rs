//! Components that loop, exhaust memory or trap on every record run beside a working one. The working one continues,
//! and the host survives.

use heddle_fixtures::scaled_count;

use crate::failures::host::{Host, Scripts, ended, status, until};
use crate::failures::{NAME, clinic, install};
use crate::support::app::App;

const NEIGHBOURS: [&str; 3] = ["looper", "eater", "trapper"];

#[test]
fn a_component_continues_beside_others_that_always_fail() {
    let records = scaled_count(5_000, 100_000);
    let app = clinic(App::embedded(), 1, "attempts = 1");
    let scripts = Scripts::of(&app);
    for name in NEIGHBOURS {
        install(&app, name, "attempts = 1\nretry-on = []");
    }
    let all = (0..records as i64).map(|n| scripts.record(0, &format!("k{}", n % 100), "by-name", n));
    app.log().append(&all.collect::<Vec<_>>()).unwrap();
    let mut host = Host::start(&app);
    until("the one that works is through", || ended(&status(&app, NAME)) == records as u64);
    assert!(host.is_running());
    let working = status(&app, NAME);
    assert_eq!((working["handled"].as_u64(), working["failed"].as_u64()), (Some(records as u64), Some(0)));
    for name in NEIGHBOURS {
        until("each of the others has failed, too", || {
            status(&app, &format!("clinic.{name}"))["failed"].as_u64() > Some(0)
        });
        assert_eq!(status(&app, &format!("clinic.{name}"))["handled"], 0);
    }
    host.stop();
}
