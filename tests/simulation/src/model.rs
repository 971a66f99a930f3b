//! The expected results, computed from the input alone, record by record, without any code of the product.

use std::collections::BTreeMap;
use std::time::Duration;

use heddle_core::event::{Offset, Record, Timestamp, TopicPartition};
use heddle_core::partitioner::partition_of;
use heddle_core::state::StoreIndex;

use crate::command::{Command, Operation};
use crate::plan::{ATTEMPTS_MAX, Plan, RECORD_BYTES_MAX};

/// Replaces the value of a dead letter that is too large to keep whole.
pub(crate) const REDUCED: &str = "reduced";

/// Records, as text, by partition of the output and partition of the input.
pub(crate) type Lines = BTreeMap<(i32, TopicPartition), Vec<String>>;
/// The content of a store.
pub(crate) type Entries = BTreeMap<String, String>;

/// The state of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TaskModel {
    /// The two stores, and the schedule, which ends empty.
    pub(crate) stores: [Entries; 3],
    /// The table, if it is the task's own.
    pub(crate) table: Entries,
    /// The last time that each message id was handled, by topic and id.
    pub(crate) seen: BTreeMap<(String, String), Timestamp>,
}

impl TaskModel {
    /// The content of a store or of the table.
    pub(crate) fn entries(&self, store: StoreIndex) -> &Entries {
        match store {
            StoreIndex::SCHEDULE => &self.stores[2],
            table if table.is_table() => &self.table,
            own => &self.stores[own.0],
        }
    }

    /// The content of a store or of the table, to change it.
    pub(crate) fn entries_mut(&mut self, store: StoreIndex) -> &mut Entries {
        match store {
            StoreIndex::SCHEDULE => &mut self.stores[2],
            table if table.is_table() => &mut self.table,
            own => &mut self.stores[own.0],
        }
    }
}

/// All results of an input.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) outputs: Lines,
    pub(crate) dead_letters: Lines,
    pub(crate) tasks: BTreeMap<i32, TaskModel>,
    pub(crate) positions: BTreeMap<TopicPartition, Offset>,
    pub(crate) duplicates: u64,
    /// Of these duplicates, those past their window behind the newest timestamp.
    pub(crate) late_duplicates: u64,
    newest: BTreeMap<TopicPartition, Timestamp>,
    pub(crate) records: u64,
}

/// The outcome of a record that is not skipped.
enum Ending {
    /// The handler succeeds. Its emits, with their keys.
    Handled(Vec<(Option<String>, String)>),
    /// The record is dead-lettered, with this reason after this many attempts.
    SetAside(&'static str, u32),
}

impl Model {
    /// Processes the next record of an input's partition. `is_other` is true if its topic is not the first one that was
    /// known under its name.
    pub(crate) fn take(&mut self, plan: &Plan, record: &Record, is_other: bool) {
        self.records += 1;
        self.positions.insert(record.source.clone(), record.offset.next());
        let newest = self.newest.entry(record.source.clone()).or_insert(record.timestamp);
        *newest = record.timestamp.max(*newest);
        let task = self.tasks.entry(record.source.partition.0).or_default();
        let command = record.value.as_deref().map(Command::parse);
        let ending = match &command {
            None => Ending::SetAside("null-value", 1),
            Some(None) => Ending::SetAside("decode", 1),
            Some(Some(command)) => {
                let window = plan.spec.windows.get(&record.source.topic).copied();
                let place = (record.source.topic.to_string(), command.id.clone());
                if window.is_some_and(|window| task.has_seen(&place, record.timestamp, window)) {
                    self.duplicates += 1;
                    self.late_duplicates +=
                        u64::from(window.is_some_and(|window| is_past(record.timestamp, *newest, window)));
                    return;
                }
                let ending = task.handle(record, command, plan);
                if window.is_some() && matches!(ending, Ending::Handled(_)) {
                    task.seen.insert(place, record.timestamp);
                }
                ending
            }
        };
        self.write(plan, record, is_other, ending);
    }

