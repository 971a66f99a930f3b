//! Hosts as processes.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::reload::platform::Platform;

/// A host that runs until it is dropped.
pub(crate) struct Host {
    process: Child,
    told: std::path::PathBuf,
}

impl Host {
    pub(crate) fn start(platform: &Platform, number: usize) -> Self {
        Self::start_by(platform, number, "run")
    }

    /// Starts the host and waits until it listens and has its tasks.
    pub(crate) fn start_by(platform: &Platform, number: usize, command: &str) -> Self {
        let address = platform.data(number).join("admin-address");
        let _ = std::fs::remove_file(&address);
        let told = platform.path(&format!("host-{number}.log"));
        let log = std::fs::File::options().create(true).append(true).open(&told).unwrap();
        let mut command = platform.command(number, &[command]);
        let process = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let mut host = Self { process, told };
        wait_until("the host listens", || {
            assert_eq!(host.process.try_wait().unwrap(), None, "the host ended: {}", host.told());
            address.exists()
        });
        host
    }

    /// The output so far.
    pub(crate) fn told(&self) -> String {
        std::fs::read_to_string(&self.told).unwrap()
    }

    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub(crate) fn stop(mut self) {
        assert!(heddle_fixtures::terminate(&mut self.process).success(), "{}", self.told());
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the host said: {}", self.told());
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(180);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
