//! The template `debezium`: two tables as Debezium writes them. Each is kept in a store, and a foreign key joins them.

use std::collections::BTreeMap;

use super::super::go::default_module;
use super::{Language, go, javascript, rust};

const MANIFEST: &str = include_str!("debezium/component.toml");
const RUST: [(&str, &str); 2] =
    [("src/lib.rs", include_str!("debezium/rust/lib.rs")), ("src/tests.rs", include_str!("debezium/rust/tests.rs"))];
const JAVASCRIPT: [(&str, &str); 2] = [
    ("src/index.js", include_str!("debezium/javascript/index.js")),
    ("test/index.test.js", include_str!("debezium/javascript/index.test.js")),
];
const PYTHON: [(&str, &str); 2] =
    [("app.py", include_str!("debezium/python/app.py")), ("test_app.py", include_str!("debezium/python/test_app.py"))];
const GO: [(&str, &str); 2] =
    [("main.go", include_str!("debezium/go/main.go")), ("main_test.go", include_str!("debezium/go/main_test.go"))];

/// The schemas of its topics and stores, by file. Those of the tables are the ones that Debezium 3.6 registers.
pub const CONTRACTS: [(&str, &str); 8] = [
    ("CustomerRow.avsc", include_str!("debezium/contracts/CustomerRow.avsc")),
    ("OrderRow.avsc", include_str!("debezium/contracts/OrderRow.avsc")),
    ("orders.by-customer-value.avsc", include_str!("debezium/contracts/orders.by-customer-value.avsc")),
    ("orders.joined-value.avsc", include_str!("debezium/contracts/orders.joined-value.avsc")),
    ("shop.public.customers-key.avsc", include_str!("debezium/contracts/shop.public.customers-key.avsc")),
    ("shop.public.customers-value.avsc", include_str!("debezium/contracts/shop.public.customers-value.avsc")),
    ("shop.public.orders-key.avsc", include_str!("debezium/contracts/shop.public.orders-key.avsc")),
    ("shop.public.orders-value.avsc", include_str!("debezium/contracts/shop.public.orders-value.avsc")),
];

/// The topics that hold a table.
pub const COMPACTED: [&str; 1] = ["orders.joined"];

/// The text of its manifest.
#[must_use]
pub fn manifest(name: &str, language: Language) -> String {
    MANIFEST.replace("\"NAME\"", &format!("{name:?}")).replace("\"LANGUAGE\"", &format!("{:?}", language.name()))
}

/// The files of its component, by path within the component's folder, without the manifest.
#[must_use]
pub fn files(name: &str, language: Language) -> BTreeMap<String, String> {
    let (sources, mut files) = match language {
        Language::Rust => (&RUST, rust::package(name)),
        Language::JavaScript => (&JAVASCRIPT, javascript::package(name)),
        Language::Python => (&PYTHON, BTreeMap::new()),
        Language::Go => (&GO, go::package(name)),
    };
    let module = default_module(name);
    files.extend(sources.map(|(path, text)| (path.to_owned(), text.replace("\"MODULE/", &format!("\"{module}/")))));
    files
}
