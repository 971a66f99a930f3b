//! Dead letters, as those who look after them meet them: what is set aside, looking at it, sending it again, letting it be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "app/mod.rs"]
mod app;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use app::{App, quickstart};
use bytes::Bytes;
use heddle::dlq::{DlqError, Filter, Queue, Selection};
use heddle::log::now;
use heddle::registry::{Embedded, Registry};
use heddle_contract::schema::{json, parse};
use heddle_core::date::rfc3339;
use heddle_core::delivery::Delivery;
use heddle_core::event::{Header, NewRecord, Offset, Partition, Record, Timestamp, TopicPartition};
use heddle_core::fault::{EventFault, EventFaultKind};
use heddle_core::policy::{Failure, dead_letter};
use heddle_fixtures::kafka::Kafka;
use serde_json::{Value, json};

const LETTERS: &str = "guests.scripted.dlq";

fn header(headers: &[Header], name: &str) -> Option<String> {
    let header = headers.iter().find(|header| header.name == name)?;
    Some(String::from_utf8(header.value.clone()?.to_vec()).unwrap())
}

fn all(app: &App, topic: &str) -> Vec<Record> {
    app.records(topic).into_values().flatten().collect()
}

/// Runs the app until it has handled so many records; returns how many it set aside, and how many it skipped. A broker that is busy can look
/// as if there were nothing to do, so that takes as many runs as it takes.
fn run(app: &App, records: u64) -> (u64, u64) {
    let (mut handled, mut failed, mut duplicates) = (0, 0, 0);
    let deadline = Instant::now() + Duration::from_secs(120);
    while handled < records {
        assert!(Instant::now() < deadline, "{handled} of {records} records were handled");
        let counts: Value = serde_json::from_str(&app.ok(&["run", "--until-idle", "--json"])).unwrap();
        let count = |name: &str| counts[name].as_u64().unwrap();
        handled += count("in");
        failed += count("failed");
        duplicates += count("duplicates");
    }
    assert_eq!(handled, records);
    (failed, duplicates)
}

