//! Message ids in memory, and lookups of single ids.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use foldhash::fast::RandomState;
use heddle_core::dedup::{Buckets, MessageId, MessageIds};
use heddle_core::event::{Timestamp, Topic};
use indexmap::map::Entry;
use sha2::{Digest as _, Sha256};
use xxhash_rust::xxh3::xxh3_64;

use crate::state::layers::Collects;

/// The memory that an id uses beside its bytes.
const ENTRY_BYTES: usize = 64;
/// Longer ids are replaced by their digest, because ids are parts of keys and engines bound the length of keys.
const ID_BYTES_MAX: usize = 256;

/// Committed ids that are not on disk yet, by topic.
#[derive(Default)]
pub(in crate::state) struct Ids {
    topics: BTreeMap<Topic, MessageIds>,
    bytes: usize,
}

impl Collects for Ids {
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn next(&self) -> Self {
        let room = |ids: &MessageIds| MessageIds::with_capacity_and_hasher(ids.len(), RandomState::default());
        Self { topics: self.topics.iter().map(|(topic, ids)| (topic.clone(), room(ids))).collect(), bytes: 0 }
    }
}

impl Ids {
    /// Adds ids. An id that exists already keeps its latest timestamp.
    pub(in crate::state) fn extend<'a>(
        &mut self,
        topic: &Topic,
        ids: impl Iterator<Item = (&'a MessageId, Timestamp)>,
    ) {
        let known = self.topics.entry(topic.clone()).or_default();
        for (id, at) in ids {
            // Copied, because the id's bytes may be part of a large buffer.
            let id = digest(id).unwrap_or_else(|| MessageId(Bytes::copy_from_slice(&id.0)));
            self.bytes += note(known, id, at);
        }
    }

    /// Adds the ids of a transaction, without copying their bytes.
    pub(in crate::state) fn take_over(&mut self, topic: &Topic, ids: MessageIds) {
        let known = self.topics.entry(topic.clone()).or_default();
        for (id, at) in ids {
            self.bytes += note(known, digest(&id).unwrap_or(id), at);
        }
    }

    /// The ids of each topic.
    pub(super) fn topics(&self) -> impl Iterator<Item = (&Topic, &MessageIds)> {
        self.topics.iter()
    }
}

/// Records an id. Returns the memory that it uses if it is new.
fn note(known: &mut MessageIds, id: MessageId, at: Timestamp) -> usize {
    match known.entry(id) {
        Entry::Occupied(mut noted) => {
            *noted.get_mut() = at.max(*noted.get());
            0
        }
        Entry::Vacant(place) => {
            let bytes = ENTRY_BYTES + place.key().0.len();
            place.insert(at);
            bytes
        }
    }
}

/// One id to look up.
pub(in crate::state) struct Wanted<'a> {
    pub(super) topic: &'a Topic,
    pub(super) id: Cow<'a, MessageId>,
    pub(super) hash: u64,
    at: Timestamp,
    buckets: Buckets,
}

impl<'a> Wanted<'a> {
    pub(super) fn new(topic: &'a Topic, id: &'a MessageId, at: Timestamp, buckets: Buckets) -> Self {
        let id = digest(id).map_or(Cow::Borrowed(id), Cow::Owned);
        Self { topic, hash: hash(&id), id, at, buckets }
    }

    /// Returns true if `ids` holds the id, recorded within the window.
    pub(in crate::state) fn is_in(&self, ids: &Ids) -> bool {
        let noted = ids.topics.get(self.topic).and_then(|ids| ids.get(&*self.id));
        noted.is_some_and(|noted| self.remembers(*noted))
    }

    /// Returns true if `noted` is within the window.
    pub(super) fn remembers(&self, noted: Timestamp) -> bool {
        self.buckets.remembers(noted, self.at)
    }
}

/// The hash of an id in filters. It must never change, because filters are kept on disk.
pub(super) fn hash(id: &MessageId) -> u64 {
    xxh3_64(&id.0)
}

/// The replacement of an id that is too long.
fn digest(id: &MessageId) -> Option<MessageId> {
    let long = id.0.len() > ID_BYTES_MAX;
    long.then(|| MessageId([b"sha256:", &Sha256::digest(&id.0)[..]].concat().into()))
}
