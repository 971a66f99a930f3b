//! All state of one task on this host.
//!
//! There are two locks. `layers` is held briefly, for a lookup or to take a batch; `writing` is held during writes to
//! the trees. Neither is held during the other's work. A read goes down the layers. A written entry appears in the
//! lower layer before it leaves the upper one, so no read misses it.

use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use heddle_core::batch::CommittedBatch;
use heddle_core::dedup::{MessageId, unpack};
use heddle_core::event::{Offset, Partition, Record, Timestamp, Topic};
use heddle_core::fault::TaskFault;
use heddle_core::schedule::oldest;
use heddle_core::state::{Entry, Overlay, Range, StoreIndex, TaskState};
use heddle_core::tables::TableKeys;
use heddle_core::task::TaskSpec;

use super::layers::{Layers, Memtable, ScanLayers, scan};
use super::replay::ReplayError;
use super::seen::{Ids, SeenStatus, SeenTree};
use super::store_tree::{data_key, write_memtable};
use super::tree::{Found, open_watermark, tree_name, wipe};
use super::{Bounds, StateEngine, StateError, StateStore, Watermark};
use crate::lock::{lock, lock_within};

/// A task is full if this many times the bound of a memtable is pending.
const FULL: usize = 4;

/// All state of one task on this host. Its worker (reads, commits), the flusher and queries share it.
///
/// Before the first commit, [`reached`](Self::reached) must set each changelog's watermark, even if there was nothing
/// to restore. A drop discards what is not written, because the changelogs have it.
pub struct TaskStores {
    partition: Partition,
    /// The stores, and behind them the tables.
    stores: Vec<Store>,
    tables: Vec<StoreIndex>,
    seen: Option<Seen>,
    /// The store of parked records.
    has_schedule: bool,
    bounds: Bounds,
    layers: Mutex<InMemory>,
    room: Condvar,
    /// Held by the thread that writes to the trees.
    writing: Mutex<()>,
    /// Nothing is written any more. Set while `writing` is held.
    retired: AtomicBool,
}

struct Store {
    changelog: Topic,
    tree: Arc<dyn StateStore>,
    /// The copy that was on disk when the tree was opened.
    found: Option<Found>,
    /// The part of a record's key by which a table finds its entries; `None` for a store. Others write the changelog of
    /// a table.
    table: Option<TableKeys>,
}

struct Seen {
    changelog: Topic,
    tree: SeenTree,
}

/// State that is not in the trees yet. Indices are the same as those of the trees.
struct InMemory {
    stores: Vec<Layers<Memtable>>,
    seen: Layers<Ids>,
    /// The time since which there is something to write.
    since: Option<Instant>,
}

impl TaskStores {
    /// Opens the trees of a task.
    ///
    /// # Errors
    /// If the engine fails.
    pub fn open(
        engine: &dyn StateEngine,
        spec: &TaskSpec,
        partition: Partition,
        bounds: Bounds,
    ) -> Result<Arc<Self>, StateError> {
        let open = |changelog: &Topic| {
            let tree = engine.open(&tree_name(&spec.component, changelog, partition))?;
            let found = open_watermark(&*tree, changelog)?;
            Ok::<_, StateError>((tree, found))
        };
        let mut stores = vec![];
        let mut layers = InMemory { stores: vec![], seen: Layers::new(None), since: None };
        let changelogs = spec.stores().map(|(_, changelog)| (changelog, None));
        let tables = spec.tables.iter().map(|table| (&table.topic, Some(table.keys)));
        for (changelog, table) in changelogs.chain(tables) {
            let (tree, found) = open(changelog)?;
            layers.stores.push(Layers::new(found.as_ref().map(|found| found.watermark.clone())));
            stores.push(Store { changelog: changelog.clone(), tree, found, table });
        }
        let mut seen = None;
        if let Some(changelog) = &spec.seen_changelog {
            let (tree, found) = open(changelog)?;
            layers.seen = Layers::new(found.map(|found| found.watermark));
            seen = Some(Seen {
                changelog: changelog.clone(),
                tree: SeenTree::open(tree, &spec.windows, spec.policy.lateness(), bounds)?,
            });
        }
        let (layers, room, writing) = (Mutex::new(layers), Condvar::new(), Mutex::new(()));
        let retired = AtomicBool::new(false);
        let (has_schedule, tables) = (spec.schedule.is_some(), spec.tables.iter().map(|table| table.index).collect());
        Ok(Arc::new(Self { partition, stores, tables, seen, has_schedule, bounds, layers, room, writing, retired }))
    }

