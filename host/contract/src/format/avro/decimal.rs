//! Converts decimals between Avro (an unscaled big-endian two's complement integer) and plain notation (`"-12.34"`).

use thiserror::Error;

use super::Decimal;
use super::binary::{DecodeError, Reader, write_bytes};

/// The maximum shift of the point by an exponent, which bounds the zeros that the exponent adds.
const EXPONENT_MAX: usize = 10_000;

/// The reason why a text is not a decimal of its type.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DecimalError {
    /// Not digits with at most one point and a sign.
    #[error("`{0}` is not a plain decimal number such as 12.34")]
    NotPlain(String),
    /// More digits after the point than the scale.
    #[error("`{text}` has more than {scale} digits after the point")]
    Scale {
        /// The text.
        text: String,
        /// The scale.
        scale: u32,
    },
    /// More digits than the precision.
    #[error("`{text}` has more than {precision} digits, of which {scale} are after the point")]
    Precision {
        /// The text.
        text: String,
        /// The precision.
        precision: u32,
        /// The scale.
        scale: u32,
    },
}

/// Writes the decimal in `text`.
///
/// # Errors
/// If it is not a number, or does not fit precision and scale.
pub fn write(kind: &Decimal, text: &str, out: &mut Vec<u8>) -> Result<(), DecimalError> {
    let bytes = unscaled(kind, text)?;
    match &kind.fixed {
        None => write_bytes(&bytes, out),
        Some(fixed) => {
            let sign = if bytes[0] & 0x80 == 0 { 0 } else { 0xff };
            // The precision was checked to fit the size when the schema was parsed.
            out.extend(std::iter::repeat_n(sign, fixed.size.saturating_sub(bytes.len())));
            out.extend(bytes);
        }
    }
    Ok(())
}

/// Reads a decimal in plain notation, with as many digits after the point as the scale.
///
/// # Errors
/// If the bytes end early, or have more digits than the precision.
pub fn read(kind: &Decimal, reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    let bytes = match &kind.fixed {
        None => reader.bytes()?,
        Some(fixed) => reader.take(fixed.size)?,
    };
    let bytes = strip_sign(bytes);
    // A digit takes less than half a byte. The bound prevents garbage from costing time that grows with the square of
    // its size.
    if bytes.len() > kind.precision as usize / 2 + 2 {
        let what = format!("a decimal of {} bytes has more than {} digits", bytes.len(), kind.precision);
        return Err(DecodeError::NoCounterpart(what));
    }
    let text = plain(bytes, kind.scale as usize);
    let digits = text.trim_start_matches(['-', '0', '.']).bytes().filter(u8::is_ascii_digit).count();
    if digits > kind.precision as usize {
        return Err(DecodeError::NoCounterpart(format!("the decimal {text} has more than {} digits", kind.precision)));
    }
    Ok(text)
}

/// Removes the leading bytes that only repeat the sign.
fn strip_sign(mut bytes: &[u8]) -> &[u8] {
    while let [first, next, ..] = bytes {
        let repeats = (*first == 0 && next & 0x80 == 0) || (*first == 0xff && next & 0x80 != 0);
        if !repeats {
            break;
        }
        bytes = &bytes[1..];
    }
    bytes
}

/// The shortest two's complement of the unscaled number.
fn unscaled(kind: &Decimal, text: &str) -> Result<Vec<u8>, DecimalError> {
    let not_plain = || DecimalError::NotPlain(text.to_owned());
    let (negative, number) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    let (whole, fraction) = without_exponent(number).ok_or_else(not_plain)?;
    let scale = kind.scale as usize;
    let fraction = fraction.trim_end_matches('0').to_owned();
    if fraction.len() > scale {
        return Err(DecimalError::Scale { text: text.to_owned(), scale: kind.scale });
    }
    let digits = format!("{whole}{fraction:0<scale$}");
    let digits = digits.trim_start_matches('0');
    if digits.len() > kind.precision as usize {
        return Err(DecimalError::Precision { text: text.to_owned(), precision: kind.precision, scale: kind.scale });
    }
    let mut magnitude: Vec<u8> = vec![0];
    for digit in digits.bytes() {
        let mut carry = u32::from(digit - b'0');
        for byte in magnitude.iter_mut().rev() {
            carry += u32::from(*byte) * 10;
            *byte = (carry & 0xff) as u8;
            carry >>= 8;
        }
        while carry > 0 {
            magnitude.insert(0, (carry & 0xff) as u8);
            carry >>= 8;
        }
    }
    if magnitude[0] & 0x80 != 0 {
        magnitude.insert(0, 0);
    }
    if negative {
        negate(&mut magnitude);
    }
    Ok(strip_sign(&magnitude).to_vec())
}

/// The digits before and after the point of a number that may have an exponent, such as `1.5e-7`.
fn without_exponent(number: &str) -> Option<(String, String)> {
    let (number, exponent) = match number.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
        None => (number, 0),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits_only = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits_only(whole) || !digits_only(fraction) {
        return None;
    }
    let shift = usize::try_from(exponent.unsigned_abs()).ok().filter(|shift| *shift <= EXPONENT_MAX)?;
    if exponent < 0 {
        let zeros = "0".repeat(shift.saturating_sub(whole.len()));
        let (whole, moved) = whole.split_at(whole.len().saturating_sub(shift));
        return Some((whole.to_owned(), format!("{zeros}{moved}{fraction}")));
    }
    let (moved, fraction) = fraction.split_at(shift.min(fraction.len()));
    let zeros = "0".repeat(shift - moved.len());
    Some((format!("{whole}{moved}{zeros}"), fraction.to_owned()))
}

fn plain(bytes: &[u8], scale: usize) -> String {
    let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    let mut magnitude = bytes.to_vec();
    if negative {
        negate(&mut magnitude);
    }
    let mut digits = Vec::new();
    while magnitude.iter().any(|byte| *byte != 0) {
        let mut rest = 0u32;
        for byte in &mut magnitude {
            rest = (rest << 8) | u32::from(*byte);
            *byte = (rest / 10) as u8;
            rest %= 10;
        }
        digits.push(char::from(b'0' + rest as u8));
    }
    while digits.len() <= scale {
        digits.push('0');
    }
    if scale > 0 {
        digits.insert(scale, '.');
    }
    if negative {
        digits.push('-');
    }
    digits.iter().rev().collect()
}

/// Negates a two's complement: inverts all bits and adds one.
fn negate(bytes: &mut [u8]) {
    let mut carry = true;
    for byte in bytes.iter_mut().rev() {
        let (sum, over) = (!*byte).overflowing_add(u8::from(carry));
        *byte = sum;
        carry = over;
    }
}
