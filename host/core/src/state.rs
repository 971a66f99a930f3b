//! The state that a handler sees. A read goes down these layers to the first one that has the key:
//!
//! ```text
//!  this delivery's writes      kept only if the handler succeeds     Effects::writes
//!  this transaction's writes   kept only if the log commits          Overlay
//!  the previous one's writes   while its commit is under way         Committing
//!  committed                   memtable, then the copy on disk       TaskState
//! ```
//!
//! Several writes to a key count as one: the last write wins, also in the changelog.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::dedup::{Buckets, MessageId, Seen};
use crate::event::{Timestamp, Topic};
use crate::fault::TaskFault;
use crate::pending::Pending;

/// A store of a component: its index among the manifest's stores, ordered by name. Internal stores and tables have
/// separate indices, which do not depend on the component's stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreIndex(pub usize);

/// An index above that of any store in a manifest.
const FIRST_TABLE: usize = 1 << 24;

impl StoreIndex {
    /// The [`schedule`](crate::schedule) of a task.
    pub const SCHEDULE: Self = Self(FIRST_TABLE - 1);

    /// The index of a table. `place` is its position among the manifest's tables, ordered by name.
    #[must_use]
    pub const fn table(place: usize) -> Self {
        Self(FIRST_TABLE + place)
    }

    /// Returns true if this is the index of a table.
    #[must_use]
    pub const fn is_table(self) -> bool {
        self.0 >= FIRST_TABLE
    }
}

/// The maximum size of a store's key, in bytes: the bound of every engine, minus room for a prefix.
pub const KEY_BYTES_MAX: usize = 32 << 10;

/// A store's key and its value.
pub type Entry = (Bytes, Bytes);

/// The writes of one delivery to its task's stores, by store and key; `None` deletes.
pub type Writes = BTreeMap<(StoreIndex, Bytes), Option<Bytes>>;

/// The committed state of one task. The thread that writes it to disk shares it.
pub trait TaskState: Send + Sync {
    /// The value of `key`.
    ///
    /// # Errors
    /// If the copy on disk cannot be read.
    fn get(&self, store: StoreIndex, key: &[u8]) -> Result<Option<Bytes>, TaskFault>;

    /// The entries whose keys are in `range`, in the order of the keys' bytes, at most `limit`.
    ///
    /// # Errors
    /// If the copy on disk cannot be read.
    fn scan(&self, store: StoreIndex, range: &Range<'_>, limit: usize) -> Result<Vec<Entry>, TaskFault>;

    /// Returns true if a message of `topic` with this id was processed within the topic's window before `at`.
    ///
    /// # Errors
    /// If the copy on disk cannot be read.
    fn seen(&self, topic: &Topic, id: &MessageId, at: Timestamp) -> Result<bool, TaskFault>;
}

/// The state of a component without stores and dedup.
#[derive(Clone, Copy, Debug)]
pub struct Stateless;

impl TaskState for Stateless {
    fn get(&self, _: StoreIndex, _: &[u8]) -> Result<Option<Bytes>, TaskFault> {
        Ok(None)
    }

    fn scan(&self, _: StoreIndex, _: &Range<'_>, _: usize) -> Result<Vec<Entry>, TaskFault> {
        Ok(vec![])
    }

    fn seen(&self, _: &Topic, _: &MessageId, _: Timestamp) -> Result<bool, TaskFault> {
        Ok(false)
    }
}

/// The keys with a prefix, after some key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range<'a> {
    /// The prefix of the keys; empty for all keys.
    pub prefix: &'a [u8],
    /// Excludes this key and smaller ones.
    pub after: Option<&'a [u8]>,
}

impl<'a> Range<'a> {
    /// Returns true if the range includes `key`.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        key.starts_with(self.prefix) && self.after.is_none_or(|after| key > after)
    }

    /// The start of the range, in the order of bytes.
    #[must_use]
    pub fn start(&self) -> Bound<&'a [u8]> {
        match self.after {
            Some(after) if after >= self.prefix => Bound::Excluded(after),
            _ => Bound::Included(self.prefix),
        }
    }
}

