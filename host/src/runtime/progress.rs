//! The progress of a component, for the live line and for the summary at the end of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use heddle_contract::wire::SchemaId;
use heddle_core::batch::Counts;
use heddle_core::breaker::BreakerState;
use heddle_core::event::{Offset, Timestamp, TopicPartition};
use heddle_core::explain::Explained;

use super::reporter::{InHand, WorkerState};
use super::stall::{Cause, CurrentRecord, LastFault, Stall};
use crate::lock::lock;
use crate::log;
use crate::telemetry::{Event, ParkedDrained, SchemaUndecodable, Telemetry};

/// The time without tasks after which a component has stalled. Startup and rebalances leave it without tasks, too.
const UNASSIGNED_MAX: Duration = Duration::from_secs(5);

/// The counts and stalls of one component, over all its workers in this process. Only committed records count.
pub struct Progress {
    telemetry: Telemetry,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    now: Snapshot,
    assigned: bool,
    /// The time since which no partitions are assigned, and the reason: a worker gave them up, or the brokers report a
    /// fault.
    unassigned: (Timestamp, Option<Explained>),
    /// The reason why no worker runs, and the time since then.
    stopped: Option<(Explained, Timestamp)>,
    /// The time of the breaker's last change of state.
    breaker_since: Timestamp,
    last_active: Instant,
    draining: Option<Draining>,
    /// Records that were dead-lettered because they cannot be decoded, by the schema that wrote their value.
    undecodable: BTreeMap<SchemaId, u64>,
    /// The current stalls of tasks.
    stalls: BTreeMap<StallKey, Stall>,
    /// The partitions of all tasks in this process.
    partitions: BTreeSet<TopicPartition>,
    /// The records that workers are handling.
    in_hand: Vec<Arc<InHand>>,
    /// The last failure in each partition.
    faults: BTreeMap<TopicPartition, LastFault>,
    /// The due time of the next parked record in each partition.
    next_tries: BTreeMap<TopicPartition, Timestamp>,
    /// The number of offsets that were deleted before they were read.
    lost: BTreeMap<TopicPartition, u64>,
}

/// The identity of a stall. A record may stall for several causes, one after the other.
type StallKey = (Option<(TopicPartition, Offset)>, Cause);

/// The maximum number of schemas whose records are counted separately. A stream of garbage may name any number of
/// schemas.
const UNDECODABLE_MAX: usize = 100;

/// Parked records that succeed after a period of failures.
#[derive(Debug)]
struct Draining {
    since: Instant,
    again: u64,
}

/// A moment of [`Progress`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Records in committed transactions; see [`Counts`].
    pub counts: Counts,
    /// Parked records in this process: in the state of its tasks, and read from retry topics.
    pub waiting: u64,
    /// The state of the breaker.
    pub breaker: BreakerState,
    /// Changelog records that were read to restore state.
    pub restored: u64,
    /// Changelog offsets that are left to read before all tasks are ready.
    pub restoring: u64,
    /// Committed transactions.
    pub commits: u64,
    /// Aborted transactions. Their records are processed again.
    pub aborts: u64,
    /// The duration of the last commit, as its worker saw it.
    pub last_commit: Duration,
}

fn since(moment: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(log::now().0 - moment.0).unwrap_or(0))
}

impl State {
    /// The stall of the whole component, if there is one.
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

    /// Logs the time that it took to drain the parked records, once none is left. Their transaction may be committed
    /// before or after the last one is removed.
    fn report_drained(&mut self, telemetry: &Telemetry) {
        if self.now.waiting == 0
            && let Some(Draining { since, again }) = self.draining.take()
        {
            telemetry.report(ParkedDrained { again, took: since.elapsed() });
        }
    }
}

impl Progress {
    /// Creates the progress of a component that has just started.
    #[must_use]
    pub fn new(telemetry: Telemetry) -> Self {
        let (now, last_active) = (Snapshot::default(), Instant::now());
        let state = Mutex::new(State {
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
        });
        Self { telemetry, state }
    }

