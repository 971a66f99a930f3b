//! Makes one segment of several, a piece at a time: memtables of all tasks are written by the same thread and must not
//! wait for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use heddle_core::dedup::{Buckets, MessageId, merge_plan};
use heddle_core::event::{Timestamp, Topic};

use super::Segments;
use super::segment::{Builder, Segment, blocks, ids_in};
use crate::state::{StateError, StateStore};

/// Segments with more ids are not merged any more: making a filter takes memory.
const MERGED_IDS_MAX: u64 = 4 << 20;
/// How many blocks are written in one piece.
const BLOCKS_AT_ONCE: usize = 256;
/// How many blocks of a segment are read at once.
const BLOCKS_AHEAD: usize = 16;

/// Which segments may become one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Together {
    /// Past their window, and kept only because a record waits for another attempt that may be as old.
    Overdue,
    /// Past their window and written in the same stretch of time: they go when that is long ago, whatever their ids'
    /// timestamps. A backfill brings ids of very many buckets, which must not become as many segments.
    Late(i64),
    /// Of one bucket.
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

/// The first merge that is worth doing: the segments, and how their topic's ids are kept together. `past`: the numbers
/// of those that are past their window.
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
    /// Of segments of one topic, into the one with this number.
    pub(super) fn new(number: u64, buckets: Buckets, inputs: Vec<Arc<Segment>>) -> Self {
        let latest = inputs.iter().max_by_key(|input| input.written);
        let output = latest.map(|latest| Builder::new(number, latest.topic.clone(), buckets, latest.written));
        let cursors = inputs.iter().map(|input| Cursor::new(input.number)).collect();
        Self { number, inputs, cursors, output }
    }

    /// Writes the next blocks. The segment once all are written; the caller makes it take its inputs' place.
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

/// The smallest id of all, with its latest timestamp.
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

/// Where a merge is in one of its inputs.
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

    /// Reads on if there is nothing left.
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
