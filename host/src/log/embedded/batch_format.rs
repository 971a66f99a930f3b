//! The bytes of a record batch: the records that one transaction wrote to one partition, as one value of the store.
//!
//! ```text
//!  0  u8      format version, 1
//!  1  u32 le  crc32 of everything after this field
//!  5  u32 le  number of records
//!  9  u32 le  last offset delta: the batch covers base ..= base + this, also where compaction left holes
//! 13  i64 le  base timestamp (that of the first record written)
//! 21  i64 le  largest timestamp
//! 29  records, each:
//!       varint  offset delta - the one before (the first: its delta)
//!       varint  zigzag(timestamp - base timestamp)
//!       bytes?  key
//!       bytes?  value
//!       varint  number of headers, each: varint length, name in UTF-8, bytes? value
//!
//!  varint: LEB128 of a u64.   bytes?: varint 0 for null, else varint length + 1 and the bytes
//! ```
//!
//! The base offset is the store's key, so a batch can be encoded before its offset is known. Records are decoded one by
//! one, and keys and values are slices of the batch, not copies. Bytes that are not a batch never cause a panic.

use bytes::Bytes;
use heddle_core::event::{Header, Timestamp};
use thiserror::Error;

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 29;
const CRC_FROM: usize = 5;

/// A defect in the bytes of a batch.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum FormatError {
    /// Written by a newer Heddle, or not a batch.
    #[error("format version {0} is not known")]
    Version(u8),
    /// The bytes are not the written ones.
    #[error("the checksum does not match")]
    Checksum,
    /// A length or number points outside of the batch.
    #[error("the bytes end early or make no sense")]
    Malformed,
}

/// The header of a batch, in front of its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchHeader {
    /// The number of records.
    pub(super) records: u32,
    /// The last offset of the batch, relative to its base offset.
    pub(super) last_delta: u32,
    /// The base of the records' timestamps.
    pub(super) base_timestamp: i64,
    /// The largest timestamp.
    pub(super) max_timestamp: i64,
}

/// One record of a batch; its offset is the batch's base plus `delta`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredRecord {
    pub(super) delta: u32,
    pub(super) timestamp: Timestamp,
    pub(super) key: Option<Bytes>,
    pub(super) value: Option<Bytes>,
    pub(super) headers: Vec<Header>,
}

/// Encodes records into one batch, one after the other.
#[derive(Debug, Default)]
pub(super) struct BatchBuilder {
    bytes: Vec<u8>,
    records: u32,
    last_delta: u32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl BatchBuilder {
    /// The number of records so far.
    pub(super) fn records(&self) -> u32 {
        self.records
    }

    /// The encoded size so far, in bytes.
    pub(super) fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a record. Deltas must grow from record to record.
    pub(super) fn push(
        &mut self,
        delta: u32,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) {
        if self.records == 0 {
            self.bytes.resize(HEADER_BYTES, 0);
            self.base_timestamp = timestamp.0;
            self.max_timestamp = timestamp.0;
        }
        put_varint(&mut self.bytes, u64::from(delta.wrapping_sub(self.last_delta)));
        put_varint(&mut self.bytes, zigzag(timestamp.0.wrapping_sub(self.base_timestamp)));
        put_nullable(&mut self.bytes, key);
        put_nullable(&mut self.bytes, value);
        put_varint(&mut self.bytes, headers.len() as u64);
        for header in headers {
            put_varint(&mut self.bytes, header.name.len() as u64);
            self.bytes.extend_from_slice(header.name.as_bytes());
            put_nullable(&mut self.bytes, header.value.as_deref());
        }
        self.records += 1;
        self.last_delta = delta;
        self.max_timestamp = self.max_timestamp.max(timestamp.0);
    }

    /// Returns the finished batch, which covers offsets up to base + `last_delta`.
    pub(super) fn seal(mut self, last_delta: u32) -> Vec<u8> {
        self.bytes.resize(self.bytes.len().max(HEADER_BYTES), 0);
        let (head, _) = self.bytes.split_at_mut(HEADER_BYTES);
        head[0] = VERSION;
        head[5..9].copy_from_slice(&self.records.to_le_bytes());
        head[9..13].copy_from_slice(&last_delta.to_le_bytes());
        head[13..21].copy_from_slice(&self.base_timestamp.to_le_bytes());
        head[21..29].copy_from_slice(&self.max_timestamp.to_le_bytes());
        let crc = crc32fast::hash(&self.bytes[CRC_FROM..]);
        self.bytes[1..CRC_FROM].copy_from_slice(&crc.to_le_bytes());
        self.bytes
    }
}

/// Reads the header of a batch without checking the checksum.
pub(super) fn header_of(bytes: &[u8]) -> Result<BatchHeader, FormatError> {
    let (head, _) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(FormatError::Malformed)?;
    if head[0] != VERSION {
        return Err(FormatError::Version(head[0]));
    }
    let number = |at: usize| {
        let mut field = [0; 4];
        field.copy_from_slice(&head[at..at + 4]);
        u32::from_le_bytes(field)
    };
    let time = |at: usize| {
        let mut field = [0; 8];
        field.copy_from_slice(&head[at..at + 8]);
        i64::from_le_bytes(field)
    };
    Ok(BatchHeader { records: number(5), last_delta: number(9), base_timestamp: time(13), max_timestamp: time(21) })
}

/// Reads a batch record by record.
#[derive(Debug)]
pub(super) struct BatchReader {
    bytes: Bytes,
    at: usize,
    header: BatchHeader,
    left: u32,
    delta: u32,
}

impl BatchReader {
    /// Checks the version and the checksum, and moves to the first record.
    pub(super) fn open(bytes: Bytes) -> Result<Self, FormatError> {
        let header = header_of(&bytes)?;
        if bytes[1..CRC_FROM] != crc32fast::hash(&bytes[CRC_FROM..]).to_le_bytes() {
            return Err(FormatError::Checksum);
        }
        Ok(Self { bytes, at: HEADER_BYTES, header, left: header.records, delta: 0 })
    }

