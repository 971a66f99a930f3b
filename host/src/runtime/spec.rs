//! The configuration shared by a component's tasks, and the internal topics that they need.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use heddle_contract::manifest::Manifest;
use heddle_contract::manifest::component::KeyType;
use heddle_contract::manifest::tables::{Scope, TableSpec};
use heddle_core::event::Topic;
use heddle_core::policy::{FailurePolicy, Order, Retry};
use heddle_core::state::StoreIndex;
use heddle_core::tables::{TableKeys, TaskTable};
use heddle_core::task::TaskSpec;

use crate::log::TopicSpec;

/// The maximum record size of internal topics. They accept larger records than others: a dead letter is its original
/// with more headers, and a changelog record has a value that a handler produced.
const RECORD_BYTES_MAX: u32 = 16 << 20;

/// The retention of a retry topic. A component that is stopped for longer needs attention anyway.
const RETRY_RETENTION: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Builds the configuration shared by a component's tasks. `there` names the existing topics, because records that an
/// earlier version's failure policy parked are still read. The keys of tables need the contract, too: see
/// [`Component::task_tables`](crate::guest::Component::task_tables).
#[must_use]
pub fn task_spec<'t>(app: &str, manifest: &Manifest, there: impl IntoIterator<Item = &'t str>) -> TaskSpec {
    let window = |consumes: &heddle_contract::manifest::component::Consumes| consumes.dedup;
    let policy = failure_policy(app, manifest);
    let (retries, schedule) = (manifest.retry_topics(app), manifest.waiting_changelog(app));
    let mut retry_topics = policy.retries.iter().map(|retry| retry.topic.clone()).collect::<BTreeSet<_>>();
    let mut parks = false;
    if let Order::Key(_) = policy.order {
        retry_topics.clear();
        parks = true;
    }
    for topic in there {
        retry_topics.extend(topic.starts_with(&retries).then(|| Topic::from(topic)));
        parks |= topic == schedule;
    }
    TaskSpec {
        component: manifest.full_name(app).into(),
        digest: None,
        policy,
        retry_topics,
        changelogs: manifest.stores.keys().map(|store| manifest.changelog(app, store).into()).collect(),
        schedule: parks.then(|| schedule.into()),
        seen_changelog: manifest.dedup_changelog(app).map(Into::into),
        tables: task_tables(manifest),
        windows: manifest
            .consumes
            .iter()
            .filter_map(|(topic, consumes)| Some((topic.as_str().into(), window(consumes)?)))
            .collect(),
    }
}

fn task_tables(manifest: &Manifest) -> Vec<TaskTable> {
    let table = |(place, table): (usize, &TableSpec)| TaskTable {
        index: StoreIndex::table(place),
        topic: table.topic.as_str().into(),
        keys: if let Some(KeyType::Schema(_)) = table.key { TableKeys::BySchema } else { TableKeys::Plain },
    };
    let all = manifest.tables.values().enumerate();
    all.filter(|(_, table)| table.scope == Scope::Task).map(table).collect()
}

fn failure_policy(app: &str, manifest: &Manifest) -> FailurePolicy {
    let failure = &manifest.failure;
    let retry = |delay: &Duration| Retry { delay: *delay, topic: manifest.retry_topic(app, *delay).into() };
    FailurePolicy {
        attempts_max: failure.attempts_max,
        backoff: failure.backoff,
        retry_on: failure.retry_on.clone(),
        retries: failure.retry.iter().map(retry).collect(),
        order: failure.order,
        dead_letter: manifest.dead_letter(app).into(),
    }
}

/// The internal topics of a component. Missing ones are created.
#[must_use]
pub fn own_topics(spec: &TaskSpec, partitions: i32) -> Vec<TopicSpec> {
    let topic = |name: &str, options: Vec<(&str, String)>| TopicSpec {
        name: name.to_owned(),
        partitions,
        replication: None,
        options: std::iter::once(("max.message.bytes", RECORD_BYTES_MAX.to_string()))
            .chain(options)
            .map(|(option, value)| (option.to_owned(), value))
            .collect::<BTreeMap<_, _>>(),
    };
    // A dead letter has the timestamp of its original, which may be old. It is kept unless an operator changes the
    // topic.
    let forever = ("retention.ms", "-1".to_owned());
    let mut topics = vec![topic(&spec.policy.dead_letter, vec![forever])];
    let retention = RETRY_RETENTION.as_millis().to_string();
    topics.extend(spec.retry_topics.iter().map(|name| topic(name, vec![("retention.ms", retention.clone())])));
    let compact = ("cleanup.policy", "compact".to_owned());
    topics.extend(spec.stores().map(|(_, changelog)| topic(changelog, vec![compact.clone()])));
    topics.extend(spec.seen_changelog.iter().map(|changelog| {
        let window = spec.windows.values().max().copied().unwrap_or_default().saturating_add(spec.policy.lateness());
        topic(changelog, vec![("retention.ms", seen_retention(window).as_millis().to_string())])
    }));
    topics
}

/// The retention of message ids. The log uses its own clock, and the window uses the records' time, which may lag
/// behind after a host was down. So the log keeps the ids twice as long.
fn seen_retention(window: Duration) -> Duration {
    window.saturating_mul(2)
}
