//! Which letters are meant.

use std::collections::BTreeSet;

use heddle_core::event::Timestamp;
use serde::Deserialize;

use super::letter::{Letter, Place};
use crate::times::point_in_time;

/// What letters must be like. What is not said does not matter.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// The kind of the fault.
    pub kind: Option<String>,
    /// The id of the schema.
    pub schema: Option<u32>,
    /// Failed then or later.
    #[serde(deserialize_with = "time")]
    pub since: Option<Timestamp>,
    /// Failed before.
    #[serde(deserialize_with = "time")]
    pub until: Option<Timestamp>,
    /// The topic it came from.
    pub topic: Option<String>,
    /// Those that were replayed or discarded, too. Only for looking at them.
    pub all: bool,
}

impl Filter {
    /// Whether it lets everything through.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kind.is_none()
            && self.schema.is_none()
            && self.since.is_none()
            && self.until.is_none()
            && self.topic.is_none()
    }

    /// Whether a letter is like that. What became of it is not looked at.
    #[must_use]
    pub fn matches(&self, letter: &Letter) -> bool {
        self.kind.as_ref().is_none_or(|kind| *kind == letter.kind)
            && self.schema.is_none_or(|schema| Some(schema) == letter.schema_id)
            && self.since.is_none_or(|since| letter.time >= since)
            && self.until.is_none_or(|until| letter.time < until)
            && self.topic.as_ref().is_none_or(|topic| *topic == letter.origin.topic)
    }
}

/// Letters to do something with.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// These and no others; empty for all.
    pub places: BTreeSet<Place>,
    /// And what they must be like.
    pub filter: Filter,
}

fn time<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| point_in_time(&text)).transpose().map_err(serde::de::Error::custom)
}
