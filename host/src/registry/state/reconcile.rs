//! Reconciles a known state (a copy, or data that is older than the topic) with the content of the topic.

use std::fmt;

use super::{Change, GLOBAL, State};
use crate::registry::format;

/// The maximum number of a schema's characters in a message.
const TEXT_CHARS_SHOWN: usize = 120;

/// A contradiction between two states: an id or a version has two meanings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contradiction {
    /// An id stands for two schemas.
    Id {
        /// The id.
        id: u32,
        /// The known schema.
        known: String,
        /// The schema in `truth`.
        truth: String,
    },
    /// A schema has two ids.
    Schema {
        /// The schema.
        schema: String,
        /// The known id.
        known: u32,
        /// The id in `truth`.
        truth: u32,
    },
    /// A version of a subject has two schemas.
    Version {
        /// The subject.
        subject: String,
        /// The version.
        version: u32,
        /// The known schema's id.
        known: u32,
        /// The schema's id in `truth`.
        truth: u32,
    },
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id { id, known, truth } => write!(f, "the id {id} stands for `{known}` there and for `{truth}` here"),
            Self::Schema { schema, known, truth } => {
                write!(f, "the schema `{schema}` has the id {known} there and {truth} here")
            }
            Self::Version { subject, version, known, truth } => {
                write!(f, "version {version} of `{subject}` is the schema {known} there and {truth} here")
            }
        }
    }
}

impl State {
    /// The whole state, as changes to an empty one.
    #[must_use]
    pub fn all(&self) -> Vec<Change> {
        let mut all = vec![];
        if self.last_id > 0 {
            all.push(Change::LastId(self.last_id));
        }
        all.extend(self.schemas.iter().map(|(id, held)| Change::Schema(*id, Some((*held.entry).clone()))));
        for (subject, versions) in &self.subjects {
            let version = |(version, kept): (&u32, &_)| Change::Version(subject.clone(), *version, Some(*kept));
            all.extend(versions.iter().map(version));
        }
        all.extend(self.levels.iter().map(|(subject, level)| Change::Level(subject.clone(), Some(*level))));
        all.extend(self.modes.iter().map(|(subject, mode)| Change::Mode(subject.clone(), Some(*mode))));
        all
    }

    /// Returns true if `change` would have no effect.
    #[must_use]
    pub fn holds(&self, change: &Change) -> bool {
        match change {
            Change::Schema(id, entry) => self.schema(*id).map(|held| &**held) == entry.as_ref(),
            Change::Version(subject, version, kept) => {
                self.subjects.get(subject).and_then(|versions| versions.get(version)) == kept.as_ref()
            }
            Change::Level(subject, level) => self.own_level(subject) == *level,
            Change::Mode(subject, mode) => self.own_mode(subject) == *mode,
            Change::LastId(id) => self.last_id >= *id,
        }
    }

    /// The number of schemas.
    #[must_use]
    pub fn schemas_count(&self) -> usize {
        self.schemas.len()
    }
}

/// The changes that `truth` needs to include everything in `known`. If both have a value, `truth` takes precedence. It
/// is a contradiction if an id or a version would change its meaning.
///
/// # Errors
/// The first contradiction.
pub fn missing(known: &State, truth: &State) -> Result<Vec<Change>, Contradiction> {
    let was_empty = truth.schemas.is_empty() && truth.last_id == 0;
    let mut missing = vec![];
    for change in known.all() {
        let lacks = match &change {
            Change::LastId(id) => *id > truth.last_id,
            Change::Schema(id, Some(entry)) => lacks_schema(truth, *id, entry)?,
            Change::Version(subject, version, Some(kept)) => {
                match truth.subjects.get(subject).and_then(|versions| versions.get(version)) {
                    None => true,
                    Some(there) if there.id == kept.id => false,
                    Some(there) => {
                        let (known, truth) = (kept.id, there.id);
                        let (subject, version) = (subject.clone(), *version);
                        return Err(Contradiction::Version { subject, version, known, truth });
                    }
                }
            }
            // A setting for all subjects would also apply to other apps' subjects, so it is added only to an empty
            // registry.
            Change::Level(subject, _) => truth.own_level(subject).is_none() && (was_empty || subject != GLOBAL),
            Change::Mode(subject, _) => truth.own_mode(subject).is_none() && (was_empty || subject != GLOBAL),
            Change::Schema(_, None) | Change::Version(_, _, None) => false,
        };
        if lacks {
            missing.push(change);
        }
    }
    Ok(missing)
}

