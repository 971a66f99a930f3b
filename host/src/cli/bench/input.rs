//! The records for a measurement: generated from the topic's schema, or from the lines of a file, repeatedly.

use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use bytes::Bytes;
use heddle_contract::format::Schema;
use heddle_contract::manifest::Manifest;
use heddle_contract::manifest::component::{Consumes, IdSource, KeyType};
use heddle_contract::section::Contract;
use heddle_contract::wire::{self, SchemaId, key_subject, prefix, value_subject};
use heddle_core::event::{Header, NewRecord};
use heddle_core::explain::Explained;
use serde_json::Value;

use super::{json, protobuf, values};
use crate::log::Log;
use crate::registry::Registry;
use crate::registry::publish::Publication;
use crate::values::{Plain, Target};

/// The number of records that are written at a time.
const CHUNK: u64 = 1_000;

/// The lines of a file, and the field of each that becomes the key.
pub(super) struct Lines {
    values: Vec<Value>,
    key: Option<String>,
    file: String,
}

impl Lines {
    pub(super) fn read(path: &Path, key: Option<&str>) -> Result<Self> {
        let file = path.display().to_string();
        let place =
            || Explained::new("cannot read the records").at(&file).hint("name a file of one JSON value per line");
        let lines = BufReader::new(std::fs::File::open(path).with_context(place)?).lines();
        let lines = lines.collect::<Result<Vec<_>, _>>().with_context(place)?;
        let lines = lines.iter().filter(|line| !line.trim().is_empty());
        let values = lines.map(|line| serde_json::from_str(line)).collect::<Result<Vec<_>, _>>().with_context(place)?;
        if values.is_empty() {
            bail!(Explained::new("there is no record").at(&file).hint("name a file of one JSON value per line"));
        }
        Ok(Self { values, key: key.map(str::to_owned), file })
    }

    fn of(&self, number: u64) -> Option<&Value> {
        self.values.get(usize::try_from(number).ok()? % self.values.len())
    }
}

/// The records of one topic.
pub(super) struct Input<'a> {
    topic: &'a str,
    consumes: &'a Consumes,
    value: Target,
    key: Option<(SchemaId, Schema)>,
    lines: Option<&'a Lines>,
}

/// The inputs of a component, topic by topic.
pub(super) fn of<'a>(
    registry: &dyn Registry,
    contract: &Contract,
    manifest: &'a Manifest,
    lines: Option<&'a Lines>,
) -> Result<Vec<Input<'a>>> {
    if let (Some(lines), true) = (lines, manifest.consumes.len() > 1) {
        bail!(
            Explained::new(format!(
                "the component `{}` consumes {} topics, and the lines of a file are of one",
                manifest.name,
                manifest.consumes.len()
            ))
            .at(&lines.file)
            .hint("leave --from out: records are then made from the schemas")
        );
    }
    let schema = |subject: String| -> Result<Option<(SchemaId, Schema)>> {
        let Some(schema) = contract.schemas.get(&subject) else { return Ok(None) };
        let parsed = schema.parse().map_err(|what| anyhow!("{subject}: {what}"))?;
        Ok(Some((Publication::from(schema).register(registry, &subject)?, parsed)))
    };
    let input = |(topic, consumes): (&'a String, &'a Consumes)| {
        let (value, key) = (values_of(registry, contract, manifest, topic)?, schema(key_subject(topic))?);
        Ok(Input { topic, consumes, value, key, lines })
    };
    manifest.consumes.iter().map(input).collect()
}

/// The encoding of a topic's values. Its schema is registered, or those of its records if they have separate subjects.
fn values_of(registry: &dyn Registry, contract: &Contract, manifest: &Manifest, topic: &str) -> Result<Target> {
    let subject = value_subject(topic);
    let Some(contract) = contract.schemas.get(&subject) else { return Ok(Target::new(Plain::Json, None)) };
    let schema = contract.parse().map_err(|what| anyhow!("{subject}: {what}"))?;
    let names = manifest.subject_names(topic);
    let mut ids = vec![];
    for (full_name, record) in schema.records()?.unwrap_or_default() {
        if let Some(subject) = names.of_record(topic, &full_name) {
            ids.push(Publication::from(&record).register(registry, &subject)?);
        }
    }
    let whole = || Publication::from(contract).register(registry, &subject);
    let id = ids.first().map_or_else(whole, |first| Ok(*first))?;
    let records = if schema.is_union() && schema.avro().is_some() { ids } else { vec![] };
    Ok(Target { records, ..Target::new(Plain::Json, Some((id, schema))) })
}

