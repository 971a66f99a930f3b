//! Stores: layers, watermarks, restoring.

use bytes::Bytes;
use heddle::state::{EngineKind, Watermark, tree_name};
use heddle_core::event::{Offset, Partition, Record, Timestamp, Topic, TopicPartition};
use heddle_core::explain::to_text;
use heddle_core::state::{StoreIndex, Writes};

use crate::task_stores::harness::{Harness, PARTITION, STOCK, SUMS, changelogs, spec, writes};

on_both_engines! {
    reads_go_down_the_layers
    scans_see_through_many_deletes
    scans_merge_layers_of_different_density
    unwritten_entries_come_from_the_changelog
    a_commit_without_a_place_in_the_changelog_does_not_move_the_watermark
    hot_keys_are_written_once
    a_copy_that_is_wiped_is_restored_from_the_beginning
    a_copy_of_unknown_origin_is_rebuilt
}

fn reads_go_down_the_layers(kind: EngineKind) {
    let mut harness = Harness::new(kind);
    let entries = [("a", Some("1")), ("b", Some("1")), ("c", Some("1")), ("d", Some("1"))];
    harness.commit(writes(STOCK, &entries), &[]);
    harness.put(SUMS, "a", "other");
    harness.stores.flush().unwrap();
    harness.commit(writes(STOCK, &[("b", Some("2")), ("c", None), ("", Some("empty"))]), &[]);
    assert!(harness.stores.freeze());
    assert!(!harness.stores.freeze(), "one is being written");
    harness.commit(writes(STOCK, &[("d", None), ("e", Some("3"))]), &[]);
    // The results are the same in three layers, in two, and in one.
    for round in 0..3 {
        let get = |key| harness.get(STOCK, key);
        assert_eq!(get("a").as_deref(), Some("1"), "{round}");
        assert_eq!(get("b").as_deref(), Some("2"), "{round}");
        assert_eq!(get("").as_deref(), Some("empty"), "{round}");
        assert_eq!((get("c"), get("d"), get("f")), (None, None, None), "{round}");
        assert_eq!(harness.scan(STOCK, "", None, 10), "=empty a=1 b=2 e=3", "{round}");
        assert_eq!(harness.scan(STOCK, "", Some("a"), 1), "b=2", "{round}");
        assert_eq!(harness.scan(STOCK, "e", None, 9), "e=3", "{round}");
        assert_eq!(harness.scan(SUMS, "", None, 9), "a=other", "{round}");
        assert_eq!(harness.scan(StoreIndex(2), "", None, 9), "", "{round}");
        if round == 0 {
            harness.stores.write_frozen().unwrap();
        } else {
            harness.stores.flush().unwrap();
        }
        harness.check_trees();
    }
    assert_eq!(harness.stores.pending_bytes(), 0);
}

fn scans_see_through_many_deletes(kind: EngineKind) {
    let mut harness = Harness::new(kind);
    let keys = (0..10_000).map(|n| format!("{n:05}")).collect::<Vec<_>>();
    harness.commit(writes(STOCK, &keys.iter().map(|key| (&**key, Some("x"))).collect::<Vec<_>>()), &[]);
    harness.stores.flush().unwrap();
    let gone = keys[10..9_990].iter().map(|key| (&**key, None)).collect::<Vec<_>>();
    harness.commit(writes(STOCK, &gone[..6_000]), &[]);
    harness.stores.freeze();
    harness.commit(writes(STOCK, &gone[6_000..]), &[]);
    assert_eq!(harness.scan(STOCK, "", Some("00008"), 2), "00009=x 09990=x");
    assert_eq!(harness.scan(STOCK, "", None, usize::MAX).split(' ').count(), 20);
    assert_eq!(harness.scan(STOCK, "05", None, 5), "");
}

fn scans_merge_layers_of_different_density(kind: EngineKind) {
    let mut harness = Harness::new(kind);
    let keys = (0..1_000).map(|n| format!("{n:03}")).collect::<Vec<_>>();
    let every = |step, value| keys.iter().step_by(step).map(|key| (&**key, value)).collect::<Vec<_>>();
    harness.commit(writes(STOCK, &every(1, Some("disk"))), &[]);
    harness.stores.flush().unwrap();
    harness.commit(writes(STOCK, &every(10, Some("frozen"))), &[]);
    harness.stores.freeze();
    harness.commit(writes(STOCK, &every(3, None)), &[]);
    let value = |n| if n % 10 == 0 { "frozen" } else { "disk" };
    let expected = (0..1_000).filter(|n| n % 3 != 0).map(|n| format!("{n:03}={}", value(n))).collect::<Vec<_>>();
    for limit in [1, 31, 40, 100, 1_000] {
        assert_eq!(harness.scan(STOCK, "", None, limit), expected[..limit.min(expected.len())].join(" "), "{limit}");
        assert_eq!(harness.scan(STOCK, "5", Some("550"), limit), expected[367..][..limit.min(33)].join(" "), "{limit}");
    }
}

