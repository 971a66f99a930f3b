//! Machines with a shortage: full, broken, slow or read-only disks, few descriptors, services that do not answer. A
//! host reports the shortage, loses nothing, continues when it can, and always stops on request.
//!
//! The shortages need no privileges. A limit on the size of files (`ulimit -f`) breaks a disk permanently, `ulimit -n`
//! limits descriptors, and a path below a file is a folder that cannot be written to. A disk that is full and has room
//! again needs a separate file system. If this user may not mount one, only the log and the
//! engines are tested, by `full_disks`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::failures::host::until;
use crate::support::app::{App, quickstart};
use heddle::cluster::{HostClient, Reach};

const INPUT: &str = "orders.created";
/// A topic that no component consumes: only `produce` writes to the log.
const IDLE: &str = "orders.review";
/// The time within which a host ends after SIGTERM, whatever it waits for. A busy machine gets some extra time.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// Runs the command in a shell after this preparation.
fn after(preparation: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("{preparation}\nexec \"$0\" \"$@\"")])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

/// A host in a prepared process.
pub(crate) struct Host {
    process: Child,
    log: PathBuf,
    address: PathBuf,
}

impl Host {
    pub(crate) fn start(app: &App, preparation: &str) -> Self {
        let (log, address) = (app.data.path().join("host.log"), app.data.path().join("admin-address"));
        let _ = std::fs::remove_file(&address);
        let mut run = app.command(&["run"]);
        run.env_remove("HEDDLE_TRACE");
        let mut run = after(preparation, &run);
        let process = run.stdout(Stdio::null()).stderr(File::create(&log).unwrap()).spawn().unwrap();
        Self { process, log, address }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    pub(crate) fn ask(&self, path: &str) -> Option<(u16, String)> {
        let address = std::fs::read_to_string(&self.address).ok()?;
        let answer = HostClient::new(&address, &Reach::default(), Duration::from_secs(10)).get(path).ok()?;
        Some((answer.status, answer.text()))
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sets the folder in which its data is found.
    pub(crate) fn found_in(&mut self, data: &Path) {
        self.address = data.join("admin-address");
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }

    /// Stops the host, and waits until it has ended. Returns its exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        if !self.has_ended() {
            let told = Command::new("kill").args(["-TERM", &self.id().to_string()]).status();
            assert!(told.is_ok_and(|status| status.success()) || self.has_ended());
        }
        self.ends()
    }

