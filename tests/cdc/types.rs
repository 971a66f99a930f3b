//! Every type that Debezium makes of PostgreSQL's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use heddle::build::{AppContracts, generated, world_files};
use heddle::guest::codec::{Decoder, Encoder};
use heddle_contract::format::Schema;
use heddle_contract::format::avro::parse_writer;
use heddle_contract::format::avro::resolve::resolve;
use heddle_contract::format::shape::Shapes;
use heddle_contract::manifest::Manifest;
use heddle_contract::wit::Names;

use super::captured::Captured;

/// The schemas by id.
fn by_id(captured: &Captured) -> BTreeMap<u64, Schema> {
    let parsed = captured.schemas.iter().map(|schema| {
        (schema.id, parse_writer(&schema.subject, &schema.text).unwrap_or_else(|e| panic!("{e}")).into())
    });
    parsed.collect()
}

#[test]
fn captured_records_round_trip_as_json_and_as_values_of_a_component() {
    let captured = Captured::read();
    let (schemas, mut seen) = (by_id(&captured), BTreeSet::new());
    for record in &captured.records {
        for bytes in [&record.key, &record.value].into_iter().flatten() {
            let id = u64::from(u32::from_be_bytes(bytes[1..5].try_into().unwrap()));
            let (schema, payload) = (&schemas[&id], &bytes[5..]);
            seen.insert(id);
            let mut again = vec![];
            schema.encode(&schema.decode(payload).unwrap(), &mut again).unwrap();
            assert_eq!(again, payload, "{}, as JSON", record.topic);
            again.clear();
            let shapes = Arc::new(Shapes::named(schema, "subject", &Names::default()));
            let decoder = Decoder::new(schema, schema, shapes.clone());
            let value = decoder.decode(payload).unwrap();
            Encoder::new(schema.clone(), shapes).encode(&value, &mut again).unwrap();
            assert_eq!(again, payload, "{}, as a component's value", record.topic);
        }
    }
    assert_eq!(seen.len(), schemas.len(), "every schema has records");
}

#[test]
fn captured_schemas_are_built_for_every_language_and_their_versions_read_each_other() {
    let captured = Captured::read();
    let folder = tempfile::tempdir().unwrap();
    let mut newest = BTreeMap::<&str, &str>::new();
    for schema in &captured.schemas {
        let parsed = parse_writer(&schema.subject, &schema.text).unwrap();
        if let Some(before) = newest.insert(&schema.subject, &schema.text) {
            let before = parse_writer(&schema.subject, before).unwrap();
            let mismatches = resolve(&before, &parsed).mismatches().len();
            assert_eq!(mismatches, 0, "{} version {}", schema.subject, schema.version);
        }
    }
    for (subject, text) in &newest {
        std::fs::write(folder.path().join(format!("{subject}.avsc")), text).unwrap();
    }
    let contracts = AppContracts::read(folder.path()).unwrap();
    for language in ["rust", "javascript", "python", "go"] {
        let mut text = format!("[component]\nname = \"c\"\nlanguage = \"{language}\"\n");
        for topic in newest.keys().filter_map(|subject| subject.strip_suffix("-value")) {
            text += &format!("[consumes.\"{topic}\"]\n[emits.\"{topic}\"]\n");
        }
        let manifest = Manifest::parse(&text, "component.toml").unwrap();
        world_files(&manifest, &contracts, &Names::default()).unwrap();
        generated(folder.path(), &manifest, &contracts).unwrap_or_else(|e| panic!("{language}: {e}"));
    }
}
