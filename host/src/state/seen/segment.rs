//! One segment: sorted blocks on disk, a filter in memory, and its metadata.

use std::collections::BTreeSet;
use std::mem;
use std::ops::Bound;

use bytes::Bytes;
use heddle_core::dedup::{Buckets, MessageId, NoSegment, find, pack};
use heddle_core::event::{Timestamp, Topic};
use serde::{Deserialize, Serialize};
use xorf::{BinaryFuse8, Descriptor, DmaSerializable as _, Filter as _};

use super::ids::hash;
use crate::state::{Changes, StateError, StateStore};

/// A block is closed when it has this many bytes.
const BLOCK_BYTES: usize = 4 << 10;
/// The number of entries that are read at once while a tree is opened.
const LOADED_AT_ONCE: usize = 64;

/// A segment. Its number locates its blocks.
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) topic: Topic,
    /// Segments are merged only with those of the same bucket and bucket width.
    pub(super) width: i64,
    pub(super) bucket: i64,
    pub(super) newest: Timestamp,
    /// The time at which the host wrote it, or the latest such time of its merge inputs. Zero if an earlier version
    /// wrote it, which did not record the time.
    pub(super) written: Timestamp,
    pub(super) count: u64,
    pub(super) bytes: u64,
    /// `None` if there is no usable filter; then every lookup reads a block.
    filter: Option<BinaryFuse8>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    topic: String,
    width: i64,
    bucket: i64,
    newest: i64,
    #[serde(default)]
    written: i64,
    count: u64,
    bytes: u64,
}

impl Segment {
    /// Returns true if an id with this hash may be in the segment. About one in 256 absent ids passes.
    pub(super) fn may_hold(&self, hash: u64) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.contains(&hash))
    }

    /// The timestamp recorded for the id, if the segment holds it.
    pub(super) fn find(&self, tree: &dyn StateStore, id: &MessageId) -> Result<Option<Timestamp>, StateError> {
        let Some((key, block)) = tree.last_at_or_before(&key(b'b', self.number, &id.0))? else { return Ok(None) };
        if !key.starts_with(&self::key(b'b', self.number, b"")) {
            return Ok(None);
        }
        find(&block, &id.0).map_err(|error| damaged(self.number, &error))
    }

    /// The size of its filter in memory.
    pub(super) fn filter_bytes(&self) -> usize {
        self.filter.as_ref().map_or(0, |filter| filter.len() + size_of::<Self>())
    }

    /// The entries of the segment beside its blocks.
    pub(super) fn entries(&self) -> Changes {
        let stored = Stored {
            topic: self.topic.to_string(),
            width: self.width,
            bucket: self.bucket,
            newest: self.newest.0,
            written: self.written.0,
            count: self.count,
            bytes: self.bytes,
        };
        // Numbers and strings always serialize to JSON.
        let stored = serde_json::to_vec(&stored).unwrap_or_default().into();
        let [about, filter] = self.keys();
        vec![(about, Some(stored)), (filter, Some(self.filter.as_ref().map(encode_filter).unwrap_or_default()))]
    }

    /// The keys of its [`entries`](Self::entries).
    pub(super) fn keys(&self) -> [Bytes; 2] {
        [b's', b'f'].map(|kind| key(kind, self.number, b""))
    }
}

/// Builds a segment from ids that come in ascending order.
pub(super) struct Builder {
    number: u64,
    topic: Topic,
    buckets: Buckets,
    written: Timestamp,
    block: Vec<(MessageId, Timestamp)>,
    block_bytes: usize,
    blocks: Changes,
    hashes: Vec<u64>,
    newest: Timestamp,
    count: u64,
    bytes: u64,
}

impl Builder {
    /// Creates a builder of the segment `number`, for ids that the host wrote at `written` at the latest.
    pub(super) fn new(number: u64, topic: Topic, buckets: Buckets, written: Timestamp) -> Self {
        Self {
            number,
            topic,
            buckets,
            written,
            block: vec![],
            block_bytes: 0,
            blocks: vec![],
            hashes: vec![],
            newest: Timestamp(i64::MIN),
            count: 0,
            bytes: 0,
        }
    }

    /// Adds the next id.
    pub(super) fn push(&mut self, id: MessageId, at: Timestamp) {
        debug_assert!(self.block.last().is_none_or(|(last, _)| *last < id), "ids ascend");
        self.hashes.push(hash(&id));
        self.newest = self.newest.max(at);
        self.count += 1;
        self.block_bytes += id.0.len() + 4;
        self.block.push((id, at));
        if self.block_bytes >= BLOCK_BYTES {
            self.close_block();
        }
    }

    fn close_block(&mut self) {
        let Some((first, _)) = self.block.first() else { return };
        let key = key(b'b', self.number, &first.0);
        let block = pack(self.block.iter().map(|(id, at)| (id, at)));
        self.bytes += (key.len() + block.len()) as u64;
        self.blocks.push((key, Some(block)));
        self.block.clear();
        self.block_bytes = 0;
    }

    /// The number of blocks that are not written yet.
    pub(super) fn blocks_waiting(&self) -> usize {
        self.blocks.len()
    }

    /// Takes the blocks that are not written yet.
    pub(super) fn take_blocks(&mut self) -> Changes {
        mem::take(&mut self.blocks)
    }

