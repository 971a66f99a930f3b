//! One member of a consumer group with its transactional producer.
//!
//! A partition's way through a member:
//!
//! ```text
//!             Assign                     resume                Revoke, Lost                   release of the last
//!  elsewhere ────────> assigned, paused ────────> assigned, read ─────────────> held: no record ──────────> elsewhere
//!                                       <────────
//!                                         pause
//! ```
//!
//! While partitions are held, the rebalance is not answered, so the group cannot assign them to other members.

mod starts;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use heddle_core::event::{NewRecord, NewRecordRef, Offset, Record, Topic, TopicPartition};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::TopicPartitionList;

use super::super::{Ends, LogError, Loss, Member, MemberOptions, POLL_BYTES_MAX, Polled, under_way};
use super::cluster::Cluster;
use super::committer::{Committer, Ended, TopicIds};
use super::errors::{consumer_error, protocol_unknown, request_error};
use super::joining::{not_assigned_by_broker, not_joined};
use super::native;
use super::positions::Read;
use super::producer::TransactionalProducer;
use super::rebalance::{Protocol, Rebalance, Rebalances};
use super::record::{TopicNames, bytes_of, is_from, list_of, positions_list, record_of, source_of};
use super::report::Report;
use super::whole_millis;

/// The initial capacity for records of a batch.
const RECORDS_EXPECTED: usize = 256;
/// The maximum time of one attempt to fetch the committed positions. A poll waits for it.
const POSITIONS_TIME_MAX: Duration = Duration::from_secs(5);
/// The maximum time of a request whose only purpose is to wake librdkafka's fetch threads.
const WAKE_TIME_MAX: Duration = Duration::from_millis(500);
/// The maximum time of a seek.
const SEEK_TIME_MAX: Duration = Duration::from_secs(10);

/// A member of a group on Kafka. It leaves the group when it is dropped. A static member keeps its partitions until its
/// session times out.
pub(super) struct KafkaMember {
    cluster: Arc<Cluster>,
    consumer: Arc<BaseConsumer<Rebalances>>,
    /// Absent while its transaction is being committed.
    producer: Option<TransactionalProducer>,
    committer: Committer<TransactionalProducer>,
    protocol: Protocol,
    options: MemberOptions,
    names: TopicNames,
    /// The positions to which an abort returns: the last commit of this member, or the first record that it returned. A
    /// partition without an entry has not been read yet.
    back: BTreeMap<TopicPartition, Offset>,
    /// The next position in each partition. The partition of the last record is assigned, and has an entry in `back`.
    read: Read,
    /// The identities of the topics of the assigned partitions.
    ids: TopicIds,
    /// Records that were deleted before they were read, not yet reported.
    losses: Vec<Loss>,
    /// The reason why losses cannot be determined. Nothing more is read then.
    failed: Option<LogError>,
    assigned: BTreeSet<TopicPartition>,
    /// The assigned partitions that are paused.
    paused: BTreeSet<TopicPartition>,
    /// The partitions that were revoked or lost, and are not released yet.
    held: BTreeSet<TopicPartition>,
    /// The partitions that are released while others of the same revocation are not. librdkafka expects one answer for
    /// all of them.
    released: BTreeSet<TopicPartition>,
}

impl KafkaMember {
    pub(super) fn join(cluster: Arc<Cluster>, options: &MemberOptions) -> Result<Self, LogError> {
        let what = format!("joining group `{}`", options.group);
        if options.group.is_empty() || options.topics.is_empty() || options.batch_records_max == 0 {
            return Err(LogError::Invalid(format!(
                "{what}: a group, a topic and at least one record a batch are needed"
            )));
        }
        let protocol = Protocol::of(&options.topics, cluster.options().assigned_by_broker());
        let config =
            cluster.options().member(&options.group, options.instance_id.as_deref(), options.start, protocol)?;
        for topic in &options.topics {
            cluster.partitions(topic)?;
        }
        let context = Rebalances::new(Report::new(format!("member of {}", options.group)), protocol);
        let consumer: BaseConsumer<Rebalances> =
            config.create_with_context(context).map_err(|error| request_error(&error, &what))?;
        subscribe(&consumer, &options.topics).map_err(|error| LogError::Invalid(format!("{what}: {error}")))?;
        // The group answers meanwhile.
        let begun =
            TransactionalProducer::new(Arc::clone(&cluster), &options.transactional_id, options.transaction_time);
        let consumer = Arc::new(consumer);
        let committing = Arc::clone(&consumer);
        let begun = begun.and_then(|producer| {
            let committer = Committer::start(move |producer: &mut TransactionalProducer, positions, ids| {
                producer.commit(positions, ids, &committing)
            })?;
            Ok((producer, committer))
        });
        // When it is dropped, the consumer waits for an answer to everything that the group has announced meanwhile.
        let (producer, committer) = begun.inspect_err(|_| close(&consumer, protocol))?;
        Ok(Self {
            cluster,
            consumer,
            producer: Some(producer),
            committer,
            protocol,
            options: options.clone(),
            names: TopicNames::default(),
            back: BTreeMap::new(),
            read: Read::default(),
            ids: TopicIds::default(),
            losses: vec![],
            failed: None,
            assigned: BTreeSet::new(),
            paused: BTreeSet::new(),
            held: BTreeSet::new(),
            released: BTreeSet::new(),
        })
    }

