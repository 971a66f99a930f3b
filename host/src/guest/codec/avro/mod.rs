//! Converts between Avro and a component's values.

mod decode;
mod encode;

pub(super) use decode::{decode_into, is_of_unknown_type};
pub(super) use encode::encode;
