//! Merges several segments into one, a piece at a time. The same thread writes the memtables of all tasks, which must
//! not wait for a whole merge.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use heddle_core::dedup::{Buckets, MessageId, merge_plan};
use heddle_core::event::{Timestamp, Topic};

use super::Segments;
use super::segment::{Builder, Segment, blocks, ids_in};
use crate::state::{StateError, StateStore};

/// Segments with more ids are not merged, because building a filter takes memory.
const MERGED_IDS_MAX: u64 = 4 << 20;
/// The number of blocks that are written in one piece.
const BLOCKS_AT_ONCE: usize = 256;
/// The number of blocks of a segment that are read at once.
const BLOCKS_AHEAD: usize = 16;

/// The group of segments that may be merged with each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Together {
    /// Segments past their window that are kept only because a parked record may be as old.
    Overdue,
    /// Segments past their window that were written in the same time bucket. They expire by that time, whatever their
    /// ids' timestamps are. A backfill brings ids of very many buckets, which must not become as many segments.
    Late(i64),
    /// Segments in one bucket of record time.
    Bucket(i64),
}

impl Together {
    fn of(segment: &Segment, buckets: Buckets, past: &BTreeSet<u64>, now: Timestamp) -> Option<Self> {
        if !past.contains(&segment.number) {
            return (segment.width == buckets.width_millis()).then_some(Self::Bucket(segment.bucket));
        }
        let late = buckets.lingers(segment.written, now);
        Some(if late { Self::Late(buckets.late_bucket(segment.written)) } else { Self::Overdue })
    }
}

/// The first useful merge: its segments, and the buckets of their topic. `past` has the numbers of the segments that
/// are past their window.
pub(super) fn plan(
    topics: &BTreeMap<Topic, Buckets>,
    segments: &BTreeMap<Topic, Segments>,
    past: &BTreeSet<u64>,
    now: Timestamp,
) -> Option<(Buckets, Vec<Arc<Segment>>)> {
    topics.iter().find_map(|(topic, buckets)| {
        let mut groups = BTreeMap::<Together, Vec<_>>::new();
        for segment in segments.get(topic)?.iter().filter(|segment| segment.count <= MERGED_IDS_MAX) {
            if let Some(together) = Together::of(segment, *buckets, past, now) {
                groups.entry(together).or_default().push(segment);
            }
        }
        let newest = *groups.last_key_value()?.0;
        let latest = Together::Late(buckets.late_bucket(now));
        groups.into_iter().find_map(|(together, segments)| {
            let sizes = segments.iter().map(|segment| segment.count).collect::<Vec<_>>();
            let plan = merge_plan(&sizes, together == newest || together == latest)?;
            Some((*buckets, plan.into_iter().map(|index| segments[index].clone()).collect()))
        })
    })
}

/// A merge under way.
pub(super) struct Merge {
    pub(super) number: u64,
    pub(super) inputs: Vec<Arc<Segment>>,
    cursors: Vec<Cursor>,
    output: Option<Builder>,
}

impl Merge {
    /// Creates a merge of segments of one topic into the segment `number`.
    pub(super) fn new(number: u64, buckets: Buckets, inputs: Vec<Arc<Segment>>) -> Self {
        let latest = inputs.iter().max_by_key(|input| input.written);
        let output = latest.map(|latest| Builder::new(number, latest.topic.clone(), buckets, latest.written));
        let cursors = inputs.iter().map(|input| Cursor::new(input.number)).collect();
        Self { number, inputs, cursors, output }
    }

    /// Writes the next blocks. Returns the segment once all blocks are written; the caller replaces the inputs by it.
    pub(super) fn advance(&mut self, tree: &dyn StateStore) -> Result<Option<Segment>, StateError> {
        let Some(output) = &mut self.output else { return Ok(None) };
        let mut segment = None;
        while segment.is_none() && output.blocks_waiting() < BLOCKS_AT_ONCE {
            match next(&mut self.cursors, tree)? {
                Some((id, at)) => output.push(id, at),
                None => segment = Some(output.finish()),
            }
        }
        tree.apply(output.take_blocks())?;
        Ok(segment)
    }
}

/// The smallest id of all inputs, with its latest timestamp.
fn next(cursors: &mut [Cursor], tree: &dyn StateStore) -> Result<Option<(MessageId, Timestamp)>, StateError> {
    for cursor in &mut *cursors {
        cursor.fill(tree)?;
    }
    let heads = cursors.iter().filter_map(|cursor| cursor.ids.front());
    let Some(least) = heads.map(|(id, _)| id).min().cloned() else { return Ok(None) };
    let same = cursors.iter_mut().filter_map(|cursor| cursor.ids.pop_front_if(|(id, _)| *id == least));
    let newest = same.map(|(_, at)| at).max();
    Ok(newest.map(|at| (least, at)))
}

/// The position of a merge in one of its inputs.
struct Cursor {
    number: u64,
    ids: VecDeque<(MessageId, Timestamp)>,
    after: Option<Bytes>,
    done: bool,
}

impl Cursor {
    fn new(number: u64) -> Self {
        Self { number, ids: VecDeque::new(), after: None, done: false }
    }

    /// Reads the next ids if none are left.
    fn fill(&mut self, tree: &dyn StateStore) -> Result<(), StateError> {
        while self.ids.is_empty() && !self.done {
            let read = blocks(tree, self.number, self.after.as_ref(), BLOCKS_AHEAD)?;
            self.done = read.len() < BLOCKS_AHEAD;
            self.after = read.last().map(|(key, _)| key.clone()).or(self.after.take());
            for (_, block) in read {
                self.ids.extend(ids_in(self.number, block)?);
            }
        }
        Ok(())
    }
}
