//! Reads spans of partitions.

use std::time::{Duration, Instant};

use heddle_core::event::{Offset, Partition, Record, TopicPartition};

use super::DlqError;
use crate::log::{Log, LogError, Start};

/// The longest wait of one poll.
const POLL_WAIT: Duration = Duration::from_millis(100);
/// The longest time without progress: longer than a transaction can stay open.
const STANDSTILL_MAX: Duration = Duration::from_secs(90);

/// A range of offsets in a partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) partition: Partition,
    pub(super) from: Offset,
    pub(super) until: Offset,
}

/// Passes the committed records of these spans of `topic` to `visit`, in order within each span.
pub(super) fn scan(
    log: &dyn Log,
    topic: &str,
    spans: &[Span],
    mut visit: impl FnMut(Record) -> Result<(), DlqError>,
) -> Result<(), DlqError> {
    let spans = spans.iter().filter(|span| span.from < span.until).collect::<Vec<_>>();
    if spans.is_empty() {
        return Ok(());
    }
    let source = |span: &Span| TopicPartition::new(topic, span.partition.0);
    let from = spans.iter().map(|span| (source(span), Start::At(span.from))).collect::<Vec<_>>();
    let mut reader = log.reader(&from)?;
    let mut moved = Instant::now();
    loop {
        let records = reader.poll(POLL_WAIT)?;
        if !records.is_empty() {
            moved = Instant::now();
        }
        for record in records {
            let inside = |span: &&&Span| span.partition == record.source.partition && record.offset < span.until;
            if spans.iter().any(|span| inside(&span)) {
                visit(record)?;
            }
        }
        let positions = reader.positions()?;
        if spans.iter().all(|span| positions.get(&source(span)).is_some_and(|position| *position >= span.until)) {
            return Ok(());
        }
        if moved.elapsed() > STANDSTILL_MAX {
            let why = format!("reading `{topic}` stalled before its end");
            return Err(LogError::Unreachable(why).into());
        }
    }
}
