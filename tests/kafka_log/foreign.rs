//! Records and positions of other clients, which do not write text where Kafka expects it.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_void};
use std::ptr;

use bytes::Bytes;
use heddle::log::kafka::KafkaLog;
use heddle::log::{Groups as _, Log as _, Polled};
use heddle_core::event::{Header, Offset};
use heddle_fixtures::kafka;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, Producer as _};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka_sys as native;

use super::{PATIENCE, POLL, assigned, connect, create, member_options, read_all, record, until};

/// Bytes that are not UTF-8. rdkafka takes only text for names and metadata, so these tests call librdkafka itself.
const NOT_TEXT: &CStr = c"t\xff\xc3";

/// Sends a record with these headers. A `None` is a header without a value.
#[allow(unsafe_code)] // rdkafka takes nothing but text
fn send_with_headers(producer: &BaseProducer, topic: &CStr, headers: [(&CStr, Option<&[u8]>); 3]) {
    use native::rd_kafka_vtype_t::{
        RD_KAFKA_VTYPE_END as END, RD_KAFKA_VTYPE_HEADER as HEADER, RD_KAFKA_VTYPE_MSGFLAGS as FLAGS,
        RD_KAFKA_VTYPE_TOPIC as TOPIC, RD_KAFKA_VTYPE_VALUE as VALUE,
    };
    let value = b"value".as_slice();
    let [first, second, third] = headers.map(|(name, value)| {
        let bytes = value.map_or(ptr::null(), <[u8]>::as_ptr);
        (name.as_ptr(), bytes.cast::<c_void>(), value.map_or(0, <[u8]>::len).cast_signed())
    });
    // SAFETY: the client lives as long as the producer is borrowed. Each tag is followed by the arguments that it asks
    // for, in its types, and the last tag ends the list. Names are terminated, sizes are those of the bytes, and
    // librdkafka copies all of them before it returns.
    let code = unsafe {
        native::rd_kafka_producev(
            producer.client().native_ptr(),
            TOPIC,
            topic.as_ptr(),
            FLAGS,
            native::RD_KAFKA_MSG_F_COPY,
            VALUE,
            value.as_ptr().cast::<c_void>(),
            value.len(),
            HEADER,
            first.0,
            first.1,
            first.2,
            HEADER,
            second.0,
            second.1,
            second.2,
            HEADER,
            third.0,
            third.1,
            third.2,
            END,
        )
    };
    assert_eq!(RDKafkaErrorCode::from(code), RDKafkaErrorCode::NoError);
}

/// Sets the metadata of the list's only element.
#[allow(unsafe_code)] // rdkafka takes nothing but text
fn set_metadata(list: &mut TopicPartitionList, metadata: &[u8]) {
    assert_eq!(list.count(), 1);
    // SAFETY: the list is borrowed alone and has an element, whose metadata is not set yet. The memory is of the
    // metadata's size and comes from librdkafka's allocator, which frees it with the list.
    unsafe {
        let element = &mut *(*list.ptr()).elems;
        assert!(element.metadata.is_null());
        let copy = native::rd_kafka_mem_malloc(ptr::null_mut(), metadata.len());
        assert!(!copy.is_null());
        ptr::copy_nonoverlapping(metadata.as_ptr(), copy.cast(), metadata.len());
        (element.metadata, element.metadata_size) = (copy, metadata.len());
    }
}

#[test]
fn a_header_whose_name_is_not_text_is_read() {
    let (broker, log) = (kafka::shared(), connect(kafka::shared()));
    create(&log, "foreign-headers", 1, &[]);
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", broker.bootstrap()).create().unwrap();
    let long = "n".repeat(60_000);
    let name = CString::new(long.clone()).unwrap();
    let headers = [(NOT_TEXT, Some(b"v".as_slice())), (c"", None), (&*name, Some(b"".as_slice()))];
    send_with_headers(&producer, c"foreign-headers", headers);
    producer.flush(PATIENCE).unwrap();
    let (records, _) = read_all(&log, "foreign-headers");
    let read = [
        Header::new("t\u{fffd}\u{fffd}", Bytes::from_static(b"v")),
        Header { name: "".into(), value: None },
        Header::new(long, Bytes::new()),
    ];
    assert_eq!(records[0].headers, read);
}

#[test]
fn a_small_batch_of_large_records_is_taken_piece_by_piece() {
    const RECORDS: usize = 40;
    let log = connect(kafka::shared());
    create(&log, "foreign-batch", 1, &[("max.message.bytes", "2000000")]);
    let options = [("compression.type", "zstd"), ("batch.size", "50000000"), ("message.max.bytes", "50000000")];
    let options = options.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let sender = KafkaLog::connect(&kafka::shared().bootstrap(), &BTreeMap::from(options)).unwrap();
    sender.append(&vec![record("foreign-batch", 0, vec![0; 1_000_000]); RECORDS]).unwrap();
    let mut member = log.join(&member_options("foreign-batch", "foreign-batch")).unwrap();
    assigned(&mut *member);
    let (mut most, mut count) = (0, 0);
    until("all records", || {
        let Polled::Records(records) = member.poll(POLL).unwrap() else { return None };
        most = most.max(records.len());
        count += records.len();
        (count == RECORDS).then_some(())
    });
    assert!(most <= 17, "{most} records of 1 MB in one poll");
}

#[test]
fn a_group_whose_positions_have_metadata_that_is_not_text_is_taken_over() {
    let (broker, log) = (kafka::shared(), connect(kafka::shared()));
    create(&log, "foreign-positions", 1, &[]);
    log.append(&["a", "b"].map(|value| record("foreign-positions", 0, value))).unwrap();
    let options = member_options("foreign-positions", "foreign-positions");
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.bootstrap()).set("group.id", &options.group);
    let consumer: BaseConsumer = config.create().unwrap();
    let mut positions = TopicPartitionList::new();
    let mut position = positions.add_partition("foreign-positions", 0);
    position.set_offset(rdkafka::Offset::Offset(1)).unwrap();
    set_metadata(&mut positions, NOT_TEXT.to_bytes());
    consumer.commit(&positions, CommitMode::Sync).unwrap();
    drop(consumer);
    let mut member = log.join(&options).unwrap();
    assigned(&mut *member);
    let records = until("a record", || match member.poll(POLL).unwrap() {
        Polled::Records(records) if !records.is_empty() => Some(records),
        _ => None,
    });
    assert_eq!(records[0].offset, Offset(1));
}
