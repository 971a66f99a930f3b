//! Events of a transaction.

use std::time::Duration;

use heddle_core::batch::Counts;
use heddle_core::delivery::ComponentName;
use heddle_core::event::Timestamp;

use super::limit::Limits;
use super::{ALERT, Counters, DeliverySpan, Measured, Report, Traces};

/// The number of aborts in a row from which on an operator is alerted: more than it takes to find a record among many.
const ALERT_ABORTS: u32 = 16;

/// The commit of a transaction has begun.
#[derive(Debug)]
pub struct CommitBegun {
    /// The outcomes of its deliveries.
    pub counts: Counts,
}

impl Report for CommitBegun {
    fn log(&self, _component: &str, _limits: &Limits) {}
}

/// A transaction is committed.
#[derive(Debug)]
pub struct CommitEnded<'e> {
    /// The outcomes of its deliveries.
    pub counts: Counts,
    /// The time of the commit, until its worker saw the end.
    pub took: Duration,
    /// The time at which the worker saw the end.
    pub at: Timestamp,
    /// The times of its deliveries.
    pub measured: &'e [Measured],
    /// The bytes of the keys and values that it emitted.
    pub emitted_bytes: u64,
}

impl Report for CommitEnded<'_> {
    fn log(&self, component: &str, _limits: &Limits) {
        let (records, took) = (self.counts.taken(), self.took);
        tracing::trace!(%component, records, ?took, "committed");
    }

    #[expect(clippy::cast_precision_loss, reason = "sizes of one transaction are far below 2^52")]
    fn count(&self, counters: &mut Counters) {
        counters.commit.observe(self.took.as_secs_f64());
        counters.batch.observe(self.counts.taken() as f64);
        counters.emitted_bytes.observe(self.emitted_bytes as f64);
        for measured in self.measured {
            measured.count(counters);
            let age = measured.age(self.at);
            age.into_iter().for_each(|age| counters.age.observe_in(age, measured.trace()));
        }
    }

    fn trace(&self, component: &ComponentName, traces: &Traces) {
        traces.committed(component, spans(self.measured), self.counts.taken(), self.took);
    }
}

/// The spans of deliveries whose traces are recorded.
fn spans(measured: &[Measured]) -> impl Iterator<Item = &DeliverySpan> {
    measured.iter().filter_map(|measured| measured.span.as_deref())
}

/// A transaction was aborted. The deliveries since the last commit are made again, also those whose commit was in
/// flight.
#[derive(Debug)]
pub struct TransactionAborted<'e> {
    /// The cause.
    pub cause: AbortCause,
    /// The cause in words.
    pub why: &'e str,
    /// The reason why the commit in flight failed too, if it did.
    pub earlier: Option<&'e str>,
    /// The number of aborts in a row.
    pub in_row: u32,
    /// The times of its deliveries.
    pub measured: &'e [Measured],
}

/// The cause of an abort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbortCause {
    /// The log demands it.
    Log,
    /// The log refused a record.
    Refused,
    /// Partitions were lost.
    PartitionsLost,
    /// An input topic was recreated.
    TopicRecreated,
}

impl AbortCause {
    /// All causes.
    pub const ALL: [Self; 4] = [Self::Log, Self::Refused, Self::PartitionsLost, Self::TopicRecreated];

    /// The stable name, for metrics and log lines.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Refused => "refused",
            Self::PartitionsLost => "partitions-lost",
            Self::TopicRecreated => "topic-recreated",
        }
    }
}

impl Report for TransactionAborted<'_> {
    fn log(&self, component: &str, limits: &Limits) {
        let Self { why, earlier, in_row, .. } = self;
        let cause = self.cause.name();
        if *in_row >= ALERT_ABORTS && in_row.is_power_of_two() {
            tracing::warn!(target: ALERT, %component, %cause, %why, earlier, in_row, "the same transaction aborts again and again");
        } else if let Some(left_out) = limits.pass("aborted") {
            tracing::warn!(%component, %cause, %why, earlier, in_row, left_out, "aborted a transaction, its deliveries are repeated");
        }
    }

    fn count(&self, counters: &mut Counters) {
        *counters.aborts.entry(self.cause.name()).or_default() += 1;
        self.measured.iter().for_each(|measured| measured.count(counters));
    }

    fn trace(&self, component: &ComponentName, traces: &Traces) {
        traces.aborted(component, spans(self.measured), self.cause.name());
    }
}
