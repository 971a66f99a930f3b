//! Message ids are exact within their window, whatever is written, merged, expired or cut off meanwhile.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use heddle::state::{EngineKind, tree_name};
use heddle_core::dedup::{MessageId, SEGMENTS_MAX};
use heddle_core::event::Timestamp;
use heddle_core::policy::Retry;
use heddle_core::state::{TaskState as _, Writes};
use heddle_fixtures::SetAtEnd;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::task_stores::harness::{Harness, NOW, Noted, PARTITION, WINDOW};

on_both_engines! {
    an_id_is_seen_within_its_window_wherever_it_is
    ids_are_remembered_as_a_map_would
    an_id_comes_again_after_its_window_in_one_transaction
    what_is_past_its_window_is_gone_from_disk
    what_waits_in_a_retry_topic_finds_its_id_when_it_comes
    there_are_never_many_segments
    a_merge_that_was_cut_off_leaves_nothing
    ids_are_found_while_segments_are_merged
    ids_of_a_topic_without_dedup_go
}

const WINDOW_MILLIS: i64 = WINDOW.as_millis() as i64;

fn ids(range: std::ops::Range<u32>, at: impl Fn(u32) -> i64) -> Vec<Noted> {
    // Hashed ids, so that segments interleave.
    range.map(|n| ("orders", Bytes::from(format!("{:08x}-{n}", n.wrapping_mul(0x9e37_79b9))), at(n))).collect()
}

/// The number of blocks in the tree, whether or not they belong to a segment.
fn blocks(harness: &Harness) -> usize {
    let tree = harness.engine.open(&tree_name("shop.intake", "shop.intake.dedup", PARTITION)).unwrap();
    tree.scan(Bound::Unbounded, b"b", usize::MAX).unwrap().len()
}

fn entries(harness: &Harness) -> usize {
    let tree = harness.engine.open(&tree_name("shop.intake", "shop.intake.dedup", PARTITION)).unwrap();
    tree.scan(Bound::Unbounded, b"", usize::MAX).unwrap().len()
}

fn an_id_is_seen_within_its_window_wherever_it_is(kind: EngineKind) {
    let mut harness = Harness::new(kind);
    let long = "long ".repeat(4_000);
    let longer = format!("{long}!");
    harness.note("orders", "a", 1_000);
    harness.note("orders", "", 1_000);
    harness.note("orders", &long, 1_000);
    for place in ["memtable", "frozen", "disk", "after a restart", "twice", "merged"] {
        match place {
            "frozen" => assert!(harness.stores.freeze()),
            "disk" => {
                let _ = harness.stores.write_frozen().unwrap();
            }
            "after a restart" => harness.restart(),
            "twice" => {
                harness.note("orders", "a", 500);
                harness.stores.flush().unwrap();
                for n in 0..6 {
                    harness.note("orders", &format!("other {n}"), 900);
                    harness.stores.flush().unwrap();
                }
            }
            "merged" => harness.maintain(),
            _ => {}
        }
        for id in ["a", "", &long] {
            assert!(harness.seen("orders", id, 1_000), "{place}: {id:.9}");
            assert!(harness.seen("orders", id, 999 + WINDOW_MILLIS), "{place}: {id:.9}");
            assert!(!harness.seen("orders", id, 1_000 + WINDOW_MILLIS), "{place}: {id:.9}");
            // The lookup time may be before the id's record: order does not depend on clocks.
            assert!(harness.seen("orders", id, -5), "{place}: {id:.9}");
            assert!(!harness.seen("payments", id, 1_000), "{place}: {id:.9}");
            assert!(!harness.seen("no dedup", id, 1_000), "{place}: {id:.9}");
        }
        assert!(!harness.seen("orders", "b", 1_000), "{place}");
        assert!(!harness.seen("orders", &longer, 1_000), "{place}");
    }
    assert_eq!(harness.stores.seen_status().segments, 1);
    assert_eq!(harness.stores.seen_status().ids, 9);
}

#[derive(Clone, Debug)]
enum Event {
    Note(Vec<(bool, u8, i64)>),
    Freeze,
    WriteFrozen,
    Flush,
    Maintain(usize),
    Reopen,
    Restart,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    // Timestamps around an advancing clock, some far away from it.
    let id = (any::<bool>(), any::<u8>(), prop_oneof![9 => -20_000..20_000_i64, 1 => -400_000..400_000_i64]);
    let event = prop_oneof![
        40 => vec(id, 0..6).prop_map(Event::Note),
        5 => Just(Event::Freeze),
        5 => Just(Event::WriteFrozen),
        20 => Just(Event::Flush),
        30 => (1..4_usize).prop_map(Event::Maintain),
        3 => Just(Event::Reopen),
        1 => Just(Event::Restart),
    ];
    vec(event, 1..250)
}

