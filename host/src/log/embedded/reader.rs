//! Reading: the positions, the wait for new records, and the reader without a group.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use heddle_core::event::{Offset, Record, Timestamp, TopicPartition};

use super::batch_format::BatchReader;
use super::shared::{Shared, State};
use super::store::{PartitionId, Store, unreadable};
use crate::lock::lock;
use crate::log::{LogError, Loss, POLL_BYTES_MAX, Reader, Start};

/// The maximum number of records of one poll of a reader.
const READER_RECORDS_MAX: usize = 1_000;

/// The maximum wait of a poll, for timeouts that the clock cannot add.
const WAIT_MAX: Duration = Duration::from_secs(24 * 3_600);

/// The result of a poll.
pub(super) enum Found<E> {
    /// An event, which precedes records.
    Event(E),
    /// Records, or none if the time is up.
    Records(Vec<Record>),
}

/// The read positions of a set of partitions.
#[derive(Default)]
pub(super) struct Cursors {
    cursors: Vec<Cursor>,
    /// The index of the partition that is served first in the next poll.
    turn: usize,
    /// The losses that were not taken yet.
    pub(super) losses: Vec<Loss>,
}

/// The read position in one partition.
pub(super) struct Cursor {
    partition: PartitionId,
    pub(super) source: TopicPartition,
    position: Offset,
    /// The position at which reading began.
    pub(super) began: Offset,
    /// The batch being read, and its base offset.
    open: Option<(Offset, BatchReader)>,
    /// True while the partition is paused.
    paused: bool,
    /// The offset below which all losses were reported.
    told: Offset,
}

impl Cursor {
    /// Reads `source` from `position`.
    pub(super) fn new(source: TopicPartition, partition: PartitionId, position: Offset) -> Self {
        Self { partition, source, position, began: position, open: None, paused: false, told: Offset(0) }
    }

    /// Pauses the partition.
    pub(super) fn paused(self) -> Self {
        Self { paused: true, ..self }
    }

    /// The partition that is read.
    pub(super) fn partition(&self) -> PartitionId {
        self.partition
    }

    /// Moves to another position.
    pub(super) fn seek(&mut self, position: Offset) {
        self.position = position;
        self.open = None;
    }

    /// Reads up to `records_max` records below `high`. Decrements `bytes_left` and stops when it is zero.
    fn read(
        &mut self,
        store: &Store,
        high: Offset,
        records_max: usize,
        bytes_left: &mut usize,
        records: &mut Vec<Record>,
    ) -> Result<(), LogError> {
        let full = records.len() + records_max;
        while records.len() < full && self.position < high && *bytes_left > 0 {
            if self.open.is_none() {
                let Some((base, bytes)) = store.batch_at(self.partition, self.position, high)? else {
                    // Compaction left a hole up to the end.
                    self.position = high;
                    break;
                };
                let batch = BatchReader::open(bytes).map_err(|error| unreadable(self.partition, base, &error))?;
                self.open = Some((base, batch));
            }
            let Some((base, batch)) = &mut self.open else { break };
            let base = *base;
            match batch.next_record().map_err(|error| unreadable(self.partition, base, &error))? {
                None => {
                    self.position = self.position.max(Offset(base.0 + i64::from(batch.header().last_delta) + 1));
                    self.open = None;
                }
                Some(record) => {
                    let offset = Offset(base.0 + i64::from(record.delta));
                    if offset < self.position {
                        continue;
                    }
                    self.position = offset.next();
                    let size = record.key.as_ref().map_or(0, bytes::Bytes::len)
                        + record.value.as_ref().map_or(0, bytes::Bytes::len);
                    *bytes_left = bytes_left.saturating_sub(size);
                    records.push(Record {
                        source: self.source.clone(),
                        offset,
                        timestamp: record.timestamp,
                        key: record.key,
                        value: record.value,
                        headers: record.headers,
                    });
                }
            }
        }
        Ok(())
    }
}

impl Cursors {
    /// Adds partitions.
    pub(super) fn add(&mut self, cursors: impl IntoIterator<Item = Cursor>) {
        self.cursors.extend(cursors);
    }

    /// Stops reading partitions.
    pub(super) fn remove(&mut self, sources: &[TopicPartition]) {
        self.cursors.retain(|cursor| !sources.contains(&cursor.source));
    }

    /// Pauses or resumes partitions. Ignores those that are not read here.
    pub(super) fn pause(&mut self, sources: &[TopicPartition], paused: bool) {
        for cursor in self.cursors.iter_mut().filter(|cursor| sources.contains(&cursor.source)) {
            cursor.paused = paused;
        }
    }

