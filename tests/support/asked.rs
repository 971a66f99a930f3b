//! A guest that does what its record says, called through the step.

use std::sync::Arc;

use heddle::guest::{Component, Instance};
use heddle_contract::format::avro::json;
use heddle_core::batch::OpenBatch;
use heddle_core::event::{NewRecord, Offset, Partition, Record, Timestamp, TopicPartition};
use heddle_core::policy::FailurePolicy;
use heddle_core::state::Stateless;
use heddle_core::task::{Task, TaskSpec};
use serde_json::{Value, json};

use crate::support::guests::{Known, framed, header, schema};

/// A time that no machine's clock shows.
const TIME: i64 = 1_234_567_890_123;

/// One task of the guest, with its instance.
pub(crate) struct Asked {
    task: Task,
    instance: Instance,
}

impl Asked {
    pub(crate) fn new(name: &str, component: Arc<Component>) -> Self {
        let spec = TaskSpec::stateless(name.into(), FailurePolicy::in_place(1, "dlq"));
        let known = Known::of([(1, schema("in-value")), (2, schema("out-value"))]);
        Self {
            task: Task::new(Arc::new(spec), Partition(0), Arc::new(Stateless)),
            instance: Instance::new(component, known),
        }
    }

    /// Hands over a record at an offset. Returns the one record that the step writes.
    pub(crate) fn step(&mut self, what: &str, offset: i64) -> NewRecord {
        let record = Record {
            source: TopicPartition::new("in", 0),
            offset: Offset(offset),
            timestamp: Timestamp(TIME),
            key: None,
            value: Some(framed(1, &schema("in-value"), &json!({ "do": what })).into()),
            headers: vec![],
        };
        let step =
            self.task.step_at_once(&record, &mut self.instance, &mut OpenBatch::default(), Timestamp(0)).unwrap();
        let [written] = step.writes.as_slice() else { panic!("{what} writes one record") };
        written.clone()
    }

    /// The answer of a handler that must succeed.
    pub(crate) fn answer(&mut self, what: &str) -> String {
        let written = self.step(what, 7);
        assert_eq!(&*written.topic, "out", "{what}: {}", header(&written, "heddle.reason"));
        let value: Value = json::decode(&schema("out-value"), &written.value.unwrap()[5..]).unwrap();
        value["did"].as_str().unwrap().to_owned()
    }

    /// The failure kind and reason of a handler that must fail.
    pub(crate) fn failure(&mut self, what: &str) -> String {
        let letter = self.step(what, 7);
        assert_eq!(&*letter.topic, "dlq", "{what} is expected to fail");
        format!("{what}: {}: {}", header(&letter, "heddle.kind"), header(&letter, "heddle.reason"))
    }
}
