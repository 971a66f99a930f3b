//! What Heddle decides, without doing anything.
//!
//! No clock, file, socket, broker, database or Wasm engine appears here: they come in as arguments. That is what lets
//! the same code run under the real worker and under a simulation.
//!
//! - [`event`]: records as a log holds them.
//! - [`date`]: points in time as people write them.
//! - [`delivery`]: one record on its way to a handler.
//! - [`effects`]: what one delivery produced.
//! - [`state`]: what a handler reads of its stores, layer by layer.
//! - [`table`]: writes by key.
//! - [`dedup`]: which messages were handled already.
//! - [`explain`]: what an error says to a person.
//! - [`fault`]: what went wrong, named by its remedy.
//! - [`policy`]: what a failed delivery leads to.
//! - [`failed`]: records that failed, as they are written.
//! - [`limits`]: what a topic takes.
//! - [`waiting`]: which records wait for another attempt, key by key.
//! - [`breaker`]: when a component stands still for a while.
//! - [`settle`]: from effects to the records of a transaction.
//! - [`batch`]: what one transaction takes along.
//! - [`task`]: the step that puts these together.
//! - [`merge`]: which record comes next.
//! - [`partitioner`]: which partition a key goes to.

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
pub mod policy;
pub mod settle;
pub mod state;
pub mod table;
pub mod task;
pub mod waiting;
