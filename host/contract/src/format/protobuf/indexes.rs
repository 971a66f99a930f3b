//! The message of a file that a value has: Confluent's message indexes, between the schema id and the message.
//!
//! ```text
//!  count │ index among the file's messages │ index among the messages inside it │ …
//! ```
//!
//! All are zig-zag varints. The first message of a file, `01 00`, is written as the single byte `00`.

use super::DecodeError;
use super::wire::{Reader, unzigzag, write_varint, zigzag};

/// The maximum depth of nested message definitions.
const DEPTH_MAX: usize = 64;

/// Reads the indexes in front of a message. Accepts both forms for the first message.
///
/// # Errors
/// If they end early, or are not indexes.
pub fn read(reader: &mut Reader<'_>) -> Result<Vec<usize>, DecodeError> {
    let at = reader.at();
    let number = |reader: &mut Reader<'_>| {
        let number = unzigzag(reader.varint()?);
        usize::try_from(number).map_err(|_| DecodeError::Indexes(at))
    };
    let count = number(reader)?;
    if count > DEPTH_MAX {
        return Err(DecodeError::Indexes(at));
    }
    if count == 0 {
        return Ok(vec![0]);
    }
    (0..count).map(|_| number(reader)).collect()
}

/// Returns the message after the indexes, or all bytes if they do not begin with indexes.
#[must_use]
pub fn skip(bytes: &[u8]) -> &[u8] {
    let mut reader = Reader::new(bytes);
    if read(&mut reader).is_ok() { reader.rest() } else { bytes }
}

/// Writes indexes.
pub fn write(indexes: &[usize], out: &mut Vec<u8>) {
    if indexes == [0] {
        out.push(0);
        return;
    }
    for number in std::iter::once(indexes.len()).chain(indexes.iter().copied()) {
        write_varint(zigzag(number as i64), out);
    }
}

#[cfg(test)]
mod tests {
    use super::{read, write};
    use crate::format::protobuf::wire::Reader;

    #[test]
    fn both_written_forms_of_the_first_message_are_understood() {
        for (bytes, expected) in [(&[0][..], vec![0]), (&[2, 0], vec![0]), (&[4, 2, 0], vec![1, 0]), (&[2, 6], vec![3])]
        {
            let mut reader = Reader::new(bytes);
            assert_eq!(read(&mut reader).unwrap(), expected);
            assert!(reader.is_empty());
            let mut written = vec![];
            write(&expected, &mut written);
            assert!(written == bytes || expected == [0], "{bytes:?}");
        }
        for broken in [&[][..], &[1], &[4, 0], &[0xff; 11], &[0xfe, 0xff, 0x03]] {
            read(&mut Reader::new(broken)).unwrap_err();
        }
    }
}
