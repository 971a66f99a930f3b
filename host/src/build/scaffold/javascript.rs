//! A new component in JavaScript.

use std::collections::BTreeMap;

use super::super::world::{Kind, Ty, camel, pascal};
use super::Example;

pub(super) fn files(example: &Example<'_>) -> BTreeMap<String, String> {
    let mut files = package(example.name);
    files.insert("src/index.js".to_owned(), source(example));
    files.insert("test/index.test.js".to_owned(), test(example));
    files
}

/// The files that make a folder a package.
pub(super) fn package(name: &str) -> BTreeMap<String, String> {
    let package = format!(
        "{{\n  \"name\": {name:?},\n  \"private\": true,\n  \"type\": \"module\",\n  \"imports\": {{\n    \"#heddle\": \"./heddle/index.js\",\n    \"#heddle/*\": \"./heddle/*.js\"\n  }},\n  \"scripts\": {{\n    \"test\": \"node --test\"\n  }}\n}}\n"
    );
    let editor = "{\n  \"compilerOptions\": {\n    \"checkJs\": true,\n    \"strict\": true,\n    \"target\": \"ES2023\",\n    \"module\": \"NodeNext\",\n    \"moduleResolution\": \"NodeNext\"\n  },\n  \"include\": [\"src\", \"test\", \"heddle\"]\n}\n";
    let files = [("package.json", package), ("jsconfig.json", editor.to_owned())];
    files.map(|(name, text)| (name.to_owned(), text)).into()
}

/// The simplest value of a type.
fn literal(example: &Example<'_>, of: &Ty) -> String {
    match of {
        Ty::Bool => "false".to_owned(),
        Ty::S64 | Ty::U64 => "0n".to_owned(),
        Ty::S32 | Ty::U32 | Ty::F32 | Ty::F64 => "0".to_owned(),
        Ty::String => "\"\"".to_owned(),
        Ty::Bytes => "new Uint8Array()".to_owned(),
        Ty::List(_) => "[]".to_owned(),
        Ty::Option(_) => "null".to_owned(),
        Ty::Tuple(types) => {
            format!("[{}]", types.iter().map(|ty| literal(example, ty)).collect::<Vec<_>>().join(", "))
        }
        Ty::Named(name) => match example.world.definition(name).map(|definition| &definition.kind) {
            Some(Kind::Alias(of)) => literal(example, of),
            Some(Kind::Enum(names)) => format!("{:?}", names[0]),
            Some(Kind::Variant(cases)) => match &cases[0] {
                (case, Some(value)) => format!("{{ tag: {case:?}, val: {} }}", literal(example, value)),
                (case, None) => format!("{{ tag: {case:?} }}"),
            },
            Some(Kind::Record(fields)) => {
                let fields = fields.iter().map(|(name, _, ty)| format!("{}: {}", camel(name), literal(example, ty)));
                format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
            }
            None => "null".to_owned(),
        },
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
    let fields = fields.iter().map(|(field, _, ty)| {
        let name = camel(field);
        let value = if example.shared(field, ty) { format!("event.{name}") } else { literal(example, ty) };
        format!("    {name}: {value},\n")
    });
    format!("{{\n{}  }}", fields.collect::<String>())
}

fn source(example: &Example<'_>) -> String {
    let (handler, topic, _) = example.consumed();
    let (name, handler) = (pascal(handler), camel(handler));
    let key = if example.keyed() { ", key" } else { "" };
    let (import, body) = match example.emitted() {
        Some((emitter, _, emitted)) => {
            let emitter = camel(emitter);
            let body = format!("  {emitter}.send({});\n", answer(example, emitted));
            (emitter, body)
        }
        None => ("log".to_owned(), format!("  log.info(\"handled a record of {topic}\");\n")),
    };
    format!(
        "import {{ {import} }} from \"#heddle\";\n\n/**\n * Handles the topic `{topic}`.\n * @type {{import(\"#heddle\").{name}}}\n */\nexport function {handler}(event{key}) {{\n{body}}}\n"
    )
}

fn test(example: &Example<'_>) -> String {
    let (handler, _, event) = example.consumed();
    let (handler, event) = (camel(handler), literal(example, event));
    let expected = match example.emitted() {
        Some((_, topic, _)) => format!("  assert.deepEqual(emits.map((emit) => emit.topic), [{topic:?}]);\n"),
        None => "  assert.equal(log.length, 1);\n".to_owned(),
    };
    format!(
        "import assert from \"node:assert/strict\";\nimport {{ test }} from \"node:test\";\n\nimport {{ TestHost }} from \"#heddle/testing\";\n\nimport {{ {handler} }} from \"../src/index.js\";\n\ntest(\"an event is handled\", () => {{\n  const {{ emits, failure, log }} = new TestHost().deliver({handler}, {event}, {{ key: \"a key\" }});\n  assert.equal(failure, null);\n{expected}}});\n"
    )
}
