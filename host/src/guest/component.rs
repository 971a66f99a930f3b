//! One component: its compiled code, its contract and what was found out about it once, at load.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use heddle_contract::manifest::Manifest;
use heddle_contract::manifest::component::KeyType;
use heddle_contract::schema::{Schema, parse};
use heddle_contract::section::{self, Contract};
use heddle_contract::wire::{SchemaId, key_subject, prefix, value_subject};
use heddle_contract::wit::{Shapes, emit_interface, on_interface};
use heddle_core::event::Topic;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{InstancePre, Linker, Type};

use super::codec::Encoder;
use super::engine::Engine;
use super::imports::{Emitter, Framed, KeyCodec, RUNTIME, RUNTIME_VERSION, link_emitter, link_runtime};
use super::instance::Host;
use super::{LoadError, check};

/// A subject's schema, ready for the codec.
#[derive(Clone)]
pub(super) struct Typed {
    pub(super) schema: Arc<Schema>,
    pub(super) shapes: Arc<Shapes>,
}

/// The handler of one topic.
pub(super) struct Handler {
    pub(super) topic: Topic,
    /// The export's name.
    pub(super) interface: String,
    /// The reader's schema of the value; absent for a topic without one: values are bytes.
    pub(super) value: Option<Typed>,
    /// The reader's schema of the key, where the handler takes one.
    pub(super) key: Option<Typed>,
}

/// A component that was loaded and found in order. Shared by all workers.
pub struct Component {
    pub(super) engine: Engine,
    pub(super) handlers: Vec<Handler>,
    pub(super) deadline: Duration,
    pub(super) memory_bytes_max: usize,
    pub(super) record_bytes_max: usize,
    pub(super) pre: InstancePre<Host>,
    manifest: Manifest,
}

/// The ids under which the registry has the schemas that a component writes by, by subject.
pub type WriterIds = BTreeMap<String, SchemaId>;

impl Component {
    /// Reads the contract of a `.wasm` file and its manifest, without running or compiling anything.
    ///
    /// # Errors
    /// If it carries none, or a broken one.
    pub fn contract(name: &str, wasm: &[u8]) -> Result<(Contract, Manifest), LoadError> {
        let broken = |what: String| LoadError::Contract { component: name.to_owned(), what };
        let contract = section::extract(wasm).map_err(|e| broken(e.to_string()))?;
        let manifest = Manifest::parse(&contract.component.manifest, name).map_err(|e| broken(e.to_string()))?;
        Ok((contract, manifest))
    }

    /// Loads a component: compiles it (or takes the compiled code from the cache), and checks it against its contract.
    /// `name` is what messages call it; `ids` are those of the schemas it emits by.
    ///
    /// # Errors
    /// If it is no component, carries no contract, or its imports or types are not those of its contract.
    pub fn load(engine: &Engine, name: &str, wasm: &[u8], ids: &WriterIds) -> Result<Self, LoadError> {
        let (contract, manifest) = Self::contract(name, wasm)?;
        let compiled = wasmtime::component::Component::new(&engine.wasmtime, wasm).map_err(not_component(name))?;
        let loader = Loader { engine, name, contract: &contract, compiled: &compiled };
        let emitters = loader.emitters(&manifest, ids)?;
        loader.check_imports(&emitters)?;
        let handlers = loader.handlers(&manifest)?;
        let failed = not_component(name);
        let mut linker = Linker::new(&engine.wasmtime);
        link_runtime(&mut linker).map_err(&failed)?;
        emitters.iter().try_for_each(|emitter| link_emitter(&mut linker, emitter)).map_err(&failed)?;
        let pre = linker.instantiate_pre(&compiled).map_err(&failed)?;
        Ok(Self {
            engine: engine.clone(),
            handlers,
            deadline: manifest.limits.deadline,
            memory_bytes_max: usize::try_from(manifest.limits.memory_bytes_max).unwrap_or(usize::MAX),
            record_bytes_max: usize::try_from(manifest.limits.record_bytes_max).unwrap_or(usize::MAX),
            pre,
            manifest,
        })
    }

    /// Its manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }
}

fn not_component(name: &str) -> impl Fn(wasmtime::Error) -> LoadError {
    |e| LoadError::NotComponent { component: name.to_owned(), what: format!("{e:#}") }
}

