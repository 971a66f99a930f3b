//! The topics that a component has read from and kept its state in, by id. A topic that was deleted and recreated has
//! the same name, but another id.
//!
//! ```text
//!  <app>.topics   compacted, one partition; key <component>/<topic>; value {"first":<id>,"now":<id>}
//!                                           key <component>; value {"from":2,"to":4,…} while its state is being moved
//! ```
//!
//! Ids of emitted records contain the input's offsets, and a recreated topic has the same offsets again. So the ids
//! from any topic other than the first one carry an epoch. It is derived from the topic's id, so all hosts compute the
//! same epoch.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use heddle_core::delivery::Epoch;
use heddle_core::event::{NewRecord, Offset, Record};
use serde::{Deserialize, Serialize};

use crate::lock::lock;
use crate::log::{Log, LogError, Start, TopicId, TopicSpec, read_until};

/// The known topics of an app's components.
pub struct KnownTopics {
    log: Arc<dyn Log>,
    topic: String,
    noted: Mutex<Noted>,
}

/// The records of the topic, as far as they were read.
#[derive(Debug, Default)]
struct Noted {
    /// The offset of the first record that was not read.
    next: Option<Offset>,
    topics: BTreeMap<String, Known>,
    /// The unfinished moves as JSON, by component.
    moves: BTreeMap<String, Bytes>,
}

