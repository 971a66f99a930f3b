//! A component's circuit breaker, shared by its workers in this process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use heddle_core::breaker::{Admission, Breaker, BreakerPolicy, BreakerState};

use super::progress::Progress;
use crate::lock::lock;
use crate::telemetry::BreakerChanged;

/// A breaker, or none. All workers that share it use the same clock.
#[derive(Clone)]
pub struct SharedBreaker {
    breaker: Arc<Mutex<Option<Breaker>>>,
    /// True if there is a breaker. Read for every record without the lock.
    present: Arc<AtomicBool>,
    progress: Arc<Progress>,
}

impl SharedBreaker {
    /// Creates a closed breaker that reports its state to `progress`. Without a policy, it never opens.
    #[must_use]
    pub fn new(policy: Option<BreakerPolicy>, progress: Arc<Progress>) -> Self {
        let present = Arc::new(AtomicBool::new(policy.is_some()));
        Self { breaker: Arc::new(Mutex::new(policy.map(Breaker::new))), present, progress }
    }

    /// Replaces the breaker by a closed one for another version of the component, which did not cause the earlier
    /// failures.
    pub(super) fn renew(&self, policy: Option<BreakerPolicy>) {
        *lock(&self.breaker) = policy.map(Breaker::new);
        self.present.store(policy.is_some(), Ordering::Release);
        self.progress.breaker(BreakerState::Closed);
    }

    /// Locks the breaker, if there is one. Callers read the clock only then, to save the time per record.
    fn there(&self) -> Option<MutexGuard<'_, Option<Breaker>>> {
        self.present.load(Ordering::Acquire).then(|| lock(&self.breaker))
    }

    pub(super) fn admit(&self, now: impl FnOnce() -> Duration) -> Admission {
        let mut there = self.there();
        let Some(breaker) = there.as_mut().and_then(|there| there.as_mut()) else { return Admission::Go };
        let before = breaker.state();
        let admission = breaker.admit(now());
        if breaker.state() != before {
            self.changed(breaker);
        }
        admission
    }

    /// Cancels an admission that led to no delivery.
    pub(super) fn pass(&self) {
        if let Some(breaker) = self.there().as_mut().and_then(|there| there.as_mut()) {
            breaker.pass();
        }
    }

    /// Records the outcome of a delivery.
    pub(super) fn note(&self, failed: bool, now: impl FnOnce() -> Duration) {
        let mut there = self.there();
        let Some(breaker) = there.as_mut().and_then(|there| there.as_mut()) else { return };
        if breaker.note(failed, now()).is_some() {
            self.changed(breaker);
        }
    }

    fn changed(&self, breaker: &Breaker) {
        self.progress.breaker(breaker.state());
        self.progress.report(BreakerChanged { state: breaker.state(), pause: breaker.policy().pause });
    }

    /// The time until which nothing is read, if the breaker is open.
    pub(super) fn shut_until(&self, now: impl FnOnce() -> Duration) -> Option<Duration> {
        self.there()?.as_ref()?.shut_until(now())
    }
}
