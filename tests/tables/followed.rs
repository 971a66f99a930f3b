//! A global table and its topic: read whole, followed, and read again when the topic is not the one it was. On both
//! logs, turn by turn.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use heddle::log::embedded::{EmbeddedLog, EmbeddedOptions};
use heddle::log::kafka::KafkaLog;
use heddle::log::{self, Log, TopicSpec};
use heddle::state::{CACHE_BYTES, EngineKind, open_engine};
use heddle::tables::{Follower, Table, TableEngine, Tables};
use heddle_core::event::{NewRecord, Partition, Timestamp, Topic};
use heddle_core::state::Range;
use heddle_core::tables::{GlobalTable as _, TableKeys};
use tempfile::TempDir;

const HOUR_MS: i64 = 60 * 60 * 1_000;

/// A log, and a host's folder for tables.
struct Bed {
    log: Arc<dyn Log>,
    folder: TempDir,
    topic: String,
    /// The lead of the clock, in milliseconds.
    ahead: i64,
}

impl Bed {
    fn embedded(topic: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = EmbeddedLog::open(&folder.path().join("log"), EmbeddedOptions::default()).unwrap();
        Self { log: Arc::new(log), folder, topic: topic.to_owned(), ahead: 0 }
    }

    fn kafka(topic: &str) -> Self {
        let broker = heddle_fixtures::kafka::shared();
        let log = Arc::new(KafkaLog::connect(&broker.bootstrap(), &BTreeMap::new()).unwrap());
        Self { log, folder: tempfile::tempdir().unwrap(), topic: topic.to_owned(), ahead: 0 }
    }

    fn create(&self, partitions: i32, policy: &str) {
        let options = BTreeMap::from([("cleanup.policy".to_owned(), policy.to_owned())]);
        let spec = TopicSpec { name: self.topic.clone(), partitions, replication: None, options };
        self.log.create_topic(&spec).unwrap();
    }

    fn put(&self, entries: &[(&'static str, Option<&'static str>)]) {
        let record = |(key, value): &(&'static str, Option<&'static str>)| NewRecord {
            topic: self.topic.as_str().into(),
            partition: None,
            timestamp: None,
            key: Some(Bytes::from(*key)),
            value: value.map(Bytes::from),
            headers: vec![],
        };
        self.log.append(&entries.iter().map(record).collect::<Vec<_>>()).unwrap();
    }

    fn engine(&self) -> Arc<TableEngine> {
        let folder = self.folder.path().join("tables");
        Arc::new(TableEngine::new(move || open_engine(EngineKind::Sled, &folder, CACHE_BYTES)))
    }

    fn follow(&self, keys: TableKeys) -> Followed {
        let table = Arc::new(Table::new(self.topic.as_str().into(), keys));
        Followed(Follower::new(self.log.clone(), self.engine(), table))
    }

    fn now(&self) -> Timestamp {
        Timestamp(log::now().0 + self.ahead)
    }

    /// Takes turns until it is so. Turns may fail.
    fn until(&self, followed: &mut Followed, what: &str, is_so: impl Fn(&Table) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !is_so(followed.table()) {
            let turned = followed.0.turn(self.now());
            assert!(
                Instant::now() < deadline,
                "waited in vain until {what}: {turned:?}, {:?}",
                followed.table().status()
            );
        }
    }

    fn until_ready(&self, followed: &mut Followed) {
        self.until(followed, "the table can be read", Table::is_ready);
    }

    fn until_it_has(&self, followed: &mut Followed, entries: &[(&str, &str)]) {
        let entries = entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<Vec<_>>();
        self.until(followed, &format!("the table has {entries:?}"), |table| {
            all(table).is_some_and(|all| all == entries)
        });
    }
}

/// A table and what fills it.
struct Followed(Follower);

impl Followed {
    fn table(&self) -> &Table {
        self.0.table()
    }
}

/// All entries, in the order of keys; `None` while it cannot be read.
fn all(table: &Table) -> Option<Vec<(String, String)>> {
    let found = table.scan(&Range { prefix: b"", after: None }, usize::MAX).ok()?;
    let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    Some(found.into_iter().map(|(key, value)| (text(key), text(value))).collect())
}

