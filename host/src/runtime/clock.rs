//! Time is an argument of the runtime, so that a simulation can supply its own.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use heddle_core::event::Timestamp;

use crate::log;

/// A monotonic clock.
pub trait Clock: Send + Sync {
    /// The time since a fixed moment of this process.
    fn now(&self) -> Duration;

    /// The time of day, as records carry it.
    fn timestamp(&self) -> Timestamp;

    /// The time since 1970, with the clock's full precision.
    fn unix(&self) -> Duration {
        Duration::from_millis(self.timestamp().0.try_into().unwrap_or(0))
    }
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

    fn unix(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}