/// Turns scripts into values of the topic `in`.
fn encoder(app: &App) -> impl Fn(&Value) -> Vec<u8> + use<> {
    let file = app.data.path().join("echo.jsonl");
    std::fs::write(&file, r#"{"do":"echo"}"#).unwrap();
    app.ok(&["produce", "in", "--file", file.to_str().unwrap()]);
    let registry = Embedded::open(&app.data.path().join("registry")).unwrap();
    let latest = registry.latest("in-value").unwrap().unwrap();
    let schema = parse("in", &latest.schema).unwrap();
    move |script| {
        let mut bytes = [[0].as_slice(), &latest.id.0.to_be_bytes()].concat();
        json::encode(&schema, script, &mut bytes).unwrap();
        bytes
    }
}

fn input(key: &str, value: Option<Vec<u8>>) -> NewRecord {
    NewRecord {
        topic: "in".into(),
        partition: Some(Partition(0)),
        timestamp: Some(Timestamp(now().0 - 5_000)),
        key: Some(Bytes::from(key.to_owned())),
        value: value.map(Bytes::from),
        headers: vec![
            Header::new("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            Header { name: "null".into(), value: None },
            Header::new("twice", "1"),
            Header::new("twice", "2"),
        ],
    }
}

/// One record for each way to fail, by the kind that it ends in.
fn failing(app: &App) -> Vec<NewRecord> {
    let encode = encoder(app);
    let everything: Value = serde_json::from_str(r#"{"flag":true,"int":1,"long":1,"float":1.5,"double":1.5,"string":"s","bytes":"","fixed":"abcd","colour":"RED","list":[],"map":{},"choice":null,"price":"1.00"}"#).unwrap();
    let script = |what: &str| Some(encode(&json!({"do": what, "times": 1, "everything": everything})));
    vec![
        input("decode", Some(b"no avro at all".to_vec())),
        input("null-value", None),
        input("too-large", Some(vec![0; 5 << 20])),
        input("rejected", script("emit-then-reject")),
        input("trap", script("trap")),
        input("deadline", script("loop")),
        input("memory", script("grow")),
        input("emit", script("emit-wrong")),
    ]
}

fn prepared(app: &App) -> Vec<NewRecord> {
    app.build();
    app.ok(&["topics", "create", "in", "--option", "max.message.bytes=8388608"]);
    app.ok(&["topics", "create", "out"]);
    let failing = failing(app);
    app.log().append(&failing).unwrap();
    failing
}

fn every_kind_is_set_aside_byte_for_byte(app: &App) {
    let inputs = prepared(app);
    let before = rfc3339(now());
    assert_eq!(run(app, 1 + inputs.len() as u64), (inputs.len() as u64, 0));
    let letters = all(app, LETTERS);
    assert_eq!(letters.len(), inputs.len());
    for (place, input) in inputs.iter().enumerate() {
        let letter = letters.iter().find(|letter| letter.key == input.key).unwrap();
        let kind = String::from_utf8(input.key.clone().unwrap().to_vec()).unwrap();
        assert!(letter.value == input.value, "{kind}");
        assert_eq!(Some(letter.timestamp), input.timestamp, "{kind}");
        let (own, added) = letter.headers.split_at(input.headers.len());
        assert_eq!(own, input.headers, "{kind}");
        assert!(added.iter().all(|header| header.name.starts_with("heddle.")), "{added:?}");
        let of = |name: &str| header(added, &format!("heddle.{name}"));
        assert_eq!((of("topic"), of("partition")), (Some("in".into()), Some("0".into())));
        // A record of the registry's schema was written first.
        assert_eq!(of("offset"), Some((place + 1).to_string()));
        assert_eq!(of("kind"), Some(kind.clone()));
        assert!(!of("reason").unwrap().is_empty());
        assert_eq!(of("attempts").unwrap(), if kind == "deadline" { "3" } else { "1" });
        assert_eq!(of("component"), Some("guests.scripted".into()));
        assert_eq!(of("digest").unwrap().len(), "sha256:".len() + 64);
        let schema = input
            .value
            .as_deref()
            .filter(|value| value[0] == 0)
            .map(|value| u32::from_be_bytes(value[1..5].try_into().unwrap()).to_string());
        assert_eq!(of("schema-id"), schema, "{kind}");
        assert_eq!((of("first-failure"), of("replays")), (of("last-failure"), Some("0".into())));
        let failed = of("last-failure").unwrap();
        assert!(before <= failed && failed <= rfc3339(now()), "{failed}");
        let panic = of("log").is_some_and(|log| log.contains("as asked") && log.ends_with("}\n"));
        assert_eq!(panic, kind == "trap", "only a guest that panics has logged something: {:?}", of("log"));
    }
}

#[test]
fn every_kind_is_set_aside_byte_for_byte_on_the_embedded_log() {
    every_kind_is_set_aside_byte_for_byte(&App::embedded().scripted());
}

#[test]
fn every_kind_is_set_aside_byte_for_byte_on_kafka() {
    let broker = Kafka::start();
    every_kind_is_set_aside_byte_for_byte(&App::kafka(&broker).scripted());
}

/// Collects what a person sees, without what differs from run to run.
struct Told<'a>(&'a App, String);

impl Told<'_> {
    fn tell(&mut self, arguments: &[&str]) {
        let output = self.0.run(arguments);
        self.output(&arguments.join(" "), &output);
    }

    fn output(&mut self, what: &str, output: &Output) {
        let text = [&output.stdout[..], &output.stderr[..]].concat();
        let text = String::from_utf8(text).unwrap().replace(self.0.folder.to_str().unwrap(), "APP");
        writeln!(self.1, "$ heddle {what}\n{}exit {}\n", redacted(&text), output.status.code().unwrap()).unwrap();
    }
}

/// Times and digests, by their shape.
fn redacted(text: &str) -> String {
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        let mut line = line.to_owned();
        while let Some(at) = line.find("Z").filter(|at| *at >= 23 && line[at - 13..].starts_with('T')) {
            line.replace_range(at - 23..=at, "<time>");
        }
        if let Some(at) = line.find("sha256:") {
            line.replace_range(at + 7..at + 71, "<digest>");
        }
        if let Some((from, ms)) = line.find("\"timestamp\":").map(|at| (at + 12, line[at + 12..].find(',').unwrap())) {
            line.replace_range(from..from + ms, "0");
        }
        // Where a guest was compiled, and how a trap is called.
        if let Some(at) = line.find("panicked at ") {
            line.truncate(at);
            line.push_str("panicked at <source>\n");
        }
        out.push_str(&line);
    }
    out
}

