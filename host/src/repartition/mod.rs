//! Moves a component's state to the partitions that its keys lead to after its input got more of them.
//!
//! ```text
//!  look ──> note ──> add partitions ──> copy ──────> delete ──────> remove the note
//!            └ from here on no host runs the component, and a second run does the rest
//! ```
//!
//! State is partitioned by the keys of the input's records, and a store's keys may be anything. So entries can be moved
//! only if the store's keys *are* the input's keys. The caller states that, and it is verified: every entry has to lie
//! in the partition that its key led to before. An unread or parked record is processed in its old partition, without
//! the state that was moved, so there must be none.
//!
//! Copying and deleting read below the offsets in the note, where the topics ended before the move, and write behind
//! them. So both can be repeated from the beginning with the same result.

mod moves;
mod scan;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::time::Duration;

use heddle_core::event::{Offset, Partition, Record, Topic, TopicPartition};
use heddle_core::explain::Explained;
use heddle_core::partitioner::partition_of;
use heddle_core::task::TaskSpec;
use thiserror::Error;

use crate::log::{Log, LogError, Start, named, read_partition_until};
use crate::runtime::{KnownTopics, Move, PartitionCounts, partition_counts};

/// The reason why state was not moved, by remedy.
#[derive(Debug, Error)]
pub enum RepartitionError {
    /// The log failed. The next run finishes a move that has begun.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The move would split or mix up state.
    #[error("{0}")]
    Refused(Explained),
    /// The caller interrupted the move. The next run finishes it.
    #[error("moving the state was interrupted")]
    Interrupted,
}

/// A component whose state is to be moved.
pub struct Job<'j> {
    /// The log.
    pub log: &'j dyn Log,
    /// The topics that the app's components know.
    pub known: &'j KnownTopics,
    /// The component's topics.
    pub spec: &'j TaskSpec,
    /// Its consumer group.
    pub group: &'j str,
    /// The topics that it consumes.
    pub inputs: &'j [Topic],
    /// True if every store uses the key of the input as its own key.
    pub by_store_key: bool,
    /// True if unread and parked records may be processed without the state that is moved away from them.
    pub leave_waiting: bool,
    /// The longest time until a host that was about to run the component shows in its group.
    pub hosts_show: Duration,
}

/// The content of a changelog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A store's entries. Each is moved to the partition of its key.
    Store,
    /// Parked records. They belong to the partition that they were read from, and are not moved.
    Schedule,
    /// Message ids. An id does not show its partition, so it is copied to every partition that could need it.
    Ids,
}

/// The move of one changelog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPlan {
    /// The changelog.
    pub topic: Topic,
    /// Its content.
    pub kind: Kind,
    /// The number of its records.
    pub records: u64,
    /// The number of copies written to other partitions.
    pub moved: u64,
}

/// A move that can be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The number of partitions before the move.
    pub from: i32,
    /// The number of partitions after the move.
    pub to: i32,
    /// The changelogs.
    pub topics: Vec<TopicPlan>,
    /// The number of unread and parked records whose state is moved away from them.
    pub left: u64,
    /// True if an earlier run was interrupted after it had begun.
    pub resumed: bool,
    note: Move,
}

impl Plan {
    /// The number of records to read: those of stores are read twice, to copy and to delete.
    #[must_use]
    pub fn steps(&self) -> u64 {
        let times = |kind| match kind {
            Kind::Store => 2,
            Kind::Ids => 1,
            Kind::Schedule => 0,
        };
        self.topics.iter().map(|topic| times(topic.kind) * topic.records).sum()
    }

    /// Returns true if the keys of the stores could not be verified: every key led to a single partition.
    #[must_use]
    pub fn is_unproven(&self) -> bool {
        self.from == 1 && self.topics.iter().any(|topic| topic.kind == Kind::Store && topic.records > 0)
    }
}

