//! The state and rules of the brokers: partitions, producers and their transactions, offsets.
//!
//! ```text
//!           append, add_positions            decide                  mark, a little later, place by place
//!  begin ──────────────────────────> open ─────────────> decided ─────────────────────────────────────────> ended
//!                                     └─ too old, or a newer producer of the same id: decided to abort
//! ```
//!
//! A decision takes effect at one moment, for records and offsets together. It becomes visible in a partition, or in
//! the group's offsets, only with the marker there. So an acknowledged commit may not be visible yet, as with Kafka.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use heddle::log::LogError;
use heddle_core::event::{NewRecord, Offset, Partition, Topic, TopicPartition};
use heddle_core::partitioner::partition_of;

use super::group::{Group, SeatId};
use super::partition::{PartitionLog, TxnId};
use super::topic::{Incarnation, KNOWN_TOPICS, Lost, TopicLog};
use crate::chance::Chance;
use crate::plan::{Plan, RECORD_BYTES_MAX};
use crate::time;

#[derive(Debug)]
struct Txn {
    producer: String,
    epoch: u32,
    since: Duration,
    partitions: BTreeSet<Place>,
    positions: BTreeMap<Place, Offset>,
    /// The time and outcome of its own end, if it is another program's transaction.
    ends: Option<(Duration, bool)>,
    decided: Option<bool>,
    /// The partitions without a marker, and when each gets it. `None` stands for the group's offsets.
    marks: BTreeMap<Option<Place>, Duration>,
}

impl Txn {
    fn of(producer: &str) -> Self {
        Self {
            producer: producer.to_owned(),
            epoch: 0,
            since: time::now(),
            partitions: BTreeSet::new(),
            positions: BTreeMap::new(),
            ends: None,
            decided: None,
            marks: BTreeMap::new(),
        }
    }
}

#[derive(Debug, Default)]
struct Producer {
    epoch: u32,
    last: Option<TxnId>,
}

/// The reason why a transaction cannot begin.
pub(crate) enum NotBegun {
    /// The previous transaction has markers missing until then.
    Busy(Duration),
    /// A newer producer has the same id.
    Fenced(LogError),
}

/// A partition of one of the topics that have had a name, one after the other.
pub(super) type Place = (TopicPartition, Incarnation);

/// All brokers of the log.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(super) topics: BTreeMap<Topic, TopicLog>,
    /// Deleted topics.
    pub(super) deleted: Vec<(Topic, TopicLog)>,
    /// Records that were deleted before the group had read them.
    pub(super) lost: Vec<Lost>,
    producers: BTreeMap<String, Producer>,
    txns: Vec<Txn>,
    pub(super) positions: BTreeMap<Place, Offset>,
    pub(crate) group: Group,
    pub(super) chance: Chance,
    transaction_time_max: Duration,
}

impl Broker {
    pub(crate) fn new(plan: &Plan, chance: Chance) -> Self {
        let own = plan.spec.all_changelogs();
        let names = plan
            .inputs
            .iter()
            .chain(&plan.spec.retry_topics)
            .chain([&plan.output, &plan.spec.policy.dead_letter])
            .chain(plan.reference.iter().map(|reference| &reference.topic))
            .chain(own);
        let topic = |topic: &Topic| (topic.clone(), TopicLog::new(topic, plan.partitions, 0));
        let known = Topic::from(KNOWN_TOPICS);
        let topics = names.map(topic).chain([(known.clone(), TopicLog::new(&known, 1, 0))]);
        Self {
            topics: topics.collect(),
            deleted: vec![],
            lost: vec![],
            producers: BTreeMap::new(),
            txns: vec![],
            positions: BTreeMap::new(),
            group: Group::new(plan.partitions, plan.session),
            chance,
            transaction_time_max: plan.transaction_time_max,
        }
    }

    /// Advances time. Returns the numbers of transactions and sessions that ran out.
    pub(crate) fn tick(&mut self) -> (usize, usize) {
        let now = time::now();
        let old = |txn: &Txn| txn.decided.is_none() && txn.since + self.transaction_time_max <= now;
        let old = (0..self.txns.len()).filter(|id| old(&self.txns[*id])).collect::<Vec<_>>();
        for id in &old {
            if let Some(producer) = self.producers.get_mut(&self.txns[*id].producer) {
                producer.epoch += 1;
            }
            self.decide_now(*id, false);
        }
        for id in 0..self.txns.len() {
            let txn = &self.txns[id];
            if let Some((_, commit)) = txn.ends.filter(|(at, _)| txn.decided.is_none() && *at <= now) {
                self.decide_now(id, commit);
            }
        }
        self.write_marks(now);
        (old.len(), self.group.tick(now))
    }

    fn write_marks(&mut self, now: Duration) {
        for id in 0..self.txns.len() {
            let txn = &mut self.txns[id];
            let due =
                txn.marks.iter().filter(|(_, at)| **at <= now).map(|(place, _)| place.clone()).collect::<Vec<_>>();
            let committed = txn.decided == Some(true);
            for place in due {
                txn.marks.remove(&place);
                match place {
                    None if committed => self.positions.extend(txn.positions.clone()),
                    None => {}
                    Some((source, incarnation)) => {
                        let log = partition_mut(&mut self.topics, &source, Some(incarnation));
                        if let Some(log) = log {
                            log.mark(id, committed);
                        }
                    }
                }
            }
        }
    }

