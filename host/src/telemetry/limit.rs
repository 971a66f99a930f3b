//! Limits log lines that repeat: one line per second stands for all others of its kind.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::lock::lock;

/// The interval between two lines of one kind.
const EVERY: Duration = Duration::from_secs(1);

/// Decides which lines are written.
#[derive(Default)]
pub(super) struct Limits(Mutex<BTreeMap<&'static str, Limit>>);

struct Limit {
    next: Instant,
    left_out: u64,
}

impl Limits {
    /// Returns `None` if a line of this kind is left out now, or else the number of lines that were left out since the
    /// last one.
    pub(super) fn pass(&self, kind: &'static str) -> Option<u64> {
        self.pass_at(kind, Instant::now())
    }

    fn pass_at(&self, kind: &'static str, now: Instant) -> Option<u64> {
        let mut limits = lock(&self.0);
        let limit = limits.entry(kind).or_insert(Limit { next: now, left_out: 0 });
        if now < limit.next {
            limit.left_out += 1;
            return None;
        }
        limit.next = now + EVERY;
        Some(std::mem::take(&mut limit.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_is_written_for_each_kind() {
        let (limits, start) = (Limits::default(), Instant::now());
        let pass = |kind, ms| limits.pass_at(kind, start + Duration::from_millis(ms));
        let passed = [0, 10, 999, 1_000, 1_500, 5_000].map(|ms| pass("a", ms));
        assert_eq!(passed, [Some(0), None, None, Some(2), None, Some(1)]);
        assert_eq!(pass("b", 5_001), Some(0));
    }
}
