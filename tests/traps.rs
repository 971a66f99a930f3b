//! A component that traps on every record. Each gets a new instance, and no memory is left behind.
//!
//! It runs alone in its process, whose memory it measures.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[allow(dead_code)] // it uses a part of them
mod support {
    pub(crate) mod build;
    pub(crate) mod guests;
}

use std::fs;
use std::sync::Arc;

use heddle::guest::Instance;
use heddle_core::batch::OpenBatch;
use heddle_core::event::{Offset, Partition, Record, Timestamp, TopicPartition};
use heddle_core::policy::FailurePolicy;
use heddle_core::state::Stateless;
use heddle_core::task::{Task, TaskSpec};
use serde_json::json;
use support::guests::{self, Known, framed, schema, wasm};

/// The maximum memory that may remain, in KiB. An instance has more than a mebibyte, so a leak of instances is found.
const GROWTH_KIB_MAX: u64 = 24 << 10;

#[test]
fn an_instance_that_traps_leaves_nothing_behind() {
    let ids = [("in-value", 1), ("out-value", 2)];
    let component = Arc::new(guests::load("scripted.wasm", &wasm("scripted"), ids).unwrap());
    let policy = FailurePolicy::in_place(1, "dlq");
    let spec = TaskSpec::stateless("guests.scripted".into(), policy);
    let mut task = Task::new(Arc::new(spec), Partition(0), Arc::new(Stateless));
    let mut instance = Instance::new(component, Known::of([(1, schema("in-value")), (2, schema("out-value"))]));
    let value = framed(1, &schema("in-value"), &json!({ "do": "trap" }));
    let resident = || resident_kib().unwrap();
    let mut first = 0;
    let traps = i64::try_from(heddle_fixtures::scaled(20_000, 200_000)).unwrap();
    for offset in 0..traps {
        let record = Record {
            source: TopicPartition::new("in", 0),
            offset: Offset(offset),
            timestamp: Timestamp(0),
            key: None,
            value: Some(value.clone().into()),
            headers: vec![],
        };
        let step = task.step_at_once(&record, &mut instance, &mut OpenBatch::default(), Timestamp(0)).unwrap();
        assert_eq!(guests::header(&step.writes[0], "heddle.kind"), "trap");
        if offset == traps / 10 {
            first = resident();
        }
    }
    let growth = resident().saturating_sub(first);
    eprintln!("{first} KiB after {} traps, {growth} KiB more after {traps}", traps / 10);
    assert!(growth < GROWTH_KIB_MAX, "{growth} KiB more than after the first {}", traps / 10);
}

fn resident_kib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()
}
