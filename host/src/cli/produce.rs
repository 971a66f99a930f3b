//! `heddle produce`: JSON lines in, records out.

use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use clap::Args;
use heddle_contract::manifest::app::Register;
use heddle_contract::schema::{Schema, json, parse_writer};
use heddle_contract::section::SchemaFormat;
use heddle_contract::wire::{SchemaId, prefix, value_subject};
use heddle_core::event::NewRecord;
use serde_json::Value;

use super::{app, counted, open};
use crate::build::AppContracts;
use crate::log::Log;
use crate::printable;
use crate::registry::format::{self, Entry};

/// How many records are written at a time.
const CHUNK: usize = 1_000;

/// Write records: one JSON value a line, encoded by the topic's schema.
#[derive(Debug, Args)]
pub(super) struct Produce {
    /// The topic.
    topic: String,

    /// Where the lines come from; standard input if it is not given.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// The field of the value that becomes the record's key; without it records have none.
    #[arg(long, value_name = "FIELD")]
    key: Option<String>,
}

/// How values become bytes: by a schema and its id, or as the JSON they are.
struct Format(Option<(SchemaId, Schema)>);

impl Produce {
    pub(super) fn run(&self, folder: &Path) -> Result<()> {
        let app = app::read(folder)?;
        let log = open::log(folder, &app)?;
        open::create_topics(log.as_ref(), &app, [])?;
        if log.topics()?.iter().all(|info| info.name != self.topic) {
            bail!(
                "there is no topic `{}`\n  where: {}\n  what to do: `heddle topics list` shows those there are; `heddle topics create` makes one",
                printable::line(&self.topic),
                folder.join("heddle.toml").display()
            );
        }
        let format = self.format(folder, &app, &log)?;
        let input: Box<dyn Read> = match &self.file {
            None => Box::new(std::io::stdin()),
            Some(path) => Box::new(std::fs::File::open(path).with_context(|| {
                format!(
                    "cannot read the records\n  where: {}\n  what to do: name a file of one JSON value a line",
                    path.display()
                )
            })?),
        };
        // All lines are looked at before the first is written: a bad line writes nothing.
        let mut records = vec![];
        for (number, line) in BufReader::new(input).lines().enumerate() {
            let line = line.context("cannot read the next line")?;
            if line.trim().is_empty() {
                continue;
            }
            let place =
                || format!("line {} is no value for the topic `{}`; nothing was written", number + 1, self.topic);
            let value = serde_json::from_str(&line).with_context(place)?;
            records.push(self.record(&format, &value).with_context(place)?);
        }
        for chunk in records.chunks(CHUNK) {
            log.append(chunk)?;
        }
        eprintln!("{} written to {}", counted(records.len() as u64, "record"), self.topic);
        Ok(())
    }

    /// By the app's own schema if it has one, registered now, else by the newest one that the registry knows.
    fn format(&self, folder: &Path, app: &heddle_contract::manifest::App, log: &Arc<dyn Log>) -> Result<Format> {
        let registry = open::registry(folder, app, Some(log))?;
        let subject = value_subject(&self.topic);
        if let Some(schema) = AppContracts::read(&folder.join(&app.contracts))?.get(&subject) {
            let id = match app.register {
                Register::Auto => registry.register(&subject, schema.json())?,
                Register::Never => registry.lookup(&subject, &Entry::new(SchemaFormat::Avro, schema.json()))?.with_context(|| {
                    format!("the schema of `{subject}` is not registered, and [registry] register = \"never\"\n  where: {}\n  what to do: register it before, with `heddle schema register`", registry.place())
                })?,
            };
            return Ok(Format(Some((id, schema.clone()))));
        }
        let Some(latest) = registry.latest(&subject)? else { return Ok(Format(None)) };
        if latest.format != SchemaFormat::Avro {
            bail!(
                "the topic `{}` cannot be written by its schema: it is {}, and values are written as Avro\n  where: version {} of the subject `{subject}`, {}\n  what to do: write to a topic with an Avro schema, or with a client of that format",
                self.topic,
                format::title(latest.format),
                latest.version,
                registry.place()
            );
        }
        Ok(Format(Some((latest.id, parse_writer(&subject, &latest.schema)?))))
    }

    fn record(&self, format: &Format, value: &Value) -> Result<NewRecord> {
        let key = match &self.key {
            None => None,
            Some(field) => match value.get(field) {
                Some(Value::String(key)) => Some(Bytes::from(key.clone())),
                Some(Value::Null) | None => bail!("the value has no field `{field}` to take the key from"),
                Some(other) => Some(Bytes::from(other.to_string())),
            },
        };
        let mut bytes = vec![];
        match &format.0 {
            None => bytes.extend(value.to_string().into_bytes()),
            Some((id, schema)) => {
                bytes.extend(prefix(*id));
                json::encode(schema, value, &mut bytes)?;
            }
        }
        let value = Some(bytes.into());
        Ok(NewRecord {
            topic: self.topic.as_str().into(),
            partition: None,
            timestamp: None,
            key,
            value,
            headers: vec![],
        })
    }
}
