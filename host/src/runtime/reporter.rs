//! The reports of one worker about its partitions. For a handled record, a report costs one uncontended lock.
//!
//! ```text
//!  record taken ──> in hand ────────────────────┐
//!  record held ──> stall ──┐                    ├──> Progress ──> status, ready, metrics
//!  record failed ──────────┴──> last fault ─────┘
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use heddle_core::event::{Offset, Record, Timestamp, TopicPartition};
use heddle_core::explain::Explained;
use heddle_core::fault::{EventFault, bounded};

use super::progress::Progress;
use super::stall::{Cause, CurrentRecord, LastFault, Stall, after};
use crate::lock::lock;
use crate::telemetry::RegistryAwaited;

/// The maximum size of the failure text that is kept for each partition, in bytes.
const DETAIL_BYTES_MAX: usize = 1 << 10;
/// The pause before the next request to a registry that did not answer.
const REGISTRY_WAIT: Duration = Duration::from_millis(500);
/// The interval between alerts about a registry that does not answer.
const OUTAGE_ALERT_EVERY: Duration = Duration::from_secs(60);

/// The record that a worker is handling, and the worker's state.
#[derive(Debug)]
pub(super) struct InHand(Mutex<Hand>);

/// The state of a worker at its last turn.
#[derive(Clone, Copy, Debug)]
pub struct WorkerState {
    /// The start of its last turn.
    pub turned: Instant,
    /// The memory of its guest instance, in bytes.
    pub memory_bytes: u64,
    /// The timestamp of the oldest record that it has polled and not handled.
    pub oldest: Option<Timestamp>,
}

#[derive(Debug)]
struct Hand {
    state: WorkerState,
    sources: Vec<TopicPartition>,
    /// An index into `sources`, and the record.
    record: Option<(usize, CurrentRecord)>,
}

impl InHand {
    fn new() -> Self {
        let state = WorkerState { turned: Instant::now(), memory_bytes: 0, oldest: None };
        Self(Mutex::new(Hand { state, sources: vec![], record: None }))
    }

    /// The state of the worker.
    pub(super) fn state(&self) -> WorkerState {
        lock(&self.0).state
    }

    /// The record of this partition that is being handled.
    pub(super) fn of(&self, source: &TopicPartition) -> Option<CurrentRecord> {
        let hand = lock(&self.0);
        let (index, record) = hand.record?;
        (hand.sources.get(index) == Some(source)).then_some(record)
    }

    /// Returns true if no record is being handled.
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.0).record.is_none()
    }
}

/// The details of a held record.
pub(super) struct Hold {
    /// The number of failed attempts.
    pub(super) tries: u32,
    /// The time of the next attempt.
    pub(super) next_try: Timestamp,
    /// The reason, for a person.
    pub(super) why: String,
}

/// Reports for one worker. Dropping it withdraws its reports.
pub(super) struct Reporter {
    progress: Arc<Progress>,
    hand: Arc<InHand>,
    /// The index into `sources` of the last record's partition.
    last: usize,
    stalls: BTreeMap<(TopicPartition, Offset), Stall>,
    /// The positions of the commit that was reported as slow.
    commit: Vec<(TopicPartition, Offset)>,
    /// The due time of the next parked record of each partition.
    next: BTreeMap<TopicPartition, Timestamp>,
    /// The time of the last alert about a registry outage.
    outage_alert: Option<Duration>,
}

impl Reporter {
    pub(super) fn new(progress: Arc<Progress>) -> Self {
        let hand = Arc::new(InHand::new());
        progress.enter(hand.clone());
        Self {
            progress,
            hand,
            last: 0,
            stalls: BTreeMap::new(),
            commit: vec![],
            next: BTreeMap::new(),
            outage_alert: None,
        }
    }

    /// Adds partitions that were assigned to this worker.
    pub(super) fn assigned(&mut self, partitions: &[TopicPartition]) {
        let mut hand = lock(&self.hand.0);
        hand.record = None;
        hand.sources.extend(partitions.iter().cloned());
        hand.sources.sort();
        hand.sources.dedup();
        drop(hand);
        self.progress.owns(partitions);
    }

    /// Records which record is about to be handled.
    pub(super) fn take(&mut self, record: &Record, attempt: u32, now: Timestamp) {
        let mut hand = lock(&self.hand.0);
        // Consecutive records mostly have the same partition.
        if hand.sources.get(self.last) != Some(&record.source) {
            let Ok(index) = hand.sources.binary_search(&record.source) else { return };
            self.last = index;
        }
        hand.record = Some((self.last, CurrentRecord { offset: record.offset, since: now, attempt }));
    }

    /// Records the start or the end of a turn.
    pub(super) fn turn(&self, memory_bytes: u64, oldest: Option<Timestamp>) {
        lock(&self.hand.0).state = WorkerState { turned: Instant::now(), memory_bytes, oldest };
    }

    /// Records that no record is being handled.
    pub(super) fn rest(&self) {
        let record = lock(&self.hand.0).record.take();
        if record.is_some() {
            // Its transaction is committed some time later.
            self.progress.active();
        }
    }

    /// Reports a failed delivery.
    pub(super) fn failed(&self, record: &Record, fault: &EventFault, now: Timestamp) {
        let detail = bounded(fault.detail.clone(), DETAIL_BYTES_MAX);
        let fault = LastFault { offset: record.offset, at: now, kind: fault.kind.name(), detail };
        self.progress.failed(&record.source, fault);
    }

