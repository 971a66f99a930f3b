//! `component.toml`: its meaning, and the messages about its problems.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use heddle_contract::manifest::Manifest;
use heddle_contract::manifest::component::{
    Build, IdSource, KeyType, Limits, OnLoss, StartAt, SubjectNames, Tombstones, UnknownType, ValueFormat,
};
use heddle_contract::manifest::failure::Failure;
use heddle_contract::manifest::tables::Scope;
use heddle_contract::wire::Wire;
use heddle_core::breaker::{BreakerPolicy, OnOpen};
use heddle_core::explain::to_text;
use heddle_core::fault::EventFaultKind;
use heddle_core::policy::{Backoff, Order, WaitingBounds, WhenFull};
use insta::assert_snapshot;
use proptest::prelude::*;

fn wrong(text: &str) -> String {
    to_text(&Manifest::parse(text, "component.toml").unwrap_err())
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
    let breaker =
        BreakerPolicy { failures: 20, within: seconds(10), percent: None, pause: seconds(30), on_open: OnOpen::Pause };
    assert_eq!(manifest.failure.breaker, Some(breaker));
    let topics = [60_000, 1_500].map(|ms| manifest.retry_topic("shop", Duration::from_millis(ms)));
    assert_eq!(topics, ["shop.inventory.retry.60s", "shop.inventory.retry.1500ms"]);
    assert_eq!(manifest.waiting_changelog("shop"), "shop.inventory.waiting");
}

fn component(rest: &str) -> String {
    format!("component = {{ name = \"a\", language = \"rust\" }}\n[consumes.orders]\n{rest}")
}

#[test]
fn a_group_starts_where_the_manifest_says() {
    let of = |lines: &str| {
        let text = format!("component = {{ name = \"a\", language = \"rust\" }}\n[consumes.orders]\n{lines}");
        Manifest::parse(&text, "component.toml").map(|manifest| manifest.consumes["orders"].clone())
    };
    let plain = of("").unwrap();
    assert_eq!((plain.start, plain.on_loss), (StartAt::Beginning, OnLoss::Continue));
    let said = of("start = \"end\"\non-loss = \"stop\"").unwrap();
    assert_eq!((said.start, said.on_loss), (StartAt::End, OnLoss::Stop));
    assert_eq!(of("start = \"1970-01-01T00:01:00.250Z\"").unwrap().start, StartAt::Time(60_250));
    for start in ["latest", "1969-12-31T23:59:59Z", "2026-13-01T00:00:00Z", "2h"] {
        let error = of(&format!("start = \"{start}\"")).unwrap_err().to_string();
        assert!(error.contains(&format!("`{start}` does not say where to start")), "{error}");
    }
    let text = "component = { name = \"a\", language = \"rust\", group = \"spring\" }\n[consumes.orders]";
    let manifest = Manifest::parse(text, "component.toml").unwrap();
    assert_eq!((manifest.group("shop"), manifest.full_name("shop")), ("spring".to_owned(), "shop.a".to_owned()));
}

#[test]
fn a_failure_policy_may_say_everything() {
    let text = component(
        r#"
        [limits]
        emits = 5
        output = "1MiB"
        store-value = "10KiB"
        log-lines = 7
        [failure]
        attempts = 1
        backoff = "5s"
        retry = ["1s"]
        retry-on = ["failed", "trap"]
        order = "key"
        waiting = { per-key = 10, when-full = "dead-letter" }
        breaker = { failures = 20, within = "10s", rate = "30%", pause = "30s", on-open = "stop" }
        "#,
    );
    let manifest = Manifest::parse(&text, "component.toml").unwrap();
    let limits = manifest.limits;
    assert_eq!((limits.emits_max, limits.output_bytes_max, limits.log_lines_max), (5, 1 << 20, 7));
    assert_eq!(limits.store_value_bytes_max, 10 << 10);
    let seconds = Duration::from_secs;
    let expected = Failure {
        attempts_max: 1,
        // The longest pause is at least as long as the first one.
        backoff: Backoff { first: seconds(5), max: seconds(5) },
        retry: vec![seconds(1)],
        retry_on: BTreeSet::from([EventFaultKind::Failed, EventFaultKind::Trap]),
        order: Order::Key(WaitingBounds {
            per_key_max: 10,
            when_full: WhenFull::DeadLetter,
            ..WaitingBounds::default()
        }),
        dead_letter: None,
        breaker: Some(BreakerPolicy {
            failures: 20,
            within: seconds(10),
            percent: Some(30),
            pause: seconds(30),
            on_open: OnOpen::Stop,
        }),
    };
    assert_eq!(manifest.failure, expected);
}

