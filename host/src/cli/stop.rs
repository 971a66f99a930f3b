//! Stops a host on a signal, and ends the process by force if it does not stop.
//!
//! ```text
//!  SIGTERM, SIGINT ──> shutdown    ──in order──> exit code of the command
//!                        ├─ a second signal ───> 130, immediately
//!                        └─ after 25 s ────────> a log line, 1
//! ```
//!
//! A disk or a broker that does not answer may block any thread forever. Ending the process loses nothing: uncommitted
//! work is repeated, and state that is not on disk is in the changelogs.

use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::shutdown::Shutdown;

/// The longest time for an orderly stop. Orchestrators kill after 30 s.
pub(super) const GRACE: Duration = Duration::from_secs(25);
/// The longest time for the last log line, and for the system's work when a process exits.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The shutdown that SIGINT and SIGTERM request. A second signal ends the process immediately, and so does the end of
/// [`GRACE`].
pub(super) fn stop_signal() -> Result<Shutdown> {
    let shutdown = Shutdown::default();
    let requested = shutdown.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Both threads start now, before resources can run out.
    let (begin, begun) = channel();
    thread::Builder::new().name("last-resort".to_owned()).spawn(move || end_after_grace(&begun))?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let (Ok(mut terminate), Ok(mut interrupt)) =
                (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
            else {
                tracing::warn!("cannot listen for signals, so a signal ends this process at once");
                return;
            };
            loop {
                tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
                if !requested.request() {
                    std::process::exit(130);
                }
                // The channel is used once, by the thread that waits for it.
                let _ = begin.send(());
            }
        });
    })?;
    Ok(shutdown)
}

/// Ends the process if it still runs [`GRACE`] after the first signal.
fn end_after_grace(begun: &Receiver<()>) {
    if begun.recv().is_err() {
        return;
    }
    thread::sleep(GRACE);
    // The reader of the log may be what blocks everything.
    let words = thread::Builder::new().name("last-words".to_owned()).spawn(|| {
        tracing::error!(target: "heddle::alert", after = ?GRACE, "ended by force, because a thread did not stop; nothing is lost, the next start continues from the committed positions");
    });
    if words.is_ok() {
        thread::sleep(LAST_WORDS);
    }
    // Exit handlers may be blocked as well.
    let aborts = thread::Builder::new().name("abort".to_owned()).spawn(|| {
        thread::sleep(LAST_WORDS);
        std::process::abort();
    });
    if aborts.is_err() {
        std::process::abort();
    }
    std::process::exit(1);
}
