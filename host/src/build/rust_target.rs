//! With what Rust is compiled to WebAssembly here.
//!
//! ```text
//!  the target is installed ──> use it
//!  rustup target add works ──> use it
//!  Debian's rust-web, or apt can install it ──> build the standard library from its source
//!  none of them ──> an error that says what was tried
//! ```

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::BuildError;

/// The target: no WASI, so a component imports nothing that its contract does not name.
pub(super) const TARGET: &str = "wasm32-unknown-unknown";

const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// A way to compile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Toolchain {
    /// The `cargo` on the path, whose target is installed.
    Installed,
    /// Debian's own compiler, which builds the standard library from source and links with this `rust-lld`.
    Debian {
        /// The linker.
        linker: PathBuf,
    },
}

/// Finds a way to compile, installing what is missing where that is possible.
///
/// # Errors
/// If there is none; says what was tried.
pub fn detect() -> Result<Toolchain, BuildError> {
    let installed = || {
        let folder = output("rustc", &["--print", "target-libdir", "--target", TARGET])?;
        std::fs::read_dir(folder).ok()?.next().map(|_| Toolchain::Installed)
    };
    if let Some(found) = installed() {
        return Ok(found);
    }
    if output("rustup", &["--version"]).is_some() {
        eprintln!("installing the Rust target {TARGET}");
        let added =
            Command::new("rustup").args(["target", "add", TARGET]).stderr(Stdio::null()).stdout(Stdio::null()).status();
        if added.is_ok_and(|status| status.success())
            && let Some(found) = installed()
        {
            return Ok(found);
        }
    }
    debian().ok_or_else(|| {
        BuildError::NoToolchain(format!(
            "there is no Rust compiler for {TARGET}: the target is not installed, `rustup target add {TARGET}` did not work, \
             and Debian's packages {} are not there and could not be installed; do one of these by hand",
            DEBIAN_PACKAGES.join(", ")
        ))
    })
}

fn debian() -> Option<Toolchain> {
    let source = || glob::glob("/usr/src/rustc-*/library/std").ok()?.flatten().next();
    let there = || Path::new("/usr/bin/cargo").exists() && source().is_some();
    if !there() {
        eprintln!("installing {} with apt-get", DEBIAN_PACKAGES.join(", "));
        let mut install = Command::new("apt-get");
        install.args(["install", "-y", "-qq"]).args(DEBIAN_PACKAGES).env("DEBIAN_FRONTEND", "noninteractive");
        let installed = install.stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !installed.is_ok_and(|status| status.success()) || !there() {
            return None;
        }
    }
    let sysroots = [output("rustc", &["--print", "sysroot"]), output("/usr/bin/rustc", &["--print", "sysroot"])];
    let linkers = sysroots
        .into_iter()
        .flatten()
        .filter_map(|sysroot| glob::glob(&format!("{sysroot}/lib/rustlib/*/bin/rust-lld")).ok()?.flatten().next());
    let linker =
        linkers.chain(["/usr/bin/rust-lld", "/usr/bin/wasm-ld"].map(PathBuf::from)).find(|path| path.exists())?;
    Some(Toolchain::Debian { linker })
}

/// What a command prints, if it works.
pub(super) fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
