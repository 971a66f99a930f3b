//! Reading a topic of one partition whole: compacted topics that hold what all hosts must know.

use std::time::{Duration, Instant};

use heddle_core::event::{Offset, Record, TopicPartition};

use super::{Log, LogError, Start};

/// How long one poll waits.
const POLL_WAIT: Duration = Duration::from_millis(100);
/// How long reading may stand still.
const STANDSTILL_MAX: Duration = Duration::from_secs(10);

/// Hands out the committed records of `topic`'s only partition from `start` to its end as of now, until `visit` says
/// that it has enough (false). Returns the offset after the last one.
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

/// As [`read_whole`], to `end`, below which everything must be decided.
///
/// # Errors
/// If the log cannot be read to that end.
pub fn read_until(
    log: &dyn Log,
    topic: &str,
    start: Start,
    end: Offset,
    mut visit: impl FnMut(Record) -> bool,
) -> Result<Offset, LogError> {
    if end == Offset(0) {
        return Ok(end);
    }
    let source = TopicPartition::new(topic, 0);
    let mut reader = log.reader(&[(source.clone(), start)])?;
    let mut moved = Instant::now();
    loop {
        let position = reader.positions()?.get(&source).copied();
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
            return Err(LogError::Unreachable(format!("reading `{topic}` stands still before its end")));
        }
    }
}
