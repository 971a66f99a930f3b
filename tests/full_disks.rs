//! Disks that are full and have room again, as far as no disk has to be filled for it: how full it is, is made up.
//! `machine` and `clusters` fill a real one with whole hosts, where this user may mount one.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use heddle::disk::Disks;
use heddle::log::embedded::{EmbeddedLog, EmbeddedOptions};
use heddle::log::{Groups as _, Log, LogError, LogHealth, MemberOptions, Polled, Start, TopicSpec};
use heddle::state::{EngineKind, StateError, open_engine_on};
use heddle_core::event::NewRecord;

const PLENTY: u64 = 1 << 40;

/// Disks, and how many bytes they have free.
fn disks() -> (Disks, Arc<AtomicU64>) {
    let free = Arc::new(AtomicU64::new(PLENTY));
    let told = free.clone();
    (Disks::with_free(move |_: &Path| Some(told.load(Ordering::Relaxed))), free)
}

fn record(topic: &str, value: &'static str) -> NewRecord {
    NewRecord {
        topic: topic.into(),
        partition: None,
        timestamp: None,
        key: None,
        value: Some(Bytes::from(value)),
        headers: vec![],
    }
}

fn is_full<T: std::fmt::Debug>(outcome: Result<T, LogError>) {
    match outcome {
        Err(LogError::Hindered(why)) => {
            let advice = why.remedy.clone().unwrap_or_default();
            assert!(why.what.contains("the disk is full") && advice.contains("make room"), "{why:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_embedded_log_refuses_writes_while_its_disk_is_full() {
    let (folder, (disks, free)) = (tempfile::tempdir().unwrap(), disks());
    let log = EmbeddedLog::open(folder.path(), EmbeddedOptions { disks, ..EmbeddedOptions::default() }).unwrap();
    let topic =
        |name: &str| TopicSpec { name: name.into(), partitions: 1, replication: None, options: Default::default() };
    log.create_topic(&topic("in")).unwrap();
    log.append(&[record("in", "before")]).unwrap();
    let options = MemberOptions {
        group: "group".into(),
        topics: vec!["in".into()],
        transactional_id: "id".into(),
        instance_id: None,
        start: Start::Beginning,
        starts: Default::default(),
        transaction_time: heddle::runtime::TRANSACTION_TIME,
        batch_records_max: 10,
    };
    let mut member = log.join(&options).unwrap();
    let Polled::Assigned(assigned) = member.poll(std::time::Duration::from_secs(10)).unwrap() else { panic!() };
    free.store(0, Ordering::Relaxed);
    is_full(log.append(&[record("in", "meanwhile")]));
    is_full(log.create_topic(&topic("more")));
    member.send(record("in", "of a transaction")).unwrap();
    is_full(member.commit(&[]));
    assert!(matches!(log.health(), LogHealth::Hindered(why) if why.what.contains("the disk is full")));
    // The existing content can be read.
    member.resume(&assigned).unwrap();
    let Polled::Records(records) = member.poll(std::time::Duration::from_secs(10)).unwrap() else { panic!() };
    assert_eq!(records[0].value.as_deref(), Some(&b"before"[..]));
    free.store(PLENTY, Ordering::Relaxed);
    assert_eq!(log.health(), LogHealth::Good);
    log.append(&[record("in", "after")]).unwrap();
    assert_eq!(log.watermarks("in").unwrap()[0].high.0, 2, "nothing that was refused is there");
}

#[test]
fn engines_refuse_state_while_their_disk_is_full_and_recover() {
    for kind in [EngineKind::Sled, EngineKind::Fjall] {
        let (folder, (disks, free)) = (tempfile::tempdir().unwrap(), disks());
        let engine = open_engine_on(kind, folder.path(), 1 << 20, &disks).unwrap();
        let tree = engine.open("tree").unwrap();
        let put = |key: &'static str| tree.apply([(Bytes::from(key), Some(Bytes::from(key)))].into_iter().collect());
        put("before").unwrap();
        free.store(0, Ordering::Relaxed);
        assert!(matches!(put("meanwhile"), Err(StateError::Full { .. })), "{kind:?}");
        // The buffers of fjall are bounded: it has nothing to flush yet.
        let flushed = engine.flush();
        assert!(kind == EngineKind::Fjall || matches!(flushed, Err(StateError::Full { .. })), "{flushed:?}");
        assert_eq!(tree.get(b"before").unwrap().as_deref(), Some(&b"before"[..]));
        free.store(PLENTY, Ordering::Relaxed);
        put("after").unwrap();
        engine.flush().unwrap();
        assert_eq!(tree.get(b"meanwhile").unwrap(), None, "{kind:?}");
        assert_eq!(tree.get(b"after").unwrap().as_deref(), Some(&b"after"[..]));
    }
}
