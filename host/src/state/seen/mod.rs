//! The message ids of one task on disk, for every consumed topic with dedup.
//!
//! ```text
//!  disk write ──> one segment for each topic and bucket of time ──merge──> fewer, larger ones ──> expired, all at once
//!                and one for late ids                          ──merge──> one a minute       ──> expired minutes later
//!
//!  segment:  filter, in memory     is the id perhaps in it?            nearly always: no
//!            blocks, on disk       sorted, about 4 KiB; one is read    the exact answer
//! ```
//!
//! An id expires when the stream is past its window, because no later record looks it up. But a topic may mix old
//! records with new ones, as in a backfill, and then the old ids are past their window at once. So ids that were
//! processed lately stay ([`Buckets::lingers`]), up to [`Bounds::late_ids_max`]. Two copies of a message within minutes
//! are thus recognized, however old it is.
//!
//! Keys of the tree (numbers big endian):
//!
//! ```text
//!  00 "watermark"                     the position up to which the changelog has been read
//!  s <number u64>                     a segment, JSON: topic, bucket, newest, written, count
//!  f <number u64>                     its filter
//!  b <number u64> <first id in it>    a block of it, packed as in the changelog
//! ```
//!
//! Blocks without an `s` for their segment are left over from an interrupted merge or expiry. They are removed after
//! the tree is opened.

mod ids;
mod merge;
mod segment;

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use heddle_core::dedup::{Buckets, MessageId};
use heddle_core::event::{Timestamp, Topic};

pub(super) use self::ids::{Ids, Wanted};
use self::merge::Merge;
use self::segment::{Builder, Segment};
use super::layers::Frozen;
use super::tree::{self, StoredWatermark, WATERMARK};
use super::{Bounds, Changes, StateError, StateStore};
use crate::lock::lock;

/// The number of blocks that are removed at once.
const REMOVED_AT_ONCE: usize = 256;

/// Statistics of the message ids on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeenStatus {
    /// Ids on disk; an id in several segments counts several times.
    pub ids: u64,
    /// Segments that hold the ids.
    pub segments: usize,
    /// The size of the segments' blocks, before the engine compresses them.
    pub block_bytes: u64,
    /// The size of their filters in memory.
    pub filter_bytes: usize,
}

/// The message ids of one task on disk. Only one thread at a time may write and maintain; any thread may look up.
pub(super) struct SeenTree {
    tree: Arc<dyn StateStore>,
    topics: BTreeMap<Topic, Buckets>,
    /// The longest time by which a parked record may be processed later than the stream.
    lateness: Duration,
    bounds: Bounds,
    held: Mutex<Held>,
    /// The merge under way.
    merge: Mutex<Option<Merge>>,
}

/// The segments of a topic, newest first. Lookups under way share them.
type Segments = Arc<Vec<Arc<Segment>>>;

#[derive(Default)]
struct Held {
    segments: BTreeMap<Topic, Segments>,
    /// The newest id of the last write, by topic: the stream's current time. It is not the newest id ever, so that ids
    /// are also recorded while a topic is read again from its beginning.
    newest: BTreeMap<Topic, Timestamp>,
    /// Removed segments whose blocks still exist.
    gone: Vec<Gone>,
    next: u64,
}

struct Gone {
    number: u64,
    /// Kept to detect lookups that still read it. `None` if it was already removed when the tree was opened.
    segment: Option<Arc<Segment>>,
}

impl SeenTree {
    /// Reads the existing segments, with their filters.
    pub(super) fn open(
        tree: Arc<dyn StateStore>,
        windows: &BTreeMap<Topic, Duration>,
        lateness: Duration,
        bounds: Bounds,
    ) -> Result<Self, StateError> {
        let topics = windows.iter().map(|(topic, window)| (topic.clone(), Buckets::new(*window))).collect();
        let (all, mut gone) = (segment::load(&*tree)?, vec![]);
        let numbers = all.iter().map(|segment| segment.number).collect::<BTreeSet<_>>();
        let blocks = segment::numbers_of_blocks(&*tree)?;
        gone.extend(blocks.difference(&numbers).map(|&number| Gone { number, segment: None }));
        let next = numbers.last().max(blocks.last()).map_or(0, |last| last + 1);
        let mut segments = BTreeMap::<Topic, Vec<_>>::new();
        for segment in all {
            segments.entry(segment.topic.clone()).or_default().push(Arc::new(segment));
        }
        let segments = segments.into_iter().map(|(topic, segments)| (topic, newest_first(segments))).collect();
        let held = Mutex::new(Held { segments, newest: BTreeMap::new(), gone, next });
        Ok(Self { tree, topics, lateness, bounds, held, merge: Mutex::new(None) })
    }

    /// Prepares a lookup. Returns `None` if the topic has no dedup.
    pub(super) fn wanted<'a>(&self, topic: &'a Topic, id: &'a MessageId, at: Timestamp) -> Option<Wanted<'a>> {
        self.topics.get(topic).map(|buckets| Wanted::new(topic, id, at, *buckets))
    }

