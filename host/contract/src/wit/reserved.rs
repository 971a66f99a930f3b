//! Names that no type or member gets, because WIT, the SDKs or a language have them for something else. They are
//! never given, also where nothing would clash today: what is used tomorrow must not rename what is there.

/// Types that stand in `contracts` beside those of the schemas.
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

/// Functions and types of the interfaces that use types of `contracts`, and what their signatures are written with:
/// there a type of such a name has `-type` behind it.
const IN_INTERFACES: [&str; 10] =
    ["send", "send-with", "handle", "header", "failure", "get", "put", "delete", "scan", "result"];

/// Types that the code has which tools generate, in one language or another.
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

/// Fields that are keywords of Rust which its tool does not know.
const FIELDS: [&str; 1] = ["gen"];
/// Symbols and branches that are keywords of Rust, written as it writes them.
const CASES: [&str; 1] = ["self"];

/// Returns true if no type may be called so.
pub(super) fn is_type(name: &str) -> bool {
    OWN_TYPES.contains(&name)
        || IN_LANGUAGES.contains(&name)
        || name.strip_suffix("-type").is_some_and(|name| IN_INTERFACES.contains(&name))
}

/// Returns true if no field may be called so.
pub(super) fn is_field(name: &str) -> bool {
    FIELDS.contains(&name)
}

/// Returns true if no symbol and no branch may be called so.
pub(super) fn is_case(name: &str) -> bool {
    CASES.contains(&name)
}

/// What a type is called in an interface where its own name is taken by a function or another type.
pub(super) fn local(name: &str) -> Option<String> {
    IN_INTERFACES.contains(&name).then(|| format!("{name}-type"))
}
