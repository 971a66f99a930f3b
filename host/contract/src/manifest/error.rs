//! What is wrong with a file, for the person who wrote it: one line what, one line where, one line what to do.

use std::fmt;

/// One thing that is wrong. Displays as exactly three lines, without a newline at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub what: String,
    /// Where it is.
    pub place: Place,
    /// What to do about it.
    pub hint: String,
}

/// Where a problem is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// What was being read.
    pub source: Source,
    /// The path of the key, in TOML's notation (`consumes."orders.created".id`); empty for the file as a whole.
    pub key: String,
}

/// What a value was read from. Ordered as problems are listed: by position, variables last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A file.
    File {
        /// Its name, as the caller gave it.
        name: String,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
    },
    /// An environment variable.
    Variable(String),
}

impl Problem {
    /// A problem whose texts are kept to one line each, whatever the file's values contain.
    pub(super) fn new(what: &str, place: Place, hint: &str) -> Self {
        Self { what: one_line(what), place, hint: one_line(hint) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  at {}\n  help: {}", self.what, self.place, self.hint)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::File { name, line, column } => write!(f, "{}:{line}:{column}", one_line(name))?,
            Source::Variable(name) => write!(f, "environment variable {}", one_line(name))?,
        }
        if self.key.is_empty() { Ok(()) } else { write!(f, " ({})", self.key) }
    }
}

/// Everything that is wrong with a file: at least one problem, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestErrors {
    problems: Vec<Problem>,
}

impl ManifestErrors {
    /// Puts the problems in the order in which a reader of the file meets them.
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| a.place.source.cmp(&b.place.source));
        Self { problems }
    }

    /// The problems, in the order of the file.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ManifestErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.problems.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ManifestErrors {}

/// `text` with control characters and line separators written as escapes.
pub(super) fn one_line(text: &str) -> String {
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    text.chars().flat_map(|c| if breaks(c) { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}
