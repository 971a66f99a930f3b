//! How the subjects of a topic's values are named, and what its types are.

use std::collections::BTreeMap;

use super::check::Section;
use super::component::{Consumes, Emits, Manifest};
use super::names::fault_of_schema;
use crate::wire::{KEY, STORE_KEY, STORE_VALUE, VALUE, Wire, key_subject, record_of, value_subject};

/// The wires of an app's topics, by topic. A topic that is not in it has [`Wire::Registry`].
pub type Wires = BTreeMap<String, Wire>;

pub(super) const SUBJECTS: [(&str, SubjectNames); 3] =
    [("topic", SubjectNames::Topic), ("record", SubjectNames::Record), ("topic-record", SubjectNames::TopicRecord)];

pub(super) const UNKNOWN_TYPES: [(&str, UnknownType); 2] =
    [("skip", UnknownType::Skip), ("dead-letter", UnknownType::DeadLetter)];

/// How the registry's subjects for the values of a topic are named, as Confluent's serializers call it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SubjectNames {
    /// `<topic>-value`: `TopicNameStrategy`.
    #[default]
    Topic,
    /// `<full name of the record>`: `RecordNameStrategy`.
    Record,
    /// `<topic>-<full name of the record>`: `TopicRecordNameStrategy`.
    TopicRecord,
}

impl SubjectNames {
    /// The subject of a record's schema; `None` where all types of the topic have one subject.
    #[must_use]
    pub fn of_record(self, topic: &str, full_name: &str) -> Option<String> {
        match self {
            Self::Topic => None,
            Self::Record => Some(full_name.to_owned()),
            Self::TopicRecord => Some(format!("{topic}-{full_name}")),
        }
    }
}

pub(super) const FORMATS: [(&str, ValueFormat); 2] = [("bytes", ValueFormat::Bytes), ("text", ValueFormat::Text)];

/// The form in which the values of a topic are handed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ValueFormat {
    /// As the topic's schema types them; without a schema as bytes.
    #[default]
    Schema,
    /// As bytes, whatever schema the topic has.
    Bytes,
    /// As text in UTF-8.
    Text,
}

/// What happens to a value of a type that the component does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownType {
    /// It is handled without the handler, and has no effects.
    Skip,
    /// It is dead-lettered.
    DeadLetter,
}

impl Manifest {
    /// The subject under which the registry has a schema that the contract calls `name`: the same, for a store that of
    /// its changelog, for a record that of its topic's `subject`. `None`: the component is typed by the schema, and
    /// nothing is written by it.
    #[must_use]
    pub fn registered(&self, app: &str, name: &str) -> Option<String> {
        if let Some(store) = name.strip_prefix(STORE_VALUE) {
            return Some(value_subject(&self.changelog(app, store)));
        }
        if let Some(store) = name.strip_prefix(STORE_KEY) {
            return Some(key_subject(&self.changelog(app, store)));
        }
        if self.wire_of(name) == Wire::Plain {
            return None;
        }
        if let Some((topic, full_name)) = record_of(name) {
            return self.subject_names(topic).of_record(topic, full_name);
        }
        let topic = name.strip_suffix(VALUE).or_else(|| name.strip_suffix(KEY)).unwrap_or_default();
        let by_topic = name.ends_with(KEY) || self.subject_names(topic) == SubjectNames::Topic;
        by_topic.then(|| name.to_owned())
    }

    /// How the records of a topic name the schemas that wrote them.
    #[must_use]
    pub fn wire(&self, topic: &str) -> Wire {
        self.wires.get(topic).copied().unwrap_or_default()
    }

    /// The wire of the topic whose schema the contract calls `name`; that of stores is always the registry's.
    #[must_use]
    pub fn wire_of(&self, name: &str) -> Wire {
        let of_topic = || name.strip_suffix(VALUE).or_else(|| name.strip_suffix(KEY));
        self.wire(record_of(name).map(|(topic, _)| topic).or_else(of_topic).unwrap_or_default())
    }

    /// The same with the wires that the app sets for its topics.
    #[must_use]
    pub fn with_wires(self, wires: &Wires) -> Self {
        Self { wires: wires.clone(), ..self }
    }

    /// How the subjects of a topic's values are named.
    #[must_use]
    pub fn subject_names(&self, topic: &str) -> SubjectNames {
        let consumed = self.consumes.get(topic).map(|consumes| consumes.subject);
        let emitted = || Some(self.emits.get(topic)?.subject);
        consumed.or_else(emitted).or_else(|| Some(self.table_of(topic)?.subject)).unwrap_or_default()
    }

    /// Whether the component reads by the schema that the contract calls `name`, and whether it writes by it.
    #[must_use]
    pub fn uses(&self, name: &str) -> (bool, bool) {
        if name.starts_with(STORE_VALUE) || name.starts_with(STORE_KEY) {
            return (true, true);
        }
        let of_topic = || name.strip_suffix(VALUE).or_else(|| name.strip_suffix(KEY));
        let topic = record_of(name).map(|(topic, _)| topic).or_else(of_topic).unwrap_or_default();
        let is_read = self.consumes.contains_key(topic) || self.table_of(topic).is_some();
        (is_read, self.emits.contains_key(topic))
    }
}

pub(super) fn types(section: &Section<'_>) -> Vec<String> {
    let items = section.field("types").map(|field| field.items()).unwrap_or_default();
    items.iter().filter_map(|item| item.checked("a schema", fault_of_schema)).collect()
}

pub(super) fn format(section: &Section<'_>) -> ValueFormat {
    let Some(field) = section.field("format") else { return ValueFormat::Schema };
    for key in ["types", "message", "subject"] {
        if let Some(stray) = section.field(key) {
            stray.key_problem(
                &format!("`{key}` is about a schema, and `format` is without one"),
                "remove one of the two",
            );
        }
    }
    field.word(&FORMATS).unwrap_or_default()
}

pub(super) fn message(section: &Section<'_>) -> Option<String> {
    let message = section.field("message")?;
    if section.field("types").is_some() {
        message.key_problem("`message` names one type, and `types` several", "write one of the two");
    }
    message.checked("a message", fault_of_schema)
}

/// A topic that is consumed and emitted to has one name for its subjects, and one list of types.
pub(super) fn same_types(root: &Section<'_>, consumes: &BTreeMap<String, Consumes>, emits: &BTreeMap<String, Emits>) {
    for (topic, field) in root.named("emits") {
        let (Some(read), Some(written)) = (consumes.get(&topic), emits.get(&topic)) else { continue };
        let is_same = (read.subject, &read.types, &read.message, read.format)
            == (written.subject, &written.types, &written.message, written.format);
        if !is_same {
            let what = format!("`{topic}` is consumed and emitted to with another `subject` or other `types`");
            field.key_problem(&what, "write the same `subject` and `types` into both sections");
        }
    }
}
