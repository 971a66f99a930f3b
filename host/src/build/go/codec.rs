//! Generates Go code that converts values to and from the canonical ABI: in memory, and flat, as parameters of core
//! functions.
//!
//! Each type has one Go function that loads it from memory and one that stores it, generated at its first use. Flat
//! values use slots. A slot that several cases of a variant share has a type that can hold all of theirs.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use wit_parser::abi::{FlatTypes, WasmType};
use wit_parser::{Int, Type, TypeDef, TypeDefKind};

use super::names::exported;
use super::types::{Package, Types, name, primitive, tag};

/// An upper bound on the number of slots of a flat value.
const SLOTS_MAX: usize = 64;

/// A variable of a core type.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) name: String,
    pub(super) ty: WasmType,
}

/// The functions generated so far.
pub(super) struct Codec<'a> {
    pub(super) types: &'a Types<'a>,
    pub(super) functions: String,
    known: BTreeSet<String>,
    variables: usize,
}

impl<'a> Codec<'a> {
    pub(super) fn new(types: &'a Types<'a>) -> Self {
        Self { types, functions: String::new(), known: BTreeSet::new(), variables: 0 }
    }

    fn go(&self, ty: Type) -> String {
        self.types.go(ty, Package::Heddle)
    }

    /// The name of the type as part of a function's name.
    fn word(&self, ty: Type) -> String {
        // In lower case, to differ from the types of schemas.
        let definition = match self.types.definition(ty) {
            Err(plain) => return primitive(plain).to_owned(),
            Ok(definition) => definition,
        };
        match &definition.kind {
            TypeDefKind::List(item) => format!("List_{}", self.word(*item)),
            TypeDefKind::Option(some) => format!("Option_{}", self.word(*some)),
            TypeDefKind::Tuple(tuple) => {
                format!("Pair_{}", tuple.types.iter().map(|ty| self.word(*ty)).collect::<Vec<_>>().join("_"))
            }
            _ => exported(name(definition)),
        }
    }

    /// Returns the function that loads a type from memory.
    pub(super) fn load(&mut self, ty: Type) -> String {
        let definition = match self.types.definition(ty) {
            Err(Type::String) => return "loadString".to_owned(),
            Err(_) => return format!("peek[{}]", self.go(ty)),
            Ok(_) if self.types.is_bytes(ty) => return "loadBytes".to_owned(),
            Ok(definition) => definition,
        };
        let function = format!("load_{}", self.word(ty));
        if self.known.insert(function.clone()) {
            let body = self.load_body(ty, definition);
            let go = self.go(ty);
            let _ = write!(self.functions, "\nfunc {function}(at unsafe.Pointer) {go} {{\n{body}}}\n");
        }
        function
    }

    fn load_body(&mut self, ty: Type, definition: &TypeDef) -> String {
        let go = self.go(ty);
        let mut body = String::new();
        match &definition.kind {
            TypeDefKind::Record(record) => {
                let types = record.fields.iter().map(|field| field.ty).collect::<Vec<_>>();
                let _ = writeln!(body, "\treturn {go}{{");
                for (field, at) in record.fields.iter().zip(self.offsets(&types)) {
                    let _ = writeln!(body, "\t\t{}: {}({at}),", exported(&field.name), self.load(field.ty));
                }
                body.push_str("\t}\n");
            }
            TypeDefKind::Tuple(tuple) => {
                let offsets = self.offsets(&tuple.types);
                let parts = tuple.types.iter().zip(offsets).map(|(ty, at)| format!("{}({at})", self.load(*ty)));
                let parts = parts.collect::<Vec<_>>().join(", ");
                let _ = writeln!(body, "\treturn {go}{{{parts}}}");
            }
            TypeDefKind::List(item) => {
                let (size, load) = (self.types.size(*item), self.load(*item));
                let _ = writeln!(body, "\treturn loadList(at, {size}, {load})");
            }
            TypeDefKind::Option(some) => {
                let (at, load) = (self.payload(definition), self.load(*some));
                body.push_str("\tif peek[uint8](at) == 0 {\n\t\treturn nil\n\t}\n");
                let _ = match self.types.is_list(*some) {
                    true => writeln!(body, "\treturn {load}({at})"),
                    false => writeln!(body, "\tsome := {load}({at})\n\treturn &some"),
                };
            }
            TypeDefKind::Variant(variant) => {
                let at = self.payload(definition);
                let _ = writeln!(body, "\tswitch peek[{}](at) {{", tag(variant.cases.len()));
                for (place, case) in variant.cases.iter().enumerate() {
                    let name = Types::case(definition, case);
                    let value = match case.ty {
                        Some(ty) => format!("{name}({}({at}))", self.load(ty)),
                        None => format!("{name}{{}}"),
                    };
                    let _ = writeln!(body, "\tcase {place}:\n\t\treturn {value}");
                }
                body.push_str("\t}\n\tpanic(\"an unknown case\")\n");
            }
            TypeDefKind::Enum(all) => {
                let _ = writeln!(body, "\treturn {go}(peek[{}](at))", tag(all.cases.len()));
            }
            _ => {}
        }
        body
    }

