//! The log: a transactional, partitioned log with consumer groups, as the runtime needs it.
//!
//! ```text
//!  worker ──> Member   one consumer group member and its transactional producer: poll, send, commit, abort
//!  cli    ──> Reader   reads partitions without a group, committed records only
//!         ──> Writer   transactions without a group
//!         ──> Log      topics, bounds, plain writes
//!         ──> Groups   members, positions, joining; part of every Log
//! ```
//!
//! Two implementations pass one conformance suite: the embedded log and Apache Kafka.
//! All calls block, except [`Member::begin_commit`]; callers are plain threads.

pub mod embedded;
mod error;
pub mod kafka;
mod rights;
mod whole;

pub(crate) use error::named;
pub use error::{LogError, OnArrival, RefusedRecord};
pub use rights::{Operation, Resource, Right};
pub use whole::{read_partition_until, read_until, read_whole};

use std::collections::BTreeMap;
use std::time::Duration;

use heddle_core::event::{NewRecord, NewRecordRef, Offset, Partition, Record, Timestamp, Topic, TopicPartition};
use heddle_core::explain::Explained;
use heddle_core::limits::Limits;

/// A log. Cheap to share; every method may be called from any thread.
pub trait Log: Groups {
    /// All topics, sorted by name.
    fn topics(&self) -> Result<Vec<TopicInfo>, LogError>;

    /// Creates a topic. Fails with [`LogError::TopicExists`] if it exists already.
    fn create_topic(&self, spec: &TopicSpec) -> Result<(), LogError>;

    /// Creates topics, all at once if the log can. Returns the result of [`create_topic`](Log::create_topic) for each
    /// of them, in their order.
    fn create_topics(&self, specs: &[TopicSpec]) -> Vec<Result<(), LogError>> {
        specs.iter().map(|spec| self.create_topic(spec)).collect()
    }

    /// Deletes a topic, its records, and the positions of groups in it. The topic is gone when this returns. The
    /// embedded log refuses to delete a topic while a member consumes it.
    fn delete_topic(&self, topic: &str) -> Result<(), LogError>;

    /// Adds partitions to a topic until it has `partitions` of them. Existing records stay where they are.
    fn add_partitions(&self, topic: &str, partitions: i32) -> Result<(), LogError> {
        Err(LogError::Invalid(format!("topic `{topic}` cannot get {partitions} partitions: this log adds none")))
    }

    /// The rights among `wanted` that this client lacks. A log without access control grants all.
    fn missing_rights(&self, _wanted: &[Right]) -> Result<Vec<Right>, LogError> {
        Ok(vec![])
    }

    /// The health of a log in this process. Brokers are checked elsewhere.
    fn health(&self) -> LogHealth {
        LogHealth::Good
    }

    /// Wakes calls that still sleep after a disk failure, if the log is in this process.
    fn wake(&self) {}

    /// The identity of a topic. It changes when the topic is deleted and created again. `None` if the log has no such
    /// identity.
    fn topic_id(&self, topic: &str) -> Result<Option<TopicId>, LogError>;

    /// The value of one of Kafka's topic options that is in force for `topic`. `None` if the log does not report it, or
    /// has no such option.
    fn topic_option(&self, _topic: &str, _option: &str) -> Result<Option<String>, LogError> {
        Ok(None)
    }

    /// The identity of the log's cluster. `None` if the log has none.
    fn cluster_id(&self) -> Result<Option<String>, LogError> {
        Ok(None)
    }

    /// The limits of `topic`, as far as the log reports them. The answer may be cached.
    fn limits(&self, topic: &str) -> Result<Limits, LogError> {
        let found = self.topics()?.into_iter().find(|info| info.name == topic);
        found.map(|info| Limits::unknown(info.partitions)).ok_or_else(|| LogError::UnknownTopic(topic.to_owned()))
    }

    /// The limits of `topic`, without a cache.
    fn limits_now(&self, topic: &str) -> Result<Limits, LogError> {
        self.limits(topic)
    }

    /// The current bounds of every partition of `topic`.
    fn watermarks(&self, topic: &str) -> Result<Vec<Watermarks>, LogError>;

    /// The offset of the first committed record of each partition that is as new as `time`. It is the end of the
    /// partition if there is no such record.
    fn offsets_at(&self, _topic: &str, _time: Timestamp) -> Result<BTreeMap<Partition, Offset>, LogError> {
        Err(owner_only())
    }

