//! Names of types.

use std::fmt;

/// The name of a type of a schema.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    full: String,
}

impl Name {
    /// A full name.
    #[must_use]
    pub fn new(full: impl Into<String>) -> Self {
        Self { full: full.into() }
    }

    /// The name with its namespace, `com.example.Order`.
    #[must_use]
    pub fn full(&self) -> &str {
        &self.full
    }

    /// The name without its namespace, `Order`.
    #[must_use]
    pub fn short(&self) -> &str {
        self.full.rsplit('.').next().unwrap_or(&self.full)
    }

    /// The namespace; empty if it has none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.full.rsplit_once('.').map_or("", |(namespace, _)| namespace)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.full)
    }
}
