//! Converts numbers, texts and bytes of messages to a component's values.

use heddle_contract::format::protobuf::DecodeError;
use heddle_contract::format::protobuf::types::{Field, Scalar};
use heddle_contract::format::protobuf::wire::{Reader, Tag, Wire, unzigzag};
use wasmtime::component::Val;

use crate::guest::codec::place::{bytes, set_string, take};

/// Refuses a value with a wire type that its field's type does not have.
pub(super) fn expect(wire: Wire, field: &Field, tag: Tag, reader: &Reader<'_>) -> Result<(), DecodeError> {
    if tag.wire == wire {
        return Ok(());
    }
    Err(DecodeError::WireType { field: field.name.clone(), at: reader.at() })
}

/// Reads a value.
pub(super) fn read_scalar(
    kind: Scalar,
    field: &Field,
    tag: Tag,
    reader: &mut Reader<'_>,
    place: &mut Val,
) -> Result<(), DecodeError> {
    expect(kind.wire(), field, tag, reader)?;
    *place = match kind {
        Scalar::Double => Val::Float64(f64::from_bits(reader.fixed64()?)),
        Scalar::Float => Val::Float32(f32::from_bits(reader.fixed32()?)),
        // Longer numbers are truncated, as everywhere in Protobuf.
        Scalar::Int32 => Val::S32(reader.varint()? as i32),
        Scalar::Int64 => Val::S64(reader.varint()?.cast_signed()),
        Scalar::Uint32 => Val::U32(reader.varint()? as u32),
        Scalar::Uint64 => Val::U64(reader.varint()?),
        Scalar::Sint32 => Val::S32(unzigzag(u64::from(reader.varint()? as u32)) as i32),
        Scalar::Sint64 => Val::S64(unzigzag(reader.varint()?)),
        Scalar::Fixed32 => Val::U32(reader.fixed32()?),
        Scalar::Fixed64 => Val::U64(reader.fixed64()?),
        Scalar::Sfixed32 => Val::S32(reader.fixed32()?.cast_signed()),
        Scalar::Sfixed64 => Val::S64(reader.fixed64()?.cast_signed()),
        Scalar::Bool => Val::Bool(reader.varint()? != 0),
        Scalar::Bytes => bytes(reader.bytes()?),
        Scalar::String => {
            set_string(place, reader.string()?);
            return Ok(());
        }
    };
    Ok(())
}

/// Sets the default value of a type.
pub(super) fn zero_scalar(kind: Scalar, place: &mut Val) {
    *place = match kind {
        Scalar::Double => Val::Float64(0.0),
        Scalar::Float => Val::Float32(0.0),
        Scalar::Int32 | Scalar::Sint32 | Scalar::Sfixed32 => Val::S32(0),
        Scalar::Int64 | Scalar::Sint64 | Scalar::Sfixed64 => Val::S64(0),
        Scalar::Uint32 | Scalar::Fixed32 => Val::U32(0),
        Scalar::Uint64 | Scalar::Fixed64 => Val::U64(0),
        Scalar::Bool => Val::Bool(false),
        Scalar::Bytes => bytes(&[]),
        Scalar::String => return set_string(place, ""),
    };
}

/// Sets a symbol of an open enum, or a number for which the enum has no symbol.
pub(super) fn set_variant(place: &mut Val, label: &str, number: Option<i32>) {
    let mut name = match take(place) {
        Val::Variant(name, _) => name,
        _ => String::new(),
    };
    name.clear();
    name.push_str(label);
    *place = Val::Variant(name, number.map(|number| Box::new(Val::S32(number))));
}