    /// The partition whose state this is.
    #[must_use]
    pub fn partition(&self) -> Partition {
        self.partition
    }

    /// The place of a store or table.
    fn place(&self, store: StoreIndex) -> Option<usize> {
        let changelogs = self.stores.len() - self.tables.len();
        let own = changelogs - usize::from(self.has_schedule);
        if store.is_table() {
            return Some(changelogs + self.tables.iter().position(|table| *table == store)?);
        }
        if store == StoreIndex::SCHEDULE {
            self.has_schedule.then_some(own)
        } else {
            Some(store.0).filter(|at| *at < own)
        }
    }

    /// Returns true if the changelog is the topic of a table, and so part of the input.
    #[must_use]
    pub fn is_table(&self, changelog: &Topic) -> bool {
        self.stores.iter().any(|store| store.changelog == *changelog && store.table.is_some())
    }

    /// Each changelog (the stores', the tables', then the message ids') with the position up to which it has been
    /// read; `None` if it has no copy.
    #[must_use]
    pub fn watermarks(&self) -> Vec<(Topic, Option<Watermark>)> {
        let layers = lock(&self.layers);
        let stores = self.stores.iter().zip(&layers.stores);
        let stores = stores.map(|(store, layers)| (store.changelog.clone(), layers.watermark().cloned()));
        let seen = self.seen.iter().map(|seen| (seen.changelog.clone(), layers.seen.watermark().cloned()));
        stores.chain(seen).collect()
    }

    /// The age of the copy of a store that was found on disk, since its last write. Zero if there was no copy, and for
    /// message ids.
    #[must_use]
    pub fn age(&self, changelog: &Topic) -> Duration {
        let age = self.found(changelog).map_or(0, |found| (self.bounds.now)().0.saturating_sub(found.written.0));
        Duration::from_millis(age.max(0).cast_unsigned())
    }

    /// The end of the content of the copy that was found on disk: its watermark, or an offset beyond it if the host was
    /// killed while it wrote. `None` if there was no copy, and for message ids.
    #[must_use]
    pub fn end_found(&self, changelog: &Topic) -> Option<Offset> {
        self.found(changelog).map(|found| found.end)
    }

    fn found(&self, changelog: &Topic) -> Option<&Found> {
        self.stores.iter().find(|store| store.changelog == *changelog)?.found.as_ref()
    }

    /// Discards the copy of one changelog, in memory and on disk, because the log does not know its watermark.
    ///
    /// # Errors
    /// If the engine fails. Then call it again before the changelog is restored.
    pub fn wipe(&self, changelog: &Topic) -> Result<(), StateError> {
        let _writing = lock(&self.writing);
        if self.is_retired() {
            return Ok(());
        }
        for (index, store) in self.stores.iter().enumerate().filter(|(_, store)| store.changelog == *changelog) {
            lock(&self.layers).stores[index] = Layers::new(None);
            wipe(&*store.tree)?;
        }
        if let Some(seen) = self.seen.as_ref().filter(|seen| seen.changelog == *changelog) {
            lock(&self.layers).seen = Layers::new(None);
            seen.tree.wipe()?;
        }
        self.room.notify_all();
        Ok(())
    }

