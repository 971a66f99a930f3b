//! Which messages were handled already, by their ids.
//!
//! A set with a window, not a key-value store: ids are noted in the batch ([`Seen`]), travel to the changelog as one
//! packed, sorted record a transaction, task and topic ([`pack`]), and are kept as such segments until the window has
//! passed.
//!
//! - [`pack`]: the bytes of a segment.
//! - [`Buckets`]: which ids are kept together, so that they expire together.
//! - [`merge_plan`]: which segments to merge, so that there are never many.

mod packed;
mod tiers;

use std::collections::BTreeMap;

use bytes::Bytes;
use foldhash::fast::RandomState;
use indexmap::IndexMap;

pub use self::packed::{NoSegment, SEGMENT_BYTES_MAX, find, pack, segments, unpack};
pub use self::tiers::{Buckets, LINGER_MILLIS_MAX, SEGMENT_IDS_MAX, SEGMENTS_MAX, merge_plan};

use crate::event::{Timestamp, Topic};

/// What identifies a message, beyond the place it has in the log. Two deliveries with the same id are one event.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub Bytes);

/// Message ids, each with its record's timestamp. Every record looks for its own here, so one is found by its hash.
pub type MessageIds = IndexMap<MessageId, Timestamp, RandomState>;

/// The ids handled in one transaction by one task, by topic.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    topics: BTreeMap<Topic, MessageIds>,
    room: usize,
}

impl Seen {
    /// None yet; for as many as `room` of a topic nothing has to grow.
    pub(crate) fn with_room(room: usize) -> Self {
        Self { topics: BTreeMap::new(), room }
    }

    /// Notes an id of a message of `topic`.
    pub fn insert(&mut self, topic: &Topic, id: MessageId, at: Timestamp) {
        match self.topics.get_mut(topic) {
            Some(ids) => ids.insert(id, at),
            None => {
                let ids = MessageIds::with_capacity_and_hasher(self.room, RandomState::default());
                self.topics.entry(topic.clone()).or_insert(ids).insert(id, at)
            }
        };
    }

    /// When it was noted.
    #[must_use]
    pub fn noted(&self, topic: &Topic, id: &MessageId) -> Option<Timestamp> {
        self.topics.get(topic).and_then(|ids| ids.get(id)).copied()
    }

    /// The ids of each topic, in the order in which they were noted.
    pub fn topics(&self) -> impl Iterator<Item = (&Topic, &MessageIds)> {
        self.topics.iter()
    }

    /// Whether nothing was noted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// The ids of each topic.
    pub fn into_topics(self) -> impl Iterator<Item = (Topic, MessageIds)> {
        self.topics.into_iter()
    }
}
