//! Selection of dead letters.

use std::collections::BTreeSet;

use heddle_core::event::Timestamp;
use serde::Deserialize;

use super::letter::{Letter, Place};
use crate::times::point_in_time;

/// Conditions on letters. An absent condition accepts every letter.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// The kind of the fault.
    pub kind: Option<String>,
    /// The id of the schema.
    pub schema: Option<u32>,
    /// The earliest time of the failure.
    #[serde(deserialize_with = "time")]
    pub since: Option<Timestamp>,
    /// The time before which it failed.
    #[serde(deserialize_with = "time")]
    pub until: Option<Timestamp>,
    /// The topic of the original record.
    pub topic: Option<String>,
    /// Includes letters that were replayed or discarded. Only for lists.
    pub all: bool,
}

impl Filter {
    /// Returns true if the filter has no condition on letters.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kind.is_none()
            && self.schema.is_none()
            && self.since.is_none()
            && self.until.is_none()
            && self.topic.is_none()
    }

    /// Returns true if a letter meets the conditions. Its mark is not considered.
    #[must_use]
    pub fn matches(&self, letter: &Letter) -> bool {
        self.kind.as_ref().is_none_or(|kind| *kind == letter.kind)
            && self.schema.is_none_or(|schema| Some(schema) == letter.schema_id)
            && self.since.is_none_or(|since| letter.time >= since)
            && self.until.is_none_or(|until| letter.time < until)
            && self.topic.as_ref().is_none_or(|topic| *topic == letter.origin.topic)
    }
}

/// The letters to replay or discard.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// The places of the letters; empty for all.
    pub places: BTreeSet<Place>,
    /// The conditions that they must also meet.
    pub filter: Filter,
}

fn time<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| point_in_time(&text)).transpose().map_err(serde::de::Error::custom)
}
