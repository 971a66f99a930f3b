//! Generates `heddle_world.py`: the checks of a component's values, composed of those in `sdk/python/heddle_values.py`.

use std::fmt::Write as _;

use super::super::world::{Definition, Kind, Ty, World, pascal, snake};
use super::bindings::{GENERATED, name};

/// Generates the module. `VALUES` has the checks of value and key for each emitter, store and table.
pub(super) fn module(world: &World) -> String {
    let mut out =
        format!("{GENERATED}\nimport heddle_values as _v\n\nfrom heddle import contracts as _c\n\n_t = {{}}\n");
    for definition in &world.types {
        let _ = writeln!(out, "_t[{:?}] = {}", definition.name, defined(definition));
    }
    out.push_str("VALUES = {\n");
    let emits = world.emits.iter().map(|topic| (&topic.interface, &topic.value, topic.key.as_ref()));
    let stores = world.stores.iter().map(|store| (&store.interface, &store.value, Some(&store.key)));
    let tables = world.tables.iter().map(|table| (&table.interface, &table.value, Some(&table.key)));
    for (interface, value, key) in emits.chain(stores).chain(tables) {
        let key = key.map_or_else(|| "_v.text".to_owned(), check);
        let _ = writeln!(out, "    {:?}: ({}, {key}),", snake(interface), check(value));
    }
    out + "}\n"
}

fn defined(definition: &Definition) -> String {
    let class = pascal(&definition.name);
    match &definition.kind {
        Kind::Alias(of) => check(of),
        Kind::Enum(names) => format!("_v.enumeration({class:?}, {})", names.len()),
        Kind::Record(fields) => {
            let fields = fields.iter().map(|(field, _, of)| format!("{:?}: {}", name(field), check(of)));
            format!("_v.record({class:?}, {{{}}})", fields.collect::<Vec<_>>().join(", "))
        }
        Kind::Variant(cases) => {
            let case = |(case, of): &(String, Option<Ty>)| {
                let of = of.as_ref().map_or_else(|| "None".to_owned(), check);
                format!("_c.{class}_{}: {of}", pascal(case))
            };
            format!("_v.variant({class:?}, {{{}}})", cases.iter().map(case).collect::<Vec<_>>().join(", "))
        }
    }
}

fn check(of: &Ty) -> String {
    match of {
        Ty::Bool => "_v.anything".to_owned(),
        Ty::S32 => "_v.s32".to_owned(),
        Ty::S64 => "_v.s64".to_owned(),
        Ty::U32 => "_v.u32".to_owned(),
        Ty::U64 => "_v.u64".to_owned(),
        Ty::F32 => "_v.single".to_owned(),
        Ty::F64 => "_v.real".to_owned(),
        Ty::String => "_v.text".to_owned(),
        Ty::Bytes => "_v.octets".to_owned(),
        Ty::List(item) => format!("_v.sequence({})", check(item)),
        Ty::Tuple(types) => format!("_v.group({})", types.iter().map(check).collect::<Vec<_>>().join(", ")),
        Ty::Option(some) => format!("_v.optional({})", check(some)),
        Ty::Named(name) => format!("_t[{name:?}]"),
    }
}
