//! Components written by hand in WebAssembly's text format, with any types and any content.

use std::collections::BTreeMap;

use heddle_contract::section::{self, Contract};

/// The handler's type as `heddle build` makes it, for a topic of bytes.
pub(crate) const HANDLER: &str = "(param \"event\" (list u8)) (result (result (error $failure)))";

/// A component with a handler of bytes, and with `inside` in its module.
pub(crate) fn component(inside: &str) -> Vec<u8> {
    with_contract(&parse(&text(HANDLER, "(param i32 i32) (result i32) (i32.const 0)", inside, "")), "")
}

/// A component whose handler has this type and this body, and with `outside` in the component itself.
pub(crate) fn text(handler: &str, body: &str, inside: &str, outside: &str) -> String {
    format!(
        r#"(component
            (type $types (instance
                (type $reasons (variant (case "rejected" string) (case "failed" string)))
                (export "failure" (type (eq $reasons)))))
            (import "heddle:runtime/types@0.1.0" (instance $types (type $types)))
            (alias export $types "failure" (type $failure))
            (core module $m
                (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 64))
                (func (export "handle") {body})
                {inside})
            (core instance $i (instantiate $m))
            (alias core export $i "memory" (core memory $memory))
            (alias core export $i "realloc" (core func $realloc))
            (alias core export $i "handle" (core func $body))
            (func $handle {handler} (canon lift (core func $body) (memory $memory) (realloc $realloc)))
            (instance $on (export "handle" (func $handle)))
            (export "heddle:component/on-in" (instance $on))
            {outside})"#
    )
}

/// Parses a component or a module.
pub(crate) fn parse(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

/// Adds the contract of a component that handles bytes, and `more` in its manifest.
pub(crate) fn with_contract(wasm: &[u8], more: &str) -> Vec<u8> {
    let manifest = format!(
        "[component]\nname = \"hostile\"\nbuild = \"true\"\n\n[consumes.in]\n\n[limits]\nmemory = \"64MiB\"\n{more}"
    );
    let contract = Contract {
        component: section::Component { name: "hostile".to_owned(), manifest },
        schemas: BTreeMap::new(),
        names: heddle_contract::wit::Names::default(),
        built_with: "a stranger".to_owned(),
    };
    section::embed(wasm, &contract).unwrap()
}