    /// The error of an operation that the brokers do not allow, with its remedy.
    fn refused(&self, error: LogError) -> LogError {
        match error {
            LogError::Hindered(why) => not_joined(&self.options, &why.what),
            other => other,
        }
    }

    fn producer(&mut self) -> Result<&mut TransactionalProducer, LogError> {
        self.producer.as_mut().ok_or_else(under_way)
    }

    fn not_committing(&self) -> Result<(), LogError> {
        if self.producer.is_none() { Err(under_way()) } else { Ok(()) }
    }

    /// Answers the next change of the assignment, or passes it on. Returns `None` if there is none that concerns the
    /// caller.
    fn rebalance(&mut self) -> Result<Option<Polled>, LogError> {
        while let Some(change) = self.consumer.context().take() {
            match change {
                Rebalance::Assign(partitions) => {
                    let list = match self.starts(&partitions) {
                        Ok(list) => list,
                        Err(error) => {
                            self.consumer.context().put_back(Rebalance::Assign(partitions));
                            return match error {
                                LogError::Unreachable(why) => {
                                    tracing::warn!(%why, "waiting for the positions of assigned partitions");
                                    Ok(None)
                                }
                                other => Err(other),
                            };
                        }
                    };
                    self.take(&list, &partitions)?;
                    if !partitions.is_empty() {
                        return Ok(Some(Polled::Assigned(partitions)));
                    }
                }
                // No partition is revoked, so there is nothing to wait for.
                Rebalance::Revoke(partitions) | Rebalance::Lost(partitions) if partitions.is_empty() => {
                    self.give_up(&partitions)?;
                }
                Rebalance::Revoke(partitions) => {
                    self.hold(&partitions);
                    return Ok(Some(Polled::Revoking(partitions)));
                }
                Rebalance::Lost(partitions) => {
                    self.hold(&partitions);
                    return Ok(Some(Polled::Lost(partitions)));
                }
            }
        }
        Ok(None)
    }

    /// Adds `partitions`, with their positions in `list`. They are not read yet.
    fn take(&mut self, list: &TopicPartitionList, partitions: &[TopicPartition]) -> Result<(), LogError> {
        self.protocol.assign(&self.consumer, list).map_err(|error| assignment_failed(&error))?;
        // librdkafka drops the records that it fetches until then, and fetches them again after the resume.
        self.consumer.pause(list).map_err(|error| assignment_failed(&error))?;
        self.assigned.extend(partitions.iter().cloned());
        self.paused.extend(partitions.iter().cloned());
        Ok(())
    }

    fn hold(&mut self, partitions: &[TopicPartition]) {
        self.read.forget(partitions);
        for partition in partitions {
            self.assigned.remove(partition);
            self.paused.remove(partition);
            self.back.remove(partition);
            self.held.insert(partition.clone());
        }
    }

    fn holds(&self, partition: &TopicPartition) -> bool {
        self.assigned.contains(partition) || self.held.contains(partition)
    }

