//! `heddle schema`: the schemas of the app and the registry.

mod ask;
mod fetch;
mod files;
mod infer;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use heddle_contract::compat::Level;
use heddle_contract::format::avro::diff::differences;
use heddle_contract::format::avro::parse_writer;
use heddle_contract::manifest::App;
use heddle_contract::section::SchemaFormat;
use heddle_contract::wire::{Wire, key_subject, value_subject};
use heddle_core::explain::Explained;
use serde_json::json;

use super::{app, open};
use crate::printable::line;
use crate::registry::{Registry, Version, format};

/// Register, check, read and compare schemas.
#[derive(Debug, Args)]
pub(super) struct Schema {
    #[command(subcommand)]
    command: SchemaCommand,
}

#[derive(Debug, Subcommand)]
enum SchemaCommand {
    /// Register the subjects of `contracts/` and their imports. These are the files named <topic>-value and
    /// <topic>-key: .avsc (Avro), .json (JSON Schema) or .proto (Protobuf).
    Register(files::Subjects),
    /// Print what the registry would refuse, without registering anything. Exit code 1 if it would refuse any schema.
    Check(files::Subjects),
    /// Print what the schema files lack: namespaces, docs, defaults of optional fields. Exit code 1 if anything is
    /// missing.
    Lint {
        /// The files; all of `contracts/` if none is named.
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
    },
    /// Write the registry's schemas of topics to `contracts/`, so that components can be built on topics of other apps.
    Fetch(fetch::Fetch),
    /// Derive a JSON Schema from the records of a topic of plain JSON, as a first draft: writes it to `contracts/`.
    Infer(infer::Infer),
    /// Print a subject's schema.
    #[command(disable_version_flag = true)]
    Get {
        /// The subject.
        subject: String,
        /// Its version: a number, or `latest`.
        #[arg(long = "version", id = "number", value_name = "VERSION", default_value = "latest")]
        version: String,
        /// Print subject, version and id, too, as one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// List all subjects with their versions and compatibility levels.
    List {
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
    },
    /// Show the changes from one version of a subject to another.
    Diff {
        /// The subject.
        subject: String,
        /// The older version.
        from: u32,
        /// The newer version; the latest if none is given.
        to: Option<u32>,
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
    },
    /// Set the compatibility level of a subject, or of all subjects without a separate level.
    SetLevel {
        /// NONE, BACKWARD, FORWARD, FULL, BACKWARD_TRANSITIVE, FORWARD_TRANSITIVE or FULL_TRANSITIVE.
        #[arg(value_parser = level)]
        level: Level,
        /// The subject; all subjects if none is given.
        #[arg(long)]
        subject: Option<String>,
    },
    /// Check that one schema reads everything that another wrote. Exit code 1 if not, with the place and the reason.
    Compat(ask::Compat),
    /// Print, as Avro JSON, the value that a component built on the reader's schema gets for a value of the writer's
    /// schema.
    Resolve(ask::Resolve),
}

fn level(text: &str) -> Result<Level, String> {
    let known = || Level::ALL.map(Level::as_str).join(", ");
    text.parse().map_err(|()| format!("it is none of {}", known()))
}

impl Schema {
    pub(super) fn run(&self, folder: &Path) -> Result<()> {
        match &self.command {
            SchemaCommand::Compat(compat) => return compat.run(),
            SchemaCommand::Resolve(resolve) => return resolve.run(),
            SchemaCommand::Lint { files, json } => return files::lint(folder, files, *json),
            SchemaCommand::Infer(infer) => return infer.run(folder),
            _ => {}
        }
        let app = app::read(folder)?;
        let registry = open::registry(folder, &app, None)?;
        let (registry, plain) = (registry.as_ref(), plain_subjects(&app));
        match &self.command {
            SchemaCommand::Register(subjects) => subjects.register(&folder.join(&app.contracts), registry, &plain),
            SchemaCommand::Check(subjects) => subjects.check(&folder.join(&app.contracts), registry, &plain),
            SchemaCommand::Fetch(fetch) => fetch.run(&folder.join(&app.contracts), registry),
            SchemaCommand::Get { subject, version, json } => get((registry, &plain), subject, version, *json),
            SchemaCommand::List { json } => list(registry, *json),
            SchemaCommand::Diff { subject, from, to, json } => diff((registry, &plain), subject, (*from, *to), *json),
            SchemaCommand::SetLevel { level, subject } => {
                registry.set_level(subject.as_deref(), *level)?;
                eprintln!(
                    "compatibility of {} set to {level}",
                    subject.as_deref().unwrap_or("all subjects without a separate level")
                );
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// The subjects that the app's plain topics would have.
fn plain_subjects(app: &App) -> files::Plain {
    let plain = app.topics.iter().filter(|(_, topic)| topic.wire == Wire::Plain);
    plain.flat_map(|(topic, _)| [value_subject(topic), key_subject(topic)]).collect()
}

/// The versions of a subject that must exist. One of a plain topic has none, unless it was registered by name.
fn history((registry, plain): (&dyn Registry, &files::Plain), subject: &str) -> Result<Vec<Version>> {
    let versions = registry.versions(subject)?;
    if versions.is_empty() && plain.contains(subject) {
        bail!(
            Explained::new(format!("`{subject}` has no versions, because its topic is plain"))
                .at("heddle.toml")
                .hint("compare two files with `heddle schema compat --reader FILE --writer FILE`")
        );
    }
    if versions.is_empty() {
        bail!(
            Explained::new(format!("there is no subject `{subject}`")).at(registry.place()).hint(
                "run `heddle schema list` to see the subjects, or `heddle schema register` to register the app's"
            )
        );
    }
    Ok(versions)
}

fn pick<'a>(versions: &'a [Version], subject: &str, number: Option<u32>) -> Result<&'a Version> {
    let found = match number {
        None => versions.last(),
        Some(number) => versions.iter().find(|version| version.version == number),
    };
    found.with_context(|| {
        let known = versions.iter().map(|version| version.version.to_string()).collect::<Vec<_>>().join(", ");
        Explained::new(format!(
            "there is no version {} of `{subject}`",
            number.map_or("latest".to_owned(), |number| number.to_string())
        ))
        .hint(format_args!("name one of: {known}"))
    })
}

fn get(of: (&dyn Registry, &files::Plain), subject: &str, version: &str, as_json: bool) -> Result<()> {
    let number = match version {
        "latest" => None,
        text => Some(text.parse().with_context(|| format!("`{text}` is not a version: write a number, or `latest`"))?),
    };
    let versions = history(of, subject)?;
    let found = pick(&versions, subject, number)?;
    if as_json {
        println!(
            "{}",
            json!({"subject": subject, "version": found.version, "id": found.id.0, "schemaType": format::name(found.format), "schema": found.schema})
        );
    } else {
        println!("{}", fetch::text(found).trim_end_matches('\n'));
    }
    Ok(())
}

fn list(registry: &dyn Registry, as_json: bool) -> Result<()> {
    for subject in registry.subjects()? {
        let level = registry.level(&subject)?;
        let versions = registry.versions(&subject)?;
        let numbers = versions.iter().map(|version| version.version).collect::<Vec<_>>();
        let id = versions.last().map(|version| version.id.0);
        let format = versions.last().map(|version| version.format);
        if as_json {
            println!(
                "{}",
                json!({"subject": subject, "schemaType": format.map(format::name), "versions": numbers, "latestId": id, "compatibilityLevel": level.as_str()})
            );
        } else {
            let numbers = numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            // Most schemas are Avro, so only other formats are named.
            let format = format.filter(|format| *format != SchemaFormat::Avro);
            let format = format.map(|format| format!("  {}", format::title(format))).unwrap_or_default();
            println!("{:<40} {level:<20} versions {numbers}{format}", line(&subject));
        }
    }
    Ok(())
}

fn diff(
    of: (&dyn Registry, &files::Plain),
    subject: &str,
    (from, to): (u32, Option<u32>),
    as_json: bool,
) -> Result<()> {
    let versions = history(of, subject)?;
    let (old, new) = (pick(&versions, subject, Some(from))?, pick(&versions, subject, to)?);
    for version in [old, new] {
        if version.format != SchemaFormat::Avro {
            let (number, format) = (version.version, format::title(version.format));
            bail!(
                Explained::new(format!(
                    "version {number} of `{subject}` is {format}, and only Avro schemas are compared field by field"
                ))
                .at(of.0.place())
                .hint(format_args!("run `heddle schema get {subject} --version {number}` to print it"))
            );
        }
    }
    let schema = |version: &Version| parse_writer(&format!("{subject} version {}", version.version), &version.schema);
    let found = differences(&schema(old)?, &schema(new)?);
    for difference in &found {
        if as_json {
            println!(
                "{}",
                json!({"change": difference.sign.to_string(), "path": difference.path, "what": difference.what})
            );
        } else {
            println!("{}", line(&difference.to_string()));
        }
    }
    if found.is_empty() {
        eprintln!("versions {} and {} of {subject} are equal", old.version, new.version);
    }
    Ok(())
}
