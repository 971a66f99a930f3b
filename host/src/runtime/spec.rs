//! What a component's tasks share, and the topics they need beside those of the manifest.

use std::collections::BTreeMap;
use std::time::Duration;

use heddle_contract::manifest::Manifest;
use heddle_core::policy::FailurePolicy;
use heddle_core::task::TaskSpec;

use crate::log::TopicSpec;

/// A dead-letter record is its original with headers on top, and a changelog record a value that a handler made: their
/// topics take larger records than others.
const RECORD_BYTES_MAX: u32 = 16 << 20;

/// What the tasks of a component share, by its manifest.
#[must_use]
pub fn task_spec(app: &str, manifest: &Manifest) -> TaskSpec {
    let window = |consumes: &heddle_contract::manifest::component::Consumes| consumes.dedup;
    TaskSpec {
        component: manifest.full_name(app).into(),
        digest: None,
        policy: FailurePolicy {
            attempts_max: manifest.failure.attempts_max,
            dead_letter: manifest.dead_letter(app).into(),
        },
        changelogs: manifest.stores.keys().map(|store| manifest.changelog(app, store).into()).collect(),
        seen_changelog: manifest.dedup_changelog(app).map(Into::into),
        windows: manifest
            .consumes
            .iter()
            .filter_map(|(topic, consumes)| Some((topic.as_str().into(), window(consumes)?)))
            .collect(),
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
    let mut topics = vec![topic(&spec.policy.dead_letter, vec![])];
    topics.extend(
        spec.changelogs.iter().map(|changelog| topic(changelog, vec![("cleanup.policy", "compact".to_owned())])),
    );
    topics.extend(spec.seen_changelog.iter().map(|changelog| {
        let window = spec.windows.values().max().copied().unwrap_or_default();
        topic(changelog, vec![("retention.ms", retention(window).as_millis().to_string())])
    }));
    topics
}

/// How long the log keeps message ids. It goes by its own clock and the window by the records', which may lag behind: after a host
/// was down for a while, say. So it keeps them twice as long.
fn retention(window: Duration) -> Duration {
    window.saturating_mul(2)
}
