//! The circuit breaker: consumption pauses while nearly everything fails, nothing is lost, and other components
//! continue.

use std::time::{Duration, Instant};

use crate::failures::host::{Host, Scripts, ended, outcomes, status, told, until};
use crate::failures::{LETTERS, NAME, clinic, install};
use crate::support::app::App;

const POLICY: &str = "attempts = 1\nbreaker = { failures = 5, within = \"10s\", pause = \"1s\" }";

#[test]
fn an_open_breaker_holds_all_records_until_a_probe_succeeds() {
    let app = clinic(App::embedded(), 1, POLICY);
    // Another component of the same app, on the same topic, without a breaker.
    install(&app, "neighbour", "attempts = 1");
    let scripts = Scripts::of(&app);
    let failing = (0..7).map(|n| scripts.record(0, "k", "needs-open", n));
    let records = failing
        .chain([scripts.record(0, "k", "open", 0)])
        .chain((0..50).map(|n| scripts.record(0, "k", "needs-open", n)));
    app.log().append(&records.collect::<Vec<_>>()).unwrap();
    let began = Instant::now();
    let host = Host::start(&app);
    // The log is checked instead of the status, because the breaker may be closed again when the status arrives.
    until("it opens", || !alerts(&app).is_empty());
    until("the neighbour goes on", || ended(&status(&app, "clinic.neighbour")) == 58);
    let metrics = metrics(&app);
    assert!(metrics.contains("heddle_breaker_open{component=\"clinic.neighbour\"} 0"), "{metrics}");
    until("it closes", || status(&app, NAME)["breaker"] == "closed" && ended(&status(&app, NAME)) == 58);
    // Five failures open it. The sixth and the seventh record are probes that fail, with a pause before each and before
    // `open`.
    assert!(began.elapsed() > Duration::from_secs(3), "{:?}", began.elapsed());
    let last = status(&app, NAME);
    assert_eq!((last["failed"].as_u64(), last["handled"].as_u64(), last["lag"].as_u64()), (Some(7), Some(51), Some(0)));
    host.stop();
    insta::assert_snapshot!("breaker", alerts(&app));
    assert_eq!(outcomes(&app).len(), 2 * 51);
    assert_eq!(app.records(LETTERS).into_values().flatten().count(), 7);
}

/// The alerts of the breaker, without times: each kind of line once, in order.
fn alerts(app: &App) -> String {
    let told = told(app);
    let line = |line: &str| strip(line).split_once("heddle::alert: ").map(|(_, alert)| alert.to_owned());
    let mut lines = told.lines().filter_map(line).collect::<Vec<_>>();
    lines.dedup();
    lines.join("\n")
}

/// A terminal line without its colours.
fn strip(line: &str) -> String {
    line.split('\u{1b}')
        .map(|part| part.split_once('m').filter(|_| part.starts_with('[')).map_or(part, |(_, text)| text))
        .collect()
}

fn metrics(app: &App) -> String {
    let address = std::fs::read_to_string(app.data.path().join("admin-address")).unwrap();
    ureq::get(format!("http://{address}/metrics")).call().unwrap().body_mut().read_to_string().unwrap()
}

#[test]
fn a_breaker_may_stop_the_component_until_the_next_start() {
    let app = clinic(App::embedded(), 1, &POLICY.replace(" }", ", on-open = \"stop\" }"));
    let scripts = Scripts::of(&app);
    let records =
        (0..5).map(|n| scripts.record(0, "k", "failed", n)).chain((0..5).map(|n| scripts.record(0, "k", "count", n)));
    app.log().append(&records.collect::<Vec<_>>()).unwrap();
    let mut host = Host::start(&app);
    until("it has stopped", || status(&app, NAME)["breaker"] == "stopped");
    until("what it did is committed", || ended(&status(&app, NAME)) == 5);
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!((ended(&status(&app, NAME)), host.is_running()), (5, true));
    assert_eq!(status(&app, NAME)["lag"], 5);
    let text = app.ok(&["status"]);
    let (text, stall) = text.trim_end().split_once("\n  stalled by breaker for ").unwrap();
    assert!(stall.ends_with(" s: too many deliveries fail"), "{stall}");
    // The digest, times and the duration of a commit differ between runs.
    let text = text.lines().next().unwrap();
    let shown = text.split_once("  in ").map(|(_, rest)| rest.split(" commits ").next().unwrap_or_default());
    insta::assert_snapshot!("status", format!("{}…{}", shown.unwrap(), text.rsplit(')').next().unwrap()));
    insta::assert_snapshot!("stopped", alerts(&app));
    host.stop();
    let host = Host::start(&app);
    until("the rest is through", || ended(&status(&app, NAME)) == 5);
    host.stop();
    assert_eq!(outcomes(&app).len(), 5);
}

/// A high rate of failures opens it as well, although some records succeed.
#[test]
fn a_failure_rate_opens_the_breaker() {
    let policy = "attempts = 1\nbreaker = { failures = 20, within = \"60s\", rate = \"50%\", pause = \"60s\" }";
    let app = clinic(App::embedded(), 1, policy);
    let scripts = Scripts::of(&app);
    let records = (0..100).map(|n| scripts.record(0, "k", if n % 3 == 0 { "count" } else { "rejected" }, n));
    app.log().append(&records.collect::<Vec<_>>()).unwrap();
    let host = Host::start(&app);
    until("it opens", || status(&app, NAME)["breaker"] == "open" && ended(&status(&app, NAME)) == 20);
    host.stop();
}
