//! `heddle consume`: records as decoded JSON lines.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use heddle_contract::schema::json;
use heddle_contract::wire;
use heddle_core::event::{Record, TopicPartition};
use serde_json::{Map, Value};

use super::{Raw, app, open};
use crate::guest::Schemas;
use crate::log::Start;
use crate::output::print;
use crate::printable;
use crate::registry::Cached;

/// How long a poll waits.
const POLL_WAIT: Duration = Duration::from_millis(200);

/// Print a topic's committed records: their decoded values, one a line.
#[derive(Debug, Args)]
pub(super) struct Consume {
    /// The topic.
    topic: String,

    /// Where to start: `beginning`, `end`, or an offset of every partition.
    #[arg(long, default_value = "beginning", value_parser = start)]
    from: Start,

    /// Stop after so many records.
    #[arg(long, value_name = "COUNT")]
    max: Option<usize>,

    /// Wait for more instead of ending where the topic ends now.
    #[arg(long)]
    follow: bool,

    /// Print partition, offset, timestamp, key and headers, too.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    output: Raw,
}

fn start(text: &str) -> Result<Start, String> {
    match text {
        "beginning" => Ok(Start::Beginning),
        "end" => Ok(Start::End),
        offset => match offset.parse() {
            Ok(offset) if offset >= 0 => Ok(Start::At(heddle_core::event::Offset(offset))),
            _ => Err("write beginning, end or an offset".to_owned()),
        },
    }
}

impl Consume {
    pub(super) fn run(&self, folder: &Path) -> Result<()> {
        let app = app::read(folder)?;
        let log = open::log(folder, &app)?;
        let Some(topic) = log.topics()?.into_iter().find(|info| info.name == self.topic) else {
            bail!(
                "there is no topic `{}`\n  where: {}\n  what to do: `heddle topics list` shows those there are",
                printable::line(&self.topic),
                folder.join("heddle.toml").display()
            );
        };
        let schemas = Cached::new(open::registry(folder, &app, Some(&log))?);
        let partitions = (0..topic.partitions).map(|partition| TopicPartition::new(self.topic.as_str(), partition));
        let ends = log.watermarks(&self.topic)?;
        let mut reader = log.reader(&partitions.map(|partition| (partition, self.from)).collect::<Vec<_>>())?;
        let mut left = self.max.unwrap_or(usize::MAX);
        while left > 0 {
            let records = reader.poll(POLL_WAIT)?;
            if records.is_empty() && !self.follow {
                let positions = reader.positions()?;
                let done = |(partition, position): (&TopicPartition, &heddle_core::event::Offset)| {
                    ends.iter().any(|end| end.partition == partition.partition && *position >= end.high)
                };
                if positions.iter().all(done) {
                    break;
                }
            }
            for record in records.into_iter().take(left) {
                left -= 1;
                print(format_args!("{}", self.line(&record, &schemas)), self.output.raw);
            }
        }
        Ok(())
    }

    fn line(&self, record: &Record, schemas: &Cached) -> Value {
        let value = record.value.as_deref().map_or(Value::Null, |value| decode(value, schemas));
        if !self.json {
            return value;
        }
        let text = |bytes: &[u8]| Value::String(String::from_utf8_lossy(bytes).into_owned());
        let header = |header: &heddle_core::event::Header| {
            let value = header.value.as_deref().map_or(Value::Null, text);
            Value::Array(vec![header.name.clone().into(), value])
        };
        let entries = [
            ("partition", record.source.partition.0.into()),
            ("offset", record.offset.0.into()),
            ("timestamp", record.timestamp.0.into()),
            ("key", record.key.as_deref().map_or(Value::Null, text)),
            ("headers", record.headers.iter().map(header).collect()),
            ("value", value),
        ];
        Value::Object(entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
    }
}

/// What the bytes say: by their schema, as JSON, as text, or else their length.
fn decode(bytes: &[u8], schemas: &Cached) -> Value {
    if let Some((id, payload)) = wire::split(bytes) {
        let schema: Option<Arc<_>> = schemas.writer(id).ok().flatten();
        if let Some(value) = schema.and_then(|schema| json::decode(&schema, payload).ok()) {
            return value;
        }
    }
    let text = || std::str::from_utf8(bytes).ok().map(|text| Value::String(text.to_owned()));
    let bytes_only = || Value::Object(Map::from_iter([("bytes".to_owned(), bytes.len().into())]));
    serde_json::from_slice(bytes).ok().or_else(text).unwrap_or_else(bytes_only)
}
