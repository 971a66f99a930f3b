//! The order platform's orders without items: they are edited, replayed and booked.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use bytes::Bytes;
use heddle_core::event::{NewRecord, Record};
use heddle_fixtures::kafka::Kafka;
use serde_json::Value;

use crate::dlq::told::Told;
use crate::dlq::{all, header, run};
use crate::support::app::{App, quickstart};

/// The path of an editor that runs this script on the file.
fn editor(app: &App, script: &str) -> String {
    let path = app.data.path().join("editor");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn edited_orders_are_processed_once(app: &App) {
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
    let shown: Value = serde_json::from_str(&app.ok(&["dlq", "show", "ledger", &edited, "--json"])).unwrap();
    let edit = |script: &str| {
        let editor = editor(app, script);
        app.command(&["dlq", "replay", "ledger", &edited, "--edit"])
            .env_remove("VISUAL")
            .env("EDITOR", editor)
            .output()
            .unwrap()
    };
    let before = all(app, "orders.created").len();
    edits_that_do_not_fit(app, &edited, &edit);
    assert_eq!(all(app, "orders.created").len(), before, "nothing was sent");

    let kept = edit(r#"sed -i s/orderId/orderNo/ "$1""#);
    let kept = String::from_utf8(kept.stderr).unwrap();
    let kept = kept.lines().find_map(|line| line.strip_prefix("kept the edited value in ")).unwrap();
    assert!(std::fs::read_to_string(kept).unwrap().contains("orderNo"));
    let refused = app.run(&["dlq", "replay", "ledger", &edited, "--value", kept]);
    assert!(String::from_utf8(refused.stderr).unwrap().contains("does not match its schema"));
    std::fs::remove_file(kept).unwrap();

    let items = r#"sed -i 's/"items": \[\]/"items": [{"productId":"P-1","quantity":1,"price":2.5}]/' "$1""#;
    let output = edit(items);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // A second replay of the same letter is refused, and nothing is sent.
    assert_eq!(edit(items).status.code(), Some(1));
    app.ok(&["dlq", "replay", "ledger", &again]);
    assert_eq!(all(app, "orders.created").len(), before + 2);
    assert_eq!(run(app, 2), (1, 0));
    // The other order failed again and has a new letter with its history.
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

    // The edited order is booked. Its id is known now, so a second copy is a duplicate.
    send_again_what_was_edited(app);
    assert_eq!(run(app, 1), (0, 1));
    let id = shown["value"]["orderId"].as_str().unwrap();
    assert_eq!(app.order_ids("orders.status").iter().filter(|booked| *booked == id).count(), 1, "booked once");
}

fn edits_that_do_not_fit(app: &App, edited: &str, edit: &dyn Fn(&str) -> Output) {
    let mut told = Told(app, String::new());
    told.output("dlq replay --edit (a field of another name)", &edit(r#"sed -i s/orderId/orderNo/ "$1""#));
    told.output("dlq replay --edit (no JSON)", &edit(r#"echo '{' > "$1""#));
    told.output("dlq replay --edit (an editor that fails)", &edit("exit 3"));
    let told = told.1.replace(edited, "<place>").replace(app.data.path().to_str().unwrap(), "DATA");
    let without_files = told.split_inclusive('\n').map(|line| {
        let file = line.find(std::env::temp_dir().to_str().unwrap());
        let file = file.map(|at| (at, line[at..].trim_end().to_owned()));
        file.map_or(line.to_owned(), |(at, file)| {
            let _ = std::fs::remove_file(&file);
            format!("{}<file>\n", &line[..at])
        })
    });
    let told = without_files.collect::<String>();
    insta::assert_snapshot!("edits_that_are_refused", told);
}

fn send_again_what_was_edited(app: &App) {
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
}

#[test]
fn edited_orders_are_processed_once_on_the_embedded_log() {
    edited_orders_are_processed_once(&App::embedded().platform());
}

#[test]
fn edited_orders_are_processed_once_on_kafka() {
    let broker = Kafka::start();
    edited_orders_are_processed_once(&App::kafka(&broker).platform());
}
