//! Compiling a Rust component with cargo.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::rust_target::{TARGET, Toolchain, detect, output};
use super::{BuildError, read};

/// Compiles the crate in `folder` and returns its module. All components share one target folder, so that what they have
/// in common is compiled once.
pub(super) fn build(folder: &Path, cache: &Path) -> Result<Vec<u8>, BuildError> {
    if !folder.join("Cargo.toml").exists() {
        return Err(BuildError::Language(format!(
            "{} has language = \"rust\" but no Cargo.toml; make it a crate of type cdylib, or give a command: build = \"…\"",
            folder.display()
        )));
    }
    let toolchain = detect()?;
    let mut cargo = match &toolchain {
        Toolchain::Installed => Command::new("cargo"),
        Toolchain::Debian { linker } => {
            let mut cargo = Command::new("/usr/bin/cargo");
            cargo.env("RUSTC_BOOTSTRAP", "1").env("RUSTC", "/usr/bin/rustc");
            cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
            cargo
        }
    };
    cargo.args(["build", "--release", "--lib", "--target", TARGET, "--message-format=json-render-diagnostics"]);
    if let Toolchain::Debian { .. } = toolchain {
        cargo.arg("-Zbuild-std=std,panic_abort");
    }
    let target = cache.join("guest-target");
    cargo.current_dir(folder).env("CARGO_TARGET_DIR", &target).env("RUSTFLAGS", flags());
    // A component is built as for a user, whatever this process was started by.
    for inherited in ["CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTUP_TOOLCHAIN", "CARGO_BUILD_TARGET"] {
        cargo.env_remove(inherited);
    }
    let out = cargo.stdout(Stdio::piped()).stderr(Stdio::inherit()).output().map_err(BuildError::file(folder))?;
    let command = format!("cargo build --release --lib --target {TARGET}");
    if !out.status.success() {
        return Err(BuildError::Failed { command, folder: folder.display().to_string() });
    }
    let path = artifact(&out.stdout).ok_or_else(|| BuildError::NoOutput {
        command,
        folder: folder.display().to_string(),
        hint: "a component's Cargo.toml has `[lib] crate-type = [\"cdylib\"]`".to_owned(),
    })?;
    read(&path)
}

/// No path of this machine gets into the file, so that the same source gives the same bytes. The crate's own files are named
/// relatively by cargo; flags that differ between components would have the standard library compiled for each.
fn flags() -> String {
    let mut flags = vec!["-C strip=symbols".to_owned()];
    let home = directories::BaseDirs::new().map(|dirs| dirs.home_dir().join(".cargo"));
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from).or(home);
    let sysroot = output("rustc", &["--print", "sysroot"]).map(PathBuf::from);
    for (path, name) in [(cargo_home, "cargo"), (sysroot, "rust")] {
        if let Some(path) = path.filter(|path| !path.to_string_lossy().contains(' ')) {
            flags.push(format!("--remap-path-prefix={}=/{name}", path.display()));
        }
    }
    flags.join(" ")
}

/// The last `.wasm` file that cargo reports: that of the crate itself.
fn artifact(messages: &[u8]) -> Option<PathBuf> {
    let lines = messages.split(|byte| *byte == b'\n');
    let files = lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok()).filter_map(|message| {
        let files = message["filenames"].as_array()?;
        let wasm = files.iter().filter_map(Value::as_str).find(|file| file.ends_with(".wasm"))?;
        Some(PathBuf::from(wasm))
    });
    files.fold(None, |_, file| Some(file))
}