    /// Returns the function that stores a type in memory.
    pub(super) fn store(&mut self, ty: Type) -> String {
        let definition = match self.types.definition(ty) {
            Err(Type::String) => return "storeString".to_owned(),
            Err(_) => return format!("poke[{}]", self.go(ty)),
            Ok(_) if self.types.is_bytes(ty) => return "storeBytes".to_owned(),
            Ok(definition) => definition,
        };
        let function = format!("store_{}", self.word(ty));
        if self.known.insert(function.clone()) {
            let body = self.store_body(ty, definition);
            let go = self.go(ty);
            let _ = write!(self.functions, "\nfunc {function}(at unsafe.Pointer, value {go}) {{\n{body}}}\n");
        }
        function
    }

    fn store_body(&mut self, ty: Type, definition: &TypeDef) -> String {
        let go = self.go(ty);
        let mut body = String::new();
        match &definition.kind {
            TypeDefKind::Record(record) => {
                let types = record.fields.iter().map(|field| field.ty).collect::<Vec<_>>();
                for (field, at) in record.fields.iter().zip(self.offsets(&types)) {
                    let _ = writeln!(body, "\t{}({at}, value.{})", self.store(field.ty), exported(&field.name));
                }
            }
            TypeDefKind::Tuple(tuple) => {
                let offsets = self.offsets(&tuple.types);
                for ((ty, at), part) in tuple.types.iter().zip(offsets).zip(["Key", "Value"]) {
                    let _ = writeln!(body, "\t{}({at}, value.{part})", self.store(*ty));
                }
            }
            TypeDefKind::List(item) => {
                let (size, store) = (self.types.size(*item), self.store(*item));
                let _ = writeln!(body, "\tstoreList(at, value, {size}, {store})");
            }
            TypeDefKind::Option(some) => {
                let (at, store) = (self.payload(definition), self.store(*some));
                let value = if self.types.is_list(*some) { "value" } else { "*value" };
                body.push_str("\tif value == nil {\n\t\treturn\n\t}\n\tpoke[uint8](at, 1)\n");
                let _ = writeln!(body, "\t{store}({at}, {value})");
            }
            TypeDefKind::Variant(variant) => {
                let at = self.payload(definition);
                let tag = tag(variant.cases.len());
                // Go refuses a variable that nothing reads.
                let bound = if variant.cases.iter().any(|case| case.ty.is_some()) { "value := " } else { "" };
                let _ = writeln!(body, "\tswitch {bound}value.(type) {{");
                for (place, case) in variant.cases.iter().enumerate() {
                    let _ = writeln!(body, "\tcase {}:\n\t\tpoke[{tag}](at, {place})", Types::case(definition, case));
                    if let Some(ty) = case.ty {
                        let _ = writeln!(body, "\t\t{}({at}, {}(value))", self.store(ty), self.go(ty));
                    }
                }
                let _ = writeln!(body, "\tdefault:\n\t\tpanic(\"a {go} is nil\")\n\t}}");
            }
            TypeDefKind::Enum(all) => {
                let tag = tag(all.cases.len());
                let _ = writeln!(body, "\tpoke(at, {tag}(value))");
            }
            _ => {}
        }
        body
    }

    /// The addresses of fields, as expressions.
    pub(super) fn offsets(&self, types: &[Type]) -> Vec<String> {
        let offsets = self.types.sizes.field_offsets(types);
        offsets.into_iter().map(|(offset, _)| at(offset.size_wasm32())).collect()
    }

    /// The address of a variant's payload.
    fn payload(&self, definition: &TypeDef) -> String {
        let (tag, types) = match &definition.kind {
            TypeDefKind::Option(some) => (Int::U8, vec![Some(some)]),
            TypeDefKind::Variant(variant) => {
                (variant.tag(), variant.cases.iter().map(|case| case.ty.as_ref()).collect())
            }
            _ => (Int::U8, vec![]),
        };
        at(self.types.sizes.payload_offset(tag, types).size_wasm32())
    }

