//! Builds components in JavaScript and TypeScript. esbuild bundles the component's files, and componentize-qjs adds
//! QuickJS.

mod bindings;
mod longs;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use heddle_core::explain::Explained;

use super::kept::{self, Inputs};
use super::tools::{COMPONENTIZE_QJS, ESBUILD, Tool};
use super::world::World;
use super::{BuildError, Place, read};

/// The possible entry files of a component; the first one that exists is used.
const SOURCES: [&str; 3] = ["src/index.js", "src/index.mjs", "src/index.ts"];

fn source(folder: &Path) -> Option<&'static str> {
    SOURCES.into_iter().find(|source| folder.join(source).exists())
}

/// The SDK and the types of the contract, for the component's folder `heddle`: files by name.
pub(super) fn bindings(folder: &Path, world: &World) -> BTreeMap<String, String> {
    bindings::files(world, source(folder).unwrap_or(SOURCES[0]))
}

/// Bundles the component's files and converts the bundle to a component.
pub(super) fn build(place: &Place<'_>) -> Result<Vec<u8>, BuildError> {
    if source(place.folder).is_none() {
        return Err(BuildError::Language(
            Explained::new(format!("a component with language = \"javascript\" needs one of {}", SOURCES.join(", ")))
                .at(place.folder.display())
                .hint("write it, or give a command: build = \"…\""),
        ));
    }
    let bundle = bundle(place)?;
    let mut inputs = Inputs::default();
    inputs.add(COMPONENTIZE_QJS.version);
    inputs.add(env!("CARGO_PKG_VERSION"));
    inputs.add(read(&bundle)?);
    inputs.add_folder(place.world, &|_| false)?;
    kept::or_made(place.folder, inputs, || componentize(place, &bundle))
}

/// Bundles the component's files and imported packages into one file. esbuild prints errors with file, line, and the
/// line's text.
fn bundle(place: &Place<'_>) -> Result<PathBuf, BuildError> {
    let esbuild = program(place.cache, ESBUILD)?;
    let bundle = place.folder.join("target").join("heddle").join("bundle.js");
    let mut command = Command::new(esbuild);
    command
        .args([
            "heddle/entry.js",
            "--bundle",
            "--format=esm",
            "--platform=neutral",
            "--target=es2023",
            "--charset=utf8",
        ])
        .args(["--main-fields=module,main", "--external:heddle:*", "--log-level=warning"])
        .arg(format!("--outfile={}", bundle.display()));
    run(&mut command, place.folder, "esbuild")?;
    Ok(bundle)
}

fn componentize(place: &Place<'_>, bundle: &Path) -> Result<Vec<u8>, BuildError> {
    let out = place.folder.join("target").join("heddle").join("out.wasm");
    let mut command = Command::new(program(place.cache, COMPONENTIZE_QJS)?);
    command.arg("--wit").arg(place.world).arg("--js").arg(bundle).arg("--output").arg(&out);
    command.args(["--world", "component", "--stub-wasi", "--sync"]);
    let done =
        command.current_dir(place.folder).stdin(Stdio::null()).output().map_err(BuildError::file(place.folder))?;
    if !done.status.success() {
        // At this stage, the only remaining errors are those that a module throws while it is loaded. The prefix that
        // names QuickJS is dropped.
        let said = String::from_utf8_lossy(&done.stderr);
        eprintln!("{}", said.rsplit("JavaScript module evaluation: ").next().unwrap_or(&said).trim_end());
        return Err(BuildError::Failed {
            command: "componentize-qjs".to_owned(),
            folder: place.folder.display().to_string(),
        });
    }
    longs::exact(&read(&out)?)
        .map_err(|what| BuildError::Componentize { component: place.folder.display().to_string(), what })
}

/// Runs a tool whose standard error goes to the user.
fn run(command: &mut Command, folder: &Path, name: &str) -> Result<(), BuildError> {
    let status = command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).status();
    if status.map_err(BuildError::file(folder))?.success() {
        return Ok(());
    }
    Err(BuildError::Failed { command: name.to_owned(), folder: folder.display().to_string() })
}

/// The program of a tool that npm installs.
fn program(cache: &Path, tool: Tool) -> Result<PathBuf, BuildError> {
    let folder = tool.folder(cache, |folder| {
        if Command::new("npm").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            return Err(BuildError::NoToolchain(
                Explained::new("there is no npm, which fetches the tools that build JavaScript")
                    .at("the PATH")
                    .hint("install Node.js 18 or later: https://nodejs.org, or on Debian `apt-get install nodejs npm`"),
            ));
        }
        let mut npm = Command::new("npm");
        npm.args([
            "install",
            "--no-audit",
            "--no-fund",
            "--no-save",
            "--no-package-lock",
            "--loglevel=error",
            "--prefix",
        ]);
        tool.fetched_by(npm.arg(folder).arg(format!("{}@{}", tool.name, tool.version)).current_dir(folder))
    })?;
    Ok(folder.join("node_modules").join(".bin").join(tool.name))
}
