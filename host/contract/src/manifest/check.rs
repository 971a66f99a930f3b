//! Reads a tree of values key by key, and collects every problem instead of stopping at the first.
//!
//! A getter that finds a problem reports it and returns `None`. The caller continues with a default, and
//! [`Report::finish`] drops the result in the end.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::error::{ManifestErrors, Place, Problem, Source};
use super::names::{nearest, one_of};
use super::text::{self, Entries, Node, Value};

/// Collects the problems of one file.
pub(super) struct Report<'f> {
    file: &'f str,
    problems: RefCell<Vec<Problem>>,
}

impl<'f> Report<'f> {
    pub(super) fn new(file: &'f str) -> Self {
        Self { file, problems: RefCell::default() }
    }

    pub(super) fn add(&self, what: &str, source: Source, path: &[String], hint: &str) {
        let place = Place { source, key: text::path(path) };
        self.problems.borrow_mut().push(Problem::new(what, place, hint));
    }

    /// The start of the file, as the place of a missing part.
    pub(super) fn start(&self) -> Source {
        Source::File { name: self.file.to_owned(), line: 1, column: 1 }
    }

    /// Returns `checked` if no problem was reported.
    pub(super) fn finish<T>(self, checked: T) -> Result<T, ManifestErrors> {
        let problems = self.problems.into_inner();
        if problems.is_empty() { Ok(checked) } else { Err(ManifestErrors::new(problems)) }
    }
}

/// A table with a fixed set of keys. The file may not have it.
pub(super) struct Section<'d> {
    report: &'d Report<'d>,
    path: Vec<String>,
    at: Source,
    entries: Option<&'d Entries>,
    keys: &'static [&'static str],
}

impl<'d> Section<'d> {
    /// The whole file. Reports unknown keys.
    pub(super) fn root(report: &'d Report<'d>, entries: &'d Entries, keys: &'static [&'static str]) -> Self {
        Self::open(report, Vec::new(), report.start(), Some(entries), keys)
    }

    fn open(
        report: &'d Report<'d>,
        path: Vec<String>,
        at: Source,
        entries: Option<&'d Entries>,
        keys: &'static [&'static str],
    ) -> Self {
        let section = Self { report, path, at, entries, keys };
        for (key, node) in entries.into_iter().flatten() {
            if !keys.contains(&key.as_str()) {
                section.unknown(key, node);
            }
        }
        section
    }

    fn unknown(&self, key: &str, node: &Node) {
        let what = match self.path.is_empty() {
            true => format!("unknown key `{key}`"),
            false => format!("unknown key `{key}` in [{}]", text::path(&self.path)),
        };
        let hint = match nearest(key, self.keys.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("remove it; known here: {}", one_of(self.keys.iter().copied())),
        };
        self.report.add(&what, node.key_at.clone(), &self.join(key), &hint);
    }

    fn join(&self, key: &str) -> Vec<String> {
        self.path.iter().cloned().chain([key.to_owned()]).collect()
    }

    /// Returns true if the file has this section.
    pub(super) fn exists(&self) -> bool {
        self.entries.is_some()
    }

    /// The value of `key`, if the file has it.
    pub(super) fn field(&self, key: &str) -> Option<Field<'d>> {
        debug_assert!(self.keys.contains(&key), "`{key}` would be reported as unknown");
        let node = self.entries?.get(key)?;
        Some(Field { report: self.report, path: self.join(key), node })
    }

    /// The value of `key`. Reports it if it is missing.
    pub(super) fn required(&self, key: &str, hint: &str) -> Option<Field<'d>> {
        let field = self.field(key);
        if field.is_none() {
            let what = match self.path.is_empty() {
                true => format!("`{key}` is missing"),
                false => format!("`{key}` is missing in [{}]", text::path(&self.path)),
            };
            self.report.add(&what, self.at.clone(), &self.join(key), hint);
        }
        field
    }

    /// The section below this one. A section that the file does not have is empty.
    pub(super) fn section(&self, key: &str, keys: &'static [&'static str]) -> Self {
        match self.field(key) {
            Some(field) => field.section(keys),
            None => Self::open(self.report, self.join(key), self.at.clone(), None, keys),
        }
    }

    /// The entries of a table whose keys are names that the file chooses.
    pub(super) fn named(&self, key: &str) -> Vec<(String, Field<'d>)> {
        self.field(key).map(|field| field.named()).unwrap_or_default()
    }

    /// Reports a problem of the whole section.
    pub(super) fn problem(&self, what: &str, hint: &str) {
        self.report.add(what, self.at.clone(), &self.path, hint);
    }
}

