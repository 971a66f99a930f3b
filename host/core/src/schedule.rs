//! The schedule of a task: its parked records by due time, in the order of each key.
//!
//! ```text
//!  key a:  failed, due at 12:00:10 ──> behind it ──> behind it     only the first of a key is ever tried
//!  key b:  failed, due at 12:00:03
//! ```
//!
//! The records are entries of an internal store of the task ([`StoreIndex::SCHEDULE`]), so they are written and
//! restored in the same way as all state. This module has the format of the entries and their index: their order, and
//! their due times.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use bytes::{Buf as _, Bytes};

use crate::event::{Header, Offset, Record, Timestamp, TopicPartition};
use crate::failed::Parked;
use crate::fault::TaskFault;
use crate::policy::WaitingBounds;
use crate::state::{Range, StoreIndex, TaskState};

/// The number of entries that are read at a time.
const PAGE: usize = 1_000;

/// The number of an entry, in the order in which records were parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Number(u64);

impl Number {
    /// The key of its entry in the store. Keys sort in the order of the numbers.
    pub(crate) fn entry(self) -> Bytes {
        Bytes::copy_from_slice(&self.0.to_be_bytes())
    }
}

/// The key of a queue. A record without a key has its own queue.
type Key = Result<Bytes, (TopicPartition, Offset)>;

fn key_of(record: &Record) -> Key {
    record.key.clone().ok_or_else(|| (record.source.clone(), record.offset))
}

/// The index of a task's schedule.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    keys: HashMap<Key, Queue>,
    /// The first record of each key, by due time.
    due: BTreeSet<(Timestamp, Number)>,
    /// The keys of the entries in `due`.
    owners: BTreeMap<Number, Key>,
    next: u64,
    len: usize,
}

#[derive(Clone, Debug, Default)]
struct Queue {
    due: Option<Timestamp>,
    entries: VecDeque<Number>,
}

impl Schedule {
    /// Reads the parked records from the committed state.
    ///
    /// # Errors
    /// If the state cannot be read, or an entry is not a parked record.
    pub(crate) fn load(state: &dyn TaskState) -> Result<Self, TaskFault> {
        let mut schedule = Self::default();
        let mut after = None::<Bytes>;
        loop {
            let range = Range { prefix: b"", after: after.as_deref() };
            let entries = state.scan(StoreIndex::SCHEDULE, &range, PAGE)?;
            for (key, value) in &entries {
                let broken = || TaskFault(format!("the parked record {} cannot be read", key.escape_ascii()));
                let number = key.as_ref().try_into().map(u64::from_be_bytes).map_err(|_| broken())?;
                let parked = read(value).ok_or_else(broken)?;
                schedule.next = schedule.next.max(number + 1);
                schedule.insert(Number(number), &parked.record, parked.due);
            }
            if entries.len() < PAGE {
                return Ok(schedule);
            }
            after = entries.into_iter().next_back().map(|(key, _)| key);
        }
    }

