//! WIT's names as Go writes them.

/// Words that Go writes in capitals as a whole.
const INITIALISMS: [&str; 16] = [
    "api", "cpu", "html", "http", "https", "id", "ip", "json", "sku", "sql", "tcp", "ttl", "uri", "url", "uuid", "xml",
];

/// An exported name: `order-id` becomes `OrderID`.
pub(in crate::build) fn exported(name: &str) -> String {
    let word = |word: &str| {
        if INITIALISMS.contains(&word) {
            return word.to_ascii_uppercase();
        }
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_ascii_uppercase() + rest
    };
    name.split('-').map(word).collect()
}

/// What WIT says of an item, as a comment of Go. Where Go asks for a comment to begin with the item's name, `name` does.
pub(super) fn comment(indent: &str, docs: Option<&str>) -> String {
    docs.map(|docs| docs.lines().map(|line| format!("{}\n", format!("{indent}// {line}").trim_end())).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::exported;

    #[test]
    fn names_are_those_that_go_would_have() {
        let names = ["order-id", "id", "in-transit", "line2", "http-status", "orders-created"].map(exported);
        assert_eq!(names, ["OrderID", "ID", "InTransit", "Line2", "HTTPStatus", "OrdersCreated"]);
    }
}
