//! Checks the bounds of a component, its topics and the client against each other at the start, not when a record
//! exceeds them.

use heddle_contract::manifest::Manifest;
use heddle_core::limits::Limits;
use heddle_core::task::TaskSpec;

/// The additional bytes of a dead-lettered or parked record: reason, log, and the other additional headers.
const FAILURE_BYTES: u64 = 16 << 10;
/// The bytes of a changelog entry beside its key and value.
const ENTRY_BYTES: u64 = 256;

/// Returns the conflicts, one line each. `limits` returns the bounds of a topic, if they are known.
pub(super) fn troubles(manifest: &Manifest, spec: &TaskSpec, limits: impl Fn(&str) -> Option<Limits>) -> Vec<String> {
    let mut found = vec![];
    let input = manifest.consumes.keys().filter_map(|topic| limits(topic)?.batch_bytes_max).max();
    // A compressed record may be larger than its topic's bound; most are not.
    let record = manifest.limits.record_bytes_max.max(input.unwrap_or(0) as u64);
    let failed = std::iter::once(&spec.policy.dead_letter).chain(&spec.retry_topics);
    for topic in failed {
        let what = format!("a record of {record} bytes ([limits] record, or max.message.bytes of the input)");
        let otherwise = match *topic == spec.policy.dead_letter {
            true => "is dead-lettered with only its beginning",
            false => "is dead-lettered instead of being retried later",
        };
        found.extend(trouble(topic, limits(topic), &what, record + FAILURE_BYTES, otherwise));
    }
    let entry = manifest.limits.store_value_bytes_max;
    for topic in &spec.changelogs {
        let what = format!("an entry of a store of {entry} bytes ([limits] store-value)");
        let otherwise = "is a failure of the delivery that writes it";
        found.extend(trouble(topic, limits(topic), &what, entry + ENTRY_BYTES, otherwise));
    }
    found
}

fn trouble(topic: &str, limits: Option<Limits>, what: &str, bytes: u64, otherwise: &str) -> Option<String> {
    let limits = limits?;
    let max = limits.record_bytes_max().filter(|max| (*max as u64) < bytes)?;
    let too_small = |bound: Option<usize>| bound.is_some_and(|bound| (bound as u64) < bytes);
    let mut set = vec![];
    if too_small(limits.batch_bytes_max) {
        set.push(format!("max.message.bytes = {bytes} on the topic"));
    }
    if too_small(limits.client_bytes_max) {
        set.push(format!("\"message.max.bytes\" = {bytes} in [log.options]"));
    }
    let set = set.join(" and ");
    Some(format!("{what} does not fit into topic `{topic}`, which takes {max}: it {otherwise}; set {set}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::task_spec;

    fn troubles_of(limits: &str, topic: impl Fn(&str) -> Option<usize>, client: usize) -> Vec<String> {
        let text = format!(
            "[component]\nname = \"c\"\nlanguage = \"rust\"\n[consumes.in]\n[stores.sums]\nvalue = \"Sum\"\n[limits]\n{limits}\n"
        );
        let manifest = Manifest::parse(&text, "component.toml").unwrap();
        let spec = task_spec("app", &manifest, []);
        troubles(&manifest, &spec, |name| {
            Some(Limits { batch_bytes_max: topic(name), client_bytes_max: Some(client), ..Limits::unknown(1) })
        })
    }

    #[test]
    fn each_bound_that_is_too_small_is_named_with_what_to_set() {
        let created = |name: &str| Some(if name == "in" { 1 << 20 } else { 16 << 20 });
        assert_eq!(troubles_of("", created, 16 << 20), Vec::<String>::new());
        let small = |name: &str| Some(if name == "app.c.dlq" { 1_000_000 } else { 16 << 20 });
        let found = troubles_of("", small, 32 << 20);
        assert!(found[0].contains("`app.c.dlq`, which takes 1000000") && found[0].contains("max.message.bytes = "));
        let found = troubles_of("store-value = \"20MiB\"", created, 16 << 20);
        assert_eq!(found.len(), 1, "{found:?}");
        let set = "set max.message.bytes = 20971776 on the topic and \"message.max.bytes\" = 20971776 in [log.options]";
        assert!(found[0].contains("`app.c.sums`") && found[0].ends_with(set), "{found:?}");
    }
}
