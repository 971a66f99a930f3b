//! What a component's tasks share, and the topics they need beside those of the manifest.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use heddle_contract::manifest::Manifest;
use heddle_core::event::Topic;
use heddle_core::policy::{FailurePolicy, Order, Retry};
use heddle_core::state::StoreIndex;
use heddle_core::task::TaskSpec;

use crate::log::TopicSpec;

/// A dead-letter record is its original with headers on top, and a changelog record a value that a handler made: their
/// topics take larger records than others.
const RECORD_BYTES_MAX: u32 = 16 << 20;

/// How long a retry topic keeps its records: a component that stands still for longer than this has to be looked after
/// anyway.
const RETRY_RETENTION: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What the tasks of a component share, by its manifest and the topics that `there` are: where records may wait by an
/// earlier version's policy, they are still read.
#[must_use]
pub fn task_spec<'t>(app: &str, manifest: &Manifest, there: impl IntoIterator<Item = &'t str>) -> TaskSpec {
    let window = |consumes: &heddle_contract::manifest::component::Consumes| consumes.dedup;
    let policy = failure_policy(app, manifest);
    let (retries, waiting) = (manifest.retry_topics(app), manifest.waiting_changelog(app));
    let mut retry_topics = policy.retries.iter().map(|retry| retry.topic.clone()).collect::<BTreeSet<_>>();
    let mut waits = false;
    if let Order::Key(_) = policy.order {
        retry_topics.clear();
        waits = true;
    }
    for topic in there {
        retry_topics.extend(topic.starts_with(&retries).then(|| Topic::from(topic)));
        waits |= topic == waiting;
    }
    let mut changelogs =
        manifest.stores.keys().map(|store| manifest.changelog(app, store).into()).collect::<Vec<Topic>>();
    let waiting = waits.then(|| {
        changelogs.push(waiting.into());
        StoreIndex(changelogs.len() - 1)
    });
    TaskSpec {
        component: manifest.full_name(app).into(),
        digest: None,
        policy,
        retry_topics,
        changelogs,
        waiting,
        seen_changelog: manifest.dedup_changelog(app).map(Into::into),
        windows: manifest
            .consumes
            .iter()
            .filter_map(|(topic, consumes)| Some((topic.as_str().into(), window(consumes)?)))
            .collect(),
    }
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

/// The topics that a component needs for itself: created when they are missing.
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
    // A dead letter has the timestamp of its original, which may be old: it is kept until somebody says otherwise.
    let forever = ("retention.ms", "-1".to_owned());
    let mut topics = vec![topic(&spec.policy.dead_letter, vec![forever])];
    let retention = RETRY_RETENTION.as_millis().to_string();
    topics.extend(spec.retry_topics.iter().map(|name| topic(name, vec![("retention.ms", retention.clone())])));
    topics.extend(
        spec.changelogs.iter().map(|changelog| topic(changelog, vec![("cleanup.policy", "compact".to_owned())])),
    );
    topics.extend(spec.seen_changelog.iter().map(|changelog| {
        let window = spec.windows.values().max().copied().unwrap_or_default().saturating_add(spec.policy.lateness());
        topic(changelog, vec![("retention.ms", seen_retention(window).as_millis().to_string())])
    }));
    topics
}

/// How long the log keeps message ids. It goes by its own clock and the window by the records', which may lag behind:
/// after a host was down for a while, say. So it keeps them twice as long.
fn seen_retention(window: Duration) -> Duration {
    window.saturating_mul(2)
}
