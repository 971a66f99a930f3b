//! Records and positions of other clients, which do not write text where Kafka expects it.

use std::collections::BTreeMap;

use bytes::Bytes;
use heddle::log::kafka::KafkaLog;
use heddle::log::{Groups as _, Log as _, Polled};
use heddle_core::event::{Header, Offset};
use heddle_fixtures::kafka;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::message::{Header as RdHeader, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::TopicPartitionList;

use super::{PATIENCE, POLL, assigned, connect, create, member_options, read_all, record, until};

/// A text that is none. rdkafka only passes its bytes on.
#[allow(unsafe_code)] // rdkafka takes nothing but text
fn not_text() -> String {
    // SAFETY: the text is only copied, as bytes, and nobody looks at its characters.
    unsafe { String::from_utf8_unchecked(vec![b't', 0xff, 0xc3]) }
}

#[test]
fn a_header_whose_name_is_not_text_is_read() {
    let (broker, log) = (kafka::shared(), connect(kafka::shared()));
    create(&log, "foreign-headers", 1, &[]);
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", broker.bootstrap()).create().unwrap();
    let (name, long) = (not_text(), "n".repeat(60_000));
    let headers = [(&*name, Some("v")), ("", None), (&*long, Some(""))].into_iter();
    let headers = headers.fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(RdHeader { key, value }));
    let sent = BaseRecord::<str, str>::to("foreign-headers").payload("value").headers(headers);
    producer.send(sent).map_err(|(error, _)| error).unwrap();
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
    position.set_metadata(not_text());
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
