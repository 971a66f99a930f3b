//! Checks that a component's imports are granted to it, and have the types of its contract.

use std::collections::BTreeMap;
use std::sync::Arc;

use heddle_contract::format::shape::Shapes;
use heddle_core::fault::bounded;
use wasmtime::component::types::{ComponentFunc, ComponentInstance, ComponentItem};
use wasmtime::component::{Linker, Type};

use super::host::Host;
use super::imports::{Emitter, PartCodec, RUNTIME, RUNTIME_FUNCTIONS, RUNTIME_VERSION, runtime};
use super::loader::Loader;
use super::stores::StoreAccess;
use super::tables::TableAccess;
use super::{LoadError, check, wasi};

/// The maximum size of an import's name in a message, in bytes.
const NAME_BYTES_SHOWN: usize = 200;

type Functions = BTreeMap<String, ComponentFunc>;

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
            let shared = |(interface, offered): &(&str, &[&str])| {
                import == runtime(interface) && functions.keys().all(|name| offered.contains(&name.as_str()))
            };
            if (functions.is_empty() && !has_resources)
                || RUNTIME_FUNCTIONS.iter().any(shared)
                || wasi::interface(import).is_some()
            {
                // An interface of types only gives no power, and an empty one little.
                continue;
            }
            if let Some(emitter) = emitters.iter().find(|emitter| emitter.interface == import) {
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
            ComponentItem::ComponentFunc(function) => Some((name.to_owned(), function)),
            _ => None,
        });
        functions.collect()
    }

    fn check_emitter(&self, emitter: &Emitter, functions: &Functions) -> Result<(), LoadError> {
        for (name, function) in functions {
            let params = function.params().map(|(_, ty)| ty).collect::<Vec<_>>();
            if let ("delete", [key]) = (name.as_str(), params.as_slice()) {
                same_key(&emitter.key, key).map_err(|what| self.other_contract(&emitter.topic, &what))?;
                continue;
            }
            if let Some(value) = params.first() {
                same_emitted(&emitter.value, value).map_err(|what| self.other_contract(&emitter.topic, &what))?;
            }
            match params.get(1) {
                Some(Type::Option(key)) => {
                    same_key(&emitter.key, &key.ty()).map_err(|what| self.other_contract(&emitter.topic, &what))?;
                }
                Some(_) => return Err(self.other_contract(&emitter.topic, "its key is not optional")),
                None => {}
            }
        }
        Ok(())
    }

    fn check_store(&self, store: &StoreAccess, functions: &Functions) -> Result<(), LoadError> {
        let key = |ty: &Type| same_key(&store.key, ty);
        let value = |ty: &Type| check::same(store.value.shapes(), store.value.shapes().root(), ty);
        for (name, function) in functions {
            let params = function.params().map(|(_, ty)| ty).collect::<Vec<_>>();
            let results = function.results().collect::<Vec<_>>();
            let same = match (name.as_str(), params.as_slice(), results.as_slice()) {
                ("get", [k], [Type::Option(v)]) => key(k).and_then(|()| value(&v.ty())),
                ("put", [k, v], []) => key(k).and_then(|()| value(v)),
                ("delete", [k], []) => key(k),
                ("scan", params, results) => same_scan(&store.key, params, results, &value),
                _ => Err("a store has no such function".to_owned()),
            };
            same.map_err(|what| LoadError::OtherContract {
                component: self.name.to_owned(),
                what: format!("store `{}`, `{name}`: {what}", store.name),
            })?;
        }
        Ok(())
    }

    fn check_table(&self, table: &TableAccess, functions: &Functions) -> Result<(), LoadError> {
        let text = table.is_text.then(Shapes::text);
        let shapes = table.value.as_ref().map(|typed| &*typed.shapes).or(text.as_ref());
        let value = |ty: &Type| same_value(shapes, ty);
        for (name, function) in functions {
            let params = function.params().map(|(_, ty)| ty).collect::<Vec<_>>();
            let results = function.results().collect::<Vec<_>>();
            let same = match (name.as_str(), params.as_slice(), results.as_slice()) {
                ("get", [k], [Type::Option(v)]) => same_key(&table.key, k).and_then(|()| value(&v.ty())),
                ("scan", params, results) => same_scan(&table.key, params, results, &value),
                _ => Err("a table has no such function".to_owned()),
            };
            same.map_err(|what| LoadError::OtherContract {
                component: self.name.to_owned(),
                what: format!("table `{}`, `{name}`: {what}", table.name),
            })?;
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
        LoadError::OtherContract { component: self.name.to_owned(), what: format!("topic `{topic}`: {what}") }
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
        None => Err("the topic has no schema, so its values are bytes".to_owned()),
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
    params: &[Type],
    results: &[Type],
    value: &impl Fn(&Type) -> Result<(), String>,
) -> Result<(), String> {
    if matches!(codec, PartCodec::Schema(_)) {
        return Err("its keys have a schema, and so no `scan`".to_owned());
    }
    let ([prefix, Type::Option(after), Type::U32], [Type::List(entries)]) = (params, results) else {
        return Err("it takes a prefix, a key to begin after and a limit, and returns entries".to_owned());
    };
    let key = |ty: &Type| same_key(codec, ty);
    if let Type::Tuple(entry) = entries.ty()
        && let [k, v] = entry.types().collect::<Vec<_>>().as_slice()
    {
        return [prefix, &after.ty(), k].into_iter().try_for_each(key).and_then(|()| value(v));
    }
    Err("an entry is a key and a value".to_owned())
}

fn same_key(codec: &PartCodec, ty: &Type) -> Result<(), String> {
    match (codec, ty) {
        (PartCodec::Schema(framed), ty) => same_typed_key(framed.shapes(), ty),
        (PartCodec::String, Type::String) => Ok(()),
        (PartCodec::Bytes, Type::List(list)) if list.ty() == Type::U8 => Ok(()),
        (PartCodec::String, _) => Err("its keys are strings".to_owned()),
        (PartCodec::Bytes, _) => Err("its keys are bytes".to_owned()),
    }
}

fn same_typed_key(shapes: &Shapes, ty: &Type) -> Result<(), String> {
    check::same(shapes, shapes.root(), ty).map_err(|what| format!("in the key, {what}"))
}
