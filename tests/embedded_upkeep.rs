//! Retention and compaction of the embedded log: the right records are deleted and kept, also after a restart.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use heddle::log::embedded::{EmbeddedLog, EmbeddedOptions, Maintained};
use heddle::log::{Log, LogError, Start, TopicSpec, now};
use heddle_core::event::{NewRecord, Offset, Partition, Record, Timestamp, TopicPartition};
use heddle_fixtures::SetAtEnd;

const DAY: i64 = 24 * 3_600 * 1_000;

fn open(folder: &Path, options: &[(&str, &str)]) -> EmbeddedLog {
    let log = EmbeddedLog::open(folder, EmbeddedOptions::default()).unwrap();
    if log.topics().unwrap().is_empty() {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        log.create_topic(&TopicSpec { name: "t".to_owned(), partitions: 1, replication: None, options }).unwrap();
    }
    log
}

fn record(key: &str, value: Option<&str>, time: i64) -> NewRecord {
    NewRecord {
        topic: "t".into(),
        partition: Some(Partition(0)),
        timestamp: Some(Timestamp(time)),
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        value: value.map(|value| Bytes::copy_from_slice(value.as_bytes())),
        headers: Vec::new(),
    }
}

fn read(log: &EmbeddedLog, start: Start) -> Vec<Record> {
    let mut reader = log.reader(&[(TopicPartition::new("t", 0), start)]).unwrap();
    let mut records = Vec::new();
    loop {
        let more = reader.poll(Duration::ZERO).unwrap();
        if more.is_empty() {
            let high = log.watermarks("t").unwrap()[0].high;
            assert_eq!(reader.positions().unwrap().into_values().collect::<Vec<_>>(), [high]);
            return records;
        }
        records.extend(more);
    }
}

fn offsets(records: &[Record]) -> Vec<i64> {
    records.iter().map(|record| record.offset.0).collect()
}

fn bounds(log: &EmbeddedLog) -> (i64, i64) {
    let mark = log.watermarks("t").unwrap()[0];
    (mark.low.0, mark.high.0)
}

#[test]
fn old_batches_are_deleted_and_offsets_continue() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path(), &[("retention.ms", "1000")]);
    for time in [1_000, 2_000, 1_500, 3_000] {
        log.append(&[record("a", Some("1"), time), record("b", Some("2"), time - 900)]).unwrap();
    }
    assert_eq!(log.maintain(Timestamp(2_000)).unwrap(), Maintained::default());
    let one = Maintained { batches_dropped: 1, records_removed: 0 };
    assert_eq!(log.maintain(Timestamp(2_900)).unwrap(), one);
    assert_eq!(bounds(&log), (2, 8));
    // A read from below the low watermark starts at it.
    assert_eq!(offsets(&read(&log, Start::At(Offset(0)))), [2, 3, 4, 5, 6, 7]);
    assert_eq!(log.maintain(Timestamp(10_000)).unwrap().batches_dropped, 3);
    assert_eq!(bounds(&log), (8, 8));
    drop(log);
    // No records are left, but the next offset is still known.
    let log = open(folder.path(), &[]);
    assert_eq!(bounds(&log), (8, 8));
    assert_eq!(log.append(&[record("a", Some("1"), 10_000)]).unwrap()[0].1, Offset(8));
    assert_eq!(offsets(&read(&log, Start::Beginning)), [8]);
}

#[test]
fn a_reader_that_fell_behind_continues_at_the_low_watermark() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path(), &[("retention.ms", "1000")]);
    log.append(&[record("a", Some("1"), 1_000)]).unwrap();
    let mut reader = log.reader(&[(TopicPartition::new("t", 0), Start::Beginning)]).unwrap();
    log.append(&[record("a", Some("2"), 9_000)]).unwrap();
    log.maintain(Timestamp(9_500)).unwrap();
    assert_eq!(offsets(&reader.poll(Duration::ZERO).unwrap()), [1]);
}

#[test]
fn a_partition_is_kept_to_its_size() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path(), &[("retention.bytes", "10000"), ("retention.ms", "-1")]);
    let value = "x".repeat(1_000);
    for round in 0..3 {
        for _ in 0..20 {
            log.append(&[record("a", Some(&value), 0)]).unwrap();
        }
        log.maintain(Timestamp(i64::MAX)).unwrap();
        // At least as much as requested is kept, and not one batch more.
        let (low, high) = bounds(&log);
        assert_eq!((high, high - low), ((round + 1) * 20, 10));
        assert_eq!(read(&log, Start::Beginning).len(), 10);
    }
}

