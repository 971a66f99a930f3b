//! A new component in Go.

use std::collections::BTreeMap;

use super::super::go::{default_module, exported, exported_case};
use super::super::world::{Kind, Ty};
use super::Example;

fn module(example: &Example<'_>) -> String {
    default_module(example.name)
}

pub(super) fn files(example: &Example<'_>) -> BTreeMap<String, String> {
    let mut files = package(example.name);
    files.insert("main.go".to_owned(), source(example));
    files.insert("main_test.go".to_owned(), test(example));
    files
}

/// The files that make a folder a module.
pub(super) fn package(name: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("go.mod".to_owned(), format!("module {}\n\ngo 1.24\n", default_module(name)))])
}

fn ty(of: &Ty) -> String {
    match of {
        Ty::Named(name) => format!("contracts.{}", exported(name)),
        _ => "[]byte".to_owned(),
    }
}

/// The simplest value of a type whose zero value is not valid: a union has no zero value.
fn needed(example: &Example<'_>, of: &Ty) -> Option<String> {
    let Ty::Named(name) = of else { return None };
    let go = ty(of);
    match &example.world.definition(name)?.kind {
        Kind::Alias(of) => needed(example, of),
        Kind::Enum(_) => None,
        Kind::Variant(cases) => {
            let (case, value) = cases.first()?;
            let case = format!("contracts.{}", exported_case(name, case));
            Some(match value {
                None => format!("{case}{{}}"),
                Some(Ty::Bool) => format!("{case}(false)"),
                Some(Ty::S32 | Ty::S64 | Ty::U32 | Ty::U64 | Ty::F32 | Ty::F64) => format!("{case}(0)"),
                Some(Ty::String) => format!("{case}(\"\")"),
                Some(Ty::Named(name)) => match example.world.definition(name).map(|definition| &definition.kind) {
                    Some(Kind::Enum(_)) => format!("{case}(0)"),
                    _ => format!("{case}{{}}"),
                },
                Some(_) => format!("{case}{{}}"),
            })
        }
        Kind::Record(_) => {
            let fields = fields(example, of, |_, _| None);
            (!fields.is_empty()).then(|| format!("{go}{{{}}}", fields.join(", ")))
        }
    }
}

/// The fields that a record literal must set.
fn fields(example: &Example<'_>, of: &Ty, given: impl Fn(&str, &Ty) -> Option<String>) -> Vec<String> {
    let value = |name: &str, ty: &Ty| given(name, ty).or_else(|| needed(example, ty));
    let fields = example.fields(of).iter();
    fields.filter_map(|(name, _, ty)| Some(format!("{}: {}", exported(name), value(name, ty)?))).collect()
}

/// A literal of a type. A record gets the fields that `given` sets and those that are needed.
fn literal(example: &Example<'_>, of: &Ty, given: impl Fn(&str, &Ty) -> Option<String>) -> String {
    match (of, example.fields(of)) {
        (Ty::Named(_), []) => needed(example, of).unwrap_or_else(|| format!("{}(0)", ty(of))),
        (Ty::Named(_), _) => format!("{}{{{}}}", ty(of), fields(example, of, given).join(", ")),
        _ => "nil".to_owned(),
    }
}

/// The imports of a file whose code is `body`.
fn imports(example: &Example<'_>, standard: &str, body: &str) -> String {
    let contracts = if body.contains("contracts.") {
        format!("\t\"{}/heddle/contracts\"\n", module(example))
    } else {
        String::new()
    };
    format!("import (\n{standard}\t\"{}/heddle\"\n{contracts})\n", module(example))
}

fn source(example: &Example<'_>) -> String {
    let (handler, topic, event) = example.consumed();
    let (component, handler) = (exported(example.name), exported(handler));
    let key = example.world.consumes.first().and_then(|topic| topic.key.as_ref());
    let key = key.map(|key| format!(", key *{}", ty(key))).unwrap_or_default();
    let statement = match example.emitted() {
        Some((emitter, _, emitted)) => {
            let shared = |name: &str, ty: &Ty| example.shared(name, ty).then(|| format!("event.{}", exported(name)));
            let value = if emitted == event { "event".to_owned() } else { literal(example, emitted, shared) };
            format!("heddle.{}.Send({value})", exported(emitter))
        }
        None => format!("heddle.Log.Infof(\"handled a record of {topic}\")"),
    };
    let body = format!(
        "\nfunc init() {{ heddle.Export({component}{{}}) }}\nfunc main() {{}}\n\n// {component} has the component's handlers.\ntype {component} struct{{}}\n\n// {handler} handles the topic {topic}.\nfunc ({component}) {handler}(event {}{key}) error {{\n\t{statement}\n\treturn nil\n}}\n",
        ty(event)
    );
    format!("package main\n\n{}{body}", imports(example, "", &body))
}

fn test(example: &Example<'_>) -> String {
    let (handler, _, event) = example.consumed();
    let event = literal(example, event, |_, _| None);
    let key = if example.keyed() { ", nil" } else { "" };
    let (fake, count) = match example.emitted() {
        Some((emitter, _, _)) => ("heddle.NewTestHost(t)", format!("len(heddle.{}.Sent())", exported(emitter))),
        None => ("host := heddle.NewTestHost(t)", "len(host.Log)".to_owned()),
    };
    let body = format!(
        "\nfunc TestAnEventIsHandled(t *testing.T) {{\n\t{fake}\n\terr := {}{{}}.{}({event}{key})\n\tif err != nil || {count} != 1 {{\n\t\tt.Error(err, {count})\n\t}}\n}}\n",
        exported(example.name),
        exported(handler)
    );
    format!("package main\n\n{}{body}", imports(example, "\t\"testing\"\n\n", &body))
}
