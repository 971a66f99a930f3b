//! A transactional producer: what a member sends, committed together with the group's positions or not at all.
//!
//! ```text
//!            send, commit           commit: Ok
//!   closed ───────────────> open ───────────────> closed
//!     ^                      │ any error
//!     └──────── abort ───────┘
//! ```

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use heddle_core::event::{NewRecord, Offset, TopicPartition};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer, ProducerContext};

use super::super::LogError;
use super::cluster::{Cluster, TopicLimits};
use super::errors::{Failure, code_error, request_error};
use super::native::{commit_transaction, send_positions};
use super::rebalance::Rebalances;
use super::record::{batch_bytes, positions_list, to_send};
use super::report::Report;
use crate::lock::lock;

/// How long a transactional call is repeated while its failure is one that passes.
const CALL_TIME_MAX: Duration = Duration::from_secs(30);
/// How long one try of such a call may take: between two, failed deliveries are looked at, which the call may be waiting for.
const CALL_SLICE: Duration = Duration::from_millis(500);
/// The same for an abort, which always has dropped records to report.
const ABORT_SLICE: Duration = Duration::from_millis(50);
/// The pause before a call that failed at once is repeated.
const CALL_PAUSE: Duration = Duration::from_millis(20);
/// How long one wait for room in the producer's queue takes.
const QUEUE_PAUSE: Duration = Duration::from_millis(5);

/// A member's producer.
pub(super) struct TransactionalProducer {
    cluster: Arc<Cluster>,
    id: String,
    producer: BaseProducer<Deliveries>,
    open: bool,
    /// The most bytes that the producer puts into one batch.
    batch_bytes_max: usize,
    /// The most bytes that every topic seen so far accepts in one batch; below the former: the producer must be made anew.
    batch_bytes_wanted: usize,
}

/// Hears of failed deliveries; successful ones are not reported.
struct Deliveries {
    report: Report,
    failed: Mutex<Option<(Code, String)>>,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.report.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.report.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            // The first failure is the cause; those purged after it only follow.
            let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
            lock(&self.failed).get_or_insert_with(|| (code, message.topic().to_owned()));
        }
    }
}

impl TransactionalProducer {
    /// A producer for `id`. Fences every earlier one with this id and ends what it left open.
    pub(super) fn new(cluster: Arc<Cluster>, id: &str) -> Result<Self, LogError> {
        let batch_bytes_max = cluster.options().batch_bytes_max();
        let producer = create(&cluster, id, batch_bytes_max)?;
        Ok(Self {
            cluster,
            id: id.to_owned(),
            producer,
            open: false,
            batch_bytes_max,
            batch_bytes_wanted: batch_bytes_max,
        })
    }

