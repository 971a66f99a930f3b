//! Typed keys, tombstones, headers, times and partitions, as users enter and see them.

use heddle::log::TopicSpec;
use heddle_core::event::{Header, NewRecord, Timestamp};
use serde_json::{Value, json};

use super::{Bare, on_kafka, record};

const KEY: &str = r#"{"type":"record","name":"OrderKey","fields":[{"name":"orderId","type":"string"}]}"#;
const VALUE: &str = r#"{"type":"record","name":"Order","fields":[{"name":"orderId","type":"string"},{"name":"n","type":["null","long"]}]}"#;

fn parsed(lines: &[String]) -> Vec<Value> {
    lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn keys_are_written_and_shown_by_their_schema(app: &Bare) {
    app.create("keyed", 1);
    let topic = app.topic("keyed");
    let id = |record: &[u8]| u32::from_be_bytes(record[1..5].try_into().unwrap());
    app.produce("keyed", &["--key", "orderId"], r#"{"orderId":"o1","n":1}"#);
    app.produce("keyed", &["--fixed-key", r#"{"orderId":"o2"}"#], "null");
    let written = app.records("keyed");
    let key = written[0].key.clone().unwrap();
    assert_eq!((&key[..1], &key[5..]), (&[0][..], &[4, b'o', b'1'][..]));
    assert_eq!(written[1].value, None);
    let typed = [&[0][..], &id(&key).to_be_bytes(), &[4, b'o', b'3']].concat();
    let headers = vec![Header::new("a", "1"), Header::new("a", "2"), Header { name: "n".into(), value: None }];
    app.append(&[
        record(&topic, Some(&typed), None),
        record(&topic, Some(&[0xc3, 0x28, 0x0d, 0x0a]), None),
        record(&topic, Some(b""), None),
        NewRecord { headers, timestamp: Some(Timestamp(1_000)), ..record(&topic, Some(b"gone"), None) },
        record(&topic, None, None),
    ]);
    let lines = parsed(&app.consume("keyed", &["--json"]));
    let keys = lines.iter().map(|line| line["key"].clone()).collect::<Vec<_>>();
    let expected = [
        json!({"orderId": "o1"}),
        json!({"orderId": "o2"}),
        json!({"orderId": "o3"}),
        json!({"$bytes": "wygNCg=="}),
        json!({"$text": ""}),
        json!({"$text": "gone"}),
        json!(null),
    ];
    assert_eq!(keys, expected);
    assert_eq!(lines[0]["value"], json!({"orderId": "o1", "n": 1}));
    assert_eq!(lines[5]["headers"], json!([["a", "1"], ["a", "2"], ["n", null]]));
    assert!(lines[1..].iter().all(|line| line["value"].is_null()));
    app.create("copy", 1);
    app.pipe("keyed", app, "copy");
    assert_eq!(super::contents(&app.records("keyed")), super::contents(&app.records("copy")));

    let found = |arguments: &[&str]| {
        let lines = parsed(&app.consume("keyed", &[arguments, &["--json"]].concat()));
        lines.iter().map(|line| line["offset"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    let all = found(&[]);
    let only = |places: &[usize]| places.iter().map(|place| all[*place]).collect::<Vec<_>>();
    assert_eq!(found(&["--key", r#"{"orderId": "o2"}"#]), only(&[1]));
    assert_eq!(found(&["--key", r#"{"$bytes":"wygNCg=="}"#]), only(&[3]));
    assert_eq!(found(&["--header", "a=2"]), only(&[5]));
    assert_eq!(found(&["--header", "n", "--header", "a"]), only(&[5]));
    assert_eq!(found(&["--until", "1970-01-02"]), only(&[5]));
    assert_eq!(found(&["--since", "1h", "--max", "2"]), only(&[0, 1]));
    assert_eq!(found(&["--since", "1000", "--until", "1001"]), only(&[5]));
}

#[test]
fn keys_are_written_and_shown_by_their_schema_on_the_embedded_log() {
    let contracts = [("keyed-key", KEY), ("keyed-value", VALUE), ("copy-key", KEY), ("copy-value", VALUE)];
    keys_are_written_and_shown_by_their_schema(&Bare::new("rt-keys", None, &contracts));
}

#[test]
fn keys_are_written_and_shown_by_their_schema_on_kafka() {
    let contracts = [("keyed-key", KEY), ("keyed-value", VALUE), ("copy-key", KEY), ("copy-value", VALUE)];
    keys_are_written_and_shown_by_their_schema(&on_kafka("rt-keys", &contracts));
}

fn headers_time_and_partition_are_set(app: &Bare) {
    app.create("plain", 4);
    let (line, now) = (r#"{"a":1}"#, heddle::log::now().0);
    app.produce("plain", &["--key", "a", "--partition", "2", "--timestamp", "5000"], line);
    app.produce("plain", &["--header", "h=1=2", "--header", "h", "--header", "e=", "--partition", "2"], line);
    let whole = format!(
        r#"{{"key":"k","partition":3,"timestamp":"2026-03-01T00:00:00Z","headers":[["b",{{"$bytes":"/w=="}}]],"value":{line}}}"#
    );
    app.produce("plain", &["--json", "--header", "h=x", "--partition", "1", "--timestamp", "7"], &whole);
    // A record that was read elsewhere goes to the partition of its key.
    let read = r#"{"partition":9,"offset":3,"key":"k","value":"text","headers":null}"#;
    app.produce("plain", &["--json"], read);
    assert!(app.refused("plain", &["--json", "--keep-partitions"], read).contains('9'));
    let records = app.app.records(&app.topic("plain"));
    let in_2 = &records[&2];
    assert_eq!((in_2[0].key.as_deref(), in_2[0].timestamp.0), (Some(&b"1"[..]), 5_000));
    assert!(in_2[1].timestamp.0 >= now);
    let expected = [Header::new("h", "1=2"), Header { name: "h".into(), value: None }, Header::new("e", "")];
    assert_eq!(in_2[1].headers, expected);
    let first = &records[&3][0];
    assert_eq!((first.key.as_deref(), first.timestamp.0), (Some(&b"k"[..]), 1_772_323_200_000));
    assert_eq!(first.headers, [Header::new("b", vec![0xff]), Header::new("h", "x")]);
    assert_eq!(records.values().flatten().count(), 4);
    assert_eq!(app.consume("plain", &["--partition", "2"]), [line, line]);
    assert_eq!(app.consume("plain", &["--partition", "2", "--header", "e"]), [line]);
    assert_eq!(app.consume("plain", &["--key", "k", "--header", "h=x"]), [line]);
}

#[test]
fn headers_time_and_partition_are_set_on_both_logs() {
    headers_time_and_partition_are_set(&Bare::new("rt-plain", None, &[]));
    headers_time_and_partition_are_set(&on_kafka("rt-plain", &[]));
}

/// A tombstone without a key deletes nothing: a compacted topic refuses it as any record without a key.
fn a_compacted_topic_refuses_a_tombstone_without_a_key(app: &Bare) {
    let options = [("cleanup.policy".to_owned(), "compact".to_owned())].into();
    let spec = TopicSpec { name: app.topic("compacted"), partitions: 1, replication: None, options };
    app.app.log().create_topic(&spec).unwrap();
    app.produce("compacted", &["--fixed-key", "k"], "null");
    let refused = ["{\"value\":null}", "{\"value\":7}"].map(|line| app.refused("compacted", &["--json"], line));
    assert_eq!(refused[0], refused[1]);
    assert!(refused[0].contains("key"), "{}", refused[0]);
    assert_eq!(app.records("compacted").len(), 1);
}

#[test]
fn a_compacted_topic_refuses_a_tombstone_without_a_key_on_both_logs() {
    a_compacted_topic_refuses_a_tombstone_without_a_key(&Bare::new("rt-keyless", None, &[]));
    a_compacted_topic_refuses_a_tombstone_without_a_key(&on_kafka("rt-keyless", &[]));
}

#[test]
fn invalid_lines_write_nothing_and_are_explained() {
    let app = Bare::new("rt-wrong", None, &[("t-key", KEY), ("t-value", VALUE)]);
    app.create("t", 1);
    let mut told = String::new();
    for (arguments, line) in [
        (&["--json"][..], r#"{"key":null}"#),
        (&["--json"], r#"{"orderId":"o","n":null}"#),
        (&["--json"], "7"),
        (&["--json"], r#"{"value":{"orderId":1,"n":null}}"#),
        (&["--json"], r#"{"value":null,"key":{"order":"x"}}"#),
        (&["--json"], r#"{"value":null,"key":{"$bytes":"not base64"}}"#),
        (&["--json"], r#"{"value":null,"headers":[["a",7]]}"#),
        (&["--json"], r#"{"value":null,"headers":"a"}"#),
        (&["--json"], r#"{"value":null,"timestamp":1.5}"#),
        (&["--json"], r#"{"value":null,"partition":-1}"#),
        (&["--json"], r#"{"value":{"orderId":"o","n":null},"schemas":{"value":"7"}}"#),
        (&["--key", "orderId"], "null"),
        (&["--key", "n"], r#"{"orderId":"o","n":{"long":5}}"#),
        (&["--fixed-key", "text"], "null"),
        (&["--json"], r#"{"value":{"orderId":"o","orderId":"p","n":null}}"#),
        (&["--json"], r#"{"value":null,"headers":{"a":"1","a":"2"}}"#),
        (&[], r#"{"orderId":"o","n":{"long":18446744073709551617}}"#),
    ] {
        told.push_str(&app.refused("t", arguments, line));
    }
    insta::assert_snapshot!(told);
    assert_eq!(app.records("t"), []);
}

#[test]
fn values_that_look_like_marks_are_not_taken_for_them() {
    let nullable = r#"["null",{"type":"map","values":"string"}]"#;
    let app = Bare::new("rt-marks", None, &[("t-value", nullable)]);
    app.create("t", 1);
    let lines = [
        r#"{"$value":null}"#,
        r#"{"$value":{"$bytes":"AA=="}}"#,
        r#"{"$value":{"$value":"x"}}"#,
        r#"{"map":{"map":"x"}}"#,
        r#"{"$bytes":"/w=="}"#,
        r#"{"$text":"poison"}"#,
        "null",
    ];
    app.produce("t", &[], &lines.join("\n"));
    assert_eq!(app.consume("t", &[]), lines);
    let values = app.records("t").into_iter().map(|record| record.value).collect::<Vec<_>>();
    assert_eq!(values[0].as_ref().unwrap()[5..], [0]);
    assert_eq!((values[4].as_deref(), values[6].as_deref()), (Some(&[0xff][..]), None));
}