fn unwritten_entries_come_from_the_changelog(kind: EngineKind) {
    let mut harness = Harness::new(kind);
    harness.put(STOCK, "a", "1");
    harness.stores.flush().unwrap();
    harness.commit(writes(STOCK, &[("a", None), ("b", Some("2"))]), &[("orders", Bytes::from("id"), 5)]);
    harness.stores.freeze();
    harness.put(STOCK, "c", "3");
    harness.restart();
    assert_eq!(harness.on_disk(STOCK).into_keys().collect::<Vec<_>>(), ["a"], "something was written on the way out");
    assert_eq!(harness.scan(STOCK, "", None, 9), "b=2 c=3");
    assert!(harness.seen("orders", "id", 5));
    harness.stores.flush().unwrap();
    harness.restart();
    let watermarks = harness.stores.watermarks();
    let offsets = watermarks.iter().map(|(_, watermark)| watermark.as_ref().unwrap().offset);
    assert_eq!(offsets.collect::<Vec<_>>(), changelogs().iter().map(|topic| harness.end(topic)).collect::<Vec<_>>());
    assert!(watermarks.iter().all(|(_, watermark)| watermark.as_ref().unwrap().topic_id.as_deref() == Some("id-1")));
    assert_eq!(harness.scan(STOCK, "", None, 9), "b=2 c=3");
}

fn a_commit_without_a_place_in_the_changelog_does_not_move_the_watermark(kind: EngineKind) {
    let mut harness = Harness::new(kind);
    harness.put(STOCK, "a", "1");
    harness.stores.flush().unwrap();
    let before = harness.watermark_on_disk("shop.intake.stock");
    // The records are in the changelogs, but their offsets are not reported.
    drop(harness.commit_to_log(writes(STOCK, &[("a", Some("2"))]), &[("orders", Bytes::from("id"), 5)]));
    let batch = crate::task_stores::harness::open_batch(
        writes(STOCK, &[("a", Some("2"))]),
        &[("orders", Bytes::from("id"), 5)],
    );
    harness.stores.commit(&mut batch.seal().confirmed([].into()));
    harness.put(SUMS, "s", "1");
    harness.stores.flush().unwrap();
    assert_eq!(harness.get(STOCK, "a").as_deref(), Some("2"));
    assert!(harness.seen("orders", "id", 5));
    assert_eq!(harness.watermark_on_disk("shop.intake.stock"), before);
    assert_eq!(harness.watermark_on_disk("shop.intake.sums"), Some(1), "another changelog had to wait");
    harness.check_trees();
    assert_eq!(harness.stores.seen_status().ids, 0);
    // Later records cover the gap.
    harness.put(STOCK, "b", "1");
    harness.note("orders", "next", 6);
    harness.stores.flush().unwrap();
    assert!(harness.watermark_on_disk("shop.intake.stock") > before);
    assert_eq!(harness.stores.seen_status().ids, 2);
    assert_eq!(harness.stores.pending_bytes(), 0);
    harness.check_trees();
}

fn hot_keys_are_written_once(kind: EngineKind) {
    let mut harness = Harness::new(kind);
    for round in 0..1_000 {
        let value = format!("{round:0100}");
        let entries = ["a", "b", "c"].map(|key| (key, Some(&*value)));
        harness.commit(writes(STOCK, &entries), &[]);
    }
    assert!(harness.stores.pending_bytes() < 2_000, "{}", harness.stores.pending_bytes());
    assert!(harness.stores.flush().unwrap() < 1_000);
}

fn a_copy_that_is_wiped_is_restored_from_the_beginning(kind: EngineKind) {
    let mut harness = Harness::new(kind);
    harness.commit(writes(STOCK, &[("old", Some("1"))]), &[("orders", Bytes::from("old"), 5)]);
    harness.put(SUMS, "kept", "1");
    harness.stores.flush().unwrap();
    harness.commit(writes(STOCK, &[("newer", Some("1"))]), &[("orders", Bytes::from("newer"), 5)]);
    // Neither frozen nor unfrozen changes may stay.
    harness.stores.freeze();
    harness.put(STOCK, "newest", "1");
    // The topics were deleted and created again.
    let gone = ["shop.intake.stock", "shop.intake.dedup"].map(Topic::from);
    for changelog in &gone {
        harness.log.insert(changelog.clone(), vec![]);
        harness.stores.wipe(changelog).unwrap();
    }
    harness.topic_id = Some("id-2".to_owned());
    let known = harness.stores.watermarks().into_iter().map(|(_, watermark)| watermark.is_some());
    assert_eq!(known.collect::<Vec<_>>(), [false, true, false]);
    harness.stores.flush().unwrap();
    assert_eq!(harness.scan(STOCK, "", None, 9), "");
    assert_eq!(harness.get(SUMS, "kept").as_deref(), Some("1"));
    assert!(!harness.seen("orders", "old", 5) && !harness.seen("orders", "newer", 5));
    harness.restart();
    assert_eq!(harness.scan(STOCK, "", None, 9), "");
    harness.commit(writes(STOCK, &[("new", Some("1"))]), &[("orders", Bytes::from("new"), 5)]);
    harness.stores.flush().unwrap();
    harness.restart();
    assert_eq!(harness.scan(STOCK, "", None, 9), "new=1");
    assert!(harness.seen("orders", "new", 5) && !harness.seen("orders", "old", 5));
    let watermark = harness.stores.watermarks()[0].1.clone().unwrap();
    assert_eq!(watermark, Watermark { topic_id: Some("id-2".to_owned()), offset: Offset(2) });
}