    /// Writes records outside of any group. They are durable when this returns. Returns the place of each record, in
    /// order.
    fn append(&self, records: &[NewRecord]) -> Result<Vec<(TopicPartition, Offset)>, LogError>;

    /// Reads partitions from given positions, without a group. Returns only committed records.
    fn reader(&self, from: &[(TopicPartition, Start)]) -> Result<Box<dyn Reader>, LogError>;

    /// Applies retention and compaction as of `now`. The runtime calls it every minute. Brokers do this by themselves,
    /// so it does nothing unless the log is in this process.
    fn upkeep(&self, _now: Timestamp) -> Result<(), LogError> {
        Ok(())
    }

    /// Returns true if the log is in this process, so that others can use it only through this process.
    fn is_here(&self) -> bool {
        false
    }

    /// Takes over a transactional id, for transactions without a group. Fences its owner, and waits until that owner's
    /// last transaction is decided. So all that the owner committed is below every [`Watermarks::end`] that is read
    /// later, and nothing is added to it.
    fn writer(&self, transactional_id: &str) -> Result<Box<dyn Writer>, LogError>;
}

/// The consumer groups of a log.
pub trait Groups: Send + Sync {
    /// Partitions of these topics that no member of `group` has although the group is stable. `None` if there are none.
    ///
    /// A broker hands a static member that returns the assignment it had, so partitions that were added meanwhile can
    /// stay without a reader.
    fn unassigned(&self, _group: &str, _topics: &[TopicInfo]) -> Result<Option<Unassigned>, LogError> {
        Ok(None)
    }

    /// The names of the current members of `group`. A static member is named by its `instance_id`.
    fn members(&self, _group: &str) -> Result<Vec<String>, LogError> {
        Ok(vec![])
    }

    /// Returns true if the members of a group assign its partitions, as in Kafka's classic protocol. Then a group with
    /// one topic has another assignor than one with several, and a static member that returns keeps its old assignment.
    fn members_assign(&self) -> bool {
        false
    }

    /// The reason why nobody can join `group`. `None` if no reason is known.
    fn join_fault(&self, _group: &str) -> Option<Explained> {
        None
    }

    /// The committed positions of `group` in the given partitions. Partitions without one are absent.
    fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Offset>, LogError>;

    /// Sets the positions of `group`. Fails with [`LogError::GroupActive`] if the group has members.
    fn set_committed(&self, _group: &str, _positions: &[(TopicPartition, Offset)]) -> Result<(), LogError> {
        Err(owner_only())
    }

    /// Joins a consumer group with its own transactional producer.
    fn join(&self, options: &MemberOptions) -> Result<Box<dyn Member>, LogError>;
}

/// The error of a log that belongs to another process.
fn owner_only() -> LogError {
    LogError::Invalid("another process owns this log".to_owned())
}

/// The time between two checks for the end of a commit, if there is nothing else to do.
pub(crate) const COMMIT_WAIT: Duration = Duration::from_secs(1);

/// The maximum size of keys and values in one poll, in bytes. A poll ends when it is exceeded: a few compressed
/// kilobytes may hold any number of large records.
const POLL_BYTES_MAX: usize = 16 << 20;

/// One member of a consumer group together with its transactional producer ("exactly once v2": the group's metadata is
/// sent with the offsets, so a member that was replaced cannot commit).
///
/// A transaction begins with the first [`send`](Member::send) or [`begin_commit`](Member::begin_commit) after the last
/// one ended.
pub trait Member: Send {
    /// Waits up to `timeout` for something to happen. Returns no records if nothing did.
    ///
    /// A rebalance never interrupts work. After [`Polled::Revoking`], no more records of those partitions are returned,
    /// and the group waits for [`release`](Member::release). Records of paused partitions are not returned, and the
    /// membership is kept alive meanwhile.
    fn poll(&mut self, timeout: Duration) -> Result<Polled, LogError>;

    /// As [`poll`](Member::poll), with a limit on the number of records. Used by a worker that has enough to do and
    /// polls only to stay in the group.
    fn poll_at_most(&mut self, _records_max: usize, timeout: Duration) -> Result<Polled, LogError> {
        self.poll(timeout)
    }

    /// Adds a record to the open transaction, without waiting for the log. A failure may appear at the commit, as
    /// [`LogError::Refused`] if it is about the record.
    fn send(&mut self, record: NewRecord) -> Result<(), LogError>;

    /// As [`send`](Member::send), for a record that the caller keeps.
    fn send_copy(&mut self, record: NewRecordRef<'_>) -> Result<(), LogError> {
        self.send(record.copied())
    }

