//! Random commits, writes and crashes, compared with maps.

use heddle_fixtures::scaled;
use std::collections::BTreeMap;

use bytes::Bytes;
use heddle::state::EngineKind;
use heddle_core::state::{Range, StoreIndex, TaskState as _, Writes};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::task_stores::harness::Harness;

on_both_engines! { stores_hold_what_was_committed_whatever_happens }

#[derive(Clone, Debug)]
enum Event {
    Commit(BTreeMap<(usize, Vec<u8>), Option<Vec<u8>>>),
    /// The log has the transaction, but the process ends before it learns that.
    Vanish(BTreeMap<(usize, Vec<u8>), Option<Vec<u8>>>),
    Freeze,
    WriteFrozen,
    Flush,
    Reopen,
    Restart,
    Scan(usize, Vec<u8>, Option<Vec<u8>>, usize),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let key = || vec(0..4_u8, 0..4);
    let place = (0..2_usize, key());
    let commit = btree_map(place, proptest::option::of(vec(any::<u8>(), 0..5)), 0..8).boxed();
    let event = prop_oneof![
        50 => commit.clone().prop_map(Event::Commit),
        2 => commit.prop_map(Event::Vanish),
        10 => Just(Event::Freeze),
        10 => Just(Event::WriteFrozen),
        5 => Just(Event::Flush),
        4 => Just(Event::Reopen),
        1 => Just(Event::Restart),
        30 => (0..2_usize, vec(0..4_u8, 0..3), proptest::option::of(key()), 0..40_usize)
            .prop_map(|(store, prefix, after, limit)| Event::Scan(store, prefix, after, limit)),
    ];
    vec(event, 1..200)
}

fn stores_hold_what_was_committed_whatever_happens(kind: EngineKind) {
    let mut runner = TestRunner::new(Config {
        cases: u32::try_from(scaled(10, 25)).unwrap(),
        max_shrink_time: 60_000,
        failure_persistence: None,
        ..Config::default()
    });
    if let Err(error) = runner.run(&events(), |events| check(kind, events)) {
        panic!("{error}");
    }
}

fn check(kind: EngineKind, events: Vec<Event>) -> Result<(), TestCaseError> {
    let mut harness = Harness::new(kind);
    let mut model = [BTreeMap::<Vec<u8>, Vec<u8>>::new(), BTreeMap::new()];
    let note = |model: &mut [BTreeMap<Vec<u8>, Vec<u8>>; 2], changes: &BTreeMap<(usize, Vec<u8>), Option<Vec<u8>>>| {
        for ((store, key), value) in changes {
            match value {
                Some(value) => drop(model[*store].insert(key.clone(), value.clone())),
                None => drop(model[*store].remove(key)),
            }
        }
    };
    let writes = |changes: &BTreeMap<(usize, Vec<u8>), Option<Vec<u8>>>| -> Writes {
        let copy = |bytes: &Vec<u8>| Bytes::copy_from_slice(bytes);
        changes
            .iter()
            .map(|((store, key), value)| ((StoreIndex(*store), copy(key)), value.as_ref().map(copy)))
            .collect()
    };
    for event in events {
        match event {
            Event::Commit(changes) => {
                harness.commit(writes(&changes), &[]);
                note(&mut model, &changes);
            }
            Event::Vanish(changes) => {
                drop(harness.commit_to_log(writes(&changes), &[]));
                note(&mut model, &changes);
                harness.reopen();
            }
            Event::Freeze => {
                let _ = harness.stores.freeze();
            }
            Event::WriteFrozen => {
                let _ = harness.stores.write_frozen().unwrap();
            }
            Event::Flush => {
                harness.stores.flush().unwrap();
                prop_assert_eq!(harness.stores.pending_bytes(), 0);
            }
            Event::Reopen => harness.reopen(),
            Event::Restart => harness.restart(),
            Event::Scan(store, prefix, after, limit) => {
                let range = Range { prefix: &prefix, after: after.as_deref() };
                let found = harness.stores.scan(StoreIndex(store), &range, limit).unwrap();
                let found = found.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect::<Vec<_>>();
                let expected = model[store].iter().filter(|(key, _)| range.contains(key)).take(limit);
                let expected = expected.map(|(key, value)| (key.clone(), value.clone())).collect::<Vec<_>>();
                prop_assert_eq!(found, expected);
            }
        }
        harness.check_trees();
        for (store, model) in model.iter().enumerate() {
            for key in [&b""[..], b"\0", b"\x01\x02", b"\x03\x03\x03"] {
                let value = harness.stores.get(StoreIndex(store), key).unwrap();
                prop_assert_eq!(value.as_deref(), model.get(key).map(|value| &value[..]));
            }
        }
    }
    Ok(())
}
