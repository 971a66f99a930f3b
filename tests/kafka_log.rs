//! Tests that are particular to the log on Kafka, on a real broker. `tests/conformance` has the guarantees of every
//! log.
mod added;
mod assignment;
mod foreign;
mod kill;
mod leaving;
mod protocol;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use bytes::Bytes;
use heddle::log::kafka::KafkaLog;
use heddle::log::{Groups as _, Log, LogError, Member, MemberOptions, Polled, Start, TopicSpec};
use heddle_core::event::{Header, NewRecord, Offset, Record, Timestamp, TopicPartition};
use heddle_fixtures::group::Protocol;
use heddle_fixtures::kafka::{self, Kafka};

/// The longest time for anything that must happen, far above the usual. Only a failing test waits this long.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn connect(kafka: &Kafka) -> KafkaLog {
    connect_by(kafka, Protocol::chosen())
}

fn connect_by(kafka: &Kafka, protocol: Protocol) -> KafkaLog {
    KafkaLog::connect(&kafka.bootstrap(), &options(&[protocol.option()])).unwrap()
}

fn create(log: &KafkaLog, name: &str, partitions: i32, topic_options: &[(&str, &str)]) {
    let spec = TopicSpec { name: name.to_owned(), partitions, replication: None, options: options(topic_options) };
    log.create_topic(&spec).unwrap();
}

fn record(topic: &str, partition: i32, value: impl Into<Bytes>) -> NewRecord {
    NewRecord {
        topic: topic.into(),
        partition: Some(heddle_core::event::Partition(partition)),
        timestamp: None,
        key: None,
        value: Some(value.into()),
        headers: Vec::new(),
    }
}

pub(crate) fn member_options(name: &str, topic: &str) -> MemberOptions {
    MemberOptions {
        group: format!("{name}-group"),
        topics: vec![topic.into()],
        transactional_id: format!("{name}-producer"),
        instance_id: None,
        start: Start::Beginning,
        starts: Default::default(),
        transaction_time: heddle::runtime::TRANSACTION_TIME,
        batch_records_max: 50,
    }
}

/// Polls until `wanted` returns a value.
fn until<T>(what: &str, mut wanted: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = wanted() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not happen");
    }
}

pub(crate) fn assigned(member: &mut dyn Member) -> Vec<TopicPartition> {
    until("an assignment", || match member.poll(POLL).unwrap() {
        Polled::Assigned(partitions) => {
            member.resume(&partitions).unwrap();
            Some(partitions)
        }
        _ => None,
    })
}

/// All committed records of a topic up to its high watermark, and the positions after them.
fn read_all(log: &KafkaLog, topic: &str) -> (Vec<Record>, BTreeMap<TopicPartition, Offset>) {
    let ends: BTreeMap<_, _> = log
        .watermarks(topic)
        .unwrap()
        .into_iter()
        .map(|bounds| (TopicPartition::new(topic, bounds.partition.0), bounds.high))
        .collect();
    let from: Vec<_> = ends.keys().map(|partition| (partition.clone(), Start::Beginning)).collect();
    let mut reader = log.reader(&from).unwrap();
    let mut records = Vec::new();
    let positions = until("reading up to the high watermark", || {
        records.extend(reader.poll(POLL).unwrap());
        let positions = reader.positions().unwrap();
        ends.iter().all(|(partition, end)| positions[partition] >= *end).then_some(positions)
    });
    (records, positions)
}

fn values(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8(record.value.clone().unwrap().to_vec()).unwrap()).collect()
}

/// All committed values of a topic, once there are `count`. A commit becomes visible a moment after it returns.
fn committed_values(log: &KafkaLog, topic: &str, count: usize) -> Vec<String> {
    until("the commit's visibility", || {
        let (records, _) = read_all(log, topic);
        (records.len() >= count).then(|| values(&records))
    })
}

