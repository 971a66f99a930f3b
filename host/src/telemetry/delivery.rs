//! Events of a delivery.

use std::time::Duration;

use heddle_core::event::{Record, Timestamp};
use heddle_core::fault::EventFault;
use heddle_core::trace::{Context, TraceId};
use tracing::field::display;

use super::limit::Limits;
use super::{Counters, DeliverySpan, Report};

/// A record is about to be delivered.
#[derive(Debug)]
pub struct DeliveryBegun<'e> {
    /// The record.
    pub record: &'e Record,
    /// The number of the attempt.
    pub attempt: u32,
}

impl Report for DeliveryBegun<'_> {
    fn log(&self, _component: &str, _limits: &Limits) {}
}

/// A delivery has ended, in one way or another.
#[derive(Debug)]
pub struct DeliveryEnded<'e> {
    /// The record.
    pub record: &'e Record,
    /// The number of the attempt.
    pub attempt: u32,
    /// The digest of the component's version.
    pub digest: Option<&'e str>,
    /// The outcome.
    pub outcome: Outcome,
    /// The failure, if it failed.
    pub fault: Option<&'e EventFault>,
    /// The context of its span, if the record's trace is recorded.
    pub trace: Option<Context>,
}

/// The outcome of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The handler succeeded.
    Handled,
    /// The record was skipped, because its message was already processed.
    Skipped,
    /// The record was put into its table. No handler was called.
    Applied,
    /// The record is parked for this long.
    Parked(Duration),
    /// The record was dead-lettered.
    DeadLettered,
    /// Another attempt in place follows after this back-off.
    Retried(Duration),
    /// Nothing was decided, and the record is held: there is no room to park it, the log refuses its dead letter, or
    /// the registry does not answer.
    Held,
}

impl Outcome {
    /// Returns true if the outcome is part of the transaction. A later delivery of the record follows otherwise.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Retried(_) | Self::Held)
    }
}

impl Report for DeliveryEnded<'_> {
    fn log(&self, component: &str, limits: &Limits) {
        let Self { record, attempt, digest, outcome, fault, trace } = self;
        let Some(fault) = fault else { return };
        let (topic, partition, offset) = (&*record.source.topic, record.source.partition.0, record.offset.0);
        let id = &*record.correlation_id();
        let trace_id = trace.map(|trace| display(trace.trace));
        let span_id = trace.map(|trace| display(trace.span));
        match outcome {
            Outcome::Retried(after) => {
                tracing::debug!(%component, %topic, partition, offset, attempt, ?after, %fault, correlationId = id, trace_id, span_id, "retrying in place");
            }
            Outcome::Parked(after) => {
                tracing::debug!(%component, %topic, partition, offset, attempt, ?after, %fault, correlationId = id, trace_id, span_id, "parked");
            }
            Outcome::DeadLettered => {
                if let Some(left_out) = limits.pass("dead-lettered") {
                    tracing::warn!(%component, %topic, partition, offset, attempt, digest, %fault, correlationId = id, trace_id, span_id, left_out, "dead-lettered");
                }
            }
            Outcome::Handled | Outcome::Skipped | Outcome::Applied | Outcome::Held => {}
        }
    }
}

/// The times of one delivery, and its span.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The timestamp of the record. `None` if another delivery of the record follows.
    pub timestamp: Option<Timestamp>,
    /// The time of its handler. Zero if the handler was not called.
    pub handler: Duration,
    /// The time of the whole delivery.
    pub took: Duration,
    /// The span, if the record's trace is recorded.
    pub span: Option<Box<DeliverySpan>>,
}

impl Measured {
    /// Counts the times.
    pub(super) fn count(&self, counters: &mut Counters) {
        let trace = self.trace();
        if !self.handler.is_zero() {
            counters.handler.observe_in(self.handler.as_secs_f64(), trace);
        }
        counters.delivery.observe_in(self.took.as_secs_f64(), trace);
    }

    /// The trace and the end of the delivery, if the trace is recorded.
    pub(super) fn trace(&self) -> Option<(TraceId, Duration)> {
        self.span.as_ref().map(|span| (span.context.trace, span.ended))
    }

    /// The age of the record at `now`, in seconds. Zero if its timestamp is in the future.
    pub(super) fn age(&self, now: Timestamp) -> Option<f64> {
        let millis = u64::try_from(now.0.saturating_sub(self.timestamp?.0)).unwrap_or(0);
        Some(Duration::from_millis(millis).as_secs_f64())
    }
}
