//! `heddle.toml` and the variables that override it.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::time::Duration;

use heddle_contract::manifest::App;
use heddle_contract::manifest::app::{Kafka, Log, Register};
use heddle_contract::wire::Wire;
use heddle_core::explain::to_text;
use insta::assert_snapshot;

const PLATFORM: &str = r#"
[app]
name = "order-platform"
components = ["components/*"]        # folders with component.toml, or .wasm files
data = ".heddle"

[log]                                # no [log] or kind = "embedded": the embedded log below `data`
kind = "kafka"
bootstrap = "127.0.0.1:9092"
options = { }                        # passed on to librdkafka: security.protocol, sasl.*, ssl.*

[registry]                           # absent: the embedded registry
url = "http://127.0.0.1:8081"

[topics."orders.created"]            # created when missing, never changed behind the user's back
partitions = 4

[admin]
listen = "127.0.0.1:7870"
"#;

fn variables(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn app(text: &str, overrides: &[(&str, &str)]) -> App {
    App::parse(text, "heddle.toml", &variables(overrides)).unwrap_or_else(|errors| panic!("{errors}"))
}

fn wrong(text: &str, overrides: &[(&str, &str)]) -> String {
    to_text(&App::parse(text, "heddle.toml", &variables(overrides)).unwrap_err())
}

fn kafka(app: &App) -> &Kafka {
    match &app.log {
        Log::Kafka(kafka) => kafka,
        Log::Embedded => panic!("the log is embedded"),
    }
}

#[test]
fn the_full_example_says_what_it_says() {
    let app = app(PLATFORM, &[]);
    assert_eq!(
        (app.name.as_str(), app.components.as_slice()),
        ("order-platform", ["components/*".to_owned()].as_slice())
    );
    assert_eq!(kafka(&app).bootstrap, "127.0.0.1:9092");
    assert_eq!(app.registry.as_ref().unwrap().url, "http://127.0.0.1:8081");
    assert_eq!(app.topics["orders.created"].partitions, 4);
    assert_eq!(app.admin.listen.to_string(), "127.0.0.1:7870");
}

#[test]
fn absent_settings_have_defaults() {
    let app = app("[app]\nname = \"first\"\n[topics.orders]\n", &[]);
    assert_eq!(app.components, ["components/*"]);
    assert_eq!((app.data.to_str(), app.contracts.to_str()), (Some(".heddle"), Some("contracts")));
    assert_eq!((&app.log, &app.registry), (&Log::Embedded, &None));
    assert_eq!((app.registry_topic.as_str(), app.register), ("heddle.registry", Register::Auto));
    assert_eq!((app.topics["orders"].partitions, app.topics["orders"].replication), (1, None));
    assert_eq!(app.admin.listen.to_string(), "127.0.0.1:7870");
    assert_eq!((app.commit.interval, app.commit.records_max), (Duration::from_millis(100), 10_000));
    assert_eq!(app.workers.count, 1);
}

#[test]
fn a_broker_alone_means_kafka_and_options_are_strings() {
    let text = r#"
        app.name = "first"
        [log]
        bootstrap = "one:9092, two:9093"
        [log.options]
        "security.protocol" = "sasl_ssl"
        "sasl.password" = "hunter2"
        "socket.timeout.ms" = 5000
        "socket.keepalive.enable" = true
        "#;
    let app = app(text, &[]);
    assert_eq!(kafka(&app).bootstrap, "one:9092,two:9093");
    assert_eq!(kafka(&app).options["socket.timeout.ms"], "5000");
    assert_eq!(kafka(&app).options["socket.keepalive.enable"], "true");
    assert!(!format!("{app:?}").contains("hunter2"), "a password never reaches a log line");
}

#[test]
fn a_variable_takes_the_place_of_any_value() {
    let app = app(
        PLATFORM,
        &[
            ("HEDDLE_APP_NAME", "staging"),
            ("HEDDLE_APP_COMPONENTS", "components/*, extra/fraud.wasm"),
            ("HEDDLE_LOG_BOOTSTRAP", "kafka:9092"),
            ("HEDDLE_LOG_OPTIONS_SECURITY_PROTOCOL", "ssl"),
            ("HEDDLE_REGISTRY_URL", "https://registry/api/"),
            ("HEDDLE_REGISTRY_USERNAME", "heddle"),
            ("HEDDLE_REGISTRY_PASSWORD", "hunter2"),
            ("HEDDLE_REGISTRY_TIMEOUT", "1s"),
            ("HEDDLE_REGISTRY_CA", "tls/ca.pem"),
            ("HEDDLE_ADMIN_LISTEN", "0.0.0.0:80"),
            ("HEDDLE_COMMIT_INTERVAL", "50ms"),
            ("HEDDLE_COMMIT_RECORDS", "500"),
            ("HEDDLE_WORKERS_COUNT", "2"),
            ("HEDDLE_TOPICS_ORDERS_CREATED_PARTITIONS", "12"),
            ("HEDDLE_TOPICS_ORDERS_CREATED_OPTIONS_RETENTION_MS", "1000"),
            ("HEDDLE_LOG_KIND", ""),
            ("HEDDLE_CACHE", "/tmp/cache"),
            ("HEDDLE_TRACE", "debug"),
            ("HEDDLE_TEST_BROKER", "127.0.0.1:1"),
        ],
    );
    assert_eq!((app.name.as_str(), app.components.len()), ("staging", 2));
    assert_eq!(app.components[1], "extra/fraud.wasm");
    assert_eq!(kafka(&app).bootstrap, "kafka:9092", "an empty HEDDLE_LOG_KIND counts as not set");
    assert_eq!(kafka(&app).options, variables(&[("security.protocol", "ssl")]));
    let registry = app.registry.as_ref().unwrap();
    assert_eq!((registry.url.as_str(), registry.username.as_deref()), ("https://registry/api", Some("heddle")));
    assert_eq!((registry.password.as_deref(), registry.timeout), (Some("hunter2"), Duration::from_secs(1)));
    assert_eq!(registry.ca.as_deref(), Some("tls/ca.pem".as_ref()));
    assert!(!format!("{app:?}").contains("hunter2"));
    assert_eq!(app.admin.listen.to_string(), "0.0.0.0:80");
    assert_eq!((app.commit.interval, app.commit.records_max), (Duration::from_millis(50), 500));
    assert_eq!(app.workers.count, 2);
    assert_eq!(app.topics["orders.created"].partitions, 12);
    assert_eq!(app.topics["orders.created"].options, variables(&[("retention.ms", "1000")]));
}

#[test]
fn a_variable_can_add_a_section_and_an_option_keeps_its_spelling() {
    let text = "app.name = \"first\"\n[log.options]\n\"odd_name.X\" = \"1\"\n";
    let app = app(text, &[("HEDDLE_LOG_BOOTSTRAP", "kafka:9092"), ("HEDDLE_LOG_OPTIONS_ODD_NAME_X", "2")]);
    assert_eq!(kafka(&app).options, variables(&[("odd_name.X", "2")]));
}

#[test]
fn a_variable_runs_an_app_without_its_broker() {
    assert_eq!(app(PLATFORM, &[("HEDDLE_LOG_KIND", "embedded")]).log, Log::Embedded);
}

#[test]
fn variables_that_are_wrong_are_named() {
    let overrides = [
        ("HEDDLE_LOG_BOOTSTRAPS", "kafka:9092"),
        ("HEDDLE_TOPICS_PAYMENTS_PARTITIONS", "3"),
        ("HEDDLE_SOMETHING", "3"),
        ("HEDDLE_WORKERS_COUNT", "many"),
        ("HEDDLE_COMMIT_RECORDS", "0"),
        ("HEDDLE_REGISTRY_URL", "registry:8081"),
    ];
    assert_snapshot!(wrong(PLATFORM, &overrides), @r#"
    `records` cannot be 0
      at: environment variable HEDDLE_COMMIT_RECORDS (commit.records)
      hint: use a value from 1 to 1000000
    `HEDDLE_LOG_BOOTSTRAPS` names no known key
      at: environment variable HEDDLE_LOG_BOOTSTRAPS
      hint: did you mean `HEDDLE_LOG_BOOTSTRAP`?
    `registry:8081` is not the address of a registry
      at: environment variable HEDDLE_REGISTRY_URL (registry.url)
      hint: write it like "http://127.0.0.1:8081"
    `HEDDLE_SOMETHING` names no known key
      at: environment variable HEDDLE_SOMETHING
      hint: unset it; a variable is named `HEDDLE_<SECTION>_<KEY>` after a key of heddle.toml
    `HEDDLE_TOPICS_PAYMENTS_PARTITIONS` names no known key
      at: environment variable HEDDLE_TOPICS_PAYMENTS_PARTITIONS
      hint: give the topic a [topics."..."] section: a variable can only change a topic that the file has
    `count` should be a whole number
      at: environment variable HEDDLE_WORKERS_COUNT (workers.count)
      hint: set it to a number from 1 to 256
    "#);
}

#[test]
fn variables_that_kubernetes_sets_for_a_service_are_ignored() {
    let service = [
        ("HEDDLE_SERVICE_HOST", "10.96.0.12"),
        ("HEDDLE_SERVICE_PORT", "7870"),
        ("HEDDLE_PORT", "tcp://10.96.0.12:7870"),
        ("HEDDLE_PORT_7870_TCP", "tcp://10.96.0.12:7870"),
        ("HEDDLE_PORT_7870_TCP_PROTO", "tcp"),
        ("HEDDLE_PORT_7870_TCP_PORT", "7870"),
        ("HEDDLE_PORT_7870_TCP_ADDR", "10.96.0.12"),
        ("HEDDLE_REGISTRY_SERVICE_HOST", "10.96.0.13"),
        ("HEDDLE_REGISTRY_SERVICE_PORT", "8081"),
        ("HEDDLE_REGISTRY_PORT", "tcp://10.96.0.13:8081"),
        ("HEDDLE_LOG_OPTIONS_PORT", "tcp://10.96.0.14:80"),
    ];
    assert_eq!(app(PLATFORM, &service), app(PLATFORM, &[]));
}

#[test]
fn a_topic_has_a_wire() {
    let text = "app.name = \"first\"\n[topics.a]\nwire = \"header\"\n[topics.b]\n[topics.c]\n";
    let wires = app(text, &[("HEDDLE_TOPICS_C_WIRE", "auto")]).wires();
    assert_eq!(["a", "b", "c"].map(|topic| wires[topic]), [Wire::Header, Wire::Registry, Wire::Auto]);
    assert_snapshot!(wrong(&text.replace("header", "plane"), &[]), @r#"
    `plane` is not a known wire
      at: heddle.toml:3:8 (topics.a.wire)
      hint: use `registry`, `header`, `plain` or `auto`
    "#);
}

#[test]
fn a_variable_that_could_mean_two_topics_is_refused() {
    let text = "app.name = \"first\"\n[topics]\n\"orders.created\" = {}\norders-created = {}\n";
    assert_snapshot!(wrong(text, &[("HEDDLE_TOPICS_ORDERS_CREATED_PARTITIONS", "3")]), @r#"
    `HEDDLE_TOPICS_ORDERS_CREATED_PARTITIONS` could mean `topics.orders-created.partitions` and `topics."orders.created".partitions`
      at: environment variable HEDDLE_TOPICS_ORDERS_CREATED_PARTITIONS
      hint: set the value in the file instead
    "#);
}

#[test]
fn all_problems_are_reported_at_once() {
    let text = r#"
[app]
name = "order platform"
components = "components/*"

[log]
kind = "kafak"

[registry]
url = "http://user:secret@registry:8081"
password = "secret"

[topics."orders created"]
partitions = 0
replication = 1.5

[admin]
listen = "localhost:7870"

[commit]
interval = "1h"
record = 5
"#;
    assert_snapshot!(wrong(text, &[]), @r#"
    `order platform` cannot name an app
      at: heddle.toml:3:8 (app.name)
      hint: use lower-case letters, digits and single dashes, a letter first, at most 63 characters: `order-intake`
    `components` should be a list, not a string
      at: heddle.toml:4:14 (app.components)
      hint: write it like `components = ["..."]`
    `kafak` is not a known kind
      at: heddle.toml:7:8 (log.kind)
      hint: did you mean `kafka`?
    `url` holds a user or a password
      at: heddle.toml:10:7 (registry.url)
      hint: move them to `username` and `password`
    there is a password but no user
      at: heddle.toml:11:12 (registry.password)
      hint: add `username = "..."`
    `orders created` cannot name a topic
      at: heddle.toml:13:9 (topics."orders created")
      hint: use letters, digits, `.`, `_` and `-`, at most 249 characters, as Kafka requires
    `partitions` cannot be 0
      at: heddle.toml:14:14 (topics."orders created".partitions)
      hint: use a value from 1 to 100000
    `replication` should be a whole number, not a number with a fraction
      at: heddle.toml:15:15 (topics."orders created".replication)
      hint: write it like `replication = 1`
    `localhost:7870` is not an address to listen on
      at: heddle.toml:18:10 (admin.listen)
      hint: write an IP address and a port: "127.0.0.1:7870", "0.0.0.0:7870" or "[::1]:7870"
    `interval` cannot be 1h
      at: heddle.toml:21:12 (commit.interval)
      hint: use a value from 1ms to 30s
    unknown key `record` in [commit]
      at: heddle.toml:22:1 (commit.record)
      hint: did you mean `records`?
    "#);
}

#[test]
fn logs_that_cannot_be_meant_are_refused() {
    assert_snapshot!(wrong("[app]\nname = \"a\"\n[log]\nkind = \"kafka\"\n", &[]), @r#"
    `bootstrap` is missing in [log]
      at: heddle.toml:3:2 (log.bootstrap)
      hint: add `bootstrap = "<host>:<port>"`, the address of a broker
    "#);
    assert_snapshot!(wrong("[app]\nname = \"a\"\n[log]\nkind = \"embedded\"\n", &[("HEDDLE_LOG_BOOTSTRAP", "k:9092")]), @r#"
    the embedded log has no broker to connect to
      at: environment variable HEDDLE_LOG_BOOTSTRAP (log.bootstrap)
      hint: set `kind = "kafka"`, or remove this key
    "#);
    let text = "[app]\nname = \"a\"\n[log]\nbootstrap = \"k:port\"\noptions = { acks = 0, \"group.id\" = \"mine\" }\n";
    assert_snapshot!(wrong(text, &[]), @r#"
    `k:port` is not a list of brokers
      at: heddle.toml:4:13 (log.bootstrap)
      hint: write "<host>:<port>", several of them separated by commas
    `acks` is set by Heddle: its guarantees depend on it
      at: heddle.toml:5:13 (log.options.acks)
      hint: remove it
    `group.id` is set by Heddle: its guarantees depend on it
      at: heddle.toml:5:23 (log.options."group.id")
      hint: remove it
    "#);
    assert_snapshot!(wrong("", &[("HEDDLE_LOG_KIND", "kafka")]), @r#"
    `app` is missing
      at: heddle.toml:1:1 (app)
      hint: add an [app] section with `name = "..."`
    `bootstrap` is missing in [log]
      at: environment variable HEDDLE_LOG_KIND (log.bootstrap)
      hint: add `bootstrap = "<host>:<port>"`, the address of a broker
    "#);
}

#[test]
fn the_watch_over_a_version_and_the_right_to_deploy_are_configured() {
    let deploy = |settings: &str| app(&format!("[app]\nname = \"first\"\n{settings}"), &[]).deploy;
    let said = |settings: &str| deploy(settings).map(|deploy| (deploy.watch.as_secs(), deploy.failures_max));
    assert_eq!(said(""), None);
    assert_eq!(said("[deploy]\n"), Some((60, 500)));
    assert_eq!(said("[deploy]\nwatch = \"5m\"\nmax-failures = \"0.5%\"\n"), Some((300, 50)));
    assert_eq!(said("[deploy]\nmax-failures = \"100%\"\n"), Some((60, 10_000)));
    let wrong = ["5", "-1%", "101%", "0.125%", "%"]
        .map(|part| wrong(&format!("[app]\nname = \"first\"\n[deploy]\nmax-failures = \"{part}\"\n"), &[]));
    assert_snapshot!(wrong.join("\n"));
    let secret = app("[app]\nname = \"first\"\n", &[("HEDDLE_ADMIN_TOKEN", "secret")]);
    assert_eq!(secret.admin.token.as_deref(), Some("secret"));
    assert!(!format!("{secret:?}").contains("secret"));
}

#[test]
fn the_embedded_registry_has_a_topic_and_no_address() {
    let text = "[app]\nname = \"first\"\n[registry]\ntopic = \"first.registry\"\nregister = \"never\"\n";
    let own = app(text, &[]);
    assert_eq!((&own.registry, own.registry_topic.as_str(), own.register), (&None, "first.registry", Register::Never));
    let text = "[app]\nname = \"first\"\n[registry]\ntopic = \"a b\"\nregister = \"no\"\nusername = \"x\"\n";
    let told = wrong(text, &[]);
    for part in
        ["`a b` cannot name a topic", "`no` is not a known register", "the embedded registry has no address", "6:12"]
    {
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn the_address_and_the_tls_files_of_the_admin_api_are_configured() {
    let admin = |variables: &[(&str, &str)]| app("[app]\nname = \"first\"\n", variables).admin;
    let plain = admin(&[("HEDDLE_ADMIN_NAMES", "shop-1, shop.example.com")]);
    assert_eq!(plain.names, ["shop-1", "shop.example.com"]);
    assert_eq!((plain.tls, plain.ca), (None, None));
    let tls = admin(&[
        ("HEDDLE_ADMIN_TLS_CERTIFICATE", "server.pem"),
        ("HEDDLE_ADMIN_TLS_KEY", "server.key"),
        ("HEDDLE_ADMIN_CA", "ca.pem"),
    ]);
    assert_eq!(tls.tls.unwrap().certificate.to_str(), Some("server.pem"));
    assert_eq!(tls.ca.unwrap().to_str(), Some("ca.pem"));
    let alone = wrong("[app]\nname = \"first\"\n[admin]\ntls-key = \"server.key\"\n", &[]);
    assert!(alone.contains("a certificate and its key belong together"), "{alone}");
}
