//! How far a component is behind its input: offsets from the committed position to the end of each partition.
//!
//! Offsets that no record has are not counted: the marks that end transactions, and records of transactions that were aborted. They are
//! told from records by reading them, once, where a position stands still before the end. Records of an open transaction are counted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use heddle_core::event::{Offset, TopicPartition};

use crate::log::{Log, LogError, Start, Watermarks};

/// How long reading what lies before an end may take, each time.
const LOOK_MAX: Duration = Duration::from_secs(2);
/// How long one poll waits.
const POLL_WAIT: Duration = Duration::from_millis(50);

/// What a component has not committed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lag {
    /// The partitions with something left.
    pub left: Vec<Left>,
    /// When it was asked for.
    pub at: Instant,
}

/// What is left of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The partition.
    pub source: TopicPartition,
    /// Offsets behind the committed position.
    pub offsets: i64,
    /// How many of them belong to transactions that are not decided, or lie behind one.
    pub undecided: i64,
}

impl Lag {
    /// The offsets of all partitions.
    #[must_use]
    pub fn offsets(&self) -> i64 {
        self.left.iter().map(|left| left.offsets).sum()
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
}

impl Known {
    /// Notes a position; what was known of another one is void.
    fn at(&mut self, position: Offset) {
        if let Some(before) = self.position.filter(|before| *before != position) {
            // Offsets behind the old position that hold no record hold none behind a later one.
            self.empty_until = self.empty_until.filter(|until| before < position && position < *until);
            self.has_record = false;
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
        let left = positions.into_iter().filter_map(|(partition, position)| {
            let empty_until = self.partitions.get(partition).and_then(|known| known.empty_until);
            left_of(partition, position, empty_until, bounds.get(partition)?)
        });
        Ok(Lag { left: left.collect(), at })
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

/// What is left of a partition, if anything is.
fn left_of(
    source: &TopicPartition,
    position: Offset,
    empty_until: Option<Offset>,
    bounds: &Watermarks,
) -> Option<Left> {
    // The position from which on there may be records.
    let position = empty_until.map_or(position, |until| position.max(until.min(bounds.high)));
    let undecided = bounds.end.0 - bounds.high.0.max(position.0);
    let decided = bounds.high.0 - position.0;
    let (undecided, decided) = (undecided.max(0), decided.max(0));
    let left = Left { source: source.clone(), offsets: decided + undecided, undecided };
    Some(left).filter(|left| left.offsets > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use heddle_core::event::Partition;

    fn left(position: i64, empty_until: Option<i64>, high: i64, end: i64) -> Option<(i64, i64)> {
        let bounds = Watermarks { partition: Partition(0), low: Offset(0), high: Offset(high), end: Offset(end) };
        let left = left_of(&TopicPartition::new("t", 0), Offset(position), empty_until.map(Offset), &bounds);
        left.map(|left| (left.offsets, left.undecided))
    }

    #[test]
    fn lag_counts_up_to_the_real_end_and_no_marks() {
        assert_eq!(left(5, None, 5, 5), None);
        assert_eq!(left(3, None, 5, 5), Some((2, 0)));
        // A mark lies at the end.
        assert_eq!(left(5, Some(6), 6, 6), None);
        // More came behind it.
        assert_eq!(left(5, Some(6), 9, 9), Some((3, 0)));
        // A transaction is open.
        assert_eq!(left(5, None, 5, 8), Some((3, 3)));
        assert_eq!(left(5, Some(6), 6, 8), Some((2, 2)));
        // The position was set beyond the stable end.
        assert_eq!(left(7, None, 5, 8), Some((1, 1)));
    }

    #[test]
    fn what_was_found_out_about_a_position_holds_for_it_alone() {
        let mut known = Known { position: Some(Offset(5)), empty_until: Some(Offset(7)), has_record: true };
        known.at(Offset(5));
        assert!(known.has_record);
        known.at(Offset(6));
        assert_eq!((known.has_record, known.empty_until), (false, Some(Offset(7))));
        known.at(Offset(9));
        assert_eq!(known.empty_until, None);
        // Set back, by a person.
        known.empty_until = Some(Offset(12));
        known.at(Offset(2));
        assert_eq!(known.empty_until, None);
    }
}
