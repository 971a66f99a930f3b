//! The topics that a host keeps for itself. A component that could write to one of them could change the state of other
//! components, deploy code, or change what a schema id means. A topic with two purposes would lose its data.

use std::collections::BTreeMap;

use heddle_contract::manifest::Manifest;
use heddle_core::explain::Explained;
use heddle_core::policy::Order;

use super::Topics;
use crate::cluster::Hosts;
use crate::runtime::KnownTopics;

/// The beginning of the names of Kafka's own topics.
const KAFKAS_OWN: &str = "__";

/// The purposes of topics, by name.
type Purposes = BTreeMap<String, String>;

/// Returns topics that components may not use as they do. `registry` is the topic of the embedded
/// registry, if the app uses it.
#[must_use]
pub fn conflicts<'m>(
    app: &str,
    registry: Option<&str>,
    components: impl IntoIterator<Item = &'m Manifest>,
) -> Vec<Explained> {
    let components = components.into_iter().collect::<Vec<_>>();
    let mut purposes = hosts_own(app, registry);
    let mut found = vec![];
    for manifest in &components {
        for (topic, purpose) in components_own(app, manifest) {
            if let Some(other) = purposes.insert(topic.clone(), purpose.clone()) {
                let conflict = Explained::new(format!("the topic `{topic}` cannot be {other} and {purpose}"));
                let place = format!("[stores] of the component `{}`", manifest.name);
                found.push(conflict.at(place).hint("give one of them another topic"));
            }
        }
    }
    for manifest in &components {
        let name = &manifest.name;
        for topic in manifest.emits.keys() {
            if let Some(purpose) = purpose(app, &purposes, &components, topic) {
                let what = format!("the component `{name}` may not emit to `{topic}`, which is {purpose}");
                let place = format!("[emits.\"{topic}\"] of the component `{name}`");
                found.push(Explained::new(what).at(place).hint("emit to another topic"));
            }
        }
        let letters = manifest.dead_letter(app);
        if let Some(purpose) = purpose(app, &purposes, &components, &letters) {
            let what =
                format!("the dead-letter topic of the component `{name}` cannot be `{letters}`, which is {purpose}");
            let place = format!("[failure] dead-letter of the component `{name}`");
            found.push(Explained::new(what).at(place).hint("name another topic, or none"));
        }
    }
    found
}

fn hosts_own(app: &str, registry: Option<&str>) -> Purposes {
    let [deployments, artefacts] = Topics::specs(app).map(|spec| spec.name);
    let mut own = Purposes::from([
        (Hosts::spec(app).name, "the list of the app's hosts".to_owned()),
        (KnownTopics::spec(app).name, "the list of known topics".to_owned()),
        (deployments, "the list of deployments".to_owned()),
        (artefacts, "where deployed files are kept".to_owned()),
    ]);
    own.extend(registry.map(|topic| (topic.to_owned(), "the embedded registry's".to_owned())));
    own
}

/// The topics that hold the state of a component.
fn components_own(app: &str, manifest: &Manifest) -> Vec<(String, String)> {
    let name = &manifest.name;
    let store =
        |store: &String| (manifest.changelog(app, store), format!("the changelog of `{name}`, store `{store}`"));
    let mut own = manifest.stores.keys().map(store).collect::<Vec<_>>();
    own.extend(manifest.dedup_changelog(app).map(|topic| (topic, format!("the message ids of `{name}`"))));
    if manifest.failure.order != Order::None {
        own.push((manifest.waiting_changelog(app), format!("the parked records of `{name}`")));
    }
    own
}

fn purpose(app: &str, purposes: &Purposes, components: &[&Manifest], topic: &str) -> Option<String> {
    if topic.starts_with(KAFKAS_OWN) {
        return Some("Kafka's own".to_owned());
    }
    let retries = components.iter().find(|manifest| topic.starts_with(&manifest.retry_topics(app)));
    let retries = retries.map(|manifest| format!("a retry topic of `{}`", manifest.name));
    purposes.get(topic).cloned().or(retries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(name: &str, rest: &str) -> Manifest {
        let text =
            format!("[component]\nname = \"{name}\"\nlanguage = \"rust\"\n[consumes.in]\nid = \"header:id\"\n{rest}");
        Manifest::parse(&text, "component.toml").unwrap()
    }

    fn first_lines(manifests: &[Manifest]) -> Vec<String> {
        let found = conflicts("shop", Some("heddle.registry"), manifests);
        found.into_iter().map(|conflict| conflict.what).collect()
    }

    #[test]
    fn ordinary_components_have_no_conflicts() {
        let ledger = manifest("ledger", "[emits.\"shop.orders.done\"]\n[stores.accounts]\nvalue = \"Account\"\n");
        let intake = manifest("intake", "[emits.out]\n[failure]\nretry = [\"1s\"]\norder = \"key\"\n");
        assert_eq!(first_lines(&[ledger, intake]), Vec::<String>::new());
    }

    #[test]
    fn no_component_emits_to_what_the_host_keeps() {
        let ledger = manifest("ledger", "[stores.accounts]\nvalue = \"Account\"\n");
        for topic in [
            "shop.hosts",
            "shop.topics",
            "shop.deployments",
            "shop.artefacts",
            "heddle.registry",
            "__consumer_offsets",
            "shop.ledger.accounts",
            "shop.ledger.dedup",
            "shop.ledger.retry.10s",
            "shop.thief.dedup",
        ] {
            let thief = manifest("thief", &format!("[emits.\"{topic}\"]\n"));
            let found = first_lines(&[ledger.clone(), thief]);
            assert!(found.len() == 1 && found[0].contains("may not emit to"), "{topic}: {found:?}");
            let careless = manifest("careless", &format!("[failure]\ndead-letter = \"{topic}\"\n"));
            let found = first_lines(&[ledger.clone(), manifest("thief", ""), careless]);
            assert!(found.len() == 1 && found[0].contains("dead-letter topic"), "{topic}: {found:?}");
        }
    }

    #[test]
    fn no_topic_is_the_changelog_of_two_stores() {
        let store = |changelog: &str| format!("[stores.accounts]\nvalue = \"Account\"\nchangelog = \"{changelog}\"\n");
        let ledger = manifest("ledger", &store("accounts"));
        for other in [store("accounts"), store("shop.hosts"), store("shop.other.dedup"), store("shop.ledger.dedup")] {
            let found = first_lines(&[ledger.clone(), manifest("other", &other)]);
            assert!(found.len() == 1 && found[0].contains("cannot be"), "{other}: {found:?}");
        }
    }
}