    fn write(&mut self, plan: &Plan, record: &Record, is_other: bool, ending: Ending) {
        let input_key = record.key.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
        let place = |key: &str| (partition_of(key.as_bytes(), plan.partitions).0, record.source.clone());
        match ending {
            Ending::Handled(emits) => {
                for (number, (key, value)) in emits.into_iter().enumerate() {
                    let key = key.unwrap_or_else(|| input_key.to_string());
                    let TopicPartition { topic, partition } = &record.source;
                    let (component, epoch) = (&plan.spec.component, if is_other { "@" } else { "" });
                    let id = format!("{component}/{topic}{epoch}/{partition}/{}/{number}", record.offset);
                    self.outputs.entry(place(&key)).or_default().push(format!("{key}: {value} ({id})"));
                }
            }
            Ending::SetAside(reason, attempts) => {
                let value = match record.value.as_deref() {
                    Some(value) if value.len() > RECORD_BYTES_MAX => REDUCED.into(),
                    value => value.map_or("null".into(), String::from_utf8_lossy),
                };
                let attempts = if plan.retries() { String::new() } else { format!(" after {attempts}") };
                let line = format!("{input_key}: {value} ({reason}{attempts}, was {})", record.offset);
                self.dead_letters.entry(place(&input_key)).or_default().push(line);
            }
        }
    }
}

/// Returns true if something noted at `noted` is past its window at `at`.
fn is_past(noted: Timestamp, at: Timestamp, window: Duration) -> bool {
    noted.0 <= at.0.saturating_sub(i64::try_from(window.as_millis()).unwrap_or(i64::MAX))
}

impl TaskModel {
    fn has_seen(&self, place: &(String, String), at: Timestamp, window: Duration) -> bool {
        self.seen.get(place).is_some_and(|noted| !is_past(*noted, at, window))
    }

    fn handle(&mut self, record: &Record, command: &Command, plan: &Plan) -> Ending {
        let flaky = |operation: &Operation| match operation {
            // With retries, a record with 2 failing attempts succeeds, and one with 5 never does. In between, the
            // outcome depends on how it was parked.
            Operation::Flaky(attempts) if plan.retries() => *attempts > 2,
            Operation::Flaky(attempts) => *attempts >= ATTEMPTS_MAX,
            _ => false,
        };
        if command.operations.contains(&Operation::Reject) {
            return Ending::SetAside("rejected", 1);
        }
        if command.operations.iter().any(flaky) {
            return Ending::SetAside("failed", ATTEMPTS_MAX);
        }
        if command.operations.contains(&Operation::Huge) {
            return Ending::SetAside("emit", 1);
        }
        if command.operations.iter().any(|operation| matches!(operation, Operation::Hoard(_))) {
            return Ending::SetAside("state", 1);
        }
        let (mut emits, mut notes) = (vec![], format!("{}@{}", record.source, record.offset));
        for operation in &command.operations {
            match operation {
                Operation::Add(key, by) => {
                    let before = self.stores[0].get(key).and_then(|value| value.parse::<i64>().ok()).unwrap_or(0);
                    let sum = (before + by).to_string();
                    notes.push_str(&format!(" 0.{key}={sum}"));
                    self.stores[0].insert(key.clone(), sum);
                }
                Operation::Put(key, value) => drop(self.stores[1].insert(key.clone(), value.clone())),
                Operation::Delete(key) => {
                    self.stores.iter_mut().for_each(|store| drop(store.remove(key)));
                    emits.push((Some(key.clone()), "null".to_owned()));
                }
                Operation::Get(key) => {
                    for (index, store) in self.stores.iter().enumerate().take(2) {
                        notes.push_str(&format!(" {index}.{key}={}", store.get(key).map_or("-", String::as_str)));
                    }
                }
                Operation::Scan(prefix) => {
                    for (index, store) in self.stores.iter().enumerate() {
                        let entries = store.iter().filter(|(key, _)| key.starts_with(prefix.as_str()));
                        entries.for_each(|(key, value)| notes.push_str(&format!(" {index}.{key}={value}")));
                    }
                }
                // Which value it has depends on the moment.
                Operation::Look(key) => notes.push_str(&format!(" T.{key}=there")),
                Operation::Emit(key) => emits.push((key.clone(), notes.clone())),
                Operation::Huge | Operation::Hoard(_) | Operation::Reject | Operation::Flaky(_) => {}
            }
        }
        Ending::Handled(emits)
    }
}