fn a_copy_of_unknown_origin_is_rebuilt(kind: EngineKind) {
    for stored in [None, Some("no JSON"), Some(r#"{"layout":2,"topic_id":null,"offset":7}"#)] {
        let mut harness = Harness::new(kind);
        harness.put(STOCK, "a", "1");
        harness.stores.flush().unwrap();
        let tree = harness.engine.open(&tree_name("shop.intake", "shop.intake.stock", PARTITION)).unwrap();
        // As a cut-off wipe leaves it, or another version of Heddle.
        tree.apply(vec![
            (Bytes::from_static(b"\0watermark"), stored.map(Bytes::from)),
            (Bytes::from_static(b"\x01stale"), Some(Bytes::from("x"))),
        ])
        .unwrap();
        drop(tree);
        harness.restart();
        assert_eq!(harness.scan(STOCK, "", None, 9), "a=1", "{stored:?}");
    }
}

#[test]
fn foreign_records_are_named() {
    let harness = Harness::new(EngineKind::Sled);
    let record = |topic: &str, partition, key: Option<&'static [u8]>, value: Option<&'static [u8]>| Record {
        source: TopicPartition { topic: topic.into(), partition },
        offset: Offset(17),
        timestamp: Timestamp(0),
        key: key.map(Bytes::from_static),
        value: value.map(Bytes::from_static),
        headers: vec![],
    };
    let records = [
        record("shop.intake.stock", PARTITION, None, Some(b"v")),
        record("shop.intake.stock", Partition(1), Some(b"k"), Some(b"v")),
        record("orders", PARTITION, Some(b"k"), Some(b"v")),
        record("shop.intake.dedup", PARTITION, Some(b"orders"), None),
        record("shop.intake.dedup", PARTITION, Some(b"\xff"), Some(b"v")),
        record("shop.intake.dedup", PARTITION, Some(b"orders"), Some(b"\x01\x01")),
    ];
    let told = records.map(|record| to_text(&harness.stores.replay(&record).unwrap_err()));
    insta::assert_snapshot!(told.join("\n\n"), @r"
    a changelog holds a record that is not Heddle's, and state is not restored past it: it has no key
      at: shop.intake.stock/3@17
      hint: find out what else writes to this topic, and stop it

    a changelog holds a record that is not Heddle's, and state is not restored past it: it is of another partition than the task
      at: shop.intake.stock/1@17
      hint: find out what else writes to this topic, and stop it

    a changelog holds a record that is not Heddle's, and state is not restored past it: the topic is not a changelog of the task
      at: orders/3@17
      hint: find out what else writes to this topic, and stop it

    a changelog holds a record that is not Heddle's, and state is not restored past it: it has no value
      at: shop.intake.dedup/3@17
      hint: find out what else writes to this topic, and stop it

    a changelog holds a record that is not Heddle's, and state is not restored past it: its key is not the name of a topic
      at: shop.intake.dedup/3@17
      hint: find out what else writes to this topic, and stop it

    a changelog holds a record that is not Heddle's, and state is not restored past it: not a segment of message ids: it ends early
      at: shop.intake.dedup/3@17
      hint: find out what else writes to this topic, and stop it
    ");
    assert_eq!(harness.stores.pending_bytes(), 0);
    assert_eq!(harness.scan(STOCK, "", None, 9), "");
}

#[test]
fn a_task_takes_only_its_own_partition() {
    let mut harness = Harness::new(EngineKind::Sled);
    let mut batch = harness.commit_to_log(writes(STOCK, &[("a", Some("1"))]), &[("orders", Bytes::from("id"), 5)]);
    let other =
        heddle::state::TaskStores::open(&*harness.engine, &spec(), Partition(4), crate::task_stores::harness::bounds());
    let other = other.unwrap();
    other.commit(&mut batch);
    assert_eq!(other.pending_bytes(), 0);
    other.commit(&mut crate::task_stores::harness::open_batch(Writes::new(), &[]).seal().confirmed([].into()));
    assert!(!other.freeze());
}
