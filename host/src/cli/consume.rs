//! `heddle consume`: prints records as decoded JSON lines.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use clap::Args;
use heddle_contract::manifest::App;
use heddle_contract::manifest::component::{KeyType, ValueFormat};
use heddle_contract::wire::{Wire, key_subject, value_subject};
use heddle_core::event::{Header, Offset, Partition, Record, Timestamp, TopicPartition};
use heddle_core::explain::Explained;
use serde_json::Value;

use super::declared::Declared;
use super::produce::header;
use super::{Raw, app, declared, open};
use crate::build::AppContracts;
use crate::log::{Log, Start, TopicInfo, Watermarks};
use crate::output::print;
use crate::printable;
use crate::registry::Registry;
use crate::values::{Lines, parse_timestamp};

/// The longest wait of a poll.
const POLL_WAIT: Duration = Duration::from_millis(200);

/// Print a topic's committed records: their decoded values, one per line.
#[derive(Debug, Args)]
pub(super) struct Consume {
    /// The topic.
    topic: String,

    /// The first record to print: `beginning`, `end`, or an offset in every partition.
    #[arg(long, default_value = "beginning", value_parser = start)]
    from: Start,

    /// Stop after this number of records.
    #[arg(long, value_name = "COUNT")]
    max: Option<usize>,

    /// Wait for more records instead of stopping at the present end.
    #[arg(long)]
    follow: bool,

    /// Print whole records, as `heddle produce --json` reads them: partition, offset, timestamp, key and headers, too.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    filter: Filter,

    #[command(flatten)]
    output: Raw,
}

/// A choice of records.
#[derive(Debug, Args)]
struct Filter {
    /// Only records with this key: text, or JSON where keys have a schema.
    #[arg(long)]
    key: Option<String>,

    /// Only this partition; may be repeated.
    #[arg(long = "partition", value_name = "NUMBER")]
    partitions: Vec<i32>,

    /// Only records of that time or later: a time, a day, how long ago (2h), or milliseconds since 1970.
    #[arg(long, value_name = "TIME", value_parser = parse_timestamp)]
    since: Option<Timestamp>,

    /// Only records before that time.
    #[arg(long, value_name = "TIME", value_parser = parse_timestamp)]
    until: Option<Timestamp>,

    /// Only records that have this header, with this value if one is given; may be repeated.
    #[arg(long = "header", value_name = "NAME[=VALUE]", value_parser = header)]
    headers: Vec<Header>,
}

fn start(text: &str) -> Result<Start, String> {
    match text {
        "beginning" => Ok(Start::Beginning),
        "end" => Ok(Start::End),
        offset => match offset.parse() {
            Ok(offset) if offset >= 0 => Ok(Start::At(Offset(offset))),
            _ => Err("write beginning, end or an offset".to_owned()),
        },
    }
}

impl Filter {
    fn matches(&self, record: &Record, lines: &Lines<'_>) -> Result<bool, String> {
        let has = |wanted: &Header| {
            let is_it = |header: &Header| {
                header.name == wanted.name && (wanted.value.is_none() || header.value == wanted.value)
            };
            record.headers.iter().any(is_it)
        };
        let in_time = self.since.is_none_or(|since| record.timestamp >= since)
            && self.until.is_none_or(|until| record.timestamp < until);
        if !in_time || !self.headers.iter().all(has) {
            return Ok(false);
        }
        let Some(wanted) = &self.key else { return Ok(true) };
        let key = lines.key(record)?;
        Ok(key == wanted.as_str() || serde_json::from_str::<Value>(wanted).is_ok_and(|wanted| wanted == key))
    }
}