fn ids_are_remembered_as_a_map_would(kind: EngineKind) {
    let mut runner =
        TestRunner::new(Config { cases: 20, max_shrink_time: 60_000, failure_persistence: None, ..Config::default() });
    if let Err(error) = runner.run(&events(), |events| check(kind, events)) {
        panic!("{error}");
    }
}

/// An id that comes twice in one transaction, the second time after its window, advances the stream.
fn an_id_comes_again_after_its_window_in_one_transaction(kind: EngineKind) {
    let noted = vec![(false, 150, 7_468), (false, 150, 225_147), (false, 10, -15_229)];
    check(kind, vec![Event::Note(noted), Event::Flush, Event::Maintain(3)]).unwrap();
}

fn check(kind: EngineKind, events: Vec<Event>) -> Result<(), TestCaseError> {
    let mut harness = Harness::new(kind);
    // The latest timestamp of each id.
    let mut model = BTreeMap::<(&str, String), i64>::new();
    let topic = |first: bool| if first { "orders" } else { "payments" };
    for (clock, event) in (0_i64..).step_by(3_000).zip(events) {
        match event {
            Event::Note(ids) => {
                let ids = ids.into_iter().map(|(first, id, at)| (topic(first), id.to_string(), clock + at));
                let ids = ids.collect::<Vec<_>>();
                let noted = ids.iter().map(|(topic, id, at)| (*topic, Bytes::from(id.clone()), *at));
                let noted = noted.collect::<Vec<_>>();
                harness.commit(Writes::new(), &noted);
                // Within one transaction, the second message of an id is already a duplicate, unless its window is
                // over.
                let mut handled = BTreeMap::new();
                for (topic, id, at) in ids {
                    if handled.get(&(topic, id.clone())).is_none_or(|first| *first <= at - WINDOW_MILLIS) {
                        handled.insert((topic, id), at);
                    }
                }
                for ((topic, id), at) in handled {
                    model.entry((topic, id)).and_modify(|noted| *noted = at.max(*noted)).or_insert(at);
                }
            }
            Event::Freeze => {
                let _ = harness.stores.freeze();
            }
            Event::WriteFrozen => {
                let _ = harness.stores.write_frozen().unwrap();
            }
            Event::Flush => {
                let _ = harness.stores.flush().unwrap();
            }
            Event::Maintain(pieces) => {
                let _ = (0..pieces).all(|_| harness.stores.maintain().unwrap());
            }
            Event::Reopen => harness.reopen(),
            Event::Restart => harness.restart(),
        }
        for topic in ["orders", "payments"] {
            for id in (0..=255_u8).step_by(5).map(|id| id.to_string()) {
                let noted = model.get(&(topic, id.clone())).copied();
                for at in [clock - 100_000, clock, clock + 100_000] {
                    let within = noted.is_some_and(|noted| noted > at - WINDOW_MILLIS);
                    let seen = harness.seen(topic, &id, at);
                    // This includes ids past the window of something newer: the clock does not advance, so all were
                    // handled just now.
                    prop_assert_eq!(seen, within, "{} {} at {}: {:?}", topic, id, at, noted);
                }
            }
        }
    }
    Ok(())
}

fn what_is_past_its_window_is_gone_from_disk(kind: EngineKind) {
    let mut harness = Harness::new(kind);
    for part in 0..20_u32 {
        let noted = ids(part * 1_000..(part + 1) * 1_000, |n| i64::from(n) * 16);
        harness.commit(Writes::new(), &noted);
        harness.stores.flush().unwrap();
    }
    // 320 seconds of ids were written, and the window is half of that.
    let before = (entries(&harness), harness.stores.seen_status());
    harness.maintain();
    assert_eq!(harness.stores.seen_status().ids, 20_000, "they were handled just now");
    harness.pass(WINDOW);
    harness.maintain();
    let after = (entries(&harness), harness.stores.seen_status());
    assert_eq!(before.1.ids, 20_000);
    assert!((10_000..11_500).contains(&after.1.ids), "{after:?}");
    assert!(after.1.filter_bytes < 30_000 && after.1.segments < 40, "{after:?}");
    assert!(after.0 < before.0 * 2 / 3, "{before:?} {after:?}");
    // The last old ids are removed when newer ones come.
    harness.note("orders", "newest", 10_000_000);
    harness.stores.flush().unwrap();
    harness.pass(WINDOW);
    harness.maintain();
    assert_eq!(harness.stores.seen_status().ids, 1);
    assert_eq!((entries(&harness), blocks(&harness)), (4, 1), "watermark, segment, filter and block");
    harness.restart();
    assert!(harness.seen("orders", "newest", 10_000_000));
}