    /// The time of the next event inside the brokers.
    pub(crate) fn next_event(&self) -> Option<Duration> {
        let open = self.txns.iter().filter(|txn| txn.decided.is_none()).map(|txn| self.over_at(txn));
        let marks = self.txns.iter().flat_map(|txn| txn.marks.values().copied());
        open.chain(marks).chain(self.group.next_event()).filter(|at| *at > time::now()).min()
    }

    /// The latest end of an open transaction.
    fn over_at(&self, txn: &Txn) -> Duration {
        let latest = txn.since + self.transaction_time_max;
        txn.ends.map_or(latest, |(at, _)| at.min(latest))
    }

    /// Registers a producer. It fences others with its id and aborts their open transaction. Returns its epoch and the
    /// time when all that is ended.
    pub(crate) fn init_producer(&mut self, id: &str) -> (u32, Duration) {
        let producer = self.producers.entry(id.to_owned()).or_default();
        producer.epoch += 1;
        let (epoch, last) = (producer.epoch, producer.last);
        if let Some(last) = last.filter(|last| self.txns[*last].decided.is_none()) {
            self.decide_now(last, false);
        }
        (epoch, last.map_or(Duration::ZERO, |last| self.ended_at(last)))
    }

    fn ended_at(&self, id: TxnId) -> Duration {
        self.txns[id].marks.values().copied().max().unwrap_or(Duration::ZERO)
    }

    pub(super) fn is_current(&self, producer: &str, epoch: u32) -> Result<(), LogError> {
        if self.producers.get(producer).is_some_and(|known| known.epoch == epoch) {
            return Ok(());
        }
        Err(LogError::Fenced(format!("epoch {epoch} of `{producer}` is over")))
    }

    /// Begins a transaction.
    pub(crate) fn begin(&mut self, producer: &str, epoch: u32) -> Result<TxnId, NotBegun> {
        self.is_current(producer, epoch).map_err(NotBegun::Fenced)?;
        let last = self.producers.get(producer).and_then(|known| known.last);
        if let Some(until) = last.map(|last| self.ended_at(last)).filter(|until| *until > time::now()) {
            return Err(NotBegun::Busy(until));
        }
        let id = self.txns.len();
        self.txns.push(Txn { epoch, ..Txn::of(producer) });
        self.producers.entry(producer.to_owned()).or_default().last = Some(id);
        Ok(id)
    }

    fn open(&mut self, id: TxnId) -> Result<&mut Txn, LogError> {
        self.is_current(&self.txns[id].producer, self.txns[id].epoch)?;
        Ok(&mut self.txns[id])
    }

    /// Returns true if the log refuses this record for its size.
    pub(crate) fn refuses(record: &NewRecord) -> bool {
        record.value.as_ref().is_some_and(|value| value.len() > RECORD_BYTES_MAX)
    }

    /// The partition of a record, or an error if it does not exist.
    pub(crate) fn place(&self, record: &NewRecord) -> Result<TopicPartition, LogError> {
        let topic = self.topics.get(&record.topic).ok_or_else(|| LogError::UnknownTopic(record.topic.to_string()))?;
        let count = topic.count();
        let chosen = record.key.as_ref().map_or(Partition(0), |key| partition_of(key, count));
        Ok(TopicPartition { topic: record.topic.clone(), partition: record.partition.unwrap_or(chosen) })
    }

    /// Adds a record to a transaction.
    pub(crate) fn append(&mut self, id: TxnId, record: NewRecord) -> Result<(TopicPartition, Offset), LogError> {
        let place = self.place(&record)?;
        let unknown = || LogError::UnknownTopic(place.to_string());
        let incarnation = self.incarnation(&place.topic).ok_or_else(unknown)?;
        self.open(id)?.partitions.insert((place.clone(), incarnation));
        let log = partition_mut(&mut self.topics, &place, None).ok_or_else(unknown)?;
        let offset = log.append(record, Some(id), time::timestamp());
        Ok((place, offset))
    }

    /// Adds a record outside of any transaction, or in a transaction that is aborted immediately.
    pub(crate) fn append_alone(&mut self, record: NewRecord, aborted: bool) -> Option<(TopicPartition, Offset)> {
        let place = self.place(&record).ok()?;
        let incarnation = self.incarnation(&place.topic)?;
        let txn = aborted.then(|| {
            let at = time::now() + self.chance.millis(0, 300);
            let marks = BTreeMap::from([(Some((place.clone(), incarnation)), at)]);
            self.txns.push(Txn { decided: Some(false), marks, ..Txn::of("input") });
            self.txns.len() - 1
        });
        let offset = partition_mut(&mut self.topics, &place, None)?.append(record, txn, time::timestamp());
        Some((place, offset))
    }

