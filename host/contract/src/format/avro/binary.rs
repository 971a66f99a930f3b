//! Avro's binary encoding of primitive values ("Binary Encoding" in the specification). Everything else is made of
//! these.

use thiserror::Error;

use crate::format::bounds::{FREE_MEMORY_BYTES_MAX, MEMORY_PER_BYTE_MAX};

/// Why bytes are not a value of their schema.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// The bytes end in the middle of a value.
    #[error("the value ends early, at byte {0}")]
    EndsEarly(usize),
    /// A number that takes more bytes than its type has.
    #[error("the number at byte {0} is too large for its type")]
    NumberTooLarge(usize),
    /// A length or count below zero, or one that the value cannot hold.
    #[error("the length {length} at byte {at} is impossible")]
    Length {
        /// Where it stands.
        at: usize,
        /// What it says.
        length: i64,
    },
    /// A boolean that is neither 0 nor 1.
    #[error("the byte {at} is {byte}, which is no boolean")]
    Boolean {
        /// Where it stands.
        at: usize,
        /// What it is.
        byte: u8,
    },
    /// A string that is not UTF-8.
    #[error("the string at byte {0} is not UTF-8")]
    NotUtf8(usize),
    /// A union branch or an enum symbol that the schema does not have.
    #[error("the {what} at byte {at} is number {index}, of {count}")]
    Index {
        /// `union branch` or `enum symbol`.
        what: &'static str,
        /// Where it stands.
        at: usize,
        /// What it says.
        index: i64,
        /// How many the schema has.
        count: usize,
    },
    /// The writer's value is valid but has no counterpart in the reader's schema.
    #[error("{0}")]
    NoCounterpart(String),
    /// Lists, maps and records within each other deeper than [`DEPTH_MAX`].
    #[error("the value at byte {0} is nested deeper than {DEPTH_MAX}")]
    TooDeep(usize),
    /// More list items than the value has bytes for, and [`FREE_ITEMS_MAX`] on top.
    #[error("the list at byte {0} has more items than its value can hold")]
    TooManyItems(usize),
    /// More records and list items than the value has bytes for: [`STEPS_PER_BYTE_MAX`] for each, and
    /// [`FREE_STEPS_MAX`] on top.
    #[error("the value at byte {0} has more records and items than its bytes can hold")]
    TooManySteps(usize),
    /// More memory than the value has bytes for: [`MEMORY_PER_BYTE_MAX`] for each, and [`FREE_MEMORY_BYTES_MAX`] on
    /// top.
    #[error("the value takes too much memory at byte {0}: more than {MEMORY_PER_BYTE_MAX} bytes for each of its bytes")]
    TooMuchMemory(usize),
    /// Bytes are left after the value.
    #[error("{count} bytes are left after the value, from byte {at}")]
    LeftOver {
        /// Where they begin.
        at: usize,
        /// How many.
        count: usize,
    },
}

impl DecodeError {
    /// Returns true if the bytes may be a value of their schema, but one beyond what is read at all.
    #[must_use]
    pub fn is_beyond_bounds(&self) -> bool {
        matches!(self, Self::TooDeep(_) | Self::TooManyItems(_) | Self::TooManySteps(_) | Self::TooMuchMemory(_))
    }
}

/// How deep a value may be nested: a bound for the stack. Recursive schemas make values of any depth.
pub const DEPTH_MAX: usize = 64;

/// How many items of lists may take no bytes, as `null` and an empty record do: all others are bounded by the value's
/// size.
pub const FREE_ITEMS_MAX: usize = 1 << 16;

/// The number of records and list items that every value may have, however few bytes it has.
pub const FREE_STEPS_MAX: usize = 4 * FREE_ITEMS_MAX;

/// The most records and list items for each byte of a value. Records within records take no bytes of their own, so a
/// schema whose records double at each level asks for any number of them.
pub const STEPS_PER_BYTE_MAX: usize = 128;

/// Reads primitive values from bytes.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    items: usize,
    left: Left,
}

/// What the value may still take, its defaults included.
#[derive(Clone, Copy, Debug)]
struct Left {
    steps: usize,
    memory_bytes: usize,
}

