//! Creation and deletion of topics.
//!
//! The short *number* of a topic identifies its partitions in the store and in memory. Its random *identity* differs
//! from that of earlier and later topics with the same name.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use heddle_core::event::Offset;

use super::shared::{Bounds, Shared};
use super::store::{Store, StoredTopic, Write};
use super::topic::{self, TopicMeta};
use crate::lock::lock;
use crate::log::{LogError, TopicSpec};

impl Shared {
    /// Creates a topic. It is durable when this returns.
    pub(super) fn create_topic(&self, spec: &TopicSpec) -> Result<(), LogError> {
        topic::check(spec)?;
        self.healthy()?;
        self.store.room_for(0)?;
        let mut order = self.hold_commits();
        let id = {
            let mut state = lock(&self.state);
            if state.topics.contains_key(spec.name.as_str()) {
                return Err(LogError::TopicExists(spec.name.clone()));
            }
            state.topics_ever += 1;
            state.topics_ever - 1
        };
        let (identity, options) = (new_identity(), spec.options.clone());
        let stored = StoredTopic { id, identity, partitions: spec.partitions, options };
        let topic = TopicMeta::new(&spec.name, &stored)?;
        let mut write = Write::default();
        write.topic(&spec.name, &stored)?;
        self.or_fail(self.store.apply(write).and_then(|()| self.store.flush()))?;
        let mut state = lock(&self.state);
        for (_, partition) in topic.all() {
            order.next.insert(partition, Offset(0));
            state.bounds.insert(partition, Bounds { low: Offset(0), high: Offset(0) });
        }
        state.topics.insert(topic.name.clone(), Arc::new(topic));
        Ok(())
    }

    /// Deletes a topic and all its data, durably when this returns. Fails while a member consumes it.
    pub(super) fn delete_topic(&self, name: &str) -> Result<(), LogError> {
        self.healthy()?;
        // Upkeep that is rewriting batches of the topic, or a commit in flight, would leave some behind.
        let mut upkeep = lock(&self.upkeep);
        let mut order = self.hold_commits();
        let topic = {
            let mut state = lock(&self.state);
            if let Some((group, _)) = state.groups.iter().find(|(_, group)| group.consumes(name)) {
                return Err(LogError::Invalid(format!("topic `{name}` is consumed by group `{group}`: stop it first")));
            }
            // The topic is removed before its data, so that no member can join on it or read it in between.
            let topic = state.topics.remove(name).ok_or_else(|| LogError::UnknownTopic(name.to_owned()))?;
            for (_, partition) in topic.all() {
                state.bounds.remove(&partition);
            }
            topic
        };
        for (_, partition) in topic.all() {
            order.next.remove(&partition);
            upkeep.forget(partition);
        }
        let mut write = Write::default();
        write.remove_topic(name);
        let cleared = self.store.clear(topic.id, &mut write);
        self.or_fail(cleared.and_then(|()| self.store.apply(write)).and_then(|()| self.store.flush()))
    }
}

/// All topics by name. Topics without an identity get one, durably.
pub(super) fn identified(store: &Store) -> Result<Vec<(String, StoredTopic)>, LogError> {
    let mut topics = store.topics()?;
    let mut write = Write::default();
    let mut changed = false;
    for (name, stored) in topics.iter_mut().filter(|(_, stored)| stored.identity.is_empty()) {
        stored.identity = new_identity();
        write.topic(name, stored)?;
        changed = true;
    }
    if changed {
        store.apply(write)?;
        store.flush()?;
    }
    Ok(topics)
}

/// 128 random bits in hexadecimal. The standard library seeds its hashers with random keys.
fn new_identity() -> String {
    let random = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", random(), random())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::embedded::EmbeddedOptions;

    #[test]
    fn a_topic_from_before_there_were_identities_gets_one_that_stays() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), &EmbeddedOptions::default()).unwrap();
        let old: StoredTopic = serde_json::from_str(r#"{"id":0,"partitions":1,"options":{}}"#).unwrap();
        let mut write = Write::default();
        write.topic("old", &old).unwrap();
        store.apply(write).unwrap();
        let identity = |store: &Store| identified(store).unwrap().remove(0).1.identity;
        let first = identity(&store);
        assert_eq!(first.len(), 32);
        drop(store);
        assert_eq!(identity(&Store::open(folder.path(), &EmbeddedOptions::default()).unwrap()), first);
    }
}