impl Input<'_> {
    /// Writes the first `count` records. `told` is called with the number of each chunk, and may stop the writing with
    /// an error.
    pub(super) fn write(&self, log: &dyn Log, count: u64, told: impl Fn(u64) -> Result<()>) -> Result<()> {
        let mut next = 0;
        while next < count {
            let end = count.min(next + CHUNK);
            log.append(&(next..end).map(|number| self.record(number)).collect::<Result<Vec<_>>>()?)?;
            told(end - next)?;
            next = end;
        }
        Ok(())
    }

    fn record(&self, number: u64) -> Result<NewRecord> {
        let (mut id, mut headers) = (None, vec![]);
        match &self.consumes.id {
            Some(IdSource::Value(fields)) => id = Some(&fields[..]),
            Some(IdSource::Header(name)) => {
                let value = Some(number.to_string().into());
                headers.push(Header { name: name.clone().into(), value });
            }
            None => {}
        }
        let line = self.lines.and_then(|lines| Some((lines, lines.of(number)?)));
        let value = match (&self.value.schema, line) {
            (_, Some((lines, line))) => self.value.bytes(line).map_err(|why| self.misfit(lines, &why))?,
            (Ok(Some((id_of_schema, schema))), None) => {
                let value = made(self.topic, schema, number, id)?;
                let by_branch = wire::by_branch(&self.value.records, &value);
                Some(by_branch.unwrap_or_else(|| framed(*id_of_schema, &value)).into())
            }
            (_, None) => Some(number.to_be_bytes().to_vec().into()),
        };
        Ok(NewRecord {
            topic: self.topic.into(),
            partition: None,
            timestamp: None,
            key: self.key(number, line)?,
            value,
            headers,
        })
    }

    fn misfit(&self, lines: &Lines, why: &str) -> anyhow::Error {
        anyhow::Error::from(
            Explained::new(format!("a line does not match the schema of `{}`: {why}", self.topic))
                .at(&lines.file)
                .hint("write values as `heddle produce` takes them"),
        )
    }

    fn key(&self, number: u64, line: Option<(&Lines, &Value)>) -> Result<Option<Bytes>> {
        if let Some((lines, line)) = line {
            let Some(field) = lines.key.as_ref().filter(|field| line.get(*field).is_some()) else { return Ok(None) };
            let target = Target::new(Plain::Text, self.key.clone());
            let key = target.of_fields(line, std::slice::from_ref(field));
            return key.map(Some).map_err(|why| self.misfit(lines, &why));
        }
        Ok(Some(match (&self.key, &self.consumes.key) {
            (Some((id, schema)), _) => framed(*id, &made(self.topic, schema, number, None)?).into(),
            (None, Some(KeyType::Bytes)) => number.to_be_bytes().to_vec().into(),
            (None, _) => values::text(number).into(),
        }))
    }
}

/// A value made from a schema.
fn made(topic: &str, schema: &Schema, number: u64, id: Option<&[String]>) -> Result<Vec<u8>> {
    let value = match schema {
        Schema::Avro(schema) => return Ok(values::value(schema, number, id)),
        Schema::JsonSchema(schema) => json::value(schema, number, id),
        Schema::Protobuf(schema) => schema.root().map_or(Value::Null, |message| protobuf::value(&message, number, id)),
    };
    let mut bytes = vec![];
    // A schema may demand more than is understood here.
    schema.encode(&value, &mut bytes).map_err(|why| {
        Explained::new(format!("no values can be made from the schema of `{topic}`: {why}"))
            .at("the component's contract")
            .hint("name a file of records with --from, or add `examples` to the schema")
    })?;
    Ok(bytes)
}

/// A value in the wire format, with the id of its schema.
fn framed(id: SchemaId, bytes: &[u8]) -> Vec<u8> {
    [&prefix(id)[..], bytes].concat()
}
