//! The schema files of an app against the registry.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use heddle_contract::compat::lint::lint as lint_schema;
use heddle_contract::compat::{Violation, avro, violations};
use heddle_contract::schema::{Schema, parse};
use serde_json::json;

use crate::build::AppContracts;
use crate::registry::Registry;

/// Which subjects.
#[derive(Debug, Args)]
pub(super) struct Subjects {
    /// The subjects; all of `contracts/` if none is named.
    #[arg(value_name = "SUBJECT")]
    subjects: Vec<String>,

    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

impl Subjects {
    /// The chosen subjects and their schemas.
    fn chosen<'a>(&self, contracts: &'a AppContracts, folder: &Path) -> Result<Vec<(&'a str, &'a Schema)>> {
        let is_subject = |name: &str| name.ends_with("-value") || name.ends_with("-key");
        let mut chosen = vec![];
        for (name, schema) in contracts.subjects() {
            if if self.subjects.is_empty() { is_subject(name) } else { self.subjects.iter().any(|s| s == name) } {
                chosen.push((name, schema));
            }
        }
        if let Some(missing) = self.subjects.iter().find(|subject| chosen.iter().all(|(name, _)| name != subject)) {
            bail!(
                "there is no schema of the subject `{missing}`\n  where: {}\n  what to do: write it into {missing}.avsc",
                folder.display()
            );
        }
        if chosen.is_empty() {
            bail!(
                "the app has no subjects\n  where: {}\n  what to do: add a schema file named <topic>-value.avsc",
                folder.display()
            );
        }
        Ok(chosen)
    }

    /// Registers them, the ones that others refer to included in each.
    pub(super) fn register(&self, folder: &Path, registry: &dyn Registry) -> Result<()> {
        let contracts = AppContracts::read(folder)?;
        for (subject, schema) in self.chosen(&contracts, folder)? {
            let id = registry.register(subject, schema.json())?;
            if self.json {
                println!("{}", json!({"subject": subject, "id": id.0}));
            } else {
                println!("{subject:<40} id {}", id.0);
            }
        }
        Ok(())
    }

    /// Says what the registry would refuse.
    pub(super) fn check(&self, folder: &Path, registry: &dyn Registry) -> Result<()> {
        let contracts = AppContracts::read(folder)?;
        let (mut count, mut refused) = (0, 0);
        for (subject, schema) in self.chosen(&contracts, folder)? {
            let level = registry.level(subject)?;
            let found = would_violate(registry, subject, schema)?;
            count += 1;
            refused += usize::from(!found.is_empty());
            if self.json {
                let messages = found.iter().map(ToString::to_string).collect::<Vec<_>>();
                let ok = found.is_empty();
                println!(
                    "{}",
                    json!({"subject": subject, "compatible": ok, "compatibilityLevel": level.as_str(), "messages": messages})
                );
            } else if found.is_empty() {
                println!("{subject:<40} ok");
            } else {
                println!("{subject:<40} refused ({level})");
                found.iter().for_each(|violation| println!("  {violation}"));
            }
        }
        if refused > 0 {
            bail!(
                "the registry would refuse {refused} of {count} schemas\n  where: {}\n  what to do: make the changes compatible, or change the level of the subject with `heddle schema set-level`",
                folder.display()
            );
        }
        Ok(())
    }
}

/// What the subject's level demands and the schema violates; nothing if it is registered already.
fn would_violate(registry: &dyn Registry, subject: &str, new: &Schema) -> Result<Vec<Violation>> {
    let mut old = vec![];
    for version in registry.versions(subject)? {
        let name = format!("version {} of {subject}", version.version);
        old.push((version.version, parse(&name, &version.schema).context("the registry has what is no Avro schema")?));
    }
    if old.iter().any(|(_, schema)| schema.json() == new.json()) {
        return Ok(vec![]);
    }
    let old = old.iter().map(|(version, schema)| (*version, schema)).collect::<Vec<_>>();
    Ok(violations(registry.level(subject)?, new, &old, avro::problems))
}

/// Says what schema files lack.
pub(super) fn lint(folder: &Path, files: &[PathBuf], as_json: bool) -> Result<()> {
    let mut schemas = vec![];
    if files.is_empty() {
        let app = crate::cli::app::read(folder)?;
        let contracts = AppContracts::read(&folder.join(&app.contracts))?;
        schemas.extend(contracts.subjects().map(|(name, schema)| (format!("{name}.avsc"), schema.clone())));
    }
    for file in files {
        let name = file.display().to_string();
        let text =
            std::fs::read_to_string(file).with_context(|| format!("the schema cannot be read\n  where: {name}"))?;
        schemas.push((name.clone(), parse(&name, &text)?));
    }
    let mut count = 0;
    for (file, schema) in &schemas {
        for problem in lint_schema(schema) {
            count += 1;
            if as_json {
                println!("{}", json!({"file": file, "path": problem.path, "message": problem.what}));
            } else {
                println!("{file}, {problem}");
            }
        }
    }
    if count > 0 {
        bail!(
            "the schema files are not as they should be: {count} findings\n  what to do: add what the lines above ask for"
        );
    }
    Ok(())
}