    /// Takes one record of a changelog during a restore, in the changelog's order from its watermark. The record is
    /// written to disk only once [`reached`](Self::reached) covers it.
    ///
    /// # Errors
    /// If Heddle did not write the record.
    pub fn replay(&self, record: &Record) -> Result<(), ReplayError> {
        let foreign = |why: &str| ReplayError::Foreign {
            place: record.source.clone(),
            offset: record.offset,
            why: why.to_owned(),
        };
        let ours = |changelog: &Topic| record.source.topic == *changelog;
        if record.source.partition != self.partition {
            return Err(foreign("it is of another partition than the task"));
        }
        let place = self.stores.iter().position(|store| ours(&store.changelog));
        if let Some((index, keys)) = place.and_then(|index| Some((index, self.stores[index].table?))) {
            let change = keys.change(record);
            self.change(|layers| {
                change.into_iter().for_each(|(key, value)| layers.stores[index].active.insert(key, value));
                layers.stores[index].took(record.offset.next());
            });
            return Ok(());
        }
        let key = record.key.as_deref().ok_or_else(|| foreign("it has no key"))?;
        // Copied, because the log's bytes are parts of larger buffers, which they would keep in memory.
        if let Some(index) = place {
            let value = record.value.as_deref().map(Bytes::copy_from_slice);
            self.change(|layers| {
                layers.stores[index].active.insert(Bytes::copy_from_slice(key), value);
                layers.stores[index].took(record.offset.next());
            });
        } else if self.seen.as_ref().is_some_and(|seen| ours(&seen.changelog)) {
            let topic = std::str::from_utf8(key).map_err(|_| foreign("its key is not the name of a topic"))?;
            let value = record.value.clone().ok_or_else(|| foreign("it has no value"))?;
            let ids = unpack(value).map_err(|error| foreign(&error.to_string()))?;
            self.change(|layers| {
                layers.seen.active.extend(&topic.into(), ids.iter().map(|(id, at)| (id, *at)));
                layers.seen.took(record.offset.next());
            });
        } else {
            return Err(foreign("the topic is not a changelog of the task"));
        }
        Ok(())
    }

    /// Records that everything of `changelog` below the watermark was taken. Call it before the first record is
    /// replayed, to set the topic's identity, and after every batch of records.
    pub fn reached(&self, changelog: &Topic, watermark: Watermark) {
        self.change(|layers| {
            if let Some(index) = self.stores.iter().position(|store| store.changelog == *changelog) {
                layers.stores[index].reached(watermark);
            } else if self.seen.as_ref().is_some_and(|seen| seen.changelog == *changelog) {
                layers.seen.reached(watermark);
            }
        });
    }

    /// Takes this task's changes out of a batch that the log confirmed; they become committed state. It changes memory
    /// only; see [`wait_for_room`](Self::wait_for_room).
    pub fn commit(&self, batch: &mut CommittedBatch) {
        if let Some(overlay) = batch.take(self.partition) {
            self.change(|layers| self.take_over(layers, overlay, batch));
        }
    }

    fn take_over(&self, layers: &mut InMemory, overlay: Overlay, batch: &CommittedBatch) {
        let (written, ids) = overlay.into_parts();
        for (index, pending) in written {
            let Some(place) = self.place(index) else { continue };
            let (store, layers) = (&self.stores[place], &mut layers.stores[place]);
            layers.active.take_over(pending);
            // A table's records are read, not written.
            let end = match store.table {
                Some(_) => batch.position(&store.changelog, self.partition),
                None => batch.end(&store.changelog, self.partition),
            };
            layers.committed(end);
        }
        if let Some(seen) = self.seen.as_ref().filter(|_| !ids.is_empty()) {
            for (topic, ids) in ids.into_topics() {
                layers.seen.active.take_over(&topic, ids);
            }
            layers.seen.committed(batch.end(&seen.changelog, self.partition));
        }
    }

    fn change(&self, change: impl FnOnce(&mut InMemory)) {
        let mut layers = lock(&self.layers);
        change(&mut layers);
        layers.since.get_or_insert_with(Instant::now);
    }

