//! The circuit breaker of a component. If nearly everything fails, a dependency of all deliveries is probably down.
//! Then it is better to stop consuming than to dead-letter one record after the other.
//!
//! ```text
//!          too many failures              `pause` has passed
//!  closed ─────────────────> open ───────────────────────────> half-open ──one delivery succeeds──> closed
//!                             ^                                    │
//!                             └──────────── it fails ──────────────┘
//! ```
//!
//! A component's workers on a host share it. Times must come from one monotonic clock.

use std::collections::VecDeque;
use std::time::Duration;

/// The number of slices of the time window for failure rates. It bounds the precision of a rate.
const SLICES: u32 = 10;

/// The conditions that open a breaker, and the consequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// The number of consecutive failures that open it. With `percent`, also the fewest deliveries for a rate.
    pub failures: u32,
    /// The time window for these failures.
    pub within: Duration,
    /// The percentage of failed deliveries that also opens it.
    pub percent: Option<u8>,
    /// The time before an open breaker admits a probe.
    pub pause: Duration,
    /// The consequence of opening.
    pub on_open: OnOpen,
}

/// The consequence of an open breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnOpen {
    /// A pause, and then a probe.
    Pause,
    /// The component is stopped until the host restarts.
    Stop,
}

/// The state of a breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BreakerState {
    /// All records are consumed.
    #[default]
    Closed,
    /// No records are consumed.
    Open,
    /// One delivery, the probe, decides if it closes.
    HalfOpen,
    /// No records are consumed until the host restarts.
    Stopped,
}

impl BreakerState {
    /// The stable name, for status and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
            Self::Stopped => "stopped",
        }
    }
}

/// The answer to a request for a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The delivery may be made.
    Go,
    /// No delivery before this time; ask again then.
    NotBefore(Duration),
    /// No delivery until the host restarts.
    Never,
}

/// A component's breaker.
#[derive(Clone, Debug)]
pub struct Breaker {
    policy: BreakerPolicy,
    state: BreakerState,
    /// The end of the open state. In the half-open state, the time of another probe if the last one has no outcome.
    until: Duration,
    /// The times of the last consecutive failures, at most `failures`.
    in_a_row: VecDeque<Duration>,
    slices: VecDeque<Slice>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    number: u128,
    failed: u64,
    all: u64,
}

impl Breaker {
    /// Creates a closed breaker.
    #[must_use]
    pub fn new(policy: BreakerPolicy) -> Self {
        let (in_a_row, slices) = (VecDeque::new(), VecDeque::new());
        Self { policy, state: BreakerState::Closed, until: Duration::ZERO, in_a_row, slices }
    }

