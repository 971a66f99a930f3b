//! Finds a tool chain that compiles Rust to WebAssembly on this machine.
//!
//! ```text
//!  the target is installed ──> use it
//!  rustup target add works ──> use it
//!  Debian's rust-web, or apt can install it ──> build the standard library from its source
//!  none of them ──> an error that lists the attempts
//! ```

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use heddle_core::explain::Explained;

use super::BuildError;

/// The target. It has no WASI, so a component imports only what its contract names.
pub(super) const TARGET: &str = "wasm32-unknown-unknown";

const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// A tool chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Toolchain {
    /// The `cargo` on the path, with the target installed.
    Installed,
    /// Debian's compiler, which builds the standard library from source and links with this `rust-lld`.
    Debian {
        /// The linker.
        linker: PathBuf,
    },
}

impl Toolchain {
    /// The compiler's program.
    pub(super) fn rustc(&self) -> &'static str {
        if matches!(self, Self::Installed) { "rustc" } else { "/usr/bin/rustc" }
    }
}

/// Finds a tool chain for `folder`, which may choose its own by a `rust-toolchain.toml`. Installs missing parts if
/// possible.
///
/// # Errors
/// If there is none. The message lists the attempts.
pub fn detect(folder: &Path) -> Result<Toolchain, BuildError> {
    decide(&mut Here { folder }).map_err(|tried| {
        BuildError::NoToolchain(
            Explained::new(format!("there is no Rust compiler for {TARGET}: {}", tried.join("; ")))
                .at("the PATH")
                .hint(format_args!(
                    "run `rustup target add {TARGET}`, or on Debian `apt-get install {}`",
                    DEBIAN_PACKAGES.join(" ")
                )),
        )
    })
}

/// The queries and actions of [`decide`] on a machine. An error is one line with the reason for the failure.
trait Machine {
    fn target_installed(&mut self) -> Result<(), String>;
    fn add_target(&mut self) -> Result<(), String>;
    fn debian_there(&mut self) -> bool;
    fn install_debian(&mut self) -> Result<(), String>;
    fn linker(&mut self) -> Option<PathBuf>;
}

/// Takes the first step that works. The steps are ordered by how much they install. On failure, returns all attempts.
fn decide(machine: &mut impl Machine) -> Result<Toolchain, Vec<String>> {
    let mut tried = vec![];
    match machine.target_installed() {
        Ok(()) => return Ok(Toolchain::Installed),
        Err(why) => tried.push(why),
    }
    match machine.add_target().and_then(|()| machine.target_installed()) {
        Ok(()) => return Ok(Toolchain::Installed),
        Err(why) => tried.push(why),
    }
    if !machine.debian_there() {
        if let Err(why) = machine.install_debian() {
            tried.push(why);
            return Err(tried);
        }
        if !machine.debian_there() {
            tried.push(
                "apt-get installed the packages, but the standard library's source is not in /usr/src".to_owned(),
            );
            return Err(tried);
        }
    }
    machine.linker().map(|linker| Toolchain::Debian { linker }).ok_or_else(|| {
        tried.push("Debian's compiler has no linker: install the package that /usr/bin/rust-lld points to".to_owned());
        tried
    })
}

/// This machine, from within a component's folder.
struct Here<'f> {
    folder: &'f Path,
}

