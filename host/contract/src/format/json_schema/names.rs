//! Names of types. JSON Schema has none, so they are derived from titles, definitions and places.

use std::collections::BTreeSet;

use serde_json::Value;

use super::keywords::text;
use super::references::OTHERS;
use crate::format::name::Name;

/// The maximum length of a title that is used as a name, in characters.
const TITLE_CHARS_MAX: usize = 60;
/// The name of values whose schema has no title.
const UNTITLED: &str = "Value";

/// The place of a schema: the possible names of its type, the best first.
#[derive(Clone, Debug)]
pub(super) struct Place {
    names: Vec<String>,
    /// True for the place of a definition, whose name takes precedence over its title.
    is_definition: bool,
}

/// The names that are in use.
#[derive(Debug, Default)]
pub(super) struct Taken(BTreeSet<String>);

impl Place {
    /// The place of a whole value.
    pub(super) fn root() -> Self {
        Self { names: vec![UNTITLED.to_owned()], is_definition: false }
    }

    /// The place of a definition, named by the last step of a reference.
    pub(super) fn definition(reference: &str) -> Self {
        let (file, pointer) = reference.split_once('#').unwrap_or((reference, ""));
        let step = pointer.rsplit('/').next().filter(|step| !step.is_empty()).unwrap_or(file);
        let step = percent_encoding::percent_decode_str(step).decode_utf8_lossy().replace("~1", "/").replace("~0", "~");
        let last = step.rsplit('/').next().unwrap_or_default();
        let stem = last.strip_suffix(".json").unwrap_or(last);
        let stem = stem.strip_suffix(".schema").unwrap_or(stem);
        let names = Some(plain(stem)).filter(|name| !name.is_empty()).into_iter().collect();
        // Whole files have their own titles.
        let is_file = pointer.rsplit('/').nth(1).is_none_or(|outer| outer == OTHERS);
        Self { names, is_definition: !is_file }
    }

    /// The place of a member of the type `owner`.
    pub(super) fn member(owner: &Name, member: &str) -> Self {
        Self { names: vec![format!("{}.{}", owner.full(), plain(member))], is_definition: false }
    }

    /// The place of the items or values of the type here.
    pub(super) fn inner(&self, step: &str) -> Self {
        Self { names: self.names.iter().map(|name| format!("{name}_{step}")).collect(), is_definition: false }
    }

    /// The place of one of several types here.
    pub(super) fn case(&self, case: &str) -> Self {
        let names = self.names.iter().map(|name| format!("{name}.{}", plain(case))).collect();
        Self { names, is_definition: false }
    }
}

impl Taken {
    /// Names the type `schema` at `place`: by its definition, its title, or its path.
    pub(super) fn name(&mut self, schema: &Value, place: &Place) -> Name {
        let title = text(schema, "title").filter(|title| title.chars().count() <= TITLE_CHARS_MAX).map(plain);
        let title = title.filter(|title| title.chars().any(char::is_alphanumeric));
        let names = place.names.iter().cloned();
        let mut candidates = if place.is_definition {
            names.chain(title).collect()
        } else {
            title.into_iter().chain(names).collect::<Vec<_>>()
        };
        candidates.retain(|name| !name.is_empty());
        let last = candidates.last().cloned().unwrap_or_else(|| UNTITLED.to_owned());
        let numbered = (2..).map(|number| format!("{last}_{number}"));
        let found = candidates.into_iter().chain(numbered).find(|name| !self.0.contains(name)).unwrap_or(last);
        self.0.insert(found.clone());
        Name::new(found)
    }
}

/// Removes the character that separates namespaces from a name.
fn plain(name: &str) -> String {
    name.replace('.', "_")
}