type Read<T> = Result<T, DecodeError>;

impl<'a> Reader<'a> {
    /// Reads from the first byte on.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        let bound = |free: usize, per_byte: usize| bytes.len().saturating_mul(per_byte).saturating_add(free);
        let left = Left {
            steps: bound(FREE_STEPS_MAX, STEPS_PER_BYTE_MAX),
            memory_bytes: bound(FREE_MEMORY_BYTES_MAX, MEMORY_PER_BYTE_MAX),
        };
        Self { bytes, at: 0, items: 0, left }
    }

    /// Reads a part of the value that stands elsewhere: a default. It counts as a part of this value.
    pub fn aside<T>(&mut self, bytes: &[u8], read: impl FnOnce(&mut Reader<'_>) -> Read<T>) -> Read<T> {
        let mut part = Reader { bytes, at: 0, items: 0, left: self.left };
        let value = read(&mut part);
        self.left = part.left;
        value
    }

    /// Counts `count` records or items.
    pub fn step(&mut self, count: usize) -> Read<()> {
        self.left.steps = self.left.steps.checked_sub(count).ok_or(DecodeError::TooManySteps(self.at))?;
        Ok(())
    }

    /// Counts memory that the value takes once it is read.
    pub fn hold(&mut self, bytes: usize) -> Read<()> {
        self.left.memory_bytes =
            self.left.memory_bytes.checked_sub(bytes).ok_or(DecodeError::TooMuchMemory(self.at))?;
        Ok(())
    }

    /// The memory that the value may still take, in bytes.
    #[must_use]
    pub fn memory_left(&self) -> usize {
        self.left.memory_bytes
    }

    /// The position of the next byte.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// Says that the value is over.
    pub fn finish(self) -> Read<()> {
        match self.bytes.len() - self.at {
            0 => Ok(()),
            count => Err(DecodeError::LeftOver { at: self.at, count }),
        }
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Read<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..count).ok_or(DecodeError::EndsEarly(self.bytes.len()))?;
        self.at += count;
        Ok(taken)
    }

    /// `boolean`
    pub fn boolean(&mut self) -> Read<bool> {
        match self.take(1)? {
            [0] => Ok(false),
            [1] => Ok(true),
            other => Err(DecodeError::Boolean { at: self.at - 1, byte: other[0] }),
        }
    }

    /// `long`: zig-zag, seven bits a byte, the lowest first.
    #[inline]
    pub fn long(&mut self) -> Read<i64> {
        let start = self.at;
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or(DecodeError::EndsEarly(self.bytes.len()))?;
            self.at += 1;
            if shift == 63 && byte > 1 {
                return Err(DecodeError::NumberTooLarge(start));
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        Err(DecodeError::NumberTooLarge(start))
    }

    /// `int`
    pub fn int(&mut self) -> Read<i32> {
        let start = self.at;
        i32::try_from(self.long()?).map_err(|_| DecodeError::NumberTooLarge(start))
    }

    /// `float`
    pub fn float(&mut self) -> Read<f32> {
        let bytes = self.take(4)?;
        Ok(f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// `double`
    pub fn double(&mut self) -> Read<f64> {
        let (words, _) = self.take(8)?.as_chunks::<8>();
        Ok(f64::from_le_bytes(words[0]))
    }

    /// `bytes`
    pub fn bytes(&mut self) -> Read<&'a [u8]> {
        let at = self.at;
        let length = self.long()?;
        self.take(usize::try_from(length).map_err(|_| DecodeError::Length { at, length })?)
    }

    /// `string`
    pub fn string(&mut self) -> Read<&'a str> {
        let at = self.at;
        std::str::from_utf8(self.bytes()?).map_err(|_| DecodeError::NotUtf8(at))
    }

    /// The position of a union's branch or an enum's symbol, of `count`.
    pub fn index(&mut self, what: &'static str, count: usize) -> Read<usize> {
        let at = self.at;
        let index = self.long()?;
        let known = usize::try_from(index).ok().filter(|index| *index < count);
        known.ok_or(DecodeError::Index { what, at, index, count })
    }

    /// The number of items in the next block of an array or a map, and its size in bytes where it is told; no items end
    /// it.
    fn block(&mut self) -> Read<(usize, Option<i64>)> {
        let at = self.at;
        let count = self.long()?;
        // A negative count is followed by the block's size, for those who want to skip it.
        let size = if count < 0 { Some(self.long()?) } else { None };
        let items = usize::try_from(count.unsigned_abs()).map_err(|_| DecodeError::Length { at, length: count })?;
        self.items = self.items.saturating_add(items);
        if self.items > self.bytes.len() + FREE_ITEMS_MAX {
            return Err(DecodeError::TooManyItems(at));
        }
        self.step(items)?;
        Ok((items, size))
    }

    /// The items of an array or a map, block by block: `item` reads one.
    pub fn blocks(&mut self, mut item: impl FnMut(&mut Self) -> Read<()>) -> Read<()> {
        loop {
            let (count, _) = self.block()?;
            if count == 0 {
                return Ok(());
            }
            for _ in 0..count {
                item(self)?;
            }
        }
    }

    /// As [`blocks`](Self::blocks), for items that nobody wants: blocks that tell their size are passed over.
    pub fn skip_blocks(&mut self, mut item: impl FnMut(&mut Self) -> Read<()>) -> Read<()> {
        loop {
            let at = self.at;
            match self.block()? {
                (0, _) => return Ok(()),
                (_, Some(length)) => {
                    let size = usize::try_from(length).map_err(|_| DecodeError::Length { at, length })?;
                    self.take(size)?;
                }
                (count, None) => (0..count).try_for_each(|_| item(self))?,
            }
        }
    }
}

