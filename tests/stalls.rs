//! The status of partitions and the stalls of tasks, as an operator sees them: in `heddle status --partitions`,
//! `/health/ready` and `/metrics`.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::time::Duration;

use heddle::cluster::{HostClient, Reach};
use serde_json::Value;

use crate::failures::host::{Host, Scripts, until};
use crate::failures::{LETTERS, NAME, clinic};
use crate::support::app::App;

/// A dead-letter topic that accepts nothing, not even a reduced letter.
const MUTE: &str = "options = { \"max.message.bytes\" = \"200\" }";
/// The next attempt comes later than the test ends.
const SLOW: &str = "attempts = 3\nbackoff = \"1m\"";

fn status(app: &App, arguments: &[&str]) -> Value {
    let output = app.run(&[&["status", "--json"], arguments].concat());
    serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default()
}

fn cause(status: &Value, partition: usize) -> &str {
    status["partitions"][partition]["stall"]["cause"].as_str().unwrap_or_default()
}

/// The text without parts that differ from run to run.
fn steady(text: &str) -> String {
    let word = |word: &str| match word {
        _ if word.starts_with("20") && word.ends_with([':', 'Z', ',']) => "TIME".to_owned(),
        _ if word.parse::<f64>().is_ok() && word.contains('.') => "N".to_owned(),
        _ if word.len() == 12 && word.bytes().all(|byte| byte.is_ascii_hexdigit()) => "DIGEST".to_owned(),
        _ => word.to_owned(),
    };
    let line = |line: &str| line.split(' ').map(word).collect::<Vec<_>>().join(" ");
    let lines = text.lines().filter(|line| !line.starts_with("  last minute: "));
    let text = lines.map(line).collect::<Vec<_>>().join("\n");
    // A blocked record is retried meanwhile.
    (1..10).fold(text, |text, tries| {
        let attempt = |tries: &str| format!("attempt {tries}  next try TIME  stalled by refused");
        let text = text.replace(&format!("tried {tries} times"), "tried N times");
        text.replace(&attempt(&tries.to_string()), &attempt("N"))
    })
}

#[test]
fn a_record_that_is_retried_and_a_task_that_is_stuck_are_shown_with_cause_and_duration() {
    let app = clinic(App::embedded(), 3, SLOW);
    let mut settings = OpenOptions::new().append(true).open(app.folder.join("heddle.toml")).unwrap();
    write!(settings, "[topics.\"{LETTERS}\"]\n{MUTE}\n").unwrap();
    let scripts = Scripts::of(&app);
    let record = |partition, what| scripts.record(partition, &format!("k{partition}"), what, 0);
    app.log().append(&[record(0, "count"), record(0, "failed"), record(1, "rejected"), record(2, "count")]).unwrap();
    let host = Host::start(&app);
    until("both tasks wait", || {
        let status = status(&app, &["--partitions"]);
        (cause(&status, 0), cause(&status, 1)) == ("retry", "refused") && status["lag"] == 2
    });

    let shown = status(&app, &["--partitions"]);
    let partition = |number: usize| &shown["partitions"][number];
    let retried = partition(0);
    assert_eq!((&retried["position"], &retried["end"], &retried["lag"]), (&1.into(), &2.into(), &1.into()));
    assert_eq!((&retried["record"]["offset"], &retried["record"]["attempt"]), (&1.into(), &2.into()));
    assert_eq!((&retried["error"]["kind"], &retried["error"]["offset"]), (&"failed".into(), &1.into()));
    let since = retried["record"]["since"].as_i64().unwrap();
    assert!(retried["next_try"].as_i64().unwrap() > since + 10_000, "{retried}");
    assert_eq!(partition(2)["lag"], 0);
    assert_eq!((&partition(2)["stall"], &partition(2)["record"]), (&Value::Null, &Value::Null));
    assert_eq!(shown["stalls"].as_array().unwrap().len(), 2, "{shown}");
    assert_eq!(status(&app, &[])["partitions"], Value::Null, "only where it is asked for");
    insta::assert_snapshot!(steady(&app.ok(&["status", "--partitions"])));

    let address = std::fs::read_to_string(app.data.path().join("admin-address")).unwrap();
    let ask = |path: &str| HostClient::new(&address, &Reach::default(), Duration::from_secs(10)).get(path).unwrap();
    until("waits of some seconds show that the host is not well", || ask("/health/ready").status == 503);
    let why = ask("/health/ready").text();
    for cause in [" at in/0@1: failed: never", " at in/1@0: rejected: no"] {
        assert!(why.contains(NAME) && why.contains(cause), "{why}");
    }
    let metrics = ask("/metrics").text();
    let of = |metric: &str, cause: &str| {
        let line = format!("{metric}{{component=\"{NAME}\",cause=\"{cause}\"}} ");
        let value = metrics.lines().find_map(|found| found.strip_prefix(&line));
        value.unwrap_or_else(|| panic!("{line}: {metrics}")).parse::<f64>().unwrap()
    };
    for (cause, stalls) in [("retry", 1.0), ("refused", 1.0), ("registry", 0.0)] {
        assert_eq!(of("heddle_stalls", cause), stalls, "{cause}");
        assert_eq!(of("heddle_stalled_seconds", cause) > 1.0, stalls > 0.0, "{cause}");
    }
    host.kill();
}
