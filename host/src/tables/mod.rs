//! Global tables: a host's complete copies of compacted topics, for all of its components and workers.
//!
//! ```text
//!  topic, all partitions ──Follower, one thread per table──> Copy, a tree on disk ──Table──> handlers, queries
//!                                                            └─ and the read position of each partition
//! ```
//!
//! - `table`: the view of handlers and operators.
//! - `follower`: reads the topic and keeps the copy up to date.
//! - `copy`: the copy on disk and its watermark.
//! - `engine`: the engine of all copies, which is opened again after a disk failure.
//!
//! A table can be read once it has everything that its topic had committed when the host began to read it. From then on
//! it is followed. A fault of one table (its topic is deleted, recreated, trimmed) does not affect other tables.

mod copy;
mod engine;
mod follower;
mod table;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use heddle_core::event::Topic;
use heddle_core::explain::Explained;
use heddle_core::tables::TableKeys;

pub use engine::TableEngine;
pub use follower::{FollowFault, Follower};
pub use table::{Table, TableStatus};

use crate::lock::lock;
use crate::log::{self, Log};
use crate::state::{StateEngine, StateError};

/// The maximum wait of a stopping host for its followers' last writes.
const END_WAIT: Duration = Duration::from_secs(5);
/// The interval at which a stopping host checks if they have ended.
const END_LOOK: Duration = Duration::from_millis(5);
/// The pause of a follower after a failure.
const RETRY_WAIT: Duration = Duration::from_secs(1);
/// The interval at which a waiting follower checks if it has to end.
const STOP_LOOK: Duration = Duration::from_millis(50);
/// The duration from which a call of the engine counts as slow.
const SLOW: Duration = Duration::from_secs(5);

/// The identity of a table. Two components with different types of keys have separate copies.
type Identity = (Topic, TableKeys);

/// The global tables of a host. Clones are cheap. There is one per process, because the engine's folder has one owner.
pub struct Tables {
    log: Arc<dyn Log>,
    engine: Arc<TableEngine>,
    followed: Arc<Mutex<BTreeMap<Identity, Followed>>>,
    stop: Arc<AtomicBool>,
}

struct Followed {
    table: Weak<Table>,
    thread: JoinHandle<()>,
}

impl Tables {
    /// Creates the tables of a host, none at first. `open` opens the engine of their copies, for the first table and
    /// after a failure.
    pub fn new(
        log: Arc<dyn Log>,
        open: impl Fn() -> Result<Arc<dyn StateEngine>, StateError> + Send + Sync + 'static,
    ) -> Self {
        let engine = Arc::new(TableEngine::new(open));
        Self { log, engine, followed: Arc::default(), stop: Arc::default() }
    }

    /// The table of `topic`. It is followed as long as anything uses it.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub fn follow(&self, topic: &Topic, keys: TableKeys) -> std::io::Result<Arc<Table>> {
        let mut followed = lock(&self.followed);
        let identity = (topic.clone(), keys);
        if let Some(table) = followed.get(&identity).and_then(|followed| followed.table.upgrade()) {
            return Ok(table);
        }
        let table = Arc::new(Table::new(topic.clone(), keys));
        let follower = Follower::new(self.log.clone(), self.engine.clone(), table.clone());
        let (all, stop) = (self.followed.clone(), self.stop.clone());
        let thread = thread::Builder::new().name(format!("table-{topic}"));
        let thread = thread.spawn(move || run(follower, &all, &stop))?;
        followed.insert(identity, Followed { table: Arc::downgrade(&table), thread });
        Ok(table)
    }

    /// All tables that are followed now.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Table>> {
        lock(&self.followed).values().filter_map(|followed| followed.table.upgrade()).collect()
    }

    /// The size of the copies on disk, in bytes; `None` if there are none.
    #[must_use]
    pub fn size_bytes(&self) -> Option<u64> {
        self.engine.opened()?.size_bytes().ok()
    }

    /// The reason why copies cannot be written now, if there is one.
    #[must_use]
    pub fn fault(&self) -> Option<Explained> {
        self.all().iter().find_map(|table| table.disk_fault(SLOW)).map(Explained::new)
    }

    /// Wakes calls that sleep forever after a disk failure. Call it about once a second.
    pub fn mend(&self) {
        if self.all().iter().any(|table| table.is_busy_for(SLOW))
            && let Some(engine) = self.engine.opened()
        {
            engine.wake();
        }
    }

    /// Ends all followers after their last writes. Followers whose disk does not answer are abandoned.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        let until = Instant::now() + END_WAIT;
        let ended = || lock(&self.followed).values().all(|followed| followed.thread.is_finished());
        while !ended() && Instant::now() < until {
            thread::sleep(END_LOOK);
        }
    }
}

/// Follows one table until the host stops, or until nothing uses the table any more.
fn run(mut follower: Follower, all: &Mutex<BTreeMap<Identity, Followed>>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        if follower.is_alone() {
            let mut all = lock(all);
            // No new user can appear from here on.
            if follower.is_alone() {
                all.remove(&follower.table().identity());
                break;
            }
        }
        if follower.turn(log::now()).is_err() {
            let until = Instant::now() + RETRY_WAIT;
            while !stop.load(Ordering::Relaxed) && Instant::now() < until {
                thread::sleep(STOP_LOOK);
            }
        }
    }
    follower.end(log::now());
}