    /// Returns true if one of the segments holds the id, recorded within the window.
    pub(super) fn seen(&self, wanted: &Wanted<'_>) -> Result<bool, StateError> {
        let Some(segments) = lock(&self.held).segments.get(wanted.topic).cloned() else { return Ok(false) };
        for segment in segments.iter().filter(|segment| wanted.remembers(segment.newest)) {
            if segment.may_hold(wanted.hash)
                && let Some(noted) = segment.find(&*self.tree, &wanted.id)?
                && wanted.remembers(noted)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes ids as new segments, together with the watermark. Returns how many bytes it wrote.
    pub(super) fn write(&self, frozen: &Frozen<Ids>) -> Result<usize, StateError> {
        let now = self.now();
        let watermark = StoredWatermark::of(&frozen.watermark, now).encode();
        let mut changes: Changes = vec![(Bytes::from_static(WATERMARK), Some(watermark))];
        let mut next = lock(&self.held).next;
        let (mut new, mut newest) = (vec![], vec![]);
        for (topic, ids) in frozen.content.topics() {
            let Some(buckets) = self.topics.get(topic) else { continue };
            let Some(stream) = ids.values().max() else { continue };
            newest.push((topic.clone(), *stream));
            let mut by_bucket = BTreeMap::new();
            for (id, at) in ids {
                let at = buckets.bounded(*at, now);
                // Ids that are already late share one segment, whatever their buckets are.
                let bucket = (!self.is_past(*buckets, at, (*stream).min(now))).then(|| buckets.bucket(at));
                by_bucket.entry(bucket).or_insert_with(Vec::new).push((id, at));
            }
            for mut ids in by_bucket.into_values() {
                ids.sort_unstable();
                let mut builder = Builder::new(next, topic.clone(), *buckets, now);
                ids.into_iter().for_each(|(id, at)| builder.push(id.clone(), at));
                let segment = builder.finish();
                changes.extend(builder.take_blocks());
                changes.extend(segment.entries());
                new.push(Arc::new(segment));
                next += 1;
            }
        }
        changes.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let bytes = changes.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Bytes::len)).sum();
        // Before the write, so that a number is never used twice, even if this write fails.
        lock(&self.held).next = next;
        self.tree.apply(changes)?;
        let mut held = lock(&self.held);
        held.newest.extend(newest);
        held.replace(&[], &new);
        Ok(bytes)
    }

    /// Does one piece of work. Returns true if it did any. `oldest_parked` returns the time at which the oldest parked
    /// record was produced.
    pub(super) fn maintain(&self, oldest_parked: &dyn Fn() -> Option<Timestamp>) -> Result<bool, StateError> {
        Ok(self.remove_blocks()? || self.merge_on()? || self.expire(oldest_parked)? || self.begin_merge())
    }

    /// Deletes some blocks of a removed segment that no lookup reads any more.
    fn remove_blocks(&self) -> Result<bool, StateError> {
        // No new lookup can get a removed segment, so a segment that no one else holds stays unread.
        let unread = |gone: &Gone| gone.segment.as_ref().is_none_or(|segment| Arc::strong_count(segment) == 1);
        let Some(number) = lock(&self.held).gone.iter().find(|gone| unread(gone)).map(|gone| gone.number) else {
            return Ok(false);
        };
        let blocks = segment::block_keys(&*self.tree, number, REMOVED_AT_ONCE)?;
        let last = blocks.len() < REMOVED_AT_ONCE;
        self.tree.apply(blocks.into_iter().map(|key| (key, None)).collect())?;
        if last {
            lock(&self.held).gone.retain(|gone| gone.number != number);
        }
        Ok(true)
    }

    fn now(&self) -> Timestamp {
        (self.bounds.now)()
    }

    /// Drops all segments whose ids are past their window and were not processed lately. Also drops those of topics
    /// without dedup.
    fn expire(&self, oldest_parked: &dyn Fn() -> Option<Timestamp>) -> Result<bool, StateError> {
        // A record from the future must not make everything else look old.
        let now = self.now();
        let mut expired = self.not_lingering(self.past(now), now);
        if !expired.is_empty()
            && let Some(oldest) = oldest_parked()
        {
            // A parked record comes later, and a record behind it may be the same message again.
            expired = self.not_lingering(self.past(now.min(oldest)), now);
        }
        if !expired.is_empty() {
            self.swap(&expired, None)?;
        }
        Ok(!expired.is_empty())
    }

    /// The segments in `past` that may be dropped: they were not written lately, or newer ones hold as many ids as may
    /// stay.
    fn not_lingering(&self, mut past: Vec<Arc<Segment>>, now: Timestamp) -> Vec<Arc<Segment>> {
        past.sort_unstable_by_key(|segment| std::cmp::Reverse((segment.written, segment.number)));
        let mut late = BTreeMap::<Topic, u64>::new();
        past.retain(|segment| {
            let lately = self.topics.get(&segment.topic).is_some_and(|buckets| buckets.lingers(segment.written, now));
            let newer = late.entry(segment.topic.clone()).or_default();
            let room = *newer < self.bounds.late_ids_max;
            *newer += segment.count;
            !lately || !room
        });
        past
    }