impl Job<'_> {
    /// Plans the move, and writes nothing. `None`: the state has as many partitions as the input, and no earlier move
    /// was interrupted.
    ///
    /// # Errors
    /// If the state must not be moved, or the log fails.
    pub fn look(&self) -> Result<Option<Plan>, RepartitionError> {
        self.refuse_members()?;
        let Some((note, resumed)) = self.note()? else { return Ok(None) };
        scan::plan(self, note, resumed).map(Some)
    }

    /// The note of an interrupted move, with `true`, or of one that begins now. `None`: there is nothing to move.
    fn note(&self) -> Result<Option<(Move, bool)>, RepartitionError> {
        Ok(match self.known.begun_move(&self.spec.component)? {
            Some(begun) => Some((begun, true)),
            None => self.new_note(&partition_counts(self.log.topics()?))?.map(|note| (note, false)),
        })
    }

    /// Moves the state. `tell` is called with the number of records read, of [`Plan::steps`], and may interrupt.
    ///
    /// # Errors
    /// If the log fails or a host runs the component. The next run finishes the move.
    pub fn carry_out(&self, plan: &Plan, tell: &mut dyn FnMut(u64) -> ControlFlow<()>) -> Result<(), RepartitionError> {
        moves::carry_out(self, plan, tell)
    }

    /// The changelogs with their content.
    fn changelogs(&self) -> impl Iterator<Item = (&Topic, Kind)> {
        let stores = self.spec.changelogs.iter().map(|topic| (topic, Kind::Store));
        let schedule = self.spec.schedule.iter().map(|topic| (topic, Kind::Schedule));
        stores.chain(schedule).chain(self.spec.seen_changelog.iter().map(|topic| (topic, Kind::Ids)))
    }

    /// The note of a move that begins now. `None`: there is nothing to move.
    fn new_note(&self, counts: &PartitionCounts) -> Result<Option<Move>, RepartitionError> {
        let inputs = self.inputs.iter().filter_map(|topic| Some((topic, *counts.get(&**topic)?))).collect::<Vec<_>>();
        let Some((first, to)) = inputs.first().copied() else { return Ok(None) };
        if let Some((other, count)) = inputs.iter().find(|(_, count)| *count != to) {
            return Err(refused(
                "the topics that the component consumes have different numbers of partitions",
                format!("`{first}` has {to}, `{other}` has {count}"),
                "give both the same number of partitions",
            ));
        }
        let there = self.changelogs().filter_map(|(topic, _)| Some((topic, *counts.get(&**topic)?)));
        let there = there.collect::<Vec<_>>();
        let Some(from) = there.iter().map(|(_, count)| *count).min().filter(|from| *from < to) else {
            return Ok(None);
        };
        if let Some((other, count)) = there.iter().find(|(_, count)| *count != from) {
            return Err(refused(
                format!("not all topics with the state of `{}` have {from} partitions", self.spec.component),
                format!("`{other}` has {count}"),
                "nothing says where its entries belong: `heddle topics accept` leaves the state where it is",
            ));
        }
        let mut ends = BTreeMap::new();
        for (topic, _) in there {
            let bounds = self.log.watermarks(topic)?;
            ends.insert(topic.to_string(), bounds.iter().map(|bounds| bounds.end.0).collect());
        }
        Ok(Some(Move { from, to, ends }))
    }

    fn refuse_members(&self) -> Result<(), RepartitionError> {
        let members = self.log.members(self.group)?;
        if members.is_empty() {
            return Ok(());
        }
        Err(refused(
            format!("the component `{}` runs: its group has the members {}", self.spec.component, named(&members)),
            format!("the consumer group `{}`", self.group),
            "stop all hosts that run the component; one that has stopped counts until its session is over",
        ))
    }
}

fn refused(what: impl Into<String>, place: impl fmt::Display, remedy: impl fmt::Display) -> RepartitionError {
    RepartitionError::Refused(Explained::new(what).at(place).hint(remedy))
}

/// The partition that `key` leads to now, if it is not `partition`.
fn elsewhere(key: &[u8], partition: Partition, note: &Move) -> Option<Partition> {
    Some(partition_of(key, note.to)).filter(|now| *now != partition)
}

/// The other partitions that keys of `partition` may lead to now. A hash has the same remainder in both, divided by a
/// common divisor of both counts.
fn possible(partition: Partition, note: &Move) -> impl Iterator<Item = Partition> {
    let common = greatest_common_divisor(note.from, note.to);
    (0..note.to).filter(move |to| *to != partition.0 && to % common == partition.0 % common).map(Partition)
}

fn greatest_common_divisor(a: i32, b: i32) -> i32 {
    if b == 0 { a.max(1) } else { greatest_common_divisor(b, a % b) }
}

/// Visits the records that a changelog held when the move began.
fn each_of_before(
    log: &dyn Log,
    topic: &Topic,
    note: &Move,
    mut visit: impl FnMut(Record) -> Result<(), RepartitionError>,
) -> Result<(), RepartitionError> {
    let ends = note.ends.get(&**topic).map(Vec::as_slice).unwrap_or_default();
    for (number, end) in (0..note.from).zip(ends) {
        let source = TopicPartition { topic: topic.clone(), partition: Partition(number) };
        each(log, &source, Start::Beginning, Offset(*end), &mut visit)?;
    }
    Ok(())
}

/// Visits the records of a partition below `end`.
fn each(
    log: &dyn Log,
    source: &TopicPartition,
    start: Start,
    end: Offset,
    visit: &mut dyn FnMut(Record) -> Result<(), RepartitionError>,
) -> Result<(), RepartitionError> {
    let mut failed = None;
    read_partition_until(log, source, start, end, |record| {
        if record.offset < end {
            failed = visit(record).err();
        }
        failed.is_none()
    })?;
    failed.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_stays_within_the_possible_partitions() {
        for (from, to) in [(1, 3), (2, 3), (2, 4), (4, 6), (3, 5), (6, 9)] {
            let note = Move { from, to, ..Move::default() };
            for key in 0..2_000_u32 {
                let key = key.to_be_bytes();
                let before = partition_of(&key, from);
                let now = elsewhere(&key, before, &note);
                assert!(now.is_none_or(|now| possible(before, &note).any(|it| it == now)), "{from} to {to}");
            }
        }
        let note = Move { from: 2, to: 4, ..Move::default() };
        assert_eq!(possible(Partition(1), &note).collect::<Vec<_>>(), [Partition(3)]);
    }
}
