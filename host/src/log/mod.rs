//! The log: a transactional, partitioned log with consumer groups, as the runtime needs it.
//!
//! ```text
//!  worker ──> Member   one consumer group member and its transactional producer: poll, send, commit, abort
//!  cli    ──> Reader   reads partitions without a group, committed records only
//!         ──> Writer   transactions without a group
//!         ──> Log      topics, offsets, plain writes
//! ```
//!
//! Two implementations pass one conformance suite: the embedded log and Apache Kafka.
//! Calls block, but for [`Member::begin_commit`]; callers are plain threads.

pub mod embedded;
mod error;
pub mod kafka;
mod rights;
mod whole;

pub use error::{LogError, OnArrival, RefusedRecord};
pub use rights::{Operation, Resource, Right};
pub use whole::{read_until, read_whole};

use std::collections::BTreeMap;
use std::time::Duration;

use heddle_core::event::{NewRecord, NewRecordRef, Offset, Partition, Record, Timestamp, Topic, TopicPartition};
use heddle_core::explain::Explained;
use heddle_core::limits::Limits;

/// A log. Cheap to share; every method may be called from any thread.
pub trait Log: Send + Sync {
    /// All topics, sorted by name.
    fn topics(&self) -> Result<Vec<TopicInfo>, LogError>;

    /// Creates a topic. Fails with [`LogError::TopicExists`] if it is there already.
    fn create_topic(&self, spec: &TopicSpec) -> Result<(), LogError>;

    /// Creates topics, all at once where the log can. How it ended for each of them, in their order, as
    /// [`create_topic`](Log::create_topic) would tell.
    fn create_topics(&self, specs: &[TopicSpec]) -> Vec<Result<(), LogError>> {
        specs.iter().map(|spec| self.create_topic(spec)).collect()
    }

    /// Removes a topic with all that it holds, and the positions of groups in it; it is gone when this returns. The
    /// embedded log refuses it while a member consumes the topic.
    fn delete_topic(&self, topic: &str) -> Result<(), LogError>;

    /// Adds partitions to a topic until it has `partitions` of them. What it holds stays where it is.
    fn add_partitions(&self, topic: &str, partitions: i32) -> Result<(), LogError> {
        Err(LogError::Invalid(format!("topic `{topic}` cannot get {partitions} partitions: this log adds none")))
    }

    /// Partitions of these topics that no member of `group` has although the group is at rest. `None`: there are none.
    ///
    /// A broker hands a static member that returns the assignment it had, so partitions that were added meanwhile can
    /// stay without a reader.
    fn unassigned(&self, _group: &str, _topics: &[TopicInfo]) -> Result<Option<Unassigned>, LogError> {
        Ok(None)
    }

    /// The names that the log has for the members of `group` now. The name of a static member begins with its
    /// `instance_id`.
    fn members(&self, _group: &str) -> Result<Vec<String>, LogError> {
        Ok(vec![])
    }

    /// Why nobody can join `group`. `None`: nothing is known to keep anybody.
    fn join_fault(&self, _group: &str) -> Option<Explained> {
        None
    }

    /// Those of the `wanted` rights that this client does not have. A log that everybody may use grants all.
    fn missing_rights(&self, _wanted: &[Right]) -> Result<Vec<Right>, LogError> {
        Ok(vec![])
    }

    /// How a log in this process is. Brokers are asked elsewhere.
    fn health(&self) -> LogHealth {
        LogHealth::Good
    }

    /// Wakes calls that a failed disk left asleep, of a log in this process.
    fn wake(&self) {}

    /// Tells a topic from another one of the same name that was deleted before or comes after. `None`: the log cannot
    /// tell.
    fn topic_id(&self, topic: &str) -> Result<Option<TopicId>, LogError>;

    /// The value of one of Kafka's topic options that holds for `topic`. `None`: the log does not tell, or has no such
    /// option.
    fn topic_option(&self, _topic: &str, _option: &str) -> Result<Option<String>, LogError> {
        Ok(None)
    }

    /// The identity of the log's cluster. `None`: the log has none.
    fn cluster_id(&self) -> Result<Option<String>, LogError> {
        Ok(None)
    }

    /// What `topic` takes, as far as the log tells. The answer may be one that was given before.
    fn limits(&self, topic: &str) -> Result<Limits, LogError> {
        let found = self.topics()?.into_iter().find(|info| info.name == topic);
        found.map(|info| Limits::unknown(info.partitions)).ok_or_else(|| LogError::UnknownTopic(topic.to_owned()))
    }

