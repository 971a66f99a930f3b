//! What a component is typed by: schemas, the WIT generated from them, manifests, and the contract that travels inside
//! the `.wasm` file.
//!
//! No file, socket or clock is touched here, so that build tools can use it alone.
//!
//! - [`schema`]: Avro schemas, and values as JSON.
//! - [`decimal`]: decimals in plain notation.
//! - [`resolve`], [`read`]: the writer's values as the reader's.
//! - [`wit`]: the WIT of a component, from its schemas.

pub mod decimal;
pub mod read;
pub mod resolve;
pub mod schema;
pub mod wit;
