//! Time, as the runtime sees it: an argument, so that a simulation can have its own.

use std::time::{Duration, Instant};

use heddle_core::event::Timestamp;

use crate::log;

/// A clock that only goes forward.
pub trait Clock: Send + Sync {
    /// The time since some moment that stays the same while the process runs.
    fn now(&self) -> Duration;

    /// The time of day, as records carry it.
    fn timestamp(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn timestamp(&self) -> Timestamp {
        log::now()
    }
}
