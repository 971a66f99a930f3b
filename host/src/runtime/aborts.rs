//! Consecutive aborts. A transaction that aborts twice for the same cause is split until the record at fault is found.
//!
//! ```text
//!  abort ──same cause──> half as many deliveries ──> … ──> one delivery: the one at fault
//!                          └── commit: twice as many, until the former size
//! ```
//!
//! Each abort either halves the transaction or is followed by a growing pause.

use std::time::Duration;

use crate::telemetry::AbortCause;

/// The first pause after an abort of a transaction that cannot be split. It doubles with each further one.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// A transaction that was aborted.
pub(super) struct Abort {
    pub(super) kind: AbortCause,
    pub(super) cause: String,
    /// The number of deliveries in it.
    pub(super) deliveries: u64,
    /// True if a part of the deliveries might succeed. False if the cause is known and was handled.
    pub(super) splits: bool,
}

/// The aborts since the last commit.
#[derive(Default)]
pub(super) struct Aborts {
    in_row: u32,
    cause: String,
    /// The current limit on the deliveries of a transaction.
    deliveries_max: Option<u64>,
    /// The number of deliveries before the transaction was split.
    whole: u64,
    pauses: u32,
    until: Option<Duration>,
}

impl Aborts {
    /// Records an abort. Returns the number of aborts in a row.
    pub(super) fn note(&mut self, abort: &Abort, now: Duration) -> u32 {
        self.in_row = self.in_row.saturating_add(1);
        if !abort.splits {
            return self.in_row;
        }
        let cause = abort.cause.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
        if self.cause != cause {
            self.cause = cause;
            return self.in_row;
        }
        if abort.deliveries > 1 {
            self.whole = self.whole.max(abort.deliveries);
            self.deliveries_max = Some(abort.deliveries / 2);
        } else {
            let pause = PAUSE_FIRST.saturating_mul(1 << self.pauses.min(10)).min(PAUSE_MAX);
            self.pauses += 1;
            self.until = Some(now + pause);
        }
        self.in_row
    }

    /// Records a commit, which doubles the limit again.
    pub(super) fn committed(&mut self) {
        // Called after every commit. There is rarely anything to reset.
        if self.in_row == 0 && self.deliveries_max.is_none() {
            return;
        }
        (self.in_row, self.pauses, self.until) = (0, 0, None);
        self.cause.clear();
        self.deliveries_max = self.deliveries_max.map(|max| max * 2).filter(|max| *max < self.whole);
        if self.deliveries_max.is_none() {
            self.whole = 0;
        }
    }

    /// The limit on the deliveries of a transaction. It never exceeds `most`.
    pub(super) fn deliveries_max(&self, most: u64) -> u64 {
        self.deliveries_max.map_or(most, |max| max.min(most))
    }

    /// The end of the current pause.
    pub(super) fn pauses_until(&self, now: Duration) -> Option<Duration> {
        self.until.filter(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1);

    fn abort(cause: &str, deliveries: u64) -> Abort {
        Abort { kind: AbortCause::Log, cause: cause.to_owned(), deliveries, splits: true }
    }

    #[test]
    fn the_second_abort_for_a_cause_splits_until_one_is_left() {
        let mut aborts = Aborts::default();
        assert_eq!(aborts.note(&abort("topic `a`, after 5 ms", 100), NOW), 1);
        assert_eq!(aborts.deliveries_max(500), 500);
        let mut sizes = vec![];
        while aborts.deliveries_max(100) > 1 {
            aborts.note(&abort("topic `a`, after 7 ms", aborts.deliveries_max(100)), NOW);
            sizes.push(aborts.deliveries_max(500));
        }
        assert_eq!(sizes, [50, 25, 12, 6, 3, 1]);
        assert_eq!(aborts.pauses_until(NOW), None);
        let grown = std::iter::from_fn(|| {
            aborts.committed();
            Some(aborts.deliveries_max(500))
        });
        assert_eq!(grown.take(8).collect::<Vec<_>>(), [2, 4, 8, 16, 32, 64, 500, 500]);
    }

    #[test]
    fn a_transaction_that_cannot_be_split_is_retried_with_growing_pauses() {
        let mut aborts = Aborts::default();
        let mut pause = |splits| {
            aborts.note(&Abort { splits, ..abort("no answer", 1) }, NOW);
            aborts.pauses_until(NOW).map(|until| (until - NOW).as_millis())
        };
        assert_eq!([false, true, true, true].map(&mut pause), [None, None, Some(100), Some(200)]);
        let last = (0..20).map(|_| pause(true)).last().flatten();
        assert_eq!(last, Some(PAUSE_MAX.as_millis()));
    }
}
