//! Options that are passed on to librdkafka, and options of topics.

use std::collections::BTreeMap;

use super::check::Field;

/// Options of librdkafka that Heddle sets itself, because its guarantees depend on them, or because Heddle has its own
/// setting for them. Sorted.
pub const OPTIONS_OWNED: [&str; 25] = [
    "acks",
    "allow.auto.create.topics",
    "auto.commit.enable",
    "auto.offset.reset",
    "bootstrap.servers",
    "delivery.report.only.error",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "group.protocol.type",
    "group.remote.assignor",
    "isolation.level",
    "log.queue",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "message.send.max.retries",
    "metadata.broker.list",
    "partition.assignment.strategy",
    "partitioner",
    "request.required.acks",
    "retries",
    "transactional.id",
];

/// Reads options of librdkafka. Refuses those that Heddle sets.
pub(super) fn client_options(field: &Field<'_>) -> BTreeMap<String, String> {
    for (option, value) in field.named() {
        if OPTIONS_OWNED.contains(&option.as_str()) {
            let what = format!("`{option}` is set by Heddle: its guarantees depend on it");
            value.key_problem(&what, "remove it");
        }
    }
    options(field)
}

/// Reads all options as text.
pub(super) fn options(field: &Field<'_>) -> BTreeMap<String, String> {
    field.named().into_iter().filter_map(|(option, value)| Some((option, value.plain()?))).collect()
}
