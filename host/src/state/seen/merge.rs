//! Makes one segment of several, a piece at a time: memtables of all tasks are written by the same thread and must not wait for it.

use std::collections::{BTreeMap, VecDeque};
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

/// The first merge that is worth doing: the segments, and how their topic's ids are kept together.
pub(super) fn plan(
    topics: &BTreeMap<Topic, Buckets>,
    segments: &BTreeMap<Topic, Segments>,
) -> Option<(Buckets, Vec<Arc<Segment>>)> {
    topics.iter().find_map(|(topic, buckets)| {
        let of_topic = segments.get(topic)?.iter();
        let mut by_bucket = BTreeMap::<i64, Vec<_>>::new();
        let small = |segment: &&Arc<Segment>| segment.count <= MERGED_IDS_MAX;
        for segment in of_topic.filter(|segment| segment.width == buckets.width_millis()).filter(small) {
            by_bucket.entry(segment.bucket).or_default().push(segment);
        }
        let newest = *by_bucket.last_key_value()?.0;
        by_bucket.into_iter().find_map(|(bucket, segments)| {
            let sizes = segments.iter().map(|segment| segment.count).collect::<Vec<_>>();
            let plan = merge_plan(&sizes, bucket == newest)?;
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
    /// Of segments of one topic and bucket, into the one with this number.
    pub(super) fn new(number: u64, buckets: Buckets, inputs: Vec<Arc<Segment>>) -> Self {
        let first = inputs.first();
        let output = first.map(|first| Builder::new(number, first.topic.clone(), buckets, first.bucket));
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
