//! Reports librdkafka's log lines, and the errors from which it recovers by itself.
//!
//! librdkafka logs several times a second while a broker is down. One warning every few seconds is enough.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::lock::lock;

/// The minimum interval between two warnings of one client.
const WARNING_INTERVAL: Duration = Duration::from_secs(5);

/// Reports the problems of one client. Keeps the last one for the message of a call that fails because of it.
#[derive(Debug)]
pub(super) struct Report {
    client: String,
    last_warning: Mutex<Option<Instant>>,
    last_reason: Mutex<Option<String>>,
}

impl Report {
    /// Creates a report. `client` is the purpose of the client, for a reader of the host's log.
    pub(super) fn new(client: impl Into<String>) -> Self {
        Self { client: client.into(), last_warning: Mutex::new(None), last_reason: Mutex::new(None) }
    }

    /// Takes the reason of the last error, in librdkafka's words.
    pub(super) fn take_reason(&self) -> Option<String> {
        lock(&self.last_reason).take()
    }

    fn warn(&self, text: &str) {
        let mut last = lock(&self.last_warning);
        if last.is_none_or(|at| at.elapsed() >= WARNING_INTERVAL) {
            *last = Some(Instant::now());
            tracing::warn!(client = %self.client, text, "the Kafka client reports a problem");
        }
    }
}

impl ClientContext for Report {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        match level {
            // "This is a producer property": every option is passed to every client.
            _ if facility == "CONFWARN" => {}
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
                tracing::debug!(client = %self.client, facility, line, "the Kafka client reports");
            }
            _ => self.warn(line),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // "All brokers are down" follows the actual reason, and would hide it.
        if !matches!(error, KafkaError::Global(Code::AllBrokersDown)) {
            *lock(&self.last_reason) = Some(reason.to_owned());
        }
        self.warn(reason);
    }
}

impl ConsumerContext for Report {}