impl Machine for Here<'_> {
    fn target_installed(&mut self) -> Result<(), String> {
        let arguments = ["--print", "target-libdir", "--target", TARGET];
        let library = output("rustc", &arguments, self.folder).ok_or("there is no rustc that works on the path")?;
        let there = std::fs::read_dir(library).is_ok_and(|mut files| files.next().is_some());
        there.then_some(()).ok_or_else(|| format!("the rustc on the path has no {TARGET}"))
    }

    fn add_target(&mut self) -> Result<(), String> {
        eprintln!("installing the Rust target {TARGET}");
        succeed("rustup", &["target", "add", TARGET], self.folder)
    }

    fn debian_there(&mut self) -> bool {
        let source = glob::glob("/usr/src/rustc-*/library/std").ok().and_then(|mut found| found.next());
        Path::new("/usr/bin/cargo").exists() && Path::new("/usr/bin/rustc").exists() && source.is_some()
    }

    fn install_debian(&mut self) -> Result<(), String> {
        eprintln!("installing {} with apt-get", DEBIAN_PACKAGES.join(", "));
        let install = ["apt-get", "install", "-y", "-qq"];
        if output("id", &["-u"], self.folder).as_deref() == Some("0") {
            succeed(install[0], &[&install[1..], &DEBIAN_PACKAGES].concat(), self.folder)
        } else {
            // Without a password prompt, because this may not be a terminal.
            succeed("sudo", &[&["-n"], &install[..], &DEBIAN_PACKAGES].concat(), self.folder)
        }
    }

    fn linker(&mut self) -> Option<PathBuf> {
        let sysroots = ["rustc", "/usr/bin/rustc"].map(|rustc| output(rustc, &["--print", "sysroot"], self.folder));
        let in_sysroots = sysroots.into_iter().flatten().filter_map(|sysroot| {
            let pattern = format!("{}/lib/rustlib/*/bin/rust-lld", glob::Pattern::escape(&sysroot));
            glob::glob(&pattern).ok()?.flatten().next()
        });
        let own = ["/usr/bin/rust-lld", "/usr/bin/wasm-ld"].map(PathBuf::from).into_iter();
        in_sysroots.chain(own).find(|path| path.exists())
    }
}

/// The output of a command, if it succeeds.
pub(super) fn output(program: &str, arguments: &[&str], folder: &Path) -> Option<String> {
    let output = Command::new(program).args(arguments).current_dir(folder).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// Runs a command. An error has the last line of its output.
fn succeed(program: &str, arguments: &[&str], folder: &Path) -> Result<(), String> {
    let command = format!("`{program} {}`", arguments.join(" "));
    let mut run = Command::new(program);
    run.args(arguments).current_dir(folder).stdin(Stdio::null()).env("DEBIAN_FRONTEND", "noninteractive");
    let output = run.output().map_err(|cause| format!("{command}: {cause}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it failed");
    Err(format!("{command}: {last}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine on which each step succeeds or fails as configured.
    #[derive(Clone, Copy, Default)]
    struct Fake {
        target: bool,
        rustup: bool,
        debian: bool,
        apt: bool,
        linker: bool,
    }

    fn works(step: bool, what: &str) -> Result<(), String> {
        step.then_some(()).ok_or_else(|| what.to_owned())
    }

    impl Machine for Fake {
        fn target_installed(&mut self) -> Result<(), String> {
            works(self.target, "no target")
        }
        fn add_target(&mut self) -> Result<(), String> {
            self.target |= self.rustup;
            works(self.rustup, "no rustup")
        }
        fn debian_there(&mut self) -> bool {
            self.debian
        }
        fn install_debian(&mut self) -> Result<(), String> {
            self.debian |= self.apt;
            works(self.apt, "no apt")
        }
        fn linker(&mut self) -> Option<PathBuf> {
            self.linker.then(|| "lld".into())
        }
    }

    #[test]
    fn the_least_is_installed() {
        let debian = Ok(Toolchain::Debian { linker: "lld".into() });
        let all = Fake { target: true, rustup: true, debian: true, apt: true, linker: true };
        let without_target = &mut Fake { target: false, debian: false, ..all };
        assert_eq!(decide(&mut all.clone()), Ok(Toolchain::Installed));
        assert_eq!(decide(without_target), Ok(Toolchain::Installed));
        assert!(without_target.target && !without_target.debian);
        assert_eq!(decide(&mut Fake { debian: true, linker: true, ..Fake::default() }), debian);
        let fresh = &mut Fake { apt: true, linker: true, ..Fake::default() };
        assert_eq!((decide(fresh), fresh.debian), (debian, true));
    }

    #[test]
    fn the_error_lists_the_attempts() {
        let tried = |mut machine: Fake| decide(&mut machine).unwrap_err();
        assert_eq!(tried(Fake::default()), ["no target", "no rustup", "no apt"]);
        assert_eq!(
            tried(Fake { debian: true, ..Fake::default() })[2..],
            ["Debian's compiler has no linker: install the package that /usr/bin/rust-lld points to"]
        );
    }
}