    /// Returns true if no record looks up an id recorded at `noted` any more, given the stream's time `stream`.
    fn is_past(&self, buckets: Buckets, noted: Timestamp, stream: Timestamp) -> bool {
        let lateness = i64::try_from(self.lateness.as_millis()).unwrap_or(i64::MAX);
        !buckets.remembers(noted, Timestamp(stream.0.saturating_sub(lateness)))
    }

    /// The segments that are past their window, if the stream's time is `latest` at most.
    fn past(&self, latest: Timestamp) -> Vec<Arc<Segment>> {
        let held = lock(&self.held);
        let past = |segment: &&Arc<Segment>| match (self.topics.get(&segment.topic), held.newest.get(&segment.topic)) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(buckets), Some(newest)) => self.is_past(*buckets, segment.newest, (*newest).min(latest)),
        };
        held.segments.values().flat_map(|segments| segments.iter()).filter(past).cloned().collect()
    }

    /// Begins a merge if there are too many segments. Returns true if it did.
    fn begin_merge(&self) -> bool {
        let now = self.now();
        let past = self.past(now).iter().map(|segment| segment.number).collect();
        let mut held = lock(&self.held);
        let Some((buckets, inputs)) = merge::plan(&self.topics, &held.segments, &past, now) else { return false };
        let number = held.next;
        held.next += 1;
        *lock(&self.merge) = Some(Merge::new(number, buckets, inputs));
        true
    }

    /// Continues the merge under way. Returns true if there was one.
    fn merge_on(&self) -> Result<bool, StateError> {
        let mut merge = lock(&self.merge);
        let Some(running) = merge.as_mut() else { return Ok(false) };
        let merged = running.advance(&*self.tree);
        if matches!(merged, Ok(None)) {
            return Ok(true);
        }
        let Some(Merge { inputs, number, .. }) = mem::take(&mut *merge) else { return Ok(false) };
        let merged = merged.inspect_err(|_| lock(&self.held).gone.push(Gone { number, segment: None }))?;
        // It is not known if a failed swap took place. Leftovers are removed when the tree is opened again.
        self.swap(&inputs, merged.map(Arc::new).as_ref())?;
        Ok(true)
    }

    /// Replaces segments with one other segment, or none: atomically on disk, then in memory.
    fn swap(&self, old: &[Arc<Segment>], new: Option<&Arc<Segment>>) -> Result<(), StateError> {
        let removed = old.iter().flat_map(|segment| segment.keys()).map(|key| (key, None));
        let added = new.into_iter().flat_map(|segment| segment.entries());
        let mut changes = removed.chain(added).collect::<Changes>();
        changes.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        self.tree.apply(changes)?;
        lock(&self.held).replace(old, new.map_or(&[], std::slice::from_ref));
        Ok(())
    }

    /// Discards everything.
    pub(super) fn wipe(&self) -> Result<(), StateError> {
        *lock(&self.merge) = None;
        {
            // Numbers continue, so that a lookup under way does not find another segment's blocks.
            let mut held = lock(&self.held);
            *held = Held { next: held.next, ..Held::default() };
        }
        tree::wipe(&*self.tree)
    }

    /// Statistics of the ids on disk.
    pub(super) fn status(&self) -> SeenStatus {
        let held = lock(&self.held);
        let segments = held.segments.values().flat_map(|segments| segments.iter());
        segments.fold(SeenStatus::default(), |sum, segment| SeenStatus {
            ids: sum.ids + segment.count,
            segments: sum.segments + 1,
            block_bytes: sum.block_bytes + segment.bytes,
            filter_bytes: sum.filter_bytes + segment.filter_bytes(),
        })
    }
}

impl Held {
    fn replace(&mut self, old: &[Arc<Segment>], new: &[Arc<Segment>]) {
        let topics = old.iter().chain(new).map(|segment| segment.topic.clone()).collect::<BTreeSet<_>>();
        for topic in topics {
            let segments = self.segments.remove(&topic).unwrap_or_default();
            let stay = segments.iter().filter(|segment| !old.iter().any(|gone| gone.number == segment.number)).cloned();
            let all = stay.chain(new.iter().filter(|segment| segment.topic == topic).cloned()).collect::<Vec<_>>();
            if !all.is_empty() {
                self.segments.insert(topic, newest_first(all));
            }
        }
        let gone = old.iter().map(|segment| Gone { number: segment.number, segment: Some(segment.clone()) });
        self.gone.extend(gone);
    }
}

fn newest_first(mut segments: Vec<Arc<Segment>>) -> Segments {
    segments.sort_by_key(|segment| std::cmp::Reverse(segment.newest));
    Arc::new(segments)
}
