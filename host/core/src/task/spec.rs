//! Configuration shared by all tasks of a component.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::delivery::ComponentName;
use crate::event::Topic;
use crate::policy::FailurePolicy;
use crate::state::StoreIndex;

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
    /// The time for which message ids are remembered, for each consumed topic with dedup.
    pub windows: BTreeMap<Topic, Duration>,
}

impl TaskSpec {
    /// Returns true if the component has neither stores nor dedup.
    #[must_use]
    pub fn is_stateless(&self) -> bool {
        self.changelogs.is_empty() && self.seen_changelog.is_none()
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
            windows: BTreeMap::new(),
        }
    }
}