    /// The header of the batch.
    pub(super) fn header(&self) -> BatchHeader {
        self.header
    }

    /// Returns the next record, or `None` at the end.
    pub(super) fn next_record(&mut self) -> Result<Option<StoredRecord>, FormatError> {
        if self.left == 0 {
            return if self.at == self.bytes.len() { Ok(None) } else { Err(FormatError::Malformed) };
        }
        let first = self.left == self.header.records;
        let step = u32::try_from(self.varint()?).map_err(|_| FormatError::Malformed)?;
        let delta = self.delta.checked_add(step).ok_or(FormatError::Malformed)?;
        if delta > self.header.last_delta || (step == 0 && !first) {
            return Err(FormatError::Malformed);
        }
        let timestamp = Timestamp(self.header.base_timestamp.wrapping_add(unzigzag(self.varint()?)));
        let key = self.nullable()?;
        let value = self.nullable()?;
        let mut headers = Vec::new();
        for _ in 0..self.varint()? {
            let length = self.varint()?;
            let name = self.take(length)?;
            let name = std::str::from_utf8(&name).map_err(|_| FormatError::Malformed)?.to_owned();
            headers.push(Header { name: name.into(), value: self.nullable()? });
        }
        self.delta = delta;
        self.left -= 1;
        Ok(Some(StoredRecord { delta, timestamp, key, value, headers }))
    }

    fn varint(&mut self) -> Result<u64, FormatError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or(FormatError::Malformed)?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(FormatError::Malformed)
    }

    fn nullable(&mut self) -> Result<Option<Bytes>, FormatError> {
        match self.varint()? {
            0 => Ok(None),
            length => self.take(length - 1).map(Some),
        }
    }

    fn take(&mut self, length: u64) -> Result<Bytes, FormatError> {
        let length = usize::try_from(length).map_err(|_| FormatError::Malformed)?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len()).ok_or(FormatError::Malformed)?;
        let taken = self.bytes.slice(self.at..end);
        self.at = end;
        Ok(taken)
    }
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn put_nullable(bytes: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        None => bytes.push(0),
        Some(value) => {
            put_varint(bytes, value.len() as u64 + 1);
            bytes.extend_from_slice(value);
        }
    }
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn records() -> impl Strategy<Value = Vec<StoredRecord>> {
        let blob = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from));
        let header = ("[a-zäß-]{0,8}", blob()).prop_map(|(name, value)| Header { name: name.into(), value });
        let record = (0..3u32, any::<i64>(), blob(), blob(), proptest::collection::vec(header, 0..4));
        proptest::collection::vec(record, 0..20).prop_map(|parts| {
            let mut next = 0;
            let mut records = Vec::new();
            for (hole, timestamp, key, value, headers) in parts {
                let delta = next + hole;
                next = delta + 1;
                records.push(StoredRecord { delta, timestamp: Timestamp(timestamp), key, value, headers });
            }
            records
        })
    }

    fn encode(records: &[StoredRecord]) -> Bytes {
        let mut batch = BatchBuilder::default();
        for record in records {
            batch.push(record.delta, record.timestamp, record.key.as_deref(), record.value.as_deref(), &record.headers);
        }
        let last = records.last().map_or(0, |record| record.delta);
        Bytes::from(batch.seal(last + 2))
    }

    fn decode(bytes: Bytes) -> Result<Vec<StoredRecord>, FormatError> {
        let mut reader = BatchReader::open(bytes)?;
        let mut records = Vec::new();
        while let Some(record) = reader.next_record()? {
            records.push(record);
        }
        Ok(records)
    }

    proptest! {
        #[test]
        fn a_batch_is_read_as_it_was_written(records in records()) {
            let bytes = encode(&records);
            let header = header_of(&bytes).unwrap();
            prop_assert_eq!(header.records as usize, records.len());
            prop_assert_eq!(header.last_delta, records.last().map_or(0, |record| record.delta) + 2);
            if let Some(max) = records.iter().map(|record| record.timestamp.0).max() {
                prop_assert_eq!(header.max_timestamp, max);
            }
            prop_assert_eq!(decode(bytes).unwrap(), records);
        }

        #[test]
        fn a_changed_byte_is_noticed(records in records(), at in any::<prop::sample::Index>(), change in 1..=255u8) {
            let mut bytes = encode(&records).to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            prop_assert!(decode(Bytes::from(bytes)).is_err());
        }

        /// The checksum is correct, so the decoder itself has to cope with the garbage.
        #[test]
        fn garbage_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if bytes.len() >= HEADER_BYTES {
                bytes[0] = VERSION;
                bytes[6..9].fill(0);
                let crc = crc32fast::hash(&bytes[CRC_FROM..]);
                bytes[1..CRC_FROM].copy_from_slice(&crc.to_le_bytes());
            }
            let _ = decode(Bytes::from(bytes));
        }
    }
}
