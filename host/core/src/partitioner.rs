//! The partition of a key, if the writer does not set one.
//!
//! It is the default of the Java clients for keyed records (Kafka's `Utils.murmur2`, seed `0x9747b28c`). So records of
//! Heddle and of Java services with the same key go to the same partition.

use crate::event::Partition;

/// The partition of `key` in a topic with `partitions` partitions.
///
/// A topic always has at least one partition; a lower number counts as one.
#[must_use]
pub fn partition_of(key: &[u8], partitions: i32) -> Partition {
    let positive = (murmur2(key) & 0x7fff_ffff).cast_signed();
    Partition(positive % partitions.max(1))
}

/// 32-bit MurmurHash2 with the seed that Kafka uses.
fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;

    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut hash = SEED ^ length;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (place, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * place);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn agrees_with_kafka() {
        let cases: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (key, hash) in cases {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }

    #[test]
    fn stays_within_the_topic() {
        for key in 0..1_000u32 {
            let partition = partition_of(&key.to_le_bytes(), 7);
            assert!((0..7).contains(&partition.0));
        }
    }
}