    /// The number of parked records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns true if no record is parked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The due time of the next record.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(due, _)| *due)
    }

    /// The due time of the first parked record with the key of `record`; `None` if the key has none.
    pub(crate) fn ahead_of(&self, record: &Record) -> Option<Timestamp> {
        self.keys.get(&key_of(record)).and_then(|queue| queue.due)
    }

    /// Returns true if one more record with the key of `record` may be parked.
    pub(crate) fn has_room(&self, record: &Record, bounds: &WaitingBounds) -> bool {
        let of_key = self.keys.get(&key_of(record)).map_or(0, |queue| queue.entries.len());
        of_key < bounds.per_key_max && self.len < bounds.per_task_max
    }

    /// The record that is due at `now`.
    pub(crate) fn due(&self, now: Timestamp) -> Option<Number> {
        self.due.first().filter(|(due, _)| *due <= now).map(|(_, number)| *number)
    }

    /// Adds a record behind those of its key, and returns its number. `due` applies only if it is the first of its key.
    pub(crate) fn push(&mut self, record: &Record, due: Timestamp) -> Number {
        let number = Number(self.next);
        self.next += 1;
        self.insert(number, record, due);
        number
    }

    fn insert(&mut self, number: Number, record: &Record, due: Timestamp) {
        let key = key_of(record);
        let queue = self.keys.entry(key.clone()).or_default();
        queue.entries.push_back(number);
        self.len += 1;
        if queue.due.is_none() {
            queue.due = Some(due);
            self.due.insert((due, number));
            self.owners.insert(number, key);
        }
    }

    /// Sets the due time of the first record of a key to `due`.
    pub(crate) fn postpone(&mut self, number: Number, due: Timestamp) {
        let Some(queue) = self.owners.get(&number).and_then(|key| self.keys.get_mut(key)) else { return };
        if let Some(before) = queue.due.replace(due) {
            self.due.remove(&(before, number));
        }
        self.due.insert((due, number));
    }

    /// Removes the first record of a key. The next one is due at once.
    pub(crate) fn pop(&mut self, number: Number) {
        let Some(key) = self.owners.remove(&number) else { return };
        let Some(queue) = self.keys.get_mut(&key) else { return };
        if let Some(due) = queue.due.take() {
            self.due.remove(&(due, number));
        }
        queue.entries.pop_front();
        self.len -= 1;
        match queue.entries.front() {
            Some(next) => {
                queue.due = Some(Timestamp(0));
                self.due.insert((Timestamp(0), *next));
                self.owners.insert(*next, key);
            }
            None => drop(self.keys.remove(&key)),
        }
    }
}

/// The time at which the first parked record in the committed state was produced, in the order of parking; `None` if
/// none is parked.
///
/// # Errors
/// If the state cannot be read, or the entry is not a parked record.
pub fn oldest(state: &dyn TaskState) -> Result<Option<Timestamp>, TaskFault> {
    let first = state.scan(StoreIndex::SCHEDULE, &Range { prefix: b"", after: None }, 1)?.pop();
    let broken = || TaskFault("the first parked record cannot be read".to_owned());
    first.map(|(_, value)| Ok(read(&value).ok_or_else(broken)?.record.timestamp)).transpose()
}

/// The format version of parked records. There is only one so far.
const VERSION: u8 = 1;

/// Encodes a parked record as the value of its entry: a version byte, key, value, the number of headers, and the name
/// and value of each header. Lengths are four bytes, big-endian; null has the length `u32::MAX`.
pub(crate) fn pack(record: &Record, headers: &[Header]) -> Bytes {
    let mut out = vec![VERSION];
    put(&mut out, record.key.as_deref());
    put(&mut out, record.value.as_deref());
    out.extend(length(headers.len()));
    for header in headers {
        put(&mut out, Some(header.name.as_bytes()));
        put(&mut out, header.value.as_deref());
    }
    out.into()
}

fn length(len: usize) -> [u8; 4] {
    // No record in a log is that long.
    u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes()
}

fn put(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    out.extend(bytes.map_or([0xff; 4], |bytes| length(bytes.len())));
    out.extend(bytes.unwrap_or_default());
}

/// The key of the parked record in an entry; `None` if the entry is not a parked record.
#[must_use]
#[allow(clippy::option_option)] // a parked record may have no key
pub fn record_key(entry: &Bytes) -> Option<Option<Bytes>> {
    read(entry).map(|parked| parked.record.key)
}

/// The parked record in an entry.
pub(crate) fn read(entry: &Bytes) -> Option<Parked> {
    unpack(entry).as_ref().and_then(Parked::read)
}

/// Decodes what [`pack`] encoded. The source and timestamp of the record are in the headers.
fn unpack(packed: &Bytes) -> Option<Record> {
    let mut rest = packed.clone();
    if rest.try_get_u8().ok()? != VERSION {
        return None;
    }
    let (key, value) = (take(&mut rest)?, take(&mut rest)?);
    let count = rest.try_get_u32().ok()?;
    let mut headers = vec![];
    for _ in 0..count {
        let name = String::from_utf8(take(&mut rest)??.to_vec()).ok()?;
        headers.push(Header { name: name.into(), value: take(&mut rest)? });
    }
    let nowhere = (TopicPartition::new("", 0), Offset(0), Timestamp(0));
    let (source, offset, timestamp) = nowhere;
    rest.is_empty().then_some(Record { source, offset, timestamp, key, value, headers })
}