    fn give_up<'a>(&self, partitions: impl IntoIterator<Item = &'a TopicPartition>) -> Result<(), LogError> {
        self.protocol.unassign(&self.consumer, &list_of(partitions)).map_err(|error| assignment_failed(&error))
    }

    /// The next record that is available, or arrives within `wait`. `Err(None)` if an event was served, or nothing
    /// arrived.
    fn next_record(&mut self, wait: Duration) -> Result<Record, Option<LogError>> {
        let message = match self.consumer.poll(whole_millis(wait)) {
            None => return Err(self.look_for_losses().err()),
            Some(Err(error)) if matches!(self.protocol, Protocol::Broker(_)) && protocol_unknown(&error) => {
                return Err(Some(not_assigned_by_broker(&self.options.group, &error.to_string())));
            }
            Some(Err(error)) => return Err(consumer_error(&error).map(|error| self.refused(error))),
            Some(Ok(message)) => message,
        };
        let last = self.read.last().filter(|last| is_from(&message, last)).cloned();
        let known = last.is_some();
        let source = last.unwrap_or_else(|| source_of(&message, &mut self.names));
        // Records that were fetched before a revocation may still be queued.
        if !known && !self.assigned.contains(&source) {
            return Err(None);
        }
        let record = record_of(&message, source);
        drop(message);
        // The record may follow a gap that librdkafka has reported meanwhile.
        self.look_for_losses()?;
        if known && self.read.last().is_some() {
            self.read.advance(record.offset);
        } else {
            self.back.entry(record.source.clone()).or_insert(record.offset);
            self.read.took(&record);
        }
        Ok(record)
    }
}

impl Member for KafkaMember {
    fn poll(&mut self, timeout: Duration) -> Result<Polled, LogError> {
        self.poll_at_most(self.options.batch_records_max, timeout)
    }

    fn poll_at_most(&mut self, records_max: usize, timeout: Duration) -> Result<Polled, LogError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let deadline = Instant::now() + timeout;
        let (mut records, mut bytes) = (Vec::new(), 0);
        loop {
            if records.is_empty()
                && let Some(change) = self.rebalance()?
            {
                return Ok(change);
            }
            let wait =
                if records.is_empty() { deadline.saturating_duration_since(Instant::now()) } else { Duration::ZERO };
            match self.next_record(wait) {
                Ok(record) => {
                    if records.is_empty() {
                        // Mostly, many records are available at once, or only one.
                        records.reserve(records_max.min(RECORDS_EXPECTED));
                    }
                    bytes += bytes_of(&record);
                    records.push(record);
                }
                // A permanent failure occurs again at the next poll, and these records are valid.
                Err(Some(error)) if records.is_empty() => return Err(error),
                Err(Some(_)) => break,
                Err(None) if !records.is_empty() => break,
                Err(None) if wait.is_zero() => {
                    // The wait may have ended because of a rebalance.
                    return Ok(self.rebalance()?.unwrap_or(Polled::Records(records)));
                }
                Err(None) => {}
            }
            if records.len() >= records_max || bytes > POLL_BYTES_MAX {
                break;
            }
        }
        Ok(Polled::Records(records))
    }

    // The trait passes the record by value for logs in this process. librdkafka makes its own copy.
    fn send(&mut self, record: NewRecord) -> Result<(), LogError> {
        self.producer()?.send(record.borrowed())
    }

    fn send_copy(&mut self, record: NewRecordRef<'_>) -> Result<(), LogError> {
        self.producer()?.send(record)
    }

    fn begin_commit(&mut self, positions: &[(TopicPartition, Offset)]) -> Result<(), LogError> {
        // The broker checks which member commits, but not for which partitions.
        if let Some((stranger, _)) = positions.iter().find(|(partition, _)| !self.holds(partition)) {
            return Err(LogError::Abort(format!("{stranger} is not assigned to this member")));
        }
        let producer = self.producer.take().ok_or_else(under_way)?;
        let deadline = producer.deadline();
        self.committer.begin(producer, deadline, positions.to_vec(), self.ids.clone())
    }

    fn committed(&mut self, timeout: Duration) -> Result<Option<Ends>, LogError> {
        let Some(Ended { producer, positions, outcome }) = self.committer.ended(timeout)? else { return Ok(None) };
        self.producer = Some(producer);
        let ends = outcome?;
        for (partition, offset) in positions {
            if self.assigned.contains(&partition) {
                self.back.insert(partition, offset);
            }
        }
        Ok(Some(ends))
    }

    fn abort(&mut self) -> Result<(), LogError> {
        self.producer()?.abort()
    }

    /// Rewinds without a request to a broker. The committed positions are known here, because no other member commits
    /// for a partition that this member holds. If nothing was committed, reading continues at the first record that
    /// arrived, to which `start` led.
    fn rewind(&mut self) -> Result<(), LogError> {
        self.not_committing()?;
        if self.back.is_empty() {
            return Ok(());
        }
        let targets = positions_list(self.back.iter().map(|(partition, offset)| (partition, *offset)));
        let failed = |text: String| LogError::Unreachable(format!("going back to the committed positions: {text}"));
        let sought =
            self.consumer.seek_partitions(targets, SEEK_TIME_MAX).map_err(|error| failed(error.to_string()))?;
        for element in sought.elements() {
            element.error().map_err(|error| failed(format!("{}/{}: {error}", element.topic(), element.partition())))?;
        }
        for (partition, offset) in &self.back {
            self.read.seek(partition, *offset);
        }
        Ok(())
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        let read =
            |partition: &&TopicPartition| self.assigned.contains(*partition) && !self.paused.contains(*partition);
        let read: Vec<TopicPartition> = partitions.iter().filter(read).cloned().collect();
        if !read.is_empty() {
            self.consumer.pause(&list_of(&read)).map_err(|error| assignment_failed(&error))?;
            self.paused.extend(read);
        }
        Ok(())
    }

    fn take_losses(&mut self) -> Vec<Loss> {
        std::mem::take(&mut self.losses)
    }

    fn skip(&mut self, losses: &[Loss]) -> Result<(), LogError> {
        if losses.is_empty() {
            return Ok(());
        }
        self.commit_positions(positions_list(losses.iter().map(|loss| (&loss.source, loss.first))))
    }

    /// librdkafka continues where reading stopped: at the pause, it stored the position after the last returned record.
    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        let paused: Vec<_> = partitions.iter().filter(|partition| self.paused.contains(*partition)).collect();
        if !paused.is_empty() {
            let list = list_of(paused.iter().copied());
            self.consumer.resume(&list).map_err(|error| assignment_failed(&error))?;
            wake(&self.consumer, &paused);
            for partition in paused {
                self.paused.remove(partition);
            }
        }
        Ok(())
    }

    fn release(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        self.not_committing()?;
        if let Some(stranger) = partitions.iter().find(|partition| !self.held.contains(partition)) {
            return Err(LogError::Invalid(format!("{stranger} is not being revoked, so it cannot be released")));
        }
        for partition in partitions {
            self.held.remove(partition);
            self.released.insert(partition.clone());
        }
        if self.held.is_empty() && !self.released.is_empty() {
            let released = std::mem::take(&mut self.released);
            self.give_up(&released)?;
        }
        Ok(())
    }

    /// Leaves the group and joins it again. librdkafka releases a static member only when it unsubscribes. While it
    /// waits for the answer to the revocation, it keeps the new subscription. Brokers that assign partitions need no
    /// member to rejoin.
    fn rejoin(&mut self) -> Result<(), LogError> {
        if matches!(self.protocol, Protocol::Broker(_)) {
            return Ok(());
        }
        self.consumer.unsubscribe();
        subscribe(&self.consumer, &self.options.topics).map_err(|error| assignment_failed(&error))
    }

    fn leave(mut self: Box<Self>) -> Result<(), LogError> {
        self.abort()
    }
}

