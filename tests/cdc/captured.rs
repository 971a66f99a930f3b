//! Records of Debezium, kept in a file: JSON, a schema, a record or a result a line.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use heddle_core::event::{Header, NewRecord, Partition, Record};
use serde_json::{Value, json};

use super::workload::Expected;
use crate::support::registry::Server;

/// The file that `scripts/capture-debezium` writes.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/cdc/captured.jsonl");

/// Schemas, records in the order of their timestamps, and what the tables said in the end.
pub(super) struct Captured {
    pub(super) schemas: Vec<Schema>,
    pub(super) records: Vec<NewRecord>,
    pub(super) expected: Expected,
}

/// A version of a subject.
pub(super) struct Schema {
    pub(super) subject: String,
    pub(super) version: u64,
    pub(super) id: u64,
    pub(super) text: String,
}

impl Captured {
    pub(super) fn read() -> Self {
        let (mut schemas, mut records, mut expected) = (vec![], vec![], None);
        for line in std::fs::read_to_string(FILE).unwrap().lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            if let Some(schema) = line.get("schema") {
                let text = |name: &str| schema[name].as_str().unwrap().to_owned();
                let number = |name: &str| schema[name].as_u64().unwrap();
                let (version, id) = (number("version"), number("id"));
                schemas.push(Schema { subject: text("subject"), version, id, text: text("text") });
            } else if let Some(record) = line.get("record") {
                records.push(record_of(record));
            } else {
                let rows = |name: &str| serde_json::from_value(line["expected"][name].clone()).unwrap();
                let (joined, named) = (rows("joined"), rows("named"));
                expected = Some(Expected { joined, named, orders: rows("orders"), customers: rows("customers") });
            }
        }
        Self { schemas, records, expected: expected.unwrap() }
    }

    /// Puts the schemas into a registry, under their ids.
    pub(super) fn import(&self, registry: &Server) {
        let set = |mode: &str| {
            let (status, answer) = registry.ask("PUT", "/mode", Some(&json!({ "mode": mode })));
            assert_eq!(status, 200, "{answer}");
        };
        set("IMPORT");
        for Schema { subject, version, id, text } in &self.schemas {
            let body = json!({"schema": text, "version": version, "id": id});
            let (status, answer) = registry.ask("POST", &format!("/subjects/{subject}/versions"), Some(&body));
            assert_eq!(status, 200, "{subject} version {version}: {answer}");
        }
        set("READWRITE");
    }
}

fn bytes(value: &Value) -> Option<Bytes> {
    value.as_str().map(|text| STANDARD.decode(text).unwrap().into())
}

fn text(bytes: Option<&Bytes>) -> Value {
    bytes.map_or(Value::Null, |bytes| STANDARD.encode(bytes).into())
}

fn record_of(record: &Value) -> NewRecord {
    let header = |(name, value): (String, Value)| Header { name: name.into(), value: bytes(&value) };
    let headers = serde_json::from_value::<Vec<(String, Value)>>(record["headers"].clone()).unwrap_or_default();
    NewRecord {
        topic: record["topic"].as_str().unwrap().into(),
        partition: Some(Partition(i32::try_from(record["partition"].as_i64().unwrap()).unwrap())),
        timestamp: None,
        key: bytes(&record["key"]),
        value: bytes(&record["value"]),
        headers: headers.into_iter().map(header).collect(),
    }
}

/// The text of a file with all that Debezium wrote to these topics.
pub(super) fn text_of(registry: &Server, records: BTreeMap<String, Vec<Record>>, expected: &Expected) -> String {
    let mut lines = String::new();
    for topic in records.keys() {
        for subject in [format!("{topic}-key"), format!("{topic}-value")] {
            let (_, versions) = registry.get(&format!("/subjects/{subject}/versions"));
            for version in versions.as_array().unwrap() {
                let (_, found) = registry.get(&format!("/subjects/{subject}/versions/{version}"));
                let (id, text) = (&found["id"], &found["schema"]);
                let schema = json!({"subject": subject, "version": version, "id": id, "text": text});
                let _ = writeln!(lines, "{}", json!({ "schema": schema }));
            }
        }
    }
    let mut all = records.into_values().flatten().collect::<Vec<_>>();
    // Stable: records of a partition stay in their order.
    all.sort_by_key(|record| record.timestamp.0);
    for record in all {
        // Some headers say which run of Debezium it was.
        let headers = record.headers.iter().filter(|header| !header.name.starts_with("__debezium.context"));
        let headers = headers.map(|header| json!([&*header.name, text(header.value.as_ref())]));
        let mut line = json!({
            "topic": &*record.source.topic, "partition": record.source.partition.0,
            "key": text(record.key.as_ref()), "value": text(record.value.as_ref()),
        });
        let headers = headers.collect::<Vec<_>>();
        if !headers.is_empty() {
            line["headers"] = headers.into();
        }
        let _ = writeln!(lines, "{}", json!({ "record": line }));
    }
    let Expected { joined, named, orders, customers } = expected;
    let expected = json!({"joined": joined, "named": named, "orders": orders, "customers": customers});
    let _ = writeln!(lines, "{}", json!({ "expected": expected }));
    lines
}
