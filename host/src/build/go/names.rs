//! Conversion of WIT's names to Go's.

/// Words that Go writes entirely in capitals.
const INITIALISMS: [&str; 16] = [
    "api", "cpu", "html", "http", "https", "id", "ip", "json", "sku", "sql", "tcp", "ttl", "uri", "url", "uuid", "xml",
];

/// An exported name: `order-id` becomes `OrderID`. If adjacent capitals could make two names equal, a `_` separates
/// them: `i-d` becomes `I_D`.
pub(in crate::build) fn exported(name: &str) -> String {
    let (mut out, mut before) = (String::new(), "");
    for word in name.split('-') {
        let runs_on = |word: &str| word.len() == 1 || INITIALISMS.contains(&word);
        if (before.len() == 1 && runs_on(word)) || (word.len() == 1 && runs_on(before)) {
            out.push('_');
        }
        if INITIALISMS.contains(&word) {
            out.push_str(&word.to_ascii_uppercase());
        } else {
            let (first, rest) = word.split_at(word.len().min(1));
            out.push_str(&first.to_ascii_uppercase());
            out.push_str(rest);
        }
        before = word;
    }
    out
}

/// The exported name of a case of an enum or a variant. It includes the type's name, because cases share a namespace
/// with types.
pub(in crate::build) fn exported_case(ty: &str, case: &str) -> String {
    exported(&format!("{ty}-{case}"))
}

/// Returns true if the code contains a word outside of comments.
pub(super) fn uses(code: &str, word: &str) -> bool {
    code.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(word))
}

/// A WIT comment as a comment in Go. Go wants some comments to begin with the item's name; the caller adds it.
pub(super) fn comment(indent: &str, docs: Option<&str>) -> String {
    docs.map(|docs| docs.lines().map(|line| format!("{}\n", format!("{indent}// {line}").trim_end())).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::exported;

    #[test]
    fn names_are_those_that_go_would_have() {
        let names = ["order-id", "id", "in-transit", "line2", "http-status", "orders-created", "x-axis"].map(exported);
        assert_eq!(names, ["OrderID", "ID", "InTransit", "Line2", "HTTPStatus", "OrdersCreated", "XAxis"]);
    }

    #[test]
    fn two_names_never_become_one() {
        let names =
            ["id", "i-d", "api", "a-pi", "a-p-i", "http-s-tatus", "https-tatus", "x-id", "xid", "id-x", "i-d-x"];
        let all = names.map(exported).into_iter().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(all.len(), names.len(), "{all:?}");
    }
}
