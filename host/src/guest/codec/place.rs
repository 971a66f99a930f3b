//! A place for a value. It may have an earlier value, whose names, strings and lists are reused, because most of the
//! cost of a value is their memory.

use wasmtime::component::Val;

/// The memory of a value in bytes, without the memory that it points to.
pub(super) const VALUE_BYTES: usize = size_of::<Val>();
/// The memory of a field in bytes, without the characters of its name.
pub(super) const FIELD_BYTES: usize = size_of::<(String, Val)>();

/// The value of a place that has not been written to.
pub(in crate::guest) const NOTHING: Val = Val::Bool(false);

pub(super) fn take(place: &mut Val) -> Val {
    std::mem::replace(place, NOTHING)
}

pub(super) fn taken_list(place: &mut Val) -> Vec<Val> {
    match take(place) {
        Val::List(items) => items,
        _ => vec![],
    }
}

/// The place of an item, counted from 1: that of an item of the earlier value, if it had as many.
pub(super) fn item(items: &mut Vec<Val>, number: usize) -> &mut Val {
    if items.len() < number {
        items.push(NOTHING);
    }
    &mut items[number - 1]
}

pub(super) fn set_enum(place: &mut Val, name: &str) {
    if let Val::Enum(there) = place {
        there.clear();
        there.push_str(name);
    } else {
        *place = Val::Enum(name.to_owned());
    }
}

pub(super) fn set_string(place: &mut Val, text: &str) {
    if let Val::String(there) = place {
        there.clear();
        there.push_str(text);
    } else {
        *place = Val::String(text.to_owned());
    }
}

/// Creates a `list<u8>`.
pub(in crate::guest) fn bytes(bytes: &[u8]) -> Val {
    Val::List(bytes.iter().map(|byte| Val::U8(*byte)).collect())
}
