//! What a component is typed by: schemas, the WIT generated from them, manifests, and the contract that travels inside
//! the `.wasm` file.
//!
//! No file, socket or clock is touched here, so that build tools can use it alone.
//!
//! - [`format`](mod@format): the formats of schemas: Avro, Protobuf, JSON Schema; values as JSON, shapes, plans from
//!   writer to reader.
//! - [`compat`]: whether schemas fit each other.
//! - [`identify`]: where in a value the message's id is.
//! - [`wire`]: which schema a record says it was written by.
//! - [`wit`]: the WIT of a component, from its schemas.
//! - [`manifest`]: `component.toml` and `heddle.toml`, checked.
//! - [`section`]: the contract that travels inside a `.wasm` file.

pub mod compat;
pub mod format;
pub mod identify;
pub mod manifest;
pub mod section;
pub mod wire;
pub mod wit;
