//! Orders the records of a task that consumes several topics.

use std::collections::{BTreeMap, VecDeque};

use crate::event::{Partition, Record, TopicPartition};

/// Orders the records of a poll. Among the topics of one partition number, the record with the lowest timestamp comes
/// first; for equal timestamps, the topic's name decides. The order within a partition never changes. Records of a
/// single topic stay as they are.
#[must_use]
pub fn by_time(records: Vec<Record>) -> Vec<Record> {
    if records.iter().zip(records.iter().skip(1)).all(|(one, next)| one.source.topic == next.source.topic) {
        return records;
    }
    let mut tasks = BTreeMap::<Partition, BTreeMap<TopicPartition, VecDeque<Record>>>::new();
    let count = records.len();
    for record in records {
        let queues = tasks.entry(record.source.partition).or_default();
        if let Some(queue) = queues.get_mut(&record.source) {
            queue.push_back(record);
        } else {
            queues.insert(record.source.clone(), VecDeque::from([record]));
        }
    }
    let mut ordered = Vec::with_capacity(count);
    for mut queues in tasks.into_values() {
        while let Some(queue) =
            queues.values_mut().filter(|q| !q.is_empty()).min_by_key(|q| q.front().map(|r| r.timestamp))
        {
            ordered.extend(queue.pop_front());
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Offset, Timestamp};

    fn record(topic: &str, partition: i32, offset: i64, timestamp: i64) -> Record {
        Record {
            source: TopicPartition::new(topic, partition),
            offset: Offset(offset),
            timestamp: Timestamp(timestamp),
            key: None,
            value: None,
            headers: vec![],
        }
    }

    #[test]
    fn the_oldest_goes_first_and_partitions_keep_their_order() {
        let records = vec![
            record("b", 0, 0, 5),
            record("b", 0, 1, 1),
            record("a", 0, 7, 6),
            record("a", 1, 3, 0),
            record("a", 0, 8, 6),
        ];
        let places = by_time(records).iter().map(|r| format!("{}@{}", r.source, r.offset)).collect::<Vec<_>>();
        assert_eq!(places, ["b/0@0", "b/0@1", "a/0@7", "a/0@8", "a/1@3"]);
    }
}
