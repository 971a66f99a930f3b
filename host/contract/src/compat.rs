//! Compatibility of schemas: the checks of a registry before it accepts a new version of a subject.
//!
//! ```text
//!  level ─┬─ versions: the last one, or all of them (TRANSITIVE)
//!         └─ direction: the new schema reads the old data (BACKWARD), old ones read the new (FORWARD), both (FULL)
//!  violations(level, new, versions, reads) ─> for each failed version and way: the path, what was found,
//!                                             what would be accepted
//! ```
//!
//! `reads` compares two schemas, of one format or of any: [`Schema::problems`](crate::format::Schema::problems). The
//! whole module is pure.

use std::fmt;
use std::str::FromStr;

/// The compatibility that a subject requires of a new version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Level {
    /// No compatibility.
    None,
    /// The new version reads what the last version wrote.
    #[default]
    Backward,
    /// The new version reads what any version wrote.
    BackwardTransitive,
    /// The last version reads what the new version writes.
    Forward,
    /// Every version reads what the new version writes.
    ForwardTransitive,
    /// Both ways, with the last version.
    Full,
    /// Both ways, with every version.
    FullTransitive,
}

impl Level {
    /// All levels, from the least strict.
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::Backward,
        Self::BackwardTransitive,
        Self::Forward,
        Self::ForwardTransitive,
        Self::Full,
        Self::FullTransitive,
    ];

    /// The name in registries.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Backward => "BACKWARD",
            Self::BackwardTransitive => "BACKWARD_TRANSITIVE",
            Self::Forward => "FORWARD",
            Self::ForwardTransitive => "FORWARD_TRANSITIVE",
            Self::Full => "FULL",
            Self::FullTransitive => "FULL_TRANSITIVE",
        }
    }

    /// Returns true if every version counts, and not only the last one.
    #[must_use]
    pub fn is_transitive(self) -> bool {
        matches!(self, Self::BackwardTransitive | Self::ForwardTransitive | Self::FullTransitive)
    }

    /// The ways in which schemas must read each other.
    #[must_use]
    pub fn ways(self) -> &'static [Way] {
        match self {
            Self::None => &[],
            Self::Backward | Self::BackwardTransitive => &[Way::Backward],
            Self::Forward | Self::ForwardTransitive => &[Way::Forward],
            Self::Full | Self::FullTransitive => &[Way::Backward, Way::Forward],
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Level {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|level| level.as_str().eq_ignore_ascii_case(text)).ok_or(())
    }
}

/// The direction of a comparison: the reader and the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The new schema reads what the version wrote.
    Backward,
    /// The version reads what the new schema writes.
    Forward,
}

/// A place where a reader's schema does not accept a value of a writer's schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The place, by the names of the reader's schema: `items[].price`. The value itself is `.`.
    pub path: String,
    /// The type that was found there, and the types that would be accepted.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at `{}`: {}", self.path, self.what)
    }
}

/// A version with which a new schema is not compatible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The version's number.
    pub version: u32,
    /// The way that fails.
    pub way: Way,
    /// The reason.
    pub problem: Problem,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, way, problem } = self;
        match way {
            Way::Backward => write!(f, "the new schema cannot read what version {version} wrote, {problem}"),
            Way::Forward => write!(f, "version {version} cannot read what the new schema writes, {problem}"),
        }
    }
}

/// Returns the violations of `level` by `new`. `versions` are the subject's, in ascending order. `reads(reader,
/// writer)` returns the problems of one pair.
pub fn violations<'a, S: ?Sized>(
    level: Level,
    new: &'a S,
    versions: &[(u32, &'a S)],
    mut reads: impl FnMut(&'a S, &'a S) -> Vec<Problem>,
) -> Vec<Violation> {
    let skipped = if level.is_transitive() { 0 } else { versions.len().saturating_sub(1) };
    let mut violations = vec![];
    // The newest first, because its problem is the most informative.
    for (version, old) in versions[skipped..].iter().rev() {
        for way in level.ways() {
            let problems = match way {
                Way::Backward => reads(new, old),
                Way::Forward => reads(old, new),
            };
            violations.extend(problems.into_iter().map(|problem| Violation { version: *version, way: *way, problem }));
        }
    }
    violations
}
