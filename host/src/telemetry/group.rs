//! Events of a worker's membership in its group.

use std::sync::Arc;
use std::time::Duration;

use heddle_core::delivery::ComponentName;
use heddle_core::event::{Record, TopicPartition};
use heddle_core::explain::Explained;

use super::limit::Limits;
use super::{ALERT, Counters, Report, Traces};

/// A worker joined its group.
#[derive(Debug)]
pub struct WorkerJoined;

impl Report for WorkerJoined {
    fn log(&self, component: &str, _limits: &Limits) {
        tracing::debug!(%component, "joined the group");
    }
}

/// The group changed the tasks of a worker.
#[derive(Debug)]
pub struct Rebalanced<'e> {
    /// The change.
    pub change: Membership,
    /// The partitions.
    pub partitions: &'e [TopicPartition],
}

/// A change of a worker's partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// It got them.
    Assigned,
    /// It gave them back after a commit.
    Revoked,
    /// It lost them, and with them its transaction.
    Lost,
}

impl Membership {
    /// All changes.
    pub const ALL: [Self; 3] = [Self::Assigned, Self::Revoked, Self::Lost];

    /// The stable name, for metrics and log lines.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Assigned => "assigned",
            Self::Revoked => "revoked",
            Self::Lost => "lost",
        }
    }
}

impl Report for Rebalanced<'_> {
    fn log(&self, component: &str, _limits: &Limits) {
        let partitions = self.partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match self.change {
            Membership::Assigned => tracing::info!(%component, %partitions, "assigned"),
            Membership::Revoked => tracing::info!(%component, %partitions, "revoked"),
            Membership::Lost => tracing::warn!(%component, %partitions, "lost"),
        }
    }

    fn count(&self, counters: &mut Counters) {
        *counters.rebalances.entry(self.change.name()).or_default() += 1;
    }
}

/// A worker ended by a fault and joins its group again.
#[derive(Debug)]
pub struct WorkerRejoins<'e> {
    /// The number of the worker.
    pub worker: u32,
    /// The cause.
    pub cause: RejoinCause,
    /// The fault.
    pub why: &'e Explained,
    /// The wait before it joins.
    pub wait: Duration,
    /// True if this fault was logged a moment ago.
    pub is_repeated: bool,
    /// True if an operator has to act.
    pub needs_help: bool,
}

/// The cause for which a worker joins again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejoinCause {
    /// A newer member took over.
    Fenced,
    /// The outcome of a commit is not known.
    CommitUnknown,
    /// The log does not answer.
    Unreachable,
    /// The log refuses until an operator acts.
    Hindered,
    /// The local state cannot be used.
    State,
    /// Another fault of the log.
    Log,
}

impl RejoinCause {
    /// All causes.
    pub const ALL: [Self; 6] =
        [Self::Fenced, Self::CommitUnknown, Self::Unreachable, Self::Hindered, Self::State, Self::Log];

    /// The stable name, for metrics and log lines.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fenced => "fenced",
            Self::CommitUnknown => "commit-unknown",
            Self::Unreachable => "unreachable",
            Self::Hindered => "hindered",
            Self::State => "state",
            Self::Log => "log",
        }
    }
}

impl Report for WorkerRejoins<'_> {
    fn log(&self, component: &str, _limits: &Limits) {
        let Self { worker, why, wait, .. } = self;
        let (cause, at, hint) = (self.cause.name(), &why.place, &why.remedy);
        match (self.is_repeated, self.needs_help) {
            (true, _) => tracing::debug!(%component, worker, %cause, %why, at, ?wait, "joining again"),
            (false, false) => tracing::warn!(%component, worker, %cause, %why, at, ?wait, "joining again"),
            (false, true) => {
                tracing::error!(target: ALERT, %component, worker, %cause, %why, at, hint, ?wait, "joining again");
            }
        }
    }

    fn count(&self, counters: &mut Counters) {
        *counters.rejoins.entry(self.cause.name()).or_default() += 1;
    }
}

/// A worker cannot continue, and the host stops.
#[derive(Debug)]
pub struct WorkerFailed<'e> {
    /// The number of the worker.
    pub worker: u32,
    /// The fault.
    pub why: &'e Explained,
}

impl Report for WorkerFailed<'_> {
    fn log(&self, component: &str, _limits: &Limits) {
        let Self { worker, why } = self;
        let (at, hint) = (&why.place, &why.remedy);
        tracing::error!(%component, worker, %why, at, hint, "a worker cannot continue");
    }
}

/// The group has assigned no tasks for long.
#[derive(Debug)]
pub struct TasksLate<'e> {
    /// The group.
    pub group: &'e str,
    /// The time without tasks.
    pub waited: Duration,
    /// The reason, as far as it is known.
    pub why: &'e Explained,
}

impl Report for TasksLate<'_> {
    fn log(&self, component: &str, _limits: &Limits) {
        let Self { group, waited, why } = self;
        let (at, hint) = (&why.place, &why.remedy);
        tracing::error!(target: ALERT, %component, %group, ?waited, %why, at, hint, "no tasks yet");
    }
}

/// No member reads partitions that were added, so a worker joins again.
#[derive(Debug)]
pub struct PartitionsUnread;

impl Report for PartitionsUnread {
    fn log(&self, component: &str, _limits: &Limits) {
        tracing::info!(%component, "joining again, because no member reads partitions that were added");
    }
}

/// This host ended, or could not end, the transaction of a member that left its group.
#[derive(Debug)]
pub struct TransactionTaken<'e> {
    /// The group.
    pub group: &'e str,
    /// The transactional id of that member.
    pub id: &'e str,
    /// The reason why the log refused, if it did.
    pub refused: Option<&'e str>,
}

impl Report for TransactionTaken<'_> {
    fn log(&self, component: &str, _limits: &Limits) {
        let Self { group, id, refused } = self;
        match refused {
            None => tracing::info!(%component, %group, %id, "ended the transaction of a member that left the group"),
            Some(why) => tracing::warn!(
                %component,
                %group,
                %id,
                %why,
                "cannot end the transaction of a member that left the group; it delays its heirs until it times out"
            ),
        }
    }
}

/// A poll returned records.
#[derive(Debug)]
pub struct RecordsPolled<'e> {
    /// The records.
    pub records: &'e [Record],
    /// The consumer group.
    pub group: &'e str,
    /// The digest of the component's version.
    pub digest: Option<&'e Arc<str>>,
    /// The time of the poll.
    pub took: Duration,
}

impl Report for RecordsPolled<'_> {
    fn log(&self, _component: &str, _limits: &Limits) {}

    fn trace(&self, component: &ComponentName, traces: &Traces) {
        traces.polled(component, self.digest, self.group, self.records, self.took);
    }
}
