//! `heddle produce`: writes JSON lines as records.

use std::io::{BufRead as _, BufReader, IsTerminal as _, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use bytes::Bytes;
use clap::Args;
use heddle_contract::format::Schema;
use heddle_contract::format::json_schema::DecodeError;
use heddle_contract::format::json_schema::number::Number;
use heddle_contract::format::json_schema::reader::Reader;
use heddle_contract::manifest::App;
use heddle_contract::manifest::app::Register;
use heddle_contract::manifest::component::{KeyType, SubjectNames, ValueFormat};
use heddle_contract::wire::{Part, SchemaId, Wire, key_subject, value_subject};
use heddle_core::event::{Header, NewRecord, Partition, Timestamp};
use heddle_core::explain::Explained;
use serde_json::Value;

use super::declared::{self, Declared};
use super::{app, counted, open};
use crate::build::AppContracts;
use crate::guest::Schemas;
use crate::log::Log;
use crate::printable;
use crate::registry::Registry;
use crate::registry::publish::Publication;
use crate::values::{Frame, Plain, Records, Target, parse_timestamp, target};

/// The number of records that are written at a time.
const CHUNK: usize = 1_000;
/// The maximum length of a line, in bytes. Without a limit, a file without an end would take all memory.
const LINE_BYTES_MAX: u64 = 256 << 20;

/// Write records: one JSON value per line, encoded by the topic's schema.
///
/// A line `null` is a tombstone. With --json a line is a whole record, as `heddle consume --json` prints it:
/// {"key": …, "headers": [["name", "text"], …], "timestamp": …, "partition": …, "value": …}.
#[derive(Debug, Args)]
pub(super) struct Produce {
    /// The topic.
    topic: String,

    /// The file of the lines; standard input by default.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// Lines are whole records, not values alone.
    #[arg(long)]
    json: bool,

    /// The field of the value that becomes the record's key, or that field of the key where keys are records; may be
    /// repeated.
    #[arg(long, value_name = "FIELD", conflicts_with = "json", value_delimiter = ',')]
    key: Vec<String>,

    /// The key of every record: text, or JSON where keys have a schema.
    #[arg(long, value_name = "KEY", conflicts_with_all = ["json", "key"])]
    fixed_key: Option<String>,

    /// A header of every record, behind those of its line; without a value it is null. May be repeated.
    #[arg(long = "header", value_name = "NAME[=VALUE]", value_parser = header)]
    headers: Vec<Header>,

    /// The time of every record that has none: in milliseconds since 1970, as RFC 3339, a day, or how long ago (2h).
    #[arg(long, value_name = "TIME", value_parser = parse_timestamp, allow_hyphen_values = true)]
    timestamp: Option<Timestamp>,

    /// The partition of every record that names none.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,

    /// Write records that were read from a topic (those with an `offset`) to the partitions that they were in.
    #[arg(long, requires = "json")]
    keep_partitions: bool,
}

/// Parses a header argument.
pub(super) fn header(text: &str) -> Result<Header, String> {
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
    let value = value.map(|value| value.to_owned().into());
    if name.is_empty() {
        Err("a header needs a name".to_owned())
    } else {
        Ok(Header { name: name.to_owned().into(), value })
    }
}

/// Refuses a line that would be read as something else: the last of two members of one name would count, and a number
/// that is beyond every `f64` or between two of them would be rounded.
fn changes_nothing(line: &str) -> Result<(), DecodeError> {
    match Reader::whole(line.as_bytes()) {
        Err(twice @ DecodeError::Twice { .. }) => Err(twice),
        Err(DecodeError::Number { text, ty, at }) => {
            let number = Number { text: &text, is_plain: !text.contains(['.', 'e', 'E']), at };
            if number.float().is_some() { Ok(()) } else { Err(DecodeError::Number { text, ty, at }) }
        }
        // Other faults are found and reported where the line is encoded.
        _ => Ok(()),
    }
}

impl Produce {
    pub(super) fn run(&self, folder: &Path) -> Result<()> {
        let app = app::read(folder)?;
        // The input is read before the log is opened: an embedded log belongs to one process, and another command that
        // reads it may produce the input.
        let is_typed_in = self.file.is_none() && std::io::stdin().is_terminal();
        let lines = if is_typed_in { None } else { Some(self.lines()?) };
        let log = open::log(folder, &app)?;
        open::create_topics(log.as_ref(), &app, [])?;
        if log.topics()?.iter().all(|info| info.name != self.topic) {
            bail!(
                Explained::new(format!("there is no topic `{}`", printable::line(&self.topic)))
                    .at(folder.join("heddle.toml").display())
                    .hint("run `heddle topics list` to see the topics, or `heddle topics create` to make one")
            );
        }
        let mut records = self.target(folder, &app, &log)?;
        let lines = lines.map_or_else(|| self.lines(), Ok)?;
        // All lines are encoded before the first is written, so a bad line writes nothing.
        let mut made = vec![];
        for (number, line) in lines {
            let place = || format!("line {number} does not match the schema of `{}`; nothing was written", self.topic);
            changes_nothing(&line).with_context(place)?;
            let line = serde_json::from_str(&line).with_context(place)?;
            made.push(self.record(&mut records, &line).map_err(|why| anyhow!(why)).with_context(place)?);
        }
        for chunk in made.chunks(CHUNK) {
            log.append(chunk)?;
        }
        eprintln!("{} written to {}", counted(made.len() as u64, "record"), self.topic);
        Ok(())
    }

    /// The non-empty lines with their numbers.
    fn lines(&self) -> Result<Vec<(usize, String)>> {
        let input: Box<dyn Read> = match &self.file {
            None => Box::new(std::io::stdin()),
            Some(path) => Box::new(std::fs::File::open(path).with_context(|| {
                Explained::new("cannot read the records")
                    .at(path.display())
                    .hint("name a file of one JSON value per line")
            })?),
        };
        let (mut lines, mut input) = (vec![], BufReader::new(input));
        for number in 1.. {
            let mut line = String::new();
            let length = input.by_ref().take(LINE_BYTES_MAX + 1).read_line(&mut line);
            match length.context("cannot read the next line")? as u64 {
                0 => break,
                length if length > LINE_BYTES_MAX => bail!("line {number} is longer than {LINE_BYTES_MAX} bytes"),
                _ => {}
            }
            if !line.trim().is_empty() {
                lines.push((number, line));
            }
        }
        Ok(lines)
    }

    /// The encoder for the topic's records.
    fn target(&self, folder: &Path, app: &App, log: &Arc<dyn Log>) -> Result<Records> {
        let registry = open::registry(folder, app, Some(log))?;
        let schemas = declared::schemas(folder, app, registry.clone());
        let contracts = AppContracts::read(&folder.join(&app.contracts))?;
        let declared = Declared::of(folder, app, &self.topic);
        let subjects = Subjects { app, registry: &*registry, schemas: &*schemas, wire: declared.wire };
        let own = declared.values(&contracts, &self.topic)?;
        let value = match declared.subject {
            _ if declared.wire == Wire::Plain => plain(own, declared.plain()),
            _ if declared.format != ValueFormat::Schema => Target::new(declared.plain(), None),
            SubjectNames::Topic => subjects.target(&value_subject(&self.topic), own.as_ref(), Plain::Json)?,
            names => subjects.records(&self.topic, names, own.as_ref())?,
        };
        let has_keys = self.json || self.fixed_key.is_some() || !self.key.is_empty();
        let subject = key_subject(&self.topic);
        let key = match declared.key.clone().filter(|_| has_keys) {
            _ if has_keys && declared.wire == Wire::Plain => {
                plain(declared.keys(&contracts, &self.topic)?, Plain::Text)
            }
            Some(KeyType::String | KeyType::Bytes) => Target::new(Plain::Text, None),
            Some(KeyType::Schema(name)) => subjects.target(&subject, Some(&contracts.named(&name)?), Plain::Text)?,
            None if has_keys => subjects.target(&subject, contracts.get(&subject), Plain::Text)?,
            _ => Target::new(Plain::Text, None),
        };
        Ok(Records::new(&self.topic, (key, value), registry, schemas))
    }

    fn record(&self, records: &mut Records, line: &Value) -> Result<NewRecord, String> {
        let mut record = if self.json {
            records.record(line, self.keep_partitions)?
        } else {
            let mut record = NewRecord { key: self.key(records.keys(), line)?, ..records.of_value(line)? };
            let named = record.key.as_ref().and_then(|_| records.keys().header(Part::Key, &Value::from("")));
            record.headers.extend(named);
            record
        };
        record.timestamp = record.timestamp.or(self.timestamp);
        record.partition = record.partition.or(self.partition.map(Partition));
        record.headers.extend_from_slice(&self.headers);
        Ok(record)
    }

    fn key(&self, keys: &Target, value: &Value) -> Result<Option<Bytes>, String> {
        match (&self.fixed_key, self.key.as_slice()) {
            (Some(text), _) => keys.typed_in(text).map(Some),
            (None, []) => Ok(None),
            (None, fields) => keys.of_fields(value, fields).map(Some),
        }
    }
}

/// The encoder for parts that name no schema.
fn plain(own: Option<Schema>, plain: Plain) -> Target {
    Target::new(plain, own.map(|own| (SchemaId(0), own))).framed(Frame::Plain)
}

/// The schemas of a topic.
struct Subjects<'a> {
    app: &'a App,
    registry: &'a dyn Registry,
    schemas: &'a dyn Schemas,
    wire: Wire,
}