    /// Reports a held record.
    pub(super) fn hold(&mut self, record: &Record, cause: Cause, hold: Hold, now: Timestamp) {
        let at = (record.source.clone(), record.offset);
        let before = self.stalls.get(&at).filter(|before| before.cause == cause);
        let since = before.map_or(now, |before| before.since);
        let Hold { tries, next_try, why } = hold;
        let stall = Stall { cause, at: Some(at.clone()), since, tries, next_try: Some(next_try), why: why.into() };
        if let Some(before) = self.stalls.insert(at, stall.clone()) {
            self.progress.goes_on(&before);
        }
        self.progress.stalled(stall);
    }

    /// Reports that a record is held back because the registry does not answer. Raises an alert once a minute. Returns
    /// the time of the next try.
    pub(super) fn wait_for_registry(
        &mut self,
        record: &Record,
        why: &str,
        (now, time): (Duration, Timestamp),
    ) -> Duration {
        let alerts = self.outage_alert.is_none_or(|last| now.saturating_sub(last) >= OUTAGE_ALERT_EVERY);
        if alerts {
            self.outage_alert = Some(now);
        }
        self.progress.report(RegistryAwaited { record, why, alerts });
        let hold = Hold { tries: 0, next_try: after(time, REGISTRY_WAIT), why: why.to_owned() };
        self.hold(record, Cause::Registry, hold, time);
        now + REGISTRY_WAIT
    }

    /// Reports that a record is no longer held.
    pub(super) fn stepped(&mut self, record: &Record) {
        // Called for every record. Records are rarely held.
        if self.stalls.is_empty() {
            return;
        }
        if let Some(stall) = self.stalls.remove(&(record.source.clone(), record.offset)) {
            self.progress.goes_on(&stall);
        }
    }

    /// Reports the due time of the next parked record of each partition.
    pub(super) fn next_tries(&mut self, next: BTreeMap<TopicPartition, Timestamp>) {
        if self.next != next {
            self.progress.next_tries(&self.next, &next);
            self.next = next;
        }
    }

    /// Reports a commit that takes long as a stall.
    pub(super) fn commit_takes_long(&mut self, positions: &[(TopicPartition, Offset)], since: Timestamp) {
        if !self.commit.is_empty() {
            return;
        }
        self.commit = positions.to_vec();
        for at in positions {
            self.progress.stalled(commit_stall(at.clone(), since));
        }
    }

    /// Ends the stall of a commit that took long.
    pub(super) fn commit_ended(&mut self) {
        for at in self.commit.drain(..) {
            self.progress.goes_on(&commit_stall(at, Timestamp(0)));
        }
    }

    /// Withdraws all stalls, because the records since the last commit are read again.
    pub(super) fn given_up(&mut self) {
        for stall in std::mem::take(&mut self.stalls).into_values() {
            self.progress.goes_on(&stall);
        }
        self.commit_ended();
        self.rest();
    }

    /// Withdraws the reports about partitions that were revoked or lost.
    pub(super) fn let_go(&mut self, partitions: &[TopicPartition]) {
        let gone = |(source, _): &(TopicPartition, Offset)| partitions.contains(source);
        for (_, stall) in self.stalls.extract_if(.., |at, _| gone(at)) {
            self.progress.goes_on(&stall);
        }
        let mut hand = lock(&self.hand.0);
        hand.record = None;
        hand.sources.retain(|source| !partitions.contains(source));
        drop(hand);
        self.progress.disowns(partitions);
    }
}

fn commit_stall(at: (TopicPartition, Offset), since: Timestamp) -> Stall {
    let why = "a commit is under way: the coordinator of the transaction, or that of the group, has not ended it";
    Stall { cause: Cause::Coordinator, at: Some(at), since, tries: 0, next_try: None, why: Explained::new(why) }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.given_up();
        self.next_tries(BTreeMap::new());
        let sources = std::mem::take(&mut lock(&self.hand.0).sources);
        self.progress.disowns(&sources);
        self.progress.leave(&self.hand);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Telemetry;

    #[test]
    fn a_component_is_not_idle_while_a_record_is_being_handled() {
        let progress = Arc::new(Progress::new(Telemetry::new("shop.intake")));
        let mut reporter = Reporter::new(progress.clone());
        let source = TopicPartition::new("orders", 0);
        progress.assigned();
        reporter.assigned(std::slice::from_ref(&source));
        assert!(progress.idle_for(Duration::ZERO));
        let record =
            Record { source, offset: Offset(0), timestamp: Timestamp(0), key: None, value: None, headers: vec![] };
        reporter.take(&record, 1, Timestamp(0));
        assert!(!progress.idle_for(Duration::ZERO));
        let hold = Hold { tries: 1, next_try: Timestamp(9), why: "failed".to_owned() };
        reporter.hold(&record, Cause::Retry, hold, Timestamp(0));
        reporter.rest();
        assert!(!progress.idle_for(Duration::ZERO), "it is tried again");
        reporter.take(&record, 2, Timestamp(9));
        reporter.stepped(&record);
        reporter.rest();
        assert!(progress.idle_for(Duration::ZERO) && !progress.idle_for(Duration::from_secs(60)));
    }
}
