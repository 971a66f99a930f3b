//! The suite on Apache Kafka: one broker for all cases, told apart by the names of their topics, groups and producers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use heddle::log::Log;
use heddle::log::kafka::KafkaLog;

use crate::conformance::harness::Harness;

/// The number of the next case.
static CASES: AtomicUsize = AtomicUsize::new(0);

struct Kafka {
    case: usize,
    log: Arc<KafkaLog>,
}

impl Kafka {
    fn new() -> Self {
        Self { case: CASES.fetch_add(1, Ordering::Relaxed), log: connect() }
    }
}

fn connect() -> Arc<KafkaLog> {
    // A member that vanished without a word is missed soon.
    let options = BTreeMap::from([("session.timeout.ms".to_owned(), "6000".to_owned())]);
    Arc::new(KafkaLog::connect(&heddle_fixtures::kafka::shared().bootstrap(), &options).unwrap())
}

impl Harness for Kafka {
    fn log(&self) -> Arc<dyn Log> {
        self.log.clone()
    }

    fn reopen(&self) -> Arc<dyn Log> {
        connect()
    }

    fn writes_early(&self) -> bool {
        true
    }

    fn commits_take_a_while(&self) -> bool {
        true
    }

    fn fresh_name(&self, base: &str) -> String {
        format!("{base}-{}", self.case)
    }
}

crate::conformance::conformance!(Kafka::new());
