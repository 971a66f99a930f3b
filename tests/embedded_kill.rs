//! The embedded log under `kill -9`.
//!
//! A child process commits transactions until it is killed, repeatedly. After every kill the log holds only whole
//! transactions with their positions, and all acknowledged ones.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use heddle::log::embedded::{EmbeddedLog, EmbeddedOptions};
use heddle::log::{Groups as _, Log, MemberOptions, Polled, Start, TopicSpec};
use heddle_core::event::{NewRecord, Offset, Partition, TopicPartition};

const FOLDER: &str = "HEDDLE_TEST_KILL_FOLDER";
const KILLS: u64 = 10;
/// The number of records that a transaction writes to each of the two topics.
const RECORDS: u64 = 3;

fn open(folder: &Path) -> EmbeddedLog {
    EmbeddedLog::open(folder, EmbeddedOptions::default()).unwrap()
}

/// The number of committed transactions, which is the group's position.
fn committed(log: &EmbeddedLog) -> u64 {
    let source = TopicPartition::new("in", 0);
    let positions = log.committed("group", std::slice::from_ref(&source)).unwrap();
    positions.get(&source).map_or(0, |position| position.0.unsigned_abs())
}

/// The child: commits until it is killed, and prints each commit. Sometimes two large values meet in one page of the
/// store, which then writes that page to a separate file.
#[test]
#[ignore = "only runs as a child of the test below"]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let log = open(Path::new(&folder));
    let options = MemberOptions {
        group: "group".to_owned(),
        topics: vec!["in".into()],
        transactional_id: "child".to_owned(),
        instance_id: None,
        start: Start::Beginning,
        starts: Default::default(),
        transaction_time: heddle::runtime::TRANSACTION_TIME,
        batch_records_max: 1,
    };
    let mut member = log.join(&options).unwrap();
    let assigned = member.poll(Duration::from_secs(10)).unwrap();
    assert_eq!(assigned, Polled::Assigned(vec![TopicPartition::new("in", 0)]));
    for transaction in committed(&log).. {
        for number in 0..RECORDS {
            for topic in ["a", "b"] {
                let large = matches!(transaction % 20, 7 | 9) && number == 0;
                let filler = if large { 1_000_000 } else { 100 };
                let mut value = format!("{transaction}/{number} ");
                value.push_str(&"x".repeat(filler));
                let sent = member.send(NewRecord {
                    topic: topic.into(),
                    partition: Some(Partition(i32::try_from(transaction % 2).unwrap())),
                    timestamp: None,
                    key: None,
                    value: Some(Bytes::from(value)),
                    headers: Vec::new(),
                });
                sent.unwrap();
            }
        }
        let position = Offset(i64::try_from(transaction + 1).unwrap());
        member.commit(&[(TopicPartition::new("in", 0), position)]).unwrap();
        println!("committed {}", transaction + 1);
    }
}

/// The expected content of one partition of a topic after `count` transactions.
fn expected(partition: u64, count: u64) -> Vec<String> {
    let transactions = (0..count).filter(|transaction| transaction % 2 == partition);
    transactions.flat_map(|transaction| (0..RECORDS).map(move |number| format!("{transaction}/{number}"))).collect()
}

fn read(log: &EmbeddedLog, source: TopicPartition) -> Vec<String> {
    let mut reader = log.reader(&[(source, Start::Beginning)]).unwrap();
    let mut values = Vec::new();
    loop {
        let records = reader.poll(Duration::ZERO).unwrap();
        if records.is_empty() {
            return values;
        }
        for record in records {
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            values.push(value.split_once(' ').unwrap().0.to_owned());
        }
    }
}

/// Runs the child until it has acknowledged `acknowledged_min` transactions, and for `moment` longer. Returns the last
/// acknowledged one.
fn run_and_kill(folder: &Path, acknowledged_min: u64, moment: Duration) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "embedded_kill::child", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = child.stdout.take().unwrap();
    let (announce, announced) = std::sync::mpsc::channel();
    let listener = std::thread::spawn(move || {
        let mut last = 0;
        for (seen, number) in BufReader::new(output)
            .lines()
            .map_while(Result::ok)
            .filter_map(|line| line.split_once("committed ")?.1.parse().ok())
            .enumerate()
        {
            last = number;
            if seen as u64 + 1 == acknowledged_min {
                announce.send(()).unwrap();
            }
        }
        last
    });
    let started = announced.recv_timeout(Duration::from_secs(60));
    std::thread::sleep(moment);
    child.kill().unwrap();
    child.wait().unwrap();
    started.expect("the child commits");
    listener.join().unwrap()
}

#[test]
fn a_killed_process_leaves_whole_transactions() {
    let folder = tempfile::tempdir().unwrap();
    {
        let log = open(folder.path());
        for (name, partitions) in [("in", 1), ("a", 2), ("b", 2)] {
            let options = [("retention.ms".to_owned(), "-1".to_owned())].into();
            log.create_topic(&TopicSpec { name: name.to_owned(), partitions, replication: None, options }).unwrap();
        }
    }
    let mut before = 0;
    for kill in 1..=KILLS {
        let seed = kill.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let moment = Duration::from_micros((seed >> 40) % 6_000);
        let acknowledged = run_and_kill(folder.path(), 1 + (seed >> 8) % 60, moment);
        let log = open(folder.path());
        let count = committed(&log);
        assert!(acknowledged > before && count >= acknowledged, "kill {kill}: {before} {acknowledged} {count}");
        // The transaction in flight may have been committed, but not another one.
        assert!(count <= acknowledged + 1, "kill {kill}: {acknowledged} {count}");
        for topic in ["a", "b"] {
            for partition in 0..2 {
                let source = TopicPartition::new(topic, i32::try_from(partition).unwrap());
                assert_eq!(read(&log, source), expected(partition, count), "kill {kill}, {topic}/{partition}");
            }
        }
        before = count;
    }
    let spilled = std::fs::read_dir(folder.path().join("blobs")).unwrap().count();
    assert!(spilled > 0, "no page was large enough to prove anything about large pages");
}
