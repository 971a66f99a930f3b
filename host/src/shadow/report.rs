//! What differs between two versions.

use heddle_core::event::{Offset, Record};
use serde::Serialize;
use serde_json::Value;

use super::side::{Made, Side};

/// One difference, side by side.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The record, or the place in a store.
    pub at: String,
    /// What the version that runs made of it.
    pub old: Value,
    /// What the new one made of it.
    pub new: Value,
}

/// How much of something differs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Result {
    /// How many there are by the version that runs.
    pub old: u64,
    /// How many by the new one.
    pub new: u64,
    /// How many of the records, or of the keys, differ in it.
    pub differ: u64,
    /// The first of them.
    pub samples: Vec<Difference>,
}

/// What two versions make of the same records.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The component.
    pub component: String,
    /// The version that runs.
    pub old: String,
    /// The new one.
    pub new: String,
    /// Where the records came from.
    pub topics: Vec<String>,
    /// Up to when the changelogs were read for the copy of the state, in milliseconds since 1970; none: it began empty.
    pub state_until: Option<i64>,
    /// How many records both got.
    pub records: u64,
    /// Whether there were more.
    pub stopped: bool,
    /// How many each set aside.
    pub failed: [u64; 2],
    /// What they emitted.
    pub outputs: Result,
    /// What their stores hold in the end, of the keys that one of them wrote.
    pub state: Result,
    /// What would refuse the new version as it is; in three lines each.
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

    /// Whether nothing differs.
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