#[test]
fn a_contradictory_failure_policy_is_reported() {
    let text = component(
        r#"
        [failure]
        backoff = "5m"
        retry-on = ["null-value", "failed"]
        order = "key"
        breaker = { failures = 20, within = "10s", rate = "0.5", pause = "30s", on-open = "break" }
        "#,
    );
    assert_snapshot!(wrong(&text));
    assert_snapshot!(wrong(&component("[failure]\nwaiting = { per-key = 3 }\norder = \"offset\"")));
}

#[test]
fn absent_settings_have_defaults() {
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
    assert_eq!(
        manifest.limits,
        Limits { record_bytes_max: 512 * 1024, store_value_bytes_max: 512 * 1024, ..Limits::default() }
    );
    assert_eq!((manifest.failure.attempts_max, manifest.failure.retry.len()), (3, 0));
}

/// A manifest with a fault of every kind.
const ALL_WRONG: &str = r#"
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

#[test]
fn all_problems_are_reported_at_once() {
    assert_snapshot!(wrong(ALL_WRONG), @r#"
    the component has no build
      at: component.toml:2:2 (component)
      hint: add `language = "rust"` (or javascript, python, go) or `build = "<command>"`
    `Inventory` cannot name a component
      at: component.toml:3:8 (component.name)
      hint: use lower-case letters, digits and single dashes, a letter first, at most 63 characters: `order-intake`
    unknown key `langauge` in [component]
      at: component.toml:4:1 (component.langauge)
      hint: did you mean `language`?
    `orders/created` cannot name a topic
      at: component.toml:6:11 (consumes."orders/created")
      hint: use letters, digits, `.`, `_` and `-`, at most 249 characters, as Kafka requires
    `orderId` does not say where the id is
      at: component.toml:7:6 (consumes."orders/created".id)
      hint: write "value:orderId", "value:order.id" for a field of a field, or "header:ce_id"
    `7 parsecs` is not a duration
      at: component.toml:8:9 (consumes."orders/created".dedup)
      hint: write a number and a unit, such as "200ms", "10s", "5m" or "7d"
    `cloudevents` should be `true` or `false`, not a string
      at: component.toml:11:15 (emits.reservations.cloudevents)
      hint: write it like `cloudevents = true`
    `value` is missing in [stores.stock]
      at: component.toml:13:9 (stores.stock.value)
      hint: add `value = "<schema>"`, the name of a type in contracts/
    `stock log` cannot name a topic
      at: component.toml:14:13 (stores.stock.changelog)
      hint: use letters, digits, `.`, `_` and `-`, at most 249 characters, as Kafka requires
    `deadline` should be a duration, not an integer
      at: component.toml:17:12 (limits.deadline)
      hint: write a number and a unit, such as "200ms", "10s", "5m" or "7d"
    `64MiBs` is not a size
      at: component.toml:18:10 (limits.memory)
      hint: write a number and a unit, such as "512KiB" (1024 bytes each) or "1MB" (1000000 bytes)
    `record` cannot be 0B
      at: component.toml:19:10 (limits.record)
      hint: use a value from 1 B to 1.0 GiB
    `attempts` cannot be 0
      at: component.toml:22:12 (failure.attempts)
      hint: use a value from 1 to 100
    `retry` should be a duration, not an integer
      at: component.toml:23:16 (failure.retry)
      hint: write a number and a unit, such as "200ms", "10s", "5m" or "7d"
    `pause` is missing in [failure.breaker]
      at: component.toml:24:1 (failure.breaker.pause)
      hint: write it like `breaker = { failures = 20, within = "10s", pause = "30s" }`
    unknown key `consume`
      at: component.toml:26:2 (consume)
      hint: did you mean `consumes`?
    "#);
}

#[test]
fn missing_parts_are_named() {
    assert_snapshot!(wrong(""), @r#"
    `component` is missing
      at: component.toml:1:1 (component)
      hint: add a [component] section with `name` and `language`
    `consumes` is missing
      at: component.toml:1:1 (consumes)
      hint: add a [consumes."<topic>"] section: a component runs when a record arrives
    "#);
    assert_snapshot!(wrong("[component]\nlanguage = \"rust\"\nbuild = \"make\"\n[consumes]\n"), @r#"
    `name` is missing in [component]
      at: component.toml:1:2 (component.name)
      hint: add `name = "..."`
    `language` and `build` exclude each other
      at: component.toml:3:9 (component.build)
      hint: keep `language`, or keep `build` for a custom build
    the component consumes nothing
      at: component.toml:4:2 (consumes)
      hint: add a [consumes."<topic>"] section: a component runs when a record arrives
    "#);
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
    assert_snapshot!(wrong(text), @r#"
    `rsut` is not a known language
      at: component.toml:4:12 (component.language)
      hint: did you mean `rust`?
    `dedup` needs to know the id
      at: component.toml:7:9 (consumes."orders.created".dedup)
      hint: add `id = "value:<field>"` or `id = "header:<name>"`
    `log` is the changelog of two stores
      at: component.toml:10:40 (stores.stock.changelog)
      hint: give each store a separate topic
    a record of the largest size does not fit into memory
      at: component.toml:15:10 (limits.record)
      hint: raise `memory` or lower `record`
    the dead-letter topic `orders.created` is consumed by the component itself
      at: component.toml:18:15 (failure.dead-letter)
      hint: write dead letters to a separate topic, or let another component consume them
    "#);
}

#[test]
fn syntax_errors_are_placed_too() {
    assert_snapshot!(wrong("[component]\nname = inventory\nlanguage = \"rust\"\nlanguage = \"go\"\n"), @r#"
    not valid TOML: invalid float, expected `inf`
      at: component.toml:2:8
      hint: write `key = "value"` lines below `[section]` headers; strings need quotes
    not valid TOML: duplicate key
      at: component.toml:4:1
      hint: keep one of the two
    "#);
}

#[test]
fn topics_say_what_their_values_are() {
    let text = "[component]\nname = \"a\"\nlanguage = \"go\"\n[consumes.in]\ntombstones = \"handle\"\nsubject = \"record\"\ntypes = [\"x.A\", \"B\"]\nunknown-type = \"skip\"\n[emits.out]\nsubject = \"topic-record\"\n";
    let manifest = Manifest::parse(text, "component.toml").unwrap();
    let consumes = &manifest.consumes["in"];
    assert_eq!((consumes.tombstones, consumes.unknown_type), (Tombstones::Handle, Some(UnknownType::Skip)));
    assert_eq!(
        (consumes.subject, consumes.types.as_slice()),
        (SubjectNames::Record, &["x.A".to_owned(), "B".to_owned()][..])
    );
    let registered = |name: &str| manifest.registered("app", name);
    assert_eq!(registered("in-value"), None);
    assert_eq!(registered("in-key").as_deref(), Some("in-key"));
    assert_eq!(registered("record:in:x.A").as_deref(), Some("x.A"));
    assert_eq!(registered("record:out:x.A").as_deref(), Some("out-x.A"));
    assert_eq!((manifest.uses("record:in:x.A"), manifest.uses("out-key")), ((true, false), (false, true)));
    assert_snapshot!(wrong(&format!("{text}[emits.in]\n")), @r#"
    `in` is consumed and emitted to with another `subject` or other `types`
      at: component.toml:11:8 (emits.in)
      hint: write the same `subject` and `types` into both sections
    "#);
    let misspelt = wrong(&text.replace("\"skip\"", "\"drop\"").replace("\"x.A\"", "\"x A\""));
    assert!(misspelt.contains("(consumes.in.unknown-type)") && misspelt.contains("`x A`"), "{misspelt}");
}

#[test]
fn a_topic_of_a_plain_wire_is_not_registered() {
    let text = "[component]\nname = \"a\"\nlanguage = \"go\"\n[consumes.in]\n[emits.out]\nsubject = \"record\"\n[stores.s]\nvalue = \"S\"\n";
    let manifest = Manifest::parse(text, "component.toml").unwrap();
    let wires = [("in".to_owned(), Wire::Plain), ("out".to_owned(), Wire::Header)].into();
    let manifest = manifest.with_wires(&wires);
    let registered = |name: &str| manifest.registered("app", name);
    assert_eq!((registered("in-value"), registered("in-key")), (None, None));
    assert_eq!(registered("record:out:x.A").as_deref(), Some("x.A"));
    assert_eq!(registered("store:s").as_deref(), Some("app.a.s-value"));
    let wires = ["in-value", "in-key", "record:out:x.A", "store:s", "other-value"].map(|name| manifest.wire_of(name));
    assert_eq!(wires, [Wire::Plain, Wire::Plain, Wire::Header, Wire::Registry, Wire::Registry]);
}

#[test]
fn values_without_a_schema_are_bytes_or_text() {
    let text = "[component]\nname = \"a\"\nlanguage = \"go\"\n[consumes.in]\nformat = \"text\"\n[emits.out]\nformat = \"bytes\"\n";
    let manifest = Manifest::parse(text, "component.toml").unwrap();
    assert_eq!((manifest.consumes["in"].format, manifest.emits["out"].format), (ValueFormat::Text, ValueFormat::Bytes));
    assert_snapshot!(wrong(&format!("{text}message = \"x.A\"\n[emits.in]\n")), @r#"
    `message` is about a schema, and `format` is without one
      at: component.toml:8:1 (emits.out.message)
      hint: remove one of the two
    `in` is consumed and emitted to with another `subject` or other `types`
      at: component.toml:9:8 (emits.in)
      hint: write the same `subject` and `types` into both sections
    "#);
}

#[test]
fn values_of_the_wrong_shape_are_named() {
    assert_snapshot!(wrong("component = \"inventory\"\nlimits = []\nconsumes = { orders = true }\n"), @r#"
    `component` should be a table, not a string
      at: component.toml:1:13 (component)
      hint: write it like `[component]`
    `limits` should be a table, not a list
      at: component.toml:2:10 (limits)
      hint: write it like `[limits]`
    `orders` should be a table, not a boolean
      at: component.toml:3:23 (consumes.orders)
      hint: write it like `[consumes.orders]`
    "#);
}

proptest! {
    /// Any file is either accepted or explained, with three lines for each problem.
    #[test]
    fn every_problem_has_three_lines(
        value in any::<String>(),
        key in any::<String>(),
        garbage in "[\\[\\]{}=\",.a-z0-9é \\n]{0,40}",
    ) {
        let quoted = |text: &str| format!("\"{}\"", text.chars().map(|c| format!("\\U{:08x}", c as u32)).collect::<String>());
        let (value, key) = (quoted(&value), quoted(&key));
        let texts = [
            format!("[component]\nname = {value}\nlanguage = {value}\n[consumes.{key}]\nid = {value}\n[limits]\nmemory = {value}\n"),
            format!("{INVENTORY}{garbage}"),
            garbage,
        ];
        for text in texts {
            let Err(errors) = Manifest::parse(&text, "component.toml") else { continue };
            prop_assert!(!errors.problems().is_empty());
            for problem in errors.problems() {
                prop_assert_eq!(to_text(problem).split('\n').count(), 3, "{}", problem);
            }
            prop_assert_eq!(errors.to_string().lines().count(), 1);
        }
    }
}

#[test]
fn tables_show_topics_to_tasks_or_to_the_whole_host() {
    let text = component(
        "[tables.rates]\ntopic = \"shop.rates\"\n[tables.products]\ntopic = \"products\"\nscope = \"global\"\nkey = \"ProductId\"\n[emits.products]\n",
    );
    let manifest = Manifest::parse(&text, "component.toml").unwrap();
    let [products, rates] = ["products", "rates"].map(|name| &manifest.tables[name]);
    assert_eq!((products.scope, rates.scope), (Scope::Global, Scope::Task));
    assert_eq!(products.key, Some(KeyType::Schema("ProductId".to_owned())));
    assert_eq!(manifest.table_topics(Scope::Task).collect::<Vec<_>>(), ["shop.rates"]);
    assert_eq!(manifest.uses("shop.rates-value"), (true, false));
    assert_eq!(manifest.uses("products-value"), (true, true));
    assert_eq!(manifest.registered("shop", "shop.rates-key").as_deref(), Some("shop.rates-key"));
}

#[test]
fn tables_that_cannot_be_are_refused() {
    let text = component(
        "[tables.orders]\ntopic = \"orders\"\n[tables.again]\ntopic = \"orders\"\nscope = \"global\"\n[tables.none]\nscope = \"host\"\n[tables.Odd]\ntopic = \"a b\"\n[emits.typed]\ntypes = [\"A\"]\n[tables.typed]\ntopic = \"typed\"\nvalue = \"A\"\n",
    );
    assert_snapshot!(wrong(&text));
}
