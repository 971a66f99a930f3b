//! The types of components: schemas, the WIT generated from them, manifests, and the contract that is embedded in the
//! `.wasm` file.
//!
//! This crate uses no file, socket or clock, so that build tools can use it alone.
//!
//! - [`format`](mod@format): the formats of schemas (Avro, Protobuf, JSON Schema), values as JSON, shapes, and plans
//!   from writer to reader.
//! - [`compat`]: the compatibility of schemas.
//! - [`identify`]: the message id in a value.
//! - [`wire`]: the schema that a record names as its writer's.
//! - [`wit`]: the WIT of a component, generated from its schemas.
//! - [`manifest`]: `component.toml` and `heddle.toml`, checked.
//! - [`section`]: the contract that is embedded in a `.wasm` file.

pub mod compat;
pub mod format;
pub mod identify;
pub mod manifest;
pub mod section;
pub mod wire;
pub mod wit;