impl Noted {
    /// Applies a record. Of several that name a first topic, the earliest counts.
    fn apply(&mut self, record: &Record) {
        let Some(key) = record.key.as_deref().and_then(|key| str::from_utf8(key).ok()) else { return };
        if !key.contains('/') {
            match &record.value {
                Some(value) => self.moves.insert(key.to_owned(), value.clone()),
                None => self.moves.remove(key),
            };
            return;
        }
        let known = record.value.as_deref().and_then(|value| serde_json::from_slice::<Known>(value).ok());
        if let Some(known) = known {
            let first = self.topics.remove(key).map_or(known.first, |before| before.first);
            self.topics.insert(key.to_owned(), Known { first, now: known.now });
        }
    }
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
    /// The number of partitions before the move.
    pub from: i32,
    /// The number of partitions after the move.
    pub to: i32,
    /// The end offset of each partition of each changelog, when the move began.
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
        Self { log, topic: format!("{app}.topics"), noted: Mutex::default() }
    }

    /// The epoch of a component's input; `None` for the first topic that the component knew.
    pub(super) fn epoch(&self, component: &str, topic: &str, id: &TopicId) -> Result<Option<Epoch>, LogError> {
        let known = self.known(component, topic, id)?;
        Ok((known.first != id.0).then(|| format!("{:016x}", xxhash_rust::xxh3::xxh3_64(id.0.as_bytes())).into()))
    }

    /// Returns true if this is not the topic that was last known or accepted.
    pub(super) fn is_other(&self, component: &str, topic: &str, id: &TopicId) -> Result<bool, LogError> {
        if self.known(component, topic, id)?.now == id.0 {
            return Ok(false);
        }
        // Another host may have accepted it.
        self.refresh()?;
        Ok(self.known(component, topic, id)?.now != id.0)
    }

    /// Accepts a topic as the one that the component knows.
    ///
    /// # Errors
    /// If the log refuses the record.
    pub fn accept(&self, component: &str, topic: &str, id: &TopicId) -> Result<(), LogError> {
        let first = self.known(component, topic, id)?.first;
        self.write(&format!("{component}/{topic}"), &Known { first, now: id.0.clone() })
    }

    /// The unfinished move of the component's state.
    ///
    /// # Errors
    /// If the log cannot be read, or a newer version wrote the record of the move.
    pub fn begun_move(&self, component: &str) -> Result<Option<Move>, LogError> {
        self.refresh()?;
        let noted = lock(&self.noted).moves.get(component).cloned();
        let unknown =
            |error| LogError::Fatal(format!("the record of a move in `{}` cannot be read: {error}", self.topic));
        noted.map(|value| serde_json::from_slice(&value).map_err(unknown)).transpose()
    }

    /// The record that a move of the component's state has begun, or has ended.
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

    /// The known topic. Records the current one if none is known.
    fn known(&self, component: &str, topic: &str, id: &TopicId) -> Result<Known, LogError> {
        let key = format!("{component}/{topic}");
        let known = || lock(&self.noted).topics.get(&key).cloned();
        if let Some(known) = known() {
            return Ok(known);
        }
        self.refresh()?;
        if let Some(known) = known() {
            return Ok(known);
        }
        let noted = Known { first: id.0.clone(), now: id.0.clone() };
        self.write(&key, &noted)?;
        // Another host may have recorded another id meanwhile. The first record is valid. It is written again, because
        // otherwise compaction would drop it.
        match known().filter(|found| found.first != noted.first) {
            None => Ok(noted),
            Some(Known { first, .. }) => {
                let known = Known { now: first.clone(), first };
                self.write(&key, &known)?;
                Ok(known)
            }
        }
    }

    /// Reads the records that other hosts have added. A reader costs a connection, so all records are read only once.
    fn refresh(&self) -> Result<(), LogError> {
        loop {
            let end = match self.log.watermarks(&self.topic) {
                Ok(bounds) => bounds.first().map_or(Offset(0), |bounds| bounds.high),
                Err(LogError::UnknownTopic(_)) => return self.create(),
                Err(error) => return Err(error),
            };
            // The log is not called with the lock: it may take any time.
            let begun = lock(&self.noted).next;
            if begun == Some(end) {
                return Ok(());
            }
            // If the end is lower, the topic was created again.
            let start = begun.filter(|next| *next <= end).map_or(Start::Beginning, Start::At);
            let mut records = vec![];
            let next = read_until(&*self.log, &self.topic, start, end, |record| {
                records.push(record);
                true
            })?;
            let mut noted = lock(&self.noted);
            if noted.next == begun {
                if start == Start::Beginning {
                    *noted = Noted::default();
                }
                records.iter().for_each(|record| noted.apply(record));
                noted.next = Some(next);
                return Ok(());
            }
            // Another thread has read meanwhile.
        }
    }

    fn create(&self) -> Result<(), LogError> {
        *lock(&self.noted) = Noted::default();
        match self.log.create_topic(&TopicSpec::compacted(self.topic.clone())) {
            Ok(()) | Err(LogError::TopicExists(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Adds a record, and reads the topic up to it.
    fn write(&self, key: &str, known: &Known) -> Result<(), LogError> {
        let value = serde_json::to_vec(known).map_err(|error| LogError::Invalid(error.to_string()))?;
        let record = NewRecord {
            topic: self.topic.as_str().into(),
            partition: None,
            timestamp: None,
            key: Some(key.to_owned().into()),
            value: Some(value.into()),
            headers: vec![],
        };
        self.log.append(&[record])?;
        self.refresh()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::embedded::{EmbeddedLog, EmbeddedOptions};

    fn hosts() -> (tempfile::TempDir, Arc<dyn Log>, [KnownTopics; 2]) {
        let folder = tempfile::tempdir().unwrap();
        let log: Arc<dyn Log> = Arc::new(EmbeddedLog::open(folder.path(), EmbeddedOptions::default()).unwrap());
        let hosts = [(); 2].map(|()| KnownTopics::of(log.clone(), "shop"));
        (folder, log, hosts)
    }

    #[test]
    fn the_first_host_to_note_a_topic_decides_for_all_of_them() {
        let (_folder, _log, [one, other]) = hosts();
        let (old, new) = (TopicId("old".to_owned()), TopicId("new".to_owned()));
        assert_eq!(one.epoch("intake", "orders", &old).unwrap(), None);
        assert!(other.is_other("intake", "orders", &new).unwrap());
        assert!(other.epoch("intake", "orders", &new).unwrap().is_some());
        other.accept("intake", "orders", &new).unwrap();
        assert!(!one.is_other("intake", "orders", &new).unwrap(), "notes of others are read");
        assert_eq!(one.epoch("intake", "orders", &old).unwrap(), None, "the first topic keeps its ids");
    }

    #[test]
    fn a_host_sees_moves_that_another_begins_and_ends() {
        let (_folder, log, [one, other]) = hosts();
        assert_eq!(one.begun_move("intake").unwrap(), None);
        let begun = Move { from: 2, to: 4, ends: BTreeMap::new() };
        for noted in [Some(&begun), None] {
            log.append(&[other.move_record("intake", noted)]).unwrap();
            assert_eq!(one.begun_move("intake").unwrap().as_ref(), noted);
        }
    }
}
