//! Records of every kind, through a pipe.

use heddle::registry::Registry as _;
use heddle_contract::compat::Level;
use heddle_contract::format::avro::{Schema, parse};
use heddle_contract::wire::{SchemaId, key_subject, prefix, value_subject};
use heddle_core::event::{Header, NewRecord, Partition, Timestamp};
use heddle_fixtures::scaled;

use super::generate::{self, Dice};
use super::{Bare, contents, on_kafka, record};

#[path = "../../host/contract/tests/generate/values.rs"]
mod values;

const PARTITIONS: i32 = 3;

/// Random schemas, registered for a topic's keys and values.
fn schemas(app: &Bare, seed: u64) -> Vec<(SchemaId, Schema)> {
    let registry = app.app.own_registry();
    let mut found = vec![];
    for subject in [value_subject(&app.topic("from")), key_subject(&app.topic("from"))] {
        registry.set_level(Some(&subject), Level::None).unwrap();
        for seed in seed..seed + 10 {
            let text = generate::schema(&mut Dice::new(seed)).to_string();
            let Ok(schema) = parse("s", &text) else { continue };
            found.push((registry.register(&subject, schema.json()).unwrap(), schema));
        }
    }
    found
}

/// Bytes as any client may write them: with a known schema, an unknown one, broken, JSON, text, or arbitrary.
fn bytes(dice: &mut Dice, schemas: &[(SchemaId, Schema)]) -> Option<Vec<u8>> {
    const PLAIN: [&[u8]; 14] = [
        b"",
        b"null",
        b"text",
        b"\"text\"",
        b"{\"a\": 1}",
        b"{\"a\":1,\"a\":2}",
        b"{\"$bytes\":\"AA==\"}",
        b"1.10",
        b"\xc3\x28\r\n",
        b"\0\0\0\0\0\0\0\x07",
        b"\0\xff\xff\xff\xff\x02",
        b"\0",
        "\u{feff}\u{202e}\u{0}ä".as_bytes(),
        b"12345678901234567890123",
    ];
    let (id, schema) = &schemas[dice.below(schemas.len())];
    let mut framed = prefix(*id).to_vec();
    match dice.below(8) {
        0 => return None,
        1..=2 => return Some(PLAIN[dice.below(PLAIN.len())].to_vec()),
        3 => framed.extend((0..dice.below(9)).map(|_| dice.number() as u8)),
        4 => framed.extend([values::value(dice, schema), vec![0x55]].concat()),
        _ => framed.extend(values::value(dice, schema)),
    }
    Some(framed)
}

fn headers(dice: &mut Dice) -> Vec<Header> {
    let header = |dice: &mut Dice| {
        let value = match dice.below(4) {
            0 => None,
            1 => Some(vec![0xff, dice.number() as u8]),
            _ => Some(values::text(dice).into_bytes()),
        };
        Header { name: values::text(dice).into(), value: value.map(Into::into) }
    };
    (0..dice.below(4)).map(|_| header(dice)).collect()
}

fn random(app: &Bare, seed: u64, count: u64, times: &[i64]) -> Vec<NewRecord> {
    let schemas = schemas(app, seed);
    let mut dice = Dice::new(seed);
    let topic = app.topic("from");
    let one = |_| NewRecord {
        partition: Some(Partition(dice.below(PARTITIONS as usize) as i32)),
        timestamp: Some(Timestamp(times[dice.below(times.len())])),
        headers: headers(&mut dice),
        ..record(&topic, bytes(&mut dice, &schemas).as_deref(), bytes(&mut dice, &schemas).as_deref())
    };
    (0..count).map(one).collect()
}

fn random_records_come_back(app: &Bare, times: &[i64]) {
    ["from", "to"].iter().for_each(|name| app.create(name, PARTITIONS));
    let records = random(app, 7_000, scaled(400, 4_000), times);
    app.append(&records);
    app.pipe("from", app, "to");
    let (from, to) = (app.records("from"), app.records("to"));
    assert_eq!(from.len(), records.len());
    for (from, to) in contents(&from).into_iter().zip(contents(&to)) {
        assert_eq!(from, to);
    }
    assert_eq!(from.len(), to.len());
}

#[test]
fn records_of_any_schema_come_back_on_the_embedded_log() {
    let app = Bare::new("rt-random", None, &[]);
    random_records_come_back(&app, &[0, -1, 1, 1_700_000_000_123]);
}

#[test]
fn records_of_any_schema_come_back_on_kafka() {
    let now = heddle::log::now().0;
    random_records_come_back(&on_kafka("rt-random", &[]), &[-1, 1, 1_700_000_000_123, now]);
}

#[test]
fn records_come_back_in_another_app_whose_registry_gave_other_ids() {
    let contracts = [
        (
            "from-value",
            r#"{"type":"record","name":"V","fields":[{"name":"a","type":["null",{"type":"map","values":"double"}]}]}"#,
        ),
        ("from-key", r#"{"type":"record","name":"K","fields":[{"name":"id","type":"long"}]}"#),
    ];
    let embedded = Bare::new("rt-other", None, &contracts);
    let kafka = on_kafka("rt-other", &contracts);
    kafka.create("before", 1);
    kafka.app.own_registry().register("rt-other.before-value", r#""string""#).unwrap();
    [&embedded, &kafka].iter().for_each(|app| app.create("from", 1));
    let lines = [
        r#"{"key":{"id":9007199254740993},"value":{"a":{"x":-0.0,"y":"NaN","z":1e300}},"headers":{"h":null}}"#,
        r#"{"key":{"id":1},"value":null,"timestamp":5}"#,
        r#"{"key":{"$bytes":"wyg="},"value":{"$text":"poison"}}"#,
    ];
    embedded.produce("from", &["--json"], &lines.join("\n"));
    embedded.pipe("from", &kafka, "from");
    let without_ids = |app: &Bare| {
        let line = |line: &String| {
            let mut line = serde_json::from_str::<serde_json::Value>(line).unwrap();
            assert!(line["schemas"]["key"].is_string() || line["key"]["$bytes"].is_string());
            line.as_object_mut().unwrap().remove("schemas");
            line
        };
        app.consume("from", &["--json"]).iter().map(line).collect::<Vec<_>>()
    };
    assert_eq!(without_ids(&embedded), without_ids(&kafka));
    let keys = |app: &Bare| app.records("from").iter().map(|record| record.key.clone().unwrap()).collect::<Vec<_>>();
    let (ours, theirs) = (keys(&embedded), keys(&kafka));
    assert_ne!(ours[0], theirs[0], "the registries gave the same ids");
    assert_eq!((&ours[0][5..], &ours[2][..]), (&theirs[0][5..], &theirs[2][..]));
}

#[test]
fn a_changed_line_overrides_its_original_bytes() {
    let app = Bare::new("rt-edit", None, &[]);
    app.create("from", 1);
    app.append(&[record("rt-edit.from", None, Some(b"{\"a\": 1}"))]);
    let line = app.consume("from", &["--json"]).remove(0);
    assert!(line.contains(r#""value":{"a":1},"exact":{"value":"eyJhIjogMX0="}"#), "{line}");
    app.produce("from", &["--json"], &line);
    app.produce("from", &["--json"], &line.replace("\"a\":1", "\"a\":2"));
    let values = app.records("from").into_iter().map(|record| record.value.unwrap()).collect::<Vec<_>>();
    assert_eq!(values, ["{\"a\": 1}", "{\"a\": 1}", "{\"a\":2}"]);
}