    /// The core types of a flat value.
    pub(super) fn flat(&self, ty: Type) -> Vec<WasmType> {
        let mut room = [WasmType::I32; SLOTS_MAX];
        let mut flat = FlatTypes::new(&mut room);
        self.types.resolve.push_flat(&ty, &mut flat);
        flat.to_vec()
    }

    /// Writes the code that puts `value` into the slots.
    pub(super) fn lower(&mut self, body: &mut String, ty: Type, value: &str, slots: &[Slot]) {
        let definition = match self.types.definition(ty) {
            Err(primitive) => return lower_primitive(body, primitive, value, slots),
            Ok(definition) => definition,
        };
        match &definition.kind {
            TypeDefKind::Record(record) => {
                let mut slots = slots;
                for field in &record.fields {
                    let (own, rest) = slots.split_at(self.flat(field.ty).len());
                    self.lower(body, field.ty, &format!("{value}.{}", exported(&field.name)), own);
                    slots = rest;
                }
            }
            TypeDefKind::List(item) => {
                let lowered = match self.types.is_bytes(ty) {
                    true => format!("lowerBytes({value})"),
                    false => format!("lowerList({value}, {}, {})", self.types.size(*item), self.store(*item)),
                };
                pair(body, &lowered, slots);
            }
            TypeDefKind::Option(some) => {
                let own = &slots[1..1 + self.flat(*some).len()];
                let _ = writeln!(body, "if {value} != nil {{\n{} = 1", slots[0].name);
                let some_value = if self.types.is_list(*some) { value.to_owned() } else { format!("(*{value})") };
                self.lower(body, *some, &some_value, own);
                body.push_str("}\n");
            }
            TypeDefKind::Variant(variant) => {
                let go = self.go(ty);
                let case_value = self.variable();
                let is_read = variant.cases.iter().any(|case| case.ty.is_some());
                let bound = if is_read { format!("{case_value} := ") } else { String::new() };
                let _ = writeln!(body, "switch {bound}{value}.(type) {{");
                for (place, case) in variant.cases.iter().enumerate() {
                    let _ = writeln!(body, "case {}:\n{} = {place}", Types::case(definition, case), slots[0].name);
                    if let Some(ty) = case.ty {
                        let own = &slots[1..1 + self.flat(ty).len()];
                        self.lower(body, ty, &format!("{}({case_value})", self.go(ty)), own);
                    }
                }
                let _ = writeln!(body, "default:\npanic(\"a {go} is nil\")\n}}");
            }
            TypeDefKind::Enum(_) => {
                let _ = writeln!(
                    body,
                    "{} = {}",
                    slots[0].name,
                    convert(WasmType::I32, slots[0].ty, &format!("uint32({value})"))
                );
            }
            _ => {}
        }
    }

    fn variable(&mut self) -> String {
        self.variables += 1;
        format!("it{}", self.variables)
    }

    /// Writes the code that builds a value from the slots. Returns the value's expression.
    pub(super) fn lift(&mut self, body: &mut String, ty: Type, slots: &[Slot]) -> String {
        let definition = match self.types.definition(ty) {
            Err(primitive) => return lift_primitive(primitive, slots),
            Ok(definition) => definition,
        };
        let go = self.go(ty);
        match &definition.kind {
            TypeDefKind::Record(record) => {
                let (mut slots, mut fields) = (slots, vec![]);
                for field in &record.fields {
                    let (own, rest) = slots.split_at(self.flat(field.ty).len());
                    fields.push(format!("{}: {}", exported(&field.name), self.lift(body, field.ty, own)));
                    slots = rest;
                }
                format!("{go}{{{}}}", fields.join(", "))
            }
            TypeDefKind::List(item) => {
                let place = lifted_pair(slots);
                match self.types.is_bytes(ty) {
                    true => format!("liftBytes({place})"),
                    false => format!("liftList({place}, {}, {})", self.types.size(*item), self.load(*item)),
                }
            }
            TypeDefKind::Option(some) => {
                let result = self.variable();
                let _ = writeln!(body, "var {result} {go}\nif {} != 0 {{", slots[0].name);
                let value = self.lift(body, *some, &slots[1..1 + self.flat(*some).len()]);
                let _ = match self.types.is_list(*some) {
                    true => writeln!(body, "{result} = {value}\n}}"),
                    false => writeln!(body, "some := {value}\n{result} = &some\n}}"),
                };
                result
            }
            TypeDefKind::Variant(variant) => {
                let result = self.variable();
                let _ = writeln!(body, "var {result} {go}\nswitch {} {{", slots[0].name);
                for (place, case) in variant.cases.iter().enumerate() {
                    let _ = writeln!(body, "case {place}:");
                    let name = Types::case(definition, case);
                    let value = match case.ty {
                        Some(ty) => format!("{name}({})", self.lift(body, ty, &slots[1..1 + self.flat(ty).len()])),
                        None => format!("{name}{{}}"),
                    };
                    let _ = writeln!(body, "{result} = {value}");
                }
                body.push_str("}\n");
                result
            }
            TypeDefKind::Enum(_) => format!("{go}({})", convert(slots[0].ty, WasmType::I32, &slots[0].name)),
            _ => "nil".to_owned(),
        }
    }
}

