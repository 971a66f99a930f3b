//! `[tables]`: the compacted topics in which a component looks up entries.

use std::collections::{BTreeMap, BTreeSet};

use super::check::Section;
use super::component::{Consumes, Emits, KeyType, Manifest, key_type};
use super::names::{fault_of_name, fault_of_topic};
use super::subjects::{SUBJECTS, SubjectNames, ValueFormat, format, message, types};

const TABLE: &[&str] = &["topic", "scope", "key", "format", "message", "subject", "types"];

const SCOPES: [(&str, Scope); 2] = [("task", Scope::Task), ("global", Scope::Global)];

/// A read-only view of a compacted topic, with the newest value of each key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableSpec {
    /// The topic.
    pub topic: String,
    /// The part of it that a task sees.
    pub scope: Scope,
    /// The type of its keys. `None` for the type in the `-key` subject, or strings without one.
    pub key: Option<KeyType>,
    /// The naming of the subjects of its values.
    pub subject: SubjectNames,
    /// The types of its values, by name. If empty, the topic's file has the schema.
    pub types: Vec<String>,
    /// The message type of its values, if it is not the first one in the topic's file.
    pub message: Option<String>,
    /// The form in which the handler gets its values.
    pub format: ValueFormat,
}

/// The part of its topic that a task sees in a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// The partition with the task's number, whose records are part of its input.
    #[default]
    Task,
    /// All partitions. Every host follows them for all of its tasks.
    Global,
}

impl Manifest {
    /// The topics of the tables of this scope.
    pub fn table_topics(&self, scope: Scope) -> impl Iterator<Item = &String> {
        self.tables.values().filter(move |table| table.scope == scope).map(|table| &table.topic)
    }

    /// The table of a topic, if there is one.
    #[must_use]
    pub fn table_of(&self, topic: &str) -> Option<&TableSpec> {
        self.tables.values().find(|table| table.topic == topic)
    }
}

pub(super) fn tables(
    root: &Section<'_>,
    consumes: &BTreeMap<String, Consumes>,
    emits: &BTreeMap<String, Emits>,
) -> BTreeMap<String, TableSpec> {
    let (mut topics, mut tables) = (BTreeSet::new(), BTreeMap::new());
    for (name, field) in root.named("tables") {
        if let Some(hint) = fault_of_name(&name) {
            field.key_problem(&format!("`{name}` cannot name a table"), hint);
        }
        let section = field.section(TABLE);
        let topic = section.required("topic", "add `topic = \"<topic>\"`, the compacted topic that the table shows");
        let table = TableSpec {
            topic: topic.as_ref().and_then(|field| field.checked("a topic", fault_of_topic)).unwrap_or_default(),
            scope: section.field("scope").and_then(|field| field.word(&SCOPES)).unwrap_or_default(),
            key: key_type(&section),
            subject: section.field("subject").and_then(|field| field.word(&SUBJECTS)).unwrap_or_default(),
            types: types(&section),
            message: message(&section),
            format: format(&section),
        };
        if let Some(field) = topic {
            if !topics.insert(table.topic.clone()) {
                let what = format!("`{}` is the topic of two tables", table.topic);
                field.problem(&what, "keep one of them: handlers of all topics can read it");
            }
            if table.scope == Scope::Task && consumes.contains_key(&table.topic) {
                let what = format!("`{}` is consumed, and the topic of a table of scope `task`", table.topic);
                let hint = "a record is either handled or put into the table: add `scope = \"global\"`, or keep what \
                            the handler is given in a store";
                field.problem(&what, hint);
            }
            let own = (table.subject, &table.types, &table.message, table.format);
            let consumed = consumes.get(&table.topic).map(|it| (it.subject, &it.types, &it.message, it.format));
            let emitted = emits.get(&table.topic).map(|it| (it.subject, &it.types, &it.message, it.format));
            if consumed.into_iter().chain(emitted).any(|other| other != own) {
                let what = format!("`{}` has another `subject` or other `types` in another section", table.topic);
                field.problem(&what, "write the same `subject` and `types` into all sections of a topic");
            }
        }
        tables.insert(name, table);
    }
    tables
}
