//! Finds schema files without a topic and topics without a schema. A misspelt file name would otherwise silently turn a
//! typed topic into bytes.

use std::collections::BTreeSet;
use std::fmt;

use heddle_contract::manifest::Manifest;
use heddle_contract::manifest::component::ValueFormat;
use heddle_contract::section::Contract;
use heddle_contract::wire::{key_subject, value_subject};

use super::AppContracts;

/// A name without a counterpart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unmatched {
    /// A schema file without a topic.
    File {
        /// The subject that the file is named after.
        subject: String,
        /// The subject of a topic without a schema that the name may be meant for.
        meant: Option<String>,
    },
    /// A component's topic without a schema.
    Topic {
        /// The topic.
        topic: String,
        /// The component.
        component: String,
    },
}

impl fmt::Display for Unmatched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { subject, meant } => {
                write!(f, "the schema file `{subject}` belongs to no topic of the app")?;
                meant.as_ref().map_or(Ok(()), |meant| write!(f, "; did you mean `{meant}`?"))
            }
            Self::Topic { topic, component } => write!(
                f,
                "the topic `{topic}` of the component `{component}` has no schema `{}`: its values are bytes",
                value_subject(topic)
            ),
        }
    }
}

/// The schema files without a topic, then the topics without a schema. `declared` has the topics of heddle.toml. A
/// component that was built is typed by its contract, any other component by the files.
#[must_use]
pub fn unmatched<'m>(
    contracts: &AppContracts,
    declared: impl IntoIterator<Item = &'m String>,
    components: impl IntoIterator<Item = (&'m Manifest, Option<&'m Contract>)>,
) -> Vec<Unmatched> {
    let documents = contracts.documents();
    let files = contracts.subjects().map(|(subject, _)| subject);
    let files = files.chain(documents.iter().map(|document| document.subject.as_str())).collect::<BTreeSet<_>>();
    let (mut topics, mut untyped) = (declared.into_iter().collect::<BTreeSet<_>>(), vec![]);
    for (manifest, contract) in components {
        let shown = manifest.tables.values().map(|table| &table.topic);
        for topic in manifest.consumes.keys().chain(manifest.emits.keys()).chain(shown) {
            topics.insert(topic);
            let subject = value_subject(topic);
            let is_typed = match contract {
                _ if has_format(manifest, topic) => true,
                Some(contract) => contract.schemas.contains_key(&subject),
                None => files.contains(subject.as_str()) || names_types(manifest, topic),
            };
            if !is_typed && untyped.iter().all(|(other, _)| *other != topic) {
                untyped.push((topic, &manifest.name));
            }
        }
    }
    let known = topics.iter().flat_map(|topic| [value_subject(topic), key_subject(topic)]).collect::<BTreeSet<_>>();
    let missing = untyped.iter().map(|(topic, _)| value_subject(topic)).collect::<Vec<_>>();
    let strays = files.into_iter().filter(|file| !known.contains(*file)).filter_map(|file| {
        let meant = missing.iter().find(|subject| is_near(file, subject)).cloned();
        // Other files define types that several schemas use.
        let is_subject = file.ends_with("-value") || file.ends_with("-key");
        (is_subject || meant.is_some()).then(|| Unmatched::File { subject: file.to_owned(), meant })
    });
    let mut found = strays.collect::<Vec<_>>();
    found.extend(
        untyped
            .into_iter()
            .map(|(topic, component)| Unmatched::Topic { topic: topic.clone(), component: component.clone() }),
    );
    found
}

/// Returns true if the manifest names the types of a topic's values.
fn names_types(manifest: &Manifest, topic: &String) -> bool {
    let consumed = manifest.consumes.get(topic).map(|consumes| &consumes.types);
    let emitted = manifest.emits.get(topic).map(|emits| &emits.types);
    let shown = manifest.table_of(topic).map(|table| &table.types);
    consumed.into_iter().chain(emitted).chain(shown).any(|types| !types.is_empty())
}

/// Returns true if the manifest declares the topic's values as bytes or text.
fn has_format(manifest: &Manifest, topic: &String) -> bool {
    let consumed = manifest.consumes.get(topic).map(|consumes| consumes.format);
    let emitted = manifest.emits.get(topic).map(|emits| emits.format);
    let shown = manifest.table_of(topic).map(|table| table.format);
    consumed.into_iter().chain(emitted).chain(shown).any(|format| format != ValueFormat::Schema)
}

/// Returns true if a file with this name may be meant for `subject`: a letter or two differ, or the ending is missing.
fn is_near(file: &str, subject: &str) -> bool {
    subject.strip_suffix("-value") == Some(file) || strsim::osa_distance(file, subject) <= 2
}
