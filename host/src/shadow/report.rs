//! The differences between two versions.

use heddle_core::event::{Offset, Record};
use serde::Serialize;
use serde_json::Value;

use super::side::{Made, Side};

/// One difference, side by side.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The record, or the key in a store.
    pub at: String,
    /// The result of the running version.
    pub old: Value,
    /// The result of the new version.
    pub new: Value,
}

/// The number of differences in one kind of result.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Result {
    /// The count of the running version.
    pub old: u64,
    /// The count of the new version.
    pub new: u64,
    /// The number of records, or of keys, that differ.
    pub differ: u64,
    /// The first differences.
    pub samples: Vec<Difference>,
}

/// The results of two versions for the same records.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The component.
    pub component: String,
    /// The running version.
    pub old: String,
    /// The new version.
    pub new: String,
    /// The topics of the records.
    pub topics: Vec<String>,
    /// The time up to which the state was restored from the changelogs, in milliseconds since 1970. `None` if the state
    /// began empty.
    pub state_until: Option<i64>,
    /// The number of records that both processed.
    pub records: u64,
    /// True if there were more records.
    pub stopped: bool,
    /// The number of records that each dead-lettered.
    pub failed: [u64; 2],
    /// The emitted records.
    pub outputs: Result,
    /// The final content of the stores, for keys that either version wrote.
    pub state: Result,
    /// Reasons why the new version would be refused, each as text with its place and remedy on separate lines.
    pub refused: Vec<String>,
}

impl Report {
    pub(super) fn new(old: &Side, new: &Side, topics: Vec<String>, state_until: Option<i64>) -> Self {
        Self {
            component: new.name().to_owned(),
            old: old.digest.clone(),
            new: new.digest.clone(),
            topics,
            state_until,
            records: 0,
            stopped: false,
            failed: [0, 0],
            outputs: Result::default(),
            state: Result::default(),
            refused: vec![],
        }
    }

    /// Returns true if nothing differs.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.outputs.differ == 0 && self.state.differ == 0
    }

    pub(super) fn take(&mut self, record: &Record, made: [Made; 2], samples_max: usize) {
        self.records += 1;
        let emitted = |made: &Made| if made.failed { 0 } else { made.outputs.len() as u64 };
        let [old, new] = made;
        self.failed[0] += u64::from(old.failed);
        self.failed[1] += u64::from(new.failed);
        self.outputs.old += emitted(&old);
        self.outputs.new += emitted(&new);
        if old.outputs != new.outputs {
            let Offset(offset) = record.offset;
            let at = format!("{}@{offset}", record.source);
            self.outputs.note(samples_max, at, old.outputs.into(), new.outputs.into());
        }
    }

    pub(super) fn take_state(&mut self, store: &str, key: &[u8], values: [Option<Value>; 2], samples_max: usize) {
        let [old, new] = values;
        self.state.old += u64::from(old.is_some());
        self.state.new += u64::from(new.is_some());
        if old != new {
            let key = match std::str::from_utf8(key) {
                Ok(text) => text.to_owned(),
                Err(_) => key.escape_ascii().to_string(),
            };
            self.state.note(samples_max, format!("{store} {key}"), old.into(), new.into());
        }
    }
}

impl Result {
    fn note(&mut self, samples_max: usize, at: String, old: Value, new: Value) {
        self.differ += 1;
        if self.samples.len() < samples_max {
            self.samples.push(Difference { at, old, new });
        }
    }
}
