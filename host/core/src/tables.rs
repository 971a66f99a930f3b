//! Tables: read-only views of compacted topics. A table has the newest value of each key.
//!
//! ```text
//!  scope = "task"     the topic's partition is part of the task's input: its records are writes to the task's state,
//!                     committed with the input's positions, and read through the same layers as a store
//!  scope = "global"   the host follows all partitions beside its tasks; they read what it has at the moment
//! ```
//!
//! A handler reads both in the same way: as entries by key, under a separate [`StoreIndex`].

use std::sync::Arc;

use bytes::Bytes;

use crate::dedup::MessageId;
use crate::event::{Record, Timestamp, Topic};
use crate::fault::TaskFault;
use crate::state::{Entry, KEY_BYTES_MAX, Range, StoreIndex, TaskState};

/// The size of the prefix of a key that was written with a schema: a zero byte, and the schema's id in four bytes.
const PREFIX_BYTES: usize = 5;

/// The part of a record's key by which its table finds the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TableKeys {
    /// The whole key.
    Plain,
    /// The key without the schema's id, because producers may have different ids for the same key.
    BySchema,
    /// By the JSON that it is, behind the schema's id if there is one: producers write the same key with other blanks,
    /// escapes and orders of members.
    Json,
}

impl TableKeys {
    /// The key of the entry for a record's key; `None` if no table can have it.
    #[must_use]
    pub fn entry_key(self, key: &Bytes) -> Option<Bytes> {
        let key = match self {
            Self::Plain => key.clone(),
            Self::BySchema if key.len() >= PREFIX_BYTES && key[0] == 0 => key.slice(PREFIX_BYTES..),
            Self::BySchema => return None,
            // JSON does not begin with a zero byte.
            Self::Json if key.len() >= PREFIX_BYTES && key[0] == 0 => canonical(&key[PREFIX_BYTES..])?,
            Self::Json => canonical(key)?,
        };
        (key.len() <= KEY_BYTES_MAX).then_some(key)
    }

    /// The change of a record to its table: the entry's key, and its new value or a delete. `None` if the table cannot
    /// have the key.
    #[must_use]
    pub fn change(self, record: &Record) -> Option<(Bytes, Option<Bytes>)> {
        let copied = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
        // Copied, because the log's bytes are parts of larger buffers, which they would keep in memory.
        Some((copied(&self.entry_key(record.key.as_ref()?)?), record.value.as_ref().map(copied)))
    }
}

/// The same text for the same JSON.
fn canonical(json: &[u8]) -> Option<Bytes> {
    let mut value = serde_json::from_slice::<serde_json::Value>(json).ok()?;
    value.sort_all_objects();
    Some(value.to_string().into())
}

/// A table whose records are part of a task's input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskTable {
    /// The index by which handlers read the table.
    pub index: StoreIndex,
    /// The topic.
    pub topic: Topic,
    /// The part of a record's key by which the table finds the entry.
    pub keys: TableKeys,
}

/// A table that all tasks of a host share.
pub trait GlobalTable: Send + Sync {
    /// The newest value of `key`.
    ///
    /// # Errors
    /// If the table cannot be read now.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, TaskFault>;

    /// The entries of a range, in the order of their keys, at most `limit`.
    ///
    /// # Errors
    /// If the table cannot be read now.
    fn scan(&self, range: &Range<'_>, limit: usize) -> Result<Vec<Entry>, TaskFault>;

    /// The reason why the table cannot be read now, for a person; `None` if it can be read.
    fn waits_for(&self) -> Option<String>;
}

/// The global tables of a component, each with the index by which handlers read it.
pub type GlobalTables = Vec<(StoreIndex, Arc<dyn GlobalTable>)>;

/// A task's own state, and the global tables of its component.
pub struct WithTables {
    own: Arc<dyn TaskState>,
    tables: GlobalTables,
}

impl WithTables {
    /// Adds global tables to the state of a task.
    #[must_use]
    pub fn beside(own: Arc<dyn TaskState>, tables: &GlobalTables) -> Arc<dyn TaskState> {
        if tables.is_empty() { own } else { Arc::new(Self { own, tables: tables.clone() }) }
    }

