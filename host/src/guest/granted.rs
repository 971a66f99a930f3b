//! Checks that a component's imports are granted to it, and have the types of its contract.

use std::collections::BTreeMap;
use std::sync::Arc;

use heddle_contract::format::shape::Shapes;
use heddle_core::fault::bounded;
use wasmtime::component::types::{ComponentInstance, ComponentItem};
use wasmtime::component::{Linker, Type};

use super::host::Host;
use super::imports::{Emitter, PartCodec, RUNTIME, RUNTIME_VERSION, runtime};
use super::loader::Loader;
use super::signature::{HEADERS, RUNTIME_FUNCTIONS, Signature, text};
use super::stores::StoreAccess;
use super::tables::TableAccess;
use super::{LoadError, check, wasi};

/// The maximum size of an import's name in a message, in bytes.
const NAME_BYTES_SHOWN: usize = 200;

type Functions = BTreeMap<String, Signature>;

impl Loader<'_> {
    /// Refuses imports that are not granted, and compares the granted ones with their schemas.
    pub(super) fn check_imports(
        &self,
        emitters: &[Emitter],
        stores: &[Arc<StoreAccess>],
        tables: &[Arc<TableAccess>],
    ) -> Result<(), LoadError> {
        for (import, item) in self.compiled.component_type().imports(&self.engine.wasmtime) {
            let ComponentItem::ComponentInstance(instance) = item.ty else {
                return Err(self.not_granted(import));
            };
            let functions = self.functions(&instance);
            let has_resources =
                instance.exports(&self.engine.wasmtime).any(|(_, item)| matches!(item.ty, ComponentItem::Resource(_)));
            if (functions.is_empty() && !has_resources) || wasi::interface(import).is_some() {
                // An interface of types only gives no power, and an empty one little.
                continue;
            }
            let shared = RUNTIME_FUNCTIONS.iter().find(|(interface, _)| import == runtime(interface));
            if let Some((interface, offered)) = shared {
                self.check_shared(interface, offered, &functions)?;
            } else if let Some(emitter) = emitters.iter().find(|emitter| emitter.interface == import) {
                self.check_emitter(emitter, &functions)?;
            } else if let Some(store) = stores.iter().find(|store| store.interface == import) {
                self.check_store(store, &functions)?;
            } else if let Some(table) = tables.iter().find(|table| table.interface == import) {
                self.check_table(table, &functions)?;
            } else {
                return Err(self.not_granted(import));
            }
        }
        Ok(())
    }

    /// Links the component's imports of WASI.
    pub(super) fn link_wasi(&self, linker: &mut Linker<Host>) -> wasmtime::Result<()> {
        let engine = &self.engine.wasmtime;
        for (import, item) in self.compiled.component_type().imports(engine) {
            if let ComponentItem::ComponentInstance(instance) = item.ty {
                wasi::link(linker, engine, import, &instance)?;
            }
        }
        Ok(())
    }

    fn functions(&self, instance: &ComponentInstance) -> Functions {
        let functions = instance.exports(&self.engine.wasmtime).filter_map(|(name, item)| match item.ty {
            ComponentItem::ComponentFunc(function) => Some((name.to_owned(), Signature::of(&function))),
            _ => None,
        });
        functions.collect()
    }

    /// Compares what a component imports of `heddle:runtime` with what the host offers.
    fn check_shared(&self, interface: &str, offered: &[(&str, &str)], functions: &Functions) -> Result<(), LoadError> {
        for (name, function) in functions {
            let what = match offered.iter().find(|(known, _)| name == known) {
                Some((_, expected)) if function.text() == *expected => continue,
                Some((_, expected)) => function.differs(name, expected),
                None => no_such(name, function, "the interface"),
            };
            return Err(self.differs(format!("interface `{}`: {what}", runtime(interface))));
        }
        Ok(())
    }

    fn check_emitter(&self, emitter: &Emitter, functions: &Functions) -> Result<(), LoadError> {
        let key = |ty: &Type| same_key(&emitter.key, ty);
        let value = |ty: &Type| same_emitted(&emitter.value, ty);
        for (name, function) in functions {
            let nothing = function.returns_nothing();
            let same = match (name.as_str(), function.params.as_slice()) {
                ("send", [v]) if nothing => value(v),
                ("send-with", [v, Type::Option(k), headers]) if nothing && text(headers) == HEADERS => {
                    value(v).and_then(|()| key(&k.ty()))
                }
                ("delete", [k]) if nothing => key(k),
                ("send", _) => Err(function.differs(name, "func(<value>)")),
                ("send-with", _) => Err(function.differs(name, &format!("func(<value>, option<<key>>, {HEADERS})"))),
                ("delete", _) => Err(function.differs(name, "func(<key>)")),
                _ => Err(no_such(name, function, "an emitter")),
            };
            same.map_err(|what| self.other_contract(&emitter.topic, &what))?;
        }
        Ok(())
    }

    fn check_store(&self, store: &StoreAccess, functions: &Functions) -> Result<(), LoadError> {
        let key = |ty: &Type| same_key(&store.key, ty);
        let value = |ty: &Type| check::same(store.value.shapes(), store.value.shapes().root(), ty);
        for (name, function) in functions {
            let same = match (name.as_str(), function.params.as_slice(), function.results.as_slice()) {
                _ if function.is_async() => Err(no_such(name, function, "a store")),
                ("get", [k], [Type::Option(v)]) => key(k).and_then(|()| value(&v.ty())),
                ("put", [k, v], []) => key(k).and_then(|()| value(v)),
                ("delete", [k], []) => key(k),
                ("scan", ..) => same_scan(&store.key, function, &value),
                ("get", ..) => Err(function.differs(name, "func(<key>) -> option<<value>>")),
                ("put", ..) => Err(function.differs(name, "func(<key>, <value>)")),
                ("delete", ..) => Err(function.differs(name, "func(<key>)")),
                _ => Err(no_such(name, function, "a store")),
            };
            same.map_err(|what| self.differs(format!("store `{}`, `{name}`: {what}", store.name)))?;
        }
        Ok(())
    }

    fn check_table(&self, table: &TableAccess, functions: &Functions) -> Result<(), LoadError> {
        let text = table.is_text.then(Shapes::text);
        let shapes = table.value.as_ref().map(|typed| &*typed.shapes).or(text.as_ref());
        let value = |ty: &Type| same_value(shapes, ty);
        for (name, function) in functions {
            let same = match (name.as_str(), function.params.as_slice(), function.results.as_slice()) {
                _ if function.is_async() => Err(no_such(name, function, "a table")),
                ("get", [k], [Type::Option(v)]) => same_key(&table.key, k).and_then(|()| value(&v.ty())),
                ("scan", ..) => same_scan(&table.key, function, &value),
                ("get", ..) => Err(function.differs(name, "func(<key>) -> option<<value>>")),
                _ => Err(no_such(name, function, "a table")),
            };
            same.map_err(|what| self.differs(format!("table `{}`, `{name}`: {what}", table.name)))?;
        }
        Ok(())
    }

    pub(super) fn compare(&self, shapes: Option<&Shapes>, ty: &Type, topic: &str) -> Result<(), LoadError> {
        same_value(shapes, ty).map_err(|what| self.other_contract(topic, &what))
    }

    pub(super) fn compare_typed_key(&self, shapes: &Shapes, ty: &Type, topic: &str) -> Result<(), LoadError> {
        same_typed_key(shapes, ty).map_err(|what| self.other_contract(topic, &what))
    }

    pub(super) fn other_contract(&self, topic: &str, what: &str) -> LoadError {
        self.differs(format!("topic `{topic}`: {what}"))
    }

    fn differs(&self, what: String) -> LoadError {
        LoadError::OtherContract { component: self.name.to_owned(), what }
    }

    fn not_granted(&self, import: &str) -> LoadError {
        // A name may have any length.
        let import = &bounded(import.to_owned(), NAME_BYTES_SHOWN);
        let own = import.strip_prefix("heddle:component/").and_then(|name| name.split_once('-'));
        let hint = match own {
            Some(("emit", topic)) => format!(
                "add `[emits.\"<topic>\"]` for the topic of emit-{topic} to component.toml, or do not emit to it"
            ),
            Some(("store", name)) => {
                format!(
                    "add `[stores.{name}]` with the schema of its values to component.toml, or do not use that store"
                )
            }
            Some(("table", name)) => {
                format!(
                    "add `[tables.{name}]` with the topic that it shows to component.toml, or do not read that table"
                )
            }
            _ if import.starts_with("wasi:") => {
                "build it without WASI: a component has no files, clock, network or environment".to_owned()
            }
            _ if import.starts_with(RUNTIME) => {
                format!(
                    "build it with the version of Heddle that runs it, which has {RUNTIME_VERSION} of these interfaces"
                )
            }
            _ => {
                let offered = RUNTIME_FUNCTIONS.map(|(interface, _)| format!("{RUNTIME}{interface}")).join(", ");
                format!(
                    "import only {offered} in version {RUNTIME_VERSION}, and the emitters, stores and tables of the manifest"
                )
            }
        };
        LoadError::NotGranted { component: self.name.to_owned(), import: import.to_owned(), hint }
    }
}

