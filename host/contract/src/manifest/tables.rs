//! `[tables]`: the compacted topics that a component looks things up in.

use std::collections::{BTreeMap, BTreeSet};

use super::check::Section;
use super::component::{Consumes, Emits, KeyType, Manifest, key_type};
use super::names::{fault_of_name, fault_of_topic};
use super::subjects::{SUBJECTS, SubjectNames, ValueFormat, format, message, types};

const TABLE: &[&str] = &["topic", "scope", "key", "format", "message", "subject", "types"];

const SCOPES: [(&str, Scope); 2] = [("task", Scope::Task), ("global", Scope::Global)];

/// A read-only view of a compacted topic: of each key the newest value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableSpec {
    /// The topic.
    pub topic: String,
    /// How much of it a task sees.
    pub scope: Scope,
    /// What its keys are; `None`: as the `-key` subject says, or else strings.
    pub key: Option<KeyType>,
    /// How the subjects of its values are named.
    pub subject: SubjectNames,
    /// The schemas of its values, by the names of their types; none: the one that the topic's file has.
    pub types: Vec<String>,
    /// The message of its values, if that is not the first of the topic's file.
    pub message: Option<String>,
    /// The form in which its values are handed over.
    pub format: ValueFormat,
}

/// How much of its topic a task sees in a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// The partition of its own number, whose records are part of its input.
    #[default]
    Task,
    /// All partitions: every host follows them for all of its tasks.
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
