//! The records that a component is measured by: made from the topic's schema, or lines of a file, again and again.

use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use heddle_contract::manifest::Manifest;
use heddle_contract::manifest::component::{Consumes, IdSource, KeyType};
use heddle_contract::schema::{Schema, json, parse};
use heddle_contract::section::Contract;
use heddle_contract::wire::{SchemaId, key_subject, prefix, value_subject};
use heddle_core::event::{Header, NewRecord};
use serde_json::Value;

use super::values;
use crate::log::Log;
use crate::registry::Registry;

/// How many records are written at a time.
const CHUNK: u64 = 1_000;

/// Lines of a file, and the field of each that becomes its key.
pub(super) struct Lines {
    values: Vec<Value>,
    key: Option<String>,
    file: String,
}

impl Lines {
    pub(super) fn read(path: &Path, key: Option<&str>) -> Result<Self> {
        let file = path.display().to_string();
        let place =
            || format!("cannot read the records\n  where: {file}\n  what to do: name a file of one JSON value a line");
        let lines = BufReader::new(std::fs::File::open(path).with_context(place)?).lines();
        let lines = lines.collect::<Result<Vec<_>, _>>().with_context(place)?;
        let lines = lines.iter().filter(|line| !line.trim().is_empty());
        let values = lines.map(|line| serde_json::from_str(line)).collect::<Result<Vec<_>, _>>().with_context(place)?;
        if values.is_empty() {
            bail!("there is no record\n  where: {file}\n  what to do: name a file of one JSON value a line");
        }
        Ok(Self { values, key: key.map(str::to_owned), file })
    }

    fn of(&self, number: u64) -> Option<&Value> {
        self.values.get(usize::try_from(number).ok()? % self.values.len())
    }
}

/// One topic's records.
pub(super) struct Input<'a> {
    topic: &'a str,
    consumes: &'a Consumes,
    value: Option<(SchemaId, Schema)>,
    key: Option<(SchemaId, Schema)>,
    lines: Option<&'a Lines>,
}

/// What a component takes, topic by topic.
pub(super) fn of<'a>(
    registry: &dyn Registry,
    contract: &Contract,
    manifest: &'a Manifest,
    lines: Option<&'a Lines>,
) -> Result<Vec<Input<'a>>> {
    if let (Some(lines), true) = (lines, manifest.consumes.len() > 1) {
        bail!(
            "the component `{}` consumes {} topics, and the lines of a file are of one\n  where: {}\n  what to do: leave --from out, and records are made from the schemas",
            manifest.name,
            manifest.consumes.len(),
            lines.file
        );
    }
    let schema = |subject: String| -> Result<Option<(SchemaId, Schema)>> {
        let Some(schema) = contract.schemas.get(&subject) else { return Ok(None) };
        Ok(Some((registry.register(&subject, &schema.text)?, parse(&subject, &schema.text)?)))
    };
    let input = |(topic, consumes): (&'a String, &'a Consumes)| {
        let (value, key) = (schema(value_subject(topic))?, schema(key_subject(topic))?);
        Ok(Input { topic, consumes, value, key, lines })
    };
    manifest.consumes.iter().map(input).collect()
}

impl Input<'_> {
    /// Writes the first `count` records; `told` gets how many, again and again, and may end it.
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
        let value = match (&self.value, line) {
            (None, None) => number.to_be_bytes().to_vec(),
            (None, Some((_, line))) => line.to_string().into_bytes(),
            (Some((id_of_schema, schema)), None) => framed(*id_of_schema, &values::value(schema, number, id)),
            (Some((id_of_schema, schema)), Some((lines, line))) => {
                let mut bytes = vec![];
                json::encode(schema, line, &mut bytes).with_context(|| {
                    format!(
                        "a line is no value for the topic `{}`\n  where: {}\n  what to do: write values as `heddle produce` takes them",
                        self.topic, lines.file
                    )
                })?;
                framed(*id_of_schema, &bytes)
            }
        };
        let (topic, value) = (self.topic.into(), Some(value.into()));
        Ok(NewRecord { topic, partition: None, timestamp: None, key: self.key(number, line), value, headers })
    }

    fn key(&self, number: u64, line: Option<(&Lines, &Value)>) -> Option<Bytes> {
        if let Some((lines, line)) = line {
            let found = line.get(lines.key.as_ref()?)?;
            return Some(found.as_str().map_or_else(|| found.to_string(), str::to_owned).into());
        }
        match (&self.key, &self.consumes.key) {
            (Some((id, schema)), _) => Some(framed(*id, &values::value(schema, number, None)).into()),
            (None, Some(KeyType::Bytes)) => Some(number.to_be_bytes().to_vec().into()),
            (None, _) => Some(values::text(number).into()),
        }
    }
}

/// A value behind the id of its schema.
fn framed(id: SchemaId, bytes: &[u8]) -> Vec<u8> {
    [&prefix(id)[..], bytes].concat()
}