fn take(rest: &mut Bytes) -> Option<Option<Bytes>> {
    match rest.try_get_u32().ok()? {
        u32::MAX => Some(None),
        len => {
            let len = usize::try_from(len).ok()?;
            (len <= rest.len()).then(|| Some(rest.split_to(len)))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::failed::queued;

    fn record(key: Option<&'static str>, offset: i64) -> Record {
        Record {
            source: TopicPartition::new("in", 0),
            offset: Offset(offset),
            timestamp: Timestamp(5),
            key: key.map(Bytes::from),
            value: Some(Bytes::from_static(b"v")),
            headers: vec![],
        }
    }

    #[test]
    fn only_the_first_of_a_key_gets_its_turn() {
        let mut schedule = Schedule::default();
        let a = schedule.push(&record(Some("a"), 0), Timestamp(20));
        let b = schedule.push(&record(Some("b"), 1), Timestamp(10));
        let a2 = schedule.push(&record(Some("a"), 2), Timestamp(0));
        assert_eq!((schedule.len(), schedule.next_due(), schedule.due(Timestamp(9))), (3, Some(Timestamp(10)), None));
        assert_eq!(schedule.due(Timestamp(30)), Some(b));
        schedule.postpone(b, Timestamp(40));
        assert_eq!(schedule.due(Timestamp(30)), Some(a));
        schedule.pop(a);
        assert_eq!(schedule.due(Timestamp(0)), Some(a2));
        schedule.pop(a2);
        assert_eq!(schedule.ahead_of(&record(Some("a"), 9)), None);
        schedule.pop(b);
        assert!(schedule.is_empty() && schedule.next_due().is_none());
    }

    #[test]
    fn records_without_a_key_wait_for_nobody() {
        let mut schedule = Schedule::default();
        schedule.push(&record(None, 0), Timestamp(20));
        assert_eq!(schedule.ahead_of(&record(None, 1)), None);
        assert_eq!(schedule.ahead_of(&record(None, 0)), Some(Timestamp(20)));
    }

    #[test]
    fn there_is_room_up_to_the_bounds() {
        let bounds =
            |per_key_max, per_task_max| WaitingBounds { per_key_max, per_task_max, ..WaitingBounds::default() };
        let mut schedule = Schedule::default();
        schedule.push(&record(Some("a"), 0), Timestamp(0));
        schedule.push(&record(Some("a"), 1), Timestamp(0));
        let room = |key, bounds| schedule.has_room(&record(Some(key), 2), &bounds);
        assert!(
            room("a", bounds(3, 3)) && !room("a", bounds(2, 3)) && room("b", bounds(2, 3)) && !room("b", bounds(2, 2))
        );
    }

    proptest! {
        #[test]
        fn packed_records_are_read_unchanged(
            key in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
            value in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
            headers in proptest::collection::vec((".{0,8}", proptest::option::of(proptest::collection::vec(any::<u8>(), 0..9))), 0..4),
            offset in 0..i64::MAX,
            timestamp in any::<i64>(),
        ) {
            let headers = headers.into_iter().map(|(name, value)| Header { name: name.into(), value: value.map(Bytes::from) });
            let record = Record {
                source: TopicPartition::new("orders", 3),
                offset: Offset(offset),
                timestamp: Timestamp(timestamp),
                key: key.map(Bytes::from),
                value: value.map(Bytes::from),
                headers: headers.collect(),
            };
            let packed = pack(&record, &queued(&record, None));
            let parked = read(&packed).unwrap();
            prop_assert_eq!(parked.record, record);
            for cut in 0..packed.len() {
                prop_assert!(unpack(&packed.slice(..cut)).is_none());
            }
        }

        #[test]
        fn garbage_is_not_a_record(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _never_panics = unpack(&bytes.into());
        }
    }
}