#[test]
fn letters_are_listed_shown_and_discarded() {
    let app = App::embedded().scripted();
    prepared(&app);
    run(&app, 9);
    // A second one that fails alike.
    let letters = all(&app, LETTERS);
    let again = letters.iter().find(|letter| letter.key.as_deref() == Some(b"null-value")).unwrap();
    let again = NewRecord { headers: again.headers[..4].to_vec(), ..input("null-value", None) };
    app.log().append(&[again]).unwrap();
    let late = rfc3339(now());
    run(&app, 1);
    let place = |kind: &str| {
        let lines = app.ok(&["dlq", "list", "scripted", "--kind", kind, "--json"]);
        serde_json::from_str::<Value>(lines.lines().next().unwrap()).unwrap()["place"].as_str().unwrap().to_owned()
    };
    let (rejected, decode, emit) = (place("rejected"), place("decode"), place("emit"));
    let mut told = Told(&app, String::new());
    told.tell(&["dlq", "list", "scripted"]);
    told.tell(&["dlq", "list", "guests.scripted", "--group"]);
    told.tell(&["dlq", "list", "scripted", "--kind", "null-value", "--json"]);
    told.tell(&["dlq", "list", "scripted", "--kind", "null-value", "--group", "--json"]);
    told.tell(&["dlq", "list", "scripted", "--topic", "out"]);
    told.tell(&["dlq", "list", "scripted", "--schema", "0"]);
    told.tell(&["dlq", "show", "scripted", &rejected]);
    told.tell(&["dlq", "show", "scripted", &decode]);
    told.tell(&["dlq", "show", "scripted", &decode, "--json"]);
    told.tell(&["dlq", "replay", "scripted", "--kind", "decode", "--dry-run"]);
    told.tell(&["dlq", "discard", "scripted", &decode, &emit]);
    told.tell(&["dlq", "discard", "scripted", &decode]);
    told.tell(&["dlq", "list", "scripted", "--kind", "decode"]);
    told.tell(&["dlq", "list", "scripted", "--kind", "decode", "--all"]);
    told.tell(&["dlq", "discard", "scripted", "--kind", "null-value"]);
    insta::assert_snapshot!(told.1);
    let lines =
        |arguments: &[&str]| app.ok(&[&["dlq", "list", "scripted", "--all"], arguments].concat()).lines().count();
    assert_eq!((lines(&[]), lines(&["--since", &late]), lines(&["--until", &late])), (9, 1, 8));
    assert_eq!((lines(&["--since", "1h"]), lines(&["--until", "2020-01-01"])), (9, 0));
    // Only the topic of marks was written to.
    assert_eq!((all(&app, LETTERS).len(), all(&app, "in").len()), (9, 10));
}

#[test]
fn what_cannot_be_done_says_what_where_and_what_to_do() {
    let app = App::embedded().scripted();
    let mut told = Told(&app, String::new());
    told.tell(&["dlq", "list", "script"]);
    told.tell(&["dlq", "list", "scripted"]);
    app.ok(&["topics", "create", LETTERS]);
    app.ok(&["topics", "create", "in"]);
    told.tell(&["dlq", "list", "scripted"]);
    told.tell(&["dlq", "show", "scripted", "0/7"]);
    told.tell(&["dlq", "show", "scripted", "7"]);
    told.tell(&["dlq", "replay", "scripted"]);
    told.tell(&["dlq", "replay", "scripted", "--all-open"]);
    told.tell(&["dlq", "replay", "scripted", "3/1"]);
    told.tell(&["dlq", "replay", "scripted", "--all-open", "--dry-run", "--edit"]);
    told.tell(&["dlq", "list", "scripted", "--since", "yesterday"]);
    app.log().append(&[letter(0, "gone"), letter(1, "in"), letter(2, "in")]).unwrap();
    told.tell(&["dlq", "replay", "scripted", "--all-open"]);
    told.tell(&["dlq", "replay", "scripted", "--topic", "in", "--edit"]);
    told.tell(&["dlq", "replay", "scripted", "0/1", "--edit"]);
    insta::assert_snapshot!(told.1);
    assert_eq!(all(&app, "in").len(), 0);
}

