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
//! Both read the same global tables, as they are now. Records of tasks' tables come among the input, by time.

mod report;
mod side;
mod tables;

pub use report::{Difference, Report, Result as Found};
pub use side::{Side, SideError};
pub use tables::read_tables;

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
    let tables = old.table_topics().union(&new.table_topics()).cloned().collect();
    let mut input = Input::open(log, &topics, tables, extent)?;
    let first = input.first(log)?;
    input.since = first;
    for side in [&mut *old, &mut *new] {
        side.restore(log, input.partitions.iter().copied(), first)?;
    }
    let mut report = Report::new(old, new, topics, first.map(|at| at.0));
    let mut touched = BTreeSet::new();
    'all: while let Some(records) = input.next()? {
        for record in records {
            if input.is_of_table(&record) {
                [&mut *old, &mut *new].into_iter().try_for_each(|side| side.apply(&record))?;
                continue;
            }
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
    let mut input = Input::open(log, &topics, BTreeSet::new(), &extent)?;
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
    /// The topics of tables.
    tables: BTreeSet<String>,
    /// The time before which records of tables are part of the state that the sides begin with.
    since: Option<Timestamp>,
}

impl Input {
    fn open(log: &dyn Log, topics: &[String], tables: BTreeSet<String>, extent: &Extent) -> Result<Self, LogError> {
        let mut ends = BTreeMap::new();
        let mut starts = vec![];
        for topic in topics.iter().chain(&tables) {
            for Watermarks { partition, low, high, .. } in log.watermarks(topic)? {
                let place = TopicPartition::new(topic.as_str(), partition.0);
                let start = match extent.from {
                    From::Offset(offset) if !tables.contains(topic) => Offset(offset).clamp(low, high),
                    From::Offset(_) | From::Beginning | From::Time(_) => low,
                };
                if start < high {
                    starts.push((place.clone(), Start::At(start)));
                    ends.insert(place.clone(), high);
                }
            }
        }
        let partitions = ends.keys().map(|place| place.partition).collect();
        let reader = if starts.is_empty() { None } else { Some(log.reader(&starts)?) };
        Ok(Self { reader, ends, partitions, from: extent.from, starts, tables, since: None })
    }

    fn is_of_table(&self, record: &Record) -> bool {
        self.tables.contains(&*record.source.topic)
    }

    /// The time of the first record, up to which the state is restored. `None` if the state begins empty.
    fn first(&self, log: &dyn Log) -> Result<Option<Timestamp>, LogError> {
        match self.from {
            From::Beginning => Ok(None),
            From::Time(time) => Ok(Some(time)),
            From::Offset(_) if self.starts.is_empty() => Ok(None),
            From::Offset(_) => {
                let of_input = |place: &TopicPartition| !self.tables.contains(&*place.topic);
                let starts = self.starts.iter().filter(|(place, _)| of_input(place)).cloned().collect::<Vec<_>>();
                let ends = self.ends.iter().filter(|(place, _)| of_input(place));
                let mut ahead = Self {
                    reader: if starts.is_empty() { None } else { Some(log.reader(&starts)?) },
                    ends: ends.map(|(place, end)| (place.clone(), *end)).collect(),
                    partitions: BTreeSet::new(),
                    from: self.from,
                    starts: vec![],
                    tables: BTreeSet::new(),
                    since: None,
                };
                let mut first = BTreeMap::new();
                while let Some(records) = ahead.next()? {
                    for record in records {
                        first.entry(record.source).or_insert(record.timestamp);
                    }
                    if first.len() == ahead.ends.len() {
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
        let (tables, since) = (&self.tables, self.since);
        let began = Instant::now();
        loop {
            let positions = reader.positions()?;
            if self.ends.iter().all(|(place, end)| positions.get(place).is_some_and(|position| position >= end)) {
                return Ok(None);
            }
            let mut records = reader.poll(POLL_WAIT)?;
            records.retain(|record| {
                let within = self.ends.get(&record.source).is_some_and(|end| record.offset < *end);
                let is_earlier = matches!(self.from, From::Time(time) if record.timestamp < time)
                    || (tables.contains(&*record.source.topic) && since.is_some_and(|since| record.timestamp < since));
                within && !is_earlier
            });
            if !records.is_empty() {
                return Ok(Some(by_time(records)));
            }
            if began.elapsed() > STANDSTILL_MAX {
                return Err(LogError::Unreachable("reading the input stalled before its end".to_owned()));
            }
        }
    }
}