    /// Begins a transaction of another program, which ends it after a while.
    pub(crate) fn begin_foreign(&mut self, open: Duration, commits: bool) -> TxnId {
        self.txns.push(Txn { ends: Some((time::now() + open, commits)), ..Txn::of("another") });
        self.txns.len() - 1
    }

    /// Adds a record to another program's transaction, if it is still open.
    pub(crate) fn append_foreign(&mut self, id: TxnId, record: NewRecord) -> Option<(TopicPartition, Offset)> {
        let place = self.place(&record).ok()?;
        let incarnation = self.incarnation(&place.topic)?;
        let txn = self.txns.get_mut(id).filter(|txn| txn.decided.is_none())?;
        txn.partitions.insert((place.clone(), incarnation));
        let offset = partition_mut(&mut self.topics, &place, None)?.append(record, Some(id), time::timestamp());
        Some((place, offset))
    }

    /// Adds offsets to a transaction. They must come from a member of the group that owns the partitions.
    pub(crate) fn add_positions(
        &mut self,
        id: TxnId,
        seat: SeatId,
        positions: &[(Place, Offset)],
    ) -> Result<(), LogError> {
        if let Some(((stranger, _), _)) = positions.iter().find(|((p, _), _)| !self.group.owns(seat, p.partition.0)) {
            return Err(LogError::Abort(format!("{stranger} does not belong to this member of the group")));
        }
        self.open(id)?.positions.extend(positions.iter().cloned());
        Ok(())
    }

    /// Ends a transaction of a producer that is still the current one.
    pub(crate) fn decide(&mut self, id: TxnId, commit: bool) -> Result<(), LogError> {
        self.open(id)?;
        self.decide_now(id, commit);
        Ok(())
    }

    fn decide_now(&mut self, id: TxnId, commit: bool) {
        let (chance, now) = (&mut self.chance, time::now());
        let txn = &mut self.txns[id];
        txn.decided = Some(commit);
        let positions = (!txn.positions.is_empty()).then_some(None);
        let places = txn.partitions.iter().cloned().map(Some).chain(positions);
        // Usually soon, sometimes late.
        let most = if chance.one_in(6) { 400 } else { 8 };
        txn.marks = places.map(|place| (place, now + chance.millis(0, most))).collect();
    }

    /// Stores offsets outside of any transaction: the start of a member, or a planted bug.
    pub(crate) fn store_positions(&mut self, positions: &[(TopicPartition, Offset)]) {
        for (source, offset) in positions {
            let incarnation = self.incarnation(&source.topic).unwrap_or_default();
            self.positions.insert((source.clone(), incarnation), *offset);
        }
    }

    /// Returns true if no open transaction may still move the offsets of these partitions.
    pub(crate) fn is_stable(&self, number: i32) -> bool {
        let waits = |txn: &&Txn| txn.decided.is_none() || txn.marks.contains_key(&None);
        let touches = |txn: &Txn| txn.positions.keys().any(|(place, _)| place.partition.0 == number);
        !self.txns.iter().filter(waits).any(touches)
    }

    /// The group's offset in the current topic of this name.
    pub(crate) fn position(&self, place: &TopicPartition) -> Option<Offset> {
        let incarnation = self.incarnation(&place.topic)?;
        self.positions.get(&(place.clone(), incarnation)).copied()
    }

    pub(crate) fn topic(&self, topic: &str) -> Result<&[PartitionLog], LogError> {
        let found = self.topics.get(topic).map(|topic| &topic.partitions[..]);
        found.ok_or_else(|| LogError::UnknownTopic(topic.to_owned()))
    }

    pub(crate) fn topics(&self) -> impl Iterator<Item = (&Topic, usize)> {
        self.topics.iter().map(|(topic, log)| (topic, log.partitions.len()))
    }

    pub(crate) fn partition(&self, place: &TopicPartition) -> Result<&PartitionLog, LogError> {
        let partitions = self.topic(&place.topic)?;
        let index = usize::try_from(place.partition.0).ok();
        index.and_then(|index| partitions.get(index)).ok_or_else(|| LogError::Invalid(format!("there is no {place}")))
    }

    /// The outcome of a transaction, whether or not its markers are written. `None` if it is undecided.
    pub(crate) fn decision(&self, id: TxnId) -> Option<bool> {
        self.txns[id].decided
    }

    /// Returns true if every transaction has ended everywhere.
    pub(crate) fn is_quiet(&self) -> bool {
        self.txns.iter().all(|txn| txn.decided.is_some() && txn.marks.is_empty())
    }
}

/// A partition of the current topic of this name, unless the caller means another incarnation.
pub(super) fn partition_mut<'a>(
    topics: &'a mut BTreeMap<Topic, TopicLog>,
    place: &TopicPartition,
    incarnation: Option<Incarnation>,
) -> Option<&'a mut PartitionLog> {
    let topic = topics.get_mut(&place.topic)?;
    if incarnation.is_some_and(|incarnation| topic.incarnation != incarnation) {
        return None;
    }
    topic.partitions.get_mut(usize::try_from(place.partition.0).ok()?)
}
