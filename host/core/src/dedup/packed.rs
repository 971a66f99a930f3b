//! The bytes of a segment: ids in ascending order, each with its timestamp.

use bytes::{Buf, BufMut as _, Bytes};
use thiserror::Error;

use super::{MessageId, MessageIds};
use crate::event::Timestamp;

/// The first byte of a packed segment: its format.
const FORMAT: u8 = 1;

/// The reason why bytes are not a packed segment.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("not a segment of message ids: {0}")]
pub struct NoSegment(&'static str);

/// The approximate maximum of a segment's ids in bytes. Logs accept records of a megabyte by default.
pub const SEGMENT_BYTES_MAX: usize = 256 << 10;

/// Packs ids for the changelog, into as many segments as their size requires.
#[must_use]
pub fn segments(ids: &MessageIds) -> Vec<Bytes> {
    let mut ids = ids.iter().collect::<Vec<_>>();
    ids.sort_unstable();
    let bytes = |id: &MessageId| id.0.len() + 8;
    let mut segments = vec![];
    let (mut from, mut size) = (0, 0);
    for (place, (id, _)) in ids.iter().enumerate() {
        if size + bytes(id) > SEGMENT_BYTES_MAX && place > from {
            segments.push(pack(ids[from..place].iter().copied()));
            (from, size) = (place, 0);
        }
        size += bytes(id);
    }
    segments.push(pack(ids[from..].iter().copied()));
    segments
}

/// Packs ids into one segment. Integers are LEB128, as in Protobuf; timestamps are stored as differences to the
/// smallest one.
///
/// ```text
///  1 │ count │ smallest timestamp, zigzag │ count × ( length │ id │ timestamp - smallest )      ids ascending
/// ```
#[must_use]
pub fn pack<'a, I>(ids: I) -> Bytes
where
    I: IntoIterator<Item = (&'a MessageId, &'a Timestamp), IntoIter: ExactSizeIterator + Clone>,
{
    let ids = ids.into_iter();
    let least = ids.clone().map(|(_, at)| at.0).min().unwrap_or(0);
    let mut out = Vec::with_capacity(16 + ids.clone().map(|(id, _)| id.0.len() + 4).sum::<usize>());
    out.put_u8(FORMAT);
    put_varint(&mut out, ids.len() as u64);
    put_varint(&mut out, zigzag(least));
    for (id, at) in ids {
        put_varint(&mut out, id.0.len() as u64);
        out.put_slice(&id.0);
        // Wraps, because the difference of two timestamps may exceed i64. Unpacking wraps it back.
        put_varint(&mut out, at.0.wrapping_sub(least).cast_unsigned());
    }
    out.into()
}

/// The ids of a packed segment, ascending.
///
/// # Errors
/// If the bytes are not a segment: a foreign record in the changelog.
pub fn unpack(mut bytes: Bytes) -> Result<Vec<(MessageId, Timestamp)>, NoSegment> {
    let (count, least) = get_head(&mut bytes)?;
    // An entry takes at least two bytes, so a wrong count cannot reserve more than the segment's size.
    let mut ids = Vec::with_capacity(usize::try_from(count).unwrap_or(usize::MAX).min(bytes.remaining() / 2));
    for _ in 0..count {
        let length = usize::try_from(get_varint(&mut bytes)?).unwrap_or(usize::MAX);
        if length > bytes.remaining() {
            return Err(NoSegment("it ends early"));
        }
        let id = MessageId(bytes.split_to(length));
        if ids.last().is_some_and(|(last, _)| *last >= id) {
            return Err(NoSegment("its ids do not ascend"));
        }
        ids.push((id, Timestamp(least.wrapping_add(get_varint(&mut bytes)?.cast_signed()))));
    }
    if bytes.has_remaining() {
        return Err(NoSegment("more follows after its last id"));
    }
    Ok(ids)
}

/// The timestamp of one id in a packed segment; `None` if the segment does not have the id.
///
/// # Errors
/// If the bytes read so far are not a segment.
pub fn find(mut bytes: &[u8], id: &[u8]) -> Result<Option<Timestamp>, NoSegment> {
    let (count, least) = get_head(&mut bytes)?;
    for _ in 0..count {
        let length = usize::try_from(get_varint(&mut bytes)?).unwrap_or(usize::MAX);
        let Some((other, rest)) = bytes.split_at_checked(length) else {
            return Err(NoSegment("it ends early"));
        };
        bytes = rest;
        let at = get_varint(&mut bytes)?;
        match other.cmp(id) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => return Ok(Some(Timestamp(least.wrapping_add(at.cast_signed())))),
            std::cmp::Ordering::Greater => return Ok(None),
        }
    }
    Ok(None)
}

