//! Late messages, whose timestamps are older than the window when they are handled. Two copies within seconds are still
//! one event.

use std::time::Duration;

use bytes::Bytes;
use heddle::state::EngineKind;
use heddle_core::dedup::{LINGER_MILLIS_MAX, SEGMENTS_MAX};
use heddle_core::state::Writes;

use crate::task_stores::harness::{Harness, NOW, Noted, WINDOW};

on_both_engines! {
    a_late_duplicate_is_seen_beside_a_live_stream
    late_ids_go_once_they_have_lingered
    late_ids_are_bounded_in_number
    a_bound_of_none_forgets_late_ids_at_once
    a_long_backfill_makes_few_segments
}

const WINDOW_MILLIS: i64 = WINDOW.as_millis() as i64;
const DAY_MILLIS: i64 = 24 * 3_600 * 1_000;
/// The time for which the host keeps a late id: the whole of these tests' short window.
const LINGER: Duration = WINDOW;

/// A live stream with a backfill of the last 400 days mixed in.
fn mixed(number: i64) -> Vec<Noted> {
    let live = ("orders", Bytes::from(format!("live {number}")), NOW.0 + number);
    let old = ("orders", Bytes::from(format!("old {number}")), NOW.0 - (400 - number) * DAY_MILLIS);
    vec![live, old]
}

fn flush(harness: &Harness) {
    harness.stores.flush().unwrap();
    harness.maintain();
}

fn a_late_duplicate_is_seen_beside_a_live_stream(kind: EngineKind) {
    let mut harness = Harness::new(kind);
    for number in 0..100 {
        harness.commit(Writes::new(), &mixed(number));
        flush(&harness);
        for earlier in (0..=number).rev().take(20) {
            for (topic, id, at) in mixed(earlier) {
                let id = String::from_utf8(id.to_vec()).unwrap();
                assert!(harness.seen(topic, &id, at), "{id} after {number}");
                assert!(harness.seen(topic, &id, at + WINDOW_MILLIS - 1), "{id} after {number}");
                assert!(!harness.seen(topic, &id, at + WINDOW_MILLIS), "{id} after {number}");
            }
        }
        if number == 50 {
            harness.restart();
        }
    }
    // Another host restores the changelog and knows the ids, too.
    harness.stores.wipe(&"shop.intake.dedup".into()).unwrap();
    harness.restore();
    flush(&harness);
    assert!((0..100).all(|number| harness.seen(
        "orders",
        &format!("old {number}"),
        NOW.0 - (400 - number) * DAY_MILLIS
    )));
}

fn late_ids_go_once_they_have_lingered(kind: EngineKind) {
    let mut harness = Harness::new(kind);
    harness.commit(Writes::new(), &mixed(0));
    flush(&harness);
    harness.pass(LINGER - Duration::from_millis(1));
    harness.commit(Writes::new(), &mixed(1));
    flush(&harness);
    assert!(harness.seen("orders", "old 0", NOW.0 - 400 * DAY_MILLIS));
    harness.pass(Duration::from_millis(1));
    harness.maintain();
    assert!(!harness.seen("orders", "old 0", NOW.0 - 400 * DAY_MILLIS));
    assert!(harness.seen("orders", "old 1", NOW.0 - 399 * DAY_MILLIS));
    // Ids within their window in the stream are kept, whatever the host's clock says.
    assert!(harness.seen("orders", "live 0", NOW.0));
    harness.pass(Duration::from_millis(LINGER_MILLIS_MAX.unsigned_abs()));
    harness.maintain();
    assert_eq!(harness.stores.seen_status().ids, 2);
    assert!(harness.seen("orders", "live 1", NOW.0 + 1));
}

fn late_ids_are_bounded_in_number(kind: EngineKind) {
    let mut harness = Harness::new(kind);
    harness.bounds.late_ids_max = 1_000;
    harness.reopen();
    let old = |number: i64| ("orders", Bytes::from(format!("old {number}")), NOW.0 - (40_000 - number) * DAY_MILLIS);
    for part in 0..40 {
        let mut noted = (part * 100..part * 100 + 100).map(old).collect::<Vec<_>>();
        noted.push(("orders", Bytes::from(format!("live {part}")), NOW.0 + part));
        harness.commit(Writes::new(), &noted);
        flush(&harness);
        harness.pass(Duration::from_secs(3));
        let status = harness.stores.seen_status();
        assert!(status.ids <= 1_000 + 600 + 40, "{status:?}");
    }
    for (topic, id, at) in (3_500..4_000).map(old) {
        assert!(harness.seen(topic, std::str::from_utf8(&id).unwrap(), at), "the newest stay: {id:?}");
    }
    assert!((0..40).all(|part| harness.seen("orders", &format!("live {part}"), NOW.0 + part)));
}

/// Without room for late ids they are dropped with the stream, as fast as the disk is cleaned up.
fn a_bound_of_none_forgets_late_ids_at_once(kind: EngineKind) {
    let mut harness = Harness::new(kind);
    harness.bounds.late_ids_max = 0;
    harness.reopen();
    harness.commit(Writes::new(), &mixed(0));
    flush(&harness);
    assert!(harness.seen("orders", "live 0", NOW.0) && !harness.seen("orders", "old 0", NOW.0 - 400 * DAY_MILLIS));
}

/// Each record is of another day, and so of another window: the ids of every write are past their window after the
/// next.
fn a_long_backfill_makes_few_segments(kind: EngineKind) {
    let mut harness = Harness::new(kind);
    let old = |number: i64| ("orders", Bytes::from(format!("old {number}")), number * DAY_MILLIS);
    let mut most = 0;
    for part in 0..100 {
        harness.commit(Writes::new(), &(part * 20..part * 20 + 20).map(old).collect::<Vec<_>>());
        flush(&harness);
        harness.pass(Duration::from_secs(1));
        most = most.max(harness.stores.seen_status().segments);
        let (topic, id, at) = old(part * 20);
        assert!(harness.seen(topic, std::str::from_utf8(&id).unwrap(), at), "{id:?}");
    }
    assert!(most <= 11 * SEGMENTS_MAX, "{most} segments");
    harness.pass(LINGER);
    harness.note("orders", "newest", 2_000 * DAY_MILLIS);
    flush(&harness);
    assert_eq!(harness.stores.seen_status().ids, 1);
}
