//! Checks that no third-party crate is compiled twice: the README's first command compiles the crates that the tests
//! use.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::binaries::cargo;

/// Compares the crates in `cargo build --bin heddle` with those in the tests.
///
/// # Errors
/// If the tests use another build of a crate, because its features differ. The message names all such crates.
pub(crate) fn check() -> anyhow::Result<()> {
    let product = artifacts(&["build", "--bin", "heddle"])?;
    let tests = artifacts(&["test", "--workspace", "--no-run"])?;
    let none = BTreeSet::new();
    let twice = product.iter().filter(|(name, files)| !files.is_subset(tests.get(*name).unwrap_or(&none)));
    let names = twice.map(|(name, _)| name.as_str()).collect::<Vec<_>>();
    ensure!(
        names.is_empty(),
        "compiled twice, because the tests need other features: {}\n  hint: turn the features on in the product, too (compare `cargo tree -e features`)",
        names.join(", ")
    );
    Ok(())
}

/// The files of third-party crates, by crate.
fn artifacts(command: &[&str]) -> anyhow::Result<BTreeMap<String, BTreeSet<String>>> {
    let mut cargo = cargo();
    cargo.args(command).args(["--quiet", "--message-format", "json-render-diagnostics"]);
    let output = cargo.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("running cargo")?;
    ensure!(output.status.success(), "cargo {}: failed", command.join(" "));
    let mut artifacts = BTreeMap::<String, BTreeSet<String>>::new();
    for line in output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let message: Value = serde_json::from_slice(line).context("reading a message of cargo")?;
        let package = message["package_id"].as_str().unwrap_or_default();
        if message["reason"] != "compiler-artifact" || package.starts_with("path+") {
            continue;
        }
        let name = package.rsplit(['/', '#']).next().unwrap_or(package);
        let files = message["filenames"].as_array().into_iter().flatten().filter_map(Value::as_str);
        artifacts.entry(name.to_owned()).or_default().extend(files.map(str::to_owned));
    }
    Ok(artifacts)
}
