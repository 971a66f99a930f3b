//! Committed entries of one changelog that are not in its tree yet: the active memtable, and a frozen one that is being
//! written.
//!
//! ```text
//!            commit, replay                freeze                   written
//!  nothing ─────────────────> active ─────────────────> frozen ─────────────> nothing
//!                             grows                     never changes
//! ```

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use heddle_core::event::Offset;
use heddle_core::pending::Pending;
use heddle_core::state::{Entry, Range};

use super::{StateError, Watermark};

/// The memory that an entry uses beside its key and value.
const ENTRY_BYTES: usize = 96;
/// The fewest and the most entries that a scan takes from a layer at a time.
const SCAN_CHUNK: (usize, usize) = (32, 4096);

/// Entries that collect in memory.
pub(super) trait Collects: Default {
    /// The approximate size in memory.
    fn bytes(&self) -> usize;

    /// An empty collection with as much capacity as this one uses.
    fn next(&self) -> Self;
}

/// Both layers of one changelog, and the position up to which it has been read.
pub(super) struct Layers<T> {
    pub(super) active: T,
    pub(super) frozen: Option<Arc<Frozen<T>>>,
    progress: Progress,
}

/// A layer that is being written: its content, and the watermark that holds once it is written.
pub(super) struct Frozen<T> {
    pub(super) content: T,
    pub(super) watermark: Watermark,
}

/// The position up to which a changelog has been read into memory.
struct Progress {
    reached: Option<Watermark>,
    /// True if the tree has an older watermark than `reached`.
    moved: bool,
    /// The end of what was taken beyond the watermark. Nothing may be written until the watermark reaches it.
    beyond: Option<Offset>,
}

impl<T: Collects> Layers<T> {
    /// Creates the layers of a changelog whose tree has the watermark `reached`.
    pub(super) fn new(reached: Option<Watermark>) -> Self {
        Self { active: T::default(), frozen: None, progress: Progress { reached, moved: false, beyond: None } }
    }

    /// The position up to which the changelog has been read.
    pub(super) fn watermark(&self) -> Option<&Watermark> {
        self.progress.reached.as_ref()
    }

    /// Records that everything below `watermark` was taken.
    pub(super) fn reached(&mut self, watermark: Watermark) {
        self.progress.beyond = self.progress.beyond.filter(|beyond| *beyond > watermark.offset);
        self.progress.moved |= self.progress.reached.as_ref() != Some(&watermark);
        self.progress.reached = Some(watermark);
    }

    /// Records that something was taken that ends before `offset`, while some of what lies below may be missing.
    pub(super) fn took(&mut self, offset: Offset) {
        self.progress.beyond = self.progress.beyond.max(Some(offset));
    }

    /// Records that a transaction was taken; `end` follows its last record. Without an end, its place in the changelog
    /// is not known, so it is written only together with a later transaction.
    pub(super) fn committed(&mut self, end: Option<Offset>) {
        let reached = self.progress.reached.as_ref();
        match (reached, end) {
            (Some(reached), Some(end)) if end > reached.offset => {
                let topic_id = reached.topic_id.clone();
                self.reached(Watermark { topic_id, offset: end });
            }
            (Some(_), Some(_)) => {}
            (Some(reached), None) => self.took(reached.offset.next()),
            (None, end) => self.took(end.unwrap_or(Offset(0))),
        }
    }

    /// Returns true if there is something to write and the watermark covers it.
    pub(super) fn ready(&self) -> bool {
        self.progress.moved && self.progress.beyond.is_none()
    }

    /// Returns true if there is something to write, now or once the watermark covers it.
    pub(super) fn waiting(&self) -> bool {
        self.progress.moved || self.progress.beyond.is_some()
    }

    /// Freezes the active layer if it may be written. No other layer may be frozen.
    pub(super) fn freeze(&mut self) {
        debug_assert!(self.frozen.is_none(), "one at a time is written");
        if let Some(watermark) = self.progress.reached.clone().filter(|_| self.ready()) {
            let next = self.active.next();
            let content = std::mem::replace(&mut self.active, next);
            self.frozen = Some(Arc::new(Frozen { content, watermark }));
            self.progress.moved = false;
        }
    }

