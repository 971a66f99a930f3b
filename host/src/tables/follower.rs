//! Follows a topic: reads new records, and detects changes of the topic itself.
//!
//! ```text
//!  open the copy ──> compare it with the topic ──> read from its positions ──> ready at the first ends ──> follow
//!        ^             └ other topic, trimmed, old: empty it ─┘                                              │
//!        └───────────────────────── the topic has changed, or something failed ──────────────────────────────┘
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use heddle_core::event::{Offset, Timestamp, TopicPartition};
use thiserror::Error;

use super::copy::Copy;
use super::engine::TableEngine;
use super::table::Table;
use crate::log::{Log, LogError, Reader, Start, Watermarks};
use crate::state::StateError;

/// The maximum single wait for records.
const POLL_WAIT: Duration = Duration::from_millis(100);
/// The interval at which the topic itself is checked.
const LOOK_EVERY_MS: i64 = 2_000;
/// The interval at which positions are written that moved without a record. It is also the maximum age of the watermark
/// of a current copy.
const WRITE_EVERY_MS: i64 = 60_000;
/// The number of written bytes after which the engine is flushed.
const FLUSH_BYTES: usize = 32 << 20;
/// The time after which the engine is flushed, if anything was written.
const FLUSH_EVERY_MS: i64 = 5_000;
/// The interval at which a lasting fault is reported.
const TOLD_EVERY_MS: i64 = 60_000;

/// The reason why a table is not followed now. The follower tries again.
#[derive(Debug, Error)]
pub enum FollowFault {
    /// The log does not return its topic.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The copy cannot be written or read.
    #[error(transparent)]
    State(#[from] StateError),
}

/// Follows one table. Its owner calls [`turn`](Self::turn) repeatedly. In a host, a thread does.
pub struct Follower {
    log: Arc<dyn Log>,
    engine: Arc<TableEngine>,
    table: Arc<Table>,
    /// The copy, and the generation of its engine.
    copy: Option<(u64, Copy)>,
    reading: Option<Reading>,
    told: Option<Timestamp>,
    /// The number of bytes written since the last flush of the engine, and the time of that flush.
    unflushed: (usize, Timestamp),
    told_unfit: bool,
}

/// A topic that is being read.
struct Reading {
    reader: Box<dyn Reader>,
    topic_id: Option<String>,
    /// The bounds of the topic at the last check.
    bounds: Vec<Watermarks>,
    /// The offset that each partition has to reach before the table can be read.
    targets: BTreeMap<TopicPartition, Offset>,
    looked_at: Timestamp,
    written_at: Timestamp,
}

impl Follower {
    /// Returns the follower that fills `table`.
    #[must_use]
    pub fn new(log: Arc<dyn Log>, engine: Arc<TableEngine>, table: Arc<Table>) -> Self {
        let (told_unfit, unflushed) = (false, (0, Timestamp(0)));
        Self { log, engine, table, copy: None, reading: None, told: None, unflushed, told_unfit }
    }

