//! The decision after a failed delivery.
//!
//! ```text
//!  fault ──may pass?──no──────────────────────────────────────────────────────> dead letter
//!             │yes                                                                  ^
//!             └──> again in place, after a back-off ──used up──> later, delay by ──used up
//!                  (attempts_max)                                delay (retries)
//! ```

use std::collections::BTreeSet;
use std::time::Duration;

use crate::event::Topic;
use crate::fault::{EventFault, EventFaultKind};

/// A component's failure policy, from its manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailurePolicy {
    /// The number of attempts in place, at least 1.
    pub attempts_max: u32,
    /// The pause between attempts in place.
    pub backoff: Backoff,
    /// The faults that are retried.
    pub retry_on: BTreeSet<EventFaultKind>,
    /// The later attempts of a parked record, in order.
    pub retries: Vec<Retry>,
    /// The order between a parked record and later records with its key.
    pub order: Order,
    /// The topic for records whose attempts all failed.
    pub dead_letter: Topic,
}

/// One later attempt of a parked record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The time since the previous attempt.
    pub delay: Duration,
    /// The topic for parked records, unless they are parked in the task's schedule ([`Order::Key`]).
    pub topic: Topic,
}

/// The treatment of later records whose key has a parked record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// They overtake the parked record, which is in a retry topic.
    #[default]
    None,
    /// They are parked behind it in the task's schedule, within these bounds.
    Key(WaitingBounds),
}

/// Bounds for parked records in a task's schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitingBounds {
    /// The maximum number of parked records of one key.
    pub per_key_max: usize,
    /// The maximum number of parked records of one task.
    pub per_task_max: usize,
    /// The treatment of further records.
    pub when_full: WhenFull,
}

impl Default for WaitingBounds {
    fn default() -> Self {
        Self { per_key_max: 1_000, per_task_max: 100_000, when_full: WhenFull::Wait }
    }
}

/// The treatment of a record that cannot be parked because the bounds are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Its partition is blocked until there is room.
    Wait,
    /// It is dead-lettered.
    DeadLetter,
}

/// Exponential back-off with deterministic jitter, between attempts in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The back-off after the first attempt.
    pub first: Duration,
    /// The longest back-off.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(50), max: Duration::from_secs(1) }
    }
}

impl Backoff {
    /// No back-off.
    pub const NONE: Self = Self { first: Duration::ZERO, max: Duration::ZERO };

    /// The back-off after `attempt` of the delivery `id`: between half of the full time and all of it. It is always the
    /// same for one delivery and attempt, but differs between deliveries that failed together.
    #[must_use]
    pub fn after(&self, id: &str, attempt: u32) -> Duration {
        let doubled = self.first.saturating_mul(1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX));
        let full = u64::try_from(doubled.min(self.max).as_micros()).unwrap_or(u64::MAX);
        let half = full / 2;
        Duration::from_micros(half + fnv1a(id, attempt) % (full - half + 1))
    }
}

/// FNV-1a, 64 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>), of the id and the attempt.
fn fnv1a(id: &str, attempt: u32) -> u64 {
    let bytes = id.bytes().chain(attempt.to_be_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// The next action after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition<'p> {
    /// Retry in place after this time. The task is blocked meanwhile.
    Again(Duration),
    /// Park the record for this delay. Other records continue meanwhile.
    Later(&'p Retry),
    /// Write the record to the dead-letter topic.
    DeadLetter,
}

/// The attempts before a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The attempts in place so far. `None` for an attempt after a delay, because each delay has only one attempt.
    pub in_place: Option<u32>,
    /// The number of delays so far.
    pub round: usize,
}

impl FailurePolicy {
    /// The longest time between a record and its last attempt: the sum of all delays.
    #[must_use]
    pub fn lateness(&self) -> Duration {
        self.retries.iter().fold(Duration::ZERO, |sum, retry| sum.saturating_add(retry.delay))
    }

    /// Creates a policy with `attempts_max` attempts in place, without back-off, and then `dead_letter`.
    pub fn in_place(attempts_max: u32, dead_letter: impl Into<Topic>) -> Self {
        Self {
            attempts_max,
            backoff: Backoff::NONE,
            retry_on: EventFaultKind::ALL.into_iter().filter(|kind| kind.may_pass()).collect(),
            retries: vec![],
            order: Order::None,
            dead_letter: dead_letter.into(),
        }
    }

    /// Decides after an attempt of the delivery `id` failed with `fault`.
    #[must_use]
    pub fn decide(&self, id: &str, tried: Tried, fault: &EventFault) -> Disposition<'_> {
        if !self.retry_on.contains(&fault.kind) {
            return Disposition::DeadLetter;
        }
        match (tried.in_place, self.retries.get(tried.round)) {
            (Some(attempt), _) if attempt < self.attempts_max => Disposition::Again(self.backoff.after(id, attempt)),
            (_, Some(retry)) => Disposition::Later(retry),
            (_, None) => Disposition::DeadLetter,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backoff_doubles_up_to_its_bound_and_is_the_same_every_time() {
        let backoff = Backoff { first: Duration::from_millis(100), max: Duration::from_millis(500) };
        let waits = |id: &str| (1..=40).map(|attempt| backoff.after(id, attempt)).collect::<Vec<_>>();
        assert_eq!(waits("a"), waits("a"));
        assert_ne!(waits("a"), waits("b"));
        for (attempt, wait) in waits("a").into_iter().enumerate() {
            let full = Duration::from_millis([100, 200, 400].get(attempt).copied().unwrap_or(500));
            assert!(wait >= full / 2 && wait <= full, "{attempt}: {wait:?}");
        }
        assert_eq!(Backoff::NONE.after("a", 3), Duration::ZERO);
    }

    #[test]
    fn a_record_is_retried_in_place_then_after_each_delay_then_dead_lettered() {
        let retry = |seconds| Retry { delay: Duration::from_secs(seconds), topic: format!("retry.{seconds}s").into() };
        let policy = FailurePolicy { retries: vec![retry(1), retry(10)], ..FailurePolicy::in_place(2, "dlq") };
        let failed = EventFault::new(EventFaultKind::Failed, "");
        let decide = |in_place, round| policy.decide("id", Tried { in_place, round }, &failed);
        assert_eq!(decide(Some(1), 0), Disposition::Again(Duration::ZERO));
        assert_eq!(decide(Some(2), 0), Disposition::Later(&retry(1)));
        assert_eq!(decide(None, 1), Disposition::Later(&retry(10)));
        // The policy had more delays earlier. Records that are parked in the topic of a removed delay are
        // dead-lettered.
        assert_eq!(decide(None, 2), Disposition::DeadLetter);
        let trap = EventFault::new(EventFaultKind::Trap, "");
        assert_eq!(policy.decide("id", Tried { in_place: Some(1), round: 0 }, &trap), Disposition::DeadLetter);
    }
}
