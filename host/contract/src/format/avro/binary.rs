//! Avro's binary encoding of primitive values ("Binary Encoding" in the specification). All other values consist of
//! these.

use thiserror::Error;

use crate::format::bounds::{FREE_MEMORY_BYTES_MAX, MEMORY_PER_BYTE_MAX};

/// The reason why bytes are not a value of their schema.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// The bytes end in the middle of a value.
    #[error("the value ends early, at byte {0}")]
    EndsEarly(usize),
    /// A number with more bytes than its type allows.
    #[error("the number at byte {0} is too large for its type")]
    NumberTooLarge(usize),
    /// A negative length or count, or one that exceeds the value.
    #[error("the length {length} at byte {at} is impossible")]
    Length {
        /// Its position.
        at: usize,
        /// The length.
        length: i64,
    },
    /// A boolean that is neither 0 nor 1.
    #[error("the byte {at} is {byte}, which is not a boolean")]
    Boolean {
        /// Its position.
        at: usize,
        /// Its value.
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
        /// Its position.
        at: usize,
        /// The number of the branch or symbol.
        index: i64,
        /// The number of branches or symbols in the schema.
        count: usize,
    },
    /// The writer's value is valid but has no counterpart in the reader's schema.
    #[error("{0}")]
    NoCounterpart(String),
    /// Lists, maps and records that are nested deeper than [`DEPTH_MAX`].
    #[error("the value at byte {0} is nested deeper than {DEPTH_MAX}")]
    TooDeep(usize),
    /// More list items than the value has bytes, plus [`FREE_ITEMS_MAX`].
    #[error("the list at byte {0} has more items than its value can hold")]
    TooManyItems(usize),
    /// More records and list items than [`STEPS_PER_BYTE_MAX`] for each byte of the value, plus [`FREE_STEPS_MAX`].
    #[error("the value at byte {0} has more records and items than its bytes can hold")]
    TooManySteps(usize),
    /// More memory than [`MEMORY_PER_BYTE_MAX`] for each byte of the value, plus [`FREE_MEMORY_BYTES_MAX`].
    #[error("the value takes too much memory at byte {0}: more than {MEMORY_PER_BYTE_MAX} bytes for each of its bytes")]
    TooMuchMemory(usize),
    /// Bytes after the value.
    #[error("{count} bytes are left after the value, from byte {at}")]
    LeftOver {
        /// The position of the first of them.
        at: usize,
        /// Their number.
        count: usize,
    },
}

impl DecodeError {
    /// Returns true if the bytes may be a value of their schema, but one that exceeds the bounds of any value.
    #[must_use]
    pub fn is_beyond_bounds(&self) -> bool {
        matches!(self, Self::TooDeep(_) | Self::TooManyItems(_) | Self::TooManySteps(_) | Self::TooMuchMemory(_))
    }
}

/// The maximum nesting of a value, which bounds the stack. Recursive schemas allow values of any depth.
pub const DEPTH_MAX: usize = 64;

/// The number of list items that may take no bytes, such as `null` and an empty record. All other items are bounded by
/// the value's size.
pub const FREE_ITEMS_MAX: usize = 1 << 16;

/// The number of records and list items that every value may have, however few bytes it has.
pub const FREE_STEPS_MAX: usize = 4 * FREE_ITEMS_MAX;

/// The maximum number of records and list items for each byte of a value. Nested records need no bytes, so a schema
/// whose records double at each level can cause any number of them.
pub const STEPS_PER_BYTE_MAX: usize = 128;

/// Reads primitive values from bytes.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    items: usize,
    left: Left,
}

/// The number of steps and the memory that are left for the value, including its defaults.
#[derive(Clone, Copy, Debug)]
struct Left {
    steps: usize,
    memory_bytes: usize,
}

type Read<T> = Result<T, DecodeError>;