/// The writes of one transaction, by store.
type Written = BTreeMap<StoreIndex, Pending>;

/// The changes of one transaction to one task's state so far. The overlay is part of the batch, and is dropped with a
/// batch that is not committed.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    writes: Arc<Written>,
    seen: Seen,
    /// The latest timestamp of the records that wrote.
    at: Option<Timestamp>,
    /// The initial capacity of each store, in keys.
    room: usize,
}

impl Overlay {
    /// Creates the overlay of a transaction that is expected to process `room` records.
    pub(crate) fn with_room(room: usize) -> Self {
        Self { writes: Arc::default(), seen: Seen::with_room(room), at: None, room }
    }

    /// Adds the writes of a successful delivery.
    pub(crate) fn write(&mut self, writes: Writes, at: Timestamp) {
        if !writes.is_empty() {
            // A finished handler holds no reads any more, so nothing is copied here.
            let written = Arc::make_mut(&mut self.writes);
            for ((store, key), value) in writes {
                written.entry(store).or_insert_with(|| Pending::with_room(self.room)).insert(key, value);
            }
            self.at = self.at.max(Some(at));
        }
    }

    /// Records that a message was processed.
    pub(crate) fn mark(&mut self, topic: &Topic, id: MessageId, at: Timestamp) {
        self.seen.insert(topic, id, at);
    }

    /// Returns true if this transaction processed the message within the topic's window before `at`. Committed state
    /// answers in the same way, so the result does not depend on the end of a transaction.
    pub(crate) fn has_seen(&self, topic: &Topic, id: &MessageId, at: Timestamp, window: Duration) -> bool {
        self.seen.noted(topic, id).is_some_and(|noted| Buckets::new(window).remembers(noted, at))
    }

    /// The view for a delivery on top of this overlay.
    pub(crate) fn reads(&self, committed: Arc<dyn TaskState>) -> Reads {
        Reads { transaction: self.writes.clone(), committed }
    }

    /// The writes so far, store by store, in the order of the first write to each key.
    pub fn writes(&self) -> impl Iterator<Item = (StoreIndex, &Bytes, &Option<Bytes>)> {
        self.writes.iter().flat_map(|(store, pending)| pending.iter().map(|(key, value)| (*store, key, value)))
    }

    /// The writes and the messages by value. Nothing is copied, because no delivery reads from a finished transaction.
    pub fn into_parts(self) -> (impl Iterator<Item = (StoreIndex, Pending)>, Seen) {
        (Arc::unwrap_or_clone(self.writes).into_iter(), self.seen)
    }

    /// The messages processed so far.
    #[must_use]
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// The latest timestamp of the records that wrote; `None` if none did.
    #[must_use]
    pub fn at(&self) -> Option<Timestamp> {
        self.at
    }
}

/// The committed state of one task, with the changes of a transaction in flight on top. The next transaction builds on
/// it.
pub(crate) struct Committing {
    overlay: Arc<Overlay>,
    windows: BTreeMap<Topic, Duration>,
    committed: Arc<dyn TaskState>,
}

impl Committing {
    /// `windows` has the time for which the message ids of each topic are remembered.
    pub(crate) fn new(
        overlay: Arc<Overlay>,
        windows: BTreeMap<Topic, Duration>,
        committed: Arc<dyn TaskState>,
    ) -> Self {
        Self { overlay, windows, committed }
    }
}

impl TaskState for Committing {
    fn get(&self, store: StoreIndex, key: &[u8]) -> Result<Option<Bytes>, TaskFault> {
        match self.overlay.writes.get(&store).and_then(|pending| pending.get(key)) {
            Some(written) => Ok(written.clone()),
            None => self.committed.get(store, key),
        }
    }

    fn scan(&self, store: StoreIndex, range: &Range<'_>, limit: usize) -> Result<Vec<Entry>, TaskFault> {
        self.overlay.reads(self.committed.clone()).scan(&Writes::new(), store, range, limit)
    }

