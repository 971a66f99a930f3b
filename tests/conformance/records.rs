//! Records come out as they went in, with the same positions and order.

use bytes::Bytes;
use heddle::log::{LogError, now};
use heddle_core::event::{Header, NewRecord, Partition, Timestamp};
use heddle_core::partitioner::partition_of;

use crate::conformance::harness::{Harness, contents, options, partitions, record, record_at, text, topic};

pub(crate) fn order_is_kept_in_each_partition(harness: &dyn Harness) {
    let log = harness.log();
    let (input, output) = (topic(harness, "input", 1), topic(harness, "output", 3));
    let id = harness.fresh_name("worker");
    let mut member = log.join(&options(&harness.fresh_name("group"), &[&input], &id)).unwrap();
    for transaction in 0..20 {
        for number in 0..30 {
            let value = format!("{:04}", transaction * 30 + number);
            member.send(record_at(&output, number % 3, &value)).unwrap();
        }
        if transaction % 4 == 3 {
            member.abort().unwrap();
        } else {
            member.commit(&[]).unwrap();
        }
    }
    let records = contents(&*log, &output);
    for source in partitions(&*log, &output) {
        let here: Vec<_> = records.iter().filter(|record| record.source == source).collect();
        let expected: Vec<_> = (0..600)
            .filter(|number| number % 3 == source.partition.0 && number / 30 % 4 != 3)
            .map(|number| format!("{number:04}"))
            .collect();
        assert_eq!(here.iter().map(|record| text(record)).collect::<Vec<_>>(), expected, "{source}");
        assert!(here.is_sorted_by(|one, next| one.offset < next.offset));
    }
}

pub(crate) fn keys_go_where_java_clients_send_them(harness: &dyn Harness) {
    let log = harness.log();
    let (input, output) = (topic(harness, "input", 1), topic(harness, "output", 7));
    // Hashes from Kafka's test of its partitioner.
    let known = [("21", -973_932_308_i32), ("foobar", -790_332_482), ("abc", 479_470_107)];
    let places = log.append(&known.map(|(key, _)| record(&output, key, ""))).unwrap();
    for ((key, hash), (source, _)) in known.iter().zip(places) {
        assert_eq!(source.partition.0, (hash & 0x7fff_ffff) % 7, "{key}");
    }
    let id = harness.fresh_name("worker");
    let mut member = log.join(&options(&harness.fresh_name("group"), &[&input], &id)).unwrap();
    for number in 0..100 {
        member.send(record(&output, &format!("key {number}"), "")).unwrap();
    }
    member.commit(&[]).unwrap();
    let records = contents(&*log, &output);
    assert_eq!(records.len(), 103);
    for record in records {
        assert_eq!(record.source.partition, partition_of(&record.key.unwrap(), 7));
    }
}

pub(crate) fn nulls_and_headers_are_kept_as_written(harness: &dyn Harness) {
    let log = harness.log();
    let topic = topic(harness, "topic", 1);
    let header = |name: &str, value: Option<&'static str>| Header {
        name: name.to_owned().into(),
        value: value.map(Bytes::from),
    };
    let written: Vec<_> = [
        (None, None, vec![]),
        (None, Some(""), vec![header("twice", Some("1")), header("other", None), header("twice", Some("2"))]),
        (Some(""), None, vec![header("empty", Some("")), header("null", None)]),
        (Some("key"), Some("value"), vec![header("bytes", Some("\u{0}\u{1}"))]),
    ]
    .into_iter()
    .map(|(key, value, headers)| NewRecord {
        key: key.map(Bytes::from),
        value: value.map(Bytes::from),
        headers,
        ..record_at(&topic, 0, "")
    })
    .collect();
    log.append(&written).unwrap();
    let read = contents(&*log, &topic);
    assert_eq!(read.len(), written.len());
    for (read, written) in read.iter().zip(&written) {
        assert_eq!((&read.key, &read.value, &read.headers), (&written.key, &written.value, &written.headers));
    }
}

pub(crate) fn timestamps_are_kept(harness: &dyn Harness) {
    let log = harness.log();
    let topic = topic(harness, "topic", 1);
    let before = now();
    // Times out of order and different from the log's, but recent enough that no log drops the records.
    let times = [before.0 - 5_000, before.0 - 60_000, before.0 - 1];
    let mut written: Vec<_> =
        times.iter().map(|time| NewRecord { timestamp: Some(Timestamp(*time)), ..record_at(&topic, 0, "") }).collect();
    written.push(record_at(&topic, 0, ""));
    log.append(&written).unwrap();
    let after = now();
    let read: Vec<_> = contents(&*log, &topic).iter().map(|record| record.timestamp).collect();
    assert_eq!(read[..3], times.map(Timestamp));
    assert!((before..=after).contains(&read[3]), "{read:?}");
}

pub(crate) fn a_record_that_cannot_be_taken_is_refused(harness: &dyn Harness) {
    let log = harness.log();
    let topic = topic(harness, "topic", 2);
    let large = NewRecord { value: Some(Bytes::from(vec![0; 1_200_000])), ..record_at(&topic, 0, "") };
    let elsewhere = NewRecord { partition: Some(Partition(2)), ..record_at(&topic, 0, "") };
    for record in [large, elsewhere] {
        let refused = log.append(&[record]);
        assert!(matches!(refused, Err(LogError::RecordRefused(_))), "{refused:?}");
    }
    assert_eq!(contents(&*log, &topic), []);
}