impl Subjects<'_> {
    /// The encoder for a subject: with the app's schema, which is registered now, or else with the newest schema in the
    /// registry.
    fn target(&self, subject: &str, own: Option<&Schema>, plain: Plain) -> Result<Target> {
        let registry = self.registry;
        let Some(schema) = own else {
            return self.framed(target(plain, registry, subject, self.schemas)?);
        };
        let id = match self.app.register {
            Register::Auto => Publication::from(schema).register(registry, subject)?,
            Register::Never => Publication::from(schema).lookup(registry, subject)?.with_context(|| {
                Explained::new(format!(
                    "the schema of `{subject}` is not registered, and [registry] register = \"never\""
                ))
                .at(registry.place())
                .hint("register it with `heddle schema register`")
            })?,
        };
        self.framed(Target::new(plain, Some((id, schema.clone()))))
    }

    /// The encoder with the frame of the topic's wire. Values of several types are encoded before their type is known,
    /// so their schema's id is in front of them on every wire.
    fn framed(&self, target: Target) -> Result<Target> {
        let (Wire::Header, Ok(Some((id, schema)))) = (self.wire, &target.schema) else { return Ok(target) };
        if schema.is_union() && schema.avro().is_none() {
            return Ok(target);
        }
        let guid = self.registry.by_id(*id)?.and_then(|registered| registered.guid);
        Ok(target.framed(Frame::Header(guid)))
    }

    /// The encoder for values whose subjects are named after their records.
    fn records(&self, topic: &str, names: SubjectNames, own: Option<&Schema>) -> Result<Target> {
        let Some(own) = own else { return Ok(Target::new(Plain::Json, None)) };
        let mut ids = vec![];
        for (name, schema) in own.records()?.unwrap_or_default() {
            let subject = names.of_record(topic, &name).unwrap_or_default();
            let target = self.target(&subject, Some(&schema), Plain::Json)?;
            ids.extend(target.schema.ok().flatten().map(|(id, _)| id));
        }
        let Some(first) = ids.first().copied() else {
            bail!(
                Explained::new(format!(
                    "the values of `{topic}` are not records, and its subjects are named after records"
                ))
                .at(format_args!("contracts/{topic}-value.avsc"))
                .hint("give the topic a record, or a union of records")
            );
        };
        // Messages of one file have one schema.
        let records = if own.is_union() && own.avro().is_some() { ids } else { vec![] };
        // Which branch a value is of is not known before it is encoded, so its id goes in front of it on every wire.
        let target = Target { records, ..Target::new(Plain::Json, Some((first, own.clone()))) };
        if own.is_union() { Ok(target) } else { self.framed(target) }
    }
}
