//! The status of each partition of a task, and of stalls, for operators. All of it is in memory: the workers report
//! their progress, and [`Monitor`](super::Monitor) remembers positions and ends.

use std::fmt;
use std::time::Duration;

use heddle_core::event::{Timestamp, TopicPartition};
use heddle_core::explain::{Explained, to_text};
use serde::{Deserialize, Serialize};

use super::Watched;
use super::lag::{Lag, PartitionLag};
use crate::log;
use crate::runtime::{Cause, Stall};

/// One partition of a task of this host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartitionStatus {
    /// The topic: one that the component consumes, or one of its retry topics.
    pub topic: String,
    /// The partition. Its number is the task's number.
    pub partition: i32,
    /// The committed position of the group. Absent before the first measurement.
    #[serde(default)]
    pub position: Option<i64>,
    /// The offset after the last record.
    #[serde(default)]
    pub end: Option<i64>,
    /// Offsets between them that have a record.
    #[serde(default)]
    pub lag: Option<i64>,
    /// The record in progress, or the one that is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<RecordStatus>,
    /// The time of the record's next attempt, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try: Option<i64>,
    /// The last failure in this partition since this host has the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorStatus>,
    /// The stall of the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stall: Option<StallStatus>,
}

/// A record in progress, or held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordStatus {
    /// The offset of the record.
    pub offset: i64,
    /// When it was taken, in milliseconds since 1970.
    pub since: i64,
    /// The time since then, in milliseconds.
    pub ms: u64,
    /// The number of the current or next attempt.
    pub attempt: u32,
}

/// A delivery that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorStatus {
    /// The kind of failure.
    pub kind: String,
    /// The details of the failure.
    pub detail: String,
    /// The offset of the record.
    pub offset: i64,
    /// The time of the failure, in milliseconds since 1970.
    pub at: i64,
}

/// The reason why a task, or a whole component, makes no progress.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StallStatus {
    /// `registry`, `coordinator`, `open-transaction`, `room`, `disk`, `retry`, `refused`, `breaker` or `topics`.
    pub cause: String,
    /// The topic of the blocked record. Absent if the whole component is blocked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The partition of the blocked record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    /// The offset of the blocked record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    /// When the stall began, in milliseconds since 1970.
    pub since: i64,
    /// The duration of the stall, in milliseconds.
    pub ms: u64,
    /// The number of attempts.
    #[serde(default)]
    pub tries: u32,
    /// The time of the next attempt, in milliseconds since 1970, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try: Option<i64>,
    /// The details.
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
            why: to_text(&why),
        }
    }

    fn is_at(&self, source: &TopicPartition) -> bool {
        self.topic.as_deref() == Some(&*source.topic) && self.partition == Some(source.partition.0)
    }
}

/// Cause, duration, position and reason, in one line.
impl fmt::Display for StallStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cause, ms, why, .. } = self;
        write!(f, "stalled by {cause} for {:.1} s", Duration::from_millis(*ms).as_secs_f64())?;
        if let (Some(topic), Some(partition), Some(offset)) = (&self.topic, self.partition, self.offset) {
            write!(f, " at {topic}/{partition}@{offset}")?;
        }
        // One line: the cause, the position and the remedy.
        write!(f, ": {}", why.lines().map(str::trim).collect::<Vec<_>>().join("; "))
    }
}

fn millis(since: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(now.0.saturating_sub(since.0)).unwrap_or(0)
}

/// The stalls of a component's tasks on this host, the longest first.
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
    let why = Explained::new(why);
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

/// The record in progress, or else the one that is held.
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
