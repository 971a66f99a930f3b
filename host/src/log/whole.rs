//! Reads a whole partition: of a compacted topic with data that all hosts need, or of a changelog.

use std::time::{Duration, Instant};

use heddle_core::event::{Offset, Record, TopicPartition};

use super::{Log, LogError, Start};

/// The maximum wait of one poll.
const POLL_WAIT: Duration = Duration::from_millis(100);
/// The maximum time without a record.
const STANDSTILL_MAX: Duration = Duration::from_secs(10);

/// Passes the committed records of `topic`'s only partition to `visit`, from `start` to the current end, until `visit`
/// returns false. Returns the offset after the last record.
///
/// # Errors
/// If the log cannot be read to that end.
pub fn read_whole(
    log: &dyn Log,
    topic: &str,
    start: Start,
    visit: impl FnMut(Record) -> bool,
) -> Result<Offset, LogError> {
    let end = log.watermarks(topic)?.first().map_or(Offset(0), |bounds| bounds.high);
    read_until(log, topic, start, end, visit)
}

/// As [`read_whole`], up to `end`, below which every transaction must be decided.
///
/// # Errors
/// If the log cannot be read to that end.
pub fn read_until(
    log: &dyn Log,
    topic: &str,
    start: Start,
    end: Offset,
    visit: impl FnMut(Record) -> bool,
) -> Result<Offset, LogError> {
    read_partition_until(log, &TopicPartition::new(topic, 0), start, end, visit)
}

/// As [`read_until`], of any partition. The last records may lie behind `end`.
///
/// # Errors
/// If the log cannot be read to that end.
pub fn read_partition_until(
    log: &dyn Log,
    source: &TopicPartition,
    start: Start,
    end: Offset,
    mut visit: impl FnMut(Record) -> bool,
) -> Result<Offset, LogError> {
    if end == Offset(0) {
        return Ok(end);
    }
    let mut reader = log.reader(&[(source.clone(), start)])?;
    let mut moved = Instant::now();
    loop {
        let position = reader.positions()?.get(source).copied();
        if let Some(position) = position.filter(|position| *position >= end) {
            return Ok(position);
        }
        let records = reader.poll(POLL_WAIT)?;
        if !records.is_empty() {
            moved = Instant::now();
        }
        for record in records {
            let offset = record.offset;
            if !visit(record) {
                return Ok(offset.next());
            }
        }
        if moved.elapsed() > STANDSTILL_MAX {
            return Err(LogError::Unreachable(format!("reading {source} stalled before its end")));
        }
    }
}