    /// The size of both layers in memory.
    pub(super) fn bytes(&self) -> usize {
        self.active.bytes() + self.frozen.as_ref().map_or(0, |frozen| frozen.content.bytes())
    }
}

/// The writes to one store, and their size in memory.
#[derive(Default)]
pub(super) struct Memtable {
    writes: Pending,
    bytes: usize,
}

impl Collects for Memtable {
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn next(&self) -> Self {
        Self { writes: Pending::with_room(self.writes.len()), bytes: 0 }
    }
}

impl Memtable {
    /// Takes a write. The last write to a key counts.
    pub(super) fn insert(&mut self, key: Bytes, value: Option<Bytes>) {
        let length = key.len();
        self.bytes += size(length, value.as_ref());
        if let Some(replaced) = self.writes.insert(key, value) {
            self.bytes -= size(length, replaced.as_ref());
        }
    }

    /// Takes all writes of a transaction.
    pub(super) fn take_over(&mut self, pending: Pending) {
        pending.into_writes().for_each(|(key, value)| self.insert(key, value));
    }

    /// All writes.
    pub(super) fn writes(&self) -> &Pending {
        &self.writes
    }

    fn within(&self, start: Bound<&[u8]>, prefix: &[u8], limit: usize) -> Vec<(Bytes, Option<Bytes>)> {
        self.writes.range(start, prefix).take(limit).map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

fn size(key: usize, value: Option<&Bytes>) -> usize {
    ENTRY_BYTES + key + value.map_or(0, Bytes::len)
}

/// The first entries of a layer in a range, in order.
type Part = Vec<(Bytes, Option<Bytes>)>;

/// The layers of a store that a scan reads, from the upper to the lower one.
pub(super) trait ScanLayers {
    /// The first `limit` entries of each layer in a range.
    ///
    /// # Errors
    /// If the tree cannot be read.
    fn parts(&self, start: Bound<&[u8]>, prefix: &[u8], limit: usize) -> Result<[Part; 3], StateError>;
}

impl Layers<Memtable> {
    /// The part of the active layer, and the frozen layer, which can be read without the lock.
    pub(super) fn part(
        &self,
        start: Bound<&[u8]>,
        prefix: &[u8],
        limit: usize,
    ) -> (Part, Option<Arc<Frozen<Memtable>>>) {
        (self.active.within(start, prefix, limit), self.frozen.clone())
    }
}

impl Frozen<Memtable> {
    /// The first entries in a range.
    pub(super) fn part(&self, start: Bound<&[u8]>, prefix: &[u8], limit: usize) -> Part {
        self.content.within(start, prefix, limit)
    }
}

/// Returns the first `limit` entries in a range. Upper layers hide lower ones.
///
/// It reads in chunks. Deletes hide entries, so the number of entries needed from each layer is not known beforehand.
pub(super) fn scan(layers: &dyn ScanLayers, range: &Range<'_>, limit: usize) -> Result<Vec<Entry>, StateError> {
    let mut found = vec![];
    let mut after: Option<Bytes> = None;
    while found.len() < limit {
        let chunk = (limit - found.len()).clamp(SCAN_CHUNK.0, SCAN_CHUNK.1);
        let start = after.as_ref().map_or(range.start(), |key| Bound::Excluded(&key[..]));
        let parts = layers.parts(start, range.prefix, chunk)?;
        // A layer that returned a full chunk is known up to its last key only. So the merged result is known up to the
        // smallest of these keys.
        let full = parts.iter().filter(|part| part.len() >= chunk);
        let known = full.filter_map(|part| part.last()).map(|(key, _)| key.clone()).min();
        let mut merged = BTreeMap::new();
        for part in parts.into_iter().rev() {
            merged.extend(part);
        }
        let sure = merged.into_iter().take_while(|(key, _)| known.as_ref().is_none_or(|known| key <= known));
        found.extend(sure.filter_map(|(key, value)| Some((key, value?))).take(limit - found.len()));
        match known {
            Some(known) => after = Some(known),
            None => break,
        }
    }
    Ok(found)
}
