//! What a component did so far, as the live line and the end of a run tell it.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use heddle_core::batch::CommittedBatch;

use crate::lock::lock;

/// Counts of one component in this process, over all its workers. Only what was committed counts.
#[derive(Debug)]
pub struct Progress(Mutex<State>);

#[derive(Debug)]
struct State {
    counts: Snapshot,
    assigned: bool,
    last_active: Instant,
}

/// One moment of [`Progress`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Records taken from the input.
    pub records: u64,
    /// Records emitted.
    pub emitted: u64,
    /// Records set aside.
    pub dead_lettered: u64,
    /// Records skipped because their message was handled already.
    pub duplicates: u64,
    /// Records of changelogs read to bring copies of state up to date.
    pub restored: u64,
    /// Offsets of changelogs still to be read before all tasks are ready.
    pub restoring: u64,
    /// Transactions.
    pub commits: u64,
    /// How long the last commit took.
    pub last_commit: Duration,
}

impl Default for Progress {
    fn default() -> Self {
        Self(Mutex::new(State { counts: Snapshot::default(), assigned: false, last_active: Instant::now() }))
    }
}

impl Progress {
    /// Notes a commit and how long it took.
    pub(super) fn committed(&self, batch: &CommittedBatch, took: Duration) {
        let batch = batch.counts();
        let mut state = lock(&self.0);
        state.counts.records += batch.records;
        state.counts.emitted += batch.emitted;
        state.counts.dead_lettered += batch.dead_lettered;
        state.counts.duplicates += batch.duplicates;
        state.counts.commits += 1;
        state.counts.last_commit = took;
        state.last_active = Instant::now();
    }

    /// Notes that `records` of changelogs were read, and that a worker has `now` offsets of them left where it had `before`.
    pub(super) fn restored(&self, records: u64, before: u64, now: u64) {
        let mut state = lock(&self.0);
        state.counts.restored += records;
        state.counts.restoring = (state.counts.restoring + now).saturating_sub(before);
    }

    /// Notes that partitions were assigned.
    pub(super) fn assigned(&self) {
        let mut state = lock(&self.0);
        state.assigned = true;
        state.last_active = Instant::now();
    }

    /// Notes that something is going on.
    pub(super) fn active(&self) {
        lock(&self.0).last_active = Instant::now();
    }

    /// Whether the component has partitions, and nothing went on for as long as this.
    #[must_use]
    pub fn idle_for(&self, time: Duration) -> bool {
        let state = lock(&self.0);
        state.assigned && state.last_active.elapsed() >= time
    }

    /// The counts now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        lock(&self.0).counts
    }
}
