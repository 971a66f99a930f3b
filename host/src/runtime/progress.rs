//! What a component did so far, as the live line and the end of a run tell it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use heddle_contract::wire::SchemaId;
use heddle_core::batch::Counts;
use heddle_core::breaker::BreakerState;
use heddle_core::delivery::ComponentName;
use heddle_core::event::{Offset, Timestamp, TopicPartition};
use heddle_core::explain::Explained;

use super::reporter::InHand;
use super::stall::{Cause, CurrentRecord, LastFault, Stall};
use crate::lock::lock;
use crate::log;

/// How long a component may be without tasks, as at a start or while the group shares out anew, before that is a stall.
const UNASSIGNED_MAX: Duration = Duration::from_secs(5);

/// Counts of one component in this process, over all its workers. Only what was committed counts.
#[derive(Debug)]
pub struct Progress(Mutex<State>);

#[derive(Debug)]
struct State {
    now: Snapshot,
    assigned: bool,
    /// Since when no partitions are assigned, and why: why a worker gave up those it had, or what the brokers say.
    unassigned: (Timestamp, Option<Explained>),
    /// Why no worker runs, and since when.
    stopped: Option<(Explained, Timestamp)>,
    /// Since when the breaker is at what it is.
    breaker_since: Timestamp,
    last_active: Instant,
    draining: Option<Draining>,
    /// Records set aside because they do not decode, by the schema that wrote their value.
    undecodable: BTreeMap<SchemaId, u64>,
    /// What tasks wait for.
    stalls: BTreeMap<StallKey, Stall>,
    /// The partitions of the tasks that workers of this process have.
    partitions: BTreeSet<TopicPartition>,
    /// The records that workers have in hand.
    in_hand: Vec<Arc<InHand>>,
    /// The last failure in each of the partitions.
    faults: BTreeMap<TopicPartition, LastFault>,
    /// When the next record that waits in each of them is due.
    next_tries: BTreeMap<TopicPartition, Timestamp>,
    /// Offsets that were deleted before they were read.
    lost: BTreeMap<TopicPartition, u64>,
}

/// Tells stalls apart: a record may wait for one thing after the other.
type StallKey = (Option<(TopicPartition, Offset)>, Cause);

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

fn since(moment: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(log::now().0 - moment.0).unwrap_or(0))
}

impl State {
    /// What the component as a whole waits for.
    fn of_component(&self) -> Option<Stall> {
        let stall = |cause, since, why| Stall { cause, at: None, since, tries: 0, next_try: None, why };
        if let Some((why, since)) = &self.stopped {
            return Some(stall(Cause::Topics, *since, why.clone()));
        }
        if matches!(self.now.breaker, BreakerState::Open | BreakerState::Stopped) {
            return Some(stall(Cause::Breaker, self.breaker_since, Explained::new("too many deliveries fail")));
        }
        let (began, why) = &self.unassigned;
        let lasts = why.is_some() || since(*began) >= UNASSIGNED_MAX;
        let why = || why.clone().unwrap_or_else(|| Explained::new("the group has assigned no tasks yet"));
        (!self.assigned && lasts).then(|| stall(Cause::Coordinator, *began, why()))
    }

    /// Tells how long it took once no record waits any more. That may be known before its transaction is committed, or
    /// after.
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
            unassigned: (log::now(), None),
            stopped: None,
            breaker_since: log::now(),
            last_active,
            draining: None,
            undecodable: BTreeMap::new(),
            stalls: BTreeMap::new(),
            partitions: BTreeSet::new(),
            in_hand: vec![],
            faults: BTreeMap::new(),
            next_tries: BTreeMap::new(),
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

    /// Notes that a record which `schema` wrote was set aside because it does not decode: `why`. A person is told once
    /// a schema.
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

    /// How many records were set aside because they do not decode, by the schema that wrote them: of the first schemas
    /// that did so.
    #[must_use]
    pub fn undecodable_by_schema(&self) -> Vec<(SchemaId, u64)> {
        lock(&self.0).undecodable.iter().map(|(schema, count)| (*schema, *count)).collect()
    }

    /// Notes that a transaction was aborted.
    pub(super) fn aborted(&self) {
        lock(&self.0).now.aborts += 1;
    }

    /// Notes that a task waits for something.
    pub fn stalled(&self, stall: Stall) {
        lock(&self.0).stalls.insert((stall.at.clone(), stall.cause), stall);
    }

    /// Notes that it does not any more, or not here.
    pub fn goes_on(&self, stall: &Stall) {
        lock(&self.0).stalls.remove(&(stall.at.clone(), stall.cause));
    }

    /// What tasks, or the component as a whole, wait for: the one that waits for longest first.
    #[must_use]
    pub fn stalls(&self) -> Vec<Stall> {
        let state = lock(&self.0);
        let mut stalls = state.stalls.values().cloned().chain(state.of_component()).collect::<Vec<_>>();
        stalls.sort_by_key(|stall| stall.since);
        stalls
    }

    /// Notes whose record in hand is asked for.
    pub(super) fn enter(&self, hand: Arc<InHand>) {
        lock(&self.0).in_hand.push(hand);
    }

    /// Notes that it is not any more.
    pub(super) fn leave(&self, hand: &Arc<InHand>) {
        lock(&self.0).in_hand.retain(|other| !Arc::ptr_eq(other, hand));
    }

    /// Notes that a worker of this process has these partitions.
    pub(super) fn owns(&self, partitions: &[TopicPartition]) {
        lock(&self.0).partitions.extend(partitions.iter().cloned());
    }

