//! `heddle build`: writes the WIT, compiles the components and embeds their contracts.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use heddle_core::explain::Explained;

use super::app::{self, Source};
use super::inspect::Summary;
use super::{open, report};
use crate::build::{self, AppContracts};
use crate::guest::Component;

/// Build the app's components.
#[derive(Debug, Args)]
pub(super) struct Build {
    /// Build only these components; by default all of them.
    #[arg(value_name = "COMPONENT")]
    components: Vec<String>,

    /// Only write the `wit` folders, so that an editor knows the types.
    #[arg(long)]
    wit_only: bool,

    /// Print the built files as JSON, one object per line.
    #[arg(long)]
    json: bool,
}

impl Build {
    pub(super) fn run(&self, folder: &Path) -> Result<()> {
        let app = app::read(folder)?;
        let sources = app::sources(folder, &app)?;
        if let Some(unknown) = self.components.iter().find(|name| sources.iter().all(|s| s.manifest.name != **name)) {
            let known = sources.iter().map(|source| source.manifest.name.as_str()).collect::<Vec<_>>().join(", ");
            bail!(
                Explained::new(format!("the app has no component `{unknown}`"))
                    .at(folder.join("heddle.toml").display())
                    .hint(format_args!("name one of: {known}"))
            );
        }
        if sources.is_empty() {
            bail!(
                Explained::new("the app has no components")
                    .at(format_args!(
                        "[app] components = {:?} in {}",
                        app.components,
                        folder.join("heddle.toml").display()
                    ))
                    .hint("add a folder with a component.toml")
            );
        }
        let contracts = AppContracts::read(&folder.join(&app.contracts))?;
        let manifests = sources.iter().map(|source| (&source.manifest, None));
        for warning in build::unmatched(&contracts, app.topics.keys(), manifests) {
            report::warn(Explained::new(warning.to_string()).at(contracts.folder().display()));
        }
        let engine = open::engine()?;
        for source in
            sources.iter().filter(|s| self.components.is_empty() || self.components.contains(&s.manifest.name))
        {
            let started = Instant::now();
            let Some((path, wasm)) = build_one(&contracts, source, self.wit_only)? else { continue };
            let file = path.display().to_string();
            Component::check(&engine, &file, &wasm)?;
            let summary = Summary::of(&engine, &file, &wasm)?.0;
            if self.json {
                println!("{}", serde_json::to_string(&summary)?);
            } else {
                summary.print();
                println!("  built in  {:.1} s", started.elapsed().as_secs_f64());
            }
        }
        Ok(())
    }
}

/// Builds one component and writes its file where the other commands find it.
pub(super) fn build_one(
    contracts: &AppContracts,
    source: &Source,
    wit_only: bool,
) -> Result<Option<(PathBuf, Vec<u8>)>> {
    let name = &source.manifest.name;
    for (path, text) in build::generated(&source.folder, &source.manifest, contracts)? {
        write_if_changed(&source.folder.join(path), text.as_bytes())?;
    }
    if wit_only {
        return Ok(None);
    }
    eprintln!("building {name}");
    let names = build::locked_names(&source.folder)?;
    let contract = build::contract_of(&source.manifest, &source.text, contracts, &names)?;
    let wasm = build::build(&source.folder, &source.manifest, &contract, &build::cache_folder())?;
    let path = source.wasm();
    write_if_changed(&path, &wasm)?;
    Ok(Some((path, wasm)))
}

/// Writes a file only if its content differs. So compilers and watchers see only real changes.
fn write_if_changed(path: &Path, bytes: &[u8]) -> Result<()> {
    if std::fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    let failed = || format!("cannot write {}", path.display());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(failed)?;
    }
    std::fs::write(path, bytes).with_context(failed)
}