    /// The same, asked for now.
    fn limits_now(&self, topic: &str) -> Result<Limits, LogError> {
        self.limits(topic)
    }

    /// The bounds of every partition of `topic`, as of now.
    fn watermarks(&self, topic: &str) -> Result<Vec<Watermarks>, LogError>;

    /// The committed positions of `group` in the given partitions; absent where nothing was committed.
    fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Offset>, LogError>;

    /// For each partition of `topic` the offset of the first committed record that is as new as `time`, or the end
    /// where there is none.
    fn offsets_at(&self, _topic: &str, _time: Timestamp) -> Result<BTreeMap<Partition, Offset>, LogError> {
        Err(owner_only())
    }

    /// Sets the positions of `group`, which no member may be in: [`LogError::GroupActive`].
    fn set_committed(&self, _group: &str, _positions: &[(TopicPartition, Offset)]) -> Result<(), LogError> {
        Err(owner_only())
    }

    /// Writes records outside of any group, durable when this returns. Returns where each one went, in order.
    fn append(&self, records: &[NewRecord]) -> Result<Vec<(TopicPartition, Offset)>, LogError>;

    /// Reads partitions from given positions, without a group. Only committed records are seen.
    fn reader(&self, from: &[(TopicPartition, Start)]) -> Result<Box<dyn Reader>, LogError>;

    /// Drops what retention and compaction no longer keep, as of `now`. The runtime calls it every minute. Brokers do
    /// this by themselves, so it does nothing unless the log lives in this process.
    fn upkeep(&self, _now: Timestamp) -> Result<(), LogError> {
        Ok(())
    }

    /// Whether the log lives in this process, so that others can use it only through it.
    fn is_here(&self) -> bool {
        false
    }

    /// Takes over a transactional id, for transactions without a group: fences whoever has it, and waits until what
    /// that one began is decided. So all that it ever committed lies below every [`Watermarks::end`] that is asked for
    /// from now on, and nothing is added to it.
    fn writer(&self, transactional_id: &str) -> Result<Box<dyn Writer>, LogError>;

    /// Joins a consumer group with a transactional producer of its own.
    fn join(&self, options: &MemberOptions) -> Result<Box<dyn Member>, LogError>;
}

/// The answer of a log that belongs to another process.
fn owner_only() -> LogError {
    LogError::Invalid("a running host owns this log: stop the host first".to_owned())
}

/// How long one wait for the end of a commit takes, where there is nothing else to do.
pub(crate) const COMMIT_WAIT: Duration = Duration::from_secs(1);

/// One member of a consumer group together with its transactional producer ("exactly once v2": the group's metadata
/// travels with the offsets, so a member that was replaced cannot commit).
///
/// A transaction begins with the first [`send`](Member::send) or [`begin_commit`](Member::begin_commit) after the last
/// one ended.
pub trait Member: Send {
    /// Waits up to `timeout` for something to happen. An empty answer means that nothing did.
    ///
    /// Never hands out a rebalance in the middle: after [`Polled::Revoking`] no record of those partitions comes any
    /// more, and the group waits until [`release`](Member::release) is called. Hands out nothing of partitions that are
    /// paused, and keeps the membership alive meanwhile.
    fn poll(&mut self, timeout: Duration) -> Result<Polled, LogError>;

    /// As [`poll`](Member::poll), and hands out no more than so many records: for a worker that has enough to do and
    /// only has to be seen.
    fn poll_at_most(&mut self, _records_max: usize, timeout: Duration) -> Result<Polled, LogError> {
        self.poll(timeout)
    }

    /// Adds a record to the open transaction. Does not wait for the log; a failure may surface at commit, as
    /// [`LogError::Refused`] if it is about the record.
    fn send(&mut self, record: NewRecord) -> Result<(), LogError>;

    /// As [`send`](Member::send), for a record that the caller keeps.
    fn send_copy(&mut self, record: NewRecordRef<'_>) -> Result<(), LogError> {
        self.send(record.copied())
    }

