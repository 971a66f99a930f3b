//! Every kind of failure, and its dead letter.

use bytes::Bytes;
use heddle::log::now;
use heddle::registry::Registry;
use heddle_contract::format::avro::{json, parse};
use heddle_core::date::rfc3339;
use heddle_core::event::{Header, NewRecord, Partition, Timestamp};
use heddle_fixtures::kafka::Kafka;
use serde_json::{Value, json};

use crate::dlq::{LETTERS, all, header, run};
use crate::support::app::App;

/// Returns a function that encodes scripts as values of the topic `in`.
pub(crate) fn encoder(app: &App) -> impl Fn(&Value) -> Vec<u8> + use<> {
    let file = app.data.path().join("echo.jsonl");
    std::fs::write(&file, r#"{"do":"echo"}"#).unwrap();
    app.ok(&["produce", "in", "--file", file.to_str().unwrap()]);
    let registry = app.own_registry();
    let latest = registry.latest("in-value").unwrap().unwrap();
    let schema = parse("in", &latest.schema).unwrap();
    move |script| {
        let mut bytes = [[0].as_slice(), &latest.id.0.to_be_bytes()].concat();
        json::encode(&schema, script, &mut bytes).unwrap();
        bytes
    }
}

pub(crate) fn input(key: &str, value: Option<Vec<u8>>) -> NewRecord {
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

/// One record for each kind of failure.
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

pub(crate) fn prepared(app: &App) -> Vec<NewRecord> {
    app.build();
    app.ok(&["topics", "create", "in", "--option", "max.message.bytes=8388608"]);
    app.ok(&["topics", "create", "out"]);
    let failing = failing(app);
    app.log().append(&failing).unwrap();
    failing
}

fn every_kind_is_dead_lettered_byte_for_byte(app: &App) {
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
fn every_kind_is_dead_lettered_byte_for_byte_on_the_embedded_log() {
    every_kind_is_dead_lettered_byte_for_byte(&App::embedded().scripted());
}

#[test]
fn every_kind_is_dead_lettered_byte_for_byte_on_kafka() {
    let broker = Kafka::start();
    every_kind_is_dead_lettered_byte_for_byte(&App::kafka(&broker).scripted());
}
