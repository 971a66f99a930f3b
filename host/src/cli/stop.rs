//! How a host is told to stop, and what happens if it does not.
//!
//! ```text
//!  SIGTERM, SIGINT ──> stop is set ──in order──> exit code of the command
//!                        ├─ a second signal ───> 130, at once
//!                        └─ after 25 s ────────> a line that says so, 1
//! ```
//!
//! A disk or a broker that does not answer may hold up any thread for ever. Nothing is lost when the process ends all
//! the same: what is not committed is done again, and what is not on disk is in the changelogs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::Result;

/// How long a process may take to end in order: orchestrators kill after 30 s.
pub(super) const GRACE: Duration = Duration::from_secs(25);
/// How long the last line may take, and what the system does when a process exits.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Set by SIGINT and SIGTERM. A second one ends the process at once, and so does the end of [`GRACE`].
pub(super) fn stop_signal() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let set = stop.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Both threads are there before anything can be short.
    let (begin, begun) = channel();
    thread::Builder::new().name("last-resort".to_owned()).spawn(move || end_after_grace(&begun))?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let (Ok(mut terminate), Ok(mut interrupt)) =
                (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
            else {
                tracing::warn!("signals cannot be listened to: this process stops at once when it is told to");
                return;
            };
            loop {
                tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
                if set.swap(true, Ordering::Relaxed) {
                    std::process::exit(130);
                }
                // Sent once; the other end waits for it.
                let _ = begin.send(());
            }
        });
    })?;
    Ok(stop)
}

/// Ends the process if it is told to stop and still there later.
fn end_after_grace(begun: &Receiver<()>) {
    if begun.recv().is_err() {
        return;
    }
    thread::sleep(GRACE);
    // Whoever reads the log may be what holds everything up.
    let words = thread::Builder::new().name("last-words".to_owned()).spawn(|| {
        tracing::error!(target: "heddle::alert", after = ?GRACE, "ended by force: something did not answer; nothing is lost, the next start goes on from what is committed");
    });
    if words.is_ok() {
        thread::sleep(LAST_WORDS);
    }
    // What runs at an exit may be held up as well.
    let aborts = thread::Builder::new().name("abort".to_owned()).spawn(|| {
        thread::sleep(LAST_WORDS);
        std::process::abort();
    });
    if aborts.is_err() {
        std::process::abort();
    }
    std::process::exit(1);
}
