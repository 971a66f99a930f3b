//! Commands that are issued while the host starts wait for it.
//!
//! ```text
//!  host     begin: listens, writes `starting` ──────> serves, writes `admin-address`, removes `starting`
//!  command          finds `starting`, connects, waits ──────────────────────────────^
//! ```
//!
//! The host has bound its port from the beginning but does not answer there yet. So an open connection shows that its
//! process lives. The file of a killed host leads to a port that no process has.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use heddle_contract::manifest::App;
use heddle_core::explain::Explained;

/// The longest wait of a command for a host.
const WAIT: Duration = Duration::from_secs(60);
/// The timeout for connecting to this machine.
const CONNECT_WAIT: Duration = Duration::from_secs(1);
/// The interval between checks for the end of the start.
const LOOK_EVERY: Duration = Duration::from_millis(50);

fn file(folder: &Path, app: &App) -> PathBuf {
    folder.join(&app.data).join("starting")
}

/// Removes the file when the host has started, or failed to.
pub(super) struct Begun(PathBuf);

impl Drop for Begun {
    fn drop(&mut self) {
        // A file that is left behind is harmless.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Announces that a host starts, which will listen at `address`.
pub(super) fn begin(folder: &Path, app: &App, address: SocketAddr) -> Result<Begun> {
    let file = file(folder, app);
    let cannot = || {
        Explained::new("cannot write to the data folder")
            .at(folder.join(&app.data).display())
            .hint("make it writable, or set another [app] data (HEDDLE_APP_DATA)")
    };
    std::fs::create_dir_all(folder.join(&app.data)).with_context(cannot)?;
    std::fs::write(&file, address.to_string()).with_context(cannot)?;
    Ok(Begun(file))
}

/// Waits for a starting host of this app, at most once a process.
pub(super) fn wait(folder: &Path, app: &App) {
    static WAITED: Once = Once::new();
    WAITED.call_once(|| wait_for(&file(folder, app)));
}

fn wait_for(file: &Path) {
    let connect = |address: SocketAddr| TcpStream::connect_timeout(&address, CONNECT_WAIT).ok();
    let address = crate::files::read_text(file).ok().and_then(|address| address.trim().parse().ok());
    let Some(host) = address.and_then(connect) else { return };
    eprintln!("the host is starting: waiting for it");
    let deadline = Instant::now() + WAIT;
    while file.exists() && is_there(&host) && Instant::now() < deadline {}
}

/// Returns true if the process at the other end lives. Takes up to [`LOOK_EVERY`].
fn is_there(host: &TcpStream) -> bool {
    let mut nothing = [0];
    if host.set_read_timeout(Some(LOOK_EVERY)).is_err() {
        return false;
    }
    match host.peek(&mut nothing) {
        Ok(_) => false,
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_command_waits_for_a_host_that_starts_and_for_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("starting");
        wait_for(&file);
        let host = TcpListener::bind("127.0.0.1:0").unwrap();
        std::fs::write(&file, host.local_addr().unwrap().to_string()).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| wait_for(&file));
            // The command is blocked once it has connected.
            drop(host.accept().map(|(connection, _)| {
                assert!(!waiting.is_finished(), "the host has not started yet");
                std::fs::remove_file(&file).unwrap();
                connection
            }));
            waiting.join().unwrap();
        });
        // The file of a killed host.
        std::fs::write(&file, host.local_addr().unwrap().to_string()).unwrap();
        drop(host);
        wait_for(&file);
    }
}
