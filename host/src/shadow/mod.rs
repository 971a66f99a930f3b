//! Compares a version with the running one: both process the same records on copies of the same state, and nothing is
//! committed.
//!
//! ```text
//!                     ┌─ Side (old) ─ step ─> outputs, writes ─┐
//!  original input   ──┤                                        ├─ compare ─> Report
//!                     └─ Side (new) ─ step ─> outputs, writes ─┘
//! ```
//!
//! Handlers are deterministic, so every difference comes from the version and from nothing else.

mod report;
mod side;

pub use report::{Difference, Report, Result as Found};
pub use side::{Side, SideError};

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use heddle_core::event::{Offset, Partition, Record, Timestamp, TopicPartition};
use heddle_core::merge::by_time;

use crate::log::{Log, LogError, Start, Watermarks};

/// The longest wait of one poll.
const POLL_WAIT: Duration = Duration::from_millis(100);
/// The longest time without progress.
const STANDSTILL_MAX: Duration = Duration::from_secs(30);

/// The first record that both versions process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The first record that the log still has, with empty state.
    Beginning,
    /// The record with this offset in every partition.
    Offset(i64),
    /// The first record with this timestamp or a later one.
    Time(Timestamp),
}

/// The extent of a comparison.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// The first record.
    pub from: From,
    /// The most records.
    pub records_max: u64,
    /// The most differences in the report.
    pub samples_max: usize,
}

/// Runs both versions and compares them.
///
/// # Errors
/// If the log or the registry does not answer, or state cannot be read.
pub fn compare(log: &dyn Log, old: &mut Side, new: &mut Side, extent: &Extent) -> Result<Report, SideError> {
    let topics = old.topics().intersection(&new.topics()).cloned().collect::<Vec<_>>();
    let mut input = Input::open(log, &topics, extent)?;
    let first = input.first(log)?;
    for side in [&mut *old, &mut *new] {
        side.restore(log, input.partitions.iter().copied(), first)?;
    }
    let mut report = Report::new(old, new, topics, first.map(|at| at.0));
    let mut touched = BTreeSet::new();
    'all: while let Some(records) = input.next()? {
        for record in records {
            if report.records >= extent.records_max {
                report.stopped = true;
                break 'all;
            }
            let results = [old.step(&record)?, new.step(&record)?];
            touched.extend(results.iter().flat_map(|result| result.touched.iter().cloned()));
            report.take(&record, results, extent.samples_max);
        }
    }
    for (partition, store, key) in touched {
        let values = [old.value(partition, &store, &key)?, new.value(partition, &store, &key)?];
        report.take_state(&store, &key, values, extent.samples_max);
    }
    Ok(report)
}

/// Measures the time that one version takes for each of the first records in the log, with empty state: decoding, the
/// handler, encoding, and writing to memory.
///
/// # Errors
/// If the log does not answer, or state cannot be read.
pub fn times(log: &dyn Log, side: &mut Side, records_max: u64) -> Result<Vec<Duration>, SideError> {
    let topics = side.topics().into_iter().collect::<Vec<_>>();
    let extent = Extent { from: From::Beginning, records_max, samples_max: 0 };
    let mut input = Input::open(log, &topics, &extent)?;
    side.restore(log, input.partitions.iter().copied(), None)?;
    let mut times = vec![];
    while let Some(records) = input.next()? {
        for record in records {
            if times.len() as u64 >= records_max {
                return Ok(times);
            }
            let began = Instant::now();
            side.step(&record)?;
            times.push(began.elapsed());
        }
    }
    Ok(times)
}

/// The records of some topics, up to their ends when the input was opened.
struct Input {
    reader: Option<Box<dyn crate::log::Reader>>,
    ends: BTreeMap<TopicPartition, Offset>,
    partitions: BTreeSet<Partition>,
    from: From,
    starts: Vec<(TopicPartition, Start)>,
}

impl Input {
    fn open(log: &dyn Log, topics: &[String], extent: &Extent) -> Result<Self, LogError> {
        let mut ends = BTreeMap::new();
        let mut starts = vec![];
        for topic in topics {
            for Watermarks { partition, low, high, .. } in log.watermarks(topic)? {
                let place = TopicPartition::new(topic.as_str(), partition.0);
                let start = match extent.from {
                    From::Offset(offset) => Offset(offset).clamp(low, high),
                    From::Beginning | From::Time(_) => low,
                };
                if start < high {
                    starts.push((place.clone(), Start::At(start)));
                    ends.insert(place.clone(), high);
                }
            }
        }
        let partitions = ends.keys().map(|place| place.partition).collect();
        let reader = if starts.is_empty() { None } else { Some(log.reader(&starts)?) };
        Ok(Self { reader, ends, partitions, from: extent.from, starts })
    }

    /// The time of the first record, up to which the state is restored. `None` if the state begins empty.
    fn first(&self, log: &dyn Log) -> Result<Option<Timestamp>, LogError> {
        match self.from {
            From::Beginning => Ok(None),
            From::Time(time) => Ok(Some(time)),
            From::Offset(_) if self.starts.is_empty() => Ok(None),
            From::Offset(_) => {
                let mut ahead = Self {
                    reader: Some(log.reader(&self.starts)?),
                    ends: self.ends.clone(),
                    partitions: BTreeSet::new(),
                    from: self.from,
                    starts: vec![],
                };
                let mut first = BTreeMap::new();
                while let Some(records) = ahead.next()? {
                    for record in records {
                        first.entry(record.source).or_insert(record.timestamp);
                    }
                    if first.len() == self.ends.len() {
                        break;
                    }
                }
                Ok(first.into_values().min())
            }
        }
    }

    /// The next records, in the order in which a host would process them; `None` at the end.
    fn next(&mut self) -> Result<Option<Vec<Record>>, LogError> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        let began = Instant::now();
        loop {
            let positions = reader.positions()?;
            if self.ends.iter().all(|(place, end)| positions.get(place).is_some_and(|position| position >= end)) {
                return Ok(None);
            }
            let mut records = reader.poll(POLL_WAIT)?;
            records.retain(|record| {
                let within = self.ends.get(&record.source).is_some_and(|end| record.offset < *end);
                within && !matches!(self.from, From::Time(time) if record.timestamp < time)
            });
            if !records.is_empty() {
                return Ok(Some(by_time(records)));
            }
            if began.elapsed() > STANDSTILL_MAX {
                return Err(LogError::Unreachable("reading the input stands still before its end".to_owned()));
            }
        }
    }
}
