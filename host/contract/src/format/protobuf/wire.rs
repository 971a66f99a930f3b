//! The wire format of Protobuf: tags, varints, fixed-size numbers, and values after their length. Everything else
//! consists of these.

use super::DecodeError;

/// The maximum depth of nested messages and of groups that are skipped, as in other implementations.
pub const DEPTH_MAX: usize = 100;

/// The largest number of a field.
const NUMBER_MAX: u64 = (1 << 29) - 1;

/// The wire type of a field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Seven bits per byte, the lowest first.
    Varint,
    /// Eight bytes.
    Fixed64,
    /// A length, and as many bytes.
    Delimited,
    /// The beginning of a group.
    GroupStart,
    /// The end of a group.
    GroupEnd,
    /// Four bytes.
    Fixed32,
}

impl Wire {
    fn of(bits: u64) -> Option<Self> {
        Some(match bits {
            0 => Self::Varint,
            1 => Self::Fixed64,
            2 => Self::Delimited,
            3 => Self::GroupStart,
            4 => Self::GroupEnd,
            5 => Self::Fixed32,
            _ => return None,
        })
    }
}

/// A field's number, and the wire type of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The field's number.
    pub number: u32,
    /// The wire type of its value.
    pub wire: Wire,
}

/// Reads a message's fields from bytes.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The position of the bytes in the whole value.
    base: usize,
}

type Read<T> = Result<T, DecodeError>;

impl<'a> Reader<'a> {
    /// Creates a reader at the first byte.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, base: 0 }
    }

    /// The position of the next byte within the whole value.
    #[must_use]
    pub fn at(&self) -> usize {
        self.base + self.at
    }

    /// Returns true if nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// The bytes that are left.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// Reads the tag of the next field; `None` at the end.
    ///
    /// # Errors
    /// If it is not the tag of a field.
    #[inline]
    pub fn tag(&mut self) -> Read<Option<Tag>> {
        if self.is_empty() {
            return Ok(None);
        }
        let at = self.at();
        let bits = self.varint()?;
        let number = bits >> 3;
        match Wire::of(bits & 7) {
            Some(wire) if (1..=NUMBER_MAX).contains(&number) => Ok(Some(Tag { number: number as u32, wire })),
            _ => Err(DecodeError::Tag(at)),
        }
    }

    /// Reads a varint.
    ///
    /// # Errors
    /// If it ends early, or has more than 64 bits.
    #[inline]
    pub fn varint(&mut self) -> Read<u64> {
        let start = self.at();
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or_else(|| DecodeError::EndsEarly(self.base + self.bytes.len()))?;
            self.at += 1;
            if shift == 63 && byte > 1 {
                return Err(DecodeError::NumberTooLarge(start));
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::NumberTooLarge(start))
    }

    /// Reads four bytes, the lowest first.
    ///
    /// # Errors
    /// If the value ends early.
    pub fn fixed32(&mut self) -> Read<u32> {
        let (words, _) = self.take(4)?.as_chunks::<4>();
        Ok(u32::from_le_bytes(words[0]))
    }

    /// Reads eight bytes, the lowest first.
    ///
    /// # Errors
    /// If the value ends early.
    pub fn fixed64(&mut self) -> Read<u64> {
        let (words, _) = self.take(8)?.as_chunks::<8>();
        Ok(u64::from_le_bytes(words[0]))
    }

    /// Reads bytes after their length.
    ///
    /// # Errors
    /// If the value ends early.
    pub fn bytes(&mut self) -> Read<&'a [u8]> {
        let length = self.varint()?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// Reads a length, and returns a reader of the message after it.
    ///
    /// # Errors
    /// If the value ends early.
    pub fn within(&mut self) -> Read<Self> {
        let bytes = self.bytes()?;
        Ok(Self { bytes, at: 0, base: self.at() - bytes.len() })
    }

    /// Reads a text.
    ///
    /// # Errors
    /// If the value ends early, or the text is not UTF-8.
    pub fn string(&mut self) -> Read<&'a str> {
        let at = self.at();
        std::str::from_utf8(self.bytes()?).map_err(|_| DecodeError::NotUtf8(at))
    }

    fn take(&mut self, count: usize) -> Read<&'a [u8]> {
        let taken = self.rest().get(..count).ok_or_else(|| DecodeError::EndsEarly(self.base + self.bytes.len()))?;
        self.at += count;
        Ok(taken)
    }

    /// Skips the value of a field.
    ///
    /// # Errors
    /// If it ends early, or is not a value.
    pub fn skip(&mut self, tag: Tag) -> Read<()> {
        self.skip_within(tag, 0)
    }

    fn skip_within(&mut self, tag: Tag, depth: usize) -> Read<()> {
        match tag.wire {
            Wire::Varint => drop(self.varint()?),
            Wire::Fixed64 => drop(self.take(8)?),
            Wire::Delimited => drop(self.bytes()?),
            Wire::Fixed32 => drop(self.take(4)?),
            Wire::GroupEnd => return Err(DecodeError::Tag(self.at())),
            Wire::GroupStart if depth >= DEPTH_MAX => return Err(DecodeError::TooDeep(self.at())),
            Wire::GroupStart => loop {
                let at = self.at();
                match self.tag()? {
                    Some(Tag { number, wire: Wire::GroupEnd }) if number == tag.number => break,
                    Some(Tag { wire: Wire::GroupEnd, .. }) => return Err(DecodeError::Tag(at)),
                    Some(inner) => self.skip_within(inner, depth + 1)?,
                    None => return Err(DecodeError::EndsEarly(at)),
                }
            },
        }
        Ok(())
    }
}

/// Decodes a zig-zag number.
#[must_use]
pub fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// Encodes a signed number as zig-zag, so that small numbers are short.
#[must_use]
pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// Writes a varint.
pub fn write_varint(value: u64, out: &mut Vec<u8>) {
    let mut rest = value;
    while rest >= 0x80 {
        out.push((rest as u8) | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Writes a field's tag.
pub fn write_tag(number: u32, wire: Wire, out: &mut Vec<u8>) {
    let bits = match wire {
        Wire::Varint => 0,
        Wire::Fixed64 => 1,
        Wire::Delimited => 2,
        Wire::GroupStart => 3,
        Wire::GroupEnd => 4,
        Wire::Fixed32 => 5,
    };
    write_varint(u64::from(number) << 3 | bits, out);
}

/// Writes bytes after their length.
pub fn write_bytes(value: &[u8], out: &mut Vec<u8>) {
    write_varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

/// Writes the output of `write` after its length.
///
/// # Errors
/// As `write`.
pub fn write_delimited<E>(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
    // Most lengths take one byte.
    let start = out.len();
    out.push(0);
    write(out)?;
    let length = out.len() - start - 1;
    if length < 0x80 {
        out[start] = length as u8;
    } else {
        let mut written = Vec::with_capacity(5);
        write_varint(length as u64, &mut written);
        out.splice(start..=start, written);
    }
    Ok(())
}
