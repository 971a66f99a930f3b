//! A consumer's rebalances, held back until the member asks for them.
//!
//! librdkafka announces a change of the assignment while the consumer is polled, and waits for the answer. rdkafka
//! would answer at once. Here, the announcement is only stored, and the member answers it: an assignment at once, a
//! revocation when the work on its partitions is finished.
//!
//! A task has one partition number of all topics that its component consumes. So a group that consumes several topics
//! must assign equal numbers to one member. Of librdkafka's strategies, `range` does. `cooperative-sticky` moves fewer
//! partitions, and is used for a single topic. If the brokers assign, their `range` also assigns equal numbers to one
//! member, and moves only the necessary partitions.

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

/// The maximum time until a consumer is closed, if that needs no answer.
const CLOSED_WITHIN: Duration = Duration::from_secs(5);
/// The interval at which a closing consumer is checked.
const CLOSED_ASKED_EVERY: Duration = Duration::from_millis(5);

/// The protocol by which a group changes its assignment. All members of a group use the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Only partitions that move are revoked.
    Cooperative,
    /// All partitions are revoked before any is assigned.
    Eager,
    /// The brokers assign (KIP-848). Only partitions that move are revoked.
    Broker(Assignor),
}

/// The strategy with which brokers assign partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Assignor {
    /// Moves as few partitions as possible.
    Uniform,
    /// Assigns equal numbers of several topics to one member.
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

    /// Returns the option of librdkafka that chooses the assignment strategy, and its value.
    pub(super) fn strategy(self) -> (&'static str, &'static str) {
        match self {
            Self::Cooperative => ("partition.assignment.strategy", "cooperative-sticky"),
            Self::Eager => ("partition.assignment.strategy", "range"),
            Self::Broker(Assignor::Uniform) => ("group.remote.assignor", "uniform"),
            Self::Broker(Assignor::Range) => ("group.remote.assignor", "range"),
        }
    }

    /// Accepts `partitions`. With the eager protocol, they are the whole assignment.
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

    /// Releases `partitions`. With the eager protocol, they are the whole assignment.
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

/// A change of the assignment for which librdkafka expects an answer.
#[derive(Debug, PartialEq)]
pub(super) enum Rebalance {
    /// These partitions are added.
    Assign(Vec<TopicPartition>),
    /// These partitions have to be released.
    Revoke(Vec<TopicPartition>),
    /// These partitions belong to another member already.
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
    /// True if librdkafka has reported that it continues at another offset, because a partition does not have the
    /// requested one.
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

    /// Puts a change that could not be answered back into the queue, as the next one.
    pub(super) fn put_back(&self, change: Rebalance) {
        lock(&self.waiting).push_front(change);
    }

    /// Returns true if a partition has lacked the requested offset since the last call.
    pub(super) fn take_reset(&self) -> bool {
        self.reset.load(Ordering::Acquire) && self.reset.swap(false, Ordering::AcqRel)
    }

    /// Accepts every change at once from now on. The consumer is about to be closed, which waits for its last
    /// revocation.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Accepts all changes that librdkafka announces to a consumer that is being closed.
    ///
    /// An answer blocks forever if the consumer is closed by then (librdkafka's issue 4884). An assignment that was not
    /// answered yet causes this. With the cooperative protocol, its revocation is announced as well: these are two
    /// changes, but one answer closes the consumer, because librdkafka takes each as giving up everything. With the
    /// eager protocol, librdkafka forgets the announcement, and closes without an answer.
    fn agree(&self, consumer: &BaseConsumer<Self>, assigns: bool, partitions: &TopicPartitionList) {
        let forgotten = assigns && self.protocol == Protocol::Eager;
        if (forgotten || self.agreed.load(Ordering::Acquire)) && closes(consumer) {
            return;
        }
        // An error needs no reaction: the consumer is being dropped, and librdkafka logs it.
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
        // librdkafka reports this in no other way. It queues this line before the records that it reads from the other
        // offset.
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
