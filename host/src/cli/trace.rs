//! `heddle trace`: prints the story of one business transaction, from the records of the app's topics.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use heddle_contract::manifest::App;
use heddle_core::event::{CE_CORRELATION_ID, Partition, Record, Timestamp, TopicPartition};
use heddle_core::explain::Explained;
use heddle_core::failed::header;
use heddle_core::settle::{CE_CAUSATION_ID, CE_ID};
use serde::Serialize;

use super::{app, counted, open, wasm_file};
use crate::deploy::time;
use crate::guest::Component;
use crate::log::{Log, LogError, Start, Watermarks};
use crate::printable::line;
use crate::runtime::task_spec;
use crate::values::parse_timestamp;

/// The longest wait of a poll.
const POLL_WAIT: Duration = Duration::from_millis(100);
/// The longest time without a record.
const STANDSTILL_MAX: Duration = Duration::from_secs(30);

/// Print the story of one business transaction: its records, retries and dead letters in all topics of the app.
#[derive(Debug, Args)]
pub(super) struct Trace {
    /// The correlation id: the header `ce_correlationid`, or of a first event its `ce_id` or
    /// `<topic>/<partition>/<offset>`.
    id: String,

    /// Only records of that time or later: a time, a day, how long ago (2h), or milliseconds since 1970.
    #[arg(long, value_name = "TIME", value_parser = parse_timestamp)]
    since: Option<Timestamp>,

    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// One record of the story.
#[derive(Debug, Serialize)]
struct Event {
    timestamp: i64,
    topic: String,
    partition: i32,
    offset: i64,
    kind: Kind,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    causation: Option<String>,
    /// The component that failed to handle it.
    #[serde(skip_serializing_if = "Option::is_none")]
    component: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Trace {
    pub(super) fn run(&self, folder: &Path) -> Result<()> {
        let app = app::read(folder)?;
        let log = open::log(folder, &app)?;
        let topics = topics(folder, &app, log.as_ref())?;
        let mut events = vec![];
        for (topic, kind) in &topics {
            let visit = |record: Record| events.extend(Event::of(&record, *kind, &self.id));
            read(log.as_ref(), topic, self.since, visit)?;
        }
        if events.is_empty() {
            bail!(
                Explained::new(format!("no record has the correlation id `{}`", line(&self.id)))
                    .at(format_args!("{} topics of the app", topics.len()))
                    .hint("take the id from the field correlationId of a log line, or from `heddle consume --json`")
            );
        }
        for event in in_order(events) {
            if self.json {
                println!("{}", serde_json::to_string(&event)?);
            } else {
                println!("{}", event.line());
            }
        }
        Ok(())
    }
}

/// The use of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Record,
    Retry,
    DeadLetter,
}

/// The topics of the app's components that exist.
fn topics(folder: &Path, app: &App, log: &dyn Log) -> Result<BTreeMap<String, Kind>> {
    let there = log.topics()?.into_iter().map(|topic| topic.name).collect::<BTreeSet<_>>();
    let mut manifests = app::sources(folder, app)?.into_iter().map(|source| source.manifest).collect::<Vec<_>>();
    for path in app::wasm_files(folder, app)? {
        let wasm = wasm_file::read(&path, || Explained::new(format!("cannot read {}", path.display())))?;
        manifests.push(Component::contract(&path.display().to_string(), &wasm)?.1);
    }
    let mut topics = BTreeMap::new();
    for manifest in &manifests {
        let spec = task_spec(&app.name, manifest, there.iter().map(String::as_str));
        let records = manifest.consumes.keys().chain(manifest.emits.keys()).map(|topic| (topic.clone(), Kind::Record));
        let retries = spec.retry_topics.iter().map(|topic| (topic.to_string(), Kind::Retry));
        topics.extend(records.chain(retries));
        topics.insert(spec.policy.dead_letter.to_string(), Kind::DeadLetter);
    }
    topics.retain(|topic, _| there.contains(topic));
    Ok(topics)
}

/// Passes the committed records of a topic to `visit`, from `since` to its current end.
fn read(log: &dyn Log, topic: &str, since: Option<Timestamp>, mut visit: impl FnMut(Record)) -> Result<(), LogError> {
    let ends = log.watermarks(topic)?;
    // Records before the first one of that time are skipped. A host that owns the log does not answer this query.
    let times = since.and_then(|since| log.offsets_at(topic, since).ok()).unwrap_or_default();
    let source = |partition: Partition| TopicPartition { topic: topic.into(), partition };
    let start = |bounds: &Watermarks| {
        let start = times.get(&bounds.partition).map_or(Start::Beginning, |offset| Start::At(*offset));
        (source(bounds.partition), start)
    };
    let mut reader = log.reader(&ends.iter().map(start).collect::<Vec<_>>())?;
    let mut moved = Instant::now();
    loop {
        let positions = reader.positions()?;
        let is_read = |bounds: &Watermarks| {
            bounds.low >= bounds.high || positions.get(&source(bounds.partition)).is_some_and(|at| *at >= bounds.high)
        };
        if ends.iter().all(is_read) {
            return Ok(());
        }
        let records = reader.poll(POLL_WAIT)?;
        if !records.is_empty() {
            moved = Instant::now();
        }
        records.into_iter().filter(|record| since.is_none_or(|since| record.timestamp >= since)).for_each(&mut visit);
        if moved.elapsed() > STANDSTILL_MAX {
            return Err(LogError::Unreachable(format!("reading `{topic}` stalled before its end")));
        }
    }
}

/// The events by time. Outputs have the timestamp of their input, so of events with equal times a cause comes before
/// what it caused.
fn in_order(events: Vec<Event>) -> Vec<Event> {
    let causes = events.iter().map(|event| (event.id.clone(), event.causation.clone())).collect::<BTreeMap<_, _>>();
    let depth = |event: &Event| {
        // The number of events bounds the chain, so that a circle of ids ends.
        let next = |id: &String| causes.get(id).cloned().flatten();
        std::iter::successors(event.causation.clone(), next).take(causes.len()).count()
    };
    let mut events = events.into_iter().map(|event| (event.timestamp, depth(&event), event)).collect::<Vec<_>>();
    events.sort_by(|(a, b, one), (c, d, other)| {
        let place = |event: &Event| (event.kind, event.topic.clone(), event.partition, event.offset);
        (a, b).cmp(&(c, d)).then_with(|| place(one).cmp(&place(other)))
    });
    events.into_iter().map(|(.., event)| event).collect()
}

impl Event {
    /// The event of a record, if it belongs to this business transaction.
    fn of(record: &Record, kind: Kind, correlation: &str) -> Option<Self> {
        let text = |name: &str| record.text_header(name).map(str::to_owned);
        // A parked record or a dead letter names the position of its original.
        let original = || {
            let part = |name: &str| record.text_header(name).filter(|_| kind != Kind::Record);
            Some([part(header::TOPIC)?, part(header::PARTITION)?, part(header::OFFSET)?].join("/"))
        };
        let id = text(CE_ID).or_else(original).unwrap_or_else(|| record.event_id().into_owned());
        let is_part = text(CE_CORRELATION_ID).as_ref().unwrap_or(&id) == correlation || id == correlation;
        is_part.then(|| Self {
            timestamp: record.timestamp.0,
            topic: record.source.topic.to_string(),
            partition: record.source.partition.0,
            offset: record.offset.0,
            kind,
            id,
            causation: text(CE_CAUSATION_ID),
            component: text(header::COMPONENT),
            attempts: record.text_header(header::ATTEMPTS).and_then(|attempts| attempts.parse().ok()),
            reason: text(header::REASON),
        })
    }

