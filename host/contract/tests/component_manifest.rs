//! `component.toml`: what it means, and what is said when it is wrong.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use heddle_contract::manifest::Manifest;
use heddle_contract::manifest::component::{Breaker, Build, IdSource, KeyType, Limits};
use insta::assert_snapshot;
use proptest::prelude::*;

fn wrong(text: &str) -> String {
    Manifest::parse(text, "component.toml").unwrap_err().to_string()
}

const INVENTORY: &str = r#"
[component]
name = "inventory"
language = "rust"                    # rust | javascript | python | go ; or build = "<any command that leaves the .wasm>"

[consumes."orders.created"]
id = "value:orderId"                 # or "header:ce_id"; absent: no dedup beyond offsets
dedup = "7d"

[emits."inventory.reservations"]
[emits."orders.status"]

[stores.stock]
value = "StockLevel"                 # schema contracts/StockLevel.avsc; the changelog is a normal Avro topic
changelog = "inventory.stock"        # default <app>.<component>.stock

[limits]
deadline = "200ms"
memory = "64MiB"

[failure]
attempts = 3                         # in place, then the retry topics, then the dead-letter topic
retry = ["1s", "10s", "60s"]
dead-letter = "inventory.dlq"        # default <app>.<component>.dlq
breaker = { failures = 20, within = "10s", pause = "30s" }
"#;

#[test]
fn the_full_example_says_what_it_says() {
    let manifest = Manifest::parse(INVENTORY, "component.toml").unwrap();
    assert_eq!((manifest.name.as_str(), &manifest.build), ("inventory", &Build::Rust));
    let orders = &manifest.consumes["orders.created"];
    assert_eq!(orders.id, Some(IdSource::Value(vec!["orderId".to_owned()])));
    assert_eq!(orders.dedup, Some(Duration::from_secs(7 * 86_400)));
    assert_eq!(manifest.emits.keys().collect::<Vec<_>>(), ["inventory.reservations", "orders.status"]);
    assert_eq!(manifest.stores["stock"].value, "StockLevel");
    assert_eq!(manifest.changelog("shop", "stock"), "inventory.stock");
    assert_eq!(manifest.limits, Limits::default());
    assert_eq!(manifest.limits.memory_bytes_max, 64 * 1024 * 1024);
    let seconds = Duration::from_secs;
    assert_eq!(manifest.failure.attempts_max, 3);
    assert_eq!(manifest.failure.retry, [seconds(1), seconds(10), seconds(60)]);
    assert_eq!(manifest.dead_letter("shop"), "inventory.dlq");
    assert_eq!(manifest.failure.breaker, Some(Breaker { failures: 20, within: seconds(10), pause: seconds(30) }));
}

#[test]
fn what_is_not_said_has_its_default() {
    let text = r#"
        component = { name = "payment", build = "make payment.wasm" }
        [consumes."orders.created"]
        key = "bytes"
        [consumes.refunds]
        id = "header:ce_id"
        key = "shop.RefundKey"
        [emits.payments]
        cloudevents = true
        key = "string"
        [stores.balances]
        value = "shop.Balance"
        [limits]
        record = "512KiB"
    "#;
    let manifest = Manifest::parse(text, "component.toml").unwrap();
    assert_eq!(manifest.build, Build::Command("make payment.wasm".to_owned()));
    let orders = &manifest.consumes["orders.created"];
    assert_eq!((&orders.id, orders.dedup, &orders.key), (&None, None, &Some(KeyType::Bytes)));
    let refunds = &manifest.consumes["refunds"];
    assert_eq!(refunds.id, Some(IdSource::Header("ce_id".to_owned())));
    assert_eq!(refunds.dedup, Some(Duration::from_secs(7 * 86_400)), "an id is there to be remembered");
    assert_eq!(refunds.key, Some(KeyType::Schema("shop.RefundKey".to_owned())));
    assert!(manifest.emits["payments"].cloudevents);
    assert_eq!(manifest.emits["payments"].key, Some(KeyType::String));
    assert_eq!(manifest.full_name("shop"), "shop.payment");
    assert_eq!(manifest.changelog("shop", "balances"), "shop.payment.balances");
    assert_eq!(manifest.dead_letter("shop"), "shop.payment.dlq");
    assert_eq!(manifest.limits, Limits { record_bytes_max: 512 * 1024, ..Limits::default() });
    assert_eq!((manifest.failure.attempts_max, manifest.failure.retry.len()), (3, 0));
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let text = r#"
[component]
name = "Inventory"
langauge = "rust"

[consumes."orders/created"]
id = "orderId"
dedup = "7 parsecs"

[emits.reservations]
cloudevents = "yes"

[stores.stock]
changelog = "stock log"

[limits]
deadline = 200
memory = "64MiBs"
record = "0B"

[failure]
attempts = 0
retry = ["1s", 10]
breaker = { failures = 20, within = "10s" }

[consume.orders]
"#;
    assert_snapshot!(wrong(text), @"");
}

#[test]
fn what_is_missing_is_named() {
    assert_snapshot!(wrong(""), @"");
    assert_snapshot!(wrong("[component]\nlanguage = \"rust\"\nbuild = \"make\"\n[consumes]\n"), @"");
}

#[test]
fn parts_that_contradict_each_other_are_refused() {
    let text = r#"
[component]
name = "inventory"
language = "rsut"

[consumes."orders.created"]
dedup = "1h"

[stores]
stock = { value = "Stock", changelog = "log" }
sold = { value = "Sold", changelog = "log" }

[limits]
memory = "1MiB"
record = "2MiB"

[failure]
dead-letter = "orders.created"
"#;
    assert_snapshot!(wrong(text), @"");
}

#[test]
fn syntax_errors_are_placed_too() {
    assert_snapshot!(wrong("[component]\nname = inventory\nlanguage = \"rust\"\nlanguage = \"go\"\n"), @"");
}

#[test]
fn values_of_the_wrong_shape_are_named() {
    assert_snapshot!(wrong("component = \"inventory\"\nlimits = []\nconsumes = { orders = true }\n"), @"");
}

proptest! {
    /// Whatever a file contains, it is taken or explained in three lines a problem.
    #[test]
    fn every_problem_has_three_lines(
        name in any::<String>(),
        key in any::<String>(),
        garbage in "[\\[\\]{}=\",.a-z0-9é \\n]{0,40}",
    ) {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let value = quoted(&name);
        let (name, key) = (quoted(&name), toml::Value::from(key.as_str()).to_string());
        let key = if key.starts_with("\"\"\"") || key.starts_with('\'') { "\"\\n\"".to_owned() } else { key };
        let texts = [
            format!("[component]\nname = {name}\nlanguage = {value}\n[consumes.{key}]\nid = {value}\n[limits]\nmemory = {value}\n"),
            format!("{INVENTORY}{garbage}"),
            garbage,
        ];
        for text in texts {
            let Err(errors) = Manifest::parse(&text, "component.toml") else { continue };
            prop_assert!(!errors.problems().is_empty());
            for problem in errors.problems() {
                prop_assert_eq!(problem.to_string().lines().count(), 3, "{}", problem);
            }
        }
    }
}
