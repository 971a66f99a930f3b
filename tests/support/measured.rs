//! A command whose peak memory the system measures, with `wait4(2)`.
//!
//! A process inherits the peak of its parent until it runs its own program, and the test binary is large. So a second,
//! small process of the test binary starts the command:

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use wait4::Wait4 as _;

/// The variable that names the child's task: the command, and the file for the measurements.
const TASK: &str = "HEDDLE_TEST_MEASURED";

#[derive(Serialize, Deserialize)]
struct Task {
    program: String,
    arguments: Vec<String>,
    stderr: String,
    measured: String,
}

/// The outcome of a command.
#[derive(Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) succeeded: bool,
    pub(crate) stderr: String,
    /// The most memory that was resident at once, in KiB.
    pub(crate) peak_kib: u64,
}

/// Runs a program with arguments and more environment variables.
pub(crate) fn run(program: &str, arguments: &[&str], variables: &[(&str, &Path)]) -> Measured {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (program, arguments) = (program.to_owned(), arguments.iter().map(|&text| text.to_owned()).collect());
    let task = Task { program, arguments, stderr: path("stderr"), measured: path("measured") };
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "support::measured::child"])
        .env(TASK, serde_json::to_string(&task).unwrap())
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&fs::read(&task.measured).unwrap()).unwrap()
}

#[test]
#[ignore = "only runs as a child of `run`"]
fn child() {
    let Ok(task) = std::env::var(TASK) else { return };
    let task: Task = serde_json::from_str(&task).unwrap();
    let stderr = fs::File::create(&task.stderr).unwrap();
    let mut command = Command::new(&task.program);
    command.args(&task.arguments).env_remove(TASK).stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
    let ended = command.spawn().unwrap().wait4().unwrap();
    let measured = Measured {
        succeeded: ended.status.success(),
        stderr: fs::read_to_string(&task.stderr).unwrap(),
        // Bytes, whichever unit the system uses.
        peak_kib: ended.rusage.maxrss >> 10,
    };
    fs::write(&task.measured, serde_json::to_vec(&measured).unwrap()).unwrap();
}
