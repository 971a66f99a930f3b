//! A component that keeps more memory with every delivery: the delivery that its instance has no memory left for is
//! retried once in a fresh instance. Only a delivery that fails there, too, counts as failed.

use std::sync::Arc;

use heddle::guest::Instance;
use heddle_core::batch::OpenBatch;
use heddle_core::event::{Offset, Partition, Record, Timestamp, TopicPartition};
use heddle_core::policy::FailurePolicy;
use heddle_core::state::Stateless;
use heddle_core::task::{Next, Step, Task, TaskSpec};
use serde_json::{Value, json};

use crate::support::guests::{self, Known, framed, header, schema, wasm};

struct Bench {
    task: Task,
    instance: Instance,
    offset: i64,
}

impl Bench {
    /// Creates a bench. Its instances have 8 MiB of memory, and a failed delivery is dead-lettered immediately.
    fn new() -> Self {
        let ids = [("in-value", 1), ("out-value", 2)];
        let component = Arc::new(guests::load("scripted.wasm", &wasm("scripted"), ids).unwrap());
        let spec = TaskSpec::stateless("guests.scripted".into(), FailurePolicy::in_place(1, "dlq"));
        Self {
            task: Task::new(Arc::new(spec), Partition(0), Arc::new(Stateless)),
            instance: Instance::new(component, Known::of([(1, schema("in-value")), (2, schema("out-value"))])),
            offset: 0,
        }
    }

    fn step(&mut self, script: Value) -> Step {
        self.offset += 1;
        let record = Record {
            source: TopicPartition::new("in", 0),
            offset: Offset(self.offset),
            timestamp: Timestamp(0),
            key: None,
            value: Some(framed(1, &schema("in-value"), &script).into()),
            headers: vec![],
        };
        self.task.step_at_once(&record, &mut self.instance, &mut OpenBatch::default(), Timestamp(0)).unwrap()
    }

    /// Runs a delivery that must succeed. Its emit comes out once.
    fn succeeds(&mut self, script: Value) {
        let step = self.step(script);
        assert_eq!((&step.fault, step.next), (&None, Next::Done));
        let [write] = step.writes.as_slice() else { panic!("one record: {step:?}") };
        assert_eq!((&*write.topic, header(write, "ce_id")), ("out", format!("guests.scripted/in/0/{}/0", self.offset)));
    }

    fn fails(&mut self, script: Value, kind: &str) {
        let step = self.step(script);
        let [letter] = step.writes.as_slice() else { panic!("one record, the dead letter: {step:?}") };
        assert_eq!((&*letter.topic, header(letter, "heddle.kind").as_str()), ("dlq", kind));
    }
}

#[test]
fn no_record_is_lost_to_memory_that_earlier_ones_used() {
    for leak in ["leak", "leak-or-fail"] {
        let mut bench = Bench::new();
        (0..100).for_each(|_| bench.succeeds(json!({"do": leak, "times": 1 << 10})));
    }
}

#[test]
fn a_record_that_no_instance_has_memory_for_is_dead_lettered() {
    let mut bench = Bench::new();
    let too_much = 16 << 10;
    bench.fails(json!({"do": "leak", "times": too_much}), "memory");
    bench.succeeds(json!({"do": "echo"}));
    bench.fails(json!({"do": "leak", "times": too_much}), "memory");
    bench.succeeds(json!({"do": "echo"}));
    bench.fails(json!({"do": "leak-or-fail", "times": too_much}), "failed");
    // A delivery that ran out of memory does not count against the next one.
    bench.fails(json!({"do": "trap"}), "trap");
    bench.succeeds(json!({"do": "leak", "times": 1 << 10}));
}
