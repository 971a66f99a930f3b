//! Bounds of a topic: the reasons for which the log would refuse a record, as far as they can be checked before it is
//! sent. Both logs use them.

use std::time::Duration;

use thiserror::Error;

use crate::event::{NewRecordRef, Partition, Timestamp};

/// The bytes of a batch of records (message format 2) before its first record.
const BATCH_HEADER_BYTES: usize = 61;
/// The maximum overhead of a record in a batch beside its key, value and headers, in bytes, as librdkafka counts it.
const RECORD_OVERHEAD_BYTES_MAX: usize = 36;

/// The maximum excess, in bytes, of a batch with one record over librdkafka's count for the record. It is the batch's
/// header, and five varints of at most ten bytes and three single bytes in place of librdkafka's overhead.
const BATCH_BYTES_BEYOND_CLIENT_MAX: usize = BATCH_HEADER_BYTES + 53 - RECORD_OVERHEAD_BYTES_MAX;

/// The bounds of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The number of partitions.
    pub partitions: i32,
    /// The largest batch of records, in bytes (`max.message.bytes`). `None` if the size of a record is not known
    /// beforehand, because the client compresses it.
    pub batch_bytes_max: Option<usize>,
    /// The largest record that the client sends, in bytes (`message.max.bytes`).
    pub client_bytes_max: Option<usize>,
    /// True if each record needs a key, because the topic is compacted.
    pub keyed: bool,
    /// The maximum time by which a record's timestamp may precede the log's clock.
    pub before_max: Option<Duration>,
    /// The maximum time by which a record's timestamp may exceed the log's clock.
    pub after_max: Option<Duration>,
}

/// The reason why a topic refuses a record. Its text follows the topic's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Misfit {
    /// There is no such partition.
    #[error("has {partitions} partitions, there is no partition {partition}")]
    Partition {
        /// The record's partition.
        partition: Partition,
        /// The number of partitions.
        partitions: i32,
    },
    /// The record is larger than the topic's bound.
    #[error("takes at most {max} bytes (max.message.bytes), the record has {bytes}")]
    TopicBytes {
        /// The record's size.
        bytes: usize,
        /// The topic's limit.
        max: usize,
    },
    /// The record is larger than the client's bound.
    #[error("is sent at most {max} bytes by this host (message.max.bytes), the record has {bytes}")]
    ClientBytes {
        /// The record's size.
        bytes: usize,
        /// The client's limit.
        max: usize,
    },
    /// The topic is compacted, and the record has no key.
    #[error("is compacted and takes no record without a key")]
    NoKey,
    /// The record's timestamp is too far from the log's clock.
    #[error("takes no timestamp {} ms {side} the log's clock ({option} = {})", distance.as_millis(), max.as_millis())]
    Timestamp {
        /// The distance.
        distance: Duration,
        /// The direction.
        side: &'static str,
        /// The option with the bound.
        option: &'static str,
        /// The bound.
        max: Duration,
    },
}

impl Limits {
    /// Creates the bounds of a topic of which only the number of partitions is known.
    #[must_use]
    pub const fn unknown(partitions: i32) -> Self {
        Self {
            partitions,
            batch_bytes_max: None,
            client_bytes_max: None,
            keyed: false,
            before_max: None,
            after_max: None,
        }
    }

    /// The maximum size of a record in bytes, by the smallest bound.
    #[must_use]
    pub fn record_bytes_max(&self) -> Option<usize> {
        [self.batch_bytes_max, self.client_bytes_max].into_iter().flatten().min()
    }

    /// Checks that the topic accepts `record` at `now`.
    ///
    /// # Errors
    /// The reason for a refusal. The timestamp is checked last, because the caller can replace it.
    pub fn check(&self, record: NewRecordRef<'_>, now: Timestamp) -> Result<(), Misfit> {
        let partitions = self.partitions;
        if let Some(partition) = record.partition.filter(|partition| !(0..partitions).contains(&partition.0)) {
            return Err(Misfit::Partition { partition, partitions });
        }
        if self.keyed && record.key.is_none() {
            return Err(Misfit::NoKey);
        }
        self.check_bytes(record)?;
        // A log accepts no times before 1970, and replaces them with its clock's.
        let ahead = record.timestamp.filter(|at| at.0 >= 0).map_or(0, |at| at.0.saturating_sub(now.0));
        let (bound, side, option) = if ahead < 0 {
            (self.before_max, "behind", "message.timestamp.before.max.ms")
        } else {
            (self.after_max, "ahead of", "message.timestamp.after.max.ms")
        };
        let distance = Duration::from_millis(ahead.unsigned_abs());
        match bound {
            Some(max) if distance > max => Err(Misfit::Timestamp { distance, side, option, max }),
            _ => Ok(()),
        }
    }
}

impl Limits {
    fn check_bytes(&self, record: NewRecordRef<'_>) -> Result<(), Misfit> {
        let client = client_bytes(record);
        // Nearly all records are far smaller than the bound, and need no exact count.
        if let Some(max) = self.batch_bytes_max.filter(|max| client + BATCH_BYTES_BEYOND_CLIENT_MAX > *max) {
            let bytes = batch_bytes(record);
            if bytes > max {
                return Err(Misfit::TopicBytes { bytes, max });
            }
        }
        match self.client_bytes_max {
            Some(max) if client > max => Err(Misfit::ClientBytes { bytes: client, max }),
            _ => Ok(()),
        }
    }
}

