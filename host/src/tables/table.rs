//! A table, as seen by handlers and operators.

use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use heddle_core::event::{Timestamp, Topic};
use heddle_core::fault::TaskFault;
use heddle_core::state::{Entry, Range};
use heddle_core::tables::{GlobalTable, TableKeys};
use serde::{Deserialize, Serialize};

use super::copy::{Applied, data_key};
use crate::lock::lock;
use crate::state::StateStore;

/// A global table of this host. Its follower fills it, and everything else only reads it.
pub struct Table {
    topic: Topic,
    keys: TableKeys,
    /// The tree, if it can be read. A reader holds the lock while it reads, so no reader sees a tree that is being
    /// emptied.
    content: RwLock<Option<Arc<dyn StateStore>>>,
    progress: Mutex<Progress>,
}

/// The report of a follower.
#[derive(Default)]
struct Progress {
    status: Known,
    /// The time since which its follower waits for the engine.
    busy: Option<Instant>,
}

#[derive(Clone, Default)]
struct Known {
    applied: u64,
    unfit: u64,
    lag: u64,
    wiped: u64,
    partitions: usize,
    /// The time at which the lag was measured.
    asked: Option<Timestamp>,
    fault: Option<Fault>,
}

/// The reason why a table is not followed now.
#[derive(Clone, Debug)]
struct Fault {
    why: String,
    since: Timestamp,
    of_disk: bool,
}

/// The state of a global table on one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableStatus {
    /// The topic that it shows.
    pub topic: String,
    /// True if handlers can read it: it has everything that the topic had when reading began.
    pub ready: bool,
    /// The number of offsets between its positions and the ends of the topic's partitions.
    pub lag: u64,
    /// The time of that measurement, in milliseconds since 1970.
    #[serde(default)]
    pub asked: Option<i64>,
    /// The number of partitions of the topic.
    pub partitions: usize,
    /// The number of records applied since the host started.
    pub applied: u64,
    /// The ones among them whose key cannot be in the table.
    pub unfit: u64,
    /// The number of times that the copy was dropped and read again since the host started.
    pub wiped: u64,
    /// The reason why it is not followed now, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

impl Table {
    /// Creates the table of a topic, without content.
    #[must_use]
    pub fn new(topic: Topic, keys: TableKeys) -> Self {
        Self { topic, keys, content: RwLock::default(), progress: Mutex::default() }
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// The part of a record's key by which the table finds the entry.
    #[must_use]
    pub fn keys(&self) -> TableKeys {
        self.keys
    }

    pub(super) fn identity(&self) -> (Topic, TableKeys) {
        (self.topic.clone(), self.keys)
    }

    /// The state for an operator.
    #[must_use]
    pub fn status(&self) -> TableStatus {
        let Known { applied, unfit, lag, wiped, partitions, asked, fault } = lock(&self.progress).status.clone();
        TableStatus {
            topic: self.topic.to_string(),
            ready: self.is_ready(),
            lag,
            asked: asked.map(|at| at.0),
            partitions,
            applied,
            unfit,
            wiped,
            fault: fault.map(|fault| fault.why),
        }
    }

    /// Returns true if handlers can read it.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.content().is_some()
    }

    fn content(&self) -> RwLockReadGuard<'_, Option<Arc<dyn StateStore>>> {
        self.content.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the tree that handlers read. While it is `None`, they wait. When this returns, no handler reads the old
    /// tree.
    pub(super) fn show(&self, tree: Option<Arc<dyn StateStore>>) {
        *self.content.write().unwrap_or_else(PoisonError::into_inner) = tree;
    }

    pub(super) fn applied(&self, applied: Applied) {
        let status = &mut lock(&self.progress).status;
        status.applied += applied.records;
        status.unfit += applied.unfit;
    }

    pub(super) fn wiped(&self) {
        lock(&self.progress).status.wiped += 1;
    }

    /// Records how far the table is behind the log.
    pub(super) fn lags(&self, lag: u64, partitions: usize, now: Timestamp) {
        let status = &mut lock(&self.progress).status;
        (status.lag, status.partitions, status.asked) = (lag, partitions, Some(now));
    }

    /// Records the reason why the table is not followed now. Returns the time since when it is not.
    pub(super) fn fails(&self, why: String, of_disk: bool, now: Timestamp) -> Timestamp {
        let fault = &mut lock(&self.progress).status.fault;
        let since = fault.as_ref().map_or(now, |fault| fault.since);
        *fault = Some(Fault { why, since, of_disk });
        since
    }

    /// Records that the table is followed. Returns true if it was not.
    pub(super) fn works(&self) -> bool {
        lock(&self.progress).status.fault.take().is_some()
    }

    /// Runs `work`, which uses the disk.
    pub(super) fn busy<T>(&self, work: impl FnOnce() -> T) -> T {
        lock(&self.progress).busy = Some(Instant::now());
        let done = work();
        lock(&self.progress).busy = None;
        done
    }

    pub(super) fn is_busy_for(&self, time: Duration) -> bool {
        lock(&self.progress).busy.is_some_and(|since| since.elapsed() >= time)
    }

    /// The reason why its copy cannot be written, if there is one.
    pub(super) fn disk_fault(&self, slow: Duration) -> Option<String> {
        if self.is_busy_for(slow) {
            return Some(format!("the disk is slow: a write of the table of `{}` has not ended", self.topic));
        }
        lock(&self.progress).status.fault.as_ref().filter(|fault| fault.of_disk).map(|fault| fault.why.clone())
    }

    fn read<T>(&self, read: impl FnOnce(&dyn StateStore) -> Result<T, TaskFault>) -> Result<T, TaskFault> {
        match &*self.content() {
            Some(tree) => read(&**tree),
            None => Err(TaskFault(format!("the table of `{}` cannot be read now: {}", self.topic, self.why()))),
        }
    }

    /// The reason why it cannot be read.
    fn why(&self) -> String {
        let Known { lag, fault, asked, .. } = lock(&self.progress).status.clone();
        match (fault, asked) {
            (Some(fault), _) => fault.why,
            (None, Some(_)) => format!("{lag} records of its topic are still to be read"),
            (None, None) => "its topic is about to be read".to_owned(),
        }
    }
}

impl GlobalTable for Table {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, TaskFault> {
        self.read(|tree| Ok(tree.get(&data_key(key))?))
    }

    fn scan(&self, range: &Range<'_>, limit: usize) -> Result<Vec<Entry>, TaskFault> {
        let (start, prefix) = (range.start().map(data_key), data_key(range.prefix));
        self.read(|tree| {
            let found = tree.scan(start.as_ref().map(|key| &key[..]), &prefix, limit)?;
            Ok(found.into_iter().map(|(key, value)| (key.slice(1..), value)).collect())
        })
    }

    fn waits_for(&self) -> Option<String> {
        (!self.is_ready()).then(|| format!("the table of `{}`: {}", self.topic, self.why()))
    }
}