    /// The bytes in memory that are not written yet.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        lock(&self.layers).bytes()
    }

    /// The age of the oldest change in memory that is not written. Zero if there is none.
    #[must_use]
    pub fn unwritten_for(&self) -> Duration {
        let layers = lock(&self.layers);
        if layers.bytes() == 0 { Duration::ZERO } else { layers.since.map_or(Duration::ZERO, |since| since.elapsed()) }
    }

    /// Waits, at most `timeout`, while more than twice the bound is pending and a write is under way. Returns true if
    /// there is room; otherwise the disk is slow or the flusher has failed.
    #[must_use]
    pub fn wait_for_room(&self, timeout: Duration) -> bool {
        let full = |layers: &mut InMemory| {
            let (bytes, bound) = (layers.bytes(), self.bounds.memtable_bytes);
            // Without a write under way the flusher has not come to this task yet; then the limit is higher.
            bytes > 2 * bound && (layers.writing() || (layers.ready() && bytes > FULL * bound))
        };
        let waited = self.room.wait_timeout_while(lock(&self.layers), timeout, full);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Returns true if nothing more may become pending: the disk is very slow, full or broken.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let layers = lock(&self.layers);
        (layers.writing() || layers.ready()) && layers.bytes() > FULL * self.bounds.memtable_bytes
    }

    /// Freezes the memtable if it is old or large enough and no write is under way. Returns true if it did.
    pub fn freeze(&self) -> bool {
        self.freeze_if(|layers| {
            let old = layers.since.is_some_and(|since| since.elapsed() >= self.bounds.memtable_age);
            old || layers.bytes() >= self.bounds.memtable_bytes
        })
    }

    fn freeze_if(&self, due: impl FnOnce(&InMemory) -> bool) -> bool {
        let mut layers = lock(&self.layers);
        if layers.writing() || !layers.ready() || !due(&layers) {
            return false;
        }
        layers.stores.iter_mut().for_each(Layers::freeze);
        layers.seen.freeze();
        layers.since = layers.waiting().then(Instant::now);
        true
    }

    /// Writes what [`freeze`](Self::freeze) froze: each changelog's part in atomic batches, its watermark with the last
    /// of them. Returns about how many bytes it wrote.
    ///
    /// # Errors
    /// If the engine fails. What is not written stays readable, and the next call writes it.
    pub fn write_frozen(&self) -> Result<usize, StateError> {
        let _writing = lock(&self.writing);
        if self.is_retired() {
            return Ok(0);
        }
        let mut written = 0;
        for (index, store) in self.stores.iter().enumerate() {
            let Some(frozen) = lock(&self.layers).stores[index].frozen.clone() else { continue };
            written += write_memtable(&*store.tree, &frozen, (self.bounds.now)(), self.bounds.changes_at_once)?;
            lock(&self.layers).stores[index].frozen = None;
        }
        if let Some(seen) = &self.seen {
            let frozen = lock(&self.layers).seen.frozen.clone();
            if let Some(frozen) = frozen {
                written += seen.tree.write(&frozen)?;
                lock(&self.layers).seen.frozen = None;
            }
        }
        self.room.notify_all();
        Ok(written)
    }

    /// Writes everything that may be written now.
    pub fn flush(&self) -> Result<usize, StateError> {
        let mut written = self.write_frozen()?;
        if self.freeze_if(|_| true) {
            written += self.write_frozen()?;
        }
        Ok(written)
    }

    /// Waits for a write under way, and prevents any later one. The trees belong to the next owner, so older writes
    /// must not follow its own.
    ///
    /// Waits for `wait` at most. Returns false if the write is still under way then.
    #[must_use]
    pub(super) fn retire(&self, wait: Duration) -> bool {
        let Some(_writing) = lock_within(&self.writing, wait) else { return false };
        self.retired.store(true, Ordering::Release);
        true
    }

    /// Returns true if another worker of this host has opened the task since, or the host has abandoned it. Then the
    /// holder must open it again or drop it.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Does one piece of maintenance, about a mebibyte: merges segments of message ids, or drops those past their
    /// window. Returns true if there may be more to do.
    ///
    /// # Errors
    /// If the engine fails. It can be called again.
    pub fn maintain(&self) -> Result<bool, StateError> {
        let _writing = lock(&self.writing);
        if self.is_retired() {
            return Ok(false);
        }
        self.seen.as_ref().map_or(Ok(false), |seen| seen.tree.maintain(&|| self.oldest_parked()))
    }

    /// The time at which the oldest parked record was produced. If it cannot be read, the earliest time is assumed.
    fn oldest_parked(&self) -> Option<Timestamp> {
        if self.has_schedule { oldest(self).unwrap_or(Some(Timestamp(i64::MIN))) } else { None }
    }

    /// Statistics of the message ids on disk.
    #[must_use]
    pub fn seen_status(&self) -> SeenStatus {
        self.seen.as_ref().map(|seen| seen.tree.status()).unwrap_or_default()
    }
}

