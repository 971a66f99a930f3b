//! What one worker reports of its partitions. The way of a record that is handled costs one lock that nobody else
//! wants.
//!
//! ```text
//!  record taken ──> in hand ────────────────────┐
//!  record held ──> stall ──┐                    ├──> Progress ──> status, ready, metrics
//!  record failed ──────────┴──> on the board ───┘
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use heddle_core::delivery::ComponentName;
use heddle_core::event::{Offset, Record, Timestamp, TopicPartition};
use heddle_core::explain::Explained;
use heddle_core::fault::{EventFault, bounded};

use super::progress::Progress;
use super::stall::{Cause, CurrentRecord, LastFault, Stall, after};
use crate::lock::lock;

/// How much of a failure is kept for each partition, in bytes.
const DETAIL_BYTES_MAX: usize = 1 << 10;
/// The pause before the next request to a registry that did not answer.
const REGISTRY_WAIT: Duration = Duration::from_millis(500);
/// The interval between alerts about a registry that does not answer.
const OUTAGE_ALERT_EVERY: Duration = Duration::from_secs(60);

/// The record that a worker handles now.
#[derive(Debug, Default)]
pub(super) struct InHand(Mutex<Hand>);

#[derive(Debug, Default)]
struct Hand {
    sources: Vec<TopicPartition>,
    /// An index of `sources`, and the record.
    record: Option<(usize, CurrentRecord)>,
}

impl InHand {
    /// The record in hand of this partition.
    pub(super) fn of(&self, source: &TopicPartition) -> Option<CurrentRecord> {
        let hand = lock(&self.0);
        let (index, record) = hand.record?;
        (hand.sources.get(index) == Some(source)).then_some(record)
    }
}

/// How a record is held.
pub(super) struct Hold {
    /// How often it was tried.
    pub(super) tries: u32,
    /// When it is tried again.
    pub(super) next_try: Timestamp,
    /// Why, for a person.
    pub(super) why: String,
}

/// Reports for one worker; what it reported is gone when it is dropped.
pub(super) struct Reporter {
    progress: Arc<Progress>,
    hand: Arc<InHand>,
    /// Where the last record's partition is among the sources.
    last: usize,
    stalls: BTreeMap<(TopicPartition, Offset), Stall>,
    /// The positions of the commit that was reported to take long.
    commit: Vec<(TopicPartition, Offset)>,
    /// When the next record that waits is due, by partition.
    next: BTreeMap<TopicPartition, Timestamp>,
    /// The time of the last alert about a registry outage.
    outage_alert: Option<Duration>,
}

impl Reporter {
    pub(super) fn new(progress: Arc<Progress>) -> Self {
        let hand = Arc::new(InHand::default());
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

    /// These partitions are this worker's.
    pub(super) fn assigned(&mut self, partitions: &[TopicPartition]) {
        let mut hand = lock(&self.hand.0);
        hand.record = None;
        hand.sources.extend(partitions.iter().cloned());
        hand.sources.sort();
        hand.sources.dedup();
        drop(hand);
        self.progress.owns(partitions);
    }

    /// A record is about to be handled.
    pub(super) fn take(&mut self, record: &Record, attempt: u32, now: Timestamp) {
        let mut hand = lock(&self.hand.0);
        // Records of one partition mostly come one after the other.
        if hand.sources.get(self.last) != Some(&record.source) {
            let Ok(index) = hand.sources.binary_search(&record.source) else { return };
            self.last = index;
        }
        hand.record = Some((self.last, CurrentRecord { offset: record.offset, since: now, attempt }));
    }

    /// No record is in hand.
    pub(super) fn rest(&self) {
        lock(&self.hand.0).record = None;
    }

    /// A delivery failed.
    pub(super) fn failed(&self, record: &Record, fault: &EventFault, now: Timestamp) {
        let detail = bounded(fault.detail.clone(), DETAIL_BYTES_MAX);
        let fault = LastFault { offset: record.offset, at: now, kind: fault.kind.name(), detail };
        self.progress.failed(&record.source, fault);
    }

    /// A record is held.
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

    /// Reports that a record is held back because the registry does not answer, with an alert once a minute. Returns the
    /// time of the next try.
    pub(super) fn wait_for_registry(
        &mut self,
        record: &Record,
        why: &str,
        component: &ComponentName,
        (now, time): (Duration, Timestamp),
    ) -> Duration {
        let (source, offset) = (&record.source, record.offset);
        if self.outage_alert.is_none_or(|last| now.saturating_sub(last) >= OUTAGE_ALERT_EVERY) {
            self.outage_alert = Some(now);
            tracing::warn!(target: "heddle::alert", %component, %source, %offset, "records wait for the schema registry: {why}");
        } else {
            tracing::warn!(%component, %source, %offset, "waiting: {why}");
        }
        let hold = Hold { tries: 0, next_try: after(time, REGISTRY_WAIT), why: why.to_owned() };
        self.hold(record, Cause::Registry, hold, time);
        now + REGISTRY_WAIT
    }

    /// A record is not held any more.
    pub(super) fn stepped(&mut self, record: &Record) {
        // Asked for every record: mostly none is held.
        if self.stalls.is_empty() {
            return;
        }
        if let Some(stall) = self.stalls.remove(&(record.source.clone(), record.offset)) {
            self.progress.goes_on(&stall);
        }
    }

    /// Records wait until then, by partition.
    pub(super) fn next_tries(&mut self, next: BTreeMap<TopicPartition, Timestamp>) {
        if self.next != next {
            self.progress.next_tries(&self.next, &next);
            self.next = next;
        }
    }

    /// A commit takes long.
    pub(super) fn commit_takes_long(&mut self, positions: &[(TopicPartition, Offset)], since: Timestamp) {
        if !self.commit.is_empty() {
            return;
        }
        self.commit = positions.to_vec();
        for at in positions {
            self.progress.stalled(commit_stall(at.clone(), since));
        }
    }

    /// The commit has ended.
    pub(super) fn commit_ended(&mut self) {
        for at in self.commit.drain(..) {
            self.progress.goes_on(&commit_stall(at, Timestamp(0)));
        }
    }

    /// Everything is read again.
    pub(super) fn given_up(&mut self) {
        for stall in std::mem::take(&mut self.stalls).into_values() {
            self.progress.goes_on(&stall);
        }
        self.commit_ended();
        self.rest();
    }

    /// These partitions go elsewhere.
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
