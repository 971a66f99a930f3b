//! The rates and times of a component over the last minute, from copies of its counts.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use heddle_core::batch::Counts;

use crate::runtime::Progress;
use crate::telemetry::{Counters, Histogram};

/// The period over which rates are computed.
const WINDOW: Duration = Duration::from_secs(60);

/// Copies of the counts of one component, the oldest first.
#[derive(Default)]
pub(super) struct Rates(VecDeque<Copy>);

struct Copy {
    at: Instant,
    counts: Counts,
    handler: Histogram,
    age: Histogram,
}

/// The counts of the last minute.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Recent {
    /// Records taken from the input, per second.
    pub records: f64,
    /// Records emitted, per second.
    pub emitted: f64,
    /// The median and the 99th percentile of the time of handlers, in seconds.
    pub handler: Option<[f64; 2]>,
    /// The median and the 99th percentile of the time from a record's timestamp to its commit, in seconds.
    pub age: Option<[f64; 2]>,
}

impl Copy {
    fn of(progress: &Progress, at: Instant) -> Self {
        let Counters { handler, age, .. } = progress.telemetry().counters();
        Self { at, counts: progress.snapshot().counts, handler, age }
    }
}

impl Rates {
    /// Adds a copy, and drops copies that are too old.
    pub(super) fn look(&mut self, progress: &Progress, now: Instant) {
        while self.0.get(1).is_some_and(|next| now.saturating_duration_since(next.at) >= WINDOW) {
            self.0.pop_front();
        }
        self.0.push_back(Copy::of(progress, now));
    }

    /// Returns the change since the oldest copy.
    pub(super) fn recent(&self, progress: &Progress, now: Instant) -> Recent {
        let Some(first) = self.0.front() else { return Recent::default() };
        let last = Copy::of(progress, now);
        let seconds = now.saturating_duration_since(first.at).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate is an estimate")]
        let rate = |count: fn(&Counts) -> u64| {
            let counted = count(&last.counts).saturating_sub(count(&first.counts));
            if seconds > 0.0 { counted as f64 / seconds } else { 0.0 }
        };
        let times = |histogram: &Histogram| Some([histogram.quantile(0.5)?, histogram.quantile(0.99)?]);
        Recent {
            records: rate(|counts| counts.records),
            emitted: rate(|counts| counts.emitted),
            handler: times(&last.handler.since(&first.handler)),
            age: times(&last.age.since(&first.age)),
        }
    }
}