/// The bytes of an uncompressed batch with `record` alone. A broker compares this with `max.message.bytes`.
#[must_use]
pub fn batch_bytes(record: NewRecordRef<'_>) -> usize {
    let field = |bytes: Option<&[u8]>| bytes.map_or(1, |bytes| varint_bytes(bytes.len()) + bytes.len());
    // Attributes, timestamp delta and offset delta take one byte each, because the deltas of a first record are zero.
    let body = 3 + field(record.key) + field(record.value) + varint_bytes(record.headers.len()) + headers_bytes(record);
    BATCH_HEADER_BYTES + varint_bytes(body) + body
}

/// The bytes that librdkafka compares with `message.max.bytes`.
fn client_bytes(record: NewRecordRef<'_>) -> usize {
    let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    RECORD_OVERHEAD_BYTES_MAX + length(record.key) + length(record.value) + headers_bytes(record)
}

fn headers_bytes(record: NewRecordRef<'_>) -> usize {
    let field = |bytes: Option<&[u8]>| bytes.map_or(1, |bytes| varint_bytes(bytes.len()) + bytes.len());
    let headers = record.headers.iter();
    headers.map(|header| varint_bytes(header.name.len()) + header.name.len() + field(header.value.as_deref())).sum()
}

/// The bytes of `number` as a zigzag varint.
fn varint_bytes(number: usize) -> usize {
    let bits = (usize::BITS - number.leading_zeros() + 1).max(1);
    bits.div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::event::{Header, NewRecord};

    const NOW: Timestamp = Timestamp(1_767_225_600_000);

    fn record(value: usize) -> NewRecord {
        NewRecord {
            topic: "t".into(),
            partition: None,
            timestamp: None,
            key: Some(Bytes::from_static(b"k")),
            value: Some(vec![0; value].into()),
            headers: vec![Header::new("h", &b"v"[..]), Header { name: "n".into(), value: None }],
        }
    }

    #[test]
    fn varints_are_zigzag() {
        let lengths = [0, 63, 64, 8_191, 8_192, 1_048_575, 1_048_576].map(varint_bytes);
        assert_eq!(lengths, [1, 1, 2, 2, 3, 3, 4]);
    }

    #[test]
    fn a_record_that_needs_no_exact_count_fits() {
        for bytes in [0, 1, 63, 64, 200, 8_000, 8_200, 1_100_000] {
            let record = record(bytes);
            let exact = batch_bytes(record.borrowed());
            assert!(exact <= client_bytes(record.borrowed()) + BATCH_BYTES_BEYOND_CLIENT_MAX, "{bytes}");
            for (max, fits) in [(exact, true), (exact - 1, false)] {
                let limits = Limits { batch_bytes_max: Some(max), ..Limits::unknown(1) };
                assert_eq!(limits.check(record.borrowed(), Timestamp(0)).is_ok(), fits, "{bytes}");
            }
        }
    }

    #[test]
    fn a_batch_of_one_record_is_counted_to_the_byte() {
        // length 1 + three single bytes + key 2 + value 1 + 10 + header count 1 + "h": 2 + 2, "n": 2 + 1
        assert_eq!(batch_bytes(record(10).borrowed()), 61 + 1 + 3 + 2 + 11 + 1 + 4 + 3);
    }

    #[test]
    fn an_error_names_the_bound_that_a_record_exceeds() {
        let hour = Duration::from_secs(3_600);
        let limits = Limits {
            batch_bytes_max: Some(200),
            client_bytes_max: Some(400),
            keyed: true,
            before_max: Some(hour),
            after_max: Some(hour),
            ..Limits::unknown(2)
        };
        let told = |limits: &Limits, record: NewRecord| {
            limits.check(record.borrowed(), NOW).err().map_or("fits".to_owned(), |misfit| misfit.to_string())
        };
        let at = |ms: i64| NewRecord { timestamp: Some(Timestamp(NOW.0 + ms)), ..record(1) };
        assert_eq!(told(&limits, at(3_600_000)), "fits");
        assert_eq!(told(&limits, at(-3_600_000)), "fits");
        assert_eq!(told(&limits, NewRecord { timestamp: Some(Timestamp(-1)), ..record(1) }), "fits");
        assert!(told(&limits, at(3_600_001)).contains("message.timestamp.after.max.ms = 3600000"));
        assert!(told(&limits, at(-3_600_001)).contains("message.timestamp.before.max.ms = 3600000"));
        assert!(told(&limits, NewRecord { key: None, ..record(1) }).contains("without a key"));
        assert!(told(&limits, record(300)).contains("max.message.bytes"));
        assert!(told(&Limits { batch_bytes_max: None, ..limits }, record(400)).contains("message.max.bytes"));
        let elsewhere = NewRecord { partition: Some(Partition(2)), ..record(1) };
        assert!(told(&limits, elsewhere).contains("there is no partition 2"));
    }
}
