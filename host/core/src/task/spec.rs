//! What a task is told of its component.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::delivery::ComponentName;
use crate::event::Topic;
use crate::policy::FailurePolicy;
use crate::state::StoreIndex;

/// What all tasks of one component share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskSpec {
    /// The component.
    pub component: ComponentName,
    /// The digest of its file, told with what it could not handle.
    pub digest: Option<Arc<str>>,
    /// What a failed delivery leads to.
    pub policy: FailurePolicy,
    /// The topics in which records wait for another attempt: those of the policy, and those of an earlier one.
    pub retry_topics: BTreeSet<Topic>,
    /// The changelog of each store, by its [`StoreIndex`]: the component's own, and then the one of records that wait.
    pub changelogs: Vec<Topic>,
    /// The store of records that wait for another attempt, if there is one.
    pub waiting: Option<StoreIndex>,
    /// The changelog of message ids; `None` if no consumed topic has dedup.
    pub seen_changelog: Option<Topic>,
    /// How long the message ids of a topic are remembered, for each consumed topic that has dedup.
    pub windows: BTreeMap<Topic, Duration>,
}

impl TaskSpec {
    /// Whether it has neither stores nor dedup.
    #[must_use]
    pub fn is_stateless(&self) -> bool {
        self.changelogs.is_empty() && self.seen_changelog.is_none()
    }

    /// A component without stores and without dedup.
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
