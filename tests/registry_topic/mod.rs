//! The embedded registry in each storage: one suite for a folder and for a topic, several hosts at once, `kill -9`, and
//! data that is lost.

mod evidence;
mod hosts;
mod lost;
mod suite;

use std::collections::BTreeMap;
use std::sync::Arc;

use heddle::log::Log;
use heddle::log::kafka::KafkaLog;
use heddle::registry::{Embedded, RegistryError};
use heddle::registry_topic::{Place, open};
use heddle_fixtures::kafka;
use serde_json::{Value, json};

/// A separate connection, as another host has it.
fn kafka_log() -> Arc<dyn Log> {
    Arc::new(KafkaLog::connect(&kafka::shared().bootstrap(), &BTreeMap::new()).unwrap())
}

/// The registry in a topic, without local copies.
fn in_topic(log: Arc<dyn Log>, topic: &str) -> Result<Embedded, RegistryError> {
    open(log, Place { topic: topic.to_owned(), copies: None, before: None })
}

fn record(name: &str, fields: &[&str]) -> Value {
    let field = |name: &&str| json!({"name": name, "type": "string"});
    json!({"type": "record", "name": name, "fields": fields.iter().map(field).collect::<Vec<_>>()})
}

fn schema(name: &str) -> String {
    record(name, &[]).to_string()
}
