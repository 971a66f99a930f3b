//! Random numbers that are the same whenever the same record is processed. Component, topic, partition and offset are
//! the seed, but not the attempt. Not for secrets.

use std::ops::Range;

#[cfg(target_family = "wasm")]
use crate::runtime::heddle::runtime::random as host;
#[cfg(not(target_family = "wasm"))]
use crate::testing as host;

/// 64 random bits.
#[must_use]
pub fn next_u64() -> u64 {
    host::next_u64()
}

/// `len` random bytes.
#[must_use]
pub fn bytes(len: u32) -> Vec<u8> {
    host::bytes(len)
}

/// A uniformly distributed number in `range`.
///
/// # Panics
/// If the range is empty.
#[must_use]
pub fn range(range: Range<u64>) -> u64 {
    within(range, next_u64)
}

fn within(range: Range<u64>, mut next: impl FnMut() -> u64) -> u64 {
    assert!(range.start < range.end, "there is no number in an empty range");
    let size = range.end - range.start;
    // Numbers above the last whole multiple would make small results more likely, so they are drawn again.
    let whole = u64::MAX - u64::MAX % size;
    loop {
        let number = next();
        if number < whole {
            return range.start + number % size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::within;

    #[test]
    fn numbers_stay_in_range_and_none_is_likelier() {
        let draw = |range, numbers: &[u64]| {
            let mut numbers = numbers.iter().copied();
            within(range, || numbers.next().unwrap())
        };
        assert_eq!(draw(5..8, &[0]), 5);
        assert_eq!(draw(5..8, &[5]), 7);
        // 2^64 - 1 is a multiple of three, so every number below it counts, but not the number itself.
        assert_eq!(draw(5..8, &[u64::MAX - 1]), 7);
        assert_eq!(draw(5..8, &[u64::MAX, 1]), 6);
        assert_eq!(draw(0..u64::MAX, &[u64::MAX, 9]), 9);
        assert_eq!(draw(7..8, &[12345]), 7);
    }
}
