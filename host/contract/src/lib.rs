//! What a component is typed by: schemas, the WIT generated from them, manifests, and the contract that travels inside
//! the `.wasm` file.
//!
//! No file, socket or clock is touched here, so that build tools can use it alone.
//!
//! - [`schema`]: Avro schemas, and values as JSON.
//! - [`compat`]: whether schemas fit each other.
//! - [`decimal`]: decimals in plain notation.
//! - [`resolve`], [`read`]: the writer's values as the reader's.
//! - [`identify`]: where in a value the message's id is.
//! - [`wire`]: which schema a record says it was written by.
//! - [`wit`]: the WIT of a component, from its schemas.
//! - [`manifest`]: `component.toml` and `heddle.toml`, checked.
//! - [`section`]: the contract that travels inside a `.wasm` file.

pub mod compat;
pub mod decimal;
pub mod identify;
pub mod manifest;
pub mod read;
pub mod resolve;
pub mod schema;
pub mod section;
pub mod wire;
pub mod wit;
