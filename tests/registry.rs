//! What every registry does, tried on the embedded one and, through the client, on a real one over HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::time::Duration;

use heddle::registry::{Client, ClientOptions, Embedded, Registry, RegistryError, SchemaId};
use heddle_fixtures::apicurio::Apicurio;

fn client(url: String) -> Client {
    Client::new(ClientOptions { url, user: None, timeout: Duration::from_secs(5), retries_max: 1 })
}

const ORDER: &str = r#"{"type":"record","name":"Order","fields":[{"name":"id","type":"string"}]}"#;
const ORDER_NEXT: &str = r#"{"type":"record","name":"Order","fields":[{"name":"id","type":"string"},{"name":"n","type":"int","default":0}]}"#;

fn a_registry_keeps_what_it_is_told(registry: &dyn Registry) {
    for subject in ["orders-value", "orders/created 100%-value"] {
        assert_eq!(registry.latest(subject).unwrap(), None);
        let first = registry.register(subject, ORDER).unwrap();
        assert_eq!(registry.register(subject, ORDER).unwrap(), first, "the same schema again");
        let second = registry.register(subject, ORDER_NEXT).unwrap();
        assert_ne!(first, second);
        let latest = registry.latest(subject).unwrap().unwrap();
        assert_eq!((latest.id, latest.version), (second, 2));
        for (id, schema) in [(first, ORDER), (second, ORDER_NEXT)] {
            let text = registry.by_id(id).unwrap().unwrap();
            let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            assert_eq!(json(&text), json(schema));
        }
    }
    assert_eq!(registry.by_id(SchemaId(4_000_000)).unwrap(), None);
    let refused = registry.register("wrong-value", r#"{"type":"recrod"}"#);
    assert!(matches!(refused, Err(RegistryError::Refused { .. })), "{refused:?}");
}

#[test]
fn the_embedded_registry() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Embedded::open(folder.path()).unwrap();
    a_registry_keeps_what_it_is_told(&registry);
    let id = registry.latest("orders-value").unwrap().unwrap().id;
    drop(registry);
    assert_eq!(Embedded::open(folder.path()).unwrap().latest("orders-value").unwrap().unwrap().id, id);
}

#[test]
fn a_real_registry_over_http() {
    let apicurio = Apicurio::start();
    a_registry_keeps_what_it_is_told(&client(apicurio.url()));
}
