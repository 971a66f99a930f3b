//! A histogram with fixed buckets.

use std::collections::BTreeMap;
use std::time::Duration;

use heddle_core::trace::TraceId;

/// Bounds for the time of handlers and of deliveries, in seconds.
pub(super) const DELIVERY_SECONDS: &[f64] = &[
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
    0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Bounds for the time of commits and of requests, in seconds.
pub(super) const REQUEST_SECONDS: &[f64] =
    &[0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Bounds for the age of records, in seconds.
pub(super) const AGE_SECONDS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 3_600.0, 86_400.0];
/// Bounds for the number of records in a transaction.
pub(super) const RECORDS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0];
/// Bounds for the size of a transaction's emits, in bytes.
pub(super) const BYTES: &[f64] =
    &[0.0, 256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0];

/// The number of values in each bucket, and their sum.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One more than there are bounds. The last one counts values above all bounds.
    counts: Vec<u64>,
    sum: f64,
    /// The newest exemplar of each bucket.
    exemplars: BTreeMap<usize, Exemplar>,
}

/// A value with the trace that it comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemplar {
    /// The trace.
    pub trace: TraceId,
    /// The value.
    pub value: f64,
    /// The time of the value, since 1970.
    pub at: Duration,
}

impl Histogram {
    /// Creates an empty histogram. The bounds must increase.
    pub(super) fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0, exemplars: BTreeMap::new() }
    }

    /// Adds a value.
    pub(super) fn observe(&mut self, value: f64) {
        self.observe_in(value, None);
    }

    /// Adds a value of a delivery that had this trace, at this time.
    pub(super) fn observe_in(&mut self, value: f64, trace: Option<(TraceId, Duration)>) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        if let Some((trace, at)) = trace {
            self.exemplars.insert(bucket, Exemplar { trace, value, at });
        }
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.sum += value;
    }

    /// The exemplar of a bucket, by its position.
    #[must_use]
    pub fn exemplar(&self, bucket: usize) -> Option<&Exemplar> {
        self.exemplars.get(&bucket)
    }

    /// Returns true if a bucket has an exemplar.
    #[must_use]
    pub fn has_exemplars(&self) -> bool {
        !self.exemplars.is_empty()
    }

    /// The number of values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all values.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// The upper bound and the number of values of each bucket. The last bound is infinite.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        bounds.zip(self.counts.iter().copied())
    }

    /// The values that were added since `earlier`, an earlier copy.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let counts = self.counts.iter().zip(&earlier.counts).map(|(now, before)| now.saturating_sub(*before)).collect();
        Self { bounds: self.bounds, counts, sum: self.sum - earlier.sum, exemplars: BTreeMap::new() }
    }

    /// The estimated value below which this part of all values lies, interpolated within its bucket. `None` if the
    /// histogram is empty. Values above all bounds count as the last bound.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let rank = self.count() as f64 * part;
        let mut below = 0.0;
        for (bound, count) in self.buckets().filter(|(_, count)| *count > 0) {
            let lower = self.bounds.iter().rev().find(|other| **other < bound).copied().unwrap_or_default();
            #[expect(clippy::cast_precision_loss, reason = "an estimate")]
            let count = count as f64;
            if bound.is_infinite() {
                return self.bounds.last().copied();
            }
            if below + count >= rank {
                return Some(lower + (bound - lower) * ((rank - below) / count).clamp(0.0, 1.0));
            }
            below += count;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_in_the_first_bucket_that_holds_them() {
        let mut histogram = Histogram::new(&[1.0, 2.0]);
        [0.5, 1.0, 1.5, 9.0].iter().for_each(|value| histogram.observe(*value));
        assert_eq!(histogram.buckets().collect::<Vec<_>>(), [(1.0, 2), (2.0, 1), (f64::INFINITY, 1)]);
        assert_eq!((histogram.count(), histogram.sum()), (4, 12.0));
    }

    #[test]
    fn quantiles_are_interpolated_within_a_bucket() {
        let mut histogram = Histogram::new(&[1.0, 2.0, 4.0]);
        assert_eq!(histogram.quantile(0.5), None);
        (0..100).for_each(|_| histogram.observe(1.5));
        let before = histogram.clone();
        assert_eq!(histogram.quantile(0.5), Some(1.5));
        (0..100).for_each(|_| histogram.observe(3.0));
        assert_eq!(histogram.quantile(0.5), Some(2.0));
        assert_eq!(histogram.quantile(0.75), Some(3.0));
        assert_eq!(histogram.since(&before).quantile(0.5), Some(3.0));
        (0..1_000).for_each(|_| histogram.observe(100.0));
        assert_eq!(histogram.quantile(0.99), Some(4.0));
    }
}