    fn table(&self, index: StoreIndex) -> Option<&dyn GlobalTable> {
        if !index.is_table() {
            return None;
        }
        self.tables.iter().find(|(other, _)| *other == index).map(|(_, table)| table.as_ref())
    }
}

impl TaskState for WithTables {
    fn get(&self, store: StoreIndex, key: &[u8]) -> Result<Option<Bytes>, TaskFault> {
        self.table(store).map_or_else(|| self.own.get(store, key), |table| table.get(key))
    }

    fn scan(&self, store: StoreIndex, range: &Range<'_>, limit: usize) -> Result<Vec<Entry>, TaskFault> {
        self.table(store).map_or_else(|| self.own.scan(store, range, limit), |table| table.scan(range, limit))
    }

    fn seen(&self, topic: &Topic, id: &MessageId, at: Timestamp) -> Result<bool, TaskFault> {
        self.own.seen(topic, id, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Stateless;

    struct Numbers;

    impl GlobalTable for Numbers {
        fn get(&self, key: &[u8]) -> Result<Option<Bytes>, TaskFault> {
            Ok((key == b"one").then(|| Bytes::from("1")))
        }

        fn scan(&self, _: &Range<'_>, limit: usize) -> Result<Vec<Entry>, TaskFault> {
            Ok([(Bytes::from("one"), Bytes::from("1"))].into_iter().take(limit).collect())
        }

        fn waits_for(&self) -> Option<String> {
            None
        }
    }

    #[test]
    fn keys_in_json_are_the_same_however_they_are_written() {
        let key = |bytes: &[u8]| TableKeys::Json.entry_key(&Bytes::copy_from_slice(bytes));
        let own = key("{\"a\":1,\"b\":\"ü\"}".as_bytes());
        assert!(own.is_some());
        for other in [&b"{ \"b\": \"\\u00fc\",\n\"a\": 1}"[..], b"\0\0\0\0\x07{\"b\":\"\\u00FC\", \"a\":1}"] {
            assert_eq!(key(other), own);
        }
        assert_ne!(key(b"{\"a\":2}"), own);
        assert_eq!((key(b"{"), key(b"\0\0\0\0\x07"), key(b"")), (None, None, None));
    }

    #[test]
    fn a_table_is_read_by_its_own_index_and_stores_by_theirs() {
        let state = WithTables::beside(Arc::new(Stateless), &vec![(StoreIndex::table(1), Arc::new(Numbers))]);
        let get = |index| state.get(index, b"one").unwrap();
        assert_eq!(get(StoreIndex::table(1)), Some(Bytes::from("1")));
        assert_eq!((get(StoreIndex::table(0)), get(StoreIndex(1))), (None, None));
        let range = Range { prefix: b"", after: None };
        assert_eq!(state.scan(StoreIndex::table(1), &range, 9).unwrap().len(), 1);
        assert!(state.scan(StoreIndex(1), &range, 9).unwrap().is_empty());
    }

    #[test]
    fn keys_by_a_schema_are_the_same_whatever_the_schemas_id() {
        let keys = [&b"\0\0\0\0\x07key"[..], b"\0\x01\0\0\x09key"].map(Bytes::from_static);
        let by_schema = keys.each_ref().map(|key| TableKeys::BySchema.entry_key(key));
        assert_eq!(by_schema, [Some(Bytes::from("key")), Some(Bytes::from("key"))]);
        let plain = keys.each_ref().map(|key| TableKeys::Plain.entry_key(key));
        assert_eq!(plain, keys.each_ref().map(|key| Some(key.clone())));
        assert_eq!(TableKeys::BySchema.entry_key(&Bytes::from("key")), None);
        assert_eq!(TableKeys::Plain.entry_key(&Bytes::from(vec![1; KEY_BYTES_MAX + 1])), None);
    }
}
