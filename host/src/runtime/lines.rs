//! Log lines about single records, limited to one per second.

use std::time::Duration;

/// The minimum interval between two lines.
const EVERY: Duration = Duration::from_secs(1);

/// Decides which lines are written.
#[derive(Default)]
pub(super) struct Lines {
    next: Duration,
    left_out: u64,
}

impl Lines {
    /// Decides if a line is written at `now`. Returns the number of lines left out since the last one.
    pub(super) fn pass(&mut self, now: Duration) -> Option<u64> {
        if now < self.next {
            self.left_out += 1;
            return None;
        }
        self.next = now + EVERY;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_is_written() {
        let mut lines = Lines::default();
        let passed = [0, 10, 999, 1_000, 1_500, 5_000].map(|ms| lines.pass(Duration::from_millis(ms)));
        assert_eq!(passed, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