    /// The event as one line of text.
    fn line(&self) -> String {
        let Self { timestamp, topic, partition, offset, id, .. } = self;
        let mut text = format!("{}  {topic}/{partition}@{offset}  {}", time(Timestamp(*timestamp)), line(id));
        if let Some(cause) = &self.causation {
            text += &format!("  caused by {}", line(cause));
        }
        let component = self.component.as_deref().unwrap_or_default();
        let reason = self.reason.as_deref().unwrap_or_default();
        let attempts = counted(self.attempts.unwrap_or(1).into(), "attempt");
        match self.kind {
            Kind::Record => {}
            Kind::Retry => text += &format!("  parked by {} after {attempts}: {}", line(component), line(reason)),
            Kind::DeadLetter => {
                text += &format!("  dead-lettered by {} after {attempts}: {}", line(component), line(reason));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(timestamp: i64, id: &str, causation: Option<&str>) -> Event {
        Event {
            timestamp,
            topic: "t".to_owned(),
            partition: 0,
            offset: 0,
            kind: Kind::Record,
            id: id.to_owned(),
            causation: causation.map(str::to_owned),
            component: None,
            attempts: None,
            reason: None,
        }
    }

    #[test]
    fn causes_come_first_also_in_a_circle() {
        let ids = |events: Vec<Event>| in_order(events).into_iter().map(|event| event.id).collect::<Vec<_>>();
        let events = vec![event(7, "c", Some("b")), event(7, "b", Some("a")), event(7, "a", None), event(3, "z", None)];
        assert_eq!(ids(events), ["z", "a", "b", "c"]);
        assert_eq!(ids(vec![event(7, "a", Some("b")), event(7, "b", Some("a"))]), ["a", "b"]);
    }
}
