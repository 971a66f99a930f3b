//! A transactional producer: what a member sends, committed together with the group's positions or not at all.
//!
//! ```text
//!            send, commit           commit: Ok
//!   closed ───────────────> open ───────────────> closed
//!     ^                      │ any error
//!     └──────── abort ───────┘
//! ```
//!
//! The reports of deliveries are served by a thread of the producer's own: librdkafka's flush, inside of a commit,
//! waits until they are, and goes on the moment that they are. They report the end of the transaction in the partitions
//! that it named itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use heddle_core::event::{NewRecordRef, Offset, Timestamp, Topic, TopicPartition};
use heddle_core::limits::Misfit;
use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::Message;
use rdkafka::producer::{DeliveryResult, Producer, ProducerContext, ThreadedProducer};

use super::super::{Ends, LogError, TopicId};
use super::arrival::{FAILED_MAX, Failed, refused, tells};
use super::cluster::{Cluster, TopicLimits};
use super::committer::CallDeadline;
use super::errors::{Failure, code_error, request_error};
use super::native::{commit_transaction, send_positions};
use super::rebalance::Rebalances;
use super::record::{positions_list, say_topics, to_send};
use super::report::Report;
use crate::lock::lock;

/// The longest wait for a transactional id: a failure is reported within a minute.
const INIT_TIME_MAX: Duration = Duration::from_secs(20);
/// The longest wait for the first connection.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// The longest time of a transactional call, repeated while its failure is transient.
const CALL_TIME_MAX: Duration = Duration::from_secs(30);
/// The longest time until a new producer can begin: a connection and its transactional id.
const CREATE_TIME_MAX: Duration = CONNECT_TIME_MAX.saturating_add(INIT_TIME_MAX);
/// The pause before a call that failed at once is repeated.
const CALL_PAUSE: Duration = Duration::from_millis(20);
/// The longest single wait for room in the producer's queue.
const QUEUE_PAUSE: Duration = Duration::from_millis(5);
/// The number of a partition whose end offset is not requested.
const UNTRACKED: usize = 0;

/// A member's producer.
pub(super) struct TransactionalProducer {
    cluster: Arc<Cluster>,
    id: String,
    /// The longest time that a transaction may be open.
    time: Duration,
    producer: ThreadedProducer<Deliveries>,
    /// That of the transactional call that it is in.
    deadline: CallDeadline,
    open: bool,
    /// The number of each partition that the open transaction sent records to by number, from 1.
    tracked: BTreeMap<TopicPartition, usize>,
    /// The number of records sent in the open transaction.
    sent: usize,
    /// The most bytes that the producer puts into one batch.
    batch_bytes_max: usize,
    /// The most bytes that every topic seen so far accepts in one batch; below the former: a new producer must be
    /// created.
    batch_bytes_wanted: usize,
}

/// Receives delivery reports.
struct Deliveries {
    report: Report,
    /// The first records that were not delivered.
    failed: Mutex<Vec<Failed>>,
    /// The offset after the last record delivered, by the number of the tracked partition. `None`: the broker did not
    /// report it.
    ends: Mutex<BTreeMap<usize, Option<Offset>>>,
}

/// The number of bits of a delivery report's tag that hold the record's number among those sent. The rest holds its
/// partition's number among those tracked.
const NUMBER_BITS: u32 = usize::BITS / 2;

fn ticket(number: usize, tracked: usize) -> usize {
    (tracked << NUMBER_BITS) | number_of(number)
}

fn number_of(ticket: usize) -> usize {
    ticket & ((1 << NUMBER_BITS) - 1)
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
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: usize) {
        let tracked = ticket >> NUMBER_BITS;
        match result {
            Ok(_) if tracked == UNTRACKED => {}
            // The records of a partition are delivered in order, so the last one to be heard of is the last.
            Ok(message) => {
                let end = (message.offset() >= 0).then(|| Offset(message.offset()).next());
                lock(&self.ends).insert(tracked, end);
            }
            Err((error, message)) => {
                let mut failed = lock(&self.failed);
                if failed.len() < FAILED_MAX {
                    let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
                    let place = TopicPartition::new(message.topic(), message.partition());
                    failed.push(Failed { number: number_of(ticket), place, code });
                }
            }
        }
    }
}

