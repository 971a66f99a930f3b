//! All state of one task on this host.
#![expect(clippy::todo, unused_variables, missing_docs, reason = "the shape first")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use heddle_core::batch::CommittedBatch;
use heddle_core::dedup::{MessageId, NoSegment};
use heddle_core::event::{Offset, Partition, Record, Timestamp, Topic, TopicPartition};
use heddle_core::fault::TaskFault;
use heddle_core::state::{Entry, Range, StoreIndex, TaskState};
use heddle_core::task::TaskSpec;
use thiserror::Error;

use super::{Bounds, StateEngine, StateError, Watermark};

/// All state of one task on this host: shared by its worker (reads, commits), the flusher and queries.
pub struct TaskStores {}

/// Why a record of a changelog was not taken.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// It is none of this task's changelogs' records.
    #[error(
        "a record in a changelog that Heddle did not write\n  at {place}, offset {offset}: {why}\n  find out who writes to this topic; the component's state cannot be restored past this record"
    )]
    Foreign {
        /// The changelog's partition.
        place: TopicPartition,
        /// The record's offset.
        offset: Offset,
        /// What does not fit.
        why: String,
    },
    /// The copy on disk failed.
    #[error(transparent)]
    State(#[from] StateError),
}

/// What a task holds, for its status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenStatus {
    pub ids: u64,
    pub segments: usize,
    pub filter_bytes: usize,
}

impl TaskStores {
    /// Opens the trees of a task. `windows`: how long ids are remembered, for every consumed topic with dedup.
    pub fn open(
        engine: &dyn StateEngine,
        spec: &TaskSpec,
        windows: &BTreeMap<Topic, Duration>,
        partition: Partition,
        bounds: Bounds,
    ) -> Result<Arc<Self>, StateError> {
        todo!()
    }

    /// Each changelog (the stores', then the message ids') with the watermark of its copy; `None` if there is no copy.
    pub fn watermarks(&self) -> Vec<(Topic, Option<Watermark>)> {
        todo!()
    }

    /// Forgets the copy of one changelog: the log does not know its watermark.
    pub fn wipe(&self, changelog: &Topic) -> Result<(), StateError> {
        todo!()
    }

    /// Takes one record of a changelog while restoring. Written to disk only once [`reached`](Self::reached) covers it.
    pub fn replay(&self, record: &Record) -> Result<(), ReplayError> {
        todo!()
    }

    /// Says that everything of `changelog` below the watermark has been replayed.
    pub fn reached(&self, changelog: &Topic, watermark: Watermark) {
        todo!()
    }

    /// A batch that the log confirmed becomes committed state. No disk I/O.
    pub fn commit(&self, batch: &CommittedBatch) {
        todo!()
    }

    /// Bytes in memory, waiting to be written.
    pub fn pending_bytes(&self) -> usize {
        todo!()
    }

    /// Waits while more than twice the bound is pending and a write is under way; at most `timeout`. Whether there is room.
    pub fn wait_for_room(&self, timeout: Duration) -> bool {
        todo!()
    }

    /// Moves the memtable aside if it is old or large enough, and nothing is being written. Whether it did.
    pub fn freeze(&self) -> bool {
        todo!()
    }

    /// Writes what [`freeze`](Self::freeze) moved aside. On an error it stays and can be tried again.
    pub fn write_frozen(&self) -> Result<(), StateError> {
        todo!()
    }

    /// Merges and expires segments of message ids: one bounded piece of work. Whether there may be more to do.
    pub fn maintain(&self) -> Result<bool, StateError> {
        todo!()
    }

    /// What is held of message ids.
    pub fn seen_status(&self) -> SeenStatus {
        todo!()
    }
}

impl TaskState for TaskStores {
    fn get(&self, store: StoreIndex, key: &[u8]) -> Result<Option<Bytes>, TaskFault> {
        todo!()
    }

    fn scan(&self, store: StoreIndex, range: &Range<'_>, limit: usize) -> Result<Vec<Entry>, TaskFault> {
        todo!()
    }

    fn seen(&self, topic: &Topic, id: &MessageId, at: Timestamp) -> Result<bool, TaskFault> {
        todo!()
    }
}

fn _uses(_: NoSegment) {}