    /// Begins to commit the sent records together with the positions of the group. [`committed`](Member::committed)
    /// reports the end. Until then, records are read as usual, and send, abort, rewind and release fail with
    /// [`LogError::Invalid`]. A member that is dropped meanwhile waits for the end.
    fn begin_commit(&mut self, positions: &[(TopicPartition, Offset)]) -> Result<(), LogError>;

    /// Waits up to `timeout` for the end of the commit that was begun. After `Some`, the sent records and the positions
    /// are durable and visible. An error ends the commit, too. `None` if it is in flight, or none was begun.
    ///
    /// Returns the end offset of the transaction in each partition that the caller named: see [`Ends`].
    fn committed(&mut self, timeout: Duration) -> Result<Option<Ends>, LogError>;

    /// Commits, and waits for the end.
    fn commit(&mut self, positions: &[(TopicPartition, Offset)]) -> Result<Ends, LogError> {
        self.begin_commit(positions)?;
        loop {
            if let Some(ends) = self.committed(COMMIT_WAIT)? {
                return Ok(ends);
            }
        }
    }

    /// Drops the records sent since the last commit. The read position of the member does not change: see
    /// [`rewind`](Member::rewind).
    fn abort(&mut self) -> Result<(), LogError>;

    /// Moves back to the committed positions of the assigned partitions, or to `start` where nothing is committed. Used
    /// after an abort. Paused partitions stay paused.
    fn rewind(&mut self) -> Result<(), LogError>;

    /// Returns no records of these partitions until [`resume`](Member::resume), not even fetched ones. No record is
    /// lost. Ignores partitions that are not assigned, because they may just have been revoked.
    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError>;

    /// Returns records of these partitions again, from where reading stopped. Ignores partitions that are not assigned.
    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError>;

    /// Takes the new losses: records of assigned partitions that were deleted before this member read them. Call it
    /// after each [`poll`](Member::poll), before its records are handled. Records behind a gap come in the same poll or
    /// later.
    fn take_losses(&mut self) -> Vec<Loss> {
        vec![]
    }

    /// Commits positions behind the losses, so that each is reported once. Only for partitions that were just assigned:
    /// in others, records that were read before the gap and are not committed yet would be skipped.
    fn skip(&mut self, _losses: &[Loss]) -> Result<(), LogError> {
        Ok(())
    }

    /// Ends a revocation that [`poll`](Member::poll) announced. Call it after the work of those partitions was
    /// committed or aborted.
    fn release(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError>;

    /// Leaves the group, even as a static member, and joins it again, so that all partitions are assigned again.
    /// [`poll`](Member::poll) returns the revocation and the assignment that follow. A log whose groups assign added
    /// partitions by themselves does nothing.
    fn rejoin(&mut self) -> Result<(), LogError> {
        Ok(())
    }

    /// Leaves the group at once, without committing. The open transaction is aborted.
    fn leave(self: Box<Self>) -> Result<(), LogError>;
}

/// The error of a call that is not allowed before the end of a commit.
fn under_way() -> LogError {
    LogError::Invalid("a commit is under way: nothing is sent, aborted or released until it has ended".to_owned())
}

/// Writes transactions without a group.
pub trait Writer: Send {
    /// Writes these records as one transaction. After `Ok`, they are durable, and readers see all of them. After
    /// [`LogError::CommitUnknown`], all or none are written; after any other error, none.
    fn write(&mut self, records: &[NewRecord]) -> Result<(), LogError>;
}

/// The end of a transaction: the offset after its last record in each partition to which it sent records by number
/// (`NewRecord.partition`). A copy of the partition that has these records, too, is complete up to there. The offset is
/// exact: never beyond the transaction's own records, never before the last one.
pub type Ends = BTreeMap<TopicPartition, Offset>;

/// The result of [`Member::poll`].
#[derive(Debug, Clone, PartialEq)]
pub enum Polled {
    /// Records, in order within each partition; may be empty.
    Records(Vec<Record>),
    /// These partitions were added, paused. [`resume`](Member::resume) starts to read at the committed position.
    ///
    /// The positions were fixed before, and no other member can move them. All records that the former owner committed
    /// together with them are below every [`Watermarks::end`] that is read later.
    Assigned(Vec<TopicPartition>),
    /// These partitions are about to be revoked: finish their work, then call [`Member::release`].
    Revoking(Vec<TopicPartition>),
    /// These partitions are lost (session expired): drop their work, then call [`Member::release`].
    Lost(Vec<TopicPartition>),
}

/// A position that a partition no longer has, or does not have yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The partition.
    pub source: TopicPartition,
    /// The position of the group.
    pub position: Offset,
    /// The first offset of the partition, at which reading continues.
    pub first: Offset,
}

