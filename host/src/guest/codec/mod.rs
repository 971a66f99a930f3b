//! Between Avro bytes and a component's values, without a tree of Avro values in between.
//!
//! ```text
//!  bytes ──Decoder: plan writer → reader, shapes of the reader──> Val ──> handler
//!  emit ──> Val ──Encoder: shapes of the writer──> bytes
//! ```

mod decode;
mod encode;

pub use decode::Decoder;
pub(super) use decode::bytes;
pub use encode::{Encoder, Misfit};
