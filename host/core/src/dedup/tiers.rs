//! Groups ids into segments and plans merges. The ids of a segment belong to one range of time, so that a whole segment
//! expires at once. Segments are merged so that a lookup has to ask few filters.

use std::time::Duration;

use crate::event::Timestamp;

/// The maximum number of ids in a merged segment, because the memory of a merge grows with them. Segments of half that
/// size are not merged.
pub const SEGMENT_IDS_MAX: u64 = 1 << 20;
/// The number of buckets in a window.
const BUCKETS: i64 = 16;
/// The shortest bucket, in milliseconds, because every write to disk creates a segment for each bucket it touches.
const BUCKET_MILLIS_MIN: i64 = 1000;
/// The maximum time, by the host's clock, for which an id is kept after it was processed, however old its record is.
/// The window bounds it, too.
pub const LINGER_MILLIS_MAX: i64 = 10 * 60 * 1000;
/// The number of buckets for late ids.
const LINGER_BUCKETS: i64 = 10;
/// The maximum number of segments in one bucket. Segments that are too large to be merged do not count.
pub const SEGMENTS_MAX: usize = 8;

/// The window of a topic's ids, and their division into buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buckets {
    window: i64,
    width: i64,
}

impl Buckets {
    /// Creates the buckets for ids that are remembered for `window`.
    #[must_use]
    pub fn new(window: Duration) -> Self {
        let window = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
        Self { window, width: (window / BUCKETS).max(BUCKET_MILLIS_MIN) }
    }

    /// The length of a bucket, in milliseconds.
    #[must_use]
    pub const fn width_millis(self) -> i64 {
        self.width
    }

    /// The bucket of an id recorded at `at`.
    #[must_use]
    pub const fn bucket(self, at: Timestamp) -> i64 {
        at.0.div_euclid(self.width)
    }

    /// Returns true if an id recorded at `noted` is remembered at `at`. An id recorded later than `at` is remembered,
    /// too, because the order of records does not follow clocks.
    #[must_use]
    pub const fn remembers(self, noted: Timestamp, at: Timestamp) -> bool {
        noted.0 > at.0.saturating_sub(self.window)
    }

    /// The time for which an id is kept after it was processed, by the host's clock, in milliseconds. A late duplicate
    /// mostly follows its original within seconds, while the stream's other records are far ahead of both.
    #[must_use]
    pub fn linger_millis(self) -> i64 {
        self.window.min(LINGER_MILLIS_MAX)
    }

    /// The bucket of late ids that were written to disk at `written`.
    #[must_use]
    pub fn late_bucket(self, written: Timestamp) -> i64 {
        written.0.div_euclid((self.linger_millis() / LINGER_BUCKETS).max(1))
    }

    /// Returns true if ids written to disk at `written` are still kept at `now`, because they were processed lately.
    #[must_use]
    pub fn lingers(self, written: Timestamp, now: Timestamp) -> bool {
        written.0 > now.0.saturating_sub(self.linger_millis())
    }

    /// The timestamp to store for an id recorded at `at`. The bound prevents a clock that is far ahead from keeping an
    /// id for years.
    #[must_use]
    pub fn bounded(self, at: Timestamp, now: Timestamp) -> Timestamp {
        at.min(Timestamp(now.0.saturating_add(self.window)))
    }
}

/// Chooses the segments of one bucket to merge, given the number of ids in each. Returns `None` if the bucket has few
/// enough.
///
/// It chooses the smallest segments, as long as the next one is not much larger than all chosen ones together. So an id
/// is written again only as often as its segment doubles. If `open`, the bucket still grows, and a merge waits for
/// several segments.
#[must_use]
pub fn merge_plan(sizes: &[u64], open: bool) -> Option<Vec<usize>> {
    let mut order = (0..sizes.len()).filter(|&index| sizes[index] < SEGMENT_IDS_MAX / 2).collect::<Vec<_>>();
    order.sort_by_key(|&index| sizes[index]);
    let surplus = order.len().saturating_sub(SEGMENTS_MAX);
    let (mut sum, mut run) = (0_u64, 0);
    for &index in &order {
        let like = run == 0 || sizes[index] <= sum.saturating_mul(2) || run <= surplus;
        if !like || sum.saturating_add(sizes[index]) > SEGMENT_IDS_MAX {
            break;
        }
        sum = sum.saturating_add(sizes[index]);
        run += 1;
    }
    let worth = if open && surplus == 0 { 4 } else { 2 };
    if run < worth {
        return None;
    }
    order.truncate(run);
    Some(order)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Writes segments of these sizes one after the other, and merges as planned. Returns the remaining segments, and
    /// the number of ids that merges wrote.
    fn settle(written: &[u64], open: bool) -> (Vec<u64>, u64) {
        let (mut sizes, mut merged) = (vec![], 0);
        for size in written {
            sizes.push(*size);
            while let Some(plan) = merge_plan(&sizes, open) {
                assert!(plan.len() > 1);
                let sum = plan.iter().map(|&index| sizes[index]).sum();
                sizes = sizes
                    .iter()
                    .enumerate()
                    .filter(|(index, _)| !plan.contains(index))
                    .map(|(_, &size)| size)
                    .collect();
                sizes.push(sum);
                merged += sum;
            }
        }
        (sizes, merged)
    }

    proptest! {
        #[test]
        fn few_segments_stay_and_no_id_is_lost(written in vec(1..100_000u64, 1..300), open in any::<bool>()) {
            let (left, _) = settle(&written, open);
            let (full, growing): (Vec<u64>, Vec<u64>) = left.iter().partition(|&&size| size >= SEGMENT_IDS_MAX / 2);
            prop_assert!(growing.len() <= SEGMENTS_MAX);
            prop_assert!(full.iter().all(|&size| size <= SEGMENT_IDS_MAX));
            prop_assert_eq!(left.iter().sum::<u64>(), written.iter().sum::<u64>());
        }
    }

    #[test]
    fn an_id_is_not_written_again_and_again() {
        for open in [true, false] {
            let (_, merged) = settle(&[1000; 4096], open);
            assert!(merged / (4096 * 1000) <= 12, "{merged}");
        }
    }

    #[test]
    fn the_window_ends_where_it_says() {
        let buckets = Buckets::new(Duration::from_secs(160));
        assert!(buckets.remembers(Timestamp(1), Timestamp(160_000)));
        assert!(!buckets.remembers(Timestamp(0), Timestamp(160_000)));
        assert!(buckets.remembers(Timestamp(500_000), Timestamp(160_000)));
        assert_eq!(buckets.bucket(Timestamp(-1)), -1);
        assert_eq!(buckets.bucket(Timestamp(10_000)), 1);
        assert_eq!(buckets.bounded(Timestamp(i64::MAX), Timestamp(5)), Timestamp(160_005));
        assert!(
            buckets.lingers(Timestamp(1), Timestamp(160_000)) && !buckets.lingers(Timestamp(0), Timestamp(160_000))
        );
        assert_eq!(Buckets::new(Duration::MAX).linger_millis(), LINGER_MILLIS_MAX);
        assert_eq!(Buckets::new(Duration::ZERO).late_bucket(Timestamp(-1)), -1);
        let extremes = [Timestamp(i64::MIN), Timestamp(i64::MAX)];
        assert!(buckets.remembers(extremes[1], extremes[0]) && !buckets.remembers(extremes[0], extremes[1]));
    }
}
