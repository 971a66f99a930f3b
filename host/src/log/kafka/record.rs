//! Records and positions, between Heddle's types and librdkafka's.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use heddle_core::event::{Header, NewRecordRef, Offset, Record, Timestamp, Topic, TopicPartition};
use rdkafka::Offset as RdOffset;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Header as RdHeader, Headers, Message, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::util::IntoOpaque;

/// The bytes of a batch of records (message format 2) before its first record.
const BATCH_HEADER_BYTES: usize = 61;

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

/// Where `message` stands.
pub(super) fn source_of(message: &BorrowedMessage<'_>, names: &mut TopicNames) -> TopicPartition {
    TopicPartition::new(names.shared(message.topic()), message.partition())
}

/// Whether `message` stands there.
pub(super) fn is_from(message: &BorrowedMessage<'_>, source: &TopicPartition) -> bool {
    message.partition() == source.partition.0 && message.topic() == &*source.topic
}

/// The record in `message`.
pub(super) fn record_of(message: &BorrowedMessage<'_>, source: TopicPartition) -> Record {
    let headers = message.headers().map_or_else(Vec::new, |headers| {
        headers
            .iter()
            .map(|header| Header {
                name: header.key.to_owned().into(),
                value: header.value.map(Bytes::copy_from_slice),
            })
            .collect()
    });
    let (key, value) = (message.key(), message.payload());
    // One piece of memory for both.
    let bytes = Bytes::from([key.unwrap_or_default(), value.unwrap_or_default()].concat());
    let end_of_key = key.map_or(0, <[u8]>::len);
    Record {
        source,
        offset: Offset(message.offset()),
        timestamp: Timestamp(message.timestamp().to_millis().unwrap_or(-1)),
        key: key.map(|_| bytes.slice(..end_of_key)),
        value: value.map(|_| bytes.slice(end_of_key..)),
        headers,
    }
}

/// `record` as rdkafka sends it; its delivery report carries `opaque`.
pub(super) fn to_send<D: IntoOpaque>(record: NewRecordRef<'_>, opaque: D) -> BaseRecord<'_, [u8], [u8], D> {
    let mut message = BaseRecord::with_opaque_to(record.topic, opaque);
    message.partition = record.partition.map(|partition| partition.0);
    message.timestamp = record.timestamp.map(|timestamp| timestamp.0);
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

/// The bytes of a batch that holds `record` alone and uncompressed: what a broker compares with `max.message.bytes`.
pub(super) fn batch_bytes(record: NewRecordRef<'_>) -> usize {
    let field = |bytes: Option<&[u8]>| bytes.map_or(1, |bytes| varint_bytes(bytes.len()) + bytes.len());
    let headers: usize = record
        .headers
        .iter()
        .map(|header| varint_bytes(header.name.len()) + header.name.len() + field(header.value.as_deref()))
        .sum();
    // Attributes, timestamp delta and offset delta take one byte each: the deltas of a first record are zero.
    let body = 3 + field(record.key) + field(record.value) + varint_bytes(record.headers.len()) + headers;
    BATCH_HEADER_BYTES + varint_bytes(body) + body
}

/// The bytes of `number` as a zigzag varint.
fn varint_bytes(number: usize) -> usize {
    let bits = (usize::BITS - number.leading_zeros() + 1).max(1);
    bits.div_ceil(7) as usize
}

/// The partitions in a list of librdkafka's.
pub(super) fn partitions_of(list: &TopicPartitionList) -> Vec<TopicPartition> {
    list.elements().iter().map(|element| TopicPartition::new(element.topic(), element.partition())).collect()
}

/// The positions in a list of librdkafka's; absent where there is none. Fails with the first error of a partition.
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
        // `Offset` positions are not negative, which is all that librdkafka refuses.
        let mut element = list.add_partition(&partition.topic, partition.partition.0);
        let _always_representable = element.set_offset(RdOffset::Offset(offset.0.max(0)));
    }
    list
}

#[cfg(test)]
mod tests {
    use heddle_core::event::NewRecord;

    use super::*;

    fn record(value: usize) -> NewRecord {
        NewRecord {
            topic: "t".into(),
            partition: None,
            timestamp: None,
            key: Some(Bytes::from_static(b"k")),
            value: Some(vec![0; value].into()),
            headers: vec![Header::new("h", &b"v"[..]), Header { name: "n".into(), value: None }],
        }
    }

    #[test]
    fn varints_are_zigzag() {
        let lengths = [0, 63, 64, 8_191, 8_192, 1_048_575, 1_048_576].map(varint_bytes);
        assert_eq!(lengths, [1, 1, 2, 2, 3, 3, 4]);
    }

    #[test]
    fn a_batch_of_one_record_is_counted_to_the_byte() {
        // length 1 + three single bytes + key 2 + value 1 + 10 + header count 1 + "h": 2 + 2, "n": 2 + 1
        assert_eq!(batch_bytes(record(10).borrowed()), 61 + 1 + 3 + 2 + 11 + 1 + 4 + 3);
    }
}
