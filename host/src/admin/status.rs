//! The status of a component, for `/status`, `heddle status` and the live lines of a host.

use std::collections::BTreeMap;

use heddle_core::explain::to_text;
use serde::{Deserialize, Serialize};

use super::partitions::{self, PartitionStatus, StallStatus};
use super::{Lag, Monitor, Watched};
use crate::runtime::Cause;
use crate::tables::TableStatus;

/// One component's status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComponentStatus {
    /// The full name of the component.
    pub component: String,
    /// Records consumed since the host started.
    #[serde(rename = "in")]
    pub records: u64,
    /// Records emitted.
    #[serde(rename = "out")]
    pub emitted: u64,
    /// Records dead-lettered.
    pub failed: u64,
    /// Records skipped because their message was already handled.
    pub duplicates: u64,
    /// Records whose handler succeeded.
    pub handled: u64,
    /// Times that a record was parked, for a retry or behind a parked record of its key.
    pub retried: u64,
    /// Times that a parked record was processed again: `in + again = handled + retried + failed + duplicates`.
    pub again: u64,
    /// Records of this host that are parked now.
    pub waiting: u64,
    /// The state of the circuit breaker: `closed`, `open`, `half-open` or `stopped`.
    pub breaker: String,
    /// Records of its tasks' tables, applied beside the input.
    #[serde(default)]
    pub applied: u64,
    /// Of these, the ones without a key that the table could know.
    #[serde(default)]
    pub unfit: u64,
    /// Its global tables on this host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<TableStatus>,
    /// Changelog offsets still to be restored before all tasks of this host are ready.
    pub restoring: u64,
    /// Exhausted resources of this machine: disk space, descriptors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub machine: Vec<String>,
    /// The reason why the component does not run, if an operator has to act.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// Transactions committed.
    pub commits: u64,
    /// Transactions that were aborted and repeated.
    #[serde(default)]
    pub aborts: u64,
    /// The stalls of the tasks, the longest first.
    #[serde(default)]
    pub stalls: Vec<StallStatus>,
    /// Tasks that are blocked, because the log refuses every result of their next record.
    #[serde(default)]
    pub stuck: Vec<StuckTask>,
    /// The partitions of this host's tasks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<PartitionStatus>,
    /// The duration of the last commit, in milliseconds.
    pub commit_ms: f64,
    /// Offsets that were deleted before they were consumed, by partition, since the host started.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lost: BTreeMap<String, u64>,
    /// Offsets between the group's committed positions and the ends of its partitions. `None` before the first
    /// measurement.
    pub lag: Option<i64>,
    /// The age of the lag, in milliseconds.
    #[serde(default)]
    pub lag_age_ms: Option<u64>,
    /// The reason why the lag is not newer, if the log does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_error: Option<String>,
    /// The running version: `sha256:` and the digest of its file.
    pub digest: String,
    /// When that version started, in milliseconds since 1970.
    pub since: i64,
    /// The version that ran before, since the host started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Records taken from the input per second, over the last minute.
    #[serde(default)]
    pub records_per_second: f64,
    /// Records emitted per second, over the last minute.
    #[serde(default)]
    pub emitted_per_second: f64,
    /// The age of the oldest record that is not handled, in seconds, as far as it is known.
    #[serde(default)]
    pub lag_seconds: f64,
    /// The median time of handlers over the last minute, in milliseconds. `None` if none ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handler_p50_ms: Option<f64>,
    /// The 99th percentile of the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handler_p99_ms: Option<f64>,
    /// The median time from a record's timestamp to its commit over the last minute, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_p50_ms: Option<f64>,
    /// The 99th percentile of the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_p99_ms: Option<f64>,
    /// The outcome of a version that was refused or rolled back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A task that is blocked by its next record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StuckTask {
    /// The topic of the record.
    pub topic: String,
    /// The partition of the record.
    pub partition: i32,
    /// The offset of the record.
    pub offset: i64,
    /// When the task became blocked, in milliseconds since 1970.
    pub since: i64,
    /// The number of attempts.
    pub tries: u32,
    /// The failure of the record, and the error of the log.
    pub why: String,
}

impl StuckTask {
    fn of(stall: &StallStatus) -> Option<Self> {
        let StallStatus { topic, partition, offset, since, tries, why, .. } = stall.clone();
        let (topic, partition, offset) = (topic?, partition?, offset?);
        (stall.cause == Cause::Refused.name()).then_some(Self { topic, partition, offset, since, tries, why })
    }
}

/// The counts of one component, and its lag at the last measurement.
#[must_use]
pub fn status_of(monitor: Option<&Monitor>, component: &Watched) -> ComponentStatus {
    let lag = monitor.and_then(|monitor| monitor.lag(&component.name));
    let now = component.progress.snapshot();
    let stalls = partitions::stalls(component, lag.as_ref());
    let machine = monitor.map(Monitor::machine_faults).unwrap_or_default();
    let recent = monitor.map(|monitor| monitor.recent(component)).unwrap_or_default();
    let millis = |times: Option<[f64; 2]>, which: usize| Some(times?.get(which)? * 1_000.0);
    ComponentStatus {
        component: component.name.clone(),
        records: now.counts.records,
        emitted: now.counts.emitted,
        failed: now.counts.dead_lettered,
        duplicates: now.counts.duplicates,
        handled: now.counts.handled,
        retried: now.counts.retried,
        again: now.counts.again,
        waiting: now.waiting,
        breaker: now.breaker.name().to_owned(),
        applied: now.counts.applied,
        unfit: now.counts.unfit,
        tables: monitor.map(|monitor| monitor.tables_of(component)).unwrap_or_default(),
        restoring: now.restoring,
        machine: machine.iter().map(|(_, why)| to_text(why)).collect(),
        stopped: component.progress.stopped().as_ref().map(|why| to_text(why)),
        commits: now.commits,
        aborts: now.aborts,
        stuck: stalls.iter().filter_map(StuckTask::of).collect(),
        partitions: partitions::partitions(component, lag.as_ref(), &stalls),
        stalls,
        commit_ms: now.last_commit.as_secs_f64() * 1_000.0,
        lost: component
            .progress
            .lost_by_partition()
            .into_iter()
            .map(|(place, offsets)| (place.to_string(), offsets))
            .collect(),
        lag: lag.as_ref().map(Lag::offsets),
        lag_age_ms: lag.map(|lag| u64::try_from(lag.at.elapsed().as_millis()).unwrap_or(u64::MAX)),
        lag_error: monitor.and_then(Monitor::log_fault),
        digest: component.slot.running().to_string(),
        since: component.slot.since().0,
        before: component.slot.before().map(|digest| digest.to_string()),
        records_per_second: recent.records,
        emitted_per_second: recent.emitted,
        lag_seconds: monitor.map_or(0.0, |monitor| monitor.lag_time(component).as_secs_f64()),
        handler_p50_ms: millis(recent.handler, 0),
        handler_p99_ms: millis(recent.handler, 1),
        age_p50_ms: millis(recent.age, 0),
        age_p99_ms: millis(recent.age, 1),
        note: None,
    }
}