#[test]
fn an_option_that_breaks_a_guarantee_is_refused_by_name() {
    let refused = |key| KafkaLog::connect("127.0.0.1:1", &options(&[(key, "x")])).err().unwrap();
    for key in ["isolation.level", "enable.auto.commit", "transactional.id", "group.id", "partitioner", "acks"] {
        let error = refused(key);
        assert!(matches!(&error, LogError::Invalid(text) if text.contains(key)), "{error}");
    }
    // librdkafka's text for an unknown option.
    let error = refused("sasl.pasword");
    assert!(matches!(&error, LogError::Invalid(text) if text.contains("sasl.pasword")), "{error}");
}

#[test]
fn a_broker_that_is_down_is_reported_with_its_address() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let error = KafkaLog::connect(&nobody, &BTreeMap::new()).err().unwrap();
    assert!(matches!(error, LogError::Unreachable(_)), "{error}");
    let text = error.to_string();
    assert!(text.contains(&nobody) && text.contains("refused") && text.contains("is it running"), "{text}");
}

#[test]
fn a_record_comes_back_as_it_was_written() {
    let log = connect(kafka::shared());
    create(&log, "as-written", 3, &[]);
    let full = NewRecord {
        topic: "as-written".into(),
        partition: None,
        timestamp: Some(Timestamp(1_700_000_000_123)),
        key: Some(Bytes::from_static(b"order-7")),
        value: Some(Bytes::new()),
        headers: vec![
            Header::new("a", &b"1"[..]),
            Header { name: "a".into(), value: None },
            Header::new("b", &b""[..]),
        ],
    };
    let tombstone = NewRecord { value: None, headers: Vec::new(), ..full.clone() };
    let places = log.append(&[full.clone(), tombstone.clone()]).unwrap();
    let partition = heddle_core::partitioner::partition_of(b"order-7", 3);
    assert!(places.iter().all(|(place, _)| place.partition == partition), "{places:?}");
    assert_eq!(places.iter().map(|(_, offset)| offset.0).collect::<Vec<_>>(), [0, 1]);
    let (records, _) = read_all(&log, "as-written");
    for (read, written) in records.iter().zip([full, tombstone]) {
        assert_eq!((&read.key, &read.value, &read.headers), (&written.key, &written.value, &written.headers));
        assert_eq!(Some(read.timestamp), written.timestamp);
    }
    assert_eq!(records.len(), 2);
}

#[test]
fn a_record_that_its_topic_refuses_does_not_break_the_transaction() {
    let log = connect(kafka::shared());
    create(&log, "small", 1, &[("max.message.bytes", "1000")]);
    create(&log, "small-input", 1, &[]);
    let mut member = log.join(&member_options("small", "small-input")).unwrap();
    member.send(record("small", 0, "before")).unwrap();
    // 61 bytes of batch, 2 of length, 3 + 1 + 2 + 1 of record leave 930 for a value.
    for poison in [record("small", 0, vec![b'x'; 931]), record("small", 7, "no such partition")] {
        let error = member.send(poison).unwrap_err();
        assert!(matches!(&error, LogError::RecordRefused(text) if text.contains("small")), "{error}");
    }
    assert!(matches!(member.send(record("nowhere", 0, "x")), Err(LogError::UnknownTopic(topic)) if topic == "nowhere"));
    member.send(record("small", 0, vec![b'y'; 930])).unwrap();
    member.commit(&[]).unwrap();
    // Together these exceed the maximum size of a batch.
    for _ in 0..100 {
        member.send(record("small", 0, vec![b'z'; 100])).unwrap();
    }
    member.commit(&[]).unwrap();
    let found = committed_values(&log, "small", 102);
    assert_eq!((found[0].as_str(), found[1].len(), found.len()), ("before", 930, 102));
    let error = log.append(&[record("small", 0, vec![b'x'; 931])]).unwrap_err();
    assert!(matches!(error, LogError::RecordRefused(_)), "{error}");
}

