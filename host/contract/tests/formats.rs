//! The program accepts everything that docs/formats.md shows.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;

use heddle_contract::manifest::{App, Manifest};
use heddle_contract::section::{NAME, embed, extract};
use wasm_encoder::{CustomSection, Module};

const FORMATS: &str = include_str!("../../../docs/formats.md");

fn block(begins: &str) -> &'static str {
    let (_, rest) = FORMATS.split_once(begins).unwrap_or_else(|| panic!("no block begins with {begins:?}"));
    rest.split_once("```").unwrap().0
}

#[test]
fn the_files_shown_are_taken() {
    let manifest =
        Manifest::parse(block("```toml\n# component.toml\n"), "formats.md").unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(manifest.name, "inventory");
    let app = App::parse(block("```toml\n# heddle.toml\n"), "formats.md", &BTreeMap::new());
    assert_eq!(app.unwrap_or_else(|e| panic!("{e}")).name, "order-platform");
}

/// Every variable on the page is known. Each is set to a value of its type, with the file on the page.
#[test]
fn the_variables_shown_are_taken() {
    let words = FORMATS.split(|c: char| !c.is_ascii_uppercase() && c != '_');
    let shown = words.filter(|word| word.starts_with("HEDDLE_") && !word.ends_with('_') && !word.contains("_A_B_"));
    let value = |variable: &str| match variable {
        "HEDDLE_LOG_KIND" => "kafka",
        "HEDDLE_LOG_BOOTSTRAP" => "kafka:9092",
        "HEDDLE_REGISTRY_URL" => "http://registry",
        "HEDDLE_REGISTRY_REGISTER" => "never",
        "HEDDLE_ADMIN_LISTEN" => "[::1]:0",
        "HEDDLE_STATE_ENGINE" => "fjall",
        "HEDDLE_STATE_CACHE" => "1GiB",
        "HEDDLE_TELEMETRY_LOG" => "json",
        "HEDDLE_TELEMETRY_METRICS" => "partitions",
        "HEDDLE_TELEMETRY_TRACES" => "http://collector:4318",
        "HEDDLE_TELEMETRY_TRACE_RATIO" => "1%",
        "HEDDLE_TELEMETRY_TRACE_RELATION" => "link",
        "HEDDLE_TELEMETRY_SPANS" => "deliveries",
        "HEDDLE_DEPLOY_MAX_FAILURES" => "5%",
        name if ["TIMEOUT", "INTERVAL", "WATCH"].iter().any(|key| name.ends_with(key)) => "1s",
        name if ["RETRIES", "PARTITIONS", "REPLICATION", "RECORDS", "COUNT"].iter().any(|key| name.ends_with(key)) => {
            "2"
        }
        _ => "text",
    };
    let variables: BTreeMap<String, String> = shown.map(|name| (name.to_owned(), value(name).to_owned())).collect();
    assert!(variables.len() > 18, "{variables:?}");
    let app = App::parse(block("```toml\n# heddle.toml\n"), "formats.md", &variables);
    assert_eq!(app.unwrap_or_else(|e| panic!("{e}")).workers.count, 2);
}

#[test]
fn the_contract_shown_is_taken() {
    let json = block("```json\n");
    let mut module = Module::new();
    module.section(&CustomSection { name: NAME.into(), data: json.as_bytes().into() });
    let contract = extract(&module.finish()).unwrap();
    assert_eq!(contract.component.name, "inventory");
    assert_eq!(extract(&embed(&Module::new().finish(), &contract).unwrap()).unwrap(), contract);
}
