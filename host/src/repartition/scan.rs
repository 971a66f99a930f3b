//! Plans a move: reads all that it concerns, and refuses what would split or mix up state. Writes nothing.

use std::collections::BTreeMap;

use heddle_core::event::{Offset, Record, Topic, TopicPartition};
use heddle_core::partitioner::partition_of;
use heddle_core::schedule;

use super::{Job, Kind, Plan, RepartitionError, TopicPlan, each, each_of_before, elsewhere, possible, refused};
use crate::log::{LogError, Start};
use crate::runtime::Move;

/// Plans the move of every changelog.
pub(super) fn plan(job: &Job<'_>, note: Move, resumed: bool) -> Result<Plan, RepartitionError> {
    let (mut topics, mut left) = (vec![], Left::default());
    for (topic, kind) in job.changelogs().filter(|(topic, _)| note.ends.contains_key(&***topic)) {
        let mut plan = TopicPlan { topic: topic.clone(), kind, records: 0, moved: 0 };
        let mut waiting = BTreeMap::new();
        each_of_before(job.log, topic, &note, |record| {
            plan.records += 1;
            plan.moved += match kind {
                Kind::Store => u64::from(store_entry_moves(job, &record, &note)?),
                Kind::Ids => possible(record.source.partition, &note).count() as u64,
                Kind::Schedule => {
                    let is_left = waits_elsewhere(&record, &note)?;
                    waiting.insert((record.source, record.key), is_left.then_some(record.offset));
                    0
                }
            };
            Ok(())
        })?;
        for ((source, _), offset) in waiting {
            offset.into_iter().for_each(|offset| left.add(&source, offset));
        }
        if kind == Kind::Store && plan.records > 0 && !job.by_store_key && !resumed {
            return Err(keys_unknown(job, topic));
        }
        topics.push(plan);
    }
    unread(job, &note, &mut left)?;
    if let Some((source, offset)) = left.first.as_ref().filter(|_| !job.leave_waiting && !resumed) {
        return Err(refused(
            format!("records are parked in partitions that the state of their keys would leave: {}", left.count),
            format!("the first is {source}@{offset}"),
            "stop the writers of the input, let the component handle everything, and only then add partitions and run this; or give --leave-waiting: these records are handled where they are, as if their keys had no state",
        ));
    }
    let (from, to) = (note.from, note.to);
    Ok(Plan { from, to, topics, left: left.count, resumed, note })
}

/// Unread and parked records whose state is moved away from them.
#[derive(Default)]
struct Left {
    count: u64,
    first: Option<(TopicPartition, Offset)>,
}

impl Left {
    fn add(&mut self, source: &TopicPartition, offset: Offset) {
        self.count += 1;
        self.first.get_or_insert_with(|| (source.clone(), offset));
    }
}

/// Returns true if a store's entry is moved. Refuses an entry that does not lie in the partition that its key led to
/// before: the store's keys are not the input's then.
fn store_entry_moves(job: &Job<'_>, record: &Record, note: &Move) -> Result<bool, RepartitionError> {
    let Some(key) = &record.key else { return Ok(false) };
    let before = partition_of(key, note.from);
    if job.by_store_key && before != record.source.partition {
        return Err(refused(
            format!(
                "the keys of the store behind `{}` are not those of the input: the key `{}` lies in partition {}, and would be in {before}",
                record.source.topic,
                key.escape_ascii(),
                record.source.partition
            ),
            format!("{}@{}", record.source, record.offset),
            format!(
                "nothing shows which input key an entry belongs to: `heddle topics accept {}` leaves the state where it is, or read the input again into a component of another name",
                short_name(job)
            ),
        ));
    }
    Ok(elsewhere(key, record.source.partition, note).is_some())
}

/// The component's name within its app.
fn short_name<'j>(job: &'j Job<'_>) -> &'j str {
    job.spec.component.rsplit('.').next().unwrap_or(&job.spec.component)
}

fn keys_unknown(job: &Job<'_>, topic: &Topic) -> RepartitionError {
    refused(
        "state is partitioned by the keys of the input, and an entry of a store does not show which one it belongs to",
        format!("the store behind `{topic}`"),
        format!(
            "if every store of the component uses the input's key as its own, give --by-store-key; else `heddle topics accept {}` leaves the state where it is",
            short_name(job)
        ),
    )
}

/// Returns true if the entry is a parked record whose state is moved away from it.
fn waits_elsewhere(record: &Record, note: &Move) -> Result<bool, RepartitionError> {
    let Some(value) = &record.value else { return Ok(false) };
    let key = schedule::record_key(value).ok_or_else(|| {
        LogError::Fatal(format!("a parked record cannot be read: {}@{}", record.source, record.offset))
    })?;
    Ok(key.is_some_and(|key| elsewhere(&key, record.source.partition, note).is_some()))
}

/// Counts unread records of the input and of retry topics whose state is moved away from them. Refuses an input whose
/// producers use another partitioner.
fn unread(job: &Job<'_>, note: &Move, left: &mut Left) -> Result<(), RepartitionError> {
    let topics = job.inputs.iter().map(|topic| (topic, true));
    for (topic, is_input) in topics.chain(job.spec.retry_topics.iter().map(|topic| (topic, false))) {
        let bounds = match job.log.watermarks(topic) {
            Err(LogError::UnknownTopic(_)) => continue,
            bounds => bounds?,
        };
        let sources = bounds.iter().map(|bounds| TopicPartition::new(topic.clone(), bounds.partition.0));
        let committed = job.log.committed(job.group, &sources.collect::<Vec<_>>())?;
        for bounds in &bounds {
            let source = TopicPartition { topic: topic.clone(), partition: bounds.partition };
            let position = committed.get(&source).copied().unwrap_or(bounds.low).max(bounds.low);
            if position >= bounds.high {
                continue;
            }
            each(job.log, &source, Start::At(position), bounds.high, &mut |record| {
                match lies(&record, is_input, note) {
                    Lies::Right => {}
                    Lies::Left => left.add(&record.source, record.offset),
                    Lies::Elsewhere => return Err(placed_otherwise(&record, note)),
                }
                Ok(())
            })?;
        }
    }
    Ok(())
}

/// The place of an unread record.
enum Lies {
    /// The partition that its key leads to now. A record without a key may lie anywhere.
    Right,
    /// The partition that its key led to before.
    Left,
    /// Another partition.
    Elsewhere,
}

fn lies(record: &Record, is_input: bool, note: &Move) -> Lies {
    let (Some(key), partition) = (&record.key, record.source.partition) else { return Lies::Right };
    if partition_of(key, note.to) == partition {
        return Lies::Right;
    }
    if partition.0 < note.from && (!is_input || partition_of(key, note.from) == partition) {
        return Lies::Left;
    }
    Lies::Elsewhere
}

fn placed_otherwise(record: &Record, note: &Move) -> RepartitionError {
    let key = record.key.as_deref().unwrap_or_default();
    refused(
        format!(
            "the writers of the input place keys by another rule than Kafka's Java clients (murmur2): the key `{}` would be in partition {}",
            key.escape_ascii(),
            partition_of(key, note.to)
        ),
        format!("{}@{}", record.source, record.offset),
        "let all writers use partitioner=murmur2_random; nothing else shows where the state belongs",
    )
}