    /// The telemetry of the component.
    #[must_use]
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Reports an event of the component.
    pub(super) fn report<'e>(&self, event: impl Into<Event<'e>>) {
        self.telemetry.report(event);
    }

    /// Records a commit and its duration.
    pub(super) fn committed(&self, batch: Counts, took: Duration) {
        let mut state = lock(&self.state);
        state.now.counts += batch;
        state.now.commits += 1;
        state.now.last_commit = took;
        state.last_active = Instant::now();
        // If more parked records were processed than records failed, one of them succeeded.
        if batch.again > batch.retried + batch.dead_lettered && batch.handled > 0 {
            state.draining.get_or_insert_with(|| Draining { since: Instant::now(), again: 0 });
        }
        if let Some(draining) = &mut state.draining {
            draining.again += batch.again;
        }
        state.report_drained(&self.telemetry);
    }

    /// Records that a worker has `now` parked records, after `before`.
    pub(super) fn waiting(&self, before: u64, now: u64) {
        if before == 0 && now == 0 {
            return;
        }
        let mut state = lock(&self.state);
        state.now.waiting = (state.now.waiting + now).saturating_sub(before);
        state.last_active = Instant::now();
        state.report_drained(&self.telemetry);
    }

    /// Records that a record written by `schema` was dead-lettered because it cannot be decoded, for the reason `why`.
    /// Raises an alert once per schema.
    pub(super) fn undecodable(&self, schema: SchemaId, why: &str) {
        let mut state = lock(&self.state);
        if let Some(count) = state.undecodable.get_mut(&schema) {
            *count += 1;
        } else if state.undecodable.len() < UNDECODABLE_MAX {
            state.undecodable.insert(schema, 1);
            drop(state);
            self.report(SchemaUndecodable { schema: schema.0, why });
        }
    }

    /// The number of records that were dead-lettered because they cannot be decoded, by the schema that wrote them.
    /// Counts the first 100 such schemas.
    #[must_use]
    pub fn undecodable_by_schema(&self) -> Vec<(SchemaId, u64)> {
        lock(&self.state).undecodable.iter().map(|(schema, count)| (*schema, *count)).collect()
    }

    /// Records that a transaction was aborted.
    pub(super) fn aborted(&self) {
        lock(&self.state).now.aborts += 1;
    }

    /// Adds a stall.
    pub fn stalled(&self, stall: Stall) {
        lock(&self.state).stalls.insert((stall.at.clone(), stall.cause), stall);
    }

    /// Removes a stall that has ended, or whose partition another process has now.
    pub fn goes_on(&self, stall: &Stall) {
        lock(&self.state).stalls.remove(&(stall.at.clone(), stall.cause));
    }

    /// The stalls of tasks and of the whole component, the oldest first.
    #[must_use]
    pub fn stalls(&self) -> Vec<Stall> {
        let state = lock(&self.state);
        let mut stalls = state.stalls.values().cloned().chain(state.of_component()).collect::<Vec<_>>();
        stalls.sort_by_key(|stall| stall.since);
        stalls
    }

    /// Adds the record in hand of a worker.
    pub(super) fn enter(&self, hand: Arc<InHand>) {
        lock(&self.state).in_hand.push(hand);
    }

    /// Removes the record in hand of a worker.
    pub(super) fn leave(&self, hand: &Arc<InHand>) {
        lock(&self.state).in_hand.retain(|other| !Arc::ptr_eq(other, hand));
    }

    /// Adds partitions of a worker in this process.
    pub(super) fn owns(&self, partitions: &[TopicPartition]) {
        lock(&self.state).partitions.extend(partitions.iter().cloned());
    }

    /// Removes partitions that a worker in this process no longer has.
    pub(super) fn disowns(&self, partitions: &[TopicPartition]) {
        let mut state = lock(&self.state);
        for source in partitions {
            state.partitions.remove(source);
            state.faults.remove(source);
        }
    }

    /// The partitions of all tasks in this process.
    #[must_use]
    pub fn partitions(&self) -> Vec<TopicPartition> {
        lock(&self.state).partitions.iter().cloned().collect()
    }

    /// Records a failed delivery.
    pub(super) fn failed(&self, source: &TopicPartition, fault: LastFault) {
        lock(&self.state).faults.insert(source.clone(), fault);
    }

    /// The last failure in a partition since it was assigned to this process.
    #[must_use]
    pub fn last_fault(&self, source: &TopicPartition) -> Option<LastFault> {
        lock(&self.state).faults.get(source).cloned()
    }

    /// Replaces the due times of a worker's parked records.
    pub(super) fn next_tries(
        &self,
        before: &BTreeMap<TopicPartition, Timestamp>,
        now: &BTreeMap<TopicPartition, Timestamp>,
    ) {
        let mut state = lock(&self.state);
        state.next_tries.retain(|source, _| !before.contains_key(source));
        state.next_tries.extend(now.iter().map(|(source, at)| (source.clone(), *at)));
    }

    /// The due time of the next parked record in a partition.
    #[must_use]
    pub fn next_try(&self, source: &TopicPartition) -> Option<Timestamp> {
        lock(&self.state).next_tries.get(source).copied()
    }

    /// The state of each worker of this process.
    #[must_use]
    pub fn workers(&self) -> Vec<WorkerState> {
        lock(&self.state).in_hand.iter().map(|hand| hand.state()).collect()
    }

    /// The record of a partition that is being handled.
    #[must_use]
    pub fn in_hand(&self, source: &TopicPartition) -> Option<CurrentRecord> {
        let hands = lock(&self.state).in_hand.clone();
        hands.iter().find_map(|hand| hand.of(source))
    }

    /// Records that this many offsets of a partition were deleted before they were read.
    pub(super) fn lost(&self, source: &TopicPartition, offsets: u64) {
        *lock(&self.state).lost.entry(source.clone()).or_default() += offsets;
    }

    /// The number of offsets that were deleted before they were read, by partition, since this process started.
    #[must_use]
    pub fn lost_by_partition(&self) -> BTreeMap<TopicPartition, u64> {
        lock(&self.state).lost.clone()
    }

    /// Records the state of the breaker.
    pub(super) fn breaker(&self, breaker: BreakerState) {
        let mut state = lock(&self.state);
        if state.now.breaker != breaker {
            state.breaker_since = log::now();
        }
        state.now.breaker = breaker;
    }

    /// Records that `records` changelog records were read, and that a worker has `now` offsets left to restore, after
    /// `before`.
    pub(super) fn restored(&self, records: u64, before: u64, now: u64) {
        let mut state = lock(&self.state);
        state.now.restored += records;
        state.now.restoring = (state.now.restoring + now).saturating_sub(before);
    }

    /// Records that partitions were assigned.
    pub(super) fn assigned(&self) {
        let mut state = lock(&self.state);
        state.assigned = true;
        state.unassigned.1 = None;
        state.last_active = Instant::now();
    }

    /// Records that a worker gave up its partitions for the reason `why` and rejoins.
    pub(super) fn rejoining(&self, why: Explained) {
        let mut state = lock(&self.state);
        if std::mem::take(&mut state.assigned) {
            state.unassigned.0 = log::now();
        }
        state.unassigned.1 = Some(why);
        state.last_active = Instant::now();
    }

    /// Records the reason why no tasks are assigned, unless one is known.
    pub(super) fn unassigned_because(&self, why: Explained) {
        lock(&self.state).unassigned.1.get_or_insert(why);
    }

    /// The time for which the component has had no tasks, while no reason is known.
    pub(super) fn unassigned_for_no_reason(&self) -> Option<Duration> {
        let state = lock(&self.state);
        let unassigned = !state.assigned && state.stopped.is_none() && state.unassigned.1.is_none();
        unassigned.then(|| since(state.unassigned.0))
    }

    /// Returns true if the group has answered every worker that asked for partitions, even with an empty assignment.
    #[must_use]
    pub fn is_assigned(&self) -> bool {
        lock(&self.state).assigned
    }

    /// Records the reason why no worker of the component runs. With `None`, workers may run.
    pub(super) fn stop(&self, why: Option<Explained>) {
        lock(&self.state).stopped = why.map(|why| (why, log::now()));
    }

    /// The reason why no worker of the component runs and an operator has to act.
    #[must_use]
    pub fn stopped(&self) -> Option<Explained> {
        lock(&self.state).stopped.as_ref().map(|(why, _)| why.clone())
    }

    /// Records an activity.
    pub(super) fn active(&self) {
        lock(&self.state).last_active = Instant::now();
    }

    /// Returns true if the component has partitions and was not active for `time`, or if it is stopped.
    #[must_use]
    pub fn idle_for(&self, time: Duration) -> bool {
        let state = lock(&self.state);
        // Records behind an open breaker are still to be handled.
        let held_back = matches!(state.now.breaker, BreakerState::Open | BreakerState::HalfOpen);
        let held_back = held_back
            || state.stalls.keys().any(|(_, cause)| matches!(cause, Cause::Disk | Cause::Retry | Cause::Table));
        // A handler may run for several times as long as `time`.
        let held_back = held_back || state.in_hand.iter().any(|hand| !hand.is_empty());
        state.stopped.is_some() || (state.assigned && !held_back && state.last_active.elapsed() >= time)
    }

    /// The current counts.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        lock(&self.state).now
    }
}
