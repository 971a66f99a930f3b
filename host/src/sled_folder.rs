//! Opens sled folders for the embedded log, the state of tasks and the embedded registry.

use std::thread;
use std::time::{Duration, Instant};

/// The longest time that an earlier owner may take to close: sled releases its lock on background threads.
pub(crate) const CLOSING: Duration = Duration::from_secs(1);
/// The key that is written to wake blocked calls. No key of Heddle resembles it.
const WAKE: &[u8] = b"\xffwake";
/// The interval between attempts on the folder's lock.
const TRY_EVERY: Duration = Duration::from_millis(10);

/// Opens the folder of `config`. If it has another owner, waits for it to close, for `wait` at most.
pub(crate) fn open(config: &sled::Config, wait: Duration) -> sled::Result<sled::Db> {
    let asked = Instant::now();
    loop {
        match config.open() {
            Err(error) if is_owned(&error) && asked.elapsed() < wait => thread::sleep(TRY_EVERY),
            opened => return opened,
        }
    }
}

/// Returns true if another process owns the folder. sled has no error kind for that.
pub(crate) fn is_owned(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(io) if io.to_string().contains("could not acquire lock"))
}

/// Wakes calls that still sleep after a write failed: sled records the failure, but does not always wake its waiters.
/// The next write meets the failure and wakes the others.
pub(crate) fn wake(db: &sled::Db) {
    // The other calls get the same error. Without a failure this is one small additional write.
    let _heard = db.insert(WAKE, &[]);
}
