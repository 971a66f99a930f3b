//! The contract inside a `.wasm` file.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use heddle_contract::section::{Component, Contract, NAME, Schema, SchemaFormat, SectionError, embed, extract, strip};
use heddle_contract::wit::Names;
use proptest::prelude::*;
use wasm_encoder::{
    Component as WasmComponent, CustomSection, EntityType, ImportSection, MemorySection, MemoryType, Module,
    ModuleSection, Section,
};

fn custom<'s>(name: &'s str, data: &'s [u8]) -> CustomSection<'s> {
    CustomSection { name: name.into(), data: data.into() }
}

/// A core module with custom sections in its middle and at its end.
fn module(middle: &[u8]) -> Module {
    let mut module = Module::new();
    let memory = MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None };
    module.section(ImportSection::new().import("env", "memory", EntityType::Memory(memory)));
    module.section(&custom("middle", middle));
    module.section(MemorySection::new().memory(memory));
    module.section(&custom("name", b"\0\x02\x01m"));
    module
}

/// A component around `module`.
fn component(module: &Module) -> Vec<u8> {
    let mut component = WasmComponent::new();
    component.section(&ModuleSection(module));
    component.section(&custom("producers", b"\0"));
    component.finish()
}

fn contract(name: &str) -> Contract {
    Contract {
        component: Component { name: name.to_owned(), manifest: "[component]\nname = \"x\"\n".to_owned() },
        schemas: BTreeMap::from([("orders.created-value".to_owned(), Schema::new(SchemaFormat::Avro, "\"string\""))]),
        names: Names::default(),
        built_with: "heddle 0.1.0".to_owned(),
    }
}

fn with_section(data: &[u8]) -> Vec<u8> {
    let mut wasm = module(b"").finish();
    custom(NAME, data).append_to(&mut wasm);
    wasm
}

fn contracts() -> impl Strategy<Value = Contract> {
    let format = prop_oneof![Just(SchemaFormat::Avro), Just(SchemaFormat::Protobuf), Just(SchemaFormat::Json)];
    let schema = (format, any::<String>()).prop_map(|(format, text)| Schema::new(format, text));
    let schemas = prop::collection::btree_map(any::<String>(), schema, 0..4);
    (any::<String>(), any::<String>(), schemas, any::<String>()).prop_map(|(name, manifest, schemas, built_with)| {
        Contract { component: Component { name, manifest }, schemas, names: Names::default(), built_with }
    })
}

proptest! {
    #[test]
    fn an_embedded_contract_is_extracted_and_nothing_else_changes(
        first in contracts(),
        second in contracts(),
        middle in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let module = module(&middle);
        for wasm in [component(&module), module.finish()] {
            let once = embed(&wasm, &first).unwrap();
            prop_assert_eq!(&extract(&once).unwrap(), &first);
            prop_assert!(once.starts_with(&wasm), "every byte stays where it was");
            prop_assert_eq!(&strip(&once).unwrap(), &wasm);
            prop_assert_eq!(&embed(&once, &first).unwrap(), &once, "again changes nothing");
            let replaced = embed(&once, &second).unwrap();
            prop_assert_eq!(&extract(&replaced).unwrap(), &second);
            prop_assert_eq!(replaced, embed(&wasm, &second).unwrap(), "nothing of the old contract is left");
        }
    }

    #[test]
    fn files_that_are_cut_off_are_refused(cut in 0.0..1.0) {
        let wasm = embed(&component(&module(b"abc")), &contract("x")).unwrap();
        let length = (wasm.len() as f64 * cut) as usize;
        prop_assert!(matches!(extract(&wasm[..length]), Err(SectionError::NotWasm(_) | SectionError::Missing)));
    }
}

#[test]
fn a_file_with_a_contract_is_still_valid() {
    let module = module(b"");
    for wasm in [component(&module), module.finish()] {
        wasmparser::validate(&embed(&wasm, &contract("x")).unwrap()).unwrap();
    }
}

#[test]
fn the_format_is_stable() {
    let wasm = embed(&module(b"").finish(), &contract("inventory")).unwrap();
    let json = r#"{"version":1,"component":{"name":"inventory","manifest":"[component]\nname = \"x\"\n"},"schemas":{"orders.created-value":{"type":"AVRO","schema":"\"string\""}},"built_with":"heddle 0.1.0"}"#;
    assert!(wasm.ends_with(json.as_bytes()));
    assert_eq!(wasm, with_section(json.as_bytes()));
}

#[test]
fn the_contract_of_a_nested_module_is_not_the_files_own() {
    let mut inner = module(b"");
    inner.section(&custom(NAME, b"{}"));
    let outer = component(&inner);
    assert!(matches!(extract(&outer), Err(SectionError::Missing)));
    assert_eq!(extract(&embed(&outer, &contract("outer")).unwrap()).unwrap(), contract("outer"));
}

#[test]
fn every_fault_has_its_own_error() {
    assert!(matches!(extract(b"#!/bin/sh"), Err(SectionError::NotWasm(_))));
    assert!(matches!(embed(b"", &contract("x")), Err(SectionError::NotWasm(_))));
    assert!(matches!(extract(&module(b"").finish()), Err(SectionError::Missing)));
    assert!(matches!(extract(&with_section(b"{\"version\":1")), Err(SectionError::Json(_))));
    assert!(matches!(extract(&with_section(b"{\"version\":1}")), Err(SectionError::Json(_))));
    assert!(matches!(extract(&with_section(b"{\"version\":2}")), Err(SectionError::UnknownVersion { found: 2 })));
    let mut twice = embed(&module(b"").finish(), &contract("x")).unwrap();
    custom(NAME, b"{}").append_to(&mut twice);
    assert!(matches!(extract(&twice), Err(SectionError::Twice)));
    assert_eq!(extract(&embed(&twice, &contract("y")).unwrap()).unwrap(), contract("y"), "embedding replaces both");
}
