//! Builds components in Python. componentize-py adds CPython to the component's modules.

mod bindings;
mod checks;

pub(super) use bindings::name;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use heddle_core::explain::Explained;

use super::kept::{self, Inputs};
use super::tools::COMPONENTIZE_PY;
use super::world::World;
use super::{BuildError, Place, read};

/// The main module of a component.
const MODULE: &str = "app";
/// Folders in a component's folder that are not part of it.
const SKIPPED: [&str; 7] = ["target", "wit", "heddle", "tests", "venv", "__pycache__", "node_modules"];

/// The SDK and the types of the contract, for the component's folder `heddle`: files by name.
pub(super) fn bindings(world: &World) -> BTreeMap<String, String> {
    bindings::files(world)
}

/// Converts the component's modules to a component.
pub(super) fn build(place: &Place<'_>, world: &World) -> Result<Vec<u8>, BuildError> {
    let source = place.folder.join(format!("{MODULE}.py"));
    if !source.exists() {
        return Err(BuildError::Language(
            Explained::new(format!("a component with language = \"python\" needs {MODULE}.py"))
                .at(source.display())
                .hint("write it, or give a command: build = \"…\""),
        ));
    }
    let tool = tool(place.cache)?;
    let own = place.folder.join("target").join("heddle").join("python");
    write(&own, bindings::component_files(world, MODULE))?;
    let mut inputs = Inputs::default();
    inputs.add(COMPONENTIZE_PY.version);
    inputs.add_folder(&own, &|path| path.ends_with("__pycache__"))?;
    inputs.add_folder(place.world, &|_| false)?;
    inputs.add_folder(place.folder, &|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let skipped = name.starts_with('.') || (SKIPPED.contains(&name) && path.is_dir());
        // A test is not part of the component, so a changed test does not cause a build.
        skipped || (path.is_file() && (!name.ends_with(".py") || name.starts_with("test_")))
    })?;
    kept::or_made(place.folder, inputs, || componentize(place, &own, &tool))
}

/// Replaces a folder.
fn write(folder: &Path, files: BTreeMap<String, String>) -> Result<(), BuildError> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).map_err(BuildError::file(folder))?;
    }
    for (name, text) in files {
        let path = folder.join(name);
        let within = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(within).map_err(BuildError::file(within))?;
        std::fs::write(&path, text).map_err(BuildError::file(&path))?;
    }
    Ok(())
}

/// Runs componentize-py. `own` has the generated modules. It comes first, so that they hide modules of the same name
/// beside the source.
fn componentize(place: &Place<'_>, own: &Path, tool: &Path) -> Result<Vec<u8>, BuildError> {
    let out = place.folder.join("target").join("heddle").join("out.wasm");
    let mut command = Command::new("python3");
    command
        .env("PYTHONPATH", tool)
        .arg(tool.join("bin").join(COMPONENTIZE_PY.name))
        .arg("--wit-path")
        .arg(place.world)
        .args(["--world", "component", "componentize"]);
    command.arg("--python-path").arg(own).arg("--python-path").arg(place.folder);
    command.arg(bindings::ENTRY).arg("--output").arg(&out);
    let done =
        command.current_dir(place.folder).stdin(Stdio::null()).output().map_err(BuildError::file(place.folder))?;
    if done.status.success() {
        return read(&out);
    }
    eprintln!("{}", own_words(&String::from_utf8_lossy(&done.stderr)));
    Err(BuildError::Failed { command: "componentize-py".to_owned(), folder: place.folder.display().to_string() })
}

/// Extracts Python's traceback from the tool's output, without the frames of the tool and of the generated modules.
/// File names become relative to the component's folder, which is the tool's second path.
fn own_words(said: &str) -> String {
    const BEGINNING: &str = "Traceback (most recent call last):";
    let said = said.split("\nStack backtrace:").next().unwrap_or_default();
    let python = said.split("\nCaused by:").next().unwrap_or_default();
    let Some((_, frames)) = python.rsplit_once(BEGINNING) else { return said.trim_end().to_owned() };
    let mut ours = false;
    let theirs = frames.lines().filter(|line| {
        if line.starts_with("  File ") {
            ours = line.contains("\"/0/");
        } else if !line.starts_with("    ") {
            ours = false;
        }
        !ours
    });
    let lines = theirs.map(|line| line.replace("File \"/1/", "File \"")).collect::<Vec<_>>();
    format!("{BEGINNING}{}", lines.join("\n")).trim_end().to_owned()
}

/// The folder of the tool that pip installs.
fn tool(cache: &Path) -> Result<PathBuf, BuildError> {
    let tool = COMPONENTIZE_PY;
    tool.folder(cache, |folder| {
        if Command::new("python3").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            return Err(BuildError::NoToolchain(
                Explained::new("there is no python3, which fetches the tools that build Python").at("the PATH").hint(
                    "install Python 3.10 or later with pip: https://www.python.org, or on Debian `apt-get install python3-pip`",
                ),
            ));
        }
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check", "--target"]);
        tool.fetched_by(pip.arg(folder).arg(format!("{}=={}", tool.name, tool.version)))
    })
}

#[cfg(test)]
mod tests {
    use super::own_words;

    #[test]
    fn a_traceback_is_reduced_to_the_components_own_lines() {
        let said = "Traceback (most recent call last):\n  File \"/cache/bin/componentize-py\", line 8, in <module>\n    sys.exit(script())\n             ^^^^^^^^\nAssertionError: Traceback (most recent call last):\n  File \"/0/heddle_entry.py\", line 3, in <module>\n    import app as _component\n  File \"/1/app.py\", line 1, in <module>\n    import nothing_there\nModuleNotFoundError: No module named 'nothing_there'\n\n\nCaused by:\n    ModuleNotFoundError\n\nStack backtrace:\n   0: <anyhow::Error>::msg";
        insta::assert_snapshot!(own_words(said));
        assert_eq!(own_words("something else\n\nStack backtrace:\n  0"), "something else");
    }
}
