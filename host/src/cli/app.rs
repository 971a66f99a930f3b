//! Reads an app's folder for the commands.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use heddle_contract::manifest::component::Build;
use heddle_contract::manifest::{App, Manifest};
use heddle_core::explain::Explained;

use crate::files;

/// The source of a component: its folder and its manifest.
pub(super) struct Source {
    pub(super) folder: PathBuf,
    pub(super) manifest: Manifest,
    pub(super) text: String,
}

impl Source {
    /// The path at which `heddle build` writes the component.
    pub(super) fn wasm(&self) -> PathBuf {
        match self.manifest.build {
            // The output of the user's command must not be overwritten.
            Build::Command(_) => self.folder.join("target").join("heddle").join(format!("{}.wasm", self.manifest.name)),
            _ => self.folder.join(format!("{}.wasm", self.manifest.name)),
        }
    }
}

/// Reads `heddle.toml` and applies the overrides of the environment.
pub(super) fn read(folder: &Path) -> Result<App> {
    let path = folder.join("heddle.toml");
    let text = files::read_text(&path).with_context(|| match path.exists() {
        false => Explained::new("there is no app here")
            .at(path.display())
            .hint("go to an app's folder, or name it with --app"),
        true => Explained::new("cannot read the app's settings").at(path.display()),
    })?;
    Ok(App::parse(&text, &path.display().to_string(), &variables("HEDDLE_")?)?)
}

/// The environment variables with this prefix. Other variables are ignored, because they may not be Unicode.
pub(super) fn variables(prefix: &str) -> Result<BTreeMap<String, String>> {
    let ours = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let ours = ours.filter(|(name, _)| name.starts_with(prefix));
    let text = |(name, value): (String, std::ffi::OsString)| match value.into_string() {
        Ok(value) => Ok((name, value)),
        Err(_) => bail!(
            Explained::new(format!("the value of `{name}` is not valid Unicode"))
                .at(format_args!("environment variable {name}"))
                .hint("set it to text in UTF-8, or unset it")
        ),
    };
    ours.map(text).collect()
}

/// The folders and files that the app's `components` name.
pub(super) fn named(folder: &Path, app: &App) -> Result<Vec<PathBuf>> {
    let mut paths = vec![];
    for pattern in &app.components {
        let whole = folder.join(pattern);
        let found = glob::glob(&whole.to_string_lossy())
            .with_context(|| format!("`{pattern}` in [app] components is not a pattern"))?;
        for path in found {
            paths.push(path?);
        }
    }
    Ok(paths)
}

/// The sources of the app's components, by name.
pub(super) fn sources(folder: &Path, app: &App) -> Result<Vec<Source>> {
    let mut sources = BTreeMap::<String, Source>::new();
    for path in named(folder, app)? {
        let file = path.join("component.toml");
        if !file.exists() {
            continue;
        }
        let text = files::read_text(&file).with_context(|| file.display().to_string())?;
        let manifest = Manifest::parse(&text, &file.display().to_string())?;
        let source = Source { folder: path, manifest, text };
        if let Some(other) = sources.insert(source.manifest.name.clone(), source) {
            bail!(
                Explained::new(format!("two components have the name `{}`", other.manifest.name))
                    .at(format_args!("{} and {}", other.folder.display(), file.display()))
                    .hint("rename one of them")
            );
        }
    }
    Ok(sources.into_values().collect())
}

/// The `.wasm` files that the app names directly.
pub(super) fn wasm_files(folder: &Path, app: &App) -> Result<Vec<PathBuf>> {
    let is_wasm = |path: &PathBuf| path.is_file() && path.extension().is_some_and(|extension| extension == "wasm");
    Ok(named(folder, app)?.into_iter().filter(is_wasm).collect())
}
