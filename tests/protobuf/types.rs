//! Several messages on one topic, distinguished by their indexes.

use heddle_contract::wire::{SchemaId, prefix};
use heddle_core::event::NewRecord;
use serde_json::{Value, json};

use crate::support::shop::Shop;

const TOPICS: [&str; 2] = ["kinds.proto.in", "kinds.proto.out"];

fn produced(shop: &Shop, lines: &[Value]) -> Result<String, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    shop.run(&["produce", TOPICS[0], "--file", file.path().to_str().unwrap()])
}

/// A record from another client.
fn foreign(id: u32, payload: &[u8]) -> NewRecord {
    let value = Some([&prefix(SchemaId(id))[..], payload].concat().into());
    NewRecord { topic: TOPICS[0].into(), partition: None, timestamp: None, key: None, value, headers: vec![] }
}

#[test]
fn messages_of_one_file_are_distinguished_by_their_indexes() {
    let shop = Shop::of_sources("kinds-protobuf", TOPICS);
    let (placed, paid) = (json!({"kinds.v1.Placed": {"id": "a"}}), json!({"kinds.v1.Paid": {"id": "b", "cents": "7"}}));
    produced(&shop, &[placed, paid]).unwrap();
    let refused = produced(&shop, &[json!({"id": "c"})]).unwrap_err();
    assert!(refused.contains("it is an object with one key, one of `kinds.v1.Placed`, `kinds.v1.Paid`"), "{refused}");
    let value = shop.records(TOPICS[0])[1].value.clone().unwrap();
    assert_eq!(value[5..], [2, 4, 10, 1, b'b', 16, 7]);
    let id = u32::from_be_bytes(value[1..5].try_into().unwrap());
    // A message that the component does not name, one that no file has, and one that is broken.
    shop.append(&[
        foreign(id, &[0, 10, 1, b'x']),
        foreign(id, &[2, 18]),
        foreign(id, &[2, 4, 10, 9]),
        foreign(id, &[2, 2, 10, 1, b'd']),
    ]);
    let counts = shop.until_idle();
    assert_eq!(["in", "out", "failed"].map(|name| counts[name].as_u64().unwrap()), [6, 3, 1], "{counts}");
    let values = shop.values(TOPICS[1]);
    assert_eq!(values, [json!({"id": "a"}), json!({"id": "b", "cents": "7"}), json!({"id": "d"})]);
    let written = shop.records(TOPICS[1]).into_iter().map(|record| record.value.unwrap()[5..].to_vec());
    assert_eq!(written.collect::<Vec<_>>()[..2], [vec![2, 2, 10, 1, b'a'], vec![2, 4, 10, 1, b'b', 16, 7]]);
    // The same message again is a duplicate, whichever of the types it is.
    produced(&shop, &[json!({"kinds.v1.Paid": {"id": "b", "cents": "7"}})]).unwrap();
    assert_eq!(shop.until_idle()["duplicates"], 1);
}
