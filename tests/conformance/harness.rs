//! The trait that an implementation provides for the suite, and helpers for all cases.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use heddle::log::{Log, Member, MemberOptions, Polled, Reader, Start, TopicSpec, Watermarks};
use heddle_core::event::{Header, NewRecord, Offset, Partition, Record, TopicPartition};

/// The longest time for something that must happen.
pub(crate) const WAIT: Duration = Duration::from_secs(180);

/// The time for which a case watches for an event that must not happen. A correct log never fails because it is too
/// short.
pub(crate) const GLANCE: Duration = Duration::from_millis(200);

/// A hundred years, so that records of 1970 have not expired yet.
pub(crate) const RETENTION_MILLIS: i64 = 100 * 365 * 24 * 3_600 * 1_000;

/// A log under test.
pub(crate) trait Harness {
    /// The log.
    fn log(&self) -> Arc<dyn Log>;

    /// The log for a process that restarts on the same data. The case has dropped all earlier handles of the log.
    fn reopen(&self) -> Arc<dyn Log>;

    /// Returns true if the log has a transaction's records before it is committed.
    fn writes_early(&self) -> bool;

    /// Returns true if a commit continues after it was begun.
    fn commits_take_a_while(&self) -> bool;

    /// Deletes the records of a partition below `before`.
    ///
    /// Their timestamps are the seconds of 1970 from 1 on, and each is in a separate batch. The topic keeps records for
    /// [`RETENTION_MILLIS`].
    fn trim(&self, source: &TopicPartition, before: Offset);

    /// A name for a topic, a group or a transactional id that no other case uses.
    fn fresh_name(&self, base: &str) -> String;
}

/// A topic without options.
pub(crate) fn spec(name: &str, partitions: i32) -> TopicSpec {
    TopicSpec { name: name.to_owned(), partitions, replication: None, options: BTreeMap::new() }
}

/// Creates a topic under a fresh name.
pub(crate) fn topic(harness: &dyn Harness, base: &str, partitions: i32) -> String {
    let name = harness.fresh_name(base);
    harness.log().create_topic(&spec(&name, partitions)).unwrap();
    name
}

/// Options of a member that starts at the beginning.
pub(crate) fn options(group: &str, topics: &[&str], transactional_id: &str) -> MemberOptions {
    MemberOptions {
        group: group.to_owned(),
        topics: topics.iter().map(|topic| (*topic).into()).collect(),
        transactional_id: transactional_id.to_owned(),
        instance_id: None,
        start: Start::Beginning,
        starts: Default::default(),
        transaction_time: heddle::runtime::TRANSACTION_TIME,
        batch_records_max: 100,
    }
}

/// A record with a key and a value.
pub(crate) fn record(topic: &str, key: &str, value: &str) -> NewRecord {
    NewRecord {
        topic: topic.into(),
        partition: None,
        timestamp: None,
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: Vec::new(),
    }
}

/// A record for one partition.
pub(crate) fn record_at(topic: &str, partition: i32, value: &str) -> NewRecord {
    NewRecord { partition: Some(Partition(partition)), ..record(topic, "key", value) }
}

/// The value as text.
pub(crate) fn text(record: &Record) -> String {
    String::from_utf8(record.value.clone().unwrap().to_vec()).unwrap()
}

/// The values as text, sorted.
pub(crate) fn texts(records: &[Record]) -> Vec<String> {
    let mut texts: Vec<_> = records.iter().map(text).collect();
    texts.sort();
    texts
}

/// All partitions of a topic.
pub(crate) fn partitions(log: &dyn Log, topic: &str) -> Vec<TopicPartition> {
    let marks = log.watermarks(topic).unwrap();
    marks.iter().map(|mark| TopicPartition::new(topic, mark.partition.0)).collect()
}

const END: &str = "end of the case";

/// The content of a topic, in the order of reading.
///
/// Appends an end record to each partition and reads up to it, so that no record is missed and no wait is in vain. The
/// end records are left out of the result, but stay in the topic.
pub(crate) fn contents(log: &dyn Log, topic: &str) -> Vec<Record> {
    let sources = partitions(log, topic);
    let mark = |source: &TopicPartition| NewRecord {
        headers: vec![Header::new(END, "")],
        ..record_at(topic, source.partition.0, "")
    };
    let ends = log.append(&sources.iter().map(mark).collect::<Vec<_>>()).unwrap();
    let mut missing: BTreeMap<TopicPartition, Offset> = ends.into_iter().collect();
    let from: Vec<_> = sources.iter().map(|source| (source.clone(), Start::Beginning)).collect();
    let mut reader = log.reader(&from).unwrap();
    let (mut records, until) = (Vec::new(), Instant::now() + WAIT);
    while !missing.is_empty() {
        assert!(Instant::now() < until, "{topic}: no record at {missing:?}");
        for record in reader.poll(Duration::from_secs(1)).unwrap() {
            if missing.get(&record.source) == Some(&record.offset) {
                missing.remove(&record.source);
            }
            records.push(record);
        }
    }
    records.retain(|record| record.headers.iter().all(|header| header.name != END));
    records
}