/// An editor that does this to the file.
fn editor(app: &App, script: &str) -> String {
    let path = app.data.path().join("editor");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn edited_orders_get_through_once(app: &App) {
    app.build();
    let orders = quickstart().join("data/orders.jsonl");
    app.ok(&["produce", "orders.created", "--key", "customerId", "--file", orders.to_str().unwrap()]);
    assert_eq!(run(app, 1_000), (2, 0));
    let list = |arguments: &[&str]| {
        let lines = app.ok(&[&["dlq", "list", "ledger", "--json"], arguments].concat());
        lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>()
    };
    let open = list(&[]);
    assert_eq!(open.len(), 2);
    let place = |letter: &Value| letter["place"].as_str().unwrap().to_owned();
    let (edited, again) = (place(&open[0]), place(&open[1]));
    let edit = |script: &str| {
        let editor = editor(app, script);
        app.command(&["dlq", "replay", "ledger", &edited, "--edit"])
            .env_remove("VISUAL")
            .env("EDITOR", editor)
            .output()
            .unwrap()
    };
    let before = all(app, "orders.created").len();
    let mut told = Told(app, String::new());
    told.output("dlq replay --edit (a field of another name)", &edit(r#"sed -i s/orderId/orderNo/ "$1""#));
    told.output("dlq replay --edit (no JSON)", &edit(r#"echo '{' > "$1""#));
    told.output("dlq replay --edit (an editor that fails)", &edit("exit 3"));
    let told = told.1.replace(&edited, "<place>").replace(app.data.path().to_str().unwrap(), "DATA");
    assert_eq!(all(app, "orders.created").len(), before, "nothing was sent");
    insta::assert_snapshot!("edits_that_are_refused", told);

    let items = r#"sed -i 's/"items": \[\]/"items": [{"productId":"P-1","quantity":1,"price":2.5}]/' "$1""#;
    let output = edit(items);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Whoever does it twice is told, and nothing is sent.
    assert_eq!(edit(items).status.code(), Some(1));
    app.ok(&["dlq", "replay", "ledger", &again]);
    assert_eq!(all(app, "orders.created").len(), before + 2);
    assert_eq!(run(app, 2), (1, 0));
    // The other one failed again: parked with its history.
    let now_open = list(&[]);
    assert_eq!(now_open.len(), 1);
    let (was, is) = (&open[1], &now_open[0]);
    assert_eq!((&is["replays"], &is["first_failure"]), (&1.into(), &was["first_failure"]));
    assert!(is["last_failure"].as_str() > was["last_failure"].as_str());
    assert_eq!(
        list(&["--all"]).iter().map(|letter| letter["did"].as_str()).collect::<Vec<_>>(),
        [Some("replayed"), Some("replayed"), None]
    );
    let parked = all(app, "order-platform.ledger.dlq");
    let repeated =
        |record: &Record| record.headers.iter().filter(|header| header.name == "heddle.first-failure").count();
    assert!(parked.iter().all(|record| repeated(record) == 1), "history does not pile up");

    // The edited order is booked: the message is known now, and sent once more it is a duplicate.
    let sent = all(app, "orders.created");
    let sent = sent.iter().filter(|record| header(&record.headers, "heddle.replays").is_some());
    let edited = sent.max_by_key(|record| record.value.as_ref().map(Bytes::len)).unwrap();
    let copy = NewRecord {
        topic: "orders.created".into(),
        partition: Some(edited.source.partition),
        timestamp: None,
        key: edited.key.clone(),
        value: edited.value.clone(),
        headers: vec![],
    };
    app.log().append(&[copy]).unwrap();
    assert_eq!(run(app, 1), (0, 1));
}

#[test]
fn edited_orders_get_through_once_on_the_embedded_log() {
    edited_orders_get_through_once(&App::embedded().platform());
}

#[test]
fn edited_orders_get_through_once_on_kafka() {
    let broker = Kafka::start();
    edited_orders_get_through_once(&App::kafka(&broker).platform());
}

/// A letter as the runtime writes it.
fn letter(number: i64, topic: &str) -> NewRecord {
    let record = Record {
        source: TopicPartition::new(topic, 0),
        offset: Offset(number),
        timestamp: Timestamp(1_000),
        // Every tenth has no key.
        key: (number % 10 != 0).then(|| Bytes::from(format!("key {number}"))),
        value: Some(Bytes::from(format!("value {number}"))),
        headers: vec![Header::new("number", number.to_string())],
    };
    let delivery = Delivery { component: &"guests.scripted".into(), record: &record, attempt: 1 };
    let fault = EventFault::new(EventFaultKind::Rejected, "as asked");
    let failure = Failure { fault: &fault, at: Timestamp(1_700_000_000_000), digest: None };
    let letter = dead_letter(&delivery, &failure, &LETTERS.into());
    NewRecord { timestamp: None, ..letter }
}

const MANY: usize = 5_000;
const KILLS: usize = 3;

fn killed_replays_lose_nothing_and_double_nothing(app: &App) {
    app.ok(&["topics", "create", "in", "--partitions", "4"]);
    app.ok(&["topics", "create", LETTERS, "--partitions", "4"]);
    let letters = (0..MANY as i64).map(|number| letter(number, "in")).collect::<Vec<_>>();
    app.log().append(&letters).unwrap();
    let replay = ["dlq", "replay", "scripted", "--all-open"];
    let mut sent = 0;
    for _ in 0..KILLS {
        let mut child = app.command(&replay).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "1000 dead letters replayed so far");
        child.kill().unwrap();
        child.wait().unwrap();
        let there = all(app, "in").len();
        assert!(sent + 1_000 <= there && there < MANY, "killed in the middle: {there} after {sent}");
        sent = there;
    }
    let output = app.run(&replay);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let replayed = all(app, "in");
    let mut times = BTreeMap::<i64, usize>::new();
    for record in &replayed {
        let number = header(&record.headers, "number").unwrap().parse().unwrap();
        *times.entry(number).or_default() += 1;
        assert_eq!(record.value, Some(Bytes::from(format!("value {number}"))));
        assert_eq!(record.key, letters[usize::try_from(number).unwrap()].key);
        assert!(record.key.is_some() || record.source.partition == Partition(0), "without a key: where it was");
        let names = record.headers.iter().map(|header| header.name.as_str()).collect::<Vec<_>>();
        assert_eq!(names, ["number", "heddle.first-failure", "heddle.replays"]);
    }
    assert_eq!((times.len(), replayed.len()), (MANY, MANY), "each of them once");
    assert!(app.ok(&["dlq", "list", "scripted"]).is_empty());
    assert_eq!(app.ok(&["dlq", "list", "scripted", "--all"]).lines().count(), MANY);
    assert_eq!(app.run(&replay).status.code(), Some(1));
    assert_eq!(all(app, "in").len(), MANY);
}

#[test]
fn killed_replays_lose_nothing_and_double_nothing_on_the_embedded_log() {
    killed_replays_lose_nothing_and_double_nothing(&App::embedded().scripted());
}

#[test]
fn killed_replays_lose_nothing_and_double_nothing_on_kafka() {
    let broker = Kafka::start();
    killed_replays_lose_nothing_and_double_nothing(&App::kafka(&broker).scripted());
}

fn the_second_of_two_replays_fences_the_first(app: &App) {
    app.ok(&["topics", "create", "in"]);
    app.ok(&["topics", "create", LETTERS]);
    let log: std::sync::Arc<dyn heddle::log::Log> = app.log().into();
    log.append(&(0..300).map(|number| letter(number, "in")).collect::<Vec<_>>()).unwrap();
    let queue = Queue::open(log.clone(), "guests.scripted", LETTERS).unwrap();
    let mut first = queue.take().unwrap();
    let mut second = None;
    // The second one comes when the first has sent a batch.
    let refused = first.replay(&Selection::default(), &mut |went| {
        assert_eq!(went.done, 100);
        second = Some(queue.take().unwrap());
    });
    assert!(matches!(refused, Err(DlqError::TakenOver { .. })), "{refused:?}");
    let mut second = second.unwrap();
    assert_eq!(second.replay(&Selection::default(), &mut |_| {}).unwrap(), 200);
    drop(second);
    assert_eq!(queue.list(&Filter::default()).unwrap(), []);
    drop(first);
    drop((queue, log));
    assert_eq!(all(app, "in").len(), 300);
    insta::assert_snapshot!(
        "taken_over",
        DlqError::TakenOver { why: "<the log's words>".into(), topic: LETTERS.into() }
    );
    insta::assert_snapshot!("unknown", DlqError::Unknown { why: "<the log's words>".into(), topic: LETTERS.into() });
    let place = "0/1".parse().unwrap();
    let done = DlqError::Done { place, did: heddle::dlq::What::Discarded, at: "<time>".into(), topic: LETTERS.into() };
    insta::assert_snapshot!("done", done);
}

#[test]
fn the_second_of_two_replays_fences_the_first_on_the_embedded_log() {
    the_second_of_two_replays_fences_the_first(&App::embedded().scripted());
}

#[test]
fn the_second_of_two_replays_fences_the_first_on_kafka() {
    let broker = Kafka::start();
    the_second_of_two_replays_fences_the_first(&App::kafka(&broker).scripted());
}

#[test]
fn marks_of_a_topic_that_was_made_anew_do_not_count() {
    let app = App::embedded().scripted();
    app.ok(&["topics", "create", "in"]);
    app.ok(&["topics", "create", LETTERS]);
    app.log().append(&[letter(0, "in")]).unwrap();
    app.ok(&["dlq", "replay", "scripted", "0/0"]);
    let log = app.log();
    log.delete_topic(LETTERS).unwrap();
    drop(log);
    app.ok(&["topics", "create", LETTERS]);
    app.log().append(&[letter(1, "in")]).unwrap();
    app.ok(&["dlq", "replay", "scripted", "0/0"]);
    assert_eq!(all(&app, "in").len(), 2);
}

/// A host that runs until it is dropped.
struct Host(Child);

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn letters_are_reached_through_a_running_host() {
    let app = App::embedded().scripted();
    app.build();
    app.ok(&["topics", "create", "in"]);
    app.ok(&["topics", "create", "out"]);
    let encode = encoder(&app);
    let reject = |n: i32| {
        input(&format!("k{n}"), Some(encode(&json!({"do": "emit-then-reject", "times": n, "everything": null}))))
    };
    app.log().append(&[reject(1), reject(2), reject(3)]).unwrap();
    let host = Host(app.command(&["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let open = || app.run(&["dlq", "list", "scripted", "--json"]);
    let wait = |what: &str, is_so: &dyn Fn() -> bool| {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !is_so() {
            assert!(Instant::now() < deadline, "waited in vain until {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let lines = || String::from_utf8(open().stdout).unwrap();
    // As long as no host owns the log, `dlq` would take it itself.
    let address = app.data.path().join("admin-address");
    wait("the host listens", &|| address.exists());
    wait("three are set aside", &|| lines().lines().count() == 3);
    // Those that are sent again fail again.
    app.ok(&["dlq", "replay", "scripted", "--all-open"]);
    wait("they are back", &|| lines().matches(r#""replays":1"#).count() == 3);

    let address = std::fs::read_to_string(&address).unwrap();
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let get = |path: &str| {
        let mut response = agent.get(format!("http://{address}/dlq/{path}")).call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    };
    let post = |path: &str, body: Value| {
        let mut response = agent.post(format!("http://{address}/dlq/{path}")).send_json(body).unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    };
    let (status, text) = get("scripted?kind=rejected");
    let found: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert_eq!((status, found.len()), (200, 3));
    assert_eq!(get("scripted?all=true&kind=trap"), (200, "[]".into()));
    assert_eq!(serde_json::from_str::<Vec<Value>>(&get("scripted?all=true").1).unwrap().len(), 6);
    let place = found[0]["place"].as_str().unwrap();
    let (status, text) = get(&format!("scripted/{place}"));
    let shown: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &shown["value"]["do"], &shown["replays"]), (200, &"emit-then-reject".into(), &1.into()));
    assert_eq!(post("scripted/discard", json!({"places": [place]})), (200, r#"{"done":1}"#.into()));
    assert_eq!(
        post("guests.scripted/replay", json!({"kind": "rejected", "schema": found[0]["schema_id"], "since": "1h"})),
        (200, r#"{"done":2}"#.into())
    );
    wait("they are back again", &|| lines().matches(r#""replays":2"#).count() == 2);
    let refused = [
        get("scripts"),
        get("scripted/0/77"),
        get("scripted?since=yesterday"),
        post("scripted/replay", json!({})),
        post("scripted/discard", json!({"places": [place]})),
        post("scripted/discard", json!({"places": ["77"]})),
    ];
    let refused = refused.map(|(status, text)| format!("{status} {text}")).join("\n");
    insta::assert_snapshot!("refused_by_the_host", refused);
    drop(host);
}
