//! Compares the schema files of an app with the registry.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use heddle_contract::compat::{Problem, Violation, violations};
use heddle_contract::format::avro;
use heddle_contract::section::SchemaFormat;
use heddle_core::explain::Explained;
use serde_json::json;

use crate::build::{AppContracts, format_of};
use crate::cli::counted;
use crate::printable::line;
use crate::registry::format::{self, Entry, Reference, Referred, Schema};
use crate::registry::{Registry, RegistryError, is_subject};

/// The subjects that plain topics would have.
pub(super) type Plain = BTreeSet<String>;

/// The choice of subjects.
#[derive(Debug, Args)]
pub(super) struct Subjects {
    /// The subjects; all of `contracts/` if none is named.
    #[arg(value_name = "SUBJECT")]
    subjects: Vec<String>,

    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
}

/// A file of `contracts/` that is to be registered.
struct Chosen<'a> {
    subject: &'a str,
    file: String,
    entry: Entry,
    /// The files that it imports.
    imports: &'a [String],
    /// All files that it imports, directly or through others.
    referred: Vec<Referred>,
}

impl Chosen<'_> {
    fn parsed(&self) -> Result<Schema> {
        format::parse(&self.entry, &self.referred).map_err(|what| anyhow!("the schema of `{}`: {what}", self.subject))
    }
}

impl Subjects {
    /// The chosen subjects, each after its imports. Those of plain topics are only chosen by name, because nothing of
    /// such a topic is in the registry.
    fn chosen<'a>(&self, contracts: &'a AppContracts, folder: &Path, plain: &Plain) -> Result<Vec<Chosen<'a>>> {
        let documents = contracts.documents();
        let of_avro = contracts.subjects().map(|(subject, schema)| {
            let entry = Entry::new(schema.format(), schema.text());
            Chosen { subject, file: format!("{subject}.avsc"), entry, imports: &[], referred: vec![] }
        });
        let of_documents = documents.iter().map(|document| Chosen {
            subject: &document.subject,
            file: document.file.clone(),
            entry: Entry::new(document.format, document.text.as_str()),
            imports: &document.imports,
            referred: contracts.referred(document),
        });
        let named = |name: &str| {
            if self.subjects.is_empty() {
                is_subject(name) && !plain.contains(name)
            } else {
                self.subjects.iter().any(|subject| subject == name)
            }
        };
        let mut chosen = of_avro.chain(of_documents).collect::<Vec<_>>();
        let left_out = chosen.iter().map(|file| file.subject).filter(|subject| plain.contains(*subject));
        let left_out = left_out.filter(|_| self.subjects.is_empty()).collect::<Vec<_>>().join(", ");
        if !left_out.is_empty() {
            eprintln!("left out, because their topics are plain: {}", line(&left_out));
        }
        // Imports of chosen files are included.
        let along = chosen.iter().filter(|file| named(file.subject)).flat_map(|file| &file.referred);
        let along = along.map(|referred| referred.name.clone()).collect::<BTreeSet<_>>();
        let comes_along = |subject: &str| documents.iter().any(|d| d.subject == subject && along.contains(&d.file));
        chosen.retain(|file| named(file.subject) || comes_along(file.subject));
        let missing = |subject: &&String| chosen.iter().all(|file| file.subject != subject.as_str());
        if let Some(missing) = self.subjects.iter().find(missing) {
            bail!(
                Explained::new(format!("there is no schema for the subject `{missing}`"))
                    .at(folder.display())
                    .hint(format_args!("write it into {missing}.avsc"))
            );
        }
        if chosen.is_empty() && left_out.is_empty() {
            bail!(
                Explained::new("the app has no subjects")
                    .at(folder.display())
                    .hint("add a schema file named <topic>-value.avsc")
            );
        }
        Ok(chosen)
    }

    /// Registers the schemas. An Avro schema includes the types of other files; in the other formats, imports are
    /// registered first.
    pub(super) fn register(&self, folder: &Path, registry: &dyn Registry, plain: &Plain) -> Result<()> {
        let contracts = AppContracts::read(folder)?;
        let documents = contracts.documents();
        let mut registered = BTreeMap::new();
        for Chosen { subject, file, mut entry, imports, .. } in self.chosen(&contracts, folder, plain)? {
            for name in imports {
                let asked = documents.iter().find(|document| document.file == *name).map(|d| d.subject.clone());
                let (asked, version) = asked
                    .and_then(|asked| registered.get(&asked).map(|version| (asked, *version)))
                    .with_context(|| format!("`{name}`, which `{subject}` asks for, was not registered"))?;
                entry.references.push(Reference { name: name.clone(), subject: asked, version });
            }
            let id = match registry.register_entry(subject, &entry) {
                Err(refused @ RegistryError::Refused { .. }) => {
                    bail!(Explained::new(format!("{refused}")).at(format_args!("contracts/{file}")).hint(
                        "make the change compatible, or change the subject's compatibility level in the registry"
                    ))
                }
                answered => answered?,
            };
            if entry.format != SchemaFormat::Avro {
                let versions = registry.versions(subject)?;
                let version = versions.iter().rev().find(|version| version.id == id).map(|version| version.version);
                registered.insert(subject.to_owned(), version.context("the registered version was deleted meanwhile")?);
            }
            if self.json {
                println!("{}", json!({"subject": subject, "id": id.0}));
            } else {
                println!("{subject:<40} id {}", id.0);
            }
        }
        Ok(())
    }

    /// Prints the schemas that the registry would refuse.
    pub(super) fn check(&self, folder: &Path, registry: &dyn Registry, plain: &Plain) -> Result<()> {
        let contracts = AppContracts::read(folder)?;
        let (mut count, mut refused) = (0, 0);
        for file in self.chosen(&contracts, folder, plain)? {
            let subject = file.subject;
            let level = registry.level(subject)?;
            let found = would_violate(registry, &file)?;
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
                found.iter().for_each(|violation| println!("  {}", line(&violation.to_string())));
            }
        }
        if refused > 0 {
            bail!(
                Explained::new(format!("the registry would refuse {refused} of {count} schemas"))
                    .at(folder.display())
                    .hint(
                        "make the changes compatible, or change the level of the subject with `heddle schema set-level`"
                    )
            );
        }
        Ok(())
    }
}

