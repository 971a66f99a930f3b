//! Problems of a manifest, for the person who wrote it: the fault, its place, and the remedy.

use std::error::Error;
use std::fmt;

use heddle_core::explain::{Explain, Explained, one_line};

/// One problem of a manifest. Its `Display` is one line without the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The fault.
    pub what: String,
    /// The place.
    pub place: Place,
    /// The remedy.
    pub hint: String,
}

/// The place of a problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file or the variable.
    pub source: Source,
    /// The path of the key, in TOML's notation (`consumes."orders.created".id`); empty for the whole file.
    pub key: String,
}

/// The origin of a value. Problems are listed in this order: by position, with variables last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A file.
    File {
        /// Its name, as given by the caller.
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
    /// Creates a problem. Its texts are reduced to one line each, whatever the file's values contain.
    pub(super) fn new(what: &str, place: Place, hint: &str) -> Self {
        Self { what: one_line(what), place, hint: one_line(hint) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for Problem {}

impl Explain for Problem {
    fn place(&self) -> Option<String> {
        Some(self.place.to_string())
    }

    fn remedy(&self) -> Option<String> {
        Some(self.hint.clone())
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

/// All problems of a file, in the order of the file; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestErrors {
    problems: Vec<Problem>,
}

impl ManifestErrors {
    /// Sorts the problems by their place in the file.
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
            write!(f, "{}{}: {problem}", if number == 0 { "" } else { "; " }, problem.place)?;
        }
        Ok(())
    }
}

impl Error for ManifestErrors {}

impl Explain for ManifestErrors {
    fn explained(&self) -> Vec<Explained> {
        self.problems.iter().flat_map(Explain::explained).collect()
    }
}
