//! Reads JSON from its bytes, step by step. No tree of values is built in between.
//!
//! `serde_json` does not return numbers in their written form, unless the whole program uses that form, and it takes
//! the last of two members with the same name. Here, numbers are texts first, and a duplicate name is an error.

use std::borrow::Cow;

use super::DecodeError;
use super::number::Number;

/// The maximum nesting of arrays and objects, which bounds the stack.
pub const DEPTH_MAX: usize = 100;
/// The maximum number of a number's characters in messages.
const NUMBER_CHARS_SHOWN: usize = 40;
pub(super) const BYTE_ORDER_MARK: &str = "\u{feff}";

/// The kind of a value, by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

impl Kind {
    /// Its name in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Number => "a number",
            Self::String => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
        }
    }
}

/// Reads one value.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
}

pub(super) type Read<T> = Result<T, DecodeError>;

impl<'a> Reader<'a> {
    /// Creates a reader at the first byte. A byte order mark is skipped.
    ///
    /// # Errors
    /// If the bytes are not UTF-8.
    pub fn new(bytes: &'a [u8]) -> Read<Self> {
        let text = std::str::from_utf8(bytes).map_err(|error| DecodeError::NotUtf8(error.valid_up_to()))?;
        Ok(Self::of_text(text))
    }

    /// Creates a reader at the first character.
    #[must_use]
    pub fn of_text(text: &'a str) -> Self {
        let at = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        Self { text, at }
    }

