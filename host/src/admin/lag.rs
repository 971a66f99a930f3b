//! How far a component is behind its input: offsets from the committed position to the end of each partition.
//!
//! Offsets that no record has are not counted: the marks that end transactions, and records of transactions that were
//! aborted. They are told from records by reading them, once, where a position stands still before the end. Records of
//! an open transaction are counted, and those that wait in retry topics.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use heddle_core::event::{Offset, Timestamp, TopicPartition};

use crate::log::{self, Log, LogError, Start, Watermarks};

/// How long reading what lies before an end may take, each time.
const LOOK_MAX: Duration = Duration::from_secs(2);
/// How long one poll waits.
const POLL_WAIT: Duration = Duration::from_millis(50);

/// How far a component has got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lag {
    /// All partitions of the topics that it reads.
    pub partitions: Vec<PartitionLag>,
    /// When it was asked for.
    pub at: Instant,
}

/// How far a component has got in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionLag {
    /// The partition.
    pub source: TopicPartition,
    /// Where the group goes on.
    pub position: Offset,
    /// The offset after the last record, decided or not.
    pub end: Offset,
    /// Offsets behind the position.
    pub offsets: i64,
    /// How many of them belong to transactions that are not decided, or lie behind one.
    pub undecided: i64,
    /// Since when nothing but an open transaction is left, at this position.
    pub open_since: Option<Timestamp>,
}

impl Lag {
    /// The offsets of all partitions.
    #[must_use]
    pub fn offsets(&self) -> i64 {
        self.partitions.iter().map(|partition| partition.offsets).sum()
    }

    /// The partitions with something left.
    pub fn left(&self) -> impl Iterator<Item = &PartitionLag> {
        self.partitions.iter().filter(|partition| partition.offsets > 0)
    }

    /// How far it has got in this one.
    #[must_use]
    pub fn of(&self, source: &TopicPartition) -> Option<&PartitionLag> {
        self.partitions.iter().find(|partition| partition.source == *source)
    }
}

/// Measures the lag of one component again and again.
#[derive(Default)]
pub(super) struct Gauge {
    partitions: BTreeMap<TopicPartition, Known>,
}

/// What is known of the offsets between a position and an end.
#[derive(Default)]
struct Known {
    /// The position that was committed last time.
    position: Option<Offset>,
    /// No record lies between that position and here.
    empty_until: Option<Offset>,
    /// A record lies behind that position.
    has_record: bool,
    /// Since when nothing is left there but an open transaction.
    open_since: Option<Timestamp>,
}

impl Known {
    /// Notes a position; what was known of another one is void.
    fn at(&mut self, position: Offset) {
        if let Some(before) = self.position.filter(|before| *before != position) {
            // Offsets behind the old position that hold no record hold none behind a later one.
            self.empty_until = self.empty_until.filter(|until| before < position && position < *until);
            (self.has_record, self.open_since) = (false, None);
        }
        self.position = Some(position);
    }
}

impl Gauge {
    /// Asks the log how far `group` is behind the ends of `topics`.
    pub(super) fn measure(&mut self, log: &dyn Log, group: &str, topics: &[String]) -> Result<Lag, LogError> {
        let at = Instant::now();
        let mut bounds = BTreeMap::new();
        for topic in topics {
            for found in log.watermarks(topic)? {
                bounds.insert(TopicPartition::new(topic.as_str(), found.partition.0), found);
            }
        }
        let committed = log.committed(group, &bounds.keys().cloned().collect::<Vec<_>>())?;
        self.partitions.retain(|partition, _| bounds.contains_key(partition));
        let (mut positions, mut doubtful) = (BTreeMap::new(), vec![]);
        for (partition, found) in &bounds {
            let position = committed.get(partition).map_or(found.low, |position| (*position).max(found.low));
            let known = self.partitions.entry(partition.clone()).or_default();
            let stands_still = known.position == Some(position);
            known.at(position);
            let is_known = known.has_record || known.empty_until.is_some_and(|until| until >= found.high);
            if position < found.high && stands_still && !is_known {
                doubtful.push((partition.clone(), position, found.high));
            }
            positions.insert(partition, position);
        }
        self.look(log, &doubtful)?;
        let now = log::now();
        let partitions = positions.into_iter().filter_map(|(partition, position)| {
            let known = self.partitions.get_mut(partition)?;
            let found = lag_of(partition, position, known.empty_until, bounds.get(partition)?);
            let is_open = found.undecided > 0 && found.undecided == found.offsets;
            known.open_since = is_open.then(|| known.open_since.unwrap_or(now));
            Some(PartitionLag { open_since: known.open_since, ..found })
        });
        Ok(Lag { partitions: partitions.collect(), at })
    }

