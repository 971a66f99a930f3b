//! Converts records and positions between Heddle's types and librdkafka's.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use heddle_core::event::{NewRecordRef, Offset, Record, Timestamp, Topic, TopicPartition};
use rdkafka::Offset as RdOffset;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Header as RdHeader, Message, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::util::IntoOpaque;

use super::super::TopicId;
use super::native;

/// Names of topics, shared by the records of one consumer.
#[derive(Debug, Default)]
pub(super) struct TopicNames(HashMap<String, Topic>);

impl TopicNames {
    fn shared(&mut self, name: &str) -> Topic {
        if let Some(topic) = self.0.get(name) {
            return topic.clone();
        }
        let topic = Topic::from(name);
        self.0.insert(name.to_owned(), topic.clone());
        topic
    }
}

/// The partition of `message`.
pub(super) fn source_of(message: &BorrowedMessage<'_>, names: &mut TopicNames) -> TopicPartition {
    TopicPartition::new(names.shared(message.topic()), message.partition())
}

/// Returns true if `message` is from that partition.
pub(super) fn is_from(message: &BorrowedMessage<'_>, source: &TopicPartition) -> bool {
    message.partition() == source.partition.0 && message.topic() == &*source.topic
}

/// The record in `message`.
pub(super) fn record_of(message: &BorrowedMessage<'_>, source: TopicPartition) -> Record {
    let (key, value) = (message.key(), message.payload());
    // Key and value share one allocation.
    let bytes = Bytes::from([key.unwrap_or_default(), value.unwrap_or_default()].concat());
    let end_of_key = key.map_or(0, <[u8]>::len);
    Record {
        source,
        offset: Offset(message.offset()),
        timestamp: Timestamp(message.timestamp().to_millis().unwrap_or(-1)),
        key: key.map(|_| bytes.slice(..end_of_key)),
        value: value.map(|_| bytes.slice(end_of_key..)),
        headers: native::headers(message),
    }
}

/// The size of a record's key and value, in bytes.
pub(super) fn bytes_of(record: &Record) -> usize {
    let bytes = |part: &Option<Bytes>| part.as_ref().map_or(0, Bytes::len);
    bytes(&record.key) + bytes(&record.value)
}

/// The timestamp that is written for the time 0. For librdkafka, 0 means no timestamp, and it would write its clock's
/// time.
const EARLIEST_MS: i64 = 1;

/// Converts `record` for rdkafka. Its delivery report has `opaque`.
pub(super) fn to_send<D: IntoOpaque>(record: NewRecordRef<'_>, opaque: D) -> BaseRecord<'_, [u8], [u8], D> {
    let mut message = BaseRecord::with_opaque_to(record.topic, opaque);
    message.partition = record.partition.map(|partition| partition.0);
    message.timestamp = record.timestamp.map(|timestamp| if timestamp.0 == 0 { EARLIEST_MS } else { timestamp.0 });
    message.key = record.key;
    message.payload = record.value;
    if !record.headers.is_empty() {
        message.headers = Some(
            record.headers.iter().fold(OwnedHeaders::new_with_capacity(record.headers.len()), |headers, header| {
                headers.insert(RdHeader { key: &header.name, value: header.value.as_deref() })
            }),
        );
    }
    message
}

/// The partitions in a list of librdkafka's.
pub(super) fn partitions_of(list: &TopicPartitionList) -> Vec<TopicPartition> {
    list.elements().iter().map(|element| TopicPartition::new(element.topic(), element.partition())).collect()
}

/// The positions in a list of librdkafka; absent for partitions without one. Fails with the first error of a partition.
pub(super) fn positions_of(list: &TopicPartitionList) -> Result<BTreeMap<TopicPartition, Offset>, KafkaError> {
    let mut positions = BTreeMap::new();
    for element in list.elements() {
        match element.error() {
            Ok(()) => {}
            Err(KafkaError::OffsetFetch(Code::UnknownTopicOrPartition | Code::UnknownPartition)) => continue,
            Err(error) => return Err(error),
        }
        if let RdOffset::Offset(offset) = element.offset() {
            positions.insert(TopicPartition::new(element.topic(), element.partition()), Offset(offset));
        }
    }
    Ok(positions)
}

/// A list of partitions without positions.
pub(super) fn list_of<'a>(partitions: impl IntoIterator<Item = &'a TopicPartition>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(&partition.topic, partition.partition.0);
    }
    list
}

/// A list of partitions with the position of each.
pub(super) fn positions_list<'a>(
    positions: impl IntoIterator<Item = (&'a TopicPartition, Offset)>,
) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in positions {
        // `Offset` positions are not negative. librdkafka refuses only negative ones.
        let mut element = list.add_partition(&partition.topic, partition.partition.0);
        let _always_representable = element.set_offset(RdOffset::Offset(offset.0.max(0)));
    }
    list
}

/// The prefix of a committed position's metadata, in front of its topic's identity.
const TOPIC_ID: &str = "heddle:topic=";

/// Adds the ids of their topics to the positions in `list`. A topic that is recreated under its name has another id.
pub(super) fn say_topics(list: &mut TopicPartitionList, ids: &BTreeMap<Topic, TopicId>) {
    for mut element in list.elements() {
        if let Some(TopicId(id)) = ids.get(element.topic()) {
            element.set_metadata(format!("{TOPIC_ID}{id}"));
        }
    }
}

/// The ids of their topics in committed positions.
pub(super) fn said_topics(list: &TopicPartitionList) -> BTreeMap<TopicPartition, TopicId> {
    let said = list.elements().into_iter().zip(native::metadata(list)).filter_map(|(element, metadata)| {
        let id = metadata.strip_prefix(TOPIC_ID)?.to_owned();
        Some((TopicPartition::new(element.topic(), element.partition()), TopicId(id)))
    });
    said.collect()
}