impl InMemory {
    fn bytes(&self) -> usize {
        self.stores.iter().map(Layers::bytes).sum::<usize>() + self.seen.bytes()
    }

    fn writing(&self) -> bool {
        self.stores.iter().any(|store| store.frozen.is_some()) || self.seen.frozen.is_some()
    }

    fn ready(&self) -> bool {
        self.stores.iter().any(Layers::ready) || self.seen.ready()
    }

    fn waiting(&self) -> bool {
        self.stores.iter().any(Layers::waiting) || self.seen.waiting()
    }
}

impl TaskState for TaskStores {
    fn get(&self, store: StoreIndex, key: &[u8]) -> Result<Option<Bytes>, TaskFault> {
        let Some(place) = self.place(store) else { return Ok(None) };
        {
            let layers = lock(&self.layers);
            let Layers { active, frozen, .. } = &layers.stores[place];
            let frozen = frozen.as_ref().map(|frozen| frozen.content.writes());
            if let Some(value) = active.writes().get(key).or_else(|| frozen?.get(key)) {
                return Ok(value.clone());
            }
        }
        Ok(self.stores[place].tree.get(&data_key(key))?)
    }

    fn scan(&self, store: StoreIndex, range: &Range<'_>, limit: usize) -> Result<Vec<Entry>, TaskFault> {
        let Some(place) = self.place(store) else { return Ok(vec![]) };
        let tree = &*self.stores[place].tree;
        Ok(scan(&OneStore { layers: &self.layers, store: place, tree }, range, limit)?)
    }

    fn seen(&self, topic: &Topic, id: &MessageId, at: Timestamp) -> Result<bool, TaskFault> {
        let Some(Seen { tree, .. }) = &self.seen else { return Ok(false) };
        let Some(wanted) = tree.wanted(topic, id, at) else { return Ok(false) };
        {
            let layers = lock(&self.layers);
            let frozen = layers.seen.frozen.as_ref().map(|frozen| &frozen.content);
            if wanted.is_in(&layers.seen.active) || frozen.is_some_and(|ids| wanted.is_in(ids)) {
                return Ok(true);
            }
        }
        Ok(tree.seen(&wanted)?)
    }
}

struct OneStore<'a> {
    layers: &'a Mutex<InMemory>,
    store: usize,
    tree: &'a dyn StateStore,
}

impl ScanLayers for OneStore<'_> {
    fn parts(
        &self,
        start: Bound<&[u8]>,
        prefix: &[u8],
        limit: usize,
    ) -> Result<[Vec<(Bytes, Option<Bytes>)>; 3], StateError> {
        let (active, frozen) = lock(self.layers).stores[self.store].part(start, prefix, limit);
        let frozen = frozen.map(|frozen| frozen.part(start, prefix, limit)).unwrap_or_default();
        let start = start.map(data_key);
        let start = start.as_ref().map(|key| &key[..]);
        let stored = self.tree.scan(start, &data_key(prefix), limit)?;
        let stored = stored.into_iter().map(|(key, value)| (key.slice(1..), Some(value))).collect();
        Ok([active, frozen, stored])
    }
}