    fn seen(&self, topic: &Topic, id: &MessageId, at: Timestamp) -> Result<bool, TaskFault> {
        let now = self.windows.get(topic).is_some_and(|window| self.overlay.has_seen(topic, id, at, *window));
        Ok(now || self.committed.seen(topic, id, at)?)
    }
}

/// The state that one delivery reads, below its own writes. It is dropped after the handler ends.
#[derive(Clone)]
pub struct Reads {
    transaction: Arc<Written>,
    committed: Arc<dyn TaskState>,
}

impl Reads {
    /// The view of a component without state.
    #[must_use]
    pub fn none() -> Self {
        Self { transaction: Arc::default(), committed: Arc::new(Stateless) }
    }

    /// Reads only `committed`, outside of any transaction.
    #[must_use]
    pub fn of(committed: Arc<dyn TaskState>) -> Self {
        Self { transaction: Arc::default(), committed }
    }

    /// The value of `key` for a delivery with the writes `own` so far.
    ///
    /// # Errors
    /// If the copy on disk cannot be read.
    pub fn get(&self, own: &Writes, store: StoreIndex, key: &Bytes) -> Result<Option<Bytes>, TaskFault> {
        let own = if own.is_empty() { None } else { own.get(&(store, key.clone())) };
        match own.or_else(|| self.transaction.get(&store)?.get(key)) {
            Some(written) => Ok(written.clone()),
            None => self.committed.get(store, key),
        }
    }

    /// The entries of a range in the order of their keys, at most `limit`, for a delivery with the writes `own` so far.
    ///
    /// # Errors
    /// If the copy on disk cannot be read.
    pub fn scan(
        &self,
        own: &Writes,
        store: StoreIndex,
        range: &Range<'_>,
        limit: usize,
    ) -> Result<Vec<Entry>, TaskFault> {
        let transaction = self.transaction.get(&store);
        let transaction = transaction.into_iter().flat_map(|pending| pending.range(range.start(), range.prefix));
        let mut written = transaction.collect::<BTreeMap<_, _>>();
        written.extend(within(own, store, range));
        // Each write may hide one committed entry.
        let committed = self.committed.scan(store, range, limit.saturating_add(written.len()))?;
        let mut entries = committed.into_iter().map(|(key, value)| (key, Some(value))).collect::<BTreeMap<_, _>>();
        entries.extend(written.into_iter().map(|(key, value)| (key.clone(), value.clone())));
        Ok(entries.into_iter().filter_map(|(key, value)| Some((key, value?))).take(limit).collect())
    }
}