fn a_table_is_read_whole_and_then_followed(bed: &Bed) {
    bed.create(3, "compact");
    bed.put(&[("a", Some("1")), ("b", Some("2")), ("c", Some("3")), ("a", Some("4")), ("b", None)]);
    let mut followed = bed.follow(TableKeys::Plain);
    assert!(followed.table().get(b"a").is_err() && followed.table().waits_for().is_some());
    bed.until_ready(&mut followed);
    let table = followed.table();
    assert_eq!(all(table).unwrap(), [("a".into(), "4".into()), ("c".into(), "3".into())]);
    assert_eq!((table.get(b"a").unwrap(), table.get(b"b").unwrap()), (Some(Bytes::from("4")), None));
    assert_eq!((table.waits_for(), table.status().applied, table.status().lag), (None, 5, 0));
    let range = Range { prefix: b"", after: Some(b"a") };
    assert_eq!(table.scan(&range, 1).unwrap(), [(Bytes::from("c"), Bytes::from("3"))]);
    bed.put(&[("c", None), ("d", Some("5"))]);
    bed.until_it_has(&mut followed, &[("a", "4"), ("d", "5")]);
}

#[test]
fn a_table_is_read_whole_and_then_followed_on_the_embedded_log() {
    a_table_is_read_whole_and_then_followed(&Bed::embedded("products"));
}

#[test]
fn a_table_is_read_whole_and_then_followed_on_kafka() {
    a_table_is_read_whole_and_then_followed(&Bed::kafka("tables.followed"));
}

fn a_restarted_host_reads_only_new_records_of_a_table(bed: &Bed) {
    bed.create(2, "compact");
    bed.put(&[("a", Some("1")), ("b", Some("2")), ("c", Some("3"))]);
    let mut followed = bed.follow(TableKeys::Plain);
    bed.until_ready(&mut followed);
    // Killed: nothing is written at the end.
    drop(followed);
    bed.put(&[("a", None), ("d", Some("4"))]);
    let mut followed = bed.follow(TableKeys::Plain);
    bed.until_ready(&mut followed);
    assert_eq!(followed.table().status().applied, 2);
    assert_eq!(all(followed.table()).unwrap().len(), 3);
    followed.0.end(bed.now());
    let mut followed = bed.follow(TableKeys::Plain);
    bed.until_ready(&mut followed);
    assert_eq!((followed.table().status().applied, followed.table().status().wiped), (0, 0));
}

#[test]
fn a_restarted_host_reads_only_new_records_of_a_table_on_the_embedded_log() {
    a_restarted_host_reads_only_new_records_of_a_table(&Bed::embedded("products"));
}

#[test]
fn a_restarted_host_reads_only_new_records_of_a_table_on_kafka() {
    a_restarted_host_reads_only_new_records_of_a_table(&Bed::kafka("tables.again"));
}

fn a_recreated_topic_is_read_again(bed: &Bed) {
    bed.create(2, "compact");
    bed.put(&[("a", Some("old")), ("b", Some("old"))]);
    let mut followed = bed.follow(TableKeys::Plain);
    bed.until_ready(&mut followed);
    bed.log.delete_topic(&bed.topic).unwrap();
    bed.until(&mut followed, "the table notices that its topic is gone", |table| !table.is_ready());
    assert!(followed.table().get(b"a").is_err());
    bed.create(1, "compact");
    // As many records as before, so that no offset distinguishes them.
    bed.put(&[("b", Some("new")), ("c", Some("new")), ("c", Some("newer"))]);
    bed.until_it_has(&mut followed, &[("b", "new"), ("c", "newer")]);
    assert_eq!((followed.table().status().wiped, followed.table().status().partitions), (1, 1));
    // A host that was down meanwhile.
    followed.0.end(bed.now());
    bed.log.delete_topic(&bed.topic).unwrap();
    bed.create(1, "compact");
    bed.put(&[("x", Some("1")), ("x", Some("2")), ("x", Some("3")), ("x", Some("4"))]);
    let mut followed = bed.follow(TableKeys::Plain);
    bed.until_it_has(&mut followed, &[("x", "4")]);
    assert_eq!(followed.table().status().wiped, 1);
}

#[test]
fn a_recreated_topic_is_read_again_on_the_embedded_log() {
    a_recreated_topic_is_read_again(&Bed::embedded("products"));
}

#[test]
fn a_recreated_topic_is_read_again_on_kafka() {
    a_recreated_topic_is_read_again(&Bed::kafka("tables.anew"));
}

#[test]
fn partitions_that_are_added_are_read_too() {
    let bed = Bed::kafka("tables.grown");
    bed.create(1, "compact");
    bed.put(&[("a", Some("1"))]);
    let mut followed = bed.follow(TableKeys::Plain);
    bed.until_ready(&mut followed);
    bed.log.add_partitions(&bed.topic, 3).unwrap();
    let record = |number: i32, key: &'static str| NewRecord {
        topic: bed.topic.as_str().into(),
        partition: Some(Partition(number)),
        timestamp: None,
        key: Some(key.into()),
        value: Some("2".into()),
        headers: vec![],
    };
    bed.until(&mut followed, "the new partitions are followed", |table| table.status().partitions == 3);
    bed.log.append(&[record(1, "b"), record(2, "c")]).unwrap();
    bed.until_it_has(&mut followed, &[("a", "1"), ("b", "2"), ("c", "2")]);
    assert_eq!(followed.table().status().wiped, 0);
}