    /// Its state.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        self.state
    }

    /// Its policy.
    #[must_use]
    pub fn policy(&self) -> &BreakerPolicy {
        &self.policy
    }

    /// The time until which nothing should be read, or `None` if records may be read at `now`. While the breaker is
    /// open, records stay in the log.
    #[must_use]
    pub fn shut_until(&self, now: Duration) -> Option<Duration> {
        match self.state {
            BreakerState::Closed | BreakerState::HalfOpen => None,
            BreakerState::Open => Some(self.until).filter(|until| now < *until),
            BreakerState::Stopped => Some(Duration::MAX),
        }
    }

    /// Requests one delivery. If it is admitted, the caller must make it and [record its outcome](Self::note).
    pub fn admit(&mut self, now: Duration) -> Admission {
        match self.state {
            BreakerState::Closed => Admission::Go,
            BreakerState::Stopped => Admission::Never,
            BreakerState::Open | BreakerState::HalfOpen if now < self.until => Admission::NotBefore(self.until),
            BreakerState::Open | BreakerState::HalfOpen => {
                self.state = BreakerState::HalfOpen;
                self.until = now + self.policy.pause;
                Admission::Go
            }
        }
    }

    /// Cancels an admission that led to no delivery, so that another one may be made at once.
    pub fn pass(&mut self) {
        if self.state == BreakerState::HalfOpen {
            self.until = Duration::ZERO;
        }
    }

    /// Records the outcome of a delivery. Returns the new state if it changed.
    pub fn note(&mut self, failed: bool, now: Duration) -> Option<BreakerState> {
        let next = match (self.state, failed) {
            (BreakerState::Closed, _) if self.counts(failed, now) => self.open(now),
            (BreakerState::HalfOpen, true) => self.open(now),
            (BreakerState::HalfOpen, false) => BreakerState::Closed,
            // The delivery was running when the breaker opened.
            (state, _) => state,
        };
        let changed = next != self.state;
        if changed {
            self.in_a_row.clear();
            self.slices.clear();
        }
        self.state = next;
        changed.then_some(next)
    }

    fn open(&mut self, now: Duration) -> BreakerState {
        self.until = now + self.policy.pause;
        match self.policy.on_open {
            OnOpen::Pause => BreakerState::Open,
            OnOpen::Stop => BreakerState::Stopped,
        }
    }

    /// Records an outcome. Returns true if the breaker should open.
    fn counts(&mut self, failed: bool, now: Duration) -> bool {
        if failed {
            self.in_a_row.push_back(now);
        } else {
            self.in_a_row.clear();
        }
        let failures = self.policy.failures as usize;
        if self.in_a_row.len() > failures {
            self.in_a_row.pop_front();
        }
        let first = self.in_a_row.front().filter(|_| self.in_a_row.len() == failures);
        let in_a_row = first.is_some_and(|first| now.saturating_sub(*first) <= self.policy.within);
        in_a_row || self.rate_is_reached(failed, now)
    }

    fn rate_is_reached(&mut self, failed: bool, now: Duration) -> bool {
        let Some(percent) = self.policy.percent else { return false };
        let slice = (self.policy.within / SLICES).max(Duration::from_micros(1));
        let number = now.as_micros() / slice.as_micros();
        if self.slices.back().is_none_or(|last| last.number != number) {
            self.slices.push_back(Slice { number, ..Slice::default() });
        }
        while self.slices.front().is_some_and(|first| first.number + u128::from(SLICES) <= number) {
            self.slices.pop_front();
        }
        if let Some(last) = self.slices.back_mut() {
            last.all += 1;
            last.failed += u64::from(failed);
        }
        let (failed, all) = self.slices.iter().fold((0, 0), |(f, a), slice| (f + slice.failed, a + slice.all));
        all >= u64::from(self.policy.failures) && failed * 100 >= u64::from(percent) * all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn policy() -> BreakerPolicy {
        BreakerPolicy { failures: 3, within: ms(1_000), percent: None, pause: ms(500), on_open: OnOpen::Pause }
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_probe_closes_it() {
        let mut breaker = Breaker::new(policy());
        assert_eq!([breaker.note(true, ms(0)), breaker.note(true, ms(1)), breaker.note(false, ms(2))], [None; 3]);
        assert_eq!([breaker.note(true, ms(3)), breaker.note(true, ms(4))], [None; 2]);
        assert_eq!(breaker.note(true, ms(5)), Some(BreakerState::Open));
        assert_eq!((breaker.shut_until(ms(504)), breaker.shut_until(ms(505))), (Some(ms(505)), None));
        assert_eq!(breaker.admit(ms(6)), Admission::NotBefore(ms(505)));
        assert_eq!((breaker.admit(ms(505)), breaker.state()), (Admission::Go, BreakerState::HalfOpen));
        // Only one probe at a time.
        assert_eq!(breaker.admit(ms(506)), Admission::NotBefore(ms(1_005)));
        assert_eq!(breaker.note(true, ms(600)), Some(BreakerState::Open));
        assert_eq!(breaker.admit(ms(1_100)), Admission::Go);
        assert_eq!(breaker.note(false, ms(1_101)), Some(BreakerState::Closed));
        assert_eq!(breaker.admit(ms(1_101)), Admission::Go);
    }

    #[test]
    fn a_probe_that_nothing_is_heard_of_is_made_again() {
        let mut breaker = Breaker::new(policy());
        for n in 0..3 {
            let _ = breaker.note(true, ms(n));
        }
        assert_eq!(breaker.admit(ms(600)), Admission::Go);
        assert_eq!(breaker.admit(ms(1_100)), Admission::Go);
    }

    #[test]
    fn failures_that_are_far_apart_do_not_count_together() {
        let mut breaker = Breaker::new(policy());
        assert!((0..20).all(|n| breaker.note(true, ms(n * 600)).is_none()));
    }

    #[test]
    fn a_rate_opens_it_once_enough_was_seen() {
        let mut breaker = Breaker::new(BreakerPolicy { failures: 10, percent: Some(50), ..policy() });
        assert!((0..9).all(|n| breaker.note(n % 2 == 0, ms(n)).is_none()));
        assert_eq!(breaker.note(true, ms(10)), Some(BreakerState::Open));
        let mut breaker = Breaker::new(BreakerPolicy { failures: 10, percent: Some(50), ..policy() });
        // Nine failures, long before the later ones.
        assert!((0..9).all(|n| breaker.note(true, ms(n)).is_none()));
        assert!((0..100).all(|n| breaker.note(n % 3 == 0, ms(5_000 + n)).is_none()));
    }

    #[test]
    fn it_may_stop_for_good() {
        let mut breaker = Breaker::new(BreakerPolicy { on_open: OnOpen::Stop, ..policy() });
        for n in 0..2 {
            let _ = breaker.note(true, ms(n));
        }
        assert_eq!(breaker.note(true, ms(2)), Some(BreakerState::Stopped));
        assert_eq!(
            (breaker.admit(ms(9_999_999)), breaker.shut_until(ms(9_999_999))),
            (Admission::Never, Some(Duration::MAX))
        );
    }
}