    /// Adds `record` to the transaction, opening one if there is none.
    pub(super) fn send(&mut self, record: &NewRecord) -> Result<(), LogError> {
        let limits = check(&self.cluster, record)?;
        self.batch_bytes_wanted = self.batch_bytes_wanted.min(limits.batch_bytes_max);
        self.open()?;
        let deadline = Instant::now() + CALL_TIME_MAX;
        let mut message = to_send(record, ());
        loop {
            match self.producer.send(message) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(Code::QueueFull), refused)) => {
                    if Instant::now() > deadline {
                        return Err(LogError::Abort(
                            "the producer's queue stayed full: the brokers take nothing".to_owned(),
                        ));
                    }
                    message = refused;
                    self.producer.poll(QUEUE_PAUSE);
                }
                Err((error, _)) => return Err(self.refused(error, record)),
            }
        }
    }

    /// Commits what was sent and `positions`, on behalf of the group's member `member`.
    pub(super) fn commit(
        &mut self,
        positions: &[(TopicPartition, Offset)],
        member: &BaseConsumer<Rebalances>,
    ) -> Result<(), LogError> {
        if !self.open && positions.is_empty() {
            return Ok(());
        }
        self.open()?;
        if !positions.is_empty() {
            let list = positions_list(positions.iter().map(|(partition, offset)| (partition, *offset)));
            let sent = self.repeat(|producer| send_positions(producer, &list, member, CALL_TIME_MAX));
            // Not committed for certain: what ends a transaction was not asked for yet.
            sent.map_err(|failure| failure.remedy().unwrap_or(LogError::Abort(failure.text)))?;
        }
        match self.repeat(|producer| commit_transaction(producer, CALL_SLICE)) {
            Ok(()) => {
                self.open = false;
                Ok(())
            }
            Err(failure) => Err(self.not_committed(failure)),
        }
    }

    /// Drops what was sent since the last commit.
    pub(super) fn abort(&mut self) -> Result<(), LogError> {
        if self.open {
            self.repeat(|producer| producer.abort_transaction(ABORT_SLICE).map_err(Failure::from))
                .map_err(|failure| failure.remedy().unwrap_or(LogError::Unreachable(failure.text)))?;
            self.open = false;
        }
        lock(&self.producer.context().failed).take();
        Ok(())
    }

    fn open(&mut self) -> Result<(), LogError> {
        if self.open {
            return Ok(());
        }
        if self.batch_bytes_wanted < self.batch_bytes_max {
            // librdkafka does not split a batch that a topic finds too large, so there must be none.
            self.producer = create(&self.cluster, &self.id, self.batch_bytes_wanted)?;
            self.batch_bytes_max = self.batch_bytes_wanted;
        }
        self.producer.begin_transaction().map_err(|error| {
            let failure = Failure::from(error);
            failure.remedy().unwrap_or(LogError::Fenced(failure.text))
        })?;
        self.open = true;
        Ok(())
    }

    /// Calls until it succeeds, fails for good, or failed for too long.
    fn repeat(&self, call: impl Fn(&BaseProducer<Deliveries>) -> Result<(), Failure>) -> Result<(), Failure> {
        repeat(&self.producer, call).map_err(|failure| self.underlying(failure))
    }

    /// Once a producer is broken for good, librdkafka answers every call with "fatal": the reason is kept apart.
    fn underlying(&self, failure: Failure) -> Failure {
        match self.producer.client().fatal_error() {
            Some((code, text)) => Failure { code, text, fatal: true, ..failure },
            None => failure,
        }
    }

    fn refused(&self, error: KafkaError, record: &NewRecord) -> LogError {
        if let KafkaError::MessageProduction(code) = error
            && matches!(code, Code::MessageSizeTooLarge | Code::UnknownPartition | Code::InvalidTimestamp)
        {
            return LogError::RecordRefused(format!("topic `{}`: {code}", record.topic));
        }
        let failure = self.underlying(Failure::from(error));
        failure.remedy().unwrap_or(LogError::Abort(failure.text))
    }

    fn not_committed(&self, failure: Failure) -> LogError {
        let delivery = lock(&self.producer.context().failed).take();
        let remedy = failure.remedy();
        match (delivery, remedy) {
            (Some((code, topic)), Some(LogError::Abort(_))) => {
                if code == Code::MessageSizeTooLarge {
                    self.cluster.forget_limits(&topic);
                }
                LogError::Abort(format!("a record to topic `{topic}` was not delivered: {code}"))
            }
            (_, Some(remedy)) => remedy,
            (_, None) => LogError::CommitUnknown(failure.text),
        }
    }
}

/// What the topic of `record` accepts, if it accepts this record.
pub(super) fn check(cluster: &Cluster, record: &NewRecord) -> Result<TopicLimits, LogError> {
    let mut limits = cluster.limits(&record.topic)?;
    if let Some(partition) = record.partition {
        if partition.0 >= limits.partitions {
            // Partitions may have been added.
            cluster.forget_limits(&record.topic);
            limits = cluster.limits(&record.topic)?;
        }
        if !(0..limits.partitions).contains(&partition.0) {
            return Err(LogError::RecordRefused(format!(
                "topic `{}` has {} partitions, there is no partition {partition}",
                record.topic, limits.partitions
            )));
        }
    }
    let bytes = batch_bytes(record);
    if bytes > limits.batch_bytes_max {
        return Err(LogError::RecordRefused(format!(
            "{bytes} bytes are more than topic `{}` takes (max.message.bytes = {})",
            record.topic, limits.batch_bytes_max
        )));
    }
    Ok(limits)
}

fn create(cluster: &Cluster, id: &str, batch_bytes_max: usize) -> Result<BaseProducer<Deliveries>, LogError> {
    let what = format!("transactional id `{id}`");
    let context = Deliveries { report: Report::new(format!("producer {id}")), failed: Mutex::new(None) };
    let producer: BaseProducer<Deliveries> = cluster
        .options()
        .transactional(id, batch_bytes_max)
        .create_with_context(context)
        .map_err(|error| request_error(&error, &what))?;
    repeat(&producer, |producer| producer.init_transactions(CALL_TIME_MAX).map_err(Failure::from))
        .map_err(|failure| failure.remedy().unwrap_or_else(|| code_error(failure.code, &what)))?;
    Ok(producer)
}

fn repeat<C: ProducerContext>(
    producer: &BaseProducer<C>,
    call: impl Fn(&BaseProducer<C>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let deadline = Instant::now() + CALL_TIME_MAX;
    // Failed deliveries wait here to be heard; the flush inside of the call waits for that.
    producer.poll(Duration::ZERO);
    loop {
        match call(producer) {
            Err(failure) if failure.retriable && !failure.fatal && Instant::now() < deadline => {
                producer.poll(CALL_PAUSE);
            }
            result => return result,
        }
    }
}
