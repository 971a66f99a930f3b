//! A host as monitoring sees it: JSON log lines, metrics of events, health checks, and the rates in `heddle status`.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::process::Stdio;

use bytes::Bytes;
use heddle_core::event::{Header, NewRecord};
use serde_json::{Value, json};

use crate::failures::host::{Host, Scripts, ended, status, told, until};
use crate::failures::{NAME, clinic};
use crate::support::app::App;

/// Records that succeed.
const GOOD: u64 = 40;

fn get(app: &App, path: &str, accept: &str) -> (u16, String) {
    let address = std::fs::read_to_string(app.data.path().join("admin-address")).unwrap();
    let request = ureq::get(format!("http://{address}{path}")).header("Accept", accept);
    let mut answer = request.config().http_status_as_error(false).build().call().unwrap();
    (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
}

/// The value of each series.
fn metrics(app: &App) -> BTreeMap<String, f64> {
    let (status, text) = get(app, "/metrics", "*/*");
    assert_eq!(status, 200, "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let series = lines.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}")))
    });
    let all = series.clone().count();
    let series = series.collect::<BTreeMap<_, _>>();
    assert_eq!(series.len(), all, "a series occurs twice: {text}");
    series
}

fn value(metrics: &BTreeMap<String, f64>, name: &str, labels: &str) -> f64 {
    let series = format!("{name}{{component=\"{NAME}\"{labels}}}");
    *metrics.get(&series).unwrap_or_else(|| panic!("{series}: {metrics:#?}"))
}

fn with_correlation(record: NewRecord, id: &'static str) -> NewRecord {
    let headers = vec![Header::new("ce_correlationid", Bytes::from_static(id.as_bytes()))];
    NewRecord { headers, ..record }
}

#[test]
fn events_become_log_lines_and_metrics() {
    let app = clinic(App::embedded(), 1, "attempts = 1");
    let mut settings = OpenOptions::new().append(true).open(app.folder.join("heddle.toml")).unwrap();
    write!(settings, "\n[telemetry]\nlog = \"json\"\nmetrics = \"partitions\"\n").unwrap();
    let scripts = Scripts::of(&app);
    let mut records = (0..GOOD).map(|_| scripts.record(0, "k", "count", 0)).collect::<Vec<_>>();
    records.push(with_correlation(scripts.record(0, "k", "rejected", 0), "order-17\n"));
    app.log().append(&records).unwrap();
    let host = Host::start(&app);
    until("all are handled", || ended(&status(&app, NAME)) == GOOD + 1);
    log_lines_are_objects(&app);
    metrics_count_events(&app);
    health_has_reasons(&app);
    let shown = app.ok(&["status"]);
    assert!(shown.contains("  last minute: in ") && shown.contains("handler p50 "), "{shown}");
    let last = status(&app, NAME);
    assert!(last["records_per_second"].as_f64().unwrap() > 0.0 && last["lag_seconds"] == 0.0, "{last}");
    watches(&app);
    stories_are_told(&app);
    host.stop();
    let stopped = told(&app).lines().last().map(|line| serde_json::from_str::<Value>(line).unwrap()).unwrap();
    assert_eq!(stopped["message"], "stopped");
}

/// Every line is an object, and the line of a dead letter says which record it is.
fn log_lines_are_objects(app: &App) {
    let lines = told(app).lines().map(|line| serde_json::from_str::<Value>(line).expect(line)).collect::<Vec<_>>();
    let messages = lines.iter().map(|line| line["message"].as_str().unwrap()).collect::<Vec<_>>();
    for message in ["started", "runs", "assigned", "dead-lettered"] {
        assert!(messages.contains(&message), "{message}: {messages:?}");
    }
    let letter = lines.iter().find(|line| line["message"] == "dead-lettered").unwrap();
    let expected = json!({"level": "WARN", "component": NAME, "topic": "in", "partition": 0, "offset": GOOD,
        "attempt": 1, "correlationId": "order-17\n", "left_out": 0});
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&letter[name], value, "{name}: {letter}");
    }
    assert!(letter["digest"].as_str().unwrap().starts_with("sha256:"), "{letter}");
    assert!(letter["timestamp"].as_str().unwrap().ends_with('Z'), "{letter}");
}

