//! Traces, as a collector gets them.

mod answers;
mod collector;

use std::io::Write as _;

use bytes::Bytes;
use heddle::admin::Remote;
use heddle::log::Log as _;
use heddle::telemetry::traces::Kind;
use heddle_core::event::{Header, NewRecord, Record};

use crate::failures::host::{Host, Scripts, ended, header, status, told, until};
use crate::failures::{LETTERS, NAME, clinic};
use crate::support::app::App;
use crate::support::build;
use collector::{Collector, Received};

/// The trace and the span of whatever produced the first record.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PRODUCER: &str = "b7ad6b7169203331";
/// The address of a collector that does not exist.
const UNUSED: &str = "http://127.0.0.1:1";
/// The component that reads the outputs of the first one.
const READER: &str = "clinic.reader";

/// An app with two components, whose spans go to this address. `more` continues its section.
fn traced(collector: &str, more: &str) -> App {
    let app = clinic(App::embedded(), 1, "attempts = 2\nbackoff = \"1ms\"\nretry = [\"1ms\", \"1ms\"]");
    std::fs::write(app.folder.join("reader.wasm"), build::component("guests", "reader")).unwrap();
    let mut settings = std::fs::OpenOptions::new().append(true).open(app.folder.join("heddle.toml")).unwrap();
    write!(settings, "\n[telemetry]\ntraces = \"{collector}\"\n{more}\n").unwrap();
    app
}

