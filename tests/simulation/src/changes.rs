//! How the surroundings change in a life, beside what goes wrong: topics, other producers, disks. Drawn from the seed.
//!
//! ```text
//!  produced:  0 ──── 12 ─────────── 30 ────────── 41 ──── 60
//!                    └ inputs grow   └ one is      └ a disk is full, for a while or for ever
//!                      └ accepted      made anew
//! ```

use std::time::Duration;

use bytes::Bytes;
use heddle_core::event::Topic;

use crate::chance::{Chance, Stream};
use crate::plan::{Input, RECORD_BYTES_MAX};

/// What changes in a life, each when so many records were produced.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// All inputs get partitions.
    pub grows: Option<Grows>,
    /// An input is deleted and made anew.
    pub anew: Option<Anew>,
    /// The oldest records of an input's partition are deleted.
    pub trims: Vec<usize>,
    /// A disk is full.
    pub full: Option<Full>,
}

/// Inputs that get partitions.
#[derive(Clone, Copy, Debug)]
pub struct Grows {
    /// When the first one does.
    pub at: usize,
    /// How many.
    pub by: i32,
    /// How much later the next one does.
    pub apart: Duration,
    /// How much later a person accepts what that means for the state.
    pub accepted_after: Duration,
}

/// An input that is deleted and made anew.
#[derive(Clone, Debug)]
pub struct Anew {
    /// When.
    pub at: usize,
    /// Which one.
    pub topic: Topic,
    /// How long there is none.
    pub gap: Duration,
}

/// A disk that is full.
#[derive(Clone, Copy, Debug)]
pub struct Full {
    /// From when on.
    pub at: usize,
    /// Whose.
    pub host: usize,
    /// For how long; `None`: for ever, so that somebody has to put in another one.
    pub lasts: Option<Duration>,
}

/// Another program's transaction.
#[derive(Clone, Copy, Debug)]
pub struct Foreign {
    /// How long it is open.
    pub open: Duration,
    /// How it ends.
    pub commits: bool,
}

impl Changes {
    /// Those of a seed, for a life with these inputs, so many hosts and so many records.
    pub(crate) fn new(chance: &mut Chance, inputs: &[Topic], topic_ids: bool, hosts: usize, records: usize) -> Self {
        let at = |chance: &mut Chance| usize::try_from(chance.below(records as u64)).unwrap_or(0);
        // In half of the lives late, so that no other change makes the group share out anew.
        let late = chance.one_in(2);
        let grows = chance.one_in(3).then(|| Grows {
            at: if late { records.saturating_sub(1) } else { at(chance) },
            by: i32::try_from(chance.between(1, 2)).unwrap_or(1),
            apart: chance.millis(0, if late { 100 } else { 4_000 }),
            // At once: before a host has noticed, so that its members stay.
            accepted_after: chance.millis(0, if late { 300 } else { 6_000 }),
        });
        // A log without ids of topics cannot tell.
        let anew = (chance.one_in(4) && topic_ids).then(|| Anew {
            at: at(chance),
            topic: chance.pick(inputs).unwrap_or_else(|| "a.in".into()),
            gap: chance.millis(0, 3_000),
        });
        let trims = if chance.one_in(4) { chance.between(1, 3) } else { 0 };
        let trims = (0..trims).map(|_| at(chance)).collect();
        let full = chance.one_in(4).then(|| Full {
            at: at(chance),
            host: usize::try_from(chance.below(hosts as u64)).unwrap_or(0),
            lasts: (!chance.one_in(4)).then(|| chance.millis(500, 20_000)),
        });
        Self { grows, anew, trims, full }
    }
}

/// Records of which some are part of other programs' transactions, and some larger than a dead letter may be.
pub(crate) fn dress(seed: u64, retries: bool, mut records: Vec<Input>) -> Vec<Input> {
    let mut chance = Chance::new(seed, Stream::Dress);
    let has_foreign = chance.one_in(3);
    for record in &mut records {
        if has_foreign && !record.aborted && chance.one_in(6) {
            record.foreign = Some(Foreign { open: chance.millis(50, 8_000), commits: !chance.one_in(3) });
        }
        let rejected = |value: &Bytes| value.ends_with(b"reject");
        // One that waits for another attempt would have to fit into the topic of those that wait.
        if !retries && record.value.as_ref().is_some_and(rejected) && chance.one_in(2) {
            let text = record.value.as_deref().unwrap_or_default();
            record.value = Some([text, &vec![b' '; RECORD_BYTES_MAX]].concat().into());
        }
    }
    records
}
