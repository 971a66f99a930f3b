//! `scripts/doctor` lists what a machine lacks, before anything is compiled.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The programs that the script itself needs. Every system has them.
const BASE: [&str; 13] =
    ["bash", "env", "dirname", "sed", "grep", "head", "readlink", "awk", "paste", "tr", "cat", "printf", "sh"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.exists())
}

/// A machine with almost no programs on its path.
struct Bare(tempfile::TempDir);

impl Bare {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for program in BASE {
            if let Some(file) = on_path(program) {
                symlink(file, folder.path().join(program)).unwrap();
            }
        }
        Self(folder)
    }

    /// Adds a program that prints `says`.
    fn with(self, program: &str, says: &str) -> Self {
        let file = self.0.path().join(program);
        std::fs::write(&file, format!("#!/bin/sh\necho \"{says}\"\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    fn doctor(&self, purpose: &str, variables: &[(&str, &str)]) -> Output {
        let mut doctor = Command::new(root().join("scripts/doctor"));
        doctor
            .arg(purpose)
            .env("PATH", self.0.path())
            .env_remove("CC")
            .env_remove("CXX")
            .env_remove("VENDORED_OPENSSL");
        doctor.env_remove("OPENSSL_DIR").envs(variables.iter().copied()).output().unwrap()
    }
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn everything_that_is_missing_is_listed_at_once() {
    let output = Bare::new().doctor("test", &[]);
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(told(&output));
    let built = Bare::new().doctor("build", &[("VENDORED_OPENSSL", "1")]);
    insta::assert_snapshot!("from_sources", told(&built));
    let full = told(&Bare::new().doctor("full", &[("POSTGRESQL_PROGRAMS", "/none")]));
    assert!(full.contains("PostgreSQL 10 or newer") && full.contains(" postgresql"), "{full}");
}

#[test]
fn versions_that_are_too_old_are_missing() {
    let tools = ["cargo", "cc", "c++", "make", "pkg-config"];
    let with = |rust: &str| tools.iter().fold(Bare::new(), |bare, tool| bare.with(tool, "1")).with("rustc", rust);
    assert_eq!(told(&with("rustc 1.95.0 (abc 2026-01-01)").doctor("build", &[])), "");
    assert_eq!(told(&with("rustc 2.0.0").doctor("build", &[])), "");
    let old = with("rustc 1.94.1 (abc)").doctor("build", &[]);
    assert!(told(&old).contains("Rust 1.95 or newer (found 1.94.1)"), "{}", told(&old));
    assert_eq!(old.status.code(), Some(1));
}

/// The machine that runs this test can build Heddle.
#[test]
fn this_machine_can_build_it() {
    let output = Command::new(root().join("scripts/doctor")).arg("build").output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
}
