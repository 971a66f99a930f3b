//! Names that no type or member gets, because WIT, the SDKs or a language use them for something else. They are never
//! assigned, even if nothing clashes yet, because a later use must not rename an existing item.

/// Types in `contracts` beside those of the schemas.
const OWN_TYPES: [&str; 10] = [
    "date",
    "time-millis",
    "time-micros",
    "timestamp-millis",
    "timestamp-micros",
    "timestamp-nanos",
    "local-timestamp-millis",
    "local-timestamp-micros",
    "local-timestamp-nanos",
    "nothing",
];

/// Functions and types of the interfaces that use types of `contracts`, and the names in their signatures. There, a
/// type with such a name gets the suffix `-type`.
const IN_INTERFACES: [&str; 10] =
    ["send", "send-with", "handle", "header", "failure", "get", "put", "delete", "scan", "result"];

/// Types in the code that tools generate, in any of the languages.
const IN_LANGUAGES: [&str; 10] = [
    // Rust
    "self",
    "option",
    "guest",
    // Python
    "optional",
    "list",
    "tuple",
    "union",
    "enum",
    // TypeScript
    "array",
    "uint8-array",
];

/// Names of fields that are keywords of Rust, but unknown to the tool for Rust.
const FIELDS: [&str; 1] = ["gen"];
/// Symbols and branches that are keywords of Rust, as Rust writes them.
const CASES: [&str; 1] = ["self"];

/// Returns true if no type may have this name.
pub(super) fn is_type(name: &str) -> bool {
    OWN_TYPES.contains(&name)
        || IN_LANGUAGES.contains(&name)
        || name.strip_suffix("-type").is_some_and(|name| IN_INTERFACES.contains(&name))
}

/// Returns true if no field may have this name.
pub(super) fn is_field(name: &str) -> bool {
    FIELDS.contains(&name)
}

/// Returns true if no symbol and no branch may have this name.
pub(super) fn is_case(name: &str) -> bool {
    CASES.contains(&name)
}

/// The name of a type in an interface, if a function or another type has its own name.
pub(super) fn local(name: &str) -> Option<String> {
    IN_INTERFACES.contains(&name).then(|| format!("{name}-type"))
}