    /// Begins to commit what was sent together with the positions at which the group goes on.
    /// [`committed`](Member::committed) tells how it ends; until it has told, records are read as usual, and to send,
    /// abort, rewind or release is [`LogError::Invalid`]. A member that is dropped meanwhile waits for the end.
    fn begin_commit(&mut self, positions: &[(TopicPartition, Offset)]) -> Result<(), LogError>;

    /// How the commit that was begun has ended, waiting up to `timeout` for it. After `Some` what was sent and the
    /// positions are durable and visible; an error is its end, too. `None`: it is under way, or none was begun.
    ///
    /// Tells where the transaction ends in each partition that it named itself: see [`Ends`].
    fn committed(&mut self, timeout: Duration) -> Result<Option<Ends>, LogError>;

    /// Commits, and waits until that has ended.
    fn commit(&mut self, positions: &[(TopicPartition, Offset)]) -> Result<Ends, LogError> {
        self.begin_commit(positions)?;
        loop {
            if let Some(ends) = self.committed(COMMIT_WAIT)? {
                return Ok(ends);
            }
        }
    }

    /// Drops what was sent since the last commit. The member's read position is not moved: see
    /// [`rewind`](Member::rewind).
    fn abort(&mut self) -> Result<(), LogError>;

    /// Goes back to the committed positions of the assigned partitions (or where `start` says, if nothing is
    /// committed): used after an abort. Those that are paused stay paused.
    fn rewind(&mut self) -> Result<(), LogError>;

    /// Holds back the records of these partitions, also those that are fetched already, until
    /// [`resume`](Member::resume). Nothing is lost. Partitions that are not assigned (any more) are passed over: they
    /// were just revoked.
    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError>;

    /// Hands out the records of these partitions (again), from where reading stopped. Partitions that are not assigned
    /// are passed over.
    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError>;

    /// Hands out what was lost, once: records of assigned partitions that were deleted before this member read them. To
    /// be asked after each [`poll`](Member::poll), before its records are handled: those behind a gap come with it or
    /// later.
    fn take_losses(&mut self) -> Vec<Loss> {
        vec![]
    }

    /// Commits that the group goes on behind what was lost, so that it is told once. Only for partitions that were just
    /// assigned: what was read before a gap and is not committed yet would be skipped.
    fn skip(&mut self, _losses: &[Loss]) -> Result<(), LogError> {
        Ok(())
    }

    /// Ends a revocation that [`poll`](Member::poll) announced; call after committing or aborting what those partitions
    /// contributed.
    fn release(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError>;

    /// Leaves the group, also as a static member, and joins it again, so that all partitions are shared out anew.
    /// [`poll`](Member::poll) announces what follows: a revocation, then an assignment. A log whose groups share out
    /// added partitions by themselves does nothing.
    fn rejoin(&mut self) -> Result<(), LogError> {
        Ok(())
    }

    /// Leaves the group at once, without committing. Open work is aborted.
    fn leave(self: Box<Self>) -> Result<(), LogError>;
}

/// The answer to what has to wait for the end of a commit.
fn under_way() -> LogError {
    LogError::Invalid("a commit is under way: nothing is sent, aborted or released until it has ended".to_owned())
}

/// Writes transactions without a group.
pub trait Writer: Send {
    /// Writes these records as one transaction. After `Ok` they are durable, and readers see all of them; after
    /// [`LogError::CommitUnknown`] all or none, and after every other error none.
    fn write(&mut self, records: &[NewRecord]) -> Result<(), LogError>;
}

/// Where a transaction ends: for every partition to which it sent records by number (`NewRecord.partition`), the offset
/// after the last of them. A copy of the partition that has these records too is complete up to there, so it is exact:
/// never beyond the transaction's own records, never before the last one.
pub type Ends = BTreeMap<TopicPartition, Offset>;

/// What [`Member::poll`] found.
#[derive(Debug, Clone, PartialEq)]
pub enum Polled {
    /// Records, in order within each partition; may be empty.
    Records(Vec<Record>),
    /// These partitions were added, paused: [`resume`](Member::resume) begins to read at the committed position.
    ///
    /// The positions were fixed before this is returned, and nobody else can move them any more: what the earlier owner
    /// committed together with them is in the log, below every [`Watermarks::end`] that is asked for from now on.
    Assigned(Vec<TopicPartition>),
    /// These partitions are about to go to another member: finish their work, then [`Member::release`].
    Revoking(Vec<TopicPartition>),
    /// These partitions are gone already (session expired): drop their work, then [`Member::release`].
    Lost(Vec<TopicPartition>),
}

/// A position that a partition does not have any more, or not yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The partition.
    pub source: TopicPartition,
    /// Where the group would have gone on.
    pub position: Offset,
    /// The first offset that the partition has: where it goes on.
    pub first: Offset,
}