    /// Reads from these positions on until there is a record, or the end.
    fn look(&mut self, log: &dyn Log, doubtful: &[(TopicPartition, Offset, Offset)]) -> Result<(), LogError> {
        if doubtful.is_empty() {
            return Ok(());
        }
        let from = doubtful.iter().map(|(partition, position, _)| (partition.clone(), Start::At(*position)));
        let mut reader = log.reader(&from.collect::<Vec<_>>())?;
        let began = Instant::now();
        let mut open = doubtful.iter().collect::<Vec<_>>();
        while !open.is_empty() && began.elapsed() < LOOK_MAX {
            for record in reader.poll(POLL_WAIT)? {
                if let Some(known) = self.partitions.get_mut(&record.source) {
                    // One behind the end that was asked for came later.
                    let is_before_end = open.iter().any(|(p, _, high)| *p == record.source && record.offset < *high);
                    known.has_record |= is_before_end;
                }
            }
            let reached = reader.positions()?;
            open.retain(|(partition, _, high)| {
                let Some(known) = self.partitions.get_mut(partition) else { return false };
                if !known.has_record && reached.get(partition).is_some_and(|position| position >= high) {
                    known.empty_until = Some(*high);
                }
                !known.has_record && known.empty_until.is_none_or(|until| until < *high)
            });
        }
        Ok(())
    }
}

/// How far a position is behind the end.
fn lag_of(source: &TopicPartition, position: Offset, empty_until: Option<Offset>, bounds: &Watermarks) -> PartitionLag {
    // The position from which on there may be records.
    let from = empty_until.map_or(position, |until| position.max(until.min(bounds.high)));
    let undecided = (bounds.end.0 - bounds.high.0.max(from.0)).max(0);
    let decided = (bounds.high.0 - from.0).max(0);
    let (source, end, open_since) = (source.clone(), bounds.end, None);
    PartitionLag { source, position, end, offsets: decided + undecided, undecided, open_since }
}

#[cfg(test)]
mod tests {
    use super::*;
    use heddle_core::event::Partition;

    fn left(position: i64, empty_until: Option<i64>, high: i64, end: i64) -> (i64, i64) {
        let bounds = Watermarks { partition: Partition(0), low: Offset(0), high: Offset(high), end: Offset(end) };
        let lag = lag_of(&TopicPartition::new("t", 0), Offset(position), empty_until.map(Offset), &bounds);
        (lag.offsets, lag.undecided)
    }

    #[test]
    fn lag_counts_up_to_the_real_end_and_no_marks() {
        assert_eq!(left(5, None, 5, 5), (0, 0));
        assert_eq!(left(3, None, 5, 5), (2, 0));
        // A mark lies at the end.
        assert_eq!(left(5, Some(6), 6, 6), (0, 0));
        // More came behind it.
        assert_eq!(left(5, Some(6), 9, 9), (3, 0));
        // A transaction is open.
        assert_eq!(left(5, None, 5, 8), (3, 3));
        assert_eq!(left(5, Some(6), 6, 8), (2, 2));
        // The position was set beyond the stable end.
        assert_eq!(left(7, None, 5, 8), (1, 1));
    }

    #[test]
    fn what_was_found_out_about_a_position_holds_for_it_alone() {
        let mut known = Known { position: Some(Offset(5)), empty_until: Some(Offset(7)), ..Known::default() };
        (known.has_record, known.open_since) = (true, Some(Timestamp(1)));
        known.at(Offset(5));
        assert!(known.has_record && known.open_since.is_some());
        known.at(Offset(6));
        assert_eq!((known.has_record, known.open_since, known.empty_until), (false, None, Some(Offset(7))));
        known.at(Offset(9));
        assert_eq!(known.empty_until, None);
        // Set back, by a person.
        known.empty_until = Some(Offset(12));
        known.at(Offset(2));
        assert_eq!(known.empty_until, None);
    }
}
