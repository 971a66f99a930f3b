//! The rights that a host needs for a component. docs/rights.md lists them, and `heddle check` asks the brokers for
//! them.

use heddle_contract::manifest::Manifest;
use heddle_core::task::TaskSpec;

use crate::log::Operation::{Alter, Create, DescribeConfigs, Read, Write};
use crate::log::{Operation, Resource, Right};

/// The operations of a host on topics that hold its own data.
pub const OWN_TOPIC: &[Operation] = &[Read, Write, Create, DescribeConfigs];

/// The rights that a host needs to run this component of `app`.
#[must_use]
pub fn rights(app: &str, manifest: &Manifest, spec: &TaskSpec) -> Vec<Right> {
    let consumed = manifest.consumes.keys().flat_map(|topic| Right::on_topic(topic, &[Read]));
    let emitted = manifest.emits.keys().flat_map(|topic| Right::on_topic(topic, &[Write, DescribeConfigs]));
    let kept = spec.all_changelogs().chain([&spec.policy.dead_letter]);
    let kept = kept.flat_map(|topic| Right::on_topic(topic, OWN_TOPIC));
    let retried = |topic| Right::on_topic(topic, OWN_TOPIC).chain(Right::on_topic(topic, &[Alter]));
    let retried = spec.retry_topics.iter().flat_map(|topic| retried(topic.as_ref()));
    let shown = manifest.tables.values().flat_map(|table| Right::on_topic(&table.topic, &[Read, DescribeConfigs]));
    let group = manifest.group.clone().unwrap_or_else(|| manifest.full_name(app));
    let ids = format!("{}-", manifest.full_name(app));
    let others = [
        Right { resource: Resource::Group(group), operation: Read },
        Right { resource: Resource::TransactionalIds(ids), operation: Write },
    ];
    let mut all = consumed.chain(emitted).chain(shown).chain(kept).chain(retried).chain(others).collect::<Vec<_>>();
    all.sort_unstable();
    all.dedup();
    all
}
