//! The naming of the subjects of a topic's values, and the types of the values.

use std::collections::BTreeMap;

use super::check::Section;
use super::component::{Consumes, Emits, Manifest};
use super::names::fault_of_schema;
use crate::wire::{KEY, STORE_KEY, STORE_VALUE, VALUE, Wire, key_subject, record_of, value_subject};

/// The wires of an app's topics. A topic that is absent has [`Wire::Registry`].
pub type Wires = BTreeMap<String, Wire>;

pub(super) const SUBJECTS: [(&str, SubjectNames); 3] =
    [("topic", SubjectNames::Topic), ("record", SubjectNames::Record), ("topic-record", SubjectNames::TopicRecord)];

pub(super) const UNKNOWN_TYPES: [(&str, UnknownType); 2] =
    [("skip", UnknownType::Skip), ("dead-letter", UnknownType::DeadLetter)];

/// The naming of the registry's subjects for the values of a topic, by the strategies of Confluent's serializers.
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
    /// The subject of a record's schema; `None` if all types of the topic have one subject.
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

/// The form in which the values of a topic are passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ValueFormat {
    /// As typed by the topic's schema, or as bytes without a schema.
    #[default]
    Schema,
    /// As bytes, whatever schema the topic has.
    Bytes,
    /// As text in UTF-8.
    Text,
}

/// The treatment of a value of a type that the component does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownType {
    /// It is skipped, without effects.
    Skip,
    /// It is dead-lettered.
    DeadLetter,
}

impl Manifest {
    /// The registry's subject of the schema with this name in the contract. It is the same name, except for a store,
    /// whose subject is that of its changelog, and for a record, whose subject follows its topic's `subject`. `None` if
    /// the schema only types the component, and nothing is written with it.
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

    /// Returns true if any of these schemas, by the contract's names for them, has a subject in the registry. If none
    /// has one, the component runs without a registry.
    #[must_use]
    pub fn needs_registry<'n>(&self, names: impl IntoIterator<Item = &'n String>) -> bool {
        // Which subject it is depends on the app, but not whether there is one.
        names.into_iter().any(|name| self.registered("", name).is_some())
    }

    /// The way in which the records of a topic name the schemas that wrote them.
    #[must_use]
    pub fn wire(&self, topic: &str) -> Wire {
        self.wires.get(topic).copied().unwrap_or_default()
    }

    /// The wire of the topic whose schema has this name in the contract. For a store, it is always the registry's.
    #[must_use]
    pub fn wire_of(&self, name: &str) -> Wire {
        let of_topic = || name.strip_suffix(VALUE).or_else(|| name.strip_suffix(KEY));
        self.wire(record_of(name).map(|(topic, _)| topic).or_else(of_topic).unwrap_or_default())
    }

    /// Sets the wires that the app configures for its topics.
    #[must_use]
    pub fn with_wires(self, wires: &Wires) -> Self {
        Self { wires: wires.clone(), ..self }
    }

    /// The naming of the subjects of a topic's values.
    #[must_use]
    pub fn subject_names(&self, topic: &str) -> SubjectNames {
        let consumed = self.consumes.get(topic).map(|consumes| consumes.subject);
        let emitted = || Some(self.emits.get(topic)?.subject);
        consumed.or_else(emitted).or_else(|| Some(self.table_of(topic)?.subject)).unwrap_or_default()
    }

    /// Returns two flags: if the component reads with the schema of this name in the contract, and if it writes with
    /// it.
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

/// Checks that a topic which is both consumed and emitted to has one naming of subjects, and one list of types.
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
