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
    /// The changelog of each store, by its [`StoreIndex`]: the component's own stores, then the store of parked
    /// records.
    pub changelogs: Vec<Topic>,
    /// The store of parked records, if there is one.
    pub waiting: Option<StoreIndex>,
    /// The changelog of message ids; `None` if no consumed topic has dedup.
    pub seen_changelog: Option<Topic>,
    /// The tables whose records are part of the input.
    pub tables: Vec<TaskTable>,
    /// The time for which message ids are remembered, for each consumed topic with dedup.
    pub windows: BTreeMap<Topic, Duration>,
}

impl TaskSpec {
    /// Returns true if the component has no stores, dedup or tables of its tasks.
    #[must_use]
    pub fn is_stateless(&self) -> bool {
        self.changelogs.is_empty() && self.seen_changelog.is_none() && self.tables.is_empty()
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
            waiting: None,
            seen_changelog: None,
            tables: vec![],
            windows: BTreeMap::new(),
        }
    }
}
