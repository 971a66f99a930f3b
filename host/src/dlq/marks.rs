//! Marks on dead letters that were replayed or discarded.

use std::collections::HashMap;
use std::fmt;

use heddle_core::date::rfc3339;
use heddle_core::event::{NewRecord, Partition};
use serde::{Deserialize, Serialize};

use super::DlqError;
use super::letter::Place;
use super::scan::{Span, scan};
use crate::log::{self, Log, LogError, TopicSpec};

/// The action that was taken on a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// It was sent to its original topic.
    Replayed,
    /// The operator decided that nothing has to be done.
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

/// The value of a record in the topic of marks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The action.
    pub did: What,
    /// The time, in RFC 3339.
    pub at: String,
    /// The id of the dead-letter topic. A topic that is recreated under the same name has other letters in the same
    /// places.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
}

/// The end of reading marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// The committed end, for requests that only show letters.
    Visible,
    /// The end with open transactions, which are waited for, because a decision depends on the marks.
    Written,
}

/// The marks of one dead-letter topic.
pub(super) struct Marks {
    topic: String,
    /// The number of partitions of the topic of marks, if the topic exists.
    partitions: Option<i32>,
    of: Option<String>,
    by_place: HashMap<Place, Mark>,
}

impl Marks {
    /// Reads the marks on the letters of the topic `letters`.
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

    /// The mark on the letter at `place`.
    pub(super) fn of(&self, place: Place) -> Option<&Mark> {
        self.by_place.get(&place)
    }

    /// Creates the topic of marks if it does not exist.
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
