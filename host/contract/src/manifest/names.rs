//! The rules for names, and the known name that is most similar to a misspelt one.

use crate::wit::is_kebab;

/// The maximum length of an app's, component's or store's name, so that `<app>.<component>.<store>` fits into a topic's
/// name.
const NAME_CHARS_MAX: usize = 63;
/// The maximum length of a topic's name, by Kafka's rule.
const TOPIC_CHARS_MAX: usize = 249;

/// The reason why `name` cannot name an app, a component or a store.
pub(super) fn fault_of_name(name: &str) -> Option<&'static str> {
    const HINT: &str =
        "use lower-case letters, digits and single dashes, a letter first, at most 63 characters: `order-intake`";
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let good = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(allowed)
        && !name.ends_with('-')
        && !name.contains("--")
        && name.len() <= NAME_CHARS_MAX;
    (!good).then_some(HINT)
}

/// The reason why `topic` cannot name a topic.
pub(super) fn fault_of_topic(topic: &str) -> Option<&'static str> {
    const HINT: &str = "use letters, digits, `.`, `_` and `-`, at most 249 characters, as Kafka requires";
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let good =
        (1..=TOPIC_CHARS_MAX).contains(&topic.len()) && topic.chars().all(allowed) && !matches!(topic, "." | "..");
    (!good).then_some(HINT)
}

/// The reason why `schema` cannot name a schema.
pub(super) fn fault_of_schema(schema: &str) -> Option<&'static str> {
    const HINT: &str = "name a type of a file in contracts/, such as `StockLevel` or `shop.orders.StockLevel`";
    let (namespace, name) = schema.rsplit_once('.').unwrap_or(("", schema));
    // Namespaces may have any text, because Avro for Java did not check them before 1.12.
    let is_good = is_identifier(name) && !namespace.chars().any(|c| c.is_whitespace() || c.is_control());
    (!is_good).then_some(HINT)
}

/// The reason why `name` cannot name a type or a member of one in WIT.
pub(super) fn fault_of_wit_name(name: &str) -> Option<&'static str> {
    const HINT: &str =
        "use words of lower-case letters and digits with single dashes between, a letter first in each: `order-line`";
    (!is_kebab(name)).then_some(HINT)
}

/// Returns true if `text` can name a type or a field in Avro.
pub(super) fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_') && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// The known name that `unknown` probably means.
pub(super) fn nearest<'k>(unknown: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let distance_max = (unknown.chars().count() / 3).clamp(1, 4);
    known
        .into_iter()
        .map(|name| (strsim::osa_distance(unknown, name), name))
        .filter(|(distance, _)| *distance <= distance_max)
        .min()
        .map(|(_, name)| name)
}

/// `a, b or c`.
pub(super) fn one_of<'k>(names: impl IntoIterator<Item = &'k str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}