#[test]
fn a_copy_that_misses_records_or_deletes_is_read_again() {
    let mut bed = Bed::embedded("products");
    bed.create(1, "compact,delete");
    bed.put(&[("a", Some("1")), ("b", Some("2"))]);
    let mut followed = bed.follow(TableKeys::Plain);
    bed.until_ready(&mut followed);
    followed.0.end(bed.now());
    // Retention deletes everything before the host is back.
    bed.put(&[("c", Some("3"))]);
    bed.log.upkeep(Timestamp(log::now().0 + 30 * 24 * HOUR_MS)).unwrap();
    assert!(bed.log.watermarks("products").unwrap()[0].low.0 >= 3, "all is gone");
    bed.put(&[("d", Some("4"))]);
    let mut followed = bed.follow(TableKeys::Plain);
    bed.until_it_has(&mut followed, &[("d", "4")]);
    assert_eq!(followed.table().status().wiped, 1);
    followed.0.end(bed.now());
    // Nothing is new: however old the copy is, it misses nothing.
    bed.ahead = 20 * HOUR_MS;
    let mut followed = bed.follow(TableKeys::Plain);
    bed.until_ready(&mut followed);
    assert_eq!(followed.table().status().wiped, 0);
    followed.0.end(bed.now());
    // The delete of a key may be gone from the topic already.
    bed.put(&[("e", Some("5"))]);
    bed.ahead = 40 * HOUR_MS;
    let mut followed = bed.follow(TableKeys::Plain);
    bed.until_it_has(&mut followed, &[("d", "4"), ("e", "5")]);
    assert_eq!(followed.table().status().wiped, 1);
}

#[test]
fn keys_are_found_whatever_the_id_of_their_schema() {
    let bed = Bed::embedded("products");
    bed.create(2, "compact");
    bed.put(&[("\0\0\0\0\u{1}k", Some("1")), ("\0\0\0\0\u{1}l", Some("2")), ("text", Some("3")), ("", Some("4"))]);
    let mut followed = bed.follow(TableKeys::BySchema);
    bed.until_ready(&mut followed);
    bed.put(&[("\0\0\0\0\u{2}k", Some("5"))]);
    bed.until_it_has(&mut followed, &[("k", "5"), ("l", "2")]);
    assert_eq!((followed.table().status().applied, followed.table().status().unfit), (5, 2));
}

#[test]
fn a_missing_topic_of_a_table_does_not_affect_other_tables() {
    let mut bed = Bed::embedded("products");
    bed.create(1, "compact");
    bed.put(&[("a", Some("1"))]);
    let engine = bed.engine();
    let follow = |topic: &str| {
        Followed(Follower::new(bed.log.clone(), engine.clone(), Arc::new(Table::new(topic.into(), TableKeys::Plain))))
    };
    let (mut there, mut missing) = (follow("products"), follow("prices"));
    assert!(missing.0.turn(bed.now()).is_err());
    assert_eq!(missing.table().waits_for().as_deref(), Some("the table of `prices`: there is no topic `prices`"));
    bed.until_ready(&mut there);
    bed.topic = "prices".to_owned();
    bed.create(1, "compact");
    bed.until_ready(&mut missing);
    assert_eq!((missing.table().status().fault, all(missing.table())), (None, Some(vec![])));
}

#[test]
fn a_table_is_followed_while_it_is_used() {
    let bed = Bed::embedded("products");
    bed.create(1, "compact");
    bed.put(&[("a", Some("1"))]);
    let folder = bed.folder.path().join("tables");
    let tables = Tables::new(bed.log.clone(), move || open_engine(EngineKind::Sled, &folder, CACHE_BYTES));
    let topic = Topic::from("products");
    let first = tables.follow(&topic, TableKeys::Plain).unwrap();
    let second = tables.follow(&topic, TableKeys::Plain).unwrap();
    assert!(Arc::ptr_eq(&first, &second), "components share it");
    let wait = |what: &str, is_so: &dyn Fn() -> bool| {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !is_so() {
            assert!(Instant::now() < deadline, "waited in vain until {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    wait("it can be read", &|| first.is_ready());
    drop(first);
    bed.put(&[("b", Some("2"))]);
    wait("it is followed", &|| second.get(b"b").unwrap().is_some());
    drop(second);
    wait("nobody follows it any more", &|| tables.all().is_empty());
    let again = tables.follow(&topic, TableKeys::Plain).unwrap();
    wait("it can be read again", &|| again.is_ready());
    assert_eq!((again.status().applied, again.get(b"b").unwrap()), (0, Some(Bytes::from("2"))));
    tables.stop();
}