fn what_waits_in_a_retry_topic_finds_its_id_when_it_comes(kind: EngineKind) {
    let mut harness = Harness::new(kind);
    let delay = Duration::from_secs(100);
    harness.spec.policy.retries = vec![Retry { delay, topic: "later".into() }];
    harness.restart();
    harness.note("orders", "old", 1_000);
    harness.stores.flush().unwrap();
    // The window is 160 seconds: it is over in the stream, but not for a parked record of that time.
    for (newest, held) in [(200_000, true), (270_000, false)] {
        harness.note("orders", "newest", newest);
        harness.stores.flush().unwrap();
        harness.pass(WINDOW);
        harness.maintain();
        assert_eq!(harness.seen("orders", "old", 2_000), held, "{newest}");
    }
}

fn there_are_never_many_segments(kind: EngineKind) {
    let mut harness = Harness::new(kind);
    for part in 0..150_u32 {
        harness.commit(Writes::new(), &ids(part * 50..(part + 1) * 50, |_| 5_000));
        harness.stores.flush().unwrap();
        harness.maintain();
        let status = harness.stores.seen_status();
        assert!(status.segments <= SEGMENTS_MAX, "{status:?}");
        assert_eq!(status.ids, u64::from(part + 1) * 50);
    }
    // Ids that are written and read again add nothing.
    harness.commit(Writes::new(), &ids(0..7_500, |_| 5_000));
    harness.stores.flush().unwrap();
    for part in 0..8_u32 {
        harness.commit(Writes::new(), &ids(part * 900..part * 900 + 900, |_| 5_000));
        harness.stores.flush().unwrap();
    }
    harness.maintain();
    harness.note("orders", "of a later bucket", 100_000);
    harness.stores.flush().unwrap();
    harness.maintain();
    let status = harness.stores.seen_status();
    assert!(status.ids < 7_501 * 2 && status.segments <= 4, "{status:?}");
    for (_, id, at) in ids(0..7_500, |_| 5_000) {
        assert!(harness.stores.seen(&"orders".into(), &MessageId(id), Timestamp(at)).unwrap());
    }
}

fn a_merge_that_was_cut_off_leaves_nothing(kind: EngineKind) {
    let mut harness = Harness::new(kind);
    let fill = |harness: &mut Harness| {
        for part in 0..4_u32 {
            harness.commit(Writes::new(), &ids(part * 30_000..(part + 1) * 30_000, |_| 5_000));
            harness.stores.flush().unwrap();
        }
    };
    fill(&mut harness);
    let written = blocks(&harness);
    assert!(written > 512, "{written} blocks are too few to be cut off");
    // The merge has begun, and the first piece is written.
    assert!(harness.stores.maintain().unwrap() && harness.stores.maintain().unwrap());
    assert!(blocks(&harness) > written);
    assert_eq!(harness.stores.seen_status().segments, 4);
    harness.restart();
    assert_eq!(harness.stores.seen_status().segments, 4);
    harness.maintain();
    let status = harness.stores.seen_status();
    assert_eq!((status.segments, status.ids), (1, 120_000));
    assert!(blocks(&harness) <= written, "{written}, {}", blocks(&harness));
    for (_, id, at) in ids(0..120_000, |_| 5_000).into_iter().step_by(7) {
        assert!(harness.stores.seen(&"orders".into(), &MessageId(id), Timestamp(at)).unwrap());
    }
    // About 10 bits an id.
    assert!(status.filter_bytes < 120_000 * 10 / 8, "{status:?}");
    // The state is wiped in the middle of a merge.
    fill(&mut harness);
    assert!(harness.stores.maintain().unwrap() && harness.stores.maintain().unwrap());
    harness.stores.wipe(&"shop.intake.dedup".into()).unwrap();
    harness.maintain();
    assert_eq!(entries(&harness), 0);
}

