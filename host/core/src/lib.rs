//! Heddle's decisions, without side effects.
//!
//! No clock, file, socket, broker, database or Wasm engine appears here: they come in as arguments. So the same code
//! runs in the real worker and in a simulation.
//!
//! - [`event`]: records in a log.
//! - [`date`]: points in time as text.
//! - [`delivery`]: one record for one handler, with its attempt number.
//! - [`effects`]: the results of one delivery.
//! - [`state`]: the state that a handler reads, layer by layer.
//! - [`tables`]: the compacted topics that a handler reads.
//! - [`pending`]: writes by key.
//! - [`dedup`]: message ids that were already processed.
//! - [`explain`]: the texts of an error: the failure, its place, and the remedy.
//! - [`fault`]: faults, named by remedy.
//! - [`policy`]: the decision after a failed delivery.
//! - [`failed`]: the written form of failed records.
//! - [`limits`]: bounds of a topic.
//! - [`schedule`]: a task's schedule: its parked records, key by key.
//! - [`breaker`]: the circuit breaker of a component.
//! - [`settle`]: from effects to the records of a transaction.
//! - [`batch`]: the content of one transaction.
//! - [`trace`]: trace contexts and the ids of spans.
//! - [`task`]: the step, which combines these modules.
//! - [`merge`]: the order of records from several topics.
//! - [`partitioner`]: the partition of a key.

pub mod batch;
pub mod breaker;
pub mod date;
pub mod dedup;
pub mod delivery;
pub mod effects;
pub mod event;
pub mod explain;
pub mod failed;
pub mod fault;
pub mod limits;
pub mod merge;
pub mod partitioner;
pub mod pending;
pub mod policy;
pub mod schedule;
pub mod settle;
pub mod state;
pub mod tables;
pub mod task;
pub mod trace;