impl Consume {
    pub(super) fn run(&self, folder: &Path) -> Result<()> {
        let app = app::read(folder)?;
        let log = open::log(folder, &app)?;
        let Some(topic) = log.topics()?.into_iter().find(|info| info.name == self.topic) else {
            bail!(
                Explained::new(format!("there is no topic `{}`", printable::line(&self.topic)))
                    .at(folder.join("heddle.toml").display())
                    .hint("run `heddle topics list` to see the topics")
            );
        };
        let registry = open::registry(folder, &app, Some(&log))?;
        let declared = Declared::of(folder, &app, &self.topic);
        let (has_typed_keys, has_typed_values) = self.typed(folder, &app, &*registry, &declared)?;
        let schemas = declared::schemas(folder, &app, registry);
        let lines = Lines { schemas: &*schemas, has_typed_keys, has_typed_values, plain: declared.plain() };
        let from = self.from(&*log, &topic)?;
        let ends = log.watermarks(&self.topic)?;
        let mut reader = log.reader(&from)?;
        let mut left = self.max.unwrap_or(usize::MAX);
        while left > 0 {
            let records = reader.poll(POLL_WAIT)?;
            if records.is_empty() && !self.follow && is_at_end(&reader.positions()?, &ends) {
                break;
            }
            for record in records {
                if left == 0 {
                    break;
                }
                if self.filter.matches(&record, &lines).map_err(|why| anyhow!(why))? {
                    left -= 1;
                    let line = if self.json { lines.line(&record) } else { lines.value(&record) };
                    print(format_args!("{}", line.map_err(|why| anyhow!(why))?), self.output.raw);
                }
            }
        }
        Ok(())
    }

    /// Returns whether the topic's keys have a schema, and whether its values do, in the registry or in the app's
    /// files.
    fn typed(&self, folder: &Path, app: &App, registry: &dyn Registry, declared: &Declared) -> Result<(bool, bool)> {
        // `heddle build` reports files that cannot be read.
        let contracts = AppContracts::read(&folder.join(&app.contracts)).unwrap_or_default();
        let is_typed = |subject: &str| -> Result<bool> {
            // Nothing of a plain topic is in the registry.
            let may_be_registered = declared.wire != Wire::Plain;
            Ok(contracts.get(subject).is_some() || (may_be_registered && registry.latest(subject)?.is_some()))
        };
        let has_values = declared.format == ValueFormat::Schema;
        let values = has_values && is_typed(&value_subject(&self.topic))?;
        let has_keys = !matches!(declared.key, Some(KeyType::String | KeyType::Bytes));
        Ok((has_keys && is_typed(&key_subject(&self.topic))?, values))
    }

    /// The start of each selected partition.
    fn from(&self, log: &dyn Log, topic: &TopicInfo) -> Result<Vec<(TopicPartition, Start)>> {
        let wanted = &self.filter.partitions;
        if let Some(unknown) = wanted.iter().find(|number| !(0..topic.partitions).contains(*number)) {
            bail!(
                Explained::new(format!("the topic `{}` has no partition {unknown}", self.topic))
                    .at("--partition")
                    .hint(format_args!("name one below {}", topic.partitions))
            );
        }
        // Records before the first one of that time are older and can be skipped. A host that owns the log does not
        // answer this query.
        let times = self.filter.since.filter(|_| matches!(self.from, Start::Beginning));
        let times = times.and_then(|since| log.offsets_at(&self.topic, since).ok()).unwrap_or_default();
        let numbers = (0..topic.partitions).filter(|number| wanted.is_empty() || wanted.contains(number));
        let start = |number| {
            let start = times.get(&Partition(number)).map_or(self.from, |offset| Start::At(*offset));
            (TopicPartition::new(self.topic.as_str(), number), start)
        };
        Ok(numbers.map(start).collect())
    }
}

/// Returns true if everything up to `ends` was read.
pub(super) fn is_at_end(positions: &BTreeMap<TopicPartition, Offset>, ends: &[Watermarks]) -> bool {
    positions
        .iter()
        .all(|(place, position)| ends.iter().any(|end| end.partition == place.partition && *position >= end.high))
}
