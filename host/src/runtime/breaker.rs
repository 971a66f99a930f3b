//! A component's circuit breaker, shared by its workers in this process.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use heddle_core::breaker::{Admission, Breaker, BreakerPolicy, BreakerState};
use heddle_core::delivery::ComponentName;

use super::progress::Progress;
use crate::lock::lock;

/// A breaker, or none. All who share it use the same clock.
#[derive(Clone)]
pub struct SharedBreaker {
    breaker: Option<Arc<Mutex<Breaker>>>,
    progress: Arc<Progress>,
}

impl SharedBreaker {
    /// A closed one, which tells `progress` what it is at; `None`: it never opens.
    #[must_use]
    pub fn new(policy: Option<BreakerPolicy>, progress: Arc<Progress>) -> Self {
        Self { breaker: policy.map(|policy| Arc::new(Mutex::new(Breaker::new(policy)))), progress }
    }

    pub(super) fn admit(&self, now: Duration) -> Admission {
        let Some(breaker) = &self.breaker else { return Admission::Go };
        let mut breaker = lock(breaker);
        let admission = breaker.admit(now);
        self.progress.breaker(breaker.state());
        admission
    }

    /// The delivery that was admitted was none.
    pub(super) fn pass(&self) {
        if let Some(breaker) = &self.breaker {
            lock(breaker).pass();
        }
    }

    /// Notes how a delivery ended.
    pub(super) fn note(&self, failed: bool, now: Duration, component: &ComponentName) {
        let Some(breaker) = &self.breaker else { return };
        let mut breaker = lock(breaker);
        let Some(state) = breaker.note(failed, now) else { return };
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
    pub(super) fn shut_until(&self, now: Duration) -> Option<Duration> {
        let breaker = self.breaker.as_ref()?;
        lock(breaker).shut_until(now)
    }
}