/// The record of a producer that is traced.
fn traced_record(scripts: &Scripts, what: &str) -> NewRecord {
    let context = format!("00-{TRACE}-{PRODUCER}-01");
    let headers = [("traceparent", &*context), ("tracestate", "vendor=1"), ("baggage", "user=ada")];
    let headers = headers.map(|(name, value)| Header::new(name, Bytes::from(value.to_owned())));
    NewRecord { headers: headers.to_vec(), ..scripts.record(0, "k", what, 0) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The trace and the span that a record names.
fn context(record: &Record) -> (String, String) {
    let parts = header(record, "traceparent");
    let parts = parts.split('-').map(str::to_owned).collect::<Vec<_>>();
    (parts[1].clone(), parts[2].clone())
}

fn ids(received: &Received) -> (String, String) {
    (hex(&received.span.trace_id), hex(&received.span.span_id))
}

fn parent(received: &Received) -> String {
    hex(&received.span.parent_span_id)
}

fn handled(app: &App, component: &str, count: u64) {
    until(&format!("{component} has handled {count}"), || ended(&status(app, component)) == count);
}

#[test]
fn a_trace_leads_through_components_retries_and_a_dead_letter() {
    let (collector, address) = Collector::start();
    let app = traced(&address, "");
    let scripts = Scripts::of(&app);
    app.log().append(&[traced_record(&scripts, "fail-at-first"), traced_record(&scripts, "rejected")]).unwrap();
    let host = Host::start(&app);
    handled(&app, NAME, 2);
    handled(&app, READER, 1);
    app.ok(&["dlq", "replay", "patient", "--all-open"]);
    handled(&app, NAME, 3);
    host.stop();
    assert!(told(&app).contains(&format!("trace_id={TRACE} span_id=")), "the line of the dead letter");
    chain(&collector, &app);
    attempts(&collector);
    letters(&collector, &app);
    others(&collector);
    let trace = collector.all().into_iter().filter(|received| hex(&received.span.trace_id) == TRACE);
    let names = trace.map(|received| received.span.name).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["create out", "process in", "process out"]);
}

/// The context goes from the producer through both components.
fn chain(collector: &Collector, app: &App) {
    let creates = collector.named("create out");
    assert_eq!(creates.len(), 1, "{creates:#?}");
    let (create, output) = (&creates[0], &app.records("out")[&0][0]);
    assert_eq!(ids(create), context(output), "the record has the context of the span that created it");
    assert_eq!((header(output, "tracestate"), header(output, "baggage")), ("vendor=1".into(), "user=ada".into()));
    let deliveries = collector.named("process in");
    let done = deliveries.iter().find(|delivery| ids(delivery).1 == parent(create)).unwrap();
    assert_eq!((ids(done).0, parent(done)), (TRACE.to_owned(), PRODUCER.to_owned()));
    assert_eq!((done.span.kind(), create.span.kind()), (Kind::Consumer, Kind::Producer));
    assert_eq!(done.span.trace_state, "vendor=1");
    done.has(&[
        ("messaging.system", "kafka"),
        ("messaging.operation.name", "process"),
        ("messaging.operation.type", "process"),
        ("messaging.destination.name", "in"),
        ("messaging.destination.partition.id", "0"),
        ("messaging.kafka.offset", "0"),
        ("messaging.kafka.message.key", "k"),
        ("messaging.consumer.group.name", NAME),
        ("messaging.message.id", "in/0/0"),
        ("messaging.message.conversation_id", "in/0/0"),
        ("heddle.outcome", "handled"),
        ("heddle.emitted", "1"),
    ]);
    assert!(done.span.status.is_none() && done.attribute("error.type").is_none());
    assert_eq!(done.service["service.name"], NAME);
    assert_eq!(done.service["service.version"].len(), 12);
    create.has(&[
        ("messaging.operation.type", "create"),
        ("messaging.destination.name", "out"),
        ("messaging.message.id", &header(output, "ce_id")),
    ]);
    let next = collector.named("process out");
    assert_eq!(next.len(), 1, "{next:#?}");
    assert_eq!((ids(&next[0]).0, parent(&next[0])), ids(create));
    assert_eq!(next[0].service["service.name"], READER);
    next[0].has(&[("messaging.message.conversation_id", "in/0/0"), ("messaging.consumer.group.name", READER)]);
}

/// Each failed attempt has a separate span with the kind of its fault, in the same trace.
fn attempts(collector: &Collector) {
    let mut deliveries = collector.named("process in");
    deliveries.retain(|delivery| delivery.attribute("messaging.kafka.offset").unwrap() == "0");
    let told = deliveries.iter().map(|delivery| {
        let attribute = |name| delivery.attribute(name).unwrap_or_default();
        (attribute("heddle.attempt"), attribute("heddle.outcome"), attribute("error.type"))
    });
    let expected =
        [("1", "retried", "failed"), ("2", "parked", "failed"), ("3", "parked", "failed"), ("4", "handled", "")];
    let told = told.collect::<Vec<_>>();
    let told = told.iter().map(|(attempt, outcome, kind)| (&**attempt, &**outcome, &**kind)).collect::<Vec<_>>();
    assert_eq!(told, expected);
    for delivery in &deliveries {
        assert_eq!((ids(delivery).0, parent(delivery)), (TRACE.to_owned(), PRODUCER.to_owned()));
    }
    let different = deliveries.iter().map(|delivery| ids(delivery).1).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(different.len(), deliveries.len());
    let status = deliveries[0].span.status.clone().unwrap();
    assert_eq!((status.code, &*status.message), (2, "not yet"));
}

/// A dead letter and its replay are in the trace.
fn letters(collector: &Collector, app: &App) {
    let letters = &app.records(LETTERS)[&0];
    let failed = collector.named("process in");
    let failed = failed.iter().filter(|delivery| delivery.attribute("heddle.outcome").unwrap() == "dead-lettered");
    let failed = failed.collect::<Vec<_>>();
    assert_eq!((letters.len(), failed.len()), (2, 2));
    for (letter, delivery) in letters.iter().zip(&failed) {
        assert_eq!(context(letter), (TRACE.to_owned(), PRODUCER.to_owned()), "the letter is as the record was");
        let (trace, span) = ids(delivery);
        assert_eq!(header(letter, "heddle.traceparent"), format!("00-{trace}-{span}-01"));
        assert_eq!((trace, parent(delivery)), (TRACE.to_owned(), PRODUCER.to_owned()));
        delivery.has(&[("error.type", "rejected")]);
    }
    failed[1].has(&[("heddle.replays", "1"), ("messaging.kafka.offset", "2")]);
}

/// Polls, commits and requests begin separate traces, with links.
fn others(collector: &Collector) {
    let polls = collector.named("poll in");
    let links = polls.iter().flat_map(|poll| &poll.span.links).map(|link| hex(&link.span_id)).collect::<Vec<_>>();
    assert!(!links.is_empty() && links.iter().all(|link| link == PRODUCER), "{polls:#?}");
    polls[0].has(&[("messaging.operation.type", "receive")]);
    let commits = collector.named("commit in");
    assert!(!commits.is_empty());
    for commit in &commits {
        commit.has(&[("messaging.operation.type", "settle"), ("messaging.consumer.group.name", NAME)]);
        assert_eq!(commit.span.kind(), Kind::Client);
    }
    let spans = collector.named("process in");
    let spans = spans.iter().map(|delivery| hex(&delivery.span.span_id)).collect::<Vec<_>>();
    let links = commits.iter().flat_map(|commit| &commit.span.links).map(|link| hex(&link.span_id));
    assert!(links.clone().count() >= 3 && links.clone().all(|link| spans.contains(&link)), "{commits:#?}");
    let requests = collector.all().into_iter().filter(|received| received.span.name.starts_with("registry "));
    assert!(requests.map(|request| request.service["service.name"] == "clinic").reduce(|all, is| all && is).unwrap());
}

#[test]
fn a_replay_of_a_record_without_a_context_stays_in_its_trace() {
    let (collector, address) = Collector::start();
    let app = traced(&address, "trace-relation = \"link\"\nspans = \"deliveries\"");
    let scripts = Scripts::of(&app);
    app.log().append(&[scripts.record(0, "k", "rejected", 0), traced_record(&scripts, "count")]).unwrap();
    let host = Host::start(&app);
    handled(&app, NAME, 2);
    handled(&app, READER, 1);
    app.ok(&["dlq", "replay", "patient", "--all-open"]);
    handled(&app, NAME, 3);
    host.stop();
    let deliveries = collector.named("process in");
    let [first, linked, replayed] = &deliveries[..] else { panic!("{deliveries:#?}") };
    assert_ne!(ids(linked).0, TRACE, "a linked delivery begins a trace");
    let link = &linked.span.links[0];
    assert_eq!(
        (hex(&link.trace_id), hex(&link.span_id), parent(linked)),
        (TRACE.into(), PRODUCER.into(), String::new())
    );
    let link = &replayed.span.links[0];
    assert_eq!((hex(&link.trace_id), hex(&link.span_id)), ids(first), "the replay refers to the failure");
    assert!(collector.named("create out").is_empty());
    assert_eq!(context(&app.records("out")[&0][0]), ids(linked), "without spans of emits, records name the delivery");
    assert_eq!(header(&app.records("out")[&0][0], "tracestate"), "", "the state belongs to the other trace");
}

fn metrics(app: &App) -> String {
    let address = std::fs::read_to_string(app.data.path().join("admin-address")).unwrap();
    ureq::get(format!("http://{address}/metrics")).call().unwrap().body_mut().read_to_string().unwrap()
}

/// The value of a series of the host's metrics.
fn metric(app: &App, series: &str) -> f64 {
    let text = metrics(app);
    let line = text.lines().find(|line| line.starts_with(series)).unwrap_or_else(|| panic!("{series}: {text}"));
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

fn append(app: &App, records: &[NewRecord]) {
    let address = std::fs::read_to_string(app.data.path().join("admin-address")).unwrap();
    Remote::find(&address).unwrap().append(records).unwrap();
}

#[test]
fn a_host_does_not_depend_on_its_collector() {
    // Nothing listens on the port of a listener that is gone.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let app = traced(UNUSED, "");
    let scripts = Scripts::of(&app);
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*address),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "8"),
        ("OTEL_BSP_SCHEDULE_DELAY", "20"),
    ];
    let host = Host::start_with(&app, &variables);
    append(&app, &(0..100).map(|_| scripts.record(0, "k", "count", 0)).collect::<Vec<_>>());
    handled(&app, NAME, 100);
    handled(&app, READER, 100);
    until("dropped spans are counted", || metric(&app, "heddle_spans_dropped_total{reason=\"queue-full\"}") > 0.0);
    assert_eq!(metric(&app, "heddle_spans_exported_total"), 0.0);
    host.stop();
}

