//! What a component did so far, as the live line and the end of a run tell it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use heddle_contract::wire::SchemaId;
use heddle_core::batch::Counts;
use heddle_core::breaker::BreakerState;
use heddle_core::delivery::ComponentName;
use heddle_core::event::{Offset, Timestamp, TopicPartition};

use crate::lock::lock;

/// Counts of one component in this process, over all its workers. Only what was committed counts.
#[derive(Debug)]
pub struct Progress(Mutex<State>);

#[derive(Debug)]
struct State {
    now: Snapshot,
    assigned: bool,
    /// Since when there are no tasks.
    unassigned: Instant,
    /// Why there are none, or why they do not go on.
    hindrance: Option<Hindrance>,
    /// Why no worker runs.
    stopped: Option<String>,
    last_active: Instant,
    draining: Option<Draining>,
    /// Records set aside because they do not decode, by the schema that wrote their value.
    undecodable: BTreeMap<SchemaId, u64>,
    /// The tasks that stand still, by the partition of the record that they stand at.
    stalls: BTreeMap<TopicPartition, Stall>,
    /// Offsets that were deleted before they were read.
    lost: BTreeMap<TopicPartition, u64>,
}

/// A task that stands still: the log takes nothing that its next record could lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stall {
    /// Where the record is.
    pub source: TopicPartition,
    /// Its offset there.
    pub offset: Offset,
    /// Since when.
    pub since: Timestamp,
    /// How often it was tried.
    pub tries: u32,
    /// What the record failed with, and what the log says.
    pub why: String,
}

/// What keeps a component from its work, and goes on by itself once somebody has seen to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hindrance {
    /// Since when.
    pub since: Timestamp,
    /// What it is.
    pub why: String,
}

/// The most schemas whose records are counted one by one. A stream of garbage names many.
const UNDECODABLE_MAX: usize = 100;

/// Records that waited get through again.
#[derive(Debug)]
struct Draining {
    since: Instant,
    again: u64,
}

/// One moment of [`Progress`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Records, transaction by transaction: see [`Counts`].
    pub counts: Counts,
    /// Records that wait for another attempt in this process: in the state of its tasks, and read from retry topics.
    pub waiting: u64,
    /// What the breaker is at.
    pub breaker: BreakerState,
    /// Records of changelogs read to bring copies of state up to date.
    pub restored: u64,
    /// Offsets of changelogs still to be read before all tasks are ready.
    pub restoring: u64,
    /// Transactions.
    pub commits: u64,
    /// Transactions that were aborted and done again.
    pub aborts: u64,
    /// How long the last commit took, until its worker saw that it was through.
    pub last_commit: Duration,
}

impl State {
    fn hinder(&mut self, why: String) {
        let since = self.hindrance.take().map_or_else(crate::log::now, |before| before.since);
        self.hindrance = Some(Hindrance { since, why });
    }

    /// Tells how long it took once no record waits any more. That may be known before its transaction is committed, or after.
    fn tell_drained(&mut self, component: &ComponentName) {
        if self.now.waiting == 0
            && let Some(Draining { since, again }) = self.draining.take()
        {
            let took = since.elapsed();
            tracing::info!(%component, again, ?took, "no record waits any more, counted from the first that got through");
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        let (now, last_active) = (Snapshot::default(), Instant::now());
        Self(Mutex::new(State {
            now,
            assigned: false,
            unassigned: last_active,
            hindrance: None,
            stopped: None,
            last_active,
            draining: None,
            undecodable: BTreeMap::new(),
            stalls: BTreeMap::new(),
            lost: BTreeMap::new(),
        }))
    }
}

impl Progress {
    /// Notes a commit and how long it took.
    pub(super) fn committed(&self, batch: Counts, took: Duration, component: &ComponentName) {
        let mut state = lock(&self.0);
        state.now.counts += batch;
        state.now.commits += 1;
        state.now.last_commit = took;
        state.last_active = Instant::now();
        if batch.again > 0 && batch.handled > 0 {
            state.draining.get_or_insert_with(|| Draining { since: Instant::now(), again: 0 });
        }
        if let Some(draining) = &mut state.draining {
            draining.again += batch.again;
        }
        state.tell_drained(component);
    }

    /// Notes that a worker has `now` records that wait where it had `before`.
    pub(super) fn waiting(&self, before: u64, now: u64, component: &ComponentName) {
        if before == 0 && now == 0 {
            return;
        }
        let mut state = lock(&self.0);
        state.now.waiting = (state.now.waiting + now).saturating_sub(before);
        state.last_active = Instant::now();
        state.tell_drained(component);
    }

