//! Compiles a Rust component with cargo.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use heddle_core::explain::Explained;
use serde_json::Value;

use super::owners::Owners;
use super::rust_target::{TARGET, Toolchain, detect, output};
use super::{BuildError, Place, read};

/// Compiles the crate in `folder` and returns its module. All components share one target folder, so common
/// dependencies are compiled once.
pub(super) fn build(place: &Place<'_>) -> Result<Vec<u8>, BuildError> {
    let folder = place.folder;
    if !folder.join("Cargo.toml").exists() {
        return Err(BuildError::Language(
            Explained::new("a component with language = \"rust\" needs a Cargo.toml")
                .at(folder.display())
                .hint("make it a crate of type cdylib, or give a command: build = \"…\""),
        ));
    }
    let toolchain = detect(folder)?;
    let mut cargo = match &toolchain {
        Toolchain::Installed => {
            let mut cargo = Command::new("cargo");
            cargo.env_remove("RUSTC_BOOTSTRAP");
            cargo
        }
        Toolchain::Debian { linker } => {
            let mut cargo = Command::new("/usr/bin/cargo");
            cargo.env("RUSTC_BOOTSTRAP", "1").env("RUSTC", toolchain.rustc());
            cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
            cargo
        }
    };
    cargo.args(["build", "--release", "--lib", "--target", TARGET, "--message-format=json-render-diagnostics"]);
    if let Toolchain::Debian { .. } = toolchain {
        cargo.arg("-Zbuild-std=std,panic_abort");
    }
    let target = place.cache.join("guest-target");
    cargo
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_ENCODED_RUSTFLAGS", flags(&toolchain, folder));
    // The result of the build must not depend on the environment of this process.
    for inherited in ["RUSTFLAGS", "RUSTC_WRAPPER", "RUSTUP_TOOLCHAIN", "CARGO_BUILD_TARGET"] {
        cargo.env_remove(inherited);
    }
    cargo.stdout(Stdio::piped()).stderr(Stdio::inherit());
    // Held until the file is read.
    let owners = Owners::of(&target)?;
    let mut out = cargo.output().map_err(BuildError::file(folder))?;
    if owners.remove_foreign(&out.stdout) {
        out = cargo.output().map_err(BuildError::file(folder))?;
    }
    let command = format!("cargo build --release --lib --target {TARGET}");
    if !out.status.success() {
        return Err(BuildError::Failed { command, folder: folder.display().to_string() });
    }
    owners.note(&out.stdout)?;
    let path = artifact(&out.stdout).ok_or_else(|| BuildError::NoOutput {
        command,
        folder: folder.display().to_string(),
        hint: "add `[lib] crate-type = [\"cdylib\"]` to its Cargo.toml".to_owned(),
    })?;
    read(&path)
}

/// Returns compiler flags that make builds reproducible: the same source gives the same bytes on every machine. This
/// holds if no path dependency leaves the workspace, because cargo names such a crate by its whole path and the
/// compiler sorts functions by name. No path of this machine gets into the file, because cargo names the crate's own
/// files by relative paths. There is only one codegen unit, because the division of code among several depends on
/// names, too. The flags are the same for all components, so that the standard library is compiled once.
fn flags(toolchain: &Toolchain, folder: &Path) -> String {
    let mut flags = ["-Cstrip=symbols", "-Ccodegen-units=1"].map(str::to_owned).to_vec();
    let home = directories::BaseDirs::new().map(|dirs| dirs.home_dir().join(".cargo"));
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from).or(home);
    let sysroot = output(toolchain.rustc(), &["--print", "sysroot"], folder).map(PathBuf::from);
    for (path, name) in [(cargo_home, "cargo"), (sysroot, "rust")] {
        flags.extend(path.map(|path| format!("--remap-path-prefix={}=/{name}", path.display())));
    }
    // Cargo expects this separator between flags, so that paths may contain spaces.
    flags.join("\u{1f}")
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
