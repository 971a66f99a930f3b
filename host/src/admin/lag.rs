//! Consumer lag of a component: the offsets from the committed position to the end of each partition.
//!
//! Offsets without a record are not counted: transaction markers, and records of aborted transactions. To find them,
//! the gauge reads from a position that has stopped before the end; it does so once. Records of an open transaction are
//! counted, and so are those parked in retry topics.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use heddle_core::event::{Offset, Timestamp, TopicPartition};

use crate::log::{self, Log, LogError, Start, Watermarks};

/// The longest time for reading the offsets before an end, per measurement.
const LOOK_MAX: Duration = Duration::from_secs(2);
/// The longest wait of one poll.
const POLL_WAIT: Duration = Duration::from_millis(50);

/// The lag of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lag {
    /// All partitions of the topics that it reads.
    pub partitions: Vec<PartitionLag>,
    /// The time of the measurement.
    pub at: Instant,
}

/// The lag of a component in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionLag {
    /// The partition.
    pub source: TopicPartition,
    /// The committed position of the group.
    pub position: Offset,
    /// The offset after the last record, committed or not.
    pub end: Offset,
    /// The lag: offsets from the position to the end, without those that are known to have no record.
    pub offsets: i64,
    /// The offsets among them that belong to an open transaction, or come after one.
    pub undecided: i64,
    /// The time since which only an open transaction is left, at this position.
    pub open_since: Option<Timestamp>,
    /// The time since which records are left at this position.
    pub left_since: Option<Timestamp>,
}

impl Lag {
    /// The lag over all partitions.
    #[must_use]
    pub fn offsets(&self) -> i64 {
        self.partitions.iter().map(|partition| partition.offsets).sum()
    }

    /// The partitions with a lag.
    pub fn left(&self) -> impl Iterator<Item = &PartitionLag> {
        self.partitions.iter().filter(|partition| partition.offsets > 0)
    }

    /// The lag in one partition.
    #[must_use]
    pub fn of(&self, source: &TopicPartition) -> Option<&PartitionLag> {
        self.partitions.iter().find(|partition| partition.source == *source)
    }
}

/// Measures the lag of one component repeatedly.
#[derive(Default)]
pub(super) struct Gauge {
    partitions: BTreeMap<TopicPartition, Known>,
}

/// Knowledge about the offsets between a position and the end.
#[derive(Default)]
struct Known {
    /// The committed position at the last measurement.
    position: Option<Offset>,
    /// The offset below which there is no record, from that position on.
    empty_until: Option<Offset>,
    /// True if there is a record at or after that position.
    has_record: bool,
    /// The time since which only an open transaction is left.
    open_since: Option<Timestamp>,
    /// The time since which records are left.
    left_since: Option<Timestamp>,
}

impl Known {
    /// Stores a position. Knowledge about another position is discarded.
    fn at(&mut self, position: Offset) {
        if let Some(before) = self.position.filter(|before| *before != position) {
            // Offsets without records after the old position stay so after a later position.
            self.empty_until = self.empty_until.filter(|until| before < position && position < *until);
            (self.has_record, self.open_since, self.left_since) = (false, None, None);
        }
        self.position = Some(position);
    }
}

impl Gauge {
    /// Measures how far `group` is behind the ends of `topics`.
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
            known.left_since = (found.offsets > 0 && !is_open).then(|| known.left_since.unwrap_or(now));
            Some(PartitionLag { open_since: known.open_since, left_since: known.left_since, ..found })
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
                    // A record at or after the measured end arrived later.
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

/// The lag of a position.
fn lag_of(source: &TopicPartition, position: Offset, empty_until: Option<Offset>, bounds: &Watermarks) -> PartitionLag {
    // The first offset that may have a record.
    let from = empty_until.map_or(position, |until| position.max(until.min(bounds.high)));
    let undecided = (bounds.end.0 - bounds.high.0.max(from.0)).max(0);
    let decided = (bounds.high.0 - from.0).max(0);
    let (source, end) = (source.clone(), bounds.end);
    PartitionLag { source, position, end, offsets: decided + undecided, undecided, open_since: None, left_since: None }
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
    fn lag_counts_up_to_the_real_end_without_markers() {
        assert_eq!(left(5, None, 5, 5), (0, 0));
        assert_eq!(left(3, None, 5, 5), (2, 0));
        // A transaction marker is the last entry.
        assert_eq!(left(5, Some(6), 6, 6), (0, 0));
        // More records came after the marker.
        assert_eq!(left(5, Some(6), 9, 9), (3, 0));
        // A transaction is open.
        assert_eq!(left(5, None, 5, 8), (3, 3));
        assert_eq!(left(5, Some(6), 6, 8), (2, 2));
        // The position was set beyond the last stable offset.
        assert_eq!(left(7, None, 5, 8), (1, 1));
    }

    #[test]
    fn findings_about_a_position_hold_only_for_it() {
        let mut known = Known { position: Some(Offset(5)), empty_until: Some(Offset(7)), ..Known::default() };
        (known.has_record, known.open_since) = (true, Some(Timestamp(1)));
        known.at(Offset(5));
        assert!(known.has_record && known.open_since.is_some());
        known.at(Offset(6));
        assert_eq!((known.has_record, known.open_since, known.empty_until), (false, None, Some(Offset(7))));
        known.at(Offset(9));
        assert_eq!(known.empty_until, None);
        // An operator has reset the position.
        known.empty_until = Some(Offset(12));
        known.at(Offset(2));
        assert_eq!(known.empty_until, None);
    }
}
