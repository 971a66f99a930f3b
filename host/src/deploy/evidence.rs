//! Compares the registry with the changelogs. The newest records show what a schema id meant when they were written.
//!
//! ```text
//!  the last records of each changelog ──> ids ──> does the schema exist, can the store read it, does the record match?
//! ```
//!
//! If a registry assigned its ids anew, every stored value would be read with a wrong schema.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use heddle_contract::format::Schema;
use heddle_contract::manifest::Manifest;
use heddle_contract::section::Contract;
use heddle_contract::wire::{self, store_value_subject};
use heddle_core::event::{Offset, Record, TopicPartition};
use heddle_core::explain::Explained;

use super::FitError;
use crate::log::{Log, LogError, Start};
use crate::registry::{Registry, RegistryError, SchemaId};

/// The number of partitions that are checked in a changelog. All partitions were written with the same ids.
const PARTITIONS_MAX: usize = 4;
/// The number of offsets that are read at the end of a partition. Markers of transactions use some of them.
const OFFSETS_MAX: i64 = 16;
/// The longest time for reading.
const READ_TIME_MAX: Duration = Duration::from_secs(10);
/// The longest wait of one poll.
const POLL_WAIT: Duration = Duration::from_millis(100);
/// The number of a schema's characters that a message shows.
const SCHEMA_CHARS_SHOWN: usize = 120;

/// An existing changelog, and the schema with which its store reads values.
struct Changelog {
    topic: String,
    store: String,
    component: String,
    own: Schema,
}

/// Returns contradictions between the registry and the changelogs of these components. `topics` has the log's topics.
///
/// # Errors
/// If the log or the registry does not answer.
pub fn contradictions<'c>(
    log: &dyn Log,
    registry: &dyn Registry,
    app: &str,
    components: impl IntoIterator<Item = (&'c Contract, &'c Manifest)>,
    topics: &BTreeMap<String, i32>,
) -> Result<Vec<Explained>, FitError> {
    let changelogs =
        components.into_iter().flat_map(|(contract, manifest)| changelogs(app, contract, manifest, topics));
    let changelogs = changelogs.map(|changelog| (changelog.topic.clone(), changelog)).collect::<BTreeMap<_, _>>();
    let mut samples = BTreeMap::new();
    for record in newest(log, changelogs.keys())? {
        let id = record.value.as_deref().and_then(wire::split).map(|(id, _)| id);
        samples.extend(id.map(|id| ((record.source.topic.clone(), id), record)));
    }
    let mut found = vec![];
    for ((topic, id), record) in samples {
        let Some(changelog) = changelogs.get(&*topic) else { continue };
        if let Some(what) = contradiction(registry, changelog, id, &record)? {
            let (place, offset) = (&record.source, record.offset);
            found.push(
                Explained::new(format!("the registry contradicts the changelog `{topic}`: {what}"))
                    .at(format_args!("{place}@{offset}; {}", registry.place()))
                    .hint(format_args!(
                        "start `{}` with the registry that gave this id: restore its data, or correct [registry] in heddle.toml",
                        changelog.component
                    )),
            );
        }
    }
    Ok(found)
}

fn changelogs(app: &str, contract: &Contract, manifest: &Manifest, topics: &BTreeMap<String, i32>) -> Vec<Changelog> {
    let changelog = |store: &String| {
        let topic = manifest.changelog(app, store);
        let schema = contract.schemas.get(&store_value_subject(store)).filter(|_| topics.contains_key(&topic))?;
        // A schema that is not valid is refused when the component is loaded.
        let own = schema.parse().ok()?;
        Some(Changelog { topic, store: store.clone(), component: manifest.name.clone(), own })
    };
    manifest.stores.keys().filter_map(changelog).collect()
}

/// The newest records of these topics, in order within each partition.
fn newest<'t>(log: &dyn Log, topics: impl Iterator<Item = &'t String>) -> Result<Vec<Record>, LogError> {
    let (mut from, mut ends) = (vec![], BTreeMap::new());
    for topic in topics {
        let bounds = log.watermarks(topic)?;
        for bounds in bounds.iter().filter(|bounds| bounds.high > bounds.low).take(PARTITIONS_MAX) {
            let place = TopicPartition { topic: topic.as_str().into(), partition: bounds.partition };
            let start = bounds.low.max(Offset(bounds.high.0 - OFFSETS_MAX));
            from.push((place.clone(), Start::At(start)));
            ends.insert(place, bounds.high);
        }
    }
    let mut records = vec![];
    if from.is_empty() {
        return Ok(records);
    }
    let mut reader = log.reader(&from)?;
    let deadline = Instant::now() + READ_TIME_MAX;
    loop {
        let positions = reader.positions()?;
        let is_read = |(place, end): (&TopicPartition, &Offset)| positions.get(place).is_some_and(|at| at >= end);
        if ends.iter().all(is_read) {
            return Ok(records);
        }
        if Instant::now() > deadline {
            return Err(LogError::Unreachable("the newest records of the changelogs cannot be read".to_owned()));
        }
        records.extend(reader.poll(POLL_WAIT)?);
    }
}

/// Returns the contradiction between the registry and a record of a changelog, if there is one.
fn contradiction(
    registry: &dyn Registry,
    changelog: &Changelog,
    id: SchemaId,
    record: &Record,
) -> Result<Option<String>, RegistryError> {
    let (Changelog { store, own, .. }, id_text) = (changelog, id.0);
    let Some(registered) = registry.by_id(id)? else {
        return Ok(Some(format!("its records have the schema id {id_text}, which the registry does not know")));
    };
    let of_id =
        || format!("its records have the schema id {id_text}, which is `{}` in the registry", shown(&registered.text));
    let writer = registered.schema.as_ref().ok();
    let Some(writer) = writer else { return Ok(Some(format!("{}: components cannot read such a schema", of_id()))) };
    if let Some(problem) = own.reads(writer).into_iter().next() {
        let own = shown(own.text());
        return Ok(Some(format!("{}; the store `{store}` holds `{own}`, which does not read it: {problem}", of_id())));
    }
    let payload = record.value.as_deref().and_then(wire::split).map_or(&[][..], |(_, payload)| payload);
    let checked = writer.check(payload);
    Ok(checked.err().map(|error| format!("{}, and its newest record does not match that: {error}", of_id())))
}

/// The beginning of a schema, on one line.
fn shown(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let shown = line.chars().take(SCHEMA_CHARS_SHOWN).collect::<String>();
    if shown.len() < line.len() { format!("{shown}…") } else { shown }
}