/// The depth of a value and the items of its lists, while it is written. What a [`Reader`] refuses is not written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extent {
    depth: usize,
    items: usize,
    records: usize,
}

impl Extent {
    /// Enters a part of the value, to be [left](Self::leave).
    ///
    /// # Errors
    /// If the part is nested too deep to be read.
    pub fn enter(&mut self) -> Result<(), String> {
        if self.depth > DEPTH_MAX {
            return Err(format!("it is nested deeper than {DEPTH_MAX}, so nobody could read it"));
        }
        self.depth += 1;
        Ok(())
    }

    /// Leaves a part of the value.
    pub fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Counts the items of a list or a map.
    pub fn add_items(&mut self, count: usize) {
        self.items = self.items.saturating_add(count);
    }

    /// Counts a record.
    pub fn add_record(&mut self) {
        self.records = self.records.saturating_add(1);
    }

    /// Checks the whole value, which was written as `bytes` bytes.
    ///
    /// # Errors
    /// If it has more items or records than can be read.
    pub fn check(&self, bytes: usize) -> Result<(), String> {
        let (items, records) = (self.items, self.records);
        let items_max = bytes.saturating_add(FREE_ITEMS_MAX);
        if items > items_max {
            return Err(format!("its lists have {items} items in {bytes} bytes; more than {items_max} cannot be read"));
        }
        let steps_max = bytes.saturating_mul(STEPS_PER_BYTE_MAX).saturating_add(FREE_STEPS_MAX);
        if items.saturating_add(records) > steps_max {
            return Err(format!(
                "it has {items} items and {records} records in {bytes} bytes; more than {steps_max} cannot be read"
            ));
        }
        Ok(())
    }
}

/// Writes a `boolean`.
pub fn write_boolean(value: bool, out: &mut Vec<u8>) {
    out.push(u8::from(value));
}

/// Writes a `long` or an `int`.
pub fn write_long(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest as u8) | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Writes a length, a count or the position of a branch or a symbol.
pub fn write_index(value: usize, out: &mut Vec<u8>) {
    write_long(i64::try_from(value).unwrap_or(i64::MAX), out);
}

/// Writes a `float`.
pub fn write_float(value: f32, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Writes a `double`.
pub fn write_double(value: f64, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Writes `bytes` or a `string`.
pub fn write_bytes(value: &[u8], out: &mut Vec<u8>) {
    write_index(value.len(), out);
    out.extend_from_slice(value);
}
