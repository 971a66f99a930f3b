//! Facts that are fixed when partitions are assigned.

use std::time::{Duration, Instant};

use heddle::log::{Groups as _, Log as _, Member, Polled};
use heddle_core::event::{Offset, TopicPartition};
use heddle_fixtures::kafka;
use rdkafka::ClientConfig;
use rdkafka::Offset as RdOffset;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::TopicPartitionList;

use super::{POLL, assigned, connect, create, member_options, record, until, values};

/// An open transaction of a member that has lost its partition, as a worker leaves it that hangs before its commit.
///
/// It has sent a record to `output` and the position 2 of `input`/0, on behalf of a member of `group`.
fn pending(group: &str, input: &str, output: &str) -> BaseProducer {
    let bootstrap = kafka::shared().bootstrap();
    let client = |key: &str, value: &str| {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &bootstrap).set(key, value);
        config
    };
    let mut config = client("group.id", group);
    config.set("enable.auto.commit", "false").set("partition.assignment.strategy", "cooperative-sticky");
    let consumer: BaseConsumer = config.create().unwrap();
    consumer.subscribe(&[input]).unwrap();
    until("the earlier owner's assignment", || {
        let _nothing = consumer.poll(POLL);
        (consumer.assignment().unwrap().count() == 1).then_some(())
    });
    let producer: BaseProducer = client("transactional.id", &format!("{group}-earlier")).create().unwrap();
    producer.init_transactions(Duration::from_secs(30)).unwrap();
    producer.begin_transaction().unwrap();
    producer.send(BaseRecord::<(), str>::to(output).payload("effect").partition(0)).unwrap();
    let mut positions = TopicPartitionList::new();
    positions.add_partition_offset(input, 0, RdOffset::Offset(2)).unwrap();
    let metadata = consumer.group_metadata().unwrap();
    producer.send_offsets_to_transaction(&positions, &metadata, Duration::from_secs(30)).unwrap();
    producer.flush(Duration::from_secs(30)).unwrap();
    producer
}

/// Polls for longer than one query of the log for positions takes.
fn nothing_is_assigned(member: &mut dyn Member) {
    let glance = Instant::now() + Duration::from_secs(7);
    while Instant::now() < glance {
        assert_eq!(member.poll(POLL).unwrap(), Polled::Records(Vec::new()));
    }
}

#[test]
fn partitions_are_assigned_when_the_earlier_owners_transaction_is_decided() {
    let log = connect(kafka::shared());
    for (name, commits, first) in [("decided-commit", true, "c"), ("decided-abort", false, "a")] {
        let output = format!("{name}-output");
        create(&log, name, 1, &[]);
        create(&log, &output, 1, &[]);
        log.append(&["a", "b", "c"].map(|value| record(name, 0, value))).unwrap();
        let options = member_options(name, name);
        let earlier = pending(&options.group, name, &output);
        let mut heir = log.join(&options).unwrap();
        nothing_is_assigned(&mut *heir);
        match commits {
            true => earlier.commit_transaction(Duration::from_secs(30)).unwrap(),
            false => earlier.abort_transaction(Duration::from_secs(30)).unwrap(),
        }
        let decided = Instant::now();
        assert_eq!(assigned(&mut *heir), [TopicPartition::new(name, 0)]);
        println!("{name}: assigned {:?} after the decision", decided.elapsed());
        // A query for the end of the earlier owner's output now includes all of it.
        let end = log.watermarks(&output).unwrap()[0].end;
        assert!(end > Offset(0));
        let mut reader =
            log.reader(&[(TopicPartition::new(output.as_str(), 0), heddle::log::Start::Beginning)]).unwrap();
        let mut effects = Vec::new();
        until("the end of the output", || {
            effects.extend(reader.poll(POLL).unwrap());
            (reader.positions().unwrap().into_values().all(|position| position >= end)).then_some(())
        });
        assert_eq!(values(&effects), if commits { vec!["effect"] } else { vec![] });
        let records = until("records", || match heir.poll(POLL).unwrap() {
            Polled::Records(records) if !records.is_empty() => Some(records),
            _ => None,
        });
        assert_eq!(values(&records)[0], first);
    }
}
