//! What Heddle decides, without doing anything.
//!
//! No clock, file, socket, broker, database or Wasm engine appears here: they come in as arguments. That is what lets
//! the same code run under the real worker and under a simulation.
//!
//! - [`event`]: records as a log holds them.
//! - [`effects`]: what one delivery produced.
//! - [`fault`]: what went wrong, named by its remedy.
//! - [`partitioner`]: which partition a key goes to.

pub mod effects;
pub mod event;
pub mod fault;
pub mod partitioner;
