//! A consumer's rebalances, held back until the member asks for them.
//!
//! librdkafka announces a change of the assignment while the consumer is polled, and waits for the answer. rdkafka
//! answers at once; here the announcement is only kept, and the member answers: to an assignment at once, to a
//! revocation when the work on those partitions is finished.
//!
//! A task has a partition number of all topics that its component consumes, so a group that consumes several must give
//! equal numbers to one member. Of librdkafka's strategies `range` does; `cooperative-sticky` moves less, and is taken
//! where there is one topic only. Where the brokers assign, their `range` does the same, and moves only what it has to.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use heddle_core::event::{Topic, TopicPartition};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

use super::record::partitions_of;
use super::report::Report;
use crate::lock::lock;

/// The longest time until a consumer is closed, if that needs no answer.
const CLOSED_WITHIN: Duration = Duration::from_secs(5);
/// The interval at which a closing consumer is checked.
const CLOSED_ASKED_EVERY: Duration = Duration::from_millis(5);

/// The protocol by which a group changes its assignment. All members of a group use the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Only what moves is revoked.
    Cooperative,
    /// Everything is revoked before anything is assigned.
    Eager,
    /// The brokers assign (KIP-848). Only what moves is revoked.
    Broker(Assignor),
}

/// The strategy by which brokers assign partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Assignor {
    /// Moves as few partitions as it can.
    Uniform,
    /// Gives equal numbers of several topics to one member.
    Range,
}

impl Protocol {
    /// Returns the protocol of a group that consumes `topics`.
    pub(super) fn of(topics: &[Topic], by_broker: bool) -> Self {
        let several = topics.iter().collect::<BTreeSet<_>>().len() > 1;
        match (by_broker, several) {
            (true, true) => Self::Broker(Assignor::Range),
            (true, false) => Self::Broker(Assignor::Uniform),
            (false, true) => Self::Eager,
            (false, false) => Self::Cooperative,
        }
    }

    /// Returns the option of librdkafka that chooses how partitions are shared out, and its value.
    pub(super) fn strategy(self) -> (&'static str, &'static str) {
        match self {
            Self::Cooperative => ("partition.assignment.strategy", "cooperative-sticky"),
            Self::Eager => ("partition.assignment.strategy", "range"),
            Self::Broker(Assignor::Uniform) => ("group.remote.assignor", "uniform"),
            Self::Broker(Assignor::Range) => ("group.remote.assignor", "range"),
        }
    }

    /// Agrees to have `partitions` too; eager, they are all there is.
    pub(super) fn assign<C: ConsumerContext>(
        self,
        consumer: &BaseConsumer<C>,
        partitions: &TopicPartitionList,
    ) -> KafkaResult<()> {
        match self {
            Self::Cooperative | Self::Broker(_) => consumer.incremental_assign(partitions),
            Self::Eager => consumer.assign(partitions),
        }
    }

    /// Agrees to give up `partitions`; eager, they are all there is.
    pub(super) fn unassign<C: ConsumerContext>(
        self,
        consumer: &BaseConsumer<C>,
        partitions: &TopicPartitionList,
    ) -> KafkaResult<()> {
        match self {
            Self::Cooperative | Self::Broker(_) => consumer.incremental_unassign(partitions),
            Self::Eager => consumer.unassign(),
        }
    }
}

/// A change of the assignment that librdkafka waits to have answered.
#[derive(Debug, PartialEq)]
pub(super) enum Rebalance {
    /// These partitions are added.
    Assign(Vec<TopicPartition>),
    /// These are to be given up.
    Revoke(Vec<TopicPartition>),
    /// These belong to another member already.
    Lost(Vec<TopicPartition>),
}

/// The context of a member's consumer.
pub(super) struct Rebalances {
    report: Report,
    protocol: Protocol,
    waiting: Mutex<VecDeque<Rebalance>>,
    closing: AtomicBool,
    /// True if a rebalance was answered while the consumer was being closed.
    agreed: AtomicBool,
    /// True if librdkafka reported that it continues at another offset because a partition does not have the wanted
    /// one.
    reset: AtomicBool,
}

impl Rebalances {
    pub(super) fn new(report: Report, protocol: Protocol) -> Self {
        Self {
            report,
            protocol,
            waiting: Mutex::default(),
            closing: AtomicBool::new(false),
            agreed: AtomicBool::new(false),
            reset: AtomicBool::new(false),
        }
    }

    /// The next change to answer.
    pub(super) fn take(&self) -> Option<Rebalance> {
        lock(&self.waiting).pop_front()
    }

    /// Returns a change that could not be answered to the queue: it is the next one again.
    pub(super) fn put_back(&self, change: Rebalance) {
        lock(&self.waiting).push_front(change);
    }

    /// Returns true if a partition has lacked the wanted offset since the last call.
    pub(super) fn take_reset(&self) -> bool {
        self.reset.load(Ordering::Acquire) && self.reset.swap(false, Ordering::AcqRel)
    }

    /// From now on every change is agreed to at once: the consumer is about to be closed, which waits for its last
    /// revocation.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Agrees to whatever librdkafka announces to a consumer that is being closed.
    ///
    /// An answer waits for ever if the consumer is closed by then (librdkafka's issue 4884), which an assignment that
    /// nobody had looked at leads to. Cooperative, it is announced to be revoked as well: two changes, and one answer
    /// closes the consumer, for librdkafka takes each as giving up everything. Eager, librdkafka forgets that it has
    /// announced it, and closes without an answer.
    fn agree(&self, consumer: &BaseConsumer<Self>, assigns: bool, partitions: &TopicPartitionList) {
        let forgotten = assigns && self.protocol == Protocol::Eager;
        if (forgotten || self.agreed.load(Ordering::Acquire)) && closes(consumer) {
            return;
        }
        // Nothing to be done about an error: the consumer is going away, and librdkafka logs what matters.
        let _closing = if assigns {
            self.protocol.assign(consumer, partitions)
        } else {
            self.protocol.unassign(consumer, partitions)
        };
        self.agreed.store(true, Ordering::Release);
    }
}

/// Waits for the consumer to close by itself. Returns true if it has.
fn closes<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> bool {
    let deadline = Instant::now() + CLOSED_WITHIN;
    while !consumer.closed() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(CLOSED_ASKED_EVERY);
    }
    true
}

impl ClientContext for Rebalances {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        // librdkafka reports this in no other way: it queues this line before the records that it reads from elsewhere.
        if facility == "OFFSET" {
            self.reset.store(true, Ordering::Release);
        }
        self.report.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.report.error(error, reason);
    }
}

impl ConsumerContext for Rebalances {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, change: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let assigns = matches!(change, RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS);
        if self.closing.load(Ordering::Acquire) {
            return self.agree(consumer, assigns, partitions);
        }
        let list = partitions_of(partitions);
        lock(&self.waiting).push_back(if assigns {
            Rebalance::Assign(list)
        } else if consumer.assignment_lost() {
            Rebalance::Lost(list)
        } else {
            Rebalance::Revoke(list)
        });
    }
}