    /// The position of the next byte.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    fn wrong<T>(&self, what: &'static str) -> Read<T> {
        Err(DecodeError::Syntax { what, at: self.at })
    }

    /// The next byte that is not a blank.
    #[inline]
    fn peek(&mut self) -> Read<u8> {
        while let Some(byte) = self.text.as_bytes().get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Ok(*byte);
            }
            self.at += 1;
        }
        self.wrong("the value ends early")
    }

    /// The kind of the next value.
    ///
    /// # Errors
    /// If no value begins here.
    #[inline]
    pub fn kind(&mut self) -> Read<Kind> {
        Ok(match self.peek()? {
            b'"' => Kind::String,
            b'{' => Kind::Object,
            b'[' => Kind::Array,
            b't' | b'f' => Kind::Bool,
            b'n' => Kind::Null,
            b'-' | b'0'..=b'9' => Kind::Number,
            b'N' | b'I' => return self.wrong("NaN and Infinity are not JSON"),
            _ => return self.wrong("no value begins"),
        })
    }

    /// Refuses a value of another kind.
    fn expect(&mut self, kind: Kind) -> Read<()> {
        let found = self.kind()?;
        if found == kind {
            return Ok(());
        }
        Err(DecodeError::misfit(format!("{} where {} belongs", found.name(), kind.name())))
    }

    fn word(&mut self, word: &str) -> Read<()> {
        if !self.text[self.at..].starts_with(word) {
            return self.wrong("no value begins");
        }
        self.at += word.len();
        Ok(())
    }

    /// Reads `null`.
    ///
    /// # Errors
    /// If the value is of another kind.
    pub fn null(&mut self) -> Read<()> {
        self.expect(Kind::Null)?;
        self.word("null")
    }

    /// Reads `true` or `false`.
    ///
    /// # Errors
    /// If the value is of another kind.
    pub fn boolean(&mut self) -> Read<bool> {
        self.expect(Kind::Bool)?;
        let is_true = self.text.as_bytes()[self.at] == b't';
        self.word(if is_true { "true" } else { "false" })?;
        Ok(is_true)
    }

    /// Reads a number.
    ///
    /// # Errors
    /// If the value is of another kind.
    pub fn number(&mut self) -> Read<Number<'a>> {
        self.expect(Kind::Number)?;
        let (start, bytes) = (self.at, self.text.as_bytes());
        let digits = |mut at: usize| {
            while bytes.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
            at
        };
        let first = start + usize::from(bytes[start] == b'-');
        let mut end = if bytes.get(first) == Some(&b'0') { first + 1 } else { digits(first) };
        if end == first {
            return self.wrong(if bytes.get(first) == Some(&b'I') {
                "NaN and Infinity are not JSON"
            } else {
                "a number without digits"
            });
        }
        let mut is_plain = true;
        if bytes.get(end) == Some(&b'.') {
            is_plain = false;
            let after = digits(end + 1);
            if after == end + 1 {
                return self.wrong("a number without digits after its point");
            }
            end = after;
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            is_plain = false;
            let exponent = end + 1 + usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            end = digits(exponent);
            if end == exponent {
                return self.wrong("a number without digits in its exponent");
            }
        }
        if bytes.get(end).is_some_and(u8::is_ascii_alphanumeric) {
            self.at = end;
            return self.wrong("a number goes on with something else");
        }
        self.at = end;
        Ok(Number { text: &self.text[start..end], is_plain, at: start })
    }

    /// Reads a whole number of 64 bits.
    ///
    /// # Errors
    /// If the value is of another kind, or would have to be rounded. With `plain`, also if it has a fraction or an
    /// exponent.
    pub fn integer(&mut self, plain: bool) -> Read<i64> {
        let number = self.number()?;
        let value = if plain && !number.is_plain { None } else { number.integer() };
        value.ok_or_else(|| unfit(&number, "an integer of 64 bits"))
    }

    /// Reads a number as the nearest `f64`.
    ///
    /// # Errors
    /// If the value is of another kind, or too far from every `f64`.
    pub fn float(&mut self) -> Read<f64> {
        let number = self.number()?;
        number.float().ok_or_else(|| unfit(&number, "a number of 64 bits"))
    }

    /// Reads a string.
    ///
    /// # Errors
    /// If the value is of another kind, or contains half a character.
    #[inline]
    pub fn string(&mut self) -> Read<Cow<'a, str>> {
        self.expect(Kind::String)?;
        self.at += 1;
        let (start, bytes) = (self.at, self.text.as_bytes());
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b'"' => {
                    self.at += 1;
                    return Ok(Cow::Borrowed(&self.text[start..self.at - 1]));
                }
                b'\\' => return self.escaped(start).map(Cow::Owned),
                0..0x20 => return self.wrong("a control character in a string"),
                _ => self.at += 1,
            }
        }
        self.wrong("the value ends early")
    }

    /// Reads the rest of a string that has escapes.
    fn escaped(&mut self, start: usize) -> Read<String> {
        let bytes = self.text.as_bytes();
        let mut out = self.text[start..self.at].to_owned();
        let mut from = self.at;
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b'"' => {
                    out.push_str(&self.text[from..self.at]);
                    self.at += 1;
                    return Ok(out);
                }
                b'\\' => {
                    out.push_str(&self.text[from..self.at]);
                    out.push(self.escape()?);
                    from = self.at;
                }
                0..0x20 => return self.wrong("a control character in a string"),
                _ => self.at += 1,
            }
        }
        self.wrong("the value ends early")
    }

    fn escape(&mut self) -> Read<char> {
        let start = self.at;
        self.at += 2;
        Ok(match self.text.as_bytes().get(start + 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let first = self.four_digits()?;
                let second = if (0xd800..0xdc00).contains(&first) && self.text[self.at..].starts_with("\\u") {
                    self.at += 2;
                    Some(self.four_digits()?)
                } else {
                    None
                };
                let units = [first, second.unwrap_or_default()];
                let mut chars = char::decode_utf16(units.into_iter().take(1 + usize::from(second.is_some())));
                match (chars.next(), chars.next()) {
                    (Some(Ok(char)), None) => char,
                    _ => return Err(DecodeError::Syntax { what: "half a character", at: start }),
                }
            }
            _ => return Err(DecodeError::Syntax { what: "an unknown escape", at: start }),
        })
    }

    fn four_digits(&mut self) -> Read<u16> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4).unwrap_or_default();
        if digits.len() < 4 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return self.wrong("an escape without four digits");
        }
        let value = u16::from_str_radix(&self.text[self.at..self.at + 4], 16).unwrap_or_default();
        self.at += 4;
        Ok(value)
    }

    /// Begins an object. [`next_member`](Self::next_member) reads its members.
    ///
    /// # Errors
    /// If the value is of another kind.
    pub fn object(&mut self) -> Read<()> {
        self.expect(Kind::Object)?;
        self.at += 1;
        Ok(())
    }

    /// Reads the name of the next member, whose value is read next. Returns `None` at the end. `is_first` is true for
    /// the first call.
    ///
    /// # Errors
    /// If neither a member nor the end follows.
    #[inline]
    pub fn next_member(&mut self, is_first: &mut bool) -> Read<Option<Cow<'a, str>>> {
        if !self.goes_on(b'}', is_first, "`,` or `}` is missing")? {
            return Ok(None);
        }
        if self.peek()? != b'"' {
            return self.wrong("a member without a name");
        }
        let name = self.string()?;
        if self.peek()? != b':' {
            return self.wrong("`:` is missing");
        }
        self.at += 1;
        Ok(Some(name))
    }

    /// Begins an array. [`next_item`](Self::next_item) reads its items.
    ///
    /// # Errors
    /// If the value is of another kind.
    pub fn array(&mut self) -> Read<()> {
        self.expect(Kind::Array)?;
        self.at += 1;
        Ok(())
    }

    /// Returns true if there is another item, which is read next. `is_first` is true for the first call.
    ///
    /// # Errors
    /// If neither an item nor the end follows.
    pub fn next_item(&mut self, is_first: &mut bool) -> Read<bool> {
        self.goes_on(b']', is_first, "`,` or `]` is missing")
    }

    fn goes_on(&mut self, end: u8, is_first: &mut bool, missing: &'static str) -> Read<bool> {
        let byte = self.peek()?;
        let was_first = std::mem::replace(is_first, false);
        if byte == end {
            self.at += 1;
            return Ok(false);
        }
        if was_first {
            return Ok(true);
        }
        if byte != b',' {
            return self.wrong(missing);
        }
        self.at += 1;
        Ok(true)
    }

    /// Refuses values that are nested too deep.
    ///
    /// # Errors
    /// If `depth` exceeds [`DEPTH_MAX`].
    pub fn deep_enough(&self, depth: usize) -> Read<()> {
        if depth > DEPTH_MAX { Err(DecodeError::TooDeep(self.at)) } else { Ok(()) }
    }

    /// Skips a value.
    ///
    /// # Errors
    /// If it is not JSON.
    pub fn skip(&mut self, depth: usize) -> Read<()> {
        self.deep_enough(depth)?;
        match self.kind()? {
            Kind::Null => self.null(),
            Kind::Bool => self.boolean().map(drop),
            Kind::Number => self.number().map(drop),
            Kind::String => self.string().map(drop),
            Kind::Array => {
                self.array()?;
                let mut is_first = true;
                while self.next_item(&mut is_first)? {
                    self.skip(depth + 1)?;
                }
                Ok(())
            }
            Kind::Object => {
                self.object()?;
                let mut is_first = true;
                while self.next_member(&mut is_first)?.is_some() {
                    self.skip(depth + 1)?;
                }
                Ok(())
            }
        }
    }

    /// The text of the next value.
    ///
    /// # Errors
    /// If it is not JSON.
    pub fn raw(&mut self, depth: usize) -> Read<&'a str> {
        self.peek()?;
        let start = self.at;
        self.skip(depth)?;
        Ok(&self.text[start..self.at])
    }

    /// Checks that the value ends here.
    ///
    /// # Errors
    /// If something follows.
    pub fn finish(mut self) -> Read<()> {
        match self.peek() {
            Ok(_) => self.wrong("something follows the value"),
            Err(_) => Ok(()),
        }
    }
}

pub(super) fn unfit(number: &Number<'_>, ty: &'static str) -> DecodeError {
    let mut text = number.text.chars().take(NUMBER_CHARS_SHOWN).collect::<String>();
    if text.len() < number.text.len() {
        text.push('…');
    }
    DecodeError::Number { text, ty, at: number.at }
}
