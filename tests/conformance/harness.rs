//! What an implementation brings along, and what all cases use.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use heddle::log::{Log, Member, MemberOptions, Polled, Reader, Start, TopicSpec, Watermarks};
use heddle_core::event::{Header, NewRecord, Offset, Partition, Record, TopicPartition};

/// How long a case waits for something that must happen.
pub(crate) const WAIT: Duration = Duration::from_secs(180);

/// How long a case looks for something that must not happen. Too short cannot fail a log that is right.
pub(crate) const GLANCE: Duration = Duration::from_millis(200);

/// A hundred years: what was written in 1970 has not expired yet.
pub(crate) const RETENTION_MILLIS: i64 = 100 * 365 * 24 * 3_600 * 1_000;

/// A log under test.
pub(crate) trait Harness {
    /// The log.
    fn log(&self) -> Arc<dyn Log>;

    /// The log as a process sees it that starts again on the same data. The case has dropped all else that it had
    /// from the log.
    fn reopen(&self) -> Arc<dyn Log>;

    /// Whether what a transaction writes is in the log before it is committed.
    fn writes_early(&self) -> bool;

    /// Whether a commit goes on after it was begun.
    fn commits_take_a_while(&self) -> bool;

    /// Deletes the records of a partition below `before`, whose timestamps are the seconds of 1970 from 1 on, each in a
    /// batch of its own, in a topic that keeps records for [`RETENTION_MILLIS`].
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

/// A record with key and value.
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

/// All that a topic holds, in the order it was read. Appends a mark to each partition and reads up to it, so that
/// nothing is missed and nothing waited for in vain; the marks are left out here, but they stay in the topic.
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

/// A member, and what it was told.
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

    /// Polls once; keeps `assigned` up to date, reads what is assigned, releases nothing.
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

    /// Polls until `count` records came, and no more.
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

    /// Looks whether anything comes that must not.
    pub(crate) fn nothing_comes(&mut self) {
        let until = Instant::now() + GLANCE;
        while Instant::now() < until {
            if let Polled::Records(records) = self.poll(Duration::from_millis(50)) {
                assert!(records.is_empty(), "{records:?}");
            }
        }
    }
}

/// What a copy of these partitions holds that is made now: read up to the end.
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

/// Whether a reader has come to the ends of all partitions.
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