impl TransactionalProducer {
    /// A producer for `id`, whose transactions are open for `time` at most. Fences every earlier one with this id and
    /// ends what it left open.
    pub(super) fn new(cluster: Arc<Cluster>, id: &str, time: Duration) -> Result<Self, LogError> {
        let batch_bytes_max = cluster.options().batch_bytes_max();
        let producer = create(&cluster, id, batch_bytes_max, time)?;
        Ok(Self {
            cluster,
            id: id.to_owned(),
            time,
            producer,
            deadline: CallDeadline::new(CALL_TIME_MAX),
            open: false,
            tracked: BTreeMap::new(),
            sent: 0,
            batch_bytes_max,
            batch_bytes_wanted: batch_bytes_max,
        })
    }

    /// Adds `record` to the transaction, opening one if there is none.
    pub(super) fn send(&mut self, record: NewRecordRef<'_>) -> Result<(), LogError> {
        // Its timestamp was checked before. The broker decides about one near a bound.
        let limits = check(&self.cluster, record, record.timestamp.unwrap_or(Timestamp(0)))?;
        self.batch_bytes_wanted = self.batch_bytes_wanted.min(limits.batch_bytes_max);
        self.open()?;
        let mut deadline = None;
        let source = record.partition.map(|partition| TopicPartition { topic: record.topic.clone(), partition });
        let fresh = self.tracked.len() + 1;
        let tracked = source.as_ref().map_or(UNTRACKED, |source| self.tracked.get(source).copied().unwrap_or(fresh));
        let mut message = to_send(record, ticket(self.sent, tracked));
        loop {
            match self.producer.send(message) {
                Ok(()) => {
                    self.sent += 1;
                    if tracked == fresh {
                        self.tracked.extend(source.map(|source| (source, tracked)));
                    }
                    return Ok(());
                }
                Err((KafkaError::MessageProduction(Code::QueueFull), refused)) => {
                    let now = Instant::now();
                    if now > *deadline.get_or_insert(now + CALL_TIME_MAX) {
                        return Err(LogError::Abort(
                            "the producer's queue stayed full: the brokers accept no records".to_owned(),
                        ));
                    }
                    message = refused;
                    std::thread::sleep(QUEUE_PAUSE);
                }
                Err((KafkaError::MessageProduction(Code::UnknownPartition), refused))
                    if Instant::now() < *deadline.get_or_insert_with(|| Instant::now() + CALL_TIME_MAX) =>
                {
                    message = refused;
                    look_again(self.producer.client(), record.topic);
                }
                Err((error, _)) => return Err(self.refused(error, record)),
            }
        }
    }

    /// By when its calls have to return, from now on.
    pub(super) fn deadline(&self) -> CallDeadline {
        self.deadline.renew(CALL_TIME_MAX);
        self.deadline.clone()
    }

    /// Commits what was sent and `positions` in topics with these `ids`, on behalf of the group's member `member`.
    pub(super) fn commit(
        &mut self,
        positions: &[(TopicPartition, Offset)],
        ids: &BTreeMap<Topic, TopicId>,
        member: &BaseConsumer<Rebalances>,
    ) -> Result<Ends, LogError> {
        if !self.open && positions.is_empty() {
            return Ok(Ends::new());
        }
        self.open()?;
        if !positions.is_empty() {
            let mut list = positions_list(positions.iter().map(|(partition, offset)| (partition, *offset)));
            say_topics(&mut list, ids);
            let sent = self.repeat(|producer, time_max| send_positions(producer, &list, member, time_max));
            // Not committed for certain: what ends a transaction was not asked for yet.
            sent.map_err(|failure| self.refusal(failure.remedy().unwrap_or(LogError::Abort(failure.text))))?;
        }
        self.end()?;
        self.ends()
    }

