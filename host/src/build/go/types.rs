//! Go types for WIT's types, and the package with the schemas' types.
//!
//! ```text
//!  option<list<t>>   []T, nil for none            list<tuple<k, v>>  []pairs.Pair[K, V]
//!  option<t>         *T                           variant            an interface, and a type for each case
//! ```

use std::fmt::Write as _;

use wit_parser::{Case, Field, Resolve, SizeAlign, Type, TypeDef, TypeDefKind, TypeId, TypeOwner};

use super::names::{comment, exported, exported_case, uses};

/// The package that refers to a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Package {
    Contracts,
    Heddle,
}

/// The types of a component's WIT.
pub(super) struct Types<'a> {
    pub(super) resolve: &'a Resolve,
    pub(super) sizes: SizeAlign,
}

impl<'a> Types<'a> {
    pub(super) fn of(resolve: &'a Resolve) -> Self {
        let mut sizes = SizeAlign::default();
        sizes.fill(resolve);
        Self { resolve, sizes }
    }

    /// The definition of a type, after resolving all aliases.
    pub(super) fn definition(&self, ty: Type) -> Result<&'a TypeDef, Type> {
        let Type::Id(id) = ty else { return Err(ty) };
        match &self.resolve.types[id] {
            TypeDef { kind: TypeDefKind::Type(other), .. } => self.definition(*other),
            definition => Ok(definition),
        }
    }

    pub(super) fn is_list(&self, ty: Type) -> bool {
        matches!(self.definition(ty), Ok(TypeDef { kind: TypeDefKind::List(_), .. }))
    }

    /// Returns true if the type is an optional list, for which nil means none.
    pub(super) fn is_list_option(&self, ty: Type) -> bool {
        matches!(self.definition(ty), Ok(TypeDef { kind: TypeDefKind::Option(some), .. }) if self.is_list(*some))
    }

    /// The type inside an optional type.
    pub(super) fn some(&self, ty: Type) -> Option<Type> {
        match self.definition(ty).map(|definition| &definition.kind) {
            Ok(TypeDefKind::Option(some)) => Some(*some),
            _ => None,
        }
    }

    pub(super) fn is_bytes(&self, ty: Type) -> bool {
        let Ok(TypeDef { kind: TypeDefKind::List(item), .. }) = self.definition(ty) else { return false };
        matches!(self.definition(*item), Err(Type::U8))
    }

    pub(super) fn size(&self, ty: Type) -> usize {
        self.sizes.size(&ty).size_wasm32()
    }

    /// The Go type, as code in `package` refers to it.
    pub(super) fn go(&self, ty: Type, package: Package) -> String {
        let go = |ty: &Type| self.go(*ty, package);
        if let Type::Id(id) = ty
            && let Some(alias) = self.alias(id)
        {
            return within(package, alias);
        }
        let definition = match self.definition(ty) {
            Ok(definition) => definition,
            Err(primitive) => return self::primitive(primitive).to_owned(),
        };
        match &definition.kind {
            TypeDefKind::List(item) => format!("[]{}", go(item)),
            TypeDefKind::Option(some) if self.is_list(*some) => go(some),
            TypeDefKind::Option(some) => format!("*{}", go(some)),
            TypeDefKind::Tuple(tuple) => {
                format!("pairs.Pair[{}]", tuple.types.iter().map(go).collect::<Vec<_>>().join(", "))
            }
            _ if self.interface(definition) == Some("contracts") => within(package, name(definition)),
            _ => exported(name(definition)),
        }
    }

    /// The schemas' name for a type, if it is an alias.
    fn alias(&self, id: TypeId) -> Option<&'a str> {
        let definition = &self.resolve.types[id];
        let TypeDefKind::Type(other) = definition.kind else { return None };
        if self.interface(definition) == Some("contracts") {
            return definition.name.as_deref();
        }
        match other {
            Type::Id(other) => self.alias(other),
            _ => None,
        }
    }

    /// The interface that defines a type.
    fn interface(&self, definition: &TypeDef) -> Option<&'a str> {
        match definition.owner {
            TypeOwner::Interface(id) => self.resolve.interfaces[id].name.as_deref(),
            _ => None,
        }
    }

    /// Generates the package with the schemas' types.
    pub(super) fn contracts(&self, module: &str) -> String {
        let mut types = String::new();
        let interface = self.resolve.interfaces.iter().find(|(_, it)| it.name.as_deref() == Some("contracts"));
        for id in interface.into_iter().flat_map(|(_, it)| it.types.values()) {
            self.definition_text(&self.resolve.types[*id], &mut types);
        }
        let mut out = "// Package contracts has the types of the schemas.\npackage contracts\n".to_owned();
        if uses(&types, "pairs.") {
            let _ = write!(out, "\nimport \"{module}/pairs\"\n");
        }
        out + &types
    }

    fn definition_text(&self, definition: &TypeDef, out: &mut String) {
        let name = exported(name(definition));
        let _ = write!(out, "\n{}", comment("", definition.docs.contents.as_deref()));
        match &definition.kind {
            TypeDefKind::Type(other) => {
                let _ = writeln!(out, "type {name} = {}", self.go(*other, Package::Contracts));
            }
            TypeDefKind::Record(record) => {
                let _ = writeln!(out, "type {name} struct {{");
                record.fields.iter().for_each(|field| self.field(field, out));
                let _ = writeln!(out, "}}");
            }
            TypeDefKind::Enum(all) => {
                let _ = writeln!(out, "type {name} {}\n\nconst (", tag(all.cases.len()));
                for (place, case) in all.cases.iter().enumerate() {
                    let of = if place == 0 { format!(" {name} = iota") } else { String::new() };
                    let _ = writeln!(out, "\t{}{of}", exported_case(self::name(definition), &case.name));
                }
                let names = all.cases.iter().map(|case| format!("{:?}", case.name)).collect::<Vec<_>>().join(", ");
                let _ = writeln!(out, ")\n\n// String is the symbol's name.");
                let _ = writeln!(out, "func (it {name}) String() string {{\n\treturn [...]string{{{names}}}[it]\n}}");
            }
            TypeDefKind::Variant(variant) => {
                let _ = writeln!(out, "type {name} interface{{ is{name}() }}");
                variant.cases.iter().for_each(|case| self.case_text(definition, case, out));
            }
            _ => {}
        }
    }

    fn field(&self, field: &Field, out: &mut String) {
        out.push_str(&comment("\t", field.docs.contents.as_deref()));
        let _ = writeln!(out, "\t{} {}", exported(&field.name), self.go(field.ty, Package::Contracts));
    }

    fn case_text(&self, definition: &TypeDef, case: &Case, out: &mut String) {
        let (variant, name) = (exported(name(definition)), exported_case(name(definition), &case.name));
        let ty = case.ty.map_or_else(|| "struct{}".to_owned(), |ty| self.go(ty, Package::Contracts));
        let _ = writeln!(out, "\n// {name} is a {variant}.\ntype {name} {ty}\n\nfunc ({name}) is{variant}() {{}}");
    }

    /// The type of a case, as code in the package `heddle` refers to it.
    pub(super) fn case(definition: &TypeDef, case: &Case) -> String {
        format!("contracts.{}", exported_case(name(definition), &case.name))
    }
}

pub(super) fn name(definition: &TypeDef) -> &str {
    definition.name.as_deref().unwrap_or_default()
}

fn within(package: Package, name: &str) -> String {
    let name = exported(name);
    if package == Package::Contracts { name } else { format!("contracts.{name}") }
}

/// The Go type of a case's number.
pub(super) fn tag(cases: usize) -> &'static str {
    if cases <= 256 { "uint8" } else { "uint16" }
}

/// The Go type of a primitive.
pub(super) fn primitive(ty: Type) -> &'static str {
    match ty {
        Type::Bool => "bool",
        Type::U8 => "uint8",
        Type::S8 => "int8",
        Type::U16 => "uint16",
        Type::S16 => "int16",
        Type::U32 => "uint32",
        Type::S32 => "int32",
        Type::U64 => "uint64",
        Type::S64 => "int64",
        Type::F32 => "float32",
        Type::F64 => "float64",
        Type::Char => "rune",
        _ => "string",
    }
}