#[test]
fn compaction_keeps_the_newest_record_of_each_key_at_its_offset() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path(), &[("cleanup.policy", "compact")]);
    let time = now().0;
    let batch = |records: &[(&str, &str)]| {
        let records: Vec<_> = records.iter().map(|(key, value)| record(key, Some(value), time)).collect();
        log.append(&records).unwrap();
    };
    batch(&[("a", "0"), ("b", "1"), ("c", "2")]);
    batch(&[("a", "3"), ("b", "4")]);
    batch(&[("a", "5"), ("d", "6"), ("d", "7")]);
    batch(&[("b", "8"), ("b", "9")]);
    assert_eq!(log.maintain(Timestamp(time + 365 * DAY)).unwrap().records_removed, 5);
    // The newest batch is unchanged.
    let records = read(&log, Start::Beginning);
    assert_eq!(offsets(&records), [2, 5, 7, 8, 9]);
    assert_eq!(offsets(&read(&log, Start::At(Offset(3)))), [5, 7, 8, 9]);
    assert_eq!(offsets(&read(&log, Start::At(Offset(6)))), [7, 8, 9]);
    assert_eq!(bounds(&log), (0, 10));
    assert_eq!(log.maintain(Timestamp(time)).unwrap(), Maintained::default());
    drop(log);
    let log = open(folder.path(), &[]);
    assert_eq!(read(&log, Start::Beginning), records);
    let keyless = NewRecord { key: None, ..record("", Some("1"), time) };
    assert!(matches!(log.append(&[keyless]), Err(LogError::RecordRefused(_))));
}

#[test]
fn a_tombstone_outlives_the_records_that_it_deletes() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path(), &[("cleanup.policy", "compact")]);
    for (key, value) in [("a", Some("0")), ("a", None), ("b", Some("2"))] {
        log.append(&[record(key, value, 0)]).unwrap();
    }
    log.maintain(Timestamp(DAY - 1)).unwrap();
    assert_eq!(offsets(&read(&log, Start::Beginning)), [1, 2]);
    log.maintain(Timestamp(DAY)).unwrap();
    assert_eq!(offsets(&read(&log, Start::Beginning)), [2]);
}

/// Compaction never changes the newest value of a key, whatever was written.
#[test]
fn compaction_never_changes_the_newest_values() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path(), &[("cleanup.policy", "compact")]);
    let mut seed = 7_u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let says = |log: &EmbeddedLog| -> BTreeMap<Bytes, Record> {
        read(log, Start::Beginning).into_iter().map(|record| (record.key.clone().unwrap(), record)).collect()
    };
    for round in 0..20 {
        for _ in 0..30 {
            let records: Vec<_> = (0..=random(8))
                .map(|_| record(&random(40).to_string(), (random(5) > 0).then_some("value"), round))
                .collect();
            log.append(&records).unwrap();
        }
        let before = says(&log);
        log.maintain(Timestamp(round)).unwrap();
        assert_eq!(says(&log), before);
    }
    assert!(read(&log, Start::Beginning).len() < 500);
}

#[test]
fn upkeep_runs_beside_commits() {
    const RECORDS: i64 = 1_500;
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path(), &[("cleanup.policy", "compact")]);
    let written = AtomicBool::new(false);
    let removed = std::thread::scope(|scope| {
        scope.spawn(|| {
            let _writing = SetAtEnd(&written);
            for number in 0..RECORDS {
                let place =
                    log.append(&[record(&(number % 50).to_string(), Some(&number.to_string()), number)]).unwrap();
                assert_eq!(place[0].1, Offset(number));
            }
        });
        let mut removed = 0;
        while !written.load(Ordering::Relaxed) {
            removed += log.maintain(Timestamp(0)).unwrap().records_removed;
        }
        removed
    });
    assert!(removed > 0, "upkeep never met a commit");
    // A new handle has compacted nothing yet, so it looks at the whole topic.
    drop(log);
    let log = open(folder.path(), &[]);
    log.maintain(Timestamp(0)).unwrap();
    assert_eq!(offsets(&read(&log, Start::Beginning)), (RECORDS - 50..RECORDS).collect::<Vec<_>>());
}
