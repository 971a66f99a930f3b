//! A program that embeds a host: the example in `host/examples`, and the page about it.

use std::path::Path;

use heddle::host::Parts;
use heddle::log::{Start, read_whole};
use heddle_core::event::{NewRecord, Timestamp};
use serde_json::json;

use crate::support::guests::{framed, schema, wasm};

#[expect(dead_code, reason = "this is the program's `main`")]
#[path = "../host/examples/embed.rs"]
mod example;

/// Writes a record for the component to its input.
fn write(parts: &Parts) {
    let id = parts.registry.versions("in-value").unwrap()[0].id;
    let value = framed(id.0, &schema("in-value"), &json!({"do":"echo"}));
    let record = NewRecord {
        topic: "in".into(),
        partition: None,
        timestamp: Some(Timestamp(1_000)),
        key: Some("key".into()),
        value: Some(value.into()),
        headers: vec![],
    };
    parts.log.writer("test").unwrap().write(&[record]).unwrap();
}

#[test]
fn a_program_runs_a_component_until_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let parts = example::parts(folder.path(), "scripted", wasm("scripted")).unwrap();
    write(&parts);
    let log = parts.log.clone();
    example::run(parts).unwrap();
    let mut outputs = 0;
    let count = |_| {
        outputs += 1;
        true
    };
    read_whole(log.as_ref(), "out", Start::Beginning, count).unwrap();
    assert_eq!(outputs, 1);
}

#[test]
fn the_page_shows_the_example_as_it_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = std::fs::read_to_string(root.join("docs/embedding.md")).unwrap();
    let example = std::fs::read_to_string(root.join("host/examples/embed.rs")).unwrap();
    let block = page.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    // `// …` stands for lines that are left out.
    let parts = block.split("// …\n").filter(|part| !part.is_empty()).collect::<Vec<_>>();
    assert!(parts.len() > 2, "{parts:?}");
    let others = parts.iter().filter(|part| !example.contains(**part)).collect::<Vec<_>>();
    assert!(others.is_empty(), "not in the example: {others:?}");
}