    /// Commits the records that were sent, without a group. Their end offsets are not requested.
    pub(super) fn commit_alone(&mut self) -> Result<(), LogError> {
        if self.open { self.end() } else { Ok(()) }
    }

    fn end(&mut self) -> Result<(), LogError> {
        match self.repeat(commit_transaction) {
            Ok(()) => {
                self.open = false;
                Ok(())
            }
            Err(failure) => Err(self.not_committed(failure)),
        }
    }

    /// The end offsets of the transaction that was just committed. All its delivery reports have arrived.
    ///
    /// A broker that got a batch twice may no longer know where the first one went. That is rare, and the caller can do
    /// what it does when the outcome is not known: start again from the content of the log.
    fn ends(&self) -> Result<Ends, LogError> {
        let known = lock(&self.producer.context().ends);
        let end = |(source, number): (&TopicPartition, &usize)| match known.get(number) {
            Some(Some(end)) => Ok((source.clone(), *end)),
            _ => Err(LogError::CommitUnknown(format!(
                "it took effect, but the broker did not report its offset in {source}"
            ))),
        };
        self.tracked.iter().map(end).collect()
    }

    /// Drops what was sent since the last commit.
    pub(super) fn abort(&mut self) -> Result<(), LogError> {
        if self.open {
            self.repeat(|producer, time_max| producer.abort_transaction(time_max).map_err(Failure::from))
                .map_err(|failure| failure.remedy().unwrap_or(LogError::Unreachable(failure.text)))?;
            self.open = false;
        }
        lock(&self.producer.context().failed).clear();
        Ok(())
    }

    fn open(&mut self) -> Result<(), LogError> {
        if self.open {
            return Ok(());
        }
        if self.batch_bytes_wanted < self.batch_bytes_max {
            // librdkafka does not split a batch that a topic finds too large, so there must be none.
            self.deadline.renew(CREATE_TIME_MAX);
            self.producer = create(&self.cluster, &self.id, self.batch_bytes_wanted, self.time)?;
            self.batch_bytes_max = self.batch_bytes_wanted;
        }
        self.tracked.clear();
        self.sent = 0;
        lock(&self.producer.context().ends).clear();
        self.producer.begin_transaction().map_err(|error| {
            let failure = Failure::from(error);
            failure.remedy().unwrap_or(LogError::Fenced(failure.text))
        })?;
        self.open = true;
        Ok(())
    }

    /// Calls until it succeeds, fails permanently, or has failed for too long.
    fn repeat(
        &self,
        call: impl Fn(&ThreadedProducer<Deliveries>, Duration) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        repeat(&self.producer, self.deadline.renew(CALL_TIME_MAX), call).map_err(|failure| self.underlying(failure))
    }

    fn underlying(&self, failure: Failure) -> Failure {
        underlying(&self.producer, failure)
    }

    fn refused(&self, error: KafkaError, record: NewRecordRef<'_>) -> LogError {
        if let KafkaError::MessageProduction(code) = error
            && matches!(code, Code::MessageSizeTooLarge | Code::UnknownPartition | Code::InvalidTimestamp)
        {
            return LogError::RecordRefused(format!("topic `{}`: {code}", record.topic));
        }
        let failure = self.underlying(Failure::from(error));
        self.refusal(failure.remedy().unwrap_or(LogError::Abort(failure.text)))
    }