/// A value in the file or in a variable.
pub(super) struct Field<'d> {
    report: &'d Report<'d>,
    path: Vec<String>,
    node: &'d Node,
}

impl<'d> Field<'d> {
    /// Reports that the value is wrong.
    pub(super) fn problem(&self, what: &str, hint: &str) {
        self.report.add(what, self.node.at.clone(), &self.path, hint);
    }

    /// Reports that the key is wrong.
    pub(super) fn key_problem(&self, what: &str, hint: &str) {
        self.report.add(what, self.node.key_at.clone(), &self.path, hint);
    }

    /// Returns true if the value comes from the environment instead of the file.
    pub(super) fn is_override(&self) -> bool {
        matches!(self.node.at, Source::Variable(_))
    }

    fn name(&self) -> &str {
        self.path.last().map_or("", String::as_str)
    }

    fn mistyped<T>(&self, expected: &str, example: &str) -> Option<T> {
        let what = format!("`{}` should be {expected}, not {}", self.name(), self.node.value.kind());
        self.problem(&what, &format!("write it like `{example}`"));
        None
    }

    /// A string that is not empty.
    pub(super) fn text(&self) -> Option<String> {
        let Value::Text(text) = &self.node.value else {
            return self.mistyped("a string", &format!("{} = \"...\"", self.name()));
        };
        if text.is_empty() {
            self.problem(&format!("`{}` is empty", self.name()), "give it a value or remove it");
            return None;
        }
        Some(text.clone())
    }

    /// A string that `fault` accepts.
    pub(super) fn checked(&self, noun: &str, fault: fn(&str) -> Option<&'static str>) -> Option<String> {
        let text = self.text()?;
        if let Some(hint) = fault(&text) {
            self.problem(&format!("`{text}` cannot name {noun}"), hint);
            return None;
        }
        Some(text)
    }

