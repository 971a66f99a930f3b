//! Recognizes messages that were already processed, by their ids.
//!
//! This is a set with a window, not a key-value store. Ids are collected in the batch ([`Seen`]). They go to the
//! changelog as packed, sorted records, at least one for each transaction, task and topic ([`segments`]). They are kept
//! as such segments until the window has passed.
//!
//! - [`pack`]: the bytes of a segment.
//! - [`Buckets`]: the groups of ids that expire together.
//! - [`merge_plan`]: the segments to merge, so that there are only a few.

mod packed;
mod tiers;

use std::collections::BTreeMap;

use bytes::Bytes;
use foldhash::fast::RandomState;
use indexmap::IndexMap;

pub use self::packed::{NoSegment, SEGMENT_BYTES_MAX, find, pack, segments, unpack};
pub use self::tiers::{Buckets, LINGER_MILLIS_MAX, SEGMENT_IDS_MAX, SEGMENTS_MAX, merge_plan};

use crate::event::{Timestamp, Topic};

/// The identity of a message, independent of its position in the log. Two records with the same id are one event.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub Bytes);

/// Message ids, each with its record's timestamp. Ids are hashed, because every record looks up its own.
pub type MessageIds = IndexMap<MessageId, Timestamp, RandomState>;

/// The ids that one task processed in one transaction, by topic.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    topics: BTreeMap<Topic, MessageIds>,
    room: usize,
}

impl Seen {
    /// Creates an empty set with capacity for `room` ids of each topic.
    pub(crate) fn with_room(room: usize) -> Self {
        Self { topics: BTreeMap::new(), room }
    }

    /// Records the id of a message of `topic`.
    pub fn insert(&mut self, topic: &Topic, id: MessageId, at: Timestamp) {
        match self.topics.get_mut(topic) {
            Some(ids) => ids.insert(id, at),
            None => {
                let ids = MessageIds::with_capacity_and_hasher(self.room, RandomState::default());
                self.topics.entry(topic.clone()).or_insert(ids).insert(id, at)
            }
        };
    }

    /// The timestamp that was recorded with an id.
    #[must_use]
    pub fn noted(&self, topic: &Topic, id: &MessageId) -> Option<Timestamp> {
        self.topics.get(topic).and_then(|ids| ids.get(id)).copied()
    }

    /// The ids of each topic, in the order in which they were recorded.
    pub fn topics(&self) -> impl Iterator<Item = (&Topic, &MessageIds)> {
        self.topics.iter()
    }

    /// Returns true if there are no ids.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// The ids of each topic.
    pub fn into_topics(self) -> impl Iterator<Item = (Topic, MessageIds)> {
        self.topics.into_iter()
    }
}
