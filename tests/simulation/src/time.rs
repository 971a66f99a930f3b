//! Virtual time. A life runs in one thread, so the time is thread-local: even code that takes only a function pointer
//! can read it.

use std::cell::Cell;
use std::time::Duration;

use heddle::runtime::Clock;
use heddle_core::event::Timestamp;

thread_local! {
    static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// The beginning of every life, for the timestamps of records: some day in 2023.
const EPOCH_MS: i64 = 1_700_000_000_000;

/// The time since the life began.
pub(crate) fn now() -> Duration {
    NOW.get()
}

/// The current time as a record's timestamp.
pub(crate) fn timestamp() -> Timestamp {
    Timestamp(EPOCH_MS + i64::try_from(now().as_millis()).unwrap_or(i64::MAX))
}

/// The timestamp of an event at `age` before the life began.
pub(crate) fn before(age: Duration) -> Timestamp {
    Timestamp(EPOCH_MS - i64::try_from(age.as_millis()).unwrap_or(0))
}

pub(crate) fn set(time: Duration) {
    NOW.set(time);
}

/// The clock of simulated workers.
#[derive(Debug)]
pub(crate) struct VirtualClock;

impl Clock for VirtualClock {
    fn now(&self) -> Duration {
        now()
    }

    fn timestamp(&self) -> Timestamp {
        timestamp()
    }
}
