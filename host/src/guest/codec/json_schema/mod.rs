//! Converts between JSON and a component's values, directly from and to the text.

mod decode;
mod encode;

pub(super) use decode::decode_into;
pub(super) use encode::encode;

use wasmtime::component::Val;

/// The name of a map's entry.
fn name_of(entry: &Val) -> &str {
    match entry {
        Val::Tuple(pair) => match pair.first() {
            Some(Val::String(name)) => name,
            _ => "",
        },
        _ => "",
    }
}
