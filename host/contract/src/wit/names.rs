//! Names in WIT: kebab-case, in which every word begins with a letter.

/// WIT's keywords. A name that equals one is written after a `%`.
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

/// The name for an original name that has only `_`.
const NOTHING_LEFT: &str = "underscore";
/// The letter before a name that begins with a digit.
const BEFORE_DIGIT: char = 'n';

/// The name in WIT's syntax.
pub(super) fn written(name: &str) -> String {
    if KEYWORDS.contains(&name) { format!("%{name}") } else { name.to_owned() }
}

/// The kebab-case of a schema's name or a topic. `orderId`, `order_id` and `order.id` become `order-id`, `HTTPStatus`
/// becomes `http-status`, and `größe` becomes `grosse`. A word that begins with a digit joins the previous word
/// (`line_2` becomes `line2`), or gets an `n` if there is none (`2024-orders` becomes `n2024-orders`).
#[must_use]
pub fn kebab(name: &str) -> String {
    let chars = ascii(name);
    let mut out = String::with_capacity(name.len() + 4);
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
        if out.is_empty() && c.is_ascii_digit() {
            out.push(BEFORE_DIGIT);
        }
        out.push(c.to_ascii_lowercase());
    }
    if out.is_empty() { NOTHING_LEFT.to_owned() } else { out }
}

/// Converts letters of other scripts to Latin ones. A letter without a Latin counterpart becomes its number.
fn ascii(name: &str) -> Vec<char> {
    let mut out = Vec::with_capacity(name.len());
    for c in name.chars() {
        match deunicode::deunicode_char(c) {
            _ if c.is_ascii() => out.push(c),
            Some(latin) if latin.chars().any(|c| c.is_ascii_alphanumeric()) => out.extend(latin.chars()),
            _ => out.extend(format!("_u{:x}_", u32::from(c)).chars()),
        }
    }
    out
}

/// Returns true if WIT accepts `name` unchanged: words of lower-case letters and digits, beginning with a letter, with
/// single dashes in between.
#[must_use]
pub fn is_kebab(name: &str) -> bool {
    name.split('-').all(|word| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::{is_kebab, kebab};

    #[test]
    fn every_name_becomes_kebab_case() {
        let names = [
            ("orderId", "order-id"),
            ("order_id", "order-id"),
            ("ORDER_ID", "order-id"),
            ("HTTPStatus", "http-status"),
            ("line_2", "line2"),
            ("inv.public.orders", "inv-public-orders"),
            ("2024-orders", "n2024-orders"),
            ("_id", "id"),
            ("__", "underscore"),
            ("größe", "grosse"),
            ("prénom", "prenom"),
            ("中国", "zhong-guo"),
            ("a$b", "a-b"),
            ("\u{e000}", "ue000"),
        ];
        for (name, expected) in names {
            assert_eq!(kebab(name), expected, "{name}");
            assert!(is_kebab(expected));
        }
        for wrong in ["", "a--b", "A", "a-", "1a", "a-1", "a_b"] {
            assert!(!is_kebab(wrong), "{wrong}");
        }
    }
}