impl<'a> Reader<'a> {
    /// Creates a reader at the first byte.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        let bound = |free: usize, per_byte: usize| bytes.len().saturating_mul(per_byte).saturating_add(free);
        let left = Left {
            steps: bound(FREE_STEPS_MAX, STEPS_PER_BYTE_MAX),
            memory_bytes: bound(FREE_MEMORY_BYTES_MAX, MEMORY_PER_BYTE_MAX),
        };
        Self { bytes, at: 0, items: 0, left }
    }

    /// Reads a part of the value from other bytes, those of a default. Its steps and memory count for this value.
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

    /// Counts memory of the read value.
    pub fn hold(&mut self, bytes: usize) -> Read<()> {
        self.left.memory_bytes =
            self.left.memory_bytes.checked_sub(bytes).ok_or(DecodeError::TooMuchMemory(self.at))?;
        Ok(())
    }

    /// The memory that is left for the value, in bytes.
    #[must_use]
    pub fn memory_left(&self) -> usize {
        self.left.memory_bytes
    }

    /// The position of the next byte.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// Checks that the value ends here.
    pub fn finish(self) -> Read<()> {
        match self.bytes.len() - self.at {
            0 => Ok(()),
            count => Err(DecodeError::LeftOver { at: self.at, count }),
        }
    }

    /// Reads `count` bytes.
    pub fn take(&mut self, count: usize) -> Read<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..count).ok_or(DecodeError::EndsEarly(self.bytes.len()))?;
        self.at += count;
        Ok(taken)
    }

    /// Reads a `boolean`.
    pub fn boolean(&mut self) -> Read<bool> {
        match self.take(1)? {
            [0] => Ok(false),
            [1] => Ok(true),
            other => Err(DecodeError::Boolean { at: self.at - 1, byte: other[0] }),
        }
    }

    /// Reads a `long`: zig-zag, seven bits a byte, the lowest first.
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

    /// Reads an `int`.
    pub fn int(&mut self) -> Read<i32> {
        let start = self.at;
        i32::try_from(self.long()?).map_err(|_| DecodeError::NumberTooLarge(start))
    }

    /// Reads a `float`.
    pub fn float(&mut self) -> Read<f32> {
        let bytes = self.take(4)?;
        Ok(f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// Reads a `double`.
    pub fn double(&mut self) -> Read<f64> {
        let (words, _) = self.take(8)?.as_chunks::<8>();
        Ok(f64::from_le_bytes(words[0]))
    }

    /// Reads `bytes`.
    pub fn bytes(&mut self) -> Read<&'a [u8]> {
        let at = self.at;
        let length = self.long()?;
        self.take(usize::try_from(length).map_err(|_| DecodeError::Length { at, length })?)
    }

    /// Reads a `string`.
    pub fn string(&mut self) -> Read<&'a str> {
        let at = self.at;
        std::str::from_utf8(self.bytes()?).map_err(|_| DecodeError::NotUtf8(at))
    }

    /// Reads the number of a union's branch or an enum's symbol, of `count`.
    pub fn index(&mut self, what: &'static str, count: usize) -> Read<usize> {
        let at = self.at;
        let index = self.long()?;
        let known = usize::try_from(index).ok().filter(|index| *index < count);
        known.ok_or(DecodeError::Index { what, at, index, count })
    }

    /// Reads the number of items in the next block of an array or a map, and its size in bytes if that is given. A
    /// block without items is the end.
    fn block(&mut self) -> Read<(usize, Option<i64>)> {
        let at = self.at;
        let count = self.long()?;
        // A negative count is followed by the block's size, for readers that skip the block.
        let size = if count < 0 { Some(self.long()?) } else { None };
        let items = usize::try_from(count.unsigned_abs()).map_err(|_| DecodeError::Length { at, length: count })?;
        self.items = self.items.saturating_add(items);
        if self.items > self.bytes.len() + FREE_ITEMS_MAX {
            return Err(DecodeError::TooManyItems(at));
        }
        self.step(items)?;
        Ok((items, size))
    }

    /// Reads an array or a map, block by block. `item` reads one item.
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

    /// Skips an array or a map. Like [`blocks`](Self::blocks), but a block with a size is skipped without reading its
    /// items.
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

/// The depth of a value and the items of its lists, while it is written. A value that a [`Reader`] refuses is not
/// written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extent {
    depth: usize,
    items: usize,
    records: usize,
}

impl Extent {
    /// Enters a part of the value. Call [`leave`](Self::leave) at its end.
    ///
    /// # Errors
    /// If the part is nested too deep to be read.
    pub fn enter(&mut self) -> Result<(), String> {
        if self.depth > DEPTH_MAX {
            return Err(format!("it is nested deeper than {DEPTH_MAX}, so it could not be read"));
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
