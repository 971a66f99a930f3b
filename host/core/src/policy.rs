//! What a failed delivery leads to.
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

/// A component's failure policy, as its manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailurePolicy {
    /// How often a delivery is tried in place, at least 1.
    pub attempts_max: u32,
    /// How long to wait between attempts in place.
    pub backoff: Backoff,
    /// Which faults are worth another attempt.
    pub retry_on: BTreeSet<EventFaultKind>,
    /// When a record is tried again later, delay by delay.
    pub retries: Vec<Retry>,
    /// Whether later records of a key wait for one that is tried again later.
    pub order: Order,
    /// Where a record goes that no attempt got through.
    pub dead_letter: Topic,
}

/// One later attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How long after the attempt before.
    pub delay: Duration,
    /// The topic in which a record waits, unless it waits in the task's state ([`Order::Key`]).
    pub topic: Topic,
}

/// What happens to the later records of a key while one of them waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// They overtake it: it waits in a retry topic.
    #[default]
    None,
    /// They queue behind it in the task's state, as long as these bounds allow.
    Key(WaitingBounds),
}

/// How many records may wait in a task's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitingBounds {
    /// Of one key.
    pub per_key_max: usize,
    /// Of one task.
    pub per_task_max: usize,
    /// What happens to one more.
    pub when_full: WhenFull,
}

impl Default for WaitingBounds {
    fn default() -> Self {
        Self { per_key_max: 1_000, per_task_max: 100_000, when_full: WhenFull::Wait }
    }
}

/// What happens to a record that finds no room to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Its partition stands still until there is room.
    Wait,
    /// It is set aside.
    DeadLetter,
}

/// How long to wait between attempts in place: each time twice as long, by a part that is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first attempt.
    pub first: Duration,
    /// At most.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(50), max: Duration::from_secs(1) }
    }
}

impl Backoff {
    /// None at all.
    pub const NONE: Self = Self { first: Duration::ZERO, max: Duration::ZERO };

    /// How long to wait after `attempt` of the delivery with this id: between half of the full time and all of it. The
    /// same delivery always waits as long, and deliveries that failed together do not come back together.
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

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition<'p> {
    /// Deliver the same record again, after this time; the task's other records wait.
    Again(Duration),
    /// Deliver it again when this delay has passed; others go on meanwhile.
    Later(&'p Retry),
    /// Set the record aside in the dead-letter topic.
    DeadLetter,
}

/// How a failed attempt came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The attempts in place so far; `None` if this was a later one, of which each delay has one.
    pub in_place: Option<u32>,
    /// How many delays were waited for.
    pub round: usize,
}

impl FailurePolicy {
    /// How long a record waits until its last attempt: all its delays together.
    #[must_use]
    pub fn lateness(&self) -> Duration {
        self.retries.iter().fold(Duration::ZERO, |sum, retry| sum.saturating_add(retry.delay))
    }

    /// Tries a delivery so often in place, without waiting; then it goes to `dead_letter`.
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

    /// Decides what follows after an attempt of the delivery `id` ended with `fault`.
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
    fn in_place_then_delay_by_delay_then_set_aside() {
        let retry = |seconds| Retry { delay: Duration::from_secs(seconds), topic: format!("retry.{seconds}s").into() };
        let policy = FailurePolicy { retries: vec![retry(1), retry(10)], ..FailurePolicy::in_place(2, "dlq") };
        let failed = EventFault::new(EventFaultKind::Failed, "");
        let decide = |in_place, round| policy.decide("id", Tried { in_place, round }, &failed);
        assert_eq!(decide(Some(1), 0), Disposition::Again(Duration::ZERO));
        assert_eq!(decide(Some(2), 0), Disposition::Later(&retry(1)));
        assert_eq!(decide(None, 1), Disposition::Later(&retry(10)));
        // A list that was longer once: what waited in the last topic of it is not stranded.
        assert_eq!(decide(None, 2), Disposition::DeadLetter);
        let trap = EventFault::new(EventFaultKind::Trap, "");
        assert_eq!(policy.decide("id", Tried { in_place: Some(1), round: 0 }, &trap), Disposition::DeadLetter);
    }
}