    /// Returns the segment after the last id. Its bucket is that of its newest id. The caller must write the last
    /// blocks before the segment.
    pub(super) fn finish(&mut self) -> Segment {
        self.close_block();
        let mut hashes = mem::take(&mut self.hashes);
        hashes.sort_unstable();
        hashes.dedup();
        Segment {
            number: self.number,
            topic: self.topic.clone(),
            width: self.buckets.width_millis(),
            bucket: self.buckets.bucket(self.newest),
            newest: self.newest,
            written: self.written,
            count: self.count,
            bytes: self.bytes,
            filter: BinaryFuse8::try_from(hashes).ok(),
        }
    }
}

/// Reads all segments of a tree.
pub(super) fn load(tree: &dyn StateStore) -> Result<Vec<Segment>, StateError> {
    let mut segments = vec![];
    let mut after = Bytes::from_static(b"s");
    loop {
        let entries = tree.scan(Bound::Excluded(&after), b"s", LOADED_AT_ONCE)?;
        let Some((last, _)) = entries.last() else { return Ok(segments) };
        after = last.clone();
        for (key, value) in &entries {
            segments.push(load_one(tree, number_in(key), value)?);
        }
    }
}

fn load_one(tree: &dyn StateStore, number: u64, about: &[u8]) -> Result<Segment, StateError> {
    let stored: Stored = serde_json::from_slice(about).map_err(|error| damaged(number, &error))?;
    let filter = tree.get(&key(b'f', number, b""))?;
    Ok(Segment {
        number,
        topic: stored.topic.into(),
        width: stored.width,
        bucket: stored.bucket,
        newest: Timestamp(stored.newest),
        written: Timestamp(stored.written),
        count: stored.count,
        bytes: stored.bytes,
        filter: filter.as_deref().and_then(decode_filter),
    })
}

/// The numbers of all segments that have blocks. It does not read the blocks.
pub(super) fn numbers_of_blocks(tree: &dyn StateStore) -> Result<BTreeSet<u64>, StateError> {
    let mut numbers = BTreeSet::new();
    let mut from = key(b'b', 0, b"");
    loop {
        let first = tree.scan(Bound::Included(&from), b"b", 1)?;
        let Some((key, _)) = first.first() else { return Ok(numbers) };
        let number = number_in(key);
        numbers.insert(number);
        let Some(next) = number.checked_add(1) else { return Ok(numbers) };
        from = self::key(b'b', next, b"");
    }
}

/// The keys of the first `limit` blocks of a segment.
pub(super) fn block_keys(tree: &dyn StateStore, number: u64, limit: usize) -> Result<Vec<Bytes>, StateError> {
    let blocks = blocks(tree, number, None, limit)?;
    Ok(blocks.into_iter().map(|(key, _)| key).collect())
}

/// The blocks of a segment after the one with the key `after`.
pub(super) fn blocks(
    tree: &dyn StateStore,
    number: u64,
    after: Option<&Bytes>,
    limit: usize,
) -> Result<Vec<(Bytes, Bytes)>, StateError> {
    let prefix = key(b'b', number, b"");
    tree.scan(after.map_or(Bound::Included(&prefix), |key| Bound::Excluded(key)), &prefix, limit)
}

/// The error for a segment that does not hold what was written: the copy is damaged.
pub(super) fn damaged(number: u64, error: &dyn std::fmt::Display) -> StateError {
    StateError::Damaged(format!("segment {number} of message ids: {error}"))
}

fn key(kind: u8, number: u64, rest: &[u8]) -> Bytes {
    [&[kind], &number.to_be_bytes()[..], rest].concat().into()
}

/// The number of the segment to which a key belongs.
pub(super) fn number_in(key: &[u8]) -> u64 {
    key.get(1..9).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes)
}

fn encode_filter(filter: &BinaryFuse8) -> Bytes {
    let mut out = vec![0; BinaryFuse8::DESCRIPTOR_LEN];
    filter.dma_copy_descriptor_to(&mut out);
    out.extend_from_slice(filter.dma_fingerprints());
    out.into()
}

/// Decodes a filter. Returns `None` if the bytes are not a filter: lookups work without one.
fn decode_filter(bytes: &[u8]) -> Option<BinaryFuse8> {
    let (head, fingerprints) = bytes.split_at_checked(BinaryFuse8::DESCRIPTOR_LEN)?;
    let number = |at: usize| head.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
    let descriptor = Descriptor {
        seed: u64::from_le_bytes(head.get(..8)?.try_into().ok()?),
        segment_length: number(8)?,
        segment_length_mask: number(12)?,
        segment_count_length: number(16)?,
    };
    // All fingerprints that a lookup may read must exist.
    let touched = u64::from(descriptor.segment_count_length) + 2 * u64::from(descriptor.segment_length);
    let sound = descriptor.segment_length.is_power_of_two()
        && descriptor.segment_length_mask == descriptor.segment_length - 1
        && touched <= fingerprints.len() as u64;
    sound.then(|| BinaryFuse8 { descriptor, fingerprints: fingerprints.into() })
}

/// The ids of a block, for merging.
pub(super) fn ids_in(number: u64, block: Bytes) -> Result<Vec<(MessageId, Timestamp)>, StateError> {
    heddle_core::dedup::unpack(block).map_err(|error: NoSegment| damaged(number, &error))
}