/// The violations of the subject's compatibility level. Empty if the schema is registered already.
fn would_violate(registry: &dyn Registry, file: &Chosen<'_>) -> Result<Vec<Violation>> {
    let new = (identity(&file.entry, &file.referred), file.parsed()?);
    let mut old = vec![];
    for version in registry.versions(file.subject)? {
        let number = version.version;
        let parsed = version
            .parsed()
            .map_err(|what| anyhow!("version {number} of `{}` is not a valid schema: {what}", file.subject))?;
        if identity(&Entry::new(version.format, version.schema), &version.referred) == new.0 {
            return Ok(vec![]);
        }
        old.push((number, parsed));
    }
    let old = old.iter().map(|(version, schema)| (*version, schema)).collect::<Vec<_>>();
    Ok(violations(registry.level(file.subject)?, &new.1, &old, Schema::problems))
}

/// The identity of a schema with all its imports: two files with the same identity are the same schema.
fn identity(entry: &Entry, referred: &[Referred]) -> Vec<String> {
    let one = |text: &str| format::identity(&Entry::new(entry.format, text));
    let others = referred.iter().map(|other| format!("{} {}", other.name, one(&other.text)));
    let mut all = others.collect::<Vec<_>>();
    all.sort();
    all.push(one(&entry.text));
    all
}

/// Prints the missing parts of schema files.
pub(super) fn lint(folder: &Path, files: &[PathBuf], as_json: bool) -> Result<()> {
    let mut findings = vec![];
    if files.is_empty() {
        let app = crate::cli::app::read(folder)?;
        let contracts = AppContracts::read(&folder.join(&app.contracts))?;
        findings.extend(contracts.subjects().map(|(name, schema)| (format!("{name}.avsc"), schema.lint())));
        for document in contracts.documents() {
            let entry = Entry::new(document.format, document.text.as_str());
            findings.push((document.file.clone(), lint_text(&document.file, &entry, &contracts.referred(document))?));
        }
    }
    for file in files {
        let name = file.display().to_string();
        let text =
            std::fs::read_to_string(file).with_context(|| Explained::new("the schema cannot be read").at(&name))?;
        let found = match format_of(file) {
            None | Some(SchemaFormat::Avro) => avro::lint::lint(&avro::parse(&name, &text)?),
            Some(format) => lint_text(&name, &Entry::new(format, text), &[])?,
        };
        findings.push((name, found));
    }
    let mut count = 0;
    for (file, found) in &findings {
        for problem in found {
            count += 1;
            if as_json {
                println!("{}", json!({"file": file, "path": problem.path, "message": problem.what}));
            } else {
                println!("{file}, {}", line(&problem.to_string()));
            }
        }
    }
    if count > 0 {
        bail!("the schema files have {}", counted(count, "finding"));
    }
    Ok(())
}

fn lint_text(file: &str, entry: &Entry, referred: &[Referred]) -> Result<Vec<Problem>> {
    let parsed = format::parse(entry, referred).map_err(|what| anyhow!("{file}: {what}"))?;
    Ok(parsed.lint())
}