    /// Notes that it has not any more.
    pub(super) fn disowns(&self, partitions: &[TopicPartition]) {
        let mut state = lock(&self.0);
        for source in partitions {
            state.partitions.remove(source);
            state.faults.remove(source);
        }
    }

    /// The partitions of the tasks that this process has.
    #[must_use]
    pub fn partitions(&self) -> Vec<TopicPartition> {
        lock(&self.0).partitions.iter().cloned().collect()
    }

    /// Notes a delivery that failed.
    pub(super) fn failed(&self, source: &TopicPartition, fault: LastFault) {
        lock(&self.0).faults.insert(source.clone(), fault);
    }

    /// The last failure in a partition since it came to this process.
    #[must_use]
    pub fn last_fault(&self, source: &TopicPartition) -> Option<LastFault> {
        lock(&self.0).faults.get(source).cloned()
    }

    /// Notes when the records that wait with a worker are due, and were.
    pub(super) fn next_tries(
        &self,
        before: &BTreeMap<TopicPartition, Timestamp>,
        now: &BTreeMap<TopicPartition, Timestamp>,
    ) {
        let mut state = lock(&self.0);
        state.next_tries.retain(|source, _| !before.contains_key(source));
        state.next_tries.extend(now.iter().map(|(source, at)| (source.clone(), *at)));
    }

    /// When the next record that waits in a partition is due.
    #[must_use]
    pub fn next_try(&self, source: &TopicPartition) -> Option<Timestamp> {
        lock(&self.0).next_tries.get(source).copied()
    }

    /// The record of a partition that is handled at this moment.
    #[must_use]
    pub fn in_hand(&self, source: &TopicPartition) -> Option<CurrentRecord> {
        let hands = lock(&self.0).in_hand.clone();
        hands.iter().find_map(|hand| hand.of(source))
    }

    /// Notes that so many offsets of a partition were deleted before they were read.
    pub(super) fn lost(&self, source: &TopicPartition, offsets: u64) {
        *lock(&self.0).lost.entry(source.clone()).or_default() += offsets;
    }

    /// How many offsets were deleted before they were read, by partition: of those where it happened since this process
    /// started.
    #[must_use]
    pub fn lost_by_partition(&self) -> BTreeMap<TopicPartition, u64> {
        lock(&self.0).lost.clone()
    }

    /// Notes what the breaker is at.
    pub(super) fn breaker(&self, breaker: BreakerState) {
        let mut state = lock(&self.0);
        if state.now.breaker != breaker {
            state.breaker_since = log::now();
        }
        state.now.breaker = breaker;
    }

    /// Notes that `records` of changelogs were read, and that a worker has `now` offsets of them left where it had
    /// `before`.
    pub(super) fn restored(&self, records: u64, before: u64, now: u64) {
        let mut state = lock(&self.0);
        state.now.restored += records;
        state.now.restoring = (state.now.restoring + now).saturating_sub(before);
    }

    /// Notes that partitions were assigned.
    pub(super) fn assigned(&self) {
        let mut state = lock(&self.0);
        state.assigned = true;
        state.unassigned.1 = None;
        state.last_active = Instant::now();
    }

    /// Notes that a worker gave its partitions up and joins again: `why`.
    pub(super) fn rejoining(&self, why: Explained) {
        let mut state = lock(&self.0);
        if std::mem::take(&mut state.assigned) {
            state.unassigned.0 = log::now();
        }
        state.unassigned.1 = Some(why);
        state.last_active = Instant::now();
    }

    /// Notes why no tasks are assigned, unless that is known.
    pub(super) fn unassigned_because(&self, why: Explained) {
        lock(&self.0).unassigned.1.get_or_insert(why);
    }

    /// For how long the component has had no tasks, if nobody knows why.
    pub(super) fn unassigned_for_no_reason(&self) -> Option<Duration> {
        let state = lock(&self.0);
        let unassigned = !state.assigned && state.stopped.is_none() && state.unassigned.1.is_none();
        unassigned.then(|| since(state.unassigned.0))
    }

    /// Whether the group has assigned partitions to every worker that asked for some, be it none.
    #[must_use]
    pub fn is_assigned(&self) -> bool {
        lock(&self.0).assigned
    }

    /// Notes why no worker of the component runs; `None`: they may.
    pub(super) fn stop(&self, why: Option<Explained>) {
        lock(&self.0).stopped = why.map(|why| (why, log::now()));
    }

    /// Why no worker of the component runs: somebody has to do something about it.
    #[must_use]
    pub fn stopped(&self) -> Option<Explained> {
        lock(&self.0).stopped.as_ref().map(|(why, _)| why.clone())
    }

    /// Notes that something is going on.
    pub(super) fn active(&self) {
        lock(&self.0).last_active = Instant::now();
    }

    /// Whether the component has partitions, and nothing went on for as long as this. One that is stopped has nothing
    /// to do.
    #[must_use]
    pub fn idle_for(&self, time: Duration) -> bool {
        let state = lock(&self.0);
        // What an open breaker holds back is still to be done.
        let held_back = matches!(state.now.breaker, BreakerState::Open | BreakerState::HalfOpen);
        let held_back = held_back || state.stalls.keys().any(|(_, cause)| *cause == Cause::Disk);
        state.stopped.is_some() || (state.assigned && !held_back && state.last_active.elapsed() >= time)
    }

    /// The counts now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        lock(&self.0).now
    }
}