#[test]
fn a_small_commit_does_not_wait_for_a_polling_slice() {
    let log = connect(kafka::shared());
    create(&log, "quick", 1, &[]);
    let mut member = log.join(&member_options("quick", "quick")).unwrap();
    let partitions = assigned(&mut *member);
    let mut offset = 0;
    // rdkafka's commit, or librdkafka's pause before it asks again, takes at least 100 ms. So one faster commit is
    // proof enough.
    //
    // The first transactions of a broker are slow, and the number of fast ones depends on the load of the machine.
    until("a commit within less than a slice", || {
        let started = Instant::now();
        member.send(record("quick", 0, "value")).unwrap();
        member.commit(&[(partitions[0].clone(), Offset(offset))]).unwrap();
        offset += 1;
        (started.elapsed() < Duration::from_millis(90)).then_some(())
    });
}

#[test]
fn an_aborted_transaction_is_skipped_and_never_seen() {
    let log = connect(kafka::shared());
    create(&log, "aborted", 1, &[]);
    let mut member = log.join(&member_options("aborted", "aborted")).unwrap();
    member.send(record("aborted", 0, "kept")).unwrap();
    member.commit(&[]).unwrap();
    member.send(record("aborted", 0, "dropped")).unwrap();
    member.abort().unwrap();
    assert_eq!(committed_values(&log, "aborted", 1), ["kept"]);
    member.send(record("aborted", 0, "kept too")).unwrap();
    member.commit(&[]).unwrap();
    assert_eq!(committed_values(&log, "aborted", 2), ["kept", "kept too"]);
}

#[test]
fn after_an_abort_the_same_records_come_again() {
    let log = connect(kafka::shared());
    create(&log, "again", 1, &[]);
    log.append(&["a", "b", "c"].map(|value| record("again", 0, value))).unwrap();
    let mut member = log.join(&MemberOptions { batch_records_max: 2, ..member_options("again", "again") }).unwrap();
    let partition = assigned(&mut *member).remove(0);
    let mut next = || {
        let mut read = Vec::new();
        until("records", || match member.poll(POLL).unwrap() {
            Polled::Records(records) => {
                read.extend(values(&records));
                (!read.is_empty()).then(|| read.clone())
            }
            _ => None,
        });
        let first = read.remove(0);
        // Nothing is committed at first, then the first record is.
        member.send(record("again", 0, "dropped")).unwrap();
        member.abort().unwrap();
        member.rewind().unwrap();
        member.commit(&[(partition.clone(), Offset(1))]).unwrap();
        first
    };
    assert_eq!([next(), next()], ["a", "a"]);
    member.rewind().unwrap();
    let records = until("records", || match member.poll(POLL).unwrap() {
        Polled::Records(records) if !records.is_empty() => Some(records),
        _ => None,
    });
    assert_eq!(records[0].offset, Offset(1));
}

#[test]
fn partitions_go_to_another_member_only_after_release() {
    let log = connect(kafka::shared());
    create(&log, "handover", 2, &[]);
    let options = member_options("handover", "handover");
    let mut first = log.join(&options).unwrap();
    assert_eq!(assigned(&mut *first).len(), 2);
    let mut second = log.join(&MemberOptions { transactional_id: "handover-second".into(), ..options }).unwrap();
    let revoked = until("a revocation", || {
        assert_eq!(second.poll(POLL).unwrap(), Polled::Records(Vec::new()));
        match first.poll(POLL).unwrap() {
            Polled::Revoking(partitions) => Some(partitions),
            _ => None,
        }
    });
    assert_eq!(revoked.len(), 1);
    // The first member may still commit for the revoked partitions.
    let position = (revoked[0].clone(), Offset(0));
    first.send(record("handover", revoked[0].partition.0, "last work")).unwrap();
    first.commit(&[position]).unwrap();
    for _ in 0..10 {
        assert_eq!(second.poll(POLL).unwrap(), Polled::Records(Vec::new()));
    }
    first.release(&revoked).unwrap();
    let mut got = Vec::new();
    until("the handover", || {
        // Both continue to poll, and the first keeps the other partition.
        assert_eq!(first.poll(POLL).unwrap(), Polled::Records(Vec::new()));
        if let Polled::Assigned(partitions) = second.poll(POLL).unwrap() {
            second.resume(&partitions).unwrap();
            got.extend(partitions);
        }
        (got == revoked).then_some(())
    });
    let records = until("the last work", || match second.poll(POLL).unwrap() {
        Polled::Records(records) if !records.is_empty() => Some(records),
        _ => None,
    });
    assert_eq!(values(&records), ["last work"]);
    second.leave().unwrap();
    assert_eq!(assigned(&mut *first), revoked);
}