impl Loss {
    /// The number of deleted offsets. Zero if the partition ends below the position, because it was recreated or its
    /// leader lost records.
    #[must_use]
    pub fn offsets(&self) -> u64 {
        u64::try_from(self.first.0.saturating_sub(self.position.0)).unwrap_or(0)
    }
}

/// The options of a group member.
#[derive(Debug, Clone)]
pub struct MemberOptions {
    /// The consumer group.
    pub group: String,
    /// The consumed topics, which must exist. A member gets the same partition numbers of all of them, if they have
    /// equally many partitions and all members of the group consume the same topics.
    pub topics: Vec<Topic>,
    /// The identity of the producer across restarts. A second producer with the same id fences the first.
    pub transactional_id: String,
    /// The maximum time that a transaction may be open before the log aborts it. The embedded log has no open
    /// transactions.
    pub transaction_time: Duration,
    /// The id of a static member. If it returns within the session timeout, it gets its partitions back without a
    /// rebalance.
    pub instance_id: Option<String>,
    /// The start position in a partition without a committed one.
    pub start: Start,
    /// The start positions in single topics. One that is not the beginning is committed at once, so that records that
    /// arrive while no member is present are not skipped.
    pub starts: BTreeMap<Topic, Start>,
    /// The maximum number of records of one poll.
    pub batch_records_max: usize,
}

impl MemberOptions {
    /// The start position in a partition of `topic` without a committed one.
    #[must_use]
    pub fn start_of(&self, topic: &Topic) -> Start {
        self.starts.get(topic).copied().unwrap_or(self.start)
    }
}

/// A position at which reading starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The first retained record.
    Beginning,
    /// The end: only records from now on.
    End,
    /// This offset.
    At(Offset),
    /// The first record that is as new as this, or the end if there is none.
    Time(Timestamp),
}

/// Reads partitions without a group.
pub trait Reader: Send {
    /// Waits up to `timeout` for committed records. Returns no records if there are none now.
    fn poll(&mut self, timeout: Duration) -> Result<Vec<Record>, LogError>;

    /// The position after the last record returned, per partition. [`poll`](Reader::poll) moves it past aborted records
    /// and transaction markers, too, so it reaches the end of a partition without open transactions.
    fn positions(&self) -> Result<BTreeMap<TopicPartition, Offset>, LogError>;
}

/// The health of a log in this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogHealth {
    /// The log works.
    Good,
    /// The log does not work now. It continues by itself once an operator has fixed the cause.
    Hindered(Explained),
    /// The log cannot continue in this process.
    Dead(String),
}

/// A topic to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// The number of partitions.
    pub partitions: i32,
    /// The number of replicas, ignored by the embedded log. `None` stands for the broker's default.
    pub replication: Option<i16>,
    /// Kafka's topic options. The embedded log supports `cleanup.policy`, `retention.ms`, `retention.bytes`,
    /// `max.message.bytes` and `message.timestamp.{before,after}.max.ms`, and refuses others.
    pub options: BTreeMap<String, String>,
}

impl TopicSpec {
    /// A compacted topic with one partition, which keeps the newest record of each key.
    #[must_use]
    pub fn compacted(name: String) -> Self {
        let options = BTreeMap::from([("cleanup.policy".to_owned(), "compact".to_owned())]);
        Self { name, partitions: 1, replication: None, options }
    }
}

/// A topic that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its name.
    pub name: String,
    /// The number of its partitions.
    pub partitions: i32,
}

/// Partitions that no member of a group reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unassigned {
    /// The partitions.
    pub partitions: Vec<TopicPartition>,
    /// The member that should [join again](Member::rejoin), by its name in the log. All callers get the same one. A
    /// static member is named by its `instance_id`.
    pub member: String,
}

/// The identity of a topic among others of the same name, in the log's own spelling.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TopicId(pub String);

/// The bounds of one partition: `low <= high <= end`.
///
/// To read all committed records that were written so far, read `end`, then poll until the position has reached it. It
/// gets there once every transaction below is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermarks {
    /// The partition.
    pub partition: Partition,
    /// The first retained offset.
    pub low: Offset,
    /// The last stable offset: every transaction below it is decided.
    pub high: Offset,
    /// The offset after the last record written, even by an open transaction.
    pub end: Offset,
}

/// The current time, as records carry it.
#[must_use]
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