    /// One of several words.
    pub(super) fn word<T: Clone>(&self, words: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| meaning.clone());
        if found.is_none() {
            let known = || words.iter().map(|(word, _)| *word);
            let hint = match nearest(&text, known()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("use {}", one_of(known())),
            };
            self.problem(&format!("`{text}` is not a known {}", self.name()), &hint);
        }
        found
    }

    /// A whole number within `bounds`.
    pub(super) fn integer(&self, bounds: RangeInclusive<i64>) -> Option<i64> {
        let number = match &self.node.value {
            Value::Integer(number) => *number,
            Value::Text(text) if self.is_override() => match text.trim().parse() {
                Ok(number) => number,
                Err(_) => {
                    let hint = format!("set it to a number from {} to {}", bounds.start(), bounds.end());
                    self.problem(&format!("`{}` should be a whole number", self.name()), &hint);
                    return None;
                }
            },
            _ => return self.mistyped("a whole number", &format!("{} = {}", self.name(), bounds.start())),
        };
        self.within(number, &bounds, &number.to_string(), ToString::to_string)
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self) -> Option<bool> {
        match &self.node.value {
            Value::Boolean(boolean) => Some(*boolean),
            _ => self.mistyped("`true` or `false`", &format!("{} = true", self.name())),
        }
    }

    /// A duration within `bounds`, written like `"200ms"`.
    pub(super) fn duration(&self, bounds: RangeInclusive<Duration>) -> Option<Duration> {
        const HINT: &str = "write a number and a unit, such as \"200ms\", \"10s\", \"5m\" or \"7d\"";
        let Value::Text(text) = &self.node.value else {
            let what = format!("`{}` should be a duration, not {}", self.name(), self.node.value.kind());
            self.problem(&what, HINT);
            return None;
        };
        let Ok(duration) = humantime::parse_duration(text) else {
            self.problem(&format!("`{text}` is not a duration"), HINT);
            return None;
        };
        self.within(duration, &bounds, text, |bound| humantime::format_duration(*bound).to_string())
    }

    /// A number of bytes within `bounds`, written like `"64MiB"`.
    pub(super) fn size(&self, bounds: RangeInclusive<u64>) -> Option<u64> {
        const HINT: &str = "write a number and a unit, such as \"512KiB\" (1024 bytes each) or \"1MB\" (1000000 bytes)";
        let Value::Text(text) = &self.node.value else {
            let what = format!("`{}` should be a size, not {}", self.name(), self.node.value.kind());
            self.problem(&what, HINT);
            return None;
        };
        let Ok(size) = text.parse::<bytesize::ByteSize>() else {
            self.problem(&format!("`{text}` is not a size"), HINT);
            return None;
        };
        self.within(size.as_u64(), &bounds, text, |bound| bytesize::ByteSize(*bound).to_string())
    }

    fn within<T: PartialOrd>(
        &self,
        value: T,
        bounds: &RangeInclusive<T>,
        written: &str,
        show: impl Fn(&T) -> String,
    ) -> Option<T> {
        if bounds.contains(&value) {
            return Some(value);
        }
        let what = format!("`{}` cannot be {written}", self.name());
        self.problem(&what, &format!("use a value from {} to {}", show(bounds.start()), show(bounds.end())));
        None
    }

    /// The items of a list. In an environment variable, commas separate them.
    pub(super) fn items(&self) -> Vec<Field<'d>> {
        match &self.node.value {
            Value::List(items) => {
                items.iter().map(|node| Field { report: self.report, path: self.path.clone(), node }).collect()
            }
            _ => {
                self.mistyped::<()>("a list", &format!("{} = [\"...\"]", self.name()));
                Vec::new()
            }
        }
    }

    /// A string. A number or a boolean is converted to one.
    pub(super) fn plain(&self) -> Option<String> {
        match &self.node.value {
            Value::Text(text) => Some(text.clone()),
            Value::Integer(number) => Some(number.to_string()),
            Value::Float(number) => Some(number.clone()),
            Value::Boolean(boolean) => Some(boolean.to_string()),
            _ => self.mistyped("a string, a number or a boolean", &format!("\"{}\" = \"...\"", self.name())),
        }
    }

    /// A table with a fixed set of keys.
    pub(super) fn section(&self, keys: &'static [&'static str]) -> Section<'d> {
        let at = self.node.key_at.clone();
        Section::open(self.report, self.path.clone(), at, self.entries(), keys)
    }

    /// The entries of a table whose keys are names that the file chooses.
    pub(super) fn named(&self) -> Vec<(String, Field<'d>)> {
        let entry = |(key, node): (&String, &'d Node)| {
            let path = self.path.iter().cloned().chain([key.clone()]).collect();
            (key.clone(), Field { report: self.report, path, node })
        };
        self.entries().into_iter().flatten().map(entry).collect()
    }

    /// Returns true if it is a table without entries.
    pub(super) fn is_empty_table(&self) -> bool {
        matches!(&self.node.value, Value::Table(entries) if entries.is_empty())
    }

    fn entries(&self) -> Option<&'d Entries> {
        match &self.node.value {
            Value::Table(entries) => Some(entries),
            _ => self.mistyped("a table", &format!("[{}]", text::path(&self.path))),
        }
    }
}
