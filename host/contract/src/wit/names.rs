//! Names in WIT: kebab-case, every word beginning with a letter.

use super::WitError;

/// WIT's keywords: a name that is one of them is written with `%` in front.
const KEYWORDS: [&str; 46] = [
    "as",
    "async",
    "bool",
    "borrow",
    "char",
    "constructor",
    "enum",
    "error-context",
    "export",
    "f32",
    "f64",
    "flags",
    "from",
    "func",
    "future",
    "import",
    "include",
    "interface",
    "list",
    "map",
    "option",
    "own",
    "package",
    "record",
    "resource",
    "result",
    "s16",
    "s32",
    "s64",
    "s8",
    "static",
    "stream",
    "string",
    "tuple",
    "type",
    "u16",
    "u32",
    "u64",
    "u8",
    "use",
    "variant",
    "with",
    "world",
    "float32",
    "float64",
    "_",
];

/// The name as it stands in WIT text.
pub(super) fn written(name: &str) -> String {
    if KEYWORDS.contains(&name) { format!("%{name}") } else { name.to_owned() }
}

/// The kebab-case of an Avro name or a topic: `orderId`, `order_id` and `order.id` become `order-id`, `HTTPStatus` becomes
/// `http-status`. A word that begins with a digit joins the one before it: `line_2` becomes `line2`.
///
/// # Errors
/// If nothing is left, or it begins with a digit; `what` says in the message what the name is of.
pub fn kebab(what: &str, name: &str) -> Result<String, WitError> {
    let mut out = String::with_capacity(name.len() + 4);
    let chars = name.chars().collect::<Vec<_>>();
    let mut new_word = false;
    for (place, c) in chars.iter().enumerate() {
        if !c.is_ascii_alphanumeric() {
            new_word = true;
            continue;
        }
        let before = place.checked_sub(1).map(|before| chars[before]);
        let after = chars.get(place + 1);
        new_word |= c.is_ascii_uppercase()
            && before.is_some_and(|before| {
                before.is_ascii_lowercase()
                    || before.is_ascii_digit()
                    || (before.is_ascii_uppercase() && after.is_some_and(char::is_ascii_lowercase))
            });
        if new_word && !out.is_empty() && !c.is_ascii_digit() {
            out.push('-');
        }
        new_word = false;
        out.push(c.to_ascii_lowercase());
    }
    if out.starts_with(|c: char| c.is_ascii_lowercase()) {
        Ok(out)
    } else {
        Err(WitError::NoName { what: what.to_owned(), name: name.to_owned() })
    }
}

/// The kebab-case names of things that stand beside each other: fields, symbols, branches.
///
/// # Errors
/// If two of them become the same.
pub(super) fn siblings<'a>(
    what: &str,
    within: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<String>, WitError> {
    let mut out: Vec<(String, &str)> = vec![];
    for name in names {
        let kebab = kebab(&format!("{what} of {within}"), name)?;
        if let Some((_, other)) = out.iter().find(|(known, _)| *known == kebab) {
            return Err(WitError::Clash {
                what: format!("{what}{} of {within}", if what.ends_with("ch") { "es" } else { "s" }),
                first: (*other).to_owned(),
                second: name.to_owned(),
                name: kebab,
            });
        }
        out.push((kebab, name));
    }
    Ok(out.into_iter().map(|(kebab, _)| kebab).collect())
}

/// The interface by which a component emits to `topic`: `emit-orders-created`.
#[must_use]
pub fn emit_interface(topic: &str) -> String {
    format!("emit-{}", kebab("topic", topic).unwrap_or_else(|_| topic.to_owned()))
}

/// The interface of a component's handler for `topic`: `on-orders-created`.
#[must_use]
pub fn on_interface(topic: &str) -> String {
    format!("on-{}", kebab("topic", topic).unwrap_or_else(|_| topic.to_owned()))
}

/// The interface of a component's store: `store-stock`.
#[must_use]
pub fn store_interface(name: &str) -> String {
    format!("store-{}", kebab("store", name).unwrap_or_else(|_| name.to_owned()))
}
