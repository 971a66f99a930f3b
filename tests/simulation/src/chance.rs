//! All random choices of a life, drawn from its seed.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};

/// One stream of random draws. The streams of a seed are independent, so an additional draw in one does not change the
/// others.
#[derive(Debug)]
pub(crate) struct Chance(ChaCha8Rng);

/// The purpose of a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stream {
    /// The setup of the life, and its input.
    Plan,
    /// The order in which hosts and workers act.
    Schedule,
    /// The faults.
    Faults,
    /// The durations of the log's own work.
    Broker,
    /// The records that are older than their neighbours.
    Lateness,
    /// Changes of the surroundings: topics and disks.
    Changes,
    /// The records in other programs' transactions, and the sizes of records.
    Dress,
    /// The reference data, and its changes.
    Tables,
    /// The records that look something up.
    Lookups,
}

impl Chance {
    /// Creates a stream of `seed`.
    pub(crate) fn new(seed: u64, stream: Stream) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(stream as u64);
        Self(generator)
    }

    /// A number below `bound`, which is at least 1. Smaller numbers are slightly more likely, which does not matter for
    /// such small bounds.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound.max(1)
    }

    /// A number in `least..=most`.
    pub(crate) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    /// True once in `n` draws, on average; never if `n` is 0.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        n > 0 && self.below(n) == 0
    }

    /// One of the elements, or `None` if there are none.
    pub(crate) fn pick<T: Clone>(&mut self, among: &[T]) -> Option<T> {
        let index = self.below(among.len() as u64);
        usize::try_from(index).ok().and_then(|index| among.get(index)).cloned()
    }

    /// A duration of `least..=most` milliseconds.
    pub(crate) fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.between(least, most))
    }
}
