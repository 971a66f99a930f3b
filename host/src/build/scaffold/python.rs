//! A new component in Python.

use std::collections::BTreeMap;

use super::super::python::name;
use super::super::world::{Kind, Ty, pascal, snake};
use super::Example;

pub(super) fn files(example: &Example<'_>) -> BTreeMap<String, String> {
    [("app.py", source(example)), ("test_app.py", test(example))].map(|(name, text)| (name.to_owned(), text)).into()
}

fn ty(of: &Ty) -> String {
    match of {
        Ty::Named(name) => format!("contracts.{}", pascal(name)),
        _ => "bytes".to_owned(),
    }
}

/// The simplest value of a type.
fn literal(example: &Example<'_>, of: &Ty) -> String {
    match of {
        Ty::Bool => "False".to_owned(),
        Ty::S32 | Ty::S64 | Ty::U32 | Ty::U64 => "0".to_owned(),
        Ty::F32 | Ty::F64 => "0.0".to_owned(),
        Ty::String => "\"\"".to_owned(),
        Ty::Bytes => "b\"\"".to_owned(),
        Ty::List(_) => "[]".to_owned(),
        Ty::Option(_) => "None".to_owned(),
        Ty::Tuple(types) => {
            format!("({})", types.iter().map(|ty| literal(example, ty)).collect::<Vec<_>>().join(", "))
        }
        Ty::Named(kebab) => {
            let class = ty(of);
            match example.world.definition(kebab).map(|definition| &definition.kind) {
                Some(Kind::Alias(of)) => literal(example, of),
                Some(Kind::Enum(names)) => format!("{class}.{}", snake(&names[0]).to_ascii_uppercase()),
                Some(Kind::Variant(cases)) => {
                    let (case, value) = &cases[0];
                    let value = value.as_ref().map(|value| literal(example, value)).unwrap_or_default();
                    format!("{class}_{}({value})", pascal(case))
                }
                Some(Kind::Record(fields)) => {
                    let fields =
                        fields.iter().map(|(field, _, ty)| format!("{}={}", name(field), literal(example, ty)));
                    format!("{class}({})", fields.collect::<Vec<_>>().join(", "))
                }
                None => "None".to_owned(),
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
    let fields = fields.iter().map(|(field, _, ty)| {
        let value = if example.shared(field, ty) { format!("event.{}", name(field)) } else { literal(example, ty) };
        format!("            {}={value},\n", name(field))
    });
    format!("\n        {}(\n{}        )\n    ", ty(emitted), fields.collect::<String>())
}

fn source(example: &Example<'_>) -> String {
    let (handler, topic, event) = example.consumed();
    let (handler, event) = (snake(handler), ty(event));
    let key = if example.keyed() { ", key" } else { "" };
    let (import, body) = match example.emitted() {
        Some((emitter, _, emitted)) => {
            let emitter = snake(emitter);
            let body = format!("    {emitter}.send({})\n", answer(example, emitted));
            (emitter, body)
        }
        None => ("log".to_owned(), format!("    log.info(\"handled a record of {topic}\")\n")),
    };
    format!(
        "from heddle import contracts, {import}\n\n\ndef {handler}(event: {event}{key}) -> None:\n    \"\"\"Handles the topic ``{topic}``.\"\"\"\n{body}"
    )
}

fn test(example: &Example<'_>) -> String {
    let (handler, _, event) = example.consumed();
    let (handler, event) = (snake(handler), literal(example, event));
    let expected = match example.emitted() {
        Some((_, topic, _)) => {
            format!("        self.assertEqual([emit.topic for emit in outcome.emits], [{topic:?}])\n")
        }
        None => "        self.assertEqual(len(outcome.log), 1)\n".to_owned(),
    };
    format!(
        "import unittest\n\nimport app\nfrom heddle import contracts\nfrom heddle.testing import TestHost\n\n\nclass AnEvent(unittest.TestCase):\n    def test_is_handled(self):\n        event = {event}\n        outcome = TestHost().deliver(app.{handler}, event, key=\"a key\")\n        self.assertIsNone(outcome.failure)\n{expected}\n\nif __name__ == \"__main__\":\n    unittest.main()\n"
    )
}
