//! What an operator is shown of each partition of a task, and of what tasks wait for. All of it is in memory: the
//! workers report what they do, and [`Monitor`](super::Monitor) remembers positions and ends.

use std::fmt;
use std::time::Duration;

use heddle_core::event::{Timestamp, TopicPartition};
use serde::{Deserialize, Serialize};

use super::Watched;
use super::lag::{Lag, PartitionLag};
use crate::log;
use crate::runtime::{Cause, Stall};

/// One partition of a task of this host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartitionStatus {
    /// The topic: one that the component consumes, or one in which records wait for another attempt.
    pub topic: String,
    /// The partition, whose number is the task's.
    pub partition: i32,
    /// Where the group goes on; absent until the log was asked.
    #[serde(default)]
    pub position: Option<i64>,
    /// The offset after the last record.
    #[serde(default)]
    pub end: Option<i64>,
    /// Offsets between them that have a record.
    #[serde(default)]
    pub lag: Option<i64>,
    /// The record that is handled now, or held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<RecordStatus>,
    /// When it is tried again, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try: Option<i64>,
    /// The last failure here since this host has the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorStatus>,
    /// What the task waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stall: Option<StallStatus>,
}

/// A record that is handled or held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordStatus {
    /// Its offset.
    pub offset: i64,
    /// Since when, in milliseconds since 1970.
    pub since: i64,
    /// For how long, in milliseconds.
    pub ms: u64,
    /// The number of the attempt that is made, or comes next.
    pub attempt: u32,
}

/// A delivery that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorStatus {
    /// The kind of failure.
    pub kind: String,
    /// What happened.
    pub detail: String,
    /// The record's offset.
    pub offset: i64,
    /// When, in milliseconds since 1970.
    pub at: i64,
}

/// What a task, or a whole component, waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StallStatus {
    /// `registry`, `coordinator`, `open-transaction`, `room`, `disk`, `retry`, `refused`, `breaker` or `topics`.
    pub cause: String,
    /// The topic of the record it waits at; absent if the whole component waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    /// The offset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    /// Since when, in milliseconds since 1970.
    pub since: i64,
    /// For how long, in milliseconds.
    pub ms: u64,
    /// How often the record was tried.
    #[serde(default)]
    pub tries: u32,
    /// When it is tried again, in milliseconds since 1970, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try: Option<i64>,
    /// What went wrong.
    pub why: String,
}

impl StallStatus {
    fn of(stall: Stall, now: Timestamp) -> Self {
        let Stall { cause, at, since, tries, next_try, why } = stall;
        let (place, offset) = at.unzip();
        Self {
            cause: cause.name().to_owned(),
            topic: place.as_ref().map(|place| place.topic.to_string()),
            partition: place.map(|place| place.partition.0),
            offset: offset.map(|offset| offset.0),
            since: since.0,
            ms: millis(since, now),
            tries,
            next_try: next_try.map(|at| at.0),
            why,
        }
    }

    fn is_at(&self, source: &TopicPartition) -> bool {
        self.topic.as_deref() == Some(&*source.topic) && self.partition == Some(source.partition.0)
    }
}

/// Cause, duration, place and reason, in one line.
impl fmt::Display for StallStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cause, ms, why, .. } = self;
        write!(f, "stalled by {cause} for {:.1} s", Duration::from_millis(*ms).as_secs_f64())?;
        if let (Some(topic), Some(partition), Some(offset)) = (&self.topic, self.partition, self.offset) {
            write!(f, " at {topic}/{partition}@{offset}")?;
        }
        // One line: the cause, where, and what to do.
        write!(f, ": {}", why.lines().map(str::trim).collect::<Vec<_>>().join("; "))
    }
}

fn millis(since: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(now.0.saturating_sub(since.0)).unwrap_or(0)
}

/// What the tasks of a component on this host wait for, the longest wait first.
pub(super) fn stalls(component: &Watched, lag: Option<&Lag>) -> Vec<StallStatus> {
    let mut stalls = component.progress.stalls();
    let own = component.progress.partitions();
    let of_host = lag.iter().flat_map(|lag| &lag.partitions).filter(|partition| own.contains(&partition.source));
    stalls.extend(of_host.filter_map(open_transaction));
    stalls.sort_by_key(|stall| stall.since);
    let now = log::now();
    stalls.into_iter().map(|stall| StallStatus::of(stall, now)).collect()
}

fn open_transaction(partition: &PartitionLag) -> Option<Stall> {
    let PartitionLag { source, position, undecided, open_since, .. } = partition;
    let why = format!("another producer has not ended its transaction: {undecided} offsets are in it or behind it");
    let at = Some((source.clone(), *position));
    Some(Stall { cause: Cause::OpenTransaction, at, since: (*open_since)?, tries: 0, next_try: None, why })
}

/// The partitions of a component's tasks on this host.
pub(super) fn partitions(component: &Watched, lag: Option<&Lag>, stalls: &[StallStatus]) -> Vec<PartitionStatus> {
    let now = log::now();
    let partitions = component.progress.partitions().into_iter().map(|source| {
        let known = lag.and_then(|lag| lag.of(&source));
        let stall = stalls.iter().find(|stall| stall.is_at(&source));
        PartitionStatus {
            topic: source.topic.to_string(),
            partition: source.partition.0,
            position: known.map(|known| known.position.0),
            end: known.map(|known| known.end.0),
            lag: known.map(|known| known.offsets),
            record: record(component, &source, stall, now),
            next_try: stall
                .and_then(|stall| stall.next_try)
                .or_else(|| component.progress.next_try(&source).map(|at| at.0)),
            error: component.progress.last_fault(&source).map(|fault| ErrorStatus {
                kind: fault.kind.to_owned(),
                detail: fault.detail,
                offset: fault.offset.0,
                at: fault.at.0,
            }),
            stall: stall.cloned(),
        }
    });
    partitions.collect()
}

/// The record that is handled now; else the one that is held.
fn record(
    component: &Watched,
    source: &TopicPartition,
    stall: Option<&StallStatus>,
    now: Timestamp,
) -> Option<RecordStatus> {
    if let Some(record) = component.progress.in_hand(source) {
        let (offset, since, attempt) = (record.offset.0, record.since, record.attempt);
        return Some(RecordStatus { offset, since: since.0, ms: millis(since, now), attempt });
    }
    let is_about_a_record = |stall: &&StallStatus| {
        let causes = [Cause::Coordinator, Cause::OpenTransaction, Cause::Disk];
        !causes.iter().any(|cause| cause.name() == stall.cause)
    };
    let stall = stall.filter(is_about_a_record)?;
    let (offset, since, ms) = (stall.offset?, stall.since, stall.ms);
    Some(RecordStatus { offset, since, ms, attempt: stall.tries + 1 })
}