fn same_value(shapes: Option<&Shapes>, ty: &Type) -> Result<(), String> {
    match shapes {
        Some(shapes) => check::same(shapes, shapes.root(), ty),
        None if matches!(ty, Type::List(list) if list.ty() == Type::U8) => Ok(()),
        None => {
            let what = "the topic has no schema, so its values are `list<u8>`";
            Err(format!("{what}, the component has `{}`", text(ty)))
        }
    }
}

fn same_emitted(codec: &PartCodec, ty: &Type) -> Result<(), String> {
    match codec {
        PartCodec::Schema(framed) => same_value(Some(framed.shapes()), ty),
        PartCodec::String => same_value(Some(&Shapes::text()), ty),
        PartCodec::Bytes => same_value(None, ty),
    }
}

/// Checks that a function is the `scan` of a store or table.
fn same_scan(
    codec: &PartCodec,
    function: &Signature,
    value: &impl Fn(&Type) -> Result<(), String>,
) -> Result<(), String> {
    if matches!(codec, PartCodec::Schema(_)) {
        return Err("its keys have a schema, and so no `scan`".to_owned());
    }
    let differs = || function.differs("scan", "func(<key>, option<<key>>, u32) -> list<tuple<<key>, <value>>>");
    let ([prefix, Type::Option(after), Type::U32], [Type::List(entries)]) = (&*function.params, &*function.results)
    else {
        return Err(differs());
    };
    let key = |ty: &Type| same_key(codec, ty);
    if let Type::Tuple(entry) = entries.ty()
        && let [k, v] = entry.types().collect::<Vec<_>>().as_slice()
    {
        return [prefix, &after.ty(), k].into_iter().try_for_each(key).and_then(|()| value(v));
    }
    Err(differs())
}

/// The message for a function that an interface does not have.
fn no_such(name: &str, function: &Signature, who: &str) -> String {
    let name = bounded(name.to_owned(), NAME_BYTES_SHOWN);
    format!("the component has `{name}: {}`, and {who} has no such function", function.text())
}

fn same_key(codec: &PartCodec, ty: &Type) -> Result<(), String> {
    match (codec, ty) {
        (PartCodec::Schema(framed), ty) => same_typed_key(framed.shapes(), ty),
        (PartCodec::String, Type::String) => Ok(()),
        (PartCodec::Bytes, Type::List(list)) if list.ty() == Type::U8 => Ok(()),
        (PartCodec::String, ty) => Err(format!("its keys are strings, the component has `{}`", text(ty))),
        (PartCodec::Bytes, ty) => Err(format!("its keys are bytes, the component has `{}`", text(ty))),
    }
}

fn same_typed_key(shapes: &Shapes, ty: &Type) -> Result<(), String> {
    check::same(shapes, shapes.root(), ty).map_err(|what| format!("in the key, {what}"))
}
