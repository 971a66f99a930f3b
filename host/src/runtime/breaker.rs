//! A component's circuit breaker, shared by its workers in this process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use heddle_core::breaker::{Admission, Breaker, BreakerPolicy, BreakerState};
use heddle_core::delivery::ComponentName;

use super::progress::Progress;
use crate::lock::lock;

/// A breaker, or none. All who share it use the same clock.
#[derive(Clone)]
pub struct SharedBreaker {
    breaker: Arc<Mutex<Option<Breaker>>>,
    /// Whether there is one: asked for each record, without the lock.
    present: Arc<AtomicBool>,
    progress: Arc<Progress>,
}

impl SharedBreaker {
    /// A closed one, which tells `progress` what it is at; `None`: it never opens.
    #[must_use]
    pub fn new(policy: Option<BreakerPolicy>, progress: Arc<Progress>) -> Self {
        let present = Arc::new(AtomicBool::new(policy.is_some()));
        Self { breaker: Arc::new(Mutex::new(policy.map(Breaker::new))), present, progress }
    }

    /// Another version of the component: it is not to blame for what failed before.
    pub(super) fn renew(&self, policy: Option<BreakerPolicy>) {
        *lock(&self.breaker) = policy.map(Breaker::new);
        self.present.store(policy.is_some(), Ordering::Release);
        self.progress.breaker(BreakerState::Closed);
    }

    /// The breaker, if there is one. What follows asks for the time only then: without one, it is not read for each
    /// record.
    fn there(&self) -> Option<MutexGuard<'_, Option<Breaker>>> {
        self.present.load(Ordering::Acquire).then(|| lock(&self.breaker))
    }

    pub(super) fn admit(&self, now: impl FnOnce() -> Duration) -> Admission {
        let mut there = self.there();
        let Some(breaker) = there.as_mut().and_then(|there| there.as_mut()) else { return Admission::Go };
        let before = breaker.state();
        let admission = breaker.admit(now());
        if breaker.state() != before {
            self.progress.breaker(breaker.state());
        }
        admission
    }

    /// The delivery that was admitted was none.
    pub(super) fn pass(&self) {
        if let Some(breaker) = self.there().as_mut().and_then(|there| there.as_mut()) {
            breaker.pass();
        }
    }

    /// Notes how a delivery ended.
    pub(super) fn note(&self, failed: bool, now: impl FnOnce() -> Duration, component: &ComponentName) {
        let mut there = self.there();
        let Some(breaker) = there.as_mut().and_then(|there| there.as_mut()) else { return };
        let Some(state) = breaker.note(failed, now()) else { return };
        self.progress.breaker(state);
        match state {
            BreakerState::Open => {
                let pause = breaker.policy().pause;
                tracing::warn!(target: "heddle::alert", %component, ?pause, "the breaker opens: too many deliveries fail, so none is made for a while; nothing is lost");
            }
            BreakerState::Stopped => {
                tracing::error!(target: "heddle::alert", %component, "the breaker opens: too many deliveries fail, so the component stands still until the host is started again; nothing is lost");
            }
            BreakerState::Closed | BreakerState::HalfOpen => {
                tracing::info!(target: "heddle::alert", %component, "the breaker closes: a delivery succeeded");
            }
        }
    }

    /// Until when nothing is to be read, if it is so.
    pub(super) fn shut_until(&self, now: impl FnOnce() -> Duration) -> Option<Duration> {
        self.there()?.as_ref()?.shut_until(now())
    }
}
