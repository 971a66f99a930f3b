//! The guarantees of an embedded registry, in any storage.

use std::sync::Arc;
use std::time::{Duration, Instant};

use heddle::log::embedded::{EmbeddedLog, EmbeddedOptions};
use heddle::registry::{Embedded, Registry, RegistryError, SchemaId};
use heddle_contract::compat::Level;
use serde_json::{Value, json};

use crate::support::server::serve;

use super::{in_topic, kafka_log, record, schema};

/// A client of the registry's HTTP API.
struct Api {
    url: String,
    agent: ureq::Agent,
}

impl Api {
    fn serve(registry: &Embedded) -> Self {
        let routes = registry.routes().unwrap();
        let url = serve(routes);
        let config = ureq::Agent::config_builder().http_status_as_error(false).build();
        Self { url, agent: config.into() }
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let url = format!("{}{path}", self.url);
        let answer = match (method, body) {
            ("DELETE", _) => self.agent.delete(url).call(),
            ("PUT", Some(body)) => self.agent.put(url).send(body.to_string()),
            ("POST", Some(body)) => self.agent.post(url).send(body.to_string()),
            _ => self.agent.get(url).call(),
        };
        let mut answer = answer.unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        (answer.status().as_u16(), serde_json::from_str(&text).unwrap())
    }

    fn get(&self, path: &str) -> Value {
        let (status, answer) = self.ask("GET", path, None);
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// Everything that clients can see.
    fn everything(&self) -> Value {
        let schemas = self.get("/schemas?deleted=true");
        let ids = schemas.as_array().unwrap().iter().map(|schema| schema["id"].as_u64().unwrap());
        let texts = ids.map(|id| self.get(&format!("/schemas/ids/{id}"))).collect::<Vec<_>>();
        let subjects = self.get("/subjects?deleted=true");
        let names = subjects.as_array().unwrap().iter().map(|subject| subject.as_str().unwrap());
        let settings = names.map(|name| {
            let of = |what: &str| self.get(&format!("/{what}/{name}?defaultToGlobal=true"));
            json!([name, of("config"), of("mode"), self.get(&format!("/subjects/{name}/versions?deleted=true"))])
        });
        let settings = settings.collect::<Vec<_>>();
        json!([schemas, texts, subjects, self.get("/subjects"), settings, self.get("/config"), self.get("/mode")])
    }
}

/// Checks the guarantees. `again` opens the same registry another time; if it is `shared`, both stay in use.
fn keeps_its_promises(registry: &Embedded, again: impl Fn() -> Embedded, shared: bool) {
    let api = Api::serve(registry);
    let ids = ["A", "B", "C"].map(|name| registry.register(&format!("{name}-value"), &schema(name)).unwrap());
    assert_eq!(ids, [1, 2, 3].map(SchemaId));
    assert_eq!(registry.register("other-value", &schema("B")).unwrap(), SchemaId(2), "one schema, one id");
    let wider = record("A", &["more"]).to_string();
    let refused = registry.register("A-value", &wider);
    assert!(matches!(refused, Err(RegistryError::Refused { .. })), "{refused:?}");
    registry.set_level(Some("A-value"), Level::None).unwrap();
    assert_eq!(registry.register("A-value", &wider).unwrap(), SchemaId(4));
    registry.set_level(None, Level::FullTransitive).unwrap();
    assert_eq!(api.ask("PUT", "/mode/C-value", Some(&json!({"mode": "READONLY"}))).0, 200);
    assert!(matches!(registry.register("C-value", &schema("D")), Err(RegistryError::Refused { .. })));
    // Deleted versions stay known by their ids. Permanently deleted ones do not come back, and neither do their ids.
    assert_eq!(api.ask("DELETE", "/subjects/other-value", None), (200, json!([1])));
    for path in ["/subjects/A-value/versions/2", "/subjects/A-value/versions/2?permanent=true"] {
        assert_eq!(api.ask("DELETE", path, None), (200, json!(2)));
    }
    assert_eq!(registry.by_id(SchemaId(4)).unwrap(), None);
    assert_eq!(registry.by_id(SchemaId(5)).unwrap(), None);
    let seen = api.everything();
    let second = again();
    assert_eq!(Api::serve(&second).everything(), seen);
    assert_eq!(second.register("A-value", &wider).unwrap(), SchemaId(5), "no id is given twice");
    if !shared {
        return;
    }
    // The first registry has read the change.
    assert_eq!(registry.by_id(SchemaId(5)).unwrap().map(|found| found.text).as_deref(), Some(wider.as_str()));
    assert_eq!(registry.register("E-value", &schema("E")).unwrap(), SchemaId(6));
    assert_eq!(second.register("F-value", &schema("F")).unwrap(), SchemaId(7));
    assert_eq!(second.register("E-value", &schema("E")).unwrap(), SchemaId(6));
    let (other, deadline) = (Api::serve(&second), Instant::now() + Duration::from_secs(30));
    while api.everything() != other.everything() {
        assert!(Instant::now() < deadline, "the first one does not notice it");
    }
}

#[test]
fn a_registry_in_a_folder() {
    let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = Embedded::open(folder.path()).unwrap();
    // The folder belongs to the first registry until its process ends. Its answers are on the disk.
    let again = || {
        for entry in std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() {
                std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
            }
        }
        Embedded::open(copy.path()).unwrap()
    };
    keeps_its_promises(&first, again, false);
}

#[test]
fn a_registry_in_a_topic_of_the_embedded_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = Arc::new(EmbeddedLog::open(folder.path(), EmbeddedOptions::default()).unwrap());
    let open = || in_topic(log.clone(), "heddle.registry").unwrap();
    keeps_its_promises(&open(), open, true);
}

#[test]
fn a_registry_in_a_topic_of_kafka() {
    let open = || in_topic(kafka_log(), "suite.registry").unwrap();
    keeps_its_promises(&open(), open, true);
}
