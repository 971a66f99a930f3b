//! The types of functions as WIT, to compare what a component has with what the host calls and offers.
//!
//! Types are written structurally, without their names, so equal texts are equal types. A text is bounded: a file can
//! hold types of any size.

use wasmtime::component::Type;
use wasmtime::component::types::ComponentFunc;

/// The result of a handler.
pub(super) const HANDLED: &str = "result<_, variant { rejected(string), failed(string) }>";
/// The headers of an emitted record.
pub(super) const HEADERS: &str = "list<record { name: string, value: option<list<u8>> }>";

/// The interfaces that every component shares, each with its functions and their types: those of the folder `wit`.
pub(super) const RUNTIME_FUNCTIONS: [(&str, &[(&str, &str)]); 3] = [
    (
        "context",
        &[(
            "current",
            "func() -> record { id: string, attempt: u32, topic: string, partition: s32, offset: s64, timestamp: s64, \
             key: option<list<u8>>, headers: list<record { name: string, value: option<list<u8>> }> }",
        )],
    ),
    ("log", &[("write", "func(enum { trace, debug, info, warn, error }, string)")]),
    ("random", &[("next-u64", "func() -> u64"), ("bytes", "func(u32) -> list<u8>")]),
];

/// The longest text, in bytes. Longer ones are cut, and equal no type that the host knows.
const TEXT_BYTES_MAX: usize = 400;

/// The types of a function's parameters and result.
pub(super) struct Signature {
    pub(super) params: Vec<Type>,
    pub(super) results: Vec<Type>,
    is_async: bool,
}

impl Signature {
    pub(super) fn of(function: &ComponentFunc) -> Self {
        Self {
            params: function.params().map(|(_, ty)| ty).collect(),
            results: function.results().collect(),
            is_async: function.async_(),
        }
    }

    /// The type as WIT, without the names of the parameters.
    pub(super) fn text(&self) -> String {
        let mut out = if self.is_async { "async func(".to_owned() } else { "func(".to_owned() };
        list(&mut out, self.params.iter(), write);
        out.push(')');
        if !self.results.is_empty() {
            out.push_str(" -> ");
            list(&mut out, self.results.iter(), write);
        }
        cut(out)
    }

    /// Returns true if the result is this type.
    pub(super) fn returns(&self, result: &str) -> bool {
        !self.is_async && matches!(self.results.as_slice(), [ty] if text(ty) == result)
    }

    /// Returns true if the function is `async`, which the host neither calls nor offers.
    pub(super) fn is_async(&self) -> bool {
        self.is_async
    }

    /// Returns true if there is no result.
    pub(super) fn returns_nothing(&self) -> bool {
        !self.is_async && self.results.is_empty()
    }

    /// The message for a function of another type than the host's.
    pub(super) fn differs(&self, name: &str, expected: &str) -> String {
        format!("the component has `{name}: {}`, the host `{name}: {expected}`", self.text())
    }
}

/// A type as WIT.
pub(super) fn text(ty: &Type) -> String {
    let mut out = String::new();
    write(&mut out, ty);
    cut(out)
}

fn cut(mut text: String) -> String {
    if text.len() > TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        text.push('…');
    }
    text
}

/// Appends items with commas between them.
fn list<T>(out: &mut String, items: impl Iterator<Item = T>, mut write: impl FnMut(&mut String, T)) {
    for (place, item) in items.enumerate() {
        if out.len() > TEXT_BYTES_MAX {
            return;
        }
        if place > 0 {
            out.push_str(", ");
        }
        write(out, item);
    }
}

fn write(out: &mut String, ty: &Type) {
    if out.len() > TEXT_BYTES_MAX {
        return;
    }
    let of = |out: &mut String, name: &str, types: &[Option<Type>]| {
        out.push_str(name);
        out.push('<');
        list(out, types.iter(), |out, ty| match ty {
            Some(ty) => write(out, ty),
            None => out.push('_'),
        });
        out.push('>');
    };
    let names = |out: &mut String, kind: &str, names: &mut dyn Iterator<Item = &str>| {
        out.push_str(kind);
        out.push_str(" { ");
        list(out, names, String::push_str);
        out.push_str(" }");
    };
    match ty {
        Type::List(list) => of(out, "list", &[Some(list.ty())]),
        Type::FixedLengthList(list) => {
            out.push_str("list<");
            write(out, &list.ty());
            out.push_str(&format!(", {}>", list.len()));
        }
        Type::Map(map) => of(out, "map", &[Some(map.key()), Some(map.value())]),
        Type::Tuple(tuple) => of(out, "tuple", &tuple.types().map(Some).collect::<Vec<_>>()),
        Type::Option(option) => of(out, "option", &[Some(option.ty())]),
        Type::Result(result) if result.ok().is_none() && result.err().is_none() => out.push_str("result"),
        Type::Result(result) if result.err().is_none() => of(out, "result", &[result.ok()]),
        Type::Result(result) => of(out, "result", &[result.ok(), result.err()]),
        Type::Record(record) => {
            out.push_str("record { ");
            list(out, record.fields(), |out, field| {
                out.push_str(field.name);
                out.push_str(": ");
                write(out, &field.ty);
            });
            out.push_str(" }");
        }
        Type::Variant(variant) => {
            out.push_str("variant { ");
            list(out, variant.cases(), |out, case| {
                out.push_str(case.name);
                if let Some(ty) = &case.ty {
                    out.push('(');
                    write(out, ty);
                    out.push(')');
                }
            });
            out.push_str(" }");
        }
        Type::Enum(e) => names(out, "enum", &mut e.names()),
        Type::Flags(flags) => names(out, "flags", &mut flags.names()),
        other => out.push_str(simple(other)),
    }
}

/// The name of a type without parts.
fn simple(ty: &Type) -> &'static str {
    match ty {
        Type::Bool => "bool",
        Type::S8 => "s8",
        Type::U8 => "u8",
        Type::S16 => "s16",
        Type::U16 => "u16",
        Type::S32 => "s32",
        Type::U32 => "u32",
        Type::S64 => "s64",
        Type::U64 => "u64",
        Type::Float32 => "f32",
        Type::Float64 => "f64",
        Type::Char => "char",
        Type::String => "string",
        Type::Own(_) | Type::Borrow(_) => "resource",
        Type::Future(_) => "future",
        Type::Stream(_) => "stream",
        _ => "error-context",
    }
}
