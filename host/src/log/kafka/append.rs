//! Writes outside of any transaction: an idempotent producer, and the delivery of each record.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use heddle_core::event::{NewRecord, Offset, TopicPartition};
use heddle_core::limits::batch_bytes;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer, ProducerContext};

use super::super::LogError;
use super::cluster::Cluster;
use super::errors::{code_error, request_error};
use super::producer::{check, look_again};
use super::record::to_send;
use super::report::Report;
use crate::lock::lock;

/// The longest time until a record is delivered.
const DELIVERY_TIME_MAX: Duration = Duration::from_secs(30);
/// The additional time that the caller waits, because librdkafka gives up on a record after its own timeout.
const DELIVERY_SLACK: Duration = Duration::from_secs(5);
/// The longest single wait for deliveries.
const DELIVERY_SLICE: Duration = Duration::from_millis(1);

/// The producer of a log's plain writes. It serves one caller at a time.
pub(super) struct Appender {
    producer: BaseProducer<Reports>,
    next_number: usize,
}

/// The reported deliveries, by the number of the record.
struct Reports {
    report: Report,
    heard: Mutex<BTreeMap<usize, Delivery>>,
}

type Delivery = Result<(TopicPartition, Offset), Code>;

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.report.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.report.error(error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let delivery = match result {
            Ok(message) => Ok((TopicPartition::new(message.topic(), message.partition()), Offset(message.offset()))),
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap_or(Code::Fail)),
        };
        lock(&self.heard).insert(number, delivery);
    }
}

impl Appender {
    pub(super) fn new(cluster: &Cluster) -> Result<Self, LogError> {
        let mut config = cluster.options().producer();
        config.set("message.timeout.ms", DELIVERY_TIME_MAX.as_millis().to_string());
        let context = Reports { report: Report::new("append"), heard: Mutex::new(BTreeMap::new()) };
        let producer = config.create_with_context(context).map_err(|error| request_error(&error, "appending"))?;
        Ok(Self { producer, next_number: 0 })
    }

    /// Writes `records` and waits until the brokers have them. If one of them is refused beforehand, nothing is
    /// written.
    pub(super) fn append(
        &mut self,
        cluster: &Cluster,
        records: &[NewRecord],
    ) -> Result<Vec<(TopicPartition, Offset)>, LogError> {
        let mut limits = Vec::with_capacity(records.len());
        for record in records {
            limits.push(check(cluster, record.borrowed(), crate::log::now())?);
        }
        let first = self.next_number;
        // A number is never reused, because the report of an earlier call that gave up may still arrive.
        self.next_number += records.len();
        lock(&self.producer.context().heard).clear();
        let deadline = Instant::now() + DELIVERY_TIME_MAX;
        let mut batch_size = 0;
        for (number, (record, limits)) in (first..).zip(records.iter().zip(limits)) {
            // librdkafka does not split a batch that is too large for a topic. So the producer is drained in between if
            // the topics only accept small batches.
            batch_size += batch_bytes(record.borrowed());
            if batch_size > limits.batch_bytes_max && limits.batch_bytes_max < cluster.options().batch_bytes_max() {
                self.wait(first, number, deadline)?;
                batch_size = batch_bytes(record.borrowed());
            }
            self.send(record, number, deadline)?;
        }
        self.wait(first, self.next_number, deadline)?;
        let heard = std::mem::take(&mut *lock(&self.producer.context().heard));
        heard
            .range(first..self.next_number)
            .map(|(_, delivery)| delivery.clone().map_err(|code| code_error(code, "appending")))
            .collect()
    }

    fn send(&self, record: &NewRecord, number: usize, deadline: Instant) -> Result<(), LogError> {
        let mut message = to_send(record.borrowed(), number);
        loop {
            match self.producer.send(message) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(Code::QueueFull), refused)) if Instant::now() < deadline => {
                    message = refused;
                    self.producer.poll(DELIVERY_SLICE);
                }
                Err((KafkaError::MessageProduction(Code::UnknownPartition), refused)) if Instant::now() < deadline => {
                    message = refused;
                    look_again(self.producer.client(), &record.topic);
                }
                Err((error, _)) => return Err(request_error(&error, &format!("appending to `{}`", record.topic))),
            }
        }
    }

    /// Waits until all records with numbers from `first` up to `end` were delivered or failed.
    fn wait(&self, first: usize, end: usize, deadline: Instant) -> Result<(), LogError> {
        loop {
            if lock(&self.producer.context().heard).range(first..end).count() == end - first {
                return Ok(());
            }
            if Instant::now() > deadline + DELIVERY_SLACK {
                return Err(LogError::Unreachable("appending: the brokers did not answer in time".to_owned()));
            }
            self.producer.poll(DELIVERY_SLICE);
        }
    }
}
