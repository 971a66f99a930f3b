//! Converts between Protobuf and a component's values, directly from and to the wire format.

mod decode;
mod encode;
mod scalar;

pub(super) use decode::decode_into;
pub(super) use encode::encode;

use std::cmp::Ordering;

use wasmtime::component::Val;

/// Compares keys of a map.
fn compare_keys(a: &Val, b: &Val) -> Ordering {
    match (a, b) {
        (Val::String(a), Val::String(b)) => a.cmp(b),
        (Val::S32(a), Val::S32(b)) => a.cmp(b),
        (Val::S64(a), Val::S64(b)) => a.cmp(b),
        (Val::U32(a), Val::U32(b)) => a.cmp(b),
        (Val::U64(a), Val::U64(b)) => a.cmp(b),
        (Val::Bool(a), Val::Bool(b)) => a.cmp(b),
        // All keys of a map have the same type.
        _ => Ordering::Equal,
    }
}

/// The key of a map's entry.
fn key_of(entry: &Val) -> &Val {
    match entry {
        Val::Tuple(pair) => pair.first().unwrap_or(entry),
        _ => entry,
    }
}