    /// The reason why the transaction cannot continue: the records that the brokers refused, if these are the cause,
    /// instead of the errors that followed.
    fn refusal(&self, error: LogError) -> LogError {
        if !matches!(error, LogError::Abort(_)) {
            return error;
        }
        let failed = std::mem::take(&mut *lock(&self.producer.context().failed));
        failed
            .iter()
            .filter(|failed| tells(failed.code))
            .for_each(|failed| self.cluster.forget_limits(&failed.place.topic));
        match (refused(&failed), failed.first()) {
            (Some(on_arrival), _) => LogError::Refused(on_arrival),
            (None, Some(Failed { place, code, .. })) => {
                LogError::Abort(format!("a record to topic `{}` was not delivered: {code}", place.topic))
            }
            (None, None) => error,
        }
    }

    fn not_committed(&self, failure: Failure) -> LogError {
        match failure.remedy() {
            Some(remedy) => self.refusal(remedy),
            None => LogError::CommitUnknown(failure.text),
        }
    }
}

/// Lets a client that does not know a partition look at the topic again: the brokers have it, so it was added a moment
/// ago.
pub(super) fn look_again<C: ClientContext>(client: &Client<C>, topic: &str) {
    // Fails where the next try to send does.
    let _known = client.fetch_metadata(Some(topic), CALL_TIME_MAX);
    std::thread::sleep(CALL_PAUSE);
}

/// Checks the record against the limits of its topic at `now`, and returns these limits.
pub(super) fn check(cluster: &Cluster, record: NewRecordRef<'_>, now: Timestamp) -> Result<TopicLimits, LogError> {
    let mut limits = cluster.limits(record.topic)?;
    let mut checked = limits.each.check(record, now);
    if let Err(Misfit::Partition { .. }) = checked {
        // Partitions may have been added.
        cluster.forget_limits(record.topic);
        limits = cluster.limits(record.topic)?;
        checked = limits.each.check(record, now);
    }
    let misfit = |misfit| LogError::RecordRefused(format!("topic `{}` {misfit}", record.topic));
    checked.map(|()| limits).map_err(misfit)
}

fn create(
    cluster: &Cluster,
    id: &str,
    batch_bytes_max: usize,
    time: Duration,
) -> Result<ThreadedProducer<Deliveries>, LogError> {
    let what = format!("transactional id `{id}`");
    let report = Report::new(format!("producer {id}"));
    let context = Deliveries { report, failed: Mutex::default(), ends: Mutex::default() };
    let producer: ThreadedProducer<Deliveries> = cluster
        .options()
        .transactional(id, batch_bytes_max, time)
        .create_with_context(context)
        .map_err(|error| request_error(&error, &what))?;
    // Asked for before there is a connection, the transaction's coordinator is looked for again only after half a
    // second.
    let _connected = producer.client().fetch_cluster_id(CONNECT_TIME_MAX);
    let begin = |producer: &ThreadedProducer<_>, left| producer.init_transactions(left).map_err(Failure::from);
    repeat(&producer, Instant::now() + INIT_TIME_MAX, begin).map_err(|failure| {
        let failure = underlying(&producer, failure);
        let error = failure.remedy().unwrap_or_else(|| code_error(failure.code, &what));
        cluster.not_begun(id, cluster.options().transaction_time(time), failure.code, error)
    })?;
    Ok(producer)
}

/// Once a producer is broken permanently, librdkafka answers every call with "fatal". So the reason is stored
/// separately.
fn underlying(producer: &ThreadedProducer<Deliveries>, failure: Failure) -> Failure {
    match producer.client().fatal_error() {
        Some((code, text)) => Failure { code, text, fatal: true, ..failure },
        None => failure,
    }
}

/// Calls with the time that is left until `deadline`, until it succeeds or fails permanently.
fn repeat<P>(
    producer: &P,
    deadline: Instant,
    call: impl Fn(&P, Duration) -> Result<(), Failure>,
) -> Result<(), Failure> {
    loop {
        match call(producer, deadline.saturating_duration_since(Instant::now()).max(CALL_PAUSE)) {
            Err(failure) if failure.retriable && !failure.fatal && Instant::now() < deadline => {
                std::thread::sleep(CALL_PAUSE);
            }
            result => return result,
        }
    }
}