fn metrics_count_events(app: &App) {
    let found = metrics(app);
    #[expect(clippy::cast_precision_loss, reason = "few records")]
    let all = (GOOD + 1) as f64;
    for histogram in ["handler_seconds", "delivery_seconds", "record_age_seconds"] {
        assert_eq!(value(&found, &format!("heddle_{histogram}_count"), ""), all, "{histogram}");
        let whole = format!("heddle_{histogram}_bucket{{le=\"+Inf\",component=\"{NAME}\"}}");
        assert_eq!(found.get(&whole), Some(&all), "{histogram}");
        assert!(value(&found, &format!("heddle_{histogram}_sum"), "") > 0.0, "{histogram}");
    }
    assert_eq!(value(&found, "heddle_transaction_records_sum", ""), all);
    assert_eq!(
        value(&found, "heddle_commit_seconds_count", ""),
        value(&found, "heddle_commits_total", ""),
        "every commit is measured"
    );
    assert!(value(&found, "heddle_transaction_emitted_bytes_sum", "") > 0.0);
    assert_eq!(value(&found, "heddle_rebalances_total", ",change=\"assigned\""), 1.0);
    for cause in ["log", "refused", "partitions-lost", "topic-recreated"] {
        assert_eq!(value(&found, "heddle_transaction_aborts_total", &format!(",cause=\"{cause}\"")), 0.0);
    }
    assert_eq!(value(&found, "heddle_fences_total", ""), 0.0);
    assert_eq!(value(&found, "heddle_breaker_changes_total", ",state=\"open\""), 0.0);
    assert_eq!(value(&found, "heddle_lag_seconds", ""), 0.0);
    assert!(value(&found, "heddle_guest_memory_bytes", "") > 65_536.0);
    assert!(value(&found, "heddle_state_flush_delay_seconds", "") >= 0.0);
    assert_eq!(value(&found, "heddle_deploys_total", ""), 0.0);
    assert_eq!(value(&found, "heddle_partition_lag_records", ",topic=\"in\",partition=\"0\""), 0.0);
    let version = format!("heddle_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(found.get(&version), Some(&1.0), "{version}");
    let requests = found.iter().filter(|(name, _)| name.starts_with("heddle_registry_requests_total{"));
    assert!(requests.map(|(_, count)| count).sum::<f64>() > 0.0);
}

fn health_has_reasons(app: &App) {
    until("it is ready", || get(app, "/health/ready", "*/*").0 == 200);
    for path in ["/health", "/health/started", "/health/live", "/health/ready"] {
        assert_eq!(get(app, path, "*/*"), (200, "ok".to_owned()), "{path}");
        let (status, text) = get(app, path, "application/json");
        let answer = serde_json::from_str::<Value>(&text).unwrap();
        assert_eq!((status, answer), (200, json!({"ok": true, "reasons": []})), "{path}");
    }
}

/// `heddle trace` finds the records of a business transaction in all topics, in the order of causes.
fn stories_are_told(app: &App) {
    let story = |id: &str| {
        let text = app.ok(&["trace", id, "--json"]);
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>()
    };
    let first = story("in/0/0");
    assert_eq!(
        (&first[0]["topic"], &first[0]["id"], &first[0]["kind"]),
        (&json!("in"), &json!("in/0/0"), &json!("record"))
    );
    assert!(first.len() > 1, "{first:?}");
    for output in &first[1..] {
        assert_eq!((&output["topic"], &output["causation"]), (&json!("out"), &json!("in/0/0")), "{first:?}");
        assert!(output["id"].as_str().unwrap().starts_with(&format!("{NAME}/in/0/0/")), "{first:?}");
    }
    let failed = story("order-17\n");
    let kinds = failed.iter().map(|event| event["kind"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(kinds, ["record", "dead-letter"], "{failed:?}");
    assert!(failed[1]["reason"].as_str().unwrap().contains("no") && failed[1]["component"] == NAME, "{failed:?}");
    let text = app.ok(&["trace", "order-17\n"]);
    assert!(text.lines().last().unwrap().contains(&format!("dead-lettered by {NAME} after 1 attempt: ")), "{text}");
    assert!(!app.run(&["trace", "order-18"]).status.success());
}

/// `heddle status --watch` prints the status again and again.
fn watches(app: &App) {
    let mut watch = app.command(&["status", "--watch", "1"]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(watch.stdout.take().unwrap()));
    let mut of_component = lines.map(Result::unwrap).filter(|line| line.starts_with(NAME));
    assert_eq!((&mut of_component).take(2).count(), 2);
    watch.kill().unwrap();
    watch.wait().unwrap();
}
