//! The command line as a user types it: the quickstart on both logs, killed hosts, and wrong usage.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::support::app::{App, quickstart};
use bytes::Bytes;
use heddle::registry::Registry;
use heddle_contract::format::avro::{json, parse};
use heddle_contract::section;
use heddle_core::event::{NewRecord, Partition, Record};
use heddle_fixtures::apicurio::Apicurio;
use heddle_fixtures::kafka::Kafka;
use heddle_fixtures::scaled_count;
use serde_json::Value;

const OUTPUTS: [&str; 3] = ["orders.accepted", "orders.review", "orders.rejected"];

fn run_quickstart(app: &App) {
    app.build();
    let orders = quickstart().join("data/orders.jsonl");
    app.ok(&["produce", "orders.created", "--key", "orderId", "--file", orders.to_str().unwrap()]);
    let counts: Value = serde_json::from_str(&app.ok(&["run", "--until-idle", "--json"])).unwrap();
    assert_eq!((&counts["in"], &counts["out"], &counts["failed"]), (&1_000.into(), &1_079.into(), &0.into()));
    assert_eq!(OUTPUTS.map(|topic| app.order_ids(topic).len()), [991, 79, 9]);
}

#[test]
fn the_quickstart_gives_the_same_bytes_on_both_logs() {
    let broker = Kafka::start();
    let registry = Apicurio::start();
    let (embedded, mut kafka) = (App::embedded(), App::kafka(&broker));
    kafka.registry = Some(registry.url());
    run_quickstart(&embedded);
    run_quickstart(&kafka);
    for topic in OUTPUTS {
        let (here, there) = (embedded.records(topic), kafka.records(topic));
        assert_eq!(here.keys().collect::<Vec<_>>(), there.keys().collect::<Vec<_>>(), "{topic}");
        for (partition, records) in here {
            // Offsets and times come from the log and the clock. Heddle determines everything else.
            let bytes = |records: &[Record]| {
                records.iter().map(|r| (r.key.clone(), r.value.clone(), r.headers.clone())).collect::<Vec<_>>()
            };
            assert!(bytes(&records) == bytes(&there[&partition]), "{topic}/{partition}");
        }
    }
}

