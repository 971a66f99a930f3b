//! A worker whose broker is killed, between transactions and within one.

use std::collections::BTreeMap;

use heddle::log::kafka::KafkaLog;
use heddle::log::{Groups as _, Log, LogError, Member, MemberOptions, Polled};
use heddle_core::event::{Offset, TopicPartition};
use heddle_fixtures::kafka::Kafka;

use super::{POLL, connect, create, member_options, read_all, record, until, values};

/// The simplest worker: copies its input, and reacts to failures as the trait requires.
struct Copier<'a> {
    log: &'a KafkaLog,
    options: MemberOptions,
    member: Box<dyn Member>,
    /// The number of transactions committed, over all lives of the member.
    commits: usize,
    /// The number of records copied in them.
    copied: usize,
    failures: Vec<String>,
}

impl<'a> Copier<'a> {
    fn new(log: &'a KafkaLog, options: MemberOptions) -> Self {
        let member = log.join(&options).unwrap();
        Self { log, options, member, commits: 0, copied: 0, failures: Vec::new() }
    }

    fn turn(&mut self) {
        if let Err(error) = self.copy() {
            self.failures.push(error.to_string());
            let again = match error {
                LogError::Abort(_) => self.member.abort().and_then(|()| self.member.rewind()),
                other => Err(other),
            };
            if again.is_err() {
                self.rejoin();
            }
        }
    }

    fn copy(&mut self) -> Result<(), LogError> {
        let records = match self.member.poll(POLL)? {
            Polled::Records(records) => records,
            Polled::Assigned(partitions) => return self.member.resume(&partitions),
            Polled::Revoking(partitions) | Polled::Lost(partitions) => {
                self.member.abort()?;
                self.member.release(&partitions)?;
                return Ok(());
            }
        };
        let mut positions = BTreeMap::new();
        let count = records.len();
        for record in records {
            positions.insert(record.source.clone(), record.offset.next());
            let mut copy = super::record("copies", record.source.partition.0, record.value.unwrap());
            copy.key = record.key;
            self.member.send(copy)?;
        }
        self.member.commit(&positions.into_iter().collect::<Vec<_>>())?;
        self.commits += usize::from(count > 0);
        self.copied += count;
        Ok(())
    }

    /// Waits until the markers of the last commit are written: see [`Kafka::kill`].
    fn settle(&self) {
        let sources = [0, 1].map(|n| TopicPartition::new("originals", n));
        until("the last commit's markers", || {
            let positions = self.log.committed(&self.options.group, &sources).unwrap();
            let settled = positions.values().map(|offset| offset.0).sum::<i64>() == self.copied as i64
                && read_all(self.log, "copies").0.len() == self.copied;
            settled.then_some(())
        });
    }

    fn rejoin(&mut self) {
        self.member = until("joining again", || self.log.join(&self.options).ok());
    }
}

#[test]
fn a_broker_that_is_killed_between_and_inside_transactions_loses_and_doubles_nothing() {
    let kafka = Kafka::start();
    let log = connect(&kafka);
    create(&log, "originals", 2, &[]);
    create(&log, "copies", 2, &[]);
    let originals: Vec<_> = (0..600).map(|n| record("originals", n % 2, n.to_string())).collect();
    let mut copier =
        Copier::new(&log, MemberOptions { batch_records_max: 10, ..member_options("copier", "originals") });
    log.append(&originals[..300]).unwrap();
    until("some commits", || {
        copier.turn();
        (copier.commits > 5).then_some(())
    });
    copier.settle();
    // The broker dies between two transactions. The next ones meet a dead broker and one that restarts.
    kafka.kill();
    std::thread::scope(|scope| {
        scope.spawn(|| kafka.restart());
        copier.turn();
        copier.turn();
    });
    log.append(&originals[300..]).unwrap();
    let before = copier.commits;
    until("more commits", || {
        copier.turn();
        (copier.commits > before + 5).then_some(())
    });
    copier.settle();
    // Inside a transaction: records are polled and sent, but not committed.
    let open = until("records", || match copier.member.poll(POLL).unwrap() {
        Polled::Records(records) => (!records.is_empty()).then_some(records),
        // The group may still be reacting to the previous kill.
        Polled::Assigned(partitions) => {
            copier.member.resume(&partitions).unwrap();
            None
        }
        Polled::Revoking(partitions) | Polled::Lost(partitions) => {
            copier.member.release(&partitions).unwrap();
            None
        }
    });
    for record in open {
        copier.member.send(super::record("copies", record.source.partition.0, record.value.unwrap())).unwrap();
    }
    kafka.kill();
    std::thread::scope(|scope| {
        scope.spawn(|| kafka.restart());
        copier.member.abort().and_then(|()| copier.member.rewind()).unwrap_or_else(|_| copier.rejoin());
    });
    let ends: Vec<_> = [0, 1].map(|n| TopicPartition::new("originals", n)).into();
    until("the end of the input", || {
        copier.turn();
        let positions = log.committed(&copier.options.group, &ends).unwrap();
        ends.iter().all(|partition| positions.get(partition) == Some(&Offset(300))).then_some(())
    });
    println!("failures on the way: {:#?}", copier.failures);
    let mut copies: BTreeMap<TopicPartition, Vec<String>> = BTreeMap::new();
    until("all copies", || {
        let (records, _) = read_all(&log, "copies");
        copies.clear();
        for record in &records {
            copies.entry(record.source.clone()).or_default().extend(values(std::slice::from_ref(record)));
        }
        (records.len() >= originals.len()).then_some(())
    });
    for n in 0..2 {
        let expected: Vec<String> = (0..600).filter(|value| value % 2 == n).map(|value| value.to_string()).collect();
        assert_eq!(copies[&TopicPartition::new("copies", n)], expected, "partition {n}");
    }
}
