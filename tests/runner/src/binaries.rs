//! The test binaries of the workspace, as cargo builds them.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use serde_json::Value;

/// A test binary.
pub(crate) struct Binary {
    /// The name of the target, such as `all`. For a library's unit tests, the name of the package.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// The package's folder. Cargo runs tests there, too.
    pub(crate) folder: PathBuf,
}

/// Builds all tests and returns their binaries.
///
/// # Errors
/// If cargo cannot be run, or something does not compile. Cargo has printed the cause.
pub(crate) fn build() -> anyhow::Result<Vec<Binary>> {
    // An empty value counts as unset, as in scripts/doctor.
    let vendored = std::env::var_os("VENDORED_OPENSSL").is_some_and(|value| !value.is_empty());
    let features: &[&str] = if vendored { &["--features", "heddle/vendored-openssl"] } else { &[] };
    let mut binaries = build_workspace(features)?;
    // The SDK is a separate workspace: its dependencies would change the features of the host's.
    binaries.extend(build_workspace(&["--manifest-path", "sdk/rust/Cargo.toml", "--target-dir", "target/sdk"])?);
    ensure!(!binaries.is_empty(), "there are no tests");
    Ok(binaries)
}

/// The cargo that runs this program, or the one on the path.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // `cargo run` describes this package to this program in variables. Build scripts that read them would run again,
    // and everything that depends on those scripts would be rebuilt.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|of_the_package| name.starts_with(of_the_package)) {
            cargo.env_remove(&*name);
        }
    }
    cargo
}

fn build_workspace(more: &[&str]) -> anyhow::Result<Vec<Binary>> {
    let output = cargo()
        .args(["test", "--workspace", "--no-run", "--message-format", "json-render-diagnostics"])
        .args(more)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("running cargo")?;
    ensure!(output.status.success(), "the tests do not compile");
    let mut binaries = vec![];
    for line in output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let message: Value = serde_json::from_slice(line).context("reading a message of cargo")?;
        binaries.extend(binary(&message));
    }
    Ok(binaries)
}

fn binary(message: &Value) -> Option<Binary> {
    if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
        return None;
    }
    let folder = PathBuf::from(message["manifest_path"].as_str()?).parent()?.to_owned();
    let target = message["target"]["name"].as_str()?;
    // The unit tests of a library are named after the package. Files under `tests/` keep their name: several packages
    // have a `tests/seeds.rs`.
    let of_library = message["target"]["kind"].as_array()?.iter().any(|kind| kind == "lib");
    let name = if of_library { target.replace('_', "-") } else { target.to_owned() };
    Some(Binary { name, path: message["executable"].as_str()?.into(), folder })
}
