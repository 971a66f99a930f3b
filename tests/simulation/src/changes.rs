//! Planned changes of a life's surroundings: topics, other producers, disks. They are drawn from the seed and are not
//! faults.
//!
//! ```text
//!  produced:  0 ──── 12 ─────────── 30 ────────── 41 ──── 60
//!                    └ inputs grow   └ one is      └ a disk is full, for a while or permanently
//!                      └ accepted      recreated
//! ```

use std::time::Duration;

use bytes::Bytes;
use heddle_core::event::Topic;

use crate::chance::{Chance, Stream};
use crate::plan::{Input, RECORD_BYTES_MAX};

/// Changes during a life. Each one is due when a number of records was produced.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// All inputs get additional partitions.
    pub grows: Option<Grows>,
    /// An input is deleted and created again.
    pub anew: Option<Anew>,
    /// The oldest records of an input's partition are deleted.
    pub trims: Vec<usize>,
    /// A disk is full.
    pub full: Option<Full>,
}

/// Additional partitions of the inputs.
#[derive(Clone, Copy, Debug)]
pub struct Grows {
    /// The number of produced records at which the first input grows.
    pub at: usize,
    /// The number of additional partitions.
    pub by: i32,
    /// The time between one input's growth and the next one's.
    pub apart: Duration,
    /// The time until an operator accepts the new partition count for the state.
    pub accepted_after: Duration,
}

/// An input that is deleted and created again.
#[derive(Clone, Debug)]
pub struct Anew {
    /// The number of produced records at which it is deleted.
    pub at: usize,
    /// The topic.
    pub topic: Topic,
    /// The time without the topic.
    pub gap: Duration,
}

/// A disk that is full.
#[derive(Clone, Copy, Debug)]
pub struct Full {
    /// The number of produced records at which the disk is full.
    pub at: usize,
    /// The host of the disk.
    pub host: usize,
    /// The time for which the disk stays full. `None` means until an operator replaces it.
    pub lasts: Option<Duration>,
}

/// Another program's transaction.
#[derive(Clone, Copy, Debug)]
pub struct Foreign {
    /// The time for which the transaction is open.
    pub open: Duration,
    /// True if the transaction commits, false if it aborts.
    pub commits: bool,
}

impl Changes {
    /// Draws the changes of a life with these inputs, `hosts` hosts and `records` records.
    pub(crate) fn new(chance: &mut Chance, inputs: &[Topic], topic_ids: bool, hosts: usize, records: usize) -> Self {
        let at = |chance: &mut Chance| usize::try_from(chance.below(records as u64)).unwrap_or(0);
        // Half of the lives grow late, so that no other change makes the group rebalance.
        let late = chance.one_in(2);
        let grows = chance.one_in(3).then(|| Grows {
            at: if late { records.saturating_sub(1) } else { at(chance) },
            by: i32::try_from(chance.between(1, 2)).unwrap_or(1),
            apart: chance.millis(0, if late { 100 } else { 4_000 }),
            // When late, the acceptance comes before a host has noticed the growth, so its members stay.
            accepted_after: chance.millis(0, if late { 300 } else { 6_000 }),
        });
        // A log without topic ids cannot detect the new topic.
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

/// Puts some of the records into other programs' transactions, and makes some larger than a dead letter may be.
pub(crate) fn dress(seed: u64, retries: bool, mut records: Vec<Input>) -> Vec<Input> {
    let mut chance = Chance::new(seed, Stream::Dress);
    let has_foreign = chance.one_in(3);
    for record in &mut records {
        if has_foreign && !record.aborted && chance.one_in(6) {
            record.foreign = Some(Foreign { open: chance.millis(50, 8_000), commits: !chance.one_in(3) });
        }
        let rejected = |value: &Bytes| value.ends_with(b"reject");
        // With retries, the large record would have to fit into a retry topic.
        if !retries && record.value.as_ref().is_some_and(rejected) && chance.one_in(2) {
            let text = record.value.as_deref().unwrap_or_default();
            record.value = Some([text, &vec![b' '; RECORD_BYTES_MAX]].concat().into());
        }
    }
    records
}
