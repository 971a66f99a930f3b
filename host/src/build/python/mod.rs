//! Python: componentize-py puts CPython around the component's modules.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::kept::{self, Inputs};
use super::tools::COMPONENTIZE_PY;
use super::{BuildError, Place, read};

/// The module that a component begins with.
const MODULE: &str = "app";
/// Folders of a component that are not part of it.
const SKIPPED: [&str; 6] = ["target", "wit", "tests", "venv", "__pycache__", "node_modules"];

/// Makes the component's modules a component.
pub(super) fn build(place: &Place<'_>) -> Result<Vec<u8>, BuildError> {
    let source = place.folder.join(format!("{MODULE}.py"));
    if !source.exists() {
        return Err(BuildError::Language(format!(
            "{} has language = \"python\" but no {MODULE}.py\n  where: {}\n  what to do: write it, or give a command: build = \"…\"",
            place.folder.display(),
            source.display()
        )));
    }
    let program = program(place.cache)?;
    let mut inputs = Inputs::default();
    inputs.add(COMPONENTIZE_PY.version);
    inputs.add_folder(place.world, &|_| false)?;
    inputs.add_folder(place.folder, &|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let skipped = name.starts_with('.') || (SKIPPED.contains(&name) && path.is_dir());
        skipped || (path.is_file() && !name.ends_with(".py"))
    })?;
    kept::or_made(place.folder, inputs, || componentize(place, &program))
}

fn componentize(place: &Place<'_>, program: &Path) -> Result<Vec<u8>, BuildError> {
    let own = place.folder.join("target").join("heddle");
    std::fs::create_dir_all(&own).map_err(BuildError::file(&own))?;
    let out = own.join("out.wasm");
    let mut command = Command::new(program);
    command.arg("--wit-path").arg(place.world).args(["--world", "component", "componentize", "--stub-wasi"]);
    command.arg("--python-path").arg(place.folder).arg(MODULE).arg("--output").arg(&out);
    let done =
        command.current_dir(place.folder).stdin(Stdio::null()).output().map_err(BuildError::file(place.folder))?;
    if done.status.success() {
        return read(&out);
    }
    eprint!("{}", String::from_utf8_lossy(&done.stderr));
    Err(BuildError::Failed { command: "componentize-py".to_owned(), folder: place.folder.display().to_string() })
}

/// The program that pip fetches.
fn program(cache: &Path) -> Result<PathBuf, BuildError> {
    let tool = COMPONENTIZE_PY;
    let folder = tool.folder(cache, |folder| {
        if Command::new("python3").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            return Err(BuildError::NoToolchain(
                "there is no python3, which fetches what builds Python\n  where: the PATH\n  what to do: install Python 3.10 or later with pip: https://www.python.org, or on Debian `apt-get install python3-pip`".to_owned(),
            ));
        }
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check", "--target"]);
        tool.fetched_by(pip.arg(folder).arg(format!("{}=={}", tool.name, tool.version)))
    })?;
    Ok(folder.join("bin").join(tool.name))
}
