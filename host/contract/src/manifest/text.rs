//! Parses TOML to a tree in which every value has its origin. An environment variable can then replace a value, and is
//! checked and reported like one.

use std::collections::BTreeMap;
use std::ops::Range;

use heddle_core::explain::one_line;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ManifestErrors, Place, Problem, Source};

/// The entries of a table, by key.
pub(super) type Entries = BTreeMap<String, Node>;

/// A value and its origin.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// The origin of its key.
    pub(super) key_at: Source,
    /// The origin of the value itself.
    pub(super) at: Source,
    pub(super) value: Value,
}

/// A value, as written.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Table(Entries),
    List(Vec<Node>),
    Text(String),
    Integer(i64),
    Boolean(bool),
    Float(String),
    /// A date, a time, or an integer that does not fit 64 bits. No key accepts them.
    Other(&'static str),
}

impl Value {
    /// The name of its type for people.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Table(_) => "a table",
            Self::List(_) => "a list",
            Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Boolean(_) => "a boolean",
            Self::Float(_) => "a number with a fraction",
            Self::Other(kind) => kind,
        }
    }
}

/// Parses `text`. If it is not TOML, all its syntax errors are reported, and nothing else.
pub(super) fn parse(text: &str, file: &str) -> Result<Entries, ManifestErrors> {
    let lines = Lines { file, text };
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(lines.table(table.into_inner()));
    }
    let problem = |error: &toml::de::Error| {
        let source = lines.source(&error.span().unwrap_or(0..0));
        let what = format!("not valid TOML: {}", error.message());
        let hint = match error.message().starts_with("duplicate key") {
            true => "keep one of the two",
            false => "write `key = \"value\"` lines below `[section]` headers; strings need quotes",
        };
        Problem::new(&what, Place { source, key: String::new() }, hint)
    };
    Err(ManifestErrors::new(errors.iter().map(problem).collect()))
}

/// Converts byte ranges of a text to lines and columns.
struct Lines<'t> {
    file: &'t str,
    text: &'t str,
}

impl Lines<'_> {
    fn source(&self, span: &Range<usize>) -> Source {
        let mut start = span.start.min(self.text.len());
        while !self.text.is_char_boundary(start) {
            start -= 1;
        }
        let before = self.text.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Source::File {
            name: self.file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
        }
    }

    fn table(&self, table: DeTable<'_>) -> Entries {
        let entry = |(key, value): (Spanned<std::borrow::Cow<'_, str>>, _)| {
            let key_at = self.source(&key.span());
            (key.get_ref().to_string(), self.node(key_at, value))
        };
        table.into_iter().map(entry).collect()
    }

    fn node(&self, key_at: Source, value: Spanned<DeValue<'_>>) -> Node {
        let at = self.source(&value.span());
        let value = match value.into_inner() {
            DeValue::String(text) => Value::Text(text.into_owned()),
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
                .map_or(Value::Other("an integer out of range"), Value::Integer),
            DeValue::Float(float) => Value::Float(float.as_str().to_owned()),
            DeValue::Boolean(boolean) => Value::Boolean(boolean),
            DeValue::Datetime(_) => Value::Other("a date or time"),
            DeValue::Array(items) => {
                let item = |value: Spanned<DeValue<'_>>| self.node(self.source(&value.span()), value);
                Value::List(items.into_iter().map(item).collect())
            }
            DeValue::Table(table) => Value::Table(self.table(table)),
        };
        Node { key_at, at, value }
    }
}

/// A key's path in TOML's notation.
pub(super) fn path(parts: &[String]) -> String {
    let part = |part: &String| {
        let bare = !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if bare { part.clone() } else { format!("\"{}\"", one_line(&part.replace('"', "\\\""))) }
    };
    parts.iter().map(part).collect::<Vec<_>>().join(".")
}