#[test]
fn a_static_member_comes_back_to_its_partitions_and_fences_its_double() {
    let log = connect_by(kafka::shared(), Protocol::Classic);
    create(&log, "static", 2, &[]);
    let named = |id: &str| MemberOptions {
        instance_id: Some(id.into()),
        transactional_id: format!("static-{id}"),
        ..member_options("static", "static")
    };
    let mut other = log.join(&named("other")).unwrap();
    assert_eq!(assigned(&mut *other).len(), 2);
    let mut home = log.join(&named("home")).unwrap();
    let moved = until("a revocation", || {
        assert_eq!(home.poll(POLL).unwrap(), Polled::Records(Vec::new()));
        match other.poll(POLL).unwrap() {
            Polled::Revoking(partitions) => Some(partitions),
            _ => None,
        }
    });
    other.release(&moved).unwrap();
    let rejoined = |other: &mut dyn Member, home: &mut dyn Member| {
        until("the assignment", || {
            assert_eq!(other.poll(POLL).unwrap(), Polled::Records(Vec::new()), "there must be no rebalance");
            match home.poll(POLL).unwrap() {
                Polled::Assigned(partitions) => Some(partitions),
                _ => None,
            }
        })
    };
    assert_eq!(rejoined(&mut *other, &mut *home), moved);
    drop(home);
    let mut home = log.join(&named("home")).unwrap();
    assert_eq!(rejoined(&mut *other, &mut *home), moved);
    let mut double = log.join(&named("home")).unwrap();
    assert_eq!(rejoined(&mut *other, &mut *double), moved);
    home.send(record("static", 0, "from a zombie")).unwrap();
    let error = home.commit(&[(moved[0].clone(), Offset(0))]).unwrap_err();
    assert!(matches!(error, LogError::Fenced(_)), "{error}");
    let error = until("the consumer's fencing", || home.poll(POLL).err());
    assert!(matches!(error, LogError::Fenced(_)), "{error}");
}

#[test]
fn a_member_that_was_away_for_too_long_cannot_commit() {
    let kafka = kafka::shared();
    let impatient = options(&[("session.timeout.ms", "1500"), ("max.poll.interval.ms", "1500")]);
    let log = KafkaLog::connect(&kafka.bootstrap(), &impatient).unwrap();
    create(&log, "zombie", 1, &[]);
    create(&log, "zombie-output", 1, &[]);
    log.append(&[record("zombie", 0, "input")]).unwrap();
    let options = member_options("zombie", "zombie");
    let mut zombie = log.join(&options).unwrap();
    let partitions = assigned(&mut *zombie);
    zombie.send(record("zombie-output", 0, "from the zombie")).unwrap();
    // The zombie does not poll, so its partition goes to another member.
    let patient = connect(kafka);
    let mut heir = patient.join(&MemberOptions { transactional_id: "zombie-heir".into(), ..options.clone() }).unwrap();
    assert_eq!(assigned(&mut *heir), partitions);
    let error = zombie.commit(&[(partitions[0].clone(), Offset(1))]).unwrap_err();
    assert!(matches!(error, LogError::Abort(_)), "{error}");
    zombie.abort().unwrap();
    // Records that it had fetched before may still come first.
    let lost = until("the loss", || match zombie.poll(POLL).unwrap() {
        Polled::Lost(partitions) => Some(partitions),
        _ => None,
    });
    assert_eq!(lost, partitions);
    zombie.release(&lost).unwrap();
    assert!(log.committed(&options.group, &partitions).unwrap().is_empty());
    heir.send(record("zombie-output", 0, "from the heir")).unwrap();
    heir.commit(&[(partitions[0].clone(), Offset(1))]).unwrap();
    assert_eq!(committed_values(&log, "zombie-output", 1), ["from the heir"]);
}