    /// Notes that a record which `schema` wrote was set aside because it does not decode: `why`. A person is told once a schema.
    pub(super) fn undecodable(&self, schema: SchemaId, component: &ComponentName, why: &str) {
        let mut state = lock(&self.0);
        if let Some(count) = state.undecodable.get_mut(&schema) {
            *count += 1;
        } else if state.undecodable.len() < UNDECODABLE_MAX {
            state.undecodable.insert(schema, 1);
            drop(state);
            tracing::warn!(target: "heddle::alert", %component, schema = schema.0, "records of this schema cannot be decoded and are set aside as dead letters; the others go on: {why}");
        }
    }

    /// How many records were set aside because they do not decode, by the schema that wrote them: of the first schemas that did so.
    #[must_use]
    pub fn undecodable_by_schema(&self) -> Vec<(SchemaId, u64)> {
        lock(&self.0).undecodable.iter().map(|(schema, count)| (*schema, *count)).collect()
    }

    /// Notes that a transaction was aborted.
    pub(super) fn aborted(&self) {
        lock(&self.0).now.aborts += 1;
    }

    /// Notes that a task stands still.
    pub(super) fn stalled(&self, stall: &Stall) {
        lock(&self.0).stalls.insert(stall.source.clone(), stall.clone());
    }

    /// Notes that it does not any more, or not here.
    pub(super) fn goes_on(&self, source: &TopicPartition) {
        lock(&self.0).stalls.remove(source);
    }

    /// The tasks that stand still.
    #[must_use]
    pub fn stalls(&self) -> Vec<Stall> {
        lock(&self.0).stalls.values().cloned().collect()
    }

    /// Notes that so many offsets of a partition were deleted before they were read.
    pub(super) fn lost(&self, source: &TopicPartition, offsets: u64) {
        *lock(&self.0).lost.entry(source.clone()).or_default() += offsets;
    }

    /// How many offsets were deleted before they were read, by partition: of those where it happened since this process started.
    #[must_use]
    pub fn lost_by_partition(&self) -> BTreeMap<TopicPartition, u64> {
        lock(&self.0).lost.clone()
    }

    /// Notes what the breaker is at.
    pub(super) fn breaker(&self, breaker: BreakerState) {
        lock(&self.0).now.breaker = breaker;
    }

    /// Notes that `records` of changelogs were read, and that a worker has `now` offsets of them left where it had `before`.
    pub(super) fn restored(&self, records: u64, before: u64, now: u64) {
        let mut state = lock(&self.0);
        state.now.restored += records;
        state.now.restoring = (state.now.restoring + now).saturating_sub(before);
    }

    /// Notes that partitions were assigned.
    pub(super) fn assigned(&self) {
        let mut state = lock(&self.0);
        state.assigned = true;
        state.hindrance = None;
        state.last_active = Instant::now();
    }

    /// Notes that a worker gave its partitions up, why, and joins again.
    pub(super) fn rejoining(&self, why: String) {
        let mut state = lock(&self.0);
        if state.assigned {
            state.unassigned = Instant::now();
        }
        state.assigned = false;
        state.last_active = Instant::now();
        state.hinder(why);
    }

    /// Notes what keeps the component from its work.
    pub(super) fn hindered(&self, why: String) {
        lock(&self.0).hinder(why);
    }

    /// Notes that nothing keeps the component from its work any more.
    pub(super) fn eased(&self) {
        let mut state = lock(&self.0);
        state.hindrance = None;
        state.last_active = Instant::now();
    }

    /// What keeps the component from its work, if something does.
    #[must_use]
    pub fn hindrance(&self) -> Option<Hindrance> {
        lock(&self.0).hindrance.clone()
    }

    /// For how long the component has had no tasks, if it has none.
    pub(super) fn unassigned_for(&self) -> Option<Duration> {
        let state = lock(&self.0);
        (!state.assigned).then(|| state.unassigned.elapsed())
    }

    /// Whether the group has assigned partitions to every worker that asked for some, be it none.
    #[must_use]
    pub fn is_assigned(&self) -> bool {
        lock(&self.0).assigned
    }

    /// Notes why no worker of the component runs; `None`: they may.
    pub(super) fn stop(&self, why: Option<String>) {
        lock(&self.0).stopped = why;
    }

    /// Why no worker of the component runs: somebody has to do something about it.
    #[must_use]
    pub fn stopped(&self) -> Option<String> {
        lock(&self.0).stopped.clone()
    }

    /// Notes that something is going on.
    pub(super) fn active(&self) {
        lock(&self.0).last_active = Instant::now();
    }

    /// Whether the component has partitions, and nothing went on for as long as this. One that is stopped has nothing to do.
    #[must_use]
    pub fn idle_for(&self, time: Duration) -> bool {
        let state = lock(&self.0);
        // What an open breaker holds back is still to be done.
        let held_back = matches!(state.now.breaker, BreakerState::Open | BreakerState::HalfOpen);
        let held_back = held_back || state.hindrance.is_some();
        state.stopped.is_some() || (state.assigned && !held_back && state.last_active.elapsed() >= time)
    }

    /// The counts now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        lock(&self.0).now
    }
}
