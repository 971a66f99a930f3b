//! Which messages were handled already, by their ids.
//!
//! A set with a window, not a key-value store: ids are noted in the batch ([`Seen`]), travel to the changelog as one packed,
//! sorted record a transaction, task and topic ([`pack`]), and are kept as such segments until the window has passed.
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
pub use self::tiers::{Buckets, SEGMENT_IDS_MAX, SEGMENTS_MAX, merge_plan};

use crate::event::{Timestamp, Topic};

/// What identifies a message, beyond the place it has in the log. Two deliveries with the same id are one event.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub Bytes);

/// Message ids, each with its record's timestamp. Every record looks for its own here, so one is found by its hash.
pub type MessageIds = IndexMap<MessageId, Timestamp, RandomState>;

/// The ids handled in one transaction by one task, by topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen(BTreeMap<Topic, MessageIds>);

impl Seen {
    /// Notes an id of a message of `topic`.
    pub fn insert(&mut self, topic: &Topic, id: MessageId, at: Timestamp) {
        match self.0.get_mut(topic) {
            Some(ids) => ids.insert(id, at),
            None => self.0.entry(topic.clone()).or_default().insert(id, at),
        };
    }

    /// When it was noted.
    #[must_use]
    pub fn noted(&self, topic: &Topic, id: &MessageId) -> Option<Timestamp> {
        self.0.get(topic).and_then(|ids| ids.get(id)).copied()
    }

    /// The ids of each topic, in the order in which they were noted.
    pub fn topics(&self) -> impl Iterator<Item = (&Topic, &MessageIds)> {
        self.0.iter()
    }

    /// Whether nothing was noted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ids of each topic.
    pub fn into_topics(self) -> impl Iterator<Item = (Topic, MessageIds)> {
        self.0.into_iter()
    }
}
