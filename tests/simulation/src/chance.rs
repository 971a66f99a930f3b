//! Everything that a life leaves to chance comes from here, and all of it from the seed.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};

/// One stream of draws. Streams of a seed are independent, so that one more draw in one of them does not change the
/// others.
#[derive(Debug)]
pub(crate) struct Chance(ChaCha8Rng);

/// What a stream is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stream {
    /// What the life is made of, and its input.
    Plan,
    /// Who does something next.
    Schedule,
    /// What goes wrong.
    Faults,
    /// How long the log takes for what it does by itself.
    Broker,
    /// Which records are older than what comes beside them.
    Lateness,
    /// How the surroundings change: topics and disks.
    Changes,
    /// Which records are part of other programs' transactions, and how large they are.
    Dress,
}

impl Chance {
    /// A stream of `seed`.
    pub(crate) fn new(seed: u64, stream: Stream) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(stream as u64);
        Self(generator)
    }

    /// A number below `bound`, which is at least 1. The bounds are small: that the smaller numbers are a trace more
    /// likely is no matter.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound.max(1)
    }

    /// A number of `least..=most`.
    pub(crate) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    /// True once in `n` draws, on average; never if `n` is 0.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        n > 0 && self.below(n) == 0
    }

    /// One of them; `None` if there is none.
    pub(crate) fn pick<T: Clone>(&mut self, among: &[T]) -> Option<T> {
        let index = self.below(among.len() as u64);
        usize::try_from(index).ok().and_then(|index| among.get(index)).cloned()
    }

    /// So many milliseconds, `least..=most`.
    pub(crate) fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.between(least, most))
    }
}
