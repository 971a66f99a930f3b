//! The one signal that ends the threads of a host.
//!
//! ```text
//!  request() ──> is_requested() is true, and every sleep() ends at once
//! ```
//!
//! A thread that works asks `is_requested` between two pieces of work; a thread that waits sleeps here, so a stop never
//! waits for the end of an interval.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::lock::lock;

/// A handle to the signal. Its clones are the same signal.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(Arc<Signal>);

#[derive(Debug, Default)]
struct Signal {
    is_requested: AtomicBool,
    /// Held while the signal is set, so that no sleeper misses it.
    sleepers: Mutex<()>,
    requested: Condvar,
}

impl Shutdown {
    /// Asks all threads to end. Returns true for the first request.
    pub fn request(&self) -> bool {
        let sleepers = lock(&self.0.sleepers);
        let is_first = !self.0.is_requested.swap(true, Ordering::Relaxed);
        drop(sleepers);
        self.0.requested.notify_all();
        is_first
    }

    /// Returns true if the threads have to end. Costs one atomic read.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.0.is_requested.load(Ordering::Relaxed)
    }

    /// Sleeps for this time, or until the threads have to end. Returns true if they have to.
    pub fn sleep(&self, time: Duration) -> bool {
        let sleepers = lock(&self.0.sleepers);
        let waited = self.0.requested.wait_timeout_while(sleepers, time, |()| !self.is_requested());
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        self.is_requested()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_request_ends_every_sleep() {
        let shutdown = Shutdown::default();
        assert!(!shutdown.sleep(Duration::ZERO));
        let sleepers = [(); 3].map(|()| {
            let shutdown = shutdown.clone();
            std::thread::spawn(move || shutdown.sleep(Duration::from_secs(600)))
        });
        assert!(shutdown.request());
        assert!(sleepers.into_iter().all(|sleeper| sleeper.join().unwrap()));
        assert!(!shutdown.request(), "somebody asked before");
    }

    #[test]
    fn a_sleep_after_the_request_is_over_at_once() {
        let shutdown = Shutdown::default();
        shutdown.request();
        let before = Instant::now();
        assert!(shutdown.sleep(Duration::from_secs(600)));
        assert!(before.elapsed() < Duration::from_secs(300));
    }
}
