//! The topics that a component has read from and kept its state in, by id. A topic that was deleted and created again
//! has the same name, but another id.
//!
//! ```text
//!  <app>.topics   compacted, one partition; key <component>/<topic>; value {"first":<id>,"now":<id>}
//!                                           key <component>; value {"from":2,"to":4,…} while its state is being moved
//! ```
//!
//! Ids of emitted records contain the input's offsets, and a recreated topic has the same offsets again. So the ids
//! from any topic other than the first carry an epoch. It is derived from the topic's id, so all hosts compute the
//! same.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use heddle_core::delivery::Epoch;
use heddle_core::event::NewRecord;
use serde::{Deserialize, Serialize};

use crate::lock::lock;
use crate::log::{Log, LogError, Start, TopicId, TopicSpec, read_whole};

/// The known topics of an app's components.
pub struct KnownTopics {
    log: Arc<dyn Log>,
    topic: String,
    known: Mutex<BTreeMap<String, Known>>,
}

/// A topic as one component knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    /// The id of the first topic that was known.
    first: String,
    /// The id of the topic that was known or accepted last.
    now: String,
}

/// A component's state that is being moved to more partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// How many partitions the state had.
    pub from: i32,
    /// How many it gets.
    pub to: i32,
    /// Where the partitions of each changelog ended when it began.
    pub ends: BTreeMap<String, Vec<i64>>,
}

impl KnownTopics {
    /// The configuration of the topic that records them.
    #[must_use]
    pub fn spec(app: &str) -> TopicSpec {
        TopicSpec::compacted(format!("{app}.topics"))
    }

    /// The known topics of `app`. The topic that records them exists.
    #[must_use]
    pub fn of(log: Arc<dyn Log>, app: &str) -> Self {
        Self { log, topic: format!("{app}.topics"), known: Mutex::default() }
    }

    /// The epoch of a component's input, unless this is the first topic that the component knew.
    pub(super) fn epoch(&self, component: &str, topic: &str, id: &TopicId) -> Result<Option<Epoch>, LogError> {
        let known = self.known(component, topic, id)?;
        Ok((known.first != id.0).then(|| format!("{:016x}", xxhash_rust::xxh3::xxh3_64(id.0.as_bytes())).into()))
    }

    /// Returns true if this is not the topic that was known or accepted last.
    pub(super) fn is_other(&self, component: &str, topic: &str, id: &TopicId) -> Result<bool, LogError> {
        if self.known(component, topic, id)?.now == id.0 {
            return Ok(false);
        }
        // Another host may have accepted it.
        self.read()?;
        Ok(self.known(component, topic, id)?.now != id.0)
    }

    /// Accepts a topic as the one that the component knows.
    ///
    /// # Errors
    /// If the log refuses the record.
    pub fn accept(&self, component: &str, topic: &str, id: &TopicId) -> Result<(), LogError> {
        let first = self.known(component, topic, id)?.first;
        self.write(format!("{component}/{topic}"), Known { first, now: id.0.clone() })
    }

    /// The unfinished move of the component's state.
    ///
    /// # Errors
    /// If the log cannot be read, or its note is from a newer version.
    pub fn begun_move(&self, component: &str) -> Result<Option<Move>, LogError> {
        let mut noted = None;
        let read = read_whole(&*self.log, &self.topic, Start::Beginning, |record| {
            if record.key.as_deref() == Some(component.as_bytes()) {
                noted = record.value;
            }
            true
        });
        match read {
            Ok(_) | Err(LogError::UnknownTopic(_)) => {}
            Err(error) => return Err(error),
        }
        let unknown =
            |error| LogError::Fatal(format!("the note of a move in `{}` cannot be read: {error}", self.topic));
        noted.map(|value| serde_json::from_slice(&value).map_err(unknown)).transpose()
    }

    /// The record that notes a move of the component's state, or the end of the move.
    #[must_use]
    pub fn move_record(&self, component: &str, noted: Option<&Move>) -> NewRecord {
        NewRecord {
            topic: self.topic.as_str().into(),
            partition: None,
            timestamp: None,
            key: Some(component.to_owned().into()),
            // Numbers and names always serialize.
            value: noted.map(|noted| serde_json::to_vec(noted).unwrap_or_default().into()),
            headers: vec![],
        }
    }

    /// The known topic. Records this one if none is known.
    fn known(&self, component: &str, topic: &str, id: &TopicId) -> Result<Known, LogError> {
        let key = format!("{component}/{topic}");
        let known = || lock(&self.known).get(&key).cloned();
        if let Some(known) = known() {
            return Ok(known);
        }
        self.read()?;
        if let Some(known) = known() {
            return Ok(known);
        }
        let noted = Known { first: id.0.clone(), now: id.0.clone() };
        self.write(key.clone(), noted.clone())?;
        // Another host may have recorded another id meanwhile. The first record is valid, and is written again because
        // compaction would otherwise drop it.
        self.read()?;
        match known().filter(|found| found.first != noted.first) {
            None => Ok(noted),
            Some(Known { first, .. }) => {
                let known = Known { now: first.clone(), first };
                self.write(key, known.clone())?;
                Ok(known)
            }
        }
    }

    fn read(&self) -> Result<(), LogError> {
        let mut read = BTreeMap::<String, Known>::new();
        let done = read_whole(&*self.log, &self.topic, Start::Beginning, |record| {
            let key = record.key.and_then(|key| String::from_utf8(key.to_vec()).ok());
            let known = record.value.and_then(|value| serde_json::from_slice::<Known>(&value).ok());
            if let Some((key, known)) = key.zip(known) {
                let first = read.remove(&key).map_or(known.first, |before| before.first);
                read.insert(key, Known { first, now: known.now });
            }
            true
        });
        match done {
            Ok(_) => lock(&self.known).extend(read),
            Err(LogError::UnknownTopic(_)) => match self.log.create_topic(&TopicSpec::compacted(self.topic.clone())) {
                Ok(()) | Err(LogError::TopicExists(_)) => {}
                Err(error) => return Err(error),
            },
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn write(&self, key: String, known: Known) -> Result<(), LogError> {
        let value = serde_json::to_vec(&known).map_err(|error| LogError::Invalid(error.to_string()))?;
        let record = NewRecord {
            topic: self.topic.as_str().into(),
            partition: None,
            timestamp: None,
            key: Some(key.clone().into()),
            value: Some(value.into()),
            headers: vec![],
        };
        self.log.append(&[record])?;
        lock(&self.known).insert(key, known);
        Ok(())
    }
}