impl Drop for KafkaMember {
    fn drop(&mut self) {
        // The thread uses the consumer, too, and commits for this member.
        self.committer.finish();
        self.consumer.context().close();
        let waiting: Vec<TopicPartition> = self.held.iter().chain(&self.released).cloned().collect();
        if !waiting.is_empty() {
            let _closing = self.give_up(&waiting);
        }
        close(&self.consumer, self.protocol);
    }
}

/// Answers all announced and all further changes of a consumer that is being dropped, because closing it waits for the
/// answers.
fn close(consumer: &BaseConsumer<Rebalances>, protocol: Protocol) {
    consumer.context().close();
    while let Some(change) = consumer.context().take() {
        let _closing = match change {
            Rebalance::Assign(partitions) => protocol.assign(consumer, &list_of(&partitions)),
            Rebalance::Revoke(partitions) | Rebalance::Lost(partitions) => {
                protocol.unassign(consumer, &list_of(&partitions))
            }
        };
    }
}

/// Sends a request to the leaders of `partitions`. librdkafka's threads that would fetch from them sleep for up to a
/// second after a resume, and any answer wakes them. The answer itself is ignored.
fn wake(consumer: &BaseConsumer<Rebalances>, partitions: &[&TopicPartition]) {
    let mut question = TopicPartitionList::new();
    for partition in partitions {
        let _known = question.add_partition_offset(&partition.topic, partition.partition.0, rdkafka::Offset::End);
    }
    let _answer = native::offsets(consumer.client(), &question, WAKE_TIME_MAX);
}

fn subscribe(consumer: &BaseConsumer<Rebalances>, topics: &[Topic]) -> KafkaResult<()> {
    consumer.subscribe(&topics.iter().map(AsRef::as_ref).collect::<Vec<_>>())
}

fn assignment_failed(error: &KafkaError) -> LogError {
    LogError::Fatal(format!("the assignment could not be changed: {error}"))
}
