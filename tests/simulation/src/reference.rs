//! Reference data of a life: a compacted topic that the component has a table of, filled before the first host starts.
//!
//! The content of a table depends on the moment, so the model does not know it. The model knows that keys which are
//! always present are found, that no host shows an older value after a newer one, and the final content.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use heddle_contract::manifest::tables::Scope;
use heddle_core::event::{NewRecord, Topic};
use heddle_core::state::StoreIndex;
use heddle_core::tables::{TableKeys, TaskTable};

use crate::chance::{Chance, Stream};
use crate::command::{Command, Operation};
use crate::plan::Input;
use crate::world::lock;

/// The index of the table.
pub(crate) const TABLE: StoreIndex = StoreIndex::table(0);
/// The number of keys that are always present: `r0` and so on.
const ALWAYS: u64 = 4;
/// The number of keys.
const KEYS: u64 = 6;

/// The reference data of a life.
#[derive(Clone, Debug)]
pub struct Reference {
    /// The topic.
    pub topic: Topic,
    /// The part of it that a task sees.
    pub scope: Scope,
    /// Keys that are set or deleted when so many records were produced.
    pub changes: Vec<(usize, String, bool)>,
    /// When the topic is deleted, and for how long there is none.
    pub anew: Option<(usize, Duration)>,
}

impl Reference {
    /// The changes of a seed, for a life with this many records.
    pub(crate) fn of(seed: u64, records: usize, topic_ids: bool) -> Option<Self> {
        let mut chance = Chance::new(seed, Stream::Tables);
        if !chance.one_in(3) {
            return None;
        }
        let scope = if chance.one_in(2) { Scope::Task } else { Scope::Global };
        let at = |chance: &mut Chance| usize::try_from(chance.below(records as u64)).unwrap_or(0);
        let change = |chance: &mut Chance| {
            let key = chance.below(KEYS);
            (at(chance), format!("r{key}"), key < ALWAYS || chance.one_in(2))
        };
        let count = chance.between(1, 30);
        let mut changes = (0..count).map(|_| change(&mut chance)).collect::<Vec<_>>();
        changes.sort();
        // A log without ids of topics cannot show that a topic was recreated.
        let anew = scope == Scope::Global && topic_ids && chance.one_in(2);
        let anew = anew.then(|| (at(&mut chance), chance.millis(0, 3_000)));
        Some(Self { topic: "ref".into(), scope, changes, anew })
    }

    /// The table, if it is part of the tasks' input.
    pub(crate) fn task_table(&self) -> Option<TaskTable> {
        let table = TaskTable { index: TABLE, topic: self.topic.clone(), keys: TableKeys::Plain };
        (self.scope == Scope::Task).then_some(table)
    }

    /// Its lines in the manifest.
    pub(crate) fn manifest(&self) -> String {
        let scope = if self.scope == Scope::Task { "task" } else { "global" };
        format!("[tables.reference]\ntopic = \"{}\"\nscope = \"{scope}\"\n", self.topic)
    }

    /// Has some records look keys up that are always there.
    pub(crate) fn ask(&self, seed: u64, records: &mut [Input]) {
        let mut chance = Chance::new(seed, Stream::Lookups);
        for record in records {
            let command = record.value.as_deref().and_then(Command::parse).filter(|_| chance.one_in(2));
            if let Some(mut command) = command {
                command.operations.insert(0, Operation::Look(format!("r{}", chance.below(ALWAYS))));
                record.value = Some(command.text().into());
            }
        }
    }

    /// The records that a topic has from its beginning. One more key is in the first topic of the name alone.
    pub(crate) fn first(&self, incarnation: u32, partitions: i32) -> Vec<NewRecord> {
        let keys = if incarnation == 0 { ALWAYS + 1 } else { ALWAYS };
        let record = |key: u64| self.records(&format!("r{key}"), true, &version(incarnation, 0), partitions);
        (0..keys).flat_map(record).collect()
    }

    /// The records that set a key, or delete it. In a table of tasks every task knows every key.
    pub(crate) fn records(&self, key: &str, is_set: bool, value: &str, partitions: i32) -> Vec<NewRecord> {
        let record = |partition: Option<i32>| NewRecord {
            topic: self.topic.clone(),
            partition: partition.map(heddle_core::event::Partition),
            timestamp: None,
            key: Some(Bytes::from(key.to_owned())),
            value: is_set.then(|| value.to_owned().into()),
            headers: vec![],
        };
        match self.scope {
            Scope::Task => (0..partitions).map(|number| record(Some(number))).collect(),
            Scope::Global => vec![record(None)],
        }
    }
}

/// The value of a key that was set when so many records were produced.
pub(crate) fn version(incarnation: u32, produced: usize) -> String {
    format!("{incarnation}.{produced}")
}

/// A version as it is compared: the incarnation of the topic, and the number of records produced before.
pub(crate) type Version = (u32, usize);

fn number(version: &str) -> Option<Version> {
    let (incarnation, produced) = version.split_once('.')?;
    Some((incarnation.parse().ok()?, produced.parse().ok()?))
}

/// The versions that a host has shown of a global table so far. It never shows an older one afterwards, whatever
/// happens to the host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown(Arc<Mutex<BTreeMap<String, (u32, usize)>>>);

impl Shown {
    /// A value that a handler found, as it notes it.
    pub(crate) fn note(&self, key: &str, value: &str) -> String {
        let Some(found) = number(value) else { return format!("odd:{value}") };
        let mut shown = lock(&self.0);
        let newest = shown.entry(key.to_owned()).or_insert(found);
        if found < *newest {
            return format!("older:{value}");
        }
        *newest = found;
        value.to_owned()
    }
}

/// A line without the versions that were found, and these.
pub(crate) fn without_versions(line: &str) -> (String, Vec<(String, Version)>) {
    let mut found = vec![];
    let word = |word: &str| {
        let version = word.strip_prefix("T.").and_then(|rest| rest.split_once('='));
        match version.and_then(|(key, value)| Some((key.to_owned(), number(value)?))) {
            Some((key, version)) => {
                let there = format!("T.{key}=there");
                found.push((key, version));
                there
            }
            None => word.to_owned(),
        }
    };
    let words = line.split(' ').map(word).collect::<Vec<_>>().join(" ");
    (words, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_taken_out_of_a_line_and_only_they() {
        let (line, found) = without_versions("k: a/0@3 T.r1=0.12 0.a=4.5 T.r2=older:0.1 (id)");
        assert_eq!(line, "k: a/0@3 T.r1=there 0.a=4.5 T.r2=older:0.1 (id)");
        assert_eq!(found, [("r1".to_owned(), (0, 12))]);
    }

    #[test]
    fn a_value_older_than_a_shown_one_is_noted() {
        let shown = Shown::default();
        let noted = ["0.0", "0.5", "0.5", "0.4", "1.0"].map(|value| shown.note("r1", value));
        assert_eq!(noted, ["0.0", "0.5", "0.5", "older:0.4", "1.0"]);
        assert_eq!(shown.note("r2", "0.1"), "0.1");
    }
}