/// A delivery's writes to keys of `store` in `range`.
fn within<'w>(
    writes: &'w Writes,
    store: StoreIndex,
    range: &'w Range<'_>,
) -> impl Iterator<Item = (&'w Bytes, &'w Option<Bytes>)> {
    let start = match range.start() {
        Bound::Excluded(key) => Bound::Excluded((store, Bytes::copy_from_slice(key))),
        Bound::Included(key) => Bound::Included((store, Bytes::copy_from_slice(key))),
        Bound::Unbounded => Bound::Included((store, Bytes::new())),
    };
    writes
        .range((start, Bound::Unbounded))
        .take_while(move |((place, key), _)| *place == store && key.starts_with(range.prefix))
        .map(|((_, key), value)| (key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: StoreIndex = StoreIndex(1);

    /// The committed entries `a1` to `a5` in one store.
    struct Five;

    impl TaskState for Five {
        fn get(&self, store: StoreIndex, key: &[u8]) -> Result<Option<Bytes>, TaskFault> {
            let all = self.scan(store, &Range { prefix: b"", after: None }, usize::MAX)?;
            Ok(all.into_iter().find(|(other, _)| other == key).map(|(_, value)| value))
        }

        fn scan(&self, store: StoreIndex, range: &Range<'_>, limit: usize) -> Result<Vec<Entry>, TaskFault> {
            let all = (1..=5).filter(|_| store == STORE).map(|n| (Bytes::from(format!("a{n}")), Bytes::from("old")));
            Ok(all.filter(|(key, _)| range.contains(key)).take(limit).collect())
        }

        fn seen(&self, _: &Topic, _: &MessageId, _: Timestamp) -> Result<bool, TaskFault> {
            Ok(false)
        }
    }

    fn writes(entries: &[(&'static str, Option<&'static str>)]) -> Writes {
        entries.iter().map(|(key, value)| ((STORE, Bytes::from(*key)), value.map(Bytes::from))).collect()
    }

    fn scan(reads: &Reads, own: &Writes, prefix: &str, after: Option<&str>, limit: usize) -> String {
        let range = Range { prefix: prefix.as_bytes(), after: after.map(str::as_bytes) };
        let entries = reads.scan(own, STORE, &range, limit).unwrap();
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        entries.iter().map(|(key, value)| format!("{}={}", text(key), text(value))).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_first_layer_that_knows_a_key_answers() {
        let mut overlay = Overlay::default();
        overlay.write(writes(&[("a1", Some("txn")), ("a2", None), ("a3", Some("txn"))]), Timestamp(7));
        overlay.write(writes(&[("a3", None)]), Timestamp(5));
        let reads = overlay.reads(Arc::new(Five));
        let own = writes(&[("a2", Some("own")), ("a4", None), ("b", Some("own"))]);
        let get = |key: &'static str| reads.get(&own, STORE, &Bytes::from(key)).unwrap();
        assert_eq!(get("a1").as_deref(), Some(&b"txn"[..]));
        assert_eq!(get("a2").as_deref(), Some(&b"own"[..]));
        assert_eq!(get("a3"), None);
        assert_eq!(get("a4"), None);
        assert_eq!(get("a5").as_deref(), Some(&b"old"[..]));
        assert_eq!(scan(&reads, &own, "", None, 10), "a1=txn a2=own a5=old b=own");
        assert_eq!(scan(&reads, &own, "a", Some("a1"), 10), "a2=own a5=old");
        // Hidden entries do not count towards the limit.
        assert_eq!(scan(&reads, &own, "a", Some("a2"), 1), "a5=old");
        assert_eq!(reads.get(&own, StoreIndex(0), &Bytes::from("a5")).unwrap(), None);
        assert_eq!(overlay.at(), Some(Timestamp(7)));
    }

    #[test]
    fn a_commit_in_flight_lies_between_the_open_transaction_and_committed_state() {
        let (topic, window) = (Topic::from("orders"), Duration::from_millis(100));
        let id = |text: &'static str| MessageId(Bytes::from(text));
        let mut before = Overlay::default();
        before.write(writes(&[("a1", Some("before")), ("a2", None), ("a3", Some("before"))]), Timestamp(7));
        before.mark(&topic, id("one"), Timestamp(50));
        let windows = BTreeMap::from([(topic.clone(), window)]);
        let state: Arc<dyn TaskState> = Arc::new(Committing::new(Arc::new(before), windows, Arc::new(Five)));
        let mut overlay = Overlay::default();
        overlay.write(writes(&[("a3", Some("txn")), ("a4", None)]), Timestamp(8));
        let reads = overlay.reads(state.clone());
        assert_eq!(scan(&reads, &Writes::new(), "", None, 10), "a1=before a3=txn a5=old");
        assert_eq!(scan(&reads, &Writes::new(), "a", Some("a1"), 2), "a3=txn a5=old");
        let get = |key: &'static str| reads.get(&Writes::new(), STORE, &Bytes::from(key)).unwrap();
        assert_eq!((get("a1"), get("a2")), (Some(Bytes::from("before")), None));
        assert_eq!((get("a4"), get("a5")), (None, Some(Bytes::from("old"))));
        let seen = |name: &'static str, at| state.seen(&topic, &id(name), Timestamp(at)).unwrap();
        assert!(seen("one", 50) && seen("one", 149), "it remembers as long as what is committed would");
        assert!(!seen("one", 150) && !seen("two", 50));
    }
}