    /// All positions.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Cursor> {
        self.cursors.iter_mut()
    }

    /// Waits up to `timeout` for records, or for an `event`, which precedes records.
    pub(super) fn poll<E>(
        &mut self,
        shared: &Shared,
        timeout: Duration,
        records_max: usize,
        mut event: impl FnMut(&mut State) -> Result<Option<E>, LogError>,
    ) -> Result<Found<E>, LogError> {
        let deadline = Instant::now().checked_add(timeout.min(WAIT_MAX));
        loop {
            let mut state = lock(&shared.state);
            let ready = loop {
                if let Some(event) = event(&mut state)? {
                    return Ok(Found::Event(event));
                }
                let ready = self.ready(&state);
                if !ready.is_empty() {
                    break ready;
                }
                let left = deadline.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
                if left.is_zero() {
                    return Ok(Found::Records(Vec::new()));
                }
                (state, _) = shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
            };
            drop(state);
            let records = self.read(&shared.store, &ready, records_max)?;
            if !records.is_empty() {
                return Ok(Found::Records(records));
            }
        }
    }

    /// The partitions with records to read, and the offsets at which these end. Starts with another partition each
    /// time.
    fn ready(&mut self, state: &State) -> Vec<(usize, Offset)> {
        let count = self.cursors.len();
        let mut ready = Vec::new();
        for at in (0..count).map(|step| (self.turn + step) % count) {
            let cursor = &mut self.cursors[at];
            if cursor.paused {
                continue;
            }
            let Some(bounds) = state.bounds.get(&cursor.partition) else { continue };
            if cursor.position < bounds.low {
                let position = cursor.position.max(cursor.told);
                if position < bounds.low {
                    self.losses.push(Loss { source: cursor.source.clone(), position, first: bounds.low });
                    cursor.told = bounds.low;
                }
                cursor.seek(bounds.low);
            }
            if cursor.position < bounds.high {
                ready.push((at, bounds.high));
            }
        }
        ready
    }

    /// Reads an equal share of the records from each partition. Unused shares pass to the next ones.
    fn read(&mut self, store: &Store, ready: &[(usize, Offset)], records_max: usize) -> Result<Vec<Record>, LogError> {
        let mut records = Vec::new();
        let mut bytes_left = POLL_BYTES_MAX;
        for (done, (at, high)) in ready.iter().enumerate() {
            let left = records_max.saturating_sub(records.len());
            let share = left.div_ceil(ready.len() - done);
            self.cursors[*at].read(store, *high, share, &mut bytes_left, &mut records)?;
            self.turn = at + 1;
            if records.len() >= records_max || bytes_left == 0 {
                break;
            }
        }
        Ok(records)
    }
}

/// Reads partitions of an embedded log without a group.
pub(super) struct EmbeddedReader {
    shared: Arc<Shared>,
    cursors: Cursors,
}

impl EmbeddedReader {
    /// Creates a reader at the positions `from`.
    pub(super) fn new(shared: Arc<Shared>, from: &[(TopicPartition, Start)]) -> Result<Self, LogError> {
        let mut cursors: BTreeMap<TopicPartition, Cursor> = BTreeMap::new();
        for (source, start) in from {
            let partition = shared.partition(source)?;
            let position = resolve(&shared, partition, *start)?;
            cursors.insert(source.clone(), Cursor::new(source.clone(), partition, position));
        }
        let mut reader = Self { shared, cursors: Cursors::default() };
        reader.cursors.add(cursors.into_values());
        Ok(reader)
    }
}

impl Reader for EmbeddedReader {
    fn poll(&mut self, timeout: Duration) -> Result<Vec<Record>, LogError> {
        let no_event = |_: &mut State| Ok(None::<std::convert::Infallible>);
        let found = self.cursors.poll(&self.shared, timeout, READER_RECORDS_MAX, no_event)?;
        // A reader without a group continues with the retained records.
        self.cursors.losses.clear();
        match found {
            Found::Records(records) => Ok(records),
            Found::Event(never) => match never {},
        }
    }

    fn positions(&self) -> Result<BTreeMap<TopicPartition, Offset>, LogError> {
        Ok(self.cursors.cursors.iter().map(|cursor| (cursor.source.clone(), cursor.position)).collect())
    }
}

/// The current offset of `start` in a partition.
pub(super) fn resolve(shared: &Shared, partition: PartitionId, start: Start) -> Result<Offset, LogError> {
    let bounds = shared.bounds(partition);
    Ok(match start {
        Start::Beginning => bounds.low,
        Start::End => bounds.high,
        Start::At(offset) => offset.max(bounds.low),
        Start::Time(time) => first_at(shared, partition, time)?,
    })
}

/// The offset of the first record that is as new as `time`, or the end if there is none.
pub(super) fn first_at(shared: &Shared, partition: PartitionId, time: Timestamp) -> Result<Offset, LogError> {
    let bounds = shared.bounds(partition);
    for batch in shared.store.batches(partition, bounds.low, bounds.high) {
        let (base, bytes) = batch?;
        let mut batch = BatchReader::open(bytes).map_err(|error| unreadable(partition, base, &error))?;
        if batch.header().max_timestamp < time.0 {
            continue;
        }
        while let Some(record) = batch.next_record().map_err(|error| unreadable(partition, base, &error))? {
            if record.timestamp >= time {
                return Ok(Offset(base.0 + i64::from(record.delta)));
            }
        }
    }
    Ok(bounds.high)
}
