//! Fetches the schemas of topics from the registry into the app's contracts.

use std::ffi::OsStr;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use heddle_contract::section::SchemaFormat;
use heddle_contract::wire::{key_subject, value_subject};
use heddle_core::explain::Explained;
use serde_json::Value;

use crate::printable::line;
use crate::registry::{Registry, Version};

/// Options of `fetch`.
#[derive(Debug, Args)]
pub(super) struct Fetch {
    /// Topics, of which the subjects <topic>-key and <topic>-value are fetched, or subjects.
    #[arg(value_name = "TOPIC", required = true)]
    names: Vec<String>,
}

impl Fetch {
    /// Writes the newest versions to `folder`.
    pub(super) fn run(&self, folder: &Path, registry: &dyn Registry) -> Result<()> {
        for name in &self.names {
            let mut is_found = false;
            for subject in [name.clone(), key_subject(name), value_subject(name)] {
                if let Some(version) = registry.latest(&subject)? {
                    is_found = true;
                    write(folder, &subject, &version, registry)?;
                }
            }
            if !is_found {
                bail!(
                    Explained::new(format!("there is no subject `{name}`, `{name}-key` or `{name}-value`"))
                        .at(registry.place())
                        .hint("list the subjects with `heddle schema list`")
                );
            }
        }
        Ok(())
    }
}

fn write(folder: &Path, subject: &str, version: &Version, registry: &dyn Registry) -> Result<()> {
    let extension = match version.format {
        SchemaFormat::Avro => "avsc",
        SchemaFormat::Json => "json",
        SchemaFormat::Protobuf => "proto",
    };
    let file = format!("{subject}.{extension}");
    let path = folder.join(&file);
    if !version.referred.is_empty() || path.file_name() != Some(OsStr::new(&file)) {
        bail!(
            Explained::new(format!(
                "the schema of `{subject}` is not one file of `contracts/`: it has imports, or a path"
            ))
            .at(registry.place())
            .hint(format!("print it with `heddle schema get {subject}`, and write the files by hand"))
        );
    }
    let text = text(version);
    let is_new = std::fs::read_to_string(&path).map_or(true, |before| before != text);
    if is_new {
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&path, text))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let unchanged = if is_new { "" } else { ", unchanged" };
    println!("{:<40} version {}{unchanged}", line(&file), version.version);
    Ok(())
}

/// The text of a schema, formatted for people.
pub(super) fn text(version: &Version) -> String {
    // A schema that is not JSON is not formatted.
    let pretty = serde_json::from_str::<Value>(&version.schema).and_then(|value| serde_json::to_string_pretty(&value));
    pretty.map_or_else(|_| version.schema.clone(), |text| text + "\n")
}