    /// The table that the follower fills.
    #[must_use]
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// Returns true if nothing else uses the table.
    pub(super) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.table) == 1
    }

    /// Reads for a moment.
    ///
    /// # Errors
    /// If the table cannot be followed now. The next turn starts again with the copy.
    pub fn turn(&mut self, now: Timestamp) -> Result<(), FollowFault> {
        let turned = self.try_turn(now);
        match &turned {
            Ok(()) => {
                if self.table.works() && self.told.take().is_some() {
                    tracing::info!(target: "heddle::alert", table = %self.table.topic(), "the table is followed again");
                }
            }
            Err(fault) => self.failed(fault, now),
        }
        turned
    }

    fn try_turn(&mut self, now: Timestamp) -> Result<(), FollowFault> {
        if self.copy.as_ref().is_some_and(|(generation, _)| !self.engine.is_current(*generation)) {
            self.close();
        }
        if self.copy.is_none() {
            let (generation, engine) = self.engine.get()?;
            let (topic, keys) = self.table.identity();
            let copy = self.table.busy(|| Copy::open(engine, &topic, keys))?;
            self.copy = Some((generation, copy));
        }
        let due = |reading: &Reading| now.0 - reading.looked_at.0 >= LOOK_EVERY_MS;
        match &self.reading {
            None => self.begin(now)?,
            Some(reading) if due(reading) => self.look(now)?,
            Some(_) => {}
        }
        self.read(now)
    }

    /// Compares the copy with the topic, and continues at the end of the copy.
    fn begin(&mut self, now: Timestamp) -> Result<(), FollowFault> {
        let topic = self.table.topic().clone();
        let topic_id = self.log.topic_id(&topic)?.map(|id| id.0);
        let bounds = self.log.watermarks(&topic)?;
        let Some((_, copy)) = &mut self.copy else { return Ok(()) };
        if let Some(why) = copy.watermark.misfit(&topic_id, &bounds, now) {
            tracing::warn!(target: "heddle::alert", table = %topic, copy = copy.name(), %why, "discarding the local copy of the table, reading its topic again");
            self.table.show(None);
            self.table.wiped();
            self.table.busy(|| copy.wipe())?;
        }
        copy.watermark.topic_id.clone_from(&topic_id);
        let place = |partition| TopicPartition { topic: topic.clone(), partition };
        let start = |bounds: &Watermarks| {
            let position = copy.watermark.position(bounds.partition);
            (place(bounds.partition), position.map_or(Start::Beginning, Start::At))
        };
        let reader = self.log.reader(&bounds.iter().map(start).collect::<Vec<_>>())?;
        let targets = bounds.iter().map(|bounds| (place(bounds.partition), bounds.high)).collect();
        let (looked_at, written_at) = (now, now);
        self.reading = Some(Reading { reader, topic_id, bounds, targets, looked_at, written_at });
        Ok(())
    }

    /// Checks the topic itself. If it has changed, reading starts again.
    fn look(&mut self, now: Timestamp) -> Result<(), FollowFault> {
        let topic = self.table.topic().clone();
        let topic_id = self.log.topic_id(&topic)?.map(|id| id.0);
        let bounds = self.log.watermarks(&topic)?;
        let (Some((_, copy)), Some(reading)) = (&self.copy, &mut self.reading) else { return Ok(()) };
        let changed = topic_id != reading.topic_id || bounds.len() != reading.bounds.len();
        (reading.bounds, reading.looked_at) = (bounds, now);
        if changed || copy.watermark.misfit(&topic_id, &reading.bounds, now).is_some() {
            return self.begin(now);
        }
        Ok(())
    }

    /// Reads new records.
    fn read(&mut self, now: Timestamp) -> Result<(), FollowFault> {
        let (Some((_, copy)), Some(reading)) = (&mut self.copy, &mut self.reading) else { return Ok(()) };
        let records = reading.reader.poll(POLL_WAIT)?;
        let positions = reading.reader.positions()?;
        if records.is_empty() {
            copy.move_to(&positions);
        } else {
            let applied = self.table.busy(|| copy.apply(&records, &positions, now))?;
            self.table.applied(applied);
            self.unflushed.0 += applied.bytes.max(1);
            reading.written_at = now;
            if applied.unfit > 0 && !std::mem::replace(&mut self.told_unfit, true) {
                tracing::warn!(target: "heddle::alert", table = %self.table.topic(), "records whose key is missing, too long or not written by a schema are left out of the table");
            }
        }
        let lag = reading.bounds.iter().map(|bounds| {
            let position = copy.watermark.position(bounds.partition).unwrap_or(bounds.low);
            u64::try_from(bounds.high.0 - position.0).unwrap_or(0)
        });
        self.table.lags(lag.sum(), reading.bounds.len(), now);
        let reached = |(source, target): (&TopicPartition, &Offset)| {
            positions.get(source).is_some_and(|position| position >= target)
        };
        let becomes_ready = !self.table.is_ready() && reading.targets.iter().all(reached);
        if becomes_ready || now.0 - reading.written_at.0 >= WRITE_EVERY_MS {
            self.table.busy(|| copy.write_watermark(now))?;
            self.unflushed.0 += 1;
            reading.written_at = now;
        }
        if becomes_ready {
            tracing::info!(table = %self.table.topic(), partitions = reading.bounds.len(), "the table can be read");
            self.table.show(Some(copy.tree()));
        }
        self.flush(now)
    }

    /// Bounds the memory of the engine, because its cache's bound does not count pages that were changed since the last
    /// flush.
    fn flush(&mut self, now: Timestamp) -> Result<(), FollowFault> {
        let (bytes, at) = self.unflushed;
        if let Some((_, copy)) = &self.copy
            && (bytes >= FLUSH_BYTES || (bytes > 0 && now.0 - at.0 >= FLUSH_EVERY_MS))
        {
            self.table.busy(|| copy.flush())?;
            self.unflushed = (0, now);
        }
        Ok(())
    }

    /// Reports a fault. The copy stays readable, unless the copy itself fails or the topic is gone.
    fn failed(&mut self, fault: &FollowFault, now: Timestamp) {
        self.reading = None;
        match fault {
            FollowFault::Log(LogError::UnknownTopic(_)) => self.table.show(None),
            FollowFault::Log(_) => {}
            // Changes that were not written are not in the copy, so it is opened again from disk.
            FollowFault::State(StateError::Full { .. }) => self.copy = None,
            FollowFault::State(_) => {
                let failed = self.copy.as_ref().map(|(generation, _)| *generation);
                self.close();
                // An engine that was never opened is not given up.
                failed.into_iter().for_each(|generation| self.engine.give_up(generation));
            }
        }
        let why = fault.to_string();
        let since = self.table.fails(why.clone(), matches!(fault, FollowFault::State(_)), now);
        if self.told.is_none_or(|told| now.0 - told.0 >= TOLD_EVERY_MS) {
            self.told = Some(now);
            tracing::error!(target: "heddle::alert", table = %self.table.topic(), failing_for_ms = now.0 - since.0, %why, "the table is not followed");
        }
    }

    /// Drops the copy.
    fn close(&mut self) {
        self.table.show(None);
        (self.copy, self.reading) = (None, None);
    }

    /// Writes the position of the copy when the host ends.
    pub fn end(mut self, now: Timestamp) {
        if let Some((_, copy)) = &mut self.copy {
            let written = copy.write_watermark(now).and_then(|()| copy.flush());
            if let Err(error) = written {
                tracing::warn!(table = %self.table.topic(), %error, "the copy of the table was not written");
            }
        }
        self.close();
    }
}
