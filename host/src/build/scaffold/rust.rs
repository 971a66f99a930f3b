//! A new component in Rust.

use std::collections::BTreeMap;

use super::super::rust_sdk;
use super::super::world::{Kind, Ty, pascal, snake};
use super::Example;

/// Rust's keywords. The binding generator appends a `_` to fields with these names.
const KEYWORDS: [&str; 50] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true",
    "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

pub(super) fn files(example: &Example<'_>) -> BTreeMap<String, String> {
    let mut files = package(example.name);
    files.insert("src/lib.rs".to_owned(), source(example));
    files
}

/// The files that make a folder a package.
pub(super) fn package(name: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("Cargo.toml".to_owned(), manifest(name))])
}

fn manifest(name: &str) -> String {
    let sdk = rust_sdk::PATH;
    format!(
        "[package]\nname = {name:?}\nversion = \"0.1.0\"\nedition = \"2024\"\npublish = false\n\n[lib]\ncrate-type = [\"cdylib\"]\n\n\
         # Written by `heddle build`, as `wit` is.\n[dependencies]\nheddle-sdk = {{ path = {sdk:?} }}\n\n[workspace]\n"
    )
}

fn field(name: &str) -> String {
    let name = snake(name);
    if KEYWORDS.contains(&name.as_str()) { format!("{name}_") } else { name }
}

fn ty(of: &Ty) -> String {
    match of {
        Ty::Named(name) => format!("contracts::{}", pascal(name)),
        _ => "Vec<u8>".to_owned(),
    }
}

/// The simplest value of a type.
fn literal(example: &Example<'_>, of: &Ty) -> String {
    match of {
        Ty::Bool => "false".to_owned(),
        Ty::S32 | Ty::S64 | Ty::U32 | Ty::U64 => "0".to_owned(),
        Ty::F32 | Ty::F64 => "0.0".to_owned(),
        Ty::String => "String::new()".to_owned(),
        Ty::Bytes | Ty::List(_) => "vec![]".to_owned(),
        Ty::Option(_) => "None".to_owned(),
        Ty::Tuple(types) => {
            format!("({})", types.iter().map(|ty| literal(example, ty)).collect::<Vec<_>>().join(", "))
        }
        Ty::Named(name) => {
            let class = ty(of);
            match example.world.definition(name).map(|definition| &definition.kind) {
                Some(Kind::Alias(of)) => literal(example, of),
                Some(Kind::Enum(names)) => format!("{class}::{}", pascal(&names[0])),
                Some(Kind::Variant(cases)) => {
                    let (case, value) = &cases[0];
                    let value =
                        value.as_ref().map(|value| format!("({})", literal(example, value))).unwrap_or_default();
                    format!("{class}::{}{value}", pascal(case))
                }
                Some(Kind::Record(fields)) => {
                    let fields =
                        fields.iter().map(|(name, _, ty)| format!("{}: {}", field(name), literal(example, ty)));
                    format!("{class} {{ {} }}", fields.collect::<Vec<_>>().join(", "))
                }
                None => "Default::default()".to_owned(),
            }
        }
    }
}

/// The emitted value: fields shared with the event, and the simplest values for the others.
fn answer(example: &Example<'_>, emitted: &Ty) -> String {
    if example.consumed().2 == emitted {
        return "event".to_owned();
    }
    let fields = example.fields(emitted);
    if fields.is_empty() {
        return literal(example, emitted);
    }
    let fields = fields.iter().map(|(name, _, ty)| {
        let value = if example.shared(name, ty) { format!("event.{}", field(name)) } else { literal(example, ty) };
        format!("            {}: {value},\n", field(name))
    });
    format!("{} {{\n{}        }}", ty(emitted), fields.collect::<String>())
}

fn source(example: &Example<'_>) -> String {
    let (handler, topic, event) = example.consumed();
    let (component, handler, event_type) = (pascal(example.name), snake(handler), ty(event));
    let (parameter, handle) = if example.keyed() {
        (", _key: Option<_>", format!("|event| <{component} as {handler}::Guest>::handle(event, None)"))
    } else {
        ("", format!("<{component} as {handler}::Guest>::handle"))
    };
    let (name, body, expected) = match example.emitted() {
        Some((emitter, emits, emitted)) => {
            let (emitter, answer) = (snake(emitter), answer(example, emitted));
            let reference = if example.world.has_list(emitted) { "&" } else { "" };
            let name = if answer.contains("event") { "event" } else { "_event" };
            let expected = format!(
                "        assert_eq!(outcome.emits.iter().map(|emit| emit.topic).collect::<Vec<_>>(), [{emits:?}]);\n"
            );
            (name, format!("        {emitter}::send({reference}{answer});\n"), expected)
        }
        None => (
            "event",
            "        log::info!(\"handled {event:?}\");\n".to_owned(),
            "        assert_eq!(outcome.log.len(), 1);\n".to_owned(),
        ),
    };
    let event = literal(example, event);
    format!(
        "//! Handles the topic `{topic}`.\n\nheddle_sdk::component!({component});\n\nstruct {component};\n\n\
         impl {handler}::Guest for {component} {{\n    fn handle({name}: {event_type}{parameter}) -> Result<(), Failure> {{\n{body}        Ok(())\n    }}\n}}\n\n\
         #[cfg(test)]\nmod tests {{\n    use heddle_sdk::testing::TestHost;\n\n    use super::*;\n\n    #[test]\n    fn an_event_is_handled() {{\n        \
         let event = {event};\n        let outcome = TestHost::new().deliver({handle}, event);\n        assert_eq!(outcome.failure, None);\n{expected}    }}\n}}\n"
    )
}