fn ids_are_found_while_segments_are_merged(kind: EngineKind) {
    let mut harness = Harness::new(kind);
    let done = AtomicBool::new(false);
    let known = ids(0..20_000, |_| 5_000);
    for part in known.chunks(1_000) {
        harness.commit(Writes::new(), part);
        harness.stores.flush().unwrap();
    }
    let stores = harness.stores.clone();
    std::thread::scope(|scope| {
        let merging = SetAtEnd(&done);
        let lookups = scope.spawn(|| {
            let mut count = 0;
            while !done.load(Ordering::Relaxed) {
                for (_, id, at) in known.iter().step_by(97) {
                    assert!(stores.seen(&"orders".into(), &MessageId(id.clone()), Timestamp(*at)).unwrap());
                    count += 1;
                }
            }
            count
        });
        for round in 0..10_u32 {
            let from = 20_000 + round * 4_000;
            for part in 0..4 {
                harness.commit(Writes::new(), &ids(from + part * 1_000..from + (part + 1) * 1_000, |_| 5_000));
                harness.stores.flush().unwrap();
            }
            harness.maintain();
        }
        drop(merging);
        assert!(lookups.join().unwrap() > 0);
    });
    harness.maintain();
    assert_eq!(harness.stores.seen_status().ids, 60_000);
}

fn ids_of_a_topic_without_dedup_go(kind: EngineKind) {
    let mut harness = Harness::new(kind);
    harness.note("orders", "a", 1_000);
    harness.note("payments", "a", 1_000);
    harness.stores.flush().unwrap();
    harness.spec.windows.remove("payments");
    harness.reopen();
    assert!(harness.seen("orders", "a", 1_000) && !harness.seen("payments", "a", 1_000));
    harness.maintain();
    assert_eq!(harness.stores.seen_status().ids, 1);
    // The ids are still in the changelog, and are restored.
    harness.stores.wipe(&"shop.intake.dedup".into()).unwrap();
    harness.restore();
    harness.stores.flush().unwrap();
    assert_eq!(harness.stores.seen_status().ids, 1);
    assert_eq!(blocks(&harness), 1);
}

#[test]
fn a_topic_read_from_its_beginning_is_remembered_as_well() {
    let mut harness = Harness::new(EngineKind::Sled);
    harness.note("orders", "today", 900_000_000);
    harness.stores.flush().unwrap();
    harness.maintain();
    // The group was reset, so the records now are far older than those before.
    for n in 0..10 {
        harness.note("orders", &format!("old {n}"), 1_000 * n);
        harness.stores.flush().unwrap();
        harness.maintain();
    }
    assert!(harness.seen("orders", "old 0", 9_000));
    assert!(harness.seen("orders", "today", 900_000_000));
    harness.reopen();
    harness.maintain();
    assert!(harness.seen("orders", "old 0", 9_000));
}

#[test]
fn a_record_from_the_future_does_not_make_the_rest_look_old() {
    let mut harness = Harness::new(EngineKind::Sled);
    harness.note("orders", "now", NOW.0);
    harness.note("orders", "mad", NOW.0 * 1_000);
    harness.stores.flush().unwrap();
    harness.maintain();
    assert!(harness.seen("orders", "now", NOW.0));
    assert!(harness.seen("orders", "mad", NOW.0));
    // The ids do not stay for a thousand years either.
    harness.bounds.now = || Timestamp(NOW.0 + 3 * WINDOW_MILLIS);
    harness.reopen();
    harness.note("orders", "later", NOW.0 + 3 * WINDOW_MILLIS);
    harness.stores.flush().unwrap();
    harness.maintain();
    assert!(harness.seen("orders", "later", NOW.0 + 3 * WINDOW_MILLIS));
    assert_eq!(harness.stores.seen_status().ids, 1);
}

#[test]
fn another_window_takes_effect_at_once() {
    let mut harness = Harness::new(EngineKind::Sled);
    for n in 0..100 {
        harness.note("orders", &n.to_string(), n * 1_600);
        harness.stores.flush().unwrap();
    }
    harness.maintain();
    harness.spec.windows.insert("orders".into(), WINDOW / 2);
    harness.reopen();
    assert!(!harness.seen("orders", "50", 80_000 + WINDOW_MILLIS / 2));
    assert!(harness.seen("orders", "50", 79_999 + WINDOW_MILLIS / 2));
    for n in 100..200 {
        harness.note("orders", &n.to_string(), n * 1_600);
        harness.stores.flush().unwrap();
        harness.maintain();
    }
    harness.pass(WINDOW);
    harness.maintain();
    assert!(harness.seen("orders", "199", 199 * 1_600) && harness.seen("orders", "160", 199 * 1_600));
    let status = harness.stores.seen_status();
    assert!(status.ids < 60 && status.segments < 40, "{status:?}");
}