/// A member and its current assignment.
pub(crate) struct Client {
    pub(crate) member: Box<dyn Member>,
    pub(crate) assigned: BTreeSet<TopicPartition>,
}

impl Client {
    /// Joins a group.
    pub(crate) fn join(log: &dyn Log, options: &MemberOptions) -> Self {
        Self { member: log.join(options).unwrap(), assigned: BTreeSet::new() }
    }

    /// Joins a group and waits for its first `count` partitions.
    pub(crate) fn join_alone(log: &dyn Log, options: &MemberOptions, count: usize) -> Self {
        let mut client = Self::join(log, options);
        let until = Instant::now() + WAIT;
        while client.assigned.len() < count {
            assert!(Instant::now() < until, "assigned: {:?}", client.assigned);
            if let Polled::Records(records) = client.poll(Duration::from_millis(100)) {
                assert!(records.is_empty(), "records before the assignment was complete");
            }
        }
        client
    }

    /// Polls once. Updates `assigned` and resumes new partitions, but releases none.
    pub(crate) fn poll(&mut self, timeout: Duration) -> Polled {
        let polled = self.member.poll(timeout).unwrap();
        match &polled {
            Polled::Assigned(sources) => {
                for source in sources {
                    assert!(self.assigned.insert(source.clone()), "{source} was assigned twice");
                }
                self.member.resume(sources).unwrap();
            }
            Polled::Revoking(sources) | Polled::Lost(sources) => {
                for source in sources {
                    assert!(self.assigned.remove(source), "{source} was revoked, but not assigned");
                }
            }
            Polled::Records(records) => {
                for record in records {
                    assert!(self.assigned.contains(&record.source), "a record of {}, not assigned", record.source);
                }
            }
        }
        polled
    }

    /// Polls until exactly `count` records have come.
    pub(crate) fn take(&mut self, count: usize) -> Vec<Record> {
        let (mut records, until) = (Vec::new(), Instant::now() + WAIT);
        while records.len() < count {
            assert!(Instant::now() < until, "{} of {count} records came", records.len());
            if let Polled::Records(more) = self.poll(Duration::from_millis(500)) {
                records.extend(more);
            }
        }
        assert_eq!(records.len(), count);
        records
    }

    /// Fails if anything comes that must not.
    pub(crate) fn nothing_comes(&mut self) {
        let until = Instant::now() + GLANCE;
        while Instant::now() < until {
            if let Polled::Records(records) = self.poll(Duration::from_millis(50)) {
                assert!(records.is_empty(), "{records:?}");
            }
        }
    }
}

/// A copy of a topic made now, read up to the end.
pub(crate) fn copy(log: &dyn Log, topic: &str) -> Vec<Record> {
    let ends = log.watermarks(topic).unwrap();
    let from: Vec<_> = partitions(log, topic).into_iter().map(|source| (source, Start::Beginning)).collect();
    let mut reader = log.reader(&from).unwrap();
    let (mut records, until) = (Vec::new(), Instant::now() + WAIT);
    while !reached(&*reader, topic, &ends) {
        assert!(Instant::now() < until, "{topic}: {:?} of {ends:?}", reader.positions().unwrap());
        records.extend(reader.poll(Duration::from_millis(100)).unwrap());
    }
    records
}

/// Returns true if a reader has reached the ends of all partitions.
pub(crate) fn reached(reader: &dyn Reader, topic: &str, ends: &[Watermarks]) -> bool {
    let positions = reader.positions().unwrap();
    ends.iter().all(|mark| positions[&TopicPartition::new(topic, mark.partition.0)] >= mark.end)
}

/// The positions after these records.
pub(crate) fn after(records: &[Record]) -> Vec<(TopicPartition, Offset)> {
    let mut positions = BTreeMap::new();
    for record in records {
        positions.insert(record.source.clone(), record.offset.next());
    }
    positions.into_iter().collect()
}
