//! The suite on Apache Kafka. All cases share one broker and differ in the names of topics, groups and producers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_executor::block_on;
use heddle::log::Log;
use heddle::log::kafka::KafkaLog;
use heddle_core::event::{Offset, TopicPartition};
use heddle_fixtures::group::Protocol;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::{ClientConfig, Offset as RdOffset, TopicPartitionList};

use crate::conformance::harness::Harness;

/// The number of the next case.
static CASES: AtomicUsize = AtomicUsize::new(0);

pub(crate) struct Kafka {
    case: usize,
    protocol: Protocol,
    log: Arc<KafkaLog>,
}

impl Kafka {
    pub(crate) fn new(protocol: Protocol) -> Self {
        Self { case: CASES.fetch_add(1, Ordering::Relaxed), protocol, log: connect(protocol) }
    }
}

fn connect(protocol: Protocol) -> Arc<KafkaLog> {
    // A short session, so that a member that vanished is expelled soon.
    let (option, value) = protocol.option();
    let options = BTreeMap::from([(option.to_owned(), value.to_owned())]);
    Arc::new(KafkaLog::connect(&heddle_fixtures::kafka::shared().bootstrap(), &options).unwrap())
}

impl Harness for Kafka {
    fn log(&self) -> Arc<dyn Log> {
        self.log.clone()
    }

    fn reopen(&self) -> Arc<dyn Log> {
        connect(self.protocol)
    }

    fn writes_early(&self) -> bool {
        true
    }

    fn commits_take_a_while(&self) -> bool {
        true
    }

    fn trim(&self, source: &TopicPartition, before: Offset) {
        let bootstrap = heddle_fixtures::kafka::shared().bootstrap();
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", bootstrap).create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&source.topic, source.partition.0, RdOffset::Offset(before.0)).unwrap();
        let deleted = block_on(admin.delete_records(&list, &AdminOptions::new())).unwrap();
        deleted.elements()[0].error().unwrap();
    }

    fn fresh_name(&self, base: &str) -> String {
        format!("{base}-{}", self.case)
    }
}

crate::conformance::conformance!(Kafka::new(Protocol::Classic));