impl Loss {
    /// How many offsets are gone. None if the partition ends below the position: it was made anew, or its leader lost
    /// records.
    #[must_use]
    pub fn offsets(&self) -> u64 {
        u64::try_from(self.first.0.saturating_sub(self.position.0)).unwrap_or(0)
    }
}

/// How to join a group.
#[derive(Debug, Clone)]
pub struct MemberOptions {
    /// The consumer group.
    pub group: String,
    /// The topics consumed. All of them must exist. A member has the same partition numbers of all of them, if they
    /// have equally many partitions and all members of the group consume the same.
    pub topics: Vec<Topic>,
    /// Identifies the producer across restarts: a second one with the same id fences the first.
    pub transactional_id: String,
    /// How long a transaction may be open before the log aborts it. The embedded log keeps none open.
    pub transaction_time: Duration,
    /// Static membership: a member that comes back under this id within the session timeout gets its partitions back
    /// without a rebalance.
    pub instance_id: Option<String>,
    /// Where to start in a partition the group has no committed position for.
    pub start: Start,
    /// The same for single topics. Where that is not the beginning, the position is committed at once, so that records
    /// that come while no member is there are not skipped.
    pub starts: BTreeMap<Topic, Start>,
    /// The most records one poll hands out.
    pub batch_records_max: usize,
}

impl MemberOptions {
    /// Where to start in a partition of `topic` that the group has no committed position for.
    #[must_use]
    pub fn start_of(&self, topic: &Topic) -> Start {
        self.starts.get(topic).copied().unwrap_or(self.start)
    }
}

/// Where reading starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The first record still held.
    Beginning,
    /// The end: only what comes from now on.
    End,
    /// This offset.
    At(Offset),
    /// The first record that is as new as this, or the end.
    Time(Timestamp),
}

/// Reads partitions without a group.
pub trait Reader: Send {
    /// Waits up to `timeout` for committed records. An empty answer means that there are none now.
    fn poll(&mut self, timeout: Duration) -> Result<Vec<Record>, LogError>;

    /// The position after the last record handed out, per partition: where reading would go on. [`poll`](Reader::poll)
    /// moves it past aborted records and the marks that end transactions too, so it reaches the end of a partition in
    /// which nothing is undecided.
    fn positions(&self) -> Result<BTreeMap<TopicPartition, Offset>, LogError>;
}

/// How a log in this process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogHealth {
    /// It works.
    Good,
    /// It does not work now, and goes on by itself once somebody has seen to the cause.
    Hindered(Explained),
    /// It cannot go on in this process.
    Dead(String),
}

/// A topic to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// How many partitions.
    pub partitions: i32,
    /// How many copies; ignored by the embedded log. `None`: the broker's default.
    pub replication: Option<i16>,
    /// Kafka's topic options; the embedded log honours `cleanup.policy`, `retention.ms`, `retention.bytes`,
    /// `max.message.bytes` and refuses others.
    pub options: BTreeMap<String, String>,
}

impl TopicSpec {
    /// A topic of one partition, of which the newest record of each key is kept.
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
    /// How many partitions it has.
    pub partitions: i32,
}

/// Partitions that no member of a group reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unassigned {
    /// The partitions.
    pub partitions: Vec<TopicPartition>,
    /// The member that should [join again](Member::rejoin), by the name the log has for it: all who ask get the same
    /// one. The name of a static member begins with its `instance_id`.
    pub member: String,
}

/// What tells a topic from others of the same name, in the log's own spelling.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TopicId(pub String);

/// The bounds of one partition: `low <= high <= end`.
///
/// To read all that was written so far, committed records only: ask for `end`, then read until the position has reached
/// it. It does so when every transaction that wrote below is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermarks {
    /// The partition.
    pub partition: Partition,
    /// The first offset still held.
    pub low: Offset,
    /// The offset below which every transaction is decided, and after the last record there ("last stable offset").
    pub high: Offset,
    /// The offset after the last record written, decided or not.
    pub end: Offset,
}

/// The time now, as records carry it.
#[must_use]
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