    fn ends(&mut self) -> Option<i32> {
        let told = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status.code();
            }
            assert!(told.elapsed() < ENDS_WITHIN, "it does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the host wrote:\n{}", self.log());
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The quickstart's orders, repeated.
fn orders(count: usize) -> String {
    let all = std::fs::read_to_string(quickstart().join("data/orders.jsonl")).unwrap();
    all.lines().cycle().take(count).map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_command_issued_while_the_host_starts_waits_for_it() {
    let app = App::embedded();
    app.build();
    let host = Host::start(&app, "");
    let starting = app.data.path().join("starting");
    until("the host starts", || starting.exists() || host.address.exists());
    let output = app.run(&["status"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(told.is_empty() || told == "the host is starting: waiting for it\n", "{told}");
    assert!(!starting.exists(), "it has started");
}

#[test]
fn a_data_folder_that_cannot_be_written_to_is_named() {
    let app = App::embedded();
    app.build();
    let output = app.command(&["run"]).env("HEDDLE_APP_DATA", "/dev/null/data").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr);
    let lines = ["error: cannot write to the data folder: ", "\n  at: /dev/null/data\n", "HEDDLE_APP_DATA"];
    assert!(lines.iter().all(|line| told.contains(line)), "{told}");
}

fn produce(app: &App, data: &Path, topic: &str, lines: &str) -> (bool, String) {
    let file = app.data.path().join("orders.jsonl");
    std::fs::write(&file, lines).unwrap();
    let mut produce = app.command(&["produce", topic, "--key", "orderId"]);
    let output = produce.arg("--file").arg(&file).env("HEDDLE_APP_DATA", data).output().unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

/// The expected output after writing `count` records.
fn written(count: usize) -> (bool, String) {
    (true, format!("{count} records written to {INPUT}\n"))
}

/// A disk that fails is not trusted again: the host ends, and the next one has all acknowledged records.
#[test]
fn the_host_of_an_embedded_log_ends_when_its_disk_breaks() {
    let app = App::embedded();
    app.build();
    // Files have at most 12 MiB, in blocks of 512 bytes. A write beyond that is an error instead of a signal.
    let mut host = Host::start(&app, "trap '' XFSZ; ulimit -f 24576");
    until("it listens", || host.address.exists());
    let review = |n: usize| format!("{{\"orderId\":\"O-{n:05}\",\"customerId\":\"C-1\",\"totalAmount\":{n}.5}}\n");
    let (batch, mut acknowledged) = ((0..2_000).map(review).collect::<String>(), 0);
    let failed = loop {
        match produce(&app, app.data.path(), IDLE, &batch) {
            (true, _) => acknowledged += 2_000,
            (false, told) => break told,
        }
        assert!(acknowledged < 1_000_000, "no limit holds");
    };
    assert!(failed.contains("the embedded log cannot continue"), "{failed}");
    assert_eq!(host.ends(), Some(1));
    let told = host.log();
    assert!(told.contains("the embedded log cannot continue"), "{told}");
    drop(host);
    app.ok(&["run", "--until-idle"]);
    let lines = app.ok(&["consume", IDLE]).lines().count();
    assert!(lines >= acknowledged, "{lines} of {acknowledged} are there");
}

/// Commands that mount a small disk at the data folder, visible only to this process. `None` if this user may not
/// mount.
pub(crate) fn small_disk() -> Option<String> {
    let may = |how: &str| Command::new("unshare").args([how, "true"]).stderr(Stdio::null()).status();
    let how = ["-rm", "-m"].into_iter().find(|how| may(how).is_ok_and(|status| status.success()))?;
    // Runs within new namespaces. The command keeps its process id there.
    Some(format!(
        "exec unshare {how} sh -c 'mount -t tmpfs -o size=64m none \"$HEDDLE_APP_DATA\" && exec \"$0\" \"$@\"' \"$0\" \"$@\""
    ))
}

/// Fills the disk completely.
pub(crate) fn fill(data: &Path) -> PathBuf {
    let path = data.join("filler");
    let mut file = File::create(&path).unwrap();
    let block = vec![1; 64 << 10];
    while std::io::Write::write_all(&mut file, &block).is_ok() {}
    path
}

#[test]
fn a_full_disk_blocks_the_embedded_log_until_there_is_room() {
    let Some(small_disk) = small_disk() else {
        println!("this user may mount nothing: only `full_disks` tests a full disk");
        return;
    };
    let app = App::embedded();
    app.build();
    let mut host = Host::start(&app, &small_disk);
    // The data folder in the host's namespace.
    let data = PathBuf::from(format!("/proc/{}/root{}", host.id(), app.data.path().display()));
    host.found_in(&data);
    until("it listens", || host.address.exists());
    assert_eq!(produce(&app, &data, INPUT, &orders(10)), written(10));
    let handled = |count: u64| {
        let (_, status) = host.ask("/status").unwrap();
        serde_json::from_str::<serde_json::Value>(&status).unwrap()[0]["handled"] == count
    };
    until("the orders are handled", || handled(10));
    let filler = fill(&data);
    let (succeeded, told) = produce(&app, &data, INPUT, &orders(10));
    assert!(!succeeded && told.contains("the disk is full"), "{told}");
    let ready = || host.ask("/health/ready").unwrap();
    until("it is not ready", || ready().0 == 503 && ready().1.contains("the disk is full"));
    assert_eq!(host.ask("/health").unwrap(), (200, "ok".to_owned()), "the log is not dead");
    assert!(host.ask("/metrics").unwrap().1.contains("heddle_machine_lacks{what=\"log disk\"} 1"));
    until("it is logged", || host.log().contains("the embedded log refuses writes: the disk is full"));
    std::fs::remove_file(filler).unwrap();
    until("it is ready again", || ready() == (200, "ok".to_owned()));
    assert_eq!(produce(&app, &data, INPUT, &orders(10)), written(10));
    until("these orders are handled, too", || handled(20));
    assert_eq!(host.stop(), Some(0), "{}", host.log());
}

#[test]
fn an_unwritable_log_is_not_reported_as_owned_by_another_process() {
    let app = App::embedded();
    // No folder can be made below a file, whatever rights this user has.
    let file = app.data.path().join("file");
    std::fs::write(&file, "").unwrap();
    let mut consume = app.command(&["consume", INPUT]);
    let ended = consume.env("HEDDLE_APP_DATA", &file).output().unwrap();
    let text = String::from_utf8(ended.stderr).unwrap();
    assert!(!ended.status.success() && text.contains("app.data") && !text.contains("stop the other"), "{text}");
}
