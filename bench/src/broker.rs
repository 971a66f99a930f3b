//! The benchmark's queries to the broker: committed offsets of a group, and ends of topics.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use heddle::log::kafka::KafkaLog;
use heddle::log::{Log, LogError, Start, TopicSpec};
use heddle_core::event::{Offset, Record, TopicPartition};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::TopicPartitionList;

use crate::orders::INPUT;

const TIMEOUT: Duration = Duration::from_secs(20);

/// The end offsets of some topics' partitions.
pub(crate) type Ends = BTreeMap<TopicPartition, Offset>;

/// Creates a topic, unless it exists. The topic has unlimited retention, because the orders' timestamps are old.
pub(crate) fn create(log: &KafkaLog, name: &str, partitions: i32) -> Result<()> {
    let options = BTreeMap::from([("retention.ms".to_owned(), "-1".to_owned())]);
    let spec = TopicSpec { name: name.to_owned(), partitions, replication: None, options };
    match log.create_topic(&spec) {
        Ok(()) | Err(LogError::TopicExists(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Recreates topics as empty ones.
pub(crate) fn replace(log: &KafkaLog, names: &[&str], partitions: i32) -> Result<()> {
    names.iter().try_for_each(|name| {
        log.delete_topic(name)?;
        create(log, name, partitions)
    })
}

/// The number of records in the input.
pub(crate) fn input(log: &KafkaLog) -> Result<u64> {
    Ok(ends(log, &[INPUT])?.values().map(|end| end.0.cast_unsigned()).sum())
}

/// The current ends of these topics.
pub(crate) fn ends(log: &KafkaLog, topics: &[&str]) -> Result<Ends> {
    let mut ends = Ends::new();
    for topic in topics {
        for watermarks in log.watermarks(topic)? {
            ends.insert(TopicPartition { topic: (*topic).into(), partition: watermarks.partition }, watermarks.end);
        }
    }
    Ok(ends)
}

/// Passes the committed records between two positions to `each`.
pub(crate) fn read(log: &KafkaLog, from: &Ends, to: &Ends, mut each: impl FnMut(Record)) -> Result<()> {
    let starts = from.iter().map(|(place, offset)| (place.clone(), Start::At(*offset))).collect::<Vec<_>>();
    let mut reader = log.reader(&starts)?;
    loop {
        reader.poll(Duration::from_millis(100))?.into_iter().for_each(&mut each);
        let positions = reader.positions()?;
        if to.iter().all(|(place, end)| positions.get(place).is_some_and(|position| position >= end)) {
            return Ok(());
        }
    }
}

/// Queries the committed offsets of one group in the input.
pub(crate) struct Group {
    consumer: BaseConsumer,
    input: TopicPartitionList,
}

impl Group {
    /// Creates the handle of a group by its name, for the partitions of the input.
    pub(crate) fn new(bootstrap: &str, name: &str, partitions: i32) -> Result<Self> {
        let consumer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("group.id", name)
            // An open transaction must not block the query: what is committed so far is the answer.
            .set("isolation.level", "read_uncommitted")
            .set("enable.auto.commit", "false")
            .create()?;
        let mut input = TopicPartitionList::new();
        input.add_partition_range(INPUT, 0, partitions - 1);
        Ok(Self { consumer, input })
    }

    /// The number of input records that the group has committed, since the beginning of each partition.
    pub(crate) fn committed(&self) -> Result<u64> {
        let mut answer = self.consumer.committed_offsets(self.input.clone(), TIMEOUT);
        // A new group has no coordinator for a moment.
        let since = Instant::now();
        while answer.is_err() && since.elapsed() < TIMEOUT {
            std::thread::sleep(Duration::from_millis(50));
            answer = self.consumer.committed_offsets(self.input.clone(), TIMEOUT);
        }
        let answer = answer.context("asking for the group's positions")?;
        let offsets = answer.elements().iter().filter_map(|element| element.offset().to_raw()).collect::<Vec<_>>();
        Ok(offsets.iter().map(|offset| u64::try_from(*offset).unwrap_or(0)).sum())
    }
}
