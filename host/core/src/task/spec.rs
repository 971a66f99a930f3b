//! Configuration shared by all tasks of a component.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::delivery::ComponentName;
use crate::event::Topic;
use crate::policy::FailurePolicy;
use crate::state::StoreIndex;
use crate::tables::TaskTable;

/// Configuration shared by all tasks of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskSpec {
    /// The component.
    pub component: ComponentName,
    /// The digest of its file, for dead letters.
    pub digest: Option<Arc<str>>,
    /// The failure policy.
    pub policy: FailurePolicy,
    /// The topics for parked records: those of the policy, and those of an earlier policy.
    pub retry_topics: BTreeSet<Topic>,
    /// The changelogs of the component's own stores, by their [`StoreIndex`].
    pub changelogs: Vec<Topic>,
    /// The changelog of the schedule; `None` if no record is parked in a task's state.
    pub schedule: Option<Topic>,
    /// The changelog of message ids; `None` if no consumed topic has dedup.
    pub seen_changelog: Option<Topic>,
    /// The tables whose records are part of the input.
    pub tables: Vec<TaskTable>,
    /// The time for which message ids are remembered, for each consumed topic with dedup.
    pub windows: BTreeMap<Topic, Duration>,
}

impl TaskSpec {
    /// Returns true if the component has no stores, no dedup and no tables of scope `task`.
    #[must_use]
    pub fn is_stateless(&self) -> bool {
        self.all_changelogs().next().is_none() && self.tables.is_empty()
    }

    /// The stores with a changelog: the component's own, then the schedule.
    pub fn stores(&self) -> impl Iterator<Item = (StoreIndex, &Topic)> {
        let own = self.changelogs.iter().enumerate().map(|(place, topic)| (StoreIndex(place), topic));
        own.chain(self.schedule.iter().map(|topic| (StoreIndex::SCHEDULE, topic)))
    }

    /// The changelog of a store; `None` for a table.
    #[must_use]
    pub fn changelog(&self, store: StoreIndex) -> Option<&Topic> {
        if store == StoreIndex::SCHEDULE { self.schedule.as_ref() } else { self.changelogs.get(store.0) }
    }

    /// All changelogs: those of the stores, then that of the message ids.
    pub fn all_changelogs(&self) -> impl Iterator<Item = &Topic> {
        self.changelogs.iter().chain(&self.schedule).chain(&self.seen_changelog)
    }

    /// Returns true if the topic is one of the changelogs.
    #[must_use]
    pub fn has_changelog(&self, topic: &Topic) -> bool {
        self.all_changelogs().any(|changelog| changelog == topic)
    }

    /// The table of a topic, if its records are part of the input.
    #[must_use]
    pub fn table(&self, topic: &Topic) -> Option<&TaskTable> {
        self.tables.iter().find(|table| table.topic == *topic)
    }

    /// Creates the spec of a component without stores and dedup.
    #[must_use]
    pub fn stateless(component: ComponentName, policy: FailurePolicy) -> Self {
        Self {
            component,
            digest: None,
            policy,
            retry_topics: BTreeSet::new(),
            changelogs: vec![],
            schedule: None,
            seen_changelog: None,
            tables: vec![],
            windows: BTreeMap::new(),
        }
    }
}