fn lacks_schema(truth: &State, id: u32, entry: &format::Entry) -> Result<bool, Contradiction> {
    let identity = format::identity(entry);
    if let Some(other) = truth.schema(id) {
        if format::identity(other) == identity {
            return Ok(false);
        }
        return Err(Contradiction::Id { id, known: shown(&entry.text), truth: shown(&other.text) });
    }
    match truth.ids.get(&identity) {
        Some(other) => Err(Contradiction::Schema { schema: shown(&entry.text), known: id, truth: *other }),
        None => Ok(true),
    }
}

/// The beginning of a schema's text, on one line.
fn shown(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let shown = line.chars().take(TEXT_CHARS_SHOWN).collect::<String>();
    if shown.len() < line.len() { format!("{shown}…") } else { shown }
}

#[cfg(test)]
mod tests {
    use heddle_contract::compat::Level;
    use heddle_contract::section::SchemaFormat;

    use super::super::Given;
    use super::*;
    use crate::registry::format::Entry;

    fn register(state: &mut State, subject: &str, name: &str) {
        let text = format!(r#"{{"type":"record","name":"{name}","fields":[]}}"#);
        let (_, changes) = state.register(subject, Entry::new(SchemaFormat::Avro, text), Given::default()).unwrap();
        changes.into_iter().for_each(|change| state.apply(change));
    }

    fn state(subjects: &[&str]) -> State {
        let mut state = State::default();
        subjects.iter().for_each(|name| register(&mut state, &format!("{name}-value"), name));
        state
    }

    #[test]
    fn an_empty_topic_gets_everything_with_its_ids() {
        let mut known = state(&["A", "B", "C"]);
        known.apply(Change::Level(GLOBAL.to_owned(), Some(Level::Full)));
        let mut truth = State::default();
        missing(&known, &truth).unwrap().into_iter().for_each(|change| truth.apply(change));
        assert_eq!(truth.all(), known.all());
        assert_eq!(missing(&known, &truth), Ok(vec![]));
    }

    #[test]
    fn a_topic_that_is_ahead_lacks_nothing_and_one_that_is_behind_gets_the_rest() {
        let (short, long) = (state(&["A", "B"]), state(&["A", "B", "C"]));
        assert_eq!(missing(&short, &long), Ok(vec![]));
        assert_eq!(missing(&long, &short).unwrap().len(), 3, "the last id, a schema, a version");
    }

    #[test]
    fn ids_that_were_given_in_another_order_are_refused() {
        let contradiction = missing(&state(&["A", "B"]), &state(&["B", "A"])).unwrap_err();
        assert!(matches!(&contradiction, Contradiction::Id { id: 1, .. }), "{contradiction}");
        let contradiction = missing(&state(&["A"]), &state(&["B", "A"])).unwrap_err();
        assert!(matches!(&contradiction, Contradiction::Id { id: 1, .. }), "{contradiction}");
        let mut other = State::default();
        other.apply(Change::LastId(7));
        register(&mut other, "A-value", "A");
        let contradiction = missing(&state(&["A"]), &other).unwrap_err();
        assert!(matches!(contradiction, Contradiction::Schema { known: 1, truth: 8, .. }), "{contradiction}");
    }

    #[test]
    fn the_level_of_all_subjects_is_not_imposed_on_others() {
        let mut known = state(&["A"]);
        known.apply(Change::Level(GLOBAL.to_owned(), Some(Level::None)));
        known.apply(Change::Level("A-value".to_owned(), Some(Level::Full)));
        let found = missing(&known, &state(&["A"])).unwrap();
        assert_eq!(found, [Change::Level("A-value".to_owned(), Some(Level::Full))]);
    }
}
