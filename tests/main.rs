//! All integration tests of the host, in one binary, so that there is one link and waits overlap.
//!
//! `support` has the helpers that several modules share. A test that measures its process has a separate binary
//! (`traps`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::needless_pass_by_value, missing_docs)]

mod brokers_killed;
mod build;
mod cdc;
mod cli;
mod clusters;
mod conformance;
mod corpora;
mod dashboards;
mod dlq;
mod doctor;
mod doors;
mod embedded_kill;
mod embedded_upkeep;
mod failures;
mod full_disks;
mod good_records;
mod guest;
mod guide;
mod hostile;
mod hostile_schemas;
mod kafka_log;
mod languages;
mod machine;
mod new;
mod observed;
mod offsets;
mod operator;
mod platform;
mod python;
mod refused;
mod registry;
mod registry_answers;
mod registry_server;
mod registry_topic;
mod reload;
mod repartition;
mod round_trips;
mod schema_cli;
mod sockets;
mod stalls;
mod state_engines;
mod stores;
mod subjects;
mod support;
mod tables;
mod task_stores;
mod terminal;
mod tidy;
mod topic_changes;
mod under_fire;
mod wasi;
mod worn_out;