/// The interfaces that a component imports and exports; those of types only are left out. Needs no contract.
///
/// # Errors
/// If it is no component.
pub fn interfaces(engine: &Engine, name: &str, wasm: &[u8]) -> Result<(Vec<String>, Vec<String>), LoadError> {
    let compiled = wasmtime::component::Component::new(&engine.wasmtime, wasm).map_err(not_component(name))?;
    let ty = compiled.component_type();
    let has_functions = |item: &ComponentItem| match item {
        ComponentItem::ComponentInstance(instance) => {
            instance.exports(&engine.wasmtime).any(|(_, item)| matches!(item.ty, ComponentItem::ComponentFunc(_)))
        }
        _ => true,
    };
    let imports =
        ty.imports(&engine.wasmtime).filter(|(_, item)| has_functions(&item.ty)).map(|(name, _)| name.to_owned());
    let exports =
        ty.exports(&engine.wasmtime).filter(|(_, item)| has_functions(&item.ty)).map(|(name, _)| name.to_owned());
    Ok((imports.collect(), exports.collect()))
}

/// What is at hand while a component is checked.
struct Loader<'a> {
    engine: &'a Engine,
    name: &'a str,
    contract: &'a Contract,
    compiled: &'a wasmtime::component::Component,
}

impl Loader<'_> {
    fn broken(&self, what: String) -> LoadError {
        LoadError::Contract { component: self.name.to_owned(), what }
    }

    fn typed(&self, subject: &str) -> Result<Option<Typed>, LoadError> {
        let Some(schema) = self.contract.schemas.get(subject) else { return Ok(None) };
        let schema = parse(subject, &schema.text).map_err(|e| self.broken(e.to_string()))?;
        let shapes = Shapes::of(&schema).map_err(|e| self.broken(e.to_string()))?;
        Ok(Some(Typed { schema: Arc::new(schema), shapes: Arc::new(shapes) }))
    }

    fn framed(&self, subject: &str, ids: &WriterIds) -> Result<Option<Framed>, LoadError> {
        let Some(typed) = self.typed(subject)? else { return Ok(None) };
        let Some(id) = ids.get(subject) else {
            return Err(self.broken(format!("the schema of the subject `{subject}` is not registered")));
        };
        Ok(Some(Framed { encoder: Encoder::new(typed.schema, typed.shapes), prefix: prefix(*id) }))
    }

    fn emitters(&self, manifest: &Manifest, ids: &WriterIds) -> Result<Vec<Emitter>, LoadError> {
        let emitter = |(topic, emits): (&String, &heddle_contract::manifest::component::Emits)| {
            let key = match (&emits.key, self.framed(&key_subject(topic), ids)?) {
                (Some(KeyType::Bytes), _) => KeyCodec::Bytes,
                (Some(KeyType::String), _) => KeyCodec::String,
                (_, Some(framed)) => KeyCodec::Schema(framed),
                _ => KeyCodec::String,
            };
            Ok(Emitter {
                topic: topic.as_str().into(),
                interface: format!("heddle:component/{}", emit_interface(topic)),
                value: self.framed(&value_subject(topic), ids)?,
                key,
                cloudevents: emits.cloudevents,
            })
        };
        manifest.emits.iter().map(emitter).collect()
    }

    /// Refuses what is not granted, and compares what is granted with its schema.
    fn check_imports(&self, emitters: &[Emitter]) -> Result<(), LoadError> {
        let engine = &self.engine.wasmtime;
        for (import, item) in self.compiled.component_type().imports(engine) {
            let ComponentItem::ComponentInstance(instance) = item.ty else {
                return Err(self.not_granted(import));
            };
            let functions = instance.exports(engine).filter_map(|(name, item)| match item.ty {
                ComponentItem::ComponentFunc(function) => Some((name, function)),
                _ => None,
            });
            let functions = functions.collect::<BTreeMap<_, _>>();
            let shared = [("context", "current"), ("log", "write")];
            let offered = |(interface, function): (&str, &str)| {
                import == format!("{RUNTIME}{interface}@{RUNTIME_VERSION}")
                    && functions.keys().all(|name| *name == function)
            };
            if functions.is_empty() || shared.into_iter().any(offered) {
                // An interface of types only gives no power.
                continue;
            }
            let Some(emitter) = emitters.iter().find(|emitter| emitter.interface == import) else {
                return Err(self.not_granted(import));
            };
            let shapes = emitter.value.as_ref().map(|framed| framed.encoder.shapes());
            for function in functions.values() {
                let params = function.params().map(|(_, ty)| ty).collect::<Vec<_>>();
                if let Some(value) = params.first() {
                    self.compare(shapes, value, &emitter.topic)?;
                }
                if let Some(key) = params.get(1) {
                    self.compare_key(&emitter.key, key, &emitter.topic)?;
                }
            }
        }
        Ok(())
    }

    fn compare(&self, shapes: Option<&Shapes>, ty: &Type, topic: &str) -> Result<(), LoadError> {
        let found = match shapes {
            Some(shapes) => check::same(shapes, shapes.root(), ty),
            None if matches!(ty, Type::List(list) if list.ty() == Type::U8) => Ok(()),
            None => Err("the topic has no schema, so its values are bytes".to_owned()),
        };
        found.map_err(|what| self.other_contract(topic, &what))
    }

    /// The key that `send-with` takes.
    fn compare_key(&self, codec: &KeyCodec, ty: &Type, topic: &str) -> Result<(), LoadError> {
        let Type::Option(key) = ty else { return Err(self.other_contract(topic, "its key is not optional")) };
        match (codec, key.ty()) {
            (KeyCodec::Schema(framed), ty) => self.compare_typed_key(framed.encoder.shapes(), &ty, topic),
            (KeyCodec::String, Type::String) => Ok(()),
            (KeyCodec::Bytes, Type::List(list)) if list.ty() == Type::U8 => Ok(()),
            (KeyCodec::String, _) => Err(self.other_contract(topic, "its keys are strings")),
            (KeyCodec::Bytes, _) => Err(self.other_contract(topic, "its keys are bytes")),
        }
    }

    fn compare_typed_key(&self, shapes: &Shapes, ty: &Type, topic: &str) -> Result<(), LoadError> {
        check::same(shapes, shapes.root(), ty)
            .map_err(|what| self.other_contract(topic, &format!("in the key, {what}")))
    }

    fn other_contract(&self, topic: &str, what: &str) -> LoadError {
        LoadError::OtherContract { component: self.name.to_owned(), what: format!("topic `{topic}`: {what}") }
    }

    fn not_granted(&self, import: &str) -> LoadError {
        let hint = match import.strip_prefix("heddle:component/emit-") {
            Some(topic) => format!(
                "add `[emits.\"<topic>\"]` for the topic of emit-{topic} to component.toml, or do not emit to it"
            ),
            None if import.starts_with("wasi:") => {
                "a component has no files, clock, network or environment: build it without WASI".to_owned()
            }
            None => format!(
                "this host offers {RUNTIME}context and {RUNTIME}log in version {RUNTIME_VERSION}, and the emitters of the manifest"
            ),
        };
        LoadError::NotGranted { component: self.name.to_owned(), import: import.to_owned(), hint }
    }

    fn handlers(&self, manifest: &Manifest) -> Result<Vec<Handler>, LoadError> {
        let engine = &self.engine.wasmtime;
        let ty = self.compiled.component_type();
        let handler = |(topic, consumes): (&String, &heddle_contract::manifest::component::Consumes)| {
            let interface = format!("heddle:component/{}", on_interface(topic));
            let missing = || LoadError::NoHandler {
                component: self.name.to_owned(),
                export: interface.clone(),
                topic: topic.clone(),
            };
            let Some(ComponentItem::ComponentInstance(instance)) =
                ty.get_export(engine, &interface).map(|item| item.ty)
            else {
                return Err(missing());
            };
            let Some(ComponentItem::ComponentFunc(function)) =
                instance.get_export(engine, "handle").map(|item| item.ty)
            else {
                return Err(missing());
            };
            let params = function.params().map(|(_, ty)| ty).collect::<Vec<_>>();
            let value = self.typed(&value_subject(topic))?;
            let Some(first) = params.first() else { return Err(missing()) };
            self.compare(value.as_ref().map(|typed| &*typed.shapes), first, topic)?;
            let key = match &consumes.key {
                Some(KeyType::Bytes | KeyType::String) => None,
                _ => self.typed(&key_subject(topic))?,
            };
            match (&key, params.get(1)) {
                (None, None) => {}
                (Some(key), Some(Type::Option(ty))) => self.compare_typed_key(&key.shapes, &ty.ty(), topic)?,
                (Some(_), _) => {
                    return Err(self.other_contract(topic, "its keys have a schema, which the handler does not take"));
                }
                (None, Some(_)) => {
                    return Err(
                        self.other_contract(topic, "its keys have no schema, and the handler takes a typed key")
                    );
                }
            }
            Ok(Handler { topic: topic.as_str().into(), interface, value, key })
        };
        manifest.consumes.iter().map(handler).collect()
    }
}