/// Writes orders with distinct ids. One of a thousand has no items.
fn write_orders(path: &Path, numbers: Range<usize>) {
    let mut lines = String::new();
    for number in numbers {
        let (total, items) = match number % 1_000 {
            7 => ("0.0", ""),
            _ => ("2.5", r#"{"productId":"P-1","quantity":1,"price":2.5}"#),
        };
        writeln!(
            lines,
            r#"{{"orderId":"O-{number}","customerId":"C-1","orderDate":0,"totalAmount":{total},"items":[{items}]}}"#
        )
        .unwrap();
    }
    std::fs::write(path, lines).unwrap();
}

/// The number of orders for each life of a host.
const ORDERS_A_KILL: usize = 5_000;

/// Kills the host repeatedly while orders flow. Each order must come out exactly once.
fn kill_again_and_again(app: &App) {
    app.build();
    let orders = app.data.path().join("orders.jsonl");
    let running = app.data.path().join("admin-address");
    let count = |topic: &str| app.records(topic).values().map(Vec::len).sum::<usize>();
    let (mut killed_at_work, mut handled_before) = (0, 0);
    let kills = scaled_count(6, 20);
    for kill in 0..kills {
        let produced = (kill + 1) * ORDERS_A_KILL;
        write_orders(&orders, kill * ORDERS_A_KILL..produced);
        app.ok(&["produce", "orders.created", "--key", "orderId", "--file", orders.to_str().unwrap()]);
        let mut host = app.command(&["run"]);
        // Small transactions, so that there are more commits to interrupt.
        let host = host.env("HEDDLE_COMMIT_RECORDS", "100").stdout(Stdio::null()).stderr(Stdio::null());
        let mut host = host.spawn().unwrap();
        // Every fifth host is killed before its first commit, while it joins the group or runs its first transaction.
        let at_work = || if kill % 5 == 0 { running.exists() } else { app.committed_records() > 0 };
        while !at_work() {
            assert_eq!(host.try_wait().unwrap(), None, "the host runs until it is killed");
            std::thread::sleep(Duration::from_millis(1));
        }
        // The interrupted step of a transaction differs from machine to machine, but the outcome must not.
        std::thread::sleep(Duration::from_millis((kill * 7 % 20 * 3) as u64));
        host.kill().unwrap();
        host.wait().unwrap();
        std::fs::remove_file(&running).unwrap();
        let handled = count("orders.accepted") + count("orders.rejected");
        killed_at_work += usize::from(handled_before < handled && handled < produced);
        handled_before = handled;
    }
    app.ok(&["run", "--until-idle"]);
    // The number depends on the machine. If it is positive, the kills hit their target.
    println!("{killed_at_work} of {kills} kills hit a host at work");
    assert!(killed_at_work > 0);
    let (accepted, rejected) = (app.order_ids("orders.accepted"), app.order_ids("orders.rejected"));
    let all = accepted.iter().chain(&rejected).collect::<BTreeSet<_>>();
    let sent = kills * ORDERS_A_KILL;
    assert_eq!((all.len(), accepted.len(), rejected.len()), (sent, sent - sent / 1_000, sent / 1_000));
}

#[test]
fn killed_hosts_lose_nothing_and_double_nothing_on_the_embedded_log() {
    kill_again_and_again(&App::embedded());
}

#[test]
fn killed_hosts_lose_nothing_and_double_nothing_on_kafka() {
    let broker = Kafka::start();
    kill_again_and_again(&App::kafka(&broker));
}

fn record(key: Option<&str>, value: Option<Vec<u8>>) -> NewRecord {
    let key = key.map(|key| Bytes::from(key.to_owned()));
    let (partition, value) = (Some(Partition(0)), value.map(Bytes::from));
    NewRecord { topic: "orders.created".into(), partition, timestamp: None, key, value, headers: vec![] }
}

/// An order with a newer version of the schema than the component was built with.
fn newer_order(registry: &dyn Registry) -> Vec<u8> {
    let mut newer: Value = serde_json::from_str(
        &std::fs::read_to_string(quickstart().join("contracts/orders.created-value.avsc")).unwrap(),
    )
    .unwrap();
    let field = serde_json::json!({"name": "discountCode", "type": ["null", "string"], "default": null});
    newer["fields"].as_array_mut().unwrap().insert(0, field);
    let id = registry.register("orders.created-value", &newer.to_string()).unwrap();
    let order = serde_json::json!({"discountCode": "SPRING", "orderId": "O-newer", "customerId": "C-1", "orderDate": 0, "totalAmount": 2.5,
        "items": [{"productId": "P-1", "quantity": 1, "price": 2.5}]});
    let mut bytes = [[0].as_slice(), &id.0.to_be_bytes()].concat();
    json::encode(&parse("newer", &newer.to_string()).unwrap(), &order, &mut bytes).unwrap();
    bytes
}

/// Writes invalid records of every kind, and a good order of a newer schema after them on the same partition.
fn garbage_does_not_stop_the_partition(app: &App) {
    app.build();
    app.ok(&["topics", "create", "orders.created", "--partitions", "4", "--option", "max.message.bytes=8388608"]);
    let registry = app.own_registry();
    let newer = newer_order(&registry);
    drop(registry);
    let cut = newer[..newer.len() - 3].to_vec();
    let garbage = [
        record(None, Some(b"no avro at all".to_vec())),
        record(Some("k"), Some([0, 0, 0, 3, 231, 1, 2].to_vec())),
        record(Some("k"), Some(cut)),
        record(Some("k"), None),
        record(Some("k"), Some(vec![0; 5 << 20])),
    ];
    let log = app.log();
    log.append(&garbage).unwrap();
    log.append(&[record(None, Some(newer))]).unwrap();
    drop(log);
    let counts: Value = serde_json::from_str(&app.ok(&["run", "--until-idle", "--json"])).unwrap();
    assert_eq!((&counts["in"], &counts["out"], &counts["failed"]), (&6.into(), &1.into(), &5.into()));
    assert_eq!(app.order_ids("orders.accepted"), ["O-newer"]);
    let letters = app.records("quickstart.intake.dlq").into_values().flatten().collect::<Vec<_>>();
    let header = |record: &Record, name: &str| {
        let header = record.headers.iter().find(|header| header.name == name).unwrap();
        String::from_utf8(header.value.clone().unwrap().to_vec()).unwrap()
    };
    let mut told =
        letters.iter().map(|r| (header(r, "heddle.offset"), header(r, "heddle.kind"), r)).collect::<Vec<_>>();
    told.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(
        told.iter().map(|(_, reason, _)| reason.as_str()).collect::<Vec<_>>(),
        ["decode", "decode", "decode", "null-value", "too-large"]
    );
    for ((_, _, letter), original) in told.iter().zip(&garbage) {
        assert!(letter.key == original.key && letter.value == original.value, "a dead letter is what came in");
    }
}

#[test]
fn garbage_does_not_stop_the_partition_of_the_embedded_log() {
    garbage_does_not_stop_the_partition(&App::embedded());
}

#[test]
fn garbage_does_not_stop_the_partition_of_kafka() {
    let broker = Kafka::start();
    garbage_does_not_stop_the_partition(&App::kafka(&broker));
}

/// Makes handlers fail in every way, each with a good record after it on the same partition.
fn failing_handlers_do_not_stop_the_partition(app: &App) {
    app.build();
    app.ok(&["topics", "create", "in"]);
    app.ok(&["topics", "create", "out"]);
    let everything = r#"{"flag":true,"int":1,"long":1,"float":1.5,"double":1.5,"string":"s","bytes":"","fixed":"abcd","colour":"RED","list":[],"map":{},"choice":null,"price":"1.00"}"#;
    let mut lines = String::new();
    for what in ["trap", "loop", "grow", "emit-wrong", "emit-then-reject"] {
        writeln!(lines, r#"{{"do":"{what}","everything":{everything}}}"#).unwrap();
        writeln!(lines, r#"{{"do":"echo"}}"#).unwrap();
    }
    let file = app.data.path().join("scripts.jsonl");
    std::fs::write(&file, lines).unwrap();
    app.ok(&["produce", "in", "--file", file.to_str().unwrap()]);
    let counts: Value = serde_json::from_str(&app.ok(&["run", "--until-idle", "--json"])).unwrap();
    assert_eq!((&counts["in"], &counts["out"], &counts["failed"]), (&10.into(), &5.into(), &5.into()));
    assert_eq!(app.ok(&["consume", "out"]).lines().count(), 5);
    let (inputs, letters) = (app.records("in"), app.records("guests.scripted.dlq"));
    let reasons = letters[&0].iter().map(|letter| {
        let header = letter.headers.iter().find(|header| header.name == "heddle.kind").unwrap();
        std::str::from_utf8(header.value.as_ref().unwrap()).unwrap()
    });
    assert_eq!(reasons.collect::<Vec<_>>(), ["trap", "deadline", "memory", "emit", "rejected"]);
    for (letter, input) in letters[&0].iter().zip(inputs[&0].iter().step_by(2)) {
        assert_eq!((&letter.key, &letter.value), (&input.key, &input.value));
    }
}

#[test]
fn failing_handlers_do_not_stop_the_partition_of_the_embedded_log() {
    failing_handlers_do_not_stop_the_partition(&App::embedded().scripted());
}

#[test]
fn failing_handlers_do_not_stop_the_partition_of_kafka() {
    let broker = Kafka::start();
    failing_handlers_do_not_stop_the_partition(&App::kafka(&broker).scripted());
}

#[test]
fn a_task_that_cannot_continue_is_blocked_and_reports_the_reason() {
    let app = App::embedded();
    app.build();
    app.ok(&["topics", "create", "orders.created", "--partitions", "4"]);
    // The record can be neither handled nor dead-lettered. Continuing would lose it.
    app.ok(&["topics", "create", "quickstart.intake.dlq", "--partitions", "4", "--option", "max.message.bytes=100"]);
    app.log().append(&[record(Some("k"), Some(vec![1; 1_000]))]).unwrap();
    for _ in 0..2 {
        let output = app.run(&["run", "--until-idle"]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(
            told.contains("records are left: the log refuses") && told.contains("\n  at: orders.created/0@0"),
            "{told}"
        );
        assert!(told.contains("topic `quickstart.intake.dlq` takes at most 100 bytes (max.message.bytes)"), "{told}");
    }
}

#[test]
fn commands_reach_a_running_host_and_it_stops_in_order() {
    let app = App::embedded();
    app.build();
    let host = app.command(&["run", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let running = (0..1_800).find_map(|_| {
        std::thread::sleep(Duration::from_millis(100));
        let output = app.run(&["status", "--json"]);
        output.status.success().then(|| serde_json::from_slice::<Value>(&output.stdout).unwrap())
    });
    let status = running.expect("a host that answers with its status");
    assert_eq!(
        (&status["component"], &status["in"], &status["lag"]),
        (&"quickstart.intake".into(), &0.into(), &0.into())
    );
    // The host owns the log, so the other commands reach it through the host.
    let orders = quickstart().join("data/orders.jsonl");
    app.ok(&["produce", "orders.created", "--key", "orderId", "--file", orders.to_str().unwrap()]);
    let listed = app.ok(&["topics", "list", "--json"]);
    assert!(listed.contains(r#"{"topic":"orders.created","partitions":4,"offsets":1000}"#), "{listed}");
    assert_eq!(app.ok(&["consume", "orders.accepted", "--max", "991", "--follow"]).lines().count(), 991);
    let told = Command::new("kill").arg(host.id().to_string()).status().unwrap();
    assert!(told.success());
    let ended = host.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&ended.stdout).contains("\"component\":\"quickstart.intake\""));
}

#[test]
fn a_closed_pipe_ends_a_command_without_an_error() {
    let app = App::embedded();
    let mut command =
        app.command(&["produce", "--help"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(command.stdout.take());
    let helped = command.wait_with_output().unwrap();
    app.ok(&["topics", "create", "one", "--partitions", "1"]);
    let mut command = app.command(&["topics", "list"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(command.stdout.take());
    let listed = command.wait_with_output().unwrap();
    assert_eq!([helped, listed].map(|output| String::from_utf8(output.stderr).unwrap()), ["", ""]);
}

/// The quickstart's component, with one emitted topic removed from its manifest.
fn intake_without_its_grant(app: &App) -> PathBuf {
    let wasm = std::fs::read(quickstart().join("components/intake/intake.wasm")).unwrap();
    let mut contract = section::extract(&wasm).unwrap();
    let manifest = &mut contract.component.manifest;
    *manifest = manifest.replace("[emits.\"orders.review\"]", "");
    let path = app.data.path().join("refused.wasm");
    std::fs::write(&path, section::embed(&wasm, &contract).unwrap()).unwrap();
    path
}

/// The figures of a component. The measurement leaves nothing in the app.
fn measured(app: &App, more: &[&str]) -> Value {
    let temporary = tempfile::tempdir().unwrap();
    let arguments = [&["bench", "--records", "2000", "--json"], more].concat();
    let output = app.command(&arguments).env("TMPDIR", temporary.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0, "nothing is left behind");
    assert!(!app.data.path().join("log").exists() && !app.data.path().join("state").exists(), "the app is not touched");
    let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
    let figure = |name: &str| figures[name].as_f64().unwrap_or_else(|| panic!("no {name} in {figures}"));
    assert!(figure("events_per_second") > 0.0 && figure("delivery_p50_us") > 0.0, "{figures}");
    assert!(figure("delivery_p50_us") <= figure("delivery_p99_us"), "{figures}");
    if cfg!(target_os = "linux") {
        assert!(figure("cpu_seconds_per_million") >= 0.0 && figure("peak_mb") > 0.0, "{figures}");
    }
    assert_eq!(figures["records"], 2_000);
    figures
}

#[test]
fn a_component_is_measured_on_records_made_for_it() {
    let platform = App::embedded().platform();
    platform.build();
    let made = measured(&platform, &["ledger"]);
    // Each record has a distinct id. Otherwise all but the first would be skipped.
    assert_eq!((&made["component"], &made["duplicates"]), (&"ledger".into(), &0.into()));
    assert!(made["emitted"].as_u64().unwrap() >= 2_000, "{made}");
    let orders = platform.data.path().join("orders.jsonl");
    write_orders(&orders, 100..150);
    let given = measured(&platform, &["--from", orders.to_str().unwrap(), "--key", "customerId"]);
    assert_eq!((&given["duplicates"], &given["failures"]), (&1_950.into(), &serde_json::json!({})));
    let scripted = App::embedded().scripted();
    scripted.build();
    // The component knows none of the generated operations.
    assert_eq!(measured(&scripted, &[])["failures"], serde_json::json!({"rejected": 2_000}));
}

#[test]
fn wrong_use_is_reported_with_cause_place_and_hint() {
    let app = App::embedded();
    app.build();
    let bad = app.data.path().join("bad.jsonl");
    std::fs::write(&bad, "{\"orderId\": 7}\n").unwrap();
    let mut told = String::new();
    let mut tell = |output: Output| {
        let text = String::from_utf8(output.stderr).unwrap();
        let text =
            text.replace(quickstart().to_str().unwrap(), "APP").replace(app.data.path().to_str().unwrap(), "DATA");
        // librdkafka's text contains milliseconds and counts.
        let text = match (text.find(" (127.0.0.1:1/"), text.find("; is it running")) {
            (Some(from), Some(to)) => format!("{}{}", &text[..from], &text[to..]),
            _ => text,
        };
        writeln!(told, "exit {}\n{text}", output.status.code().unwrap()).unwrap();
    };
    tell(app.run(&["consume", "orders.craeted"]));
    tell(app.run(&["produce", "nowhere"]));
    tell(app.run(&["produce", "orders.created", "--file", "missing.jsonl"]));
    tell(app.run(&["produce", "orders.created", "--file", bad.to_str().unwrap()]));
    tell(app.run(&["build", "outtake"]));
    tell(app.run(&["inspect", "missing.wasm"]));
    tell(app.run(&["consume", "orders.created", "--from", "yesterday"]));
    tell(app.command(&["topics", "list"]).env("HEDDLE_LOG_BOOTSTRAP", "127.0.0.1:1").output().unwrap());
    tell(app.command(&["run"]).env("HEDDLE_REGISTRY_URL", "http://127.0.0.1:1").output().unwrap());
    tell(app.run(&["status"]));
    tell(app.run(&["bench", "outtake"]));
    tell(app.run(&["bench", "--from", "missing.jsonl"]));
    tell(app.run(&["bench", "--from", bad.to_str().unwrap()]));
    let foreign = App { folder: app.data.path().join("foreign"), ..App::embedded() };
    std::fs::create_dir_all(foreign.folder.join("components/scripted")).unwrap();
    let topics = "[topics.\"orders.created\"]\n[topics.\"orders.accepted\"]\n[topics.\"orders.rejected\"]\n";
    std::fs::write(foreign.folder.join("heddle.toml"), format!("[app]\nname = \"foreign\"\n{topics}")).unwrap();
    std::fs::copy(intake_without_its_grant(&app), foreign.folder.join("refused.wasm")).unwrap();
    tell(foreign.command(&["run"]).env("HEDDLE_APP_COMPONENTS", "refused.wasm").output().unwrap());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().to_string();
    let output = app.command(&["run"]).env("HEDDLE_ADMIN_LISTEN", &port).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap().replace(&port, "TAKEN");
    tell(Output { stderr: text.into_bytes(), ..output });
    tell(app.command(&["run"]).env("HEDDLE_COMMIT_INTERVALL", "1s").output().unwrap());
    tell(Command::new(env!("CARGO_BIN_EXE_heddle")).args(["run", "--app", "nowhere"]).output().unwrap());
    insta::assert_snapshot!(told);
}
