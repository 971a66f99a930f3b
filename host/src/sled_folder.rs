//! Opening a folder with sled, as the embedded log, the state of tasks and the embedded registry do.

use std::thread;
use std::time::{Duration, Instant};

/// How long an earlier owner may take to close: sled lets its lock go by threads of its own, when they come to it.
pub(crate) const CLOSING: Duration = Duration::from_secs(1);
/// The key that is written to wake others. No key of Heddle's is like it.
const WAKE: &[u8] = b"\xffwake";
/// How often its lock is tried meanwhile.
const TRY_EVERY: Duration = Duration::from_millis(10);

/// Opens the folder of `config`; one that is owned is waited for, this long at most.
pub(crate) fn open(config: &sled::Config, wait: Duration) -> sled::Result<sled::Db> {
    let asked = Instant::now();
    loop {
        match config.open() {
            Err(error) if is_owned(&error) && asked.elapsed() < wait => thread::sleep(TRY_EVERY),
            opened => return opened,
        }
    }
}

/// Whether somebody else has the folder. sled has no error kind of its own for that.
pub(crate) fn is_owned(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(io) if io.to_string().contains("could not acquire lock"))
}

/// Wakes calls that sleep until a write has ended that failed: sled remembers the failure, but does not always tell
/// those who wait. Whoever writes next hears of it, and wakes the others.
pub(crate) fn wake(db: &sled::Db) {
    // What it says is what the others hear, too. Without a failure it is one small write more.
    let _heard = db.insert(WAKE, &[]);
}