#[test]
fn a_collector_that_is_overloaded_gets_the_spans_later() {
    let (collector, address) = Collector::start();
    collector.refuse(503);
    let app = traced(UNUSED, "");
    let scripts = Scripts::of(&app);
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*address),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
        ("OTEL_BSP_SCHEDULE_DELAY", "20"),
    ];
    let host = Host::start_with(&app, &variables);
    append(&app, &[traced_record(&scripts, "count")]);
    until("the span is there", || !collector.named("process out").is_empty());
    assert!(metric(&app, "heddle_spans_exported_total") > 0.0);
    let exemplars =
        metrics(&app).lines().filter(|line| line.contains(&format!(" # {{trace_id=\"{TRACE}\"}} "))).count();
    // The time of the handler, of the delivery and the age, in both components.
    assert_eq!(exemplars, 6, "{}", metrics(&app));
    assert_eq!(metric(&app, "heddle_spans_dropped_total{reason=\"unreachable\"}"), 0.0);
    host.stop();
    let requests = collector.requests();
    assert!(requests.len() > 1 && requests.iter().all(|headers| headers["api-key"] == "a b"), "{requests:?}");
    assert_eq!(collector.named("process out")[0].service["deployment.environment.name"], "test");
}

#[test]
fn a_killed_host_emits_the_same_bytes_and_an_unsampled_trace_has_no_spans() {
    let (collector, address) = Collector::start();
    let app = traced(&address, "");
    let scripts = Scripts::of(&app);
    let unsampled = format!("00-{TRACE}-{PRODUCER}-00");
    let mut records = (0..1_000).map(|_| scripts.record(0, "k", "count", 0)).collect::<Vec<_>>();
    let headers = vec![Header::new("traceparent", Bytes::from(unsampled.clone()))];
    records.push(NewRecord { headers, ..scripts.record(0, "k", "count", 0) });
    app.log().append(&records).unwrap();
    // A copy of the app that is not killed.
    let other = App { data: copy(app.data.path()), folder: app.folder.clone(), bootstrap: None, registry: None };
    for _ in 0..heddle_fixtures::scaled(3, 20) {
        let host = Host::start(&app);
        until("something is handled, or all", || ended(&status(&app, NAME)) > 0 || status(&app, NAME)["lag"] == 0);
        host.kill();
    }
    std::fs::remove_dir_all(app.data.path().join("state")).unwrap();
    for app in [&app, &other] {
        let host = Host::start(app);
        until("all is read", || app.ok(&["status", "--json"]).lines().all(|line| line.contains("\"lag\":0")));
        host.stop();
    }
    let outputs = |app: &App| app.records("out")[&0].iter().map(|record| record.headers.clone()).collect::<Vec<_>>();
    assert_eq!(outputs(&app).len(), records.len());
    assert!(outputs(&app) == outputs(&other), "the outputs differ");
    let last = app.records("out")[&0].last().cloned().unwrap();
    assert_eq!(header(&last, "traceparent"), unsampled, "passed on as it is");
    let all = collector.all();
    assert!(all.iter().all(|received| hex(&received.span.trace_id) != TRACE));
    let restored = all.iter().find(|received| received.span.name.starts_with("restore ")).unwrap();
    assert_eq!((restored.span.kind(), &*restored.service["service.name"]), (Kind::Internal, NAME));
}

/// A copy of a folder.
fn copy(from: &std::path::Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    let copied = std::process::Command::new("cp").arg("-a").arg(from.join(".")).arg(to.path()).status().unwrap();
    assert!(copied.success());
    to
}