/// The number of the ids that follow, and the smallest of their timestamps.
fn get_head(bytes: &mut impl Buf) -> Result<(u64, i64), NoSegment> {
    if !bytes.has_remaining() || bytes.get_u8() != FORMAT {
        return Err(NoSegment("its format is not known"));
    }
    Ok((get_varint(bytes)?, unzigzag(get_varint(bytes)?)))
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.put_u8((value as u8) | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

fn get_varint(bytes: &mut impl Buf) -> Result<u64, NoSegment> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        if !bytes.has_remaining() {
            return Err(NoSegment("it ends early"));
        }
        let byte = bytes.get_u8();
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(NoSegment("a number is too long"))
}

#[cfg(test)]
mod tests {

    use std::collections::BTreeMap;

    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn packed_ids_are_unpacked_unchanged(ids in btree_map(vec(any::<u8>(), 0..40), any::<i64>(), 0..50)) {
            let ids = ids.into_iter().map(|(id, at)| (MessageId(id.into()), Timestamp(at))).collect::<BTreeMap<_, _>>();
            prop_assert_eq!(unpack(pack(&ids)).unwrap(), ids.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn one_id_is_found_without_unpacking(
            ids in btree_map(vec(0..3u8, 0..3), any::<i64>(), 0..20),
            wanted in vec(0..3u8, 0..3),
        ) {
            let packed = pack(&ids.iter().map(|(id, at)| (MessageId(id.clone().into()), Timestamp(*at))).collect::<BTreeMap<_, _>>());
            prop_assert_eq!(find(&packed, &wanted).unwrap(), ids.get(&wanted).map(|at| Timestamp(*at)));
        }

        #[test]
        fn foreign_bytes_are_refused_or_make_sense(bytes in vec(any::<u8>(), 0..60)) {
            let bytes = Bytes::from([vec![FORMAT], bytes].concat());
            let _ = find(&bytes, b"id");
            if let Ok(ids) = unpack(bytes) {
                prop_assert!(ids.is_sorted());
            }
        }
    }

    #[test]
    fn many_ids_become_several_segments() {
        let ids = (0..20_000u32).map(|n| (MessageId(format!("{n:036}").into()), Timestamp(n.into())));
        let ids = ids.collect::<BTreeMap<_, _>>();
        let segments = segments(&ids.clone().into_iter().rev().collect());
        assert!(segments.len() > 2 && segments.iter().all(|segment| segment.len() <= SEGMENT_BYTES_MAX));
        let unpacked = segments.into_iter().flat_map(|segment| unpack(segment).unwrap());
        assert_eq!(unpacked.collect::<Vec<_>>(), ids.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn truncated_and_overlong_segments_are_refused() {
        let ids = ["a", "bc"].map(|id| (MessageId(id.into()), Timestamp(-5)));
        let packed = pack(&BTreeMap::from(ids));
        for length in 0..packed.len() {
            assert!(unpack(packed.slice(..length)).is_err(), "{length}");
        }
        assert!(unpack([&packed[..], &[0]].concat().into()).is_err());
        assert_eq!(
            unpack(Bytes::from_static(&[2, 0, 0])).unwrap_err().to_string(),
            "not a segment of message ids: its format is not known"
        );
    }
}
