//! What became of letters.

use std::collections::HashMap;
use std::fmt;

use heddle_core::date::rfc3339;
use heddle_core::event::{NewRecord, Partition};
use serde::{Deserialize, Serialize};

use super::DlqError;
use super::letter::Place;
use super::scan::{Span, scan};
use crate::log::{self, Log, LogError, TopicSpec};

/// What was done with a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// It was sent to where it came from.
    Replayed,
    /// Somebody decided that nothing is to be done.
    Discarded,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Replayed => "replayed",
            Self::Discarded => "discarded",
        })
    }
}

/// The value of a record of the topic of marks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// What was done.
    pub did: What,
    /// When, in RFC 3339.
    pub at: String,
    /// The id of the dead-letter topic: one that is made anew under the same name has other letters at the same places.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
}

/// Up to where marks are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// What can be read now: somebody only looks.
    Visible,
    /// All that was written: something is decided by it, so transactions that are open are waited for.
    Written,
}

/// The marks of one dead-letter topic.
pub(super) struct Marks {
    topic: String,
    /// How many partitions the topic of marks has; none if it does not exist.
    partitions: Option<i32>,
    of: Option<String>,
    by_place: HashMap<Place, Mark>,
}

impl Marks {
    /// Reads the marks of the letters in `letters`.
    pub(super) fn read(log: &dyn Log, letters: &str, until: Until) -> Result<Self, DlqError> {
        let of = log.topic_id(letters)?.map(|id| id.0);
        let topic = format!("{letters}.marks");
        let partitions = log.topics()?.into_iter().find(|info| info.name == topic).map(|info| info.partitions);
        let mut marks = Self { topic, partitions, of, by_place: HashMap::new() };
        if partitions.is_none() {
            return Ok(marks);
        }
        let end = |b: &log::Watermarks| if until == Until::Visible { b.high } else { b.end };
        let bounds = log.watermarks(&marks.topic)?;
        let spans = bounds.iter().map(|b| Span { partition: b.partition, from: b.low, until: end(b) });
        let topic = marks.topic.clone();
        scan(log, &topic, &spans.collect::<Vec<_>>(), |record| {
            let place = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()?.parse().ok());
            let Some(place) = place else { return Ok(()) };
            match record.value.as_deref().and_then(|value| serde_json::from_slice::<Mark>(value).ok()) {
                Some(mark) if mark.of == marks.of => drop(marks.by_place.insert(place, mark)),
                _ => drop(marks.by_place.remove(&place)),
            }
            Ok(())
        })?;
        Ok(marks)
    }

    /// What became of the letter there.
    pub(super) fn of(&self, place: Place) -> Option<&Mark> {
        self.by_place.get(&place)
    }

    /// Makes sure that there is a topic for them.
    pub(super) fn create_topic(&mut self, log: &dyn Log, partitions: i32) -> Result<(), LogError> {
        if self.partitions.is_some() {
            return Ok(());
        }
        match log.create_topic(&TopicSpec { partitions, ..TopicSpec::compacted(self.topic.clone()) }) {
            Ok(()) | Err(LogError::TopicExists(_)) => {}
            Err(error) => return Err(error),
        }
        self.partitions = Some(partitions);
        Ok(())
    }

    /// The record that marks a letter.
    pub(super) fn record(&self, place: Place, did: What) -> Result<NewRecord, LogError> {
        let mark = Mark { did, at: rfc3339(log::now()), of: self.of.clone() };
        let value = serde_json::to_vec(&mark).map_err(|e| LogError::Invalid(e.to_string()))?;
        Ok(NewRecord {
            topic: self.topic.as_str().into(),
            partition: Some(Partition(place.partition % self.partitions.unwrap_or(1).max(1))),
            timestamp: None,
            key: Some(place.to_string().into()),
            value: Some(value.into()),
            headers: vec![],
        })
    }
}