fn at(offset: usize) -> String {
    if offset == 0 { "at".to_owned() } else { format!("unsafe.Add(at, {offset})") }
}

/// The core type of a primitive that uses one slot.
fn core(ty: Type) -> WasmType {
    match ty {
        Type::U64 | Type::S64 => WasmType::I64,
        Type::F32 => WasmType::F32,
        Type::F64 => WasmType::F64,
        _ => WasmType::I32,
    }
}

/// The Go type of a slot.
pub(super) fn slot_type(ty: WasmType) -> &'static str {
    match ty {
        WasmType::I64 | WasmType::PointerOrI64 => "uint64",
        WasmType::F32 => "float32",
        WasmType::F64 => "float64",
        WasmType::I32 | WasmType::Pointer | WasmType::Length => "uint32",
    }
}

/// Converts a slot's value to another core type with the same bits.
fn convert(from: WasmType, to: WasmType, value: &str) -> String {
    match (slot_type(from), slot_type(to)) {
        ("uint32", "uint64") => format!("uint64({value})"),
        ("uint64", "uint32") => format!("uint32({value})"),
        ("float32", "uint32") => format!("math.Float32bits({value})"),
        ("float32", "uint64") => format!("uint64(math.Float32bits({value}))"),
        ("float64", "uint64") => format!("math.Float64bits({value})"),
        ("uint32", "float32") => format!("math.Float32frombits({value})"),
        ("uint64", "float32") => format!("math.Float32frombits(uint32({value}))"),
        ("uint64", "float64") => format!("math.Float64frombits({value})"),
        _ => value.to_owned(),
    }
}

fn lower_primitive(body: &mut String, ty: Type, value: &str, slots: &[Slot]) {
    let value = match ty {
        Type::String => return pair(body, &format!("lowerString({value})"), slots),
        Type::Bool => {
            let _ = writeln!(body, "if {value} {{\n{} = 1\n}}", slots[0].name);
            return;
        }
        Type::F32 | Type::F64 => value.to_owned(),
        _ => format!("{}({value})", slot_type(core(ty))),
    };
    let _ = writeln!(body, "{} = {}", slots[0].name, convert(core(ty), slots[0].ty, &value));
}

/// Writes the code that puts an address and a length into two slots.
fn pair(body: &mut String, lowered: &str, slots: &[Slot]) {
    let _ = writeln!(body, "{{\nstart, length := {lowered}");
    for (slot, value) in slots.iter().zip(["start", "length"]) {
        let _ = writeln!(body, "{} = {}", slot.name, convert(WasmType::I32, slot.ty, value));
    }
    body.push_str("}\n");
}

fn lifted_pair(slots: &[Slot]) -> String {
    let both = slots.iter().take(2).map(|slot| convert(slot.ty, WasmType::I32, &slot.name));
    both.collect::<Vec<_>>().join(", ")
}

fn lift_primitive(ty: Type, slots: &[Slot]) -> String {
    let value = || convert(slots[0].ty, core(ty), &slots[0].name);
    match ty {
        Type::String => format!("liftString({})", lifted_pair(slots)),
        Type::Bool => format!("{} != 0", value()),
        Type::F32 | Type::F64 | Type::U32 | Type::U64 => value(),
        Type::S64 => format!("int64({})", value()),
        Type::U8 => format!("uint8({})", value()),
        _ => format!("int32({})", value()),
    }
}
