//! What a component did so far, as the live line and the end of a run tell it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use heddle_core::batch::CommittedBatch;

/// Counts of one component in this process, over all its workers. Only what was committed counts.
#[derive(Debug)]
pub struct Progress {
    records: AtomicU64,
    emitted: AtomicU64,
    dead_lettered: AtomicU64,
    commits: AtomicU64,
    commit_micros: AtomicU64,
    assigned: AtomicBool,
    last_active: Mutex<Instant>,
}

/// One moment of [`Progress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Records taken from the input.
    pub records: u64,
    /// Records emitted.
    pub emitted: u64,
    /// Records set aside.
    pub dead_lettered: u64,
    /// Transactions.
    pub commits: u64,
    /// How long the last commit took.
    pub last_commit: Duration,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            records: AtomicU64::new(0),
            emitted: AtomicU64::new(0),
            dead_lettered: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            commit_micros: AtomicU64::new(0),
            assigned: AtomicBool::new(false),
            last_active: Mutex::new(Instant::now()),
        }
    }
}

impl Progress {
    /// Notes a commit and how long it took.
    pub(super) fn committed(&self, batch: &CommittedBatch, took: Duration) {
        let counts = batch.counts();
        self.records.fetch_add(counts.records, Ordering::Relaxed);
        self.emitted.fetch_add(counts.emitted, Ordering::Relaxed);
        self.dead_lettered.fetch_add(counts.dead_lettered, Ordering::Relaxed);
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.commit_micros.store(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.active();
    }

    /// Notes that partitions were assigned.
    pub(super) fn assigned(&self) {
        self.active();
        self.assigned.store(true, Ordering::Relaxed);
    }

    /// Notes that something is going on.
    pub(super) fn active(&self) {
        *self.last_active.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Whether the component has partitions, and nothing went on for as long as this.
    #[must_use]
    pub fn idle_for(&self, time: Duration) -> bool {
        let last = *self.last_active.lock().unwrap_or_else(PoisonError::into_inner);
        self.assigned.load(Ordering::Relaxed) && last.elapsed() >= time
    }

    /// The counts now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            records: self.records.load(Ordering::Relaxed),
            emitted: self.emitted.load(Ordering::Relaxed),
            dead_lettered: self.dead_lettered.load(Ordering::Relaxed),
            commits: self.commits.load(Ordering::Relaxed),
            last_commit: Duration::from_micros(self.commit_micros.load(Ordering::Relaxed)),
        }
    }
}
