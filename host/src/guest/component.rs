//! One component: its compiled code, its contract, and everything that is determined once at load.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use heddle_contract::format::Schema;
use heddle_contract::format::shape::Shapes;
use heddle_contract::manifest::Manifest;
use heddle_contract::manifest::component::{Tombstones, UnknownType, Wires};
use heddle_contract::manifest::tables::Scope;
use heddle_contract::section::{self, Contract};
use heddle_contract::wire::{Guid, Part, SchemaId, Wire};
use heddle_core::event::Topic;
use heddle_core::state::StoreIndex;
use heddle_core::tables::{TableKeys, TaskTable};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{InstancePre, Linker};

use super::engine::Engine;
use super::host::{Host, HostLimits};
use super::identify::Identify;
use super::imports::{link_emitter, link_runtime};
use super::loader::Loader;
use super::start::start;
use super::stores::{StoreAccess, link_store};
use super::tables::{TableAccess, link_table};
use super::{LoadError, bounds, wasi};

/// A subject's schema, ready for the codec.
#[derive(Clone)]
pub(super) struct Typed {
    pub(super) schema: Schema,
    pub(super) shapes: Arc<Shapes>,
}

/// The handler of one topic.
pub(super) struct Handler {
    pub(super) topic: Topic,
    /// The export's name.
    pub(super) interface: String,
    /// The way in which records name the schemas that wrote them.
    pub(super) wire: Wire,
    /// The reader's schema of the value. `None` for a topic without a schema, whose values are bytes or text.
    pub(super) value: Option<Typed>,
    /// True if values without a schema are passed as text.
    pub(super) is_text: bool,
    /// The reader's schema of the key, if the handler takes one.
    pub(super) key: Option<Typed>,
    /// The place of the message id, for a topic with dedup.
    pub(super) id: Option<Identify>,
    /// The treatment of records without a value.
    pub(super) tombstones: Tombstones,
    /// The treatment of values whose types the component does not name.
    pub(super) unknown_type: Option<UnknownType>,
}

/// A loaded and checked component. All workers share it.
pub struct Component {
    pub(super) engine: Engine,
    pub(super) handlers: Vec<Handler>,
    pub(super) deadline: Duration,
    pub(super) limits: HostLimits,
    pub(super) record_bytes_max: usize,
    pub(super) pre: InstancePre<Host>,
    stores: Vec<Arc<StoreAccess>>,
    tables: Vec<Arc<TableAccess>>,
    needs_registry: bool,
    manifest: Manifest,
}

/// The parts of written keys and values that are not their encoding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Framing {
    /// The registry's ids of the schemas with which the component writes, by their names in the contract.
    pub ids: BTreeMap<String, SchemaId>,
    /// The registry's GUIDs of these schemas, if it has any.
    pub guids: BTreeMap<SchemaId, Guid>,
    /// The wires of the app's topics.
    pub wires: Wires,
}

impl<const N: usize> From<[(String, SchemaId); N]> for Framing {
    fn from(ids: [(String, SchemaId); N]) -> Self {
        ids.into_iter().collect()
    }
}

impl FromIterator<(String, SchemaId)> for Framing {
    fn from_iter<T: IntoIterator<Item = (String, SchemaId)>>(ids: T) -> Self {
        Self { ids: ids.into_iter().collect(), ..Self::default() }
    }
}

impl Component {
    /// Reads the contract of a `.wasm` file and its manifest, without running or compiling anything.
    ///
    /// # Errors
    /// If the file has no contract, or one that is not valid.
    pub fn contract(name: &str, wasm: &[u8]) -> Result<(Contract, Manifest), LoadError> {
        let contract = section::extract(wasm)
            .map_err(|e| LoadError::NoContract { component: name.to_owned(), what: e.to_string() })?;
        let manifest = Manifest::parse(&contract.component.manifest, name)?;
        Ok((contract, manifest))
    }

    /// Loads a component: compiles it (or takes the compiled code from the cache), and checks it against its contract.
    /// Messages name it `name`, and `framing` has the ids of the schemas with which it writes.
    ///
    /// # Errors
    /// If it is not a component, has no contract or one that contradicts itself, or its imports or types differ from
    /// its contract.
    pub fn load(engine: &Engine, name: &str, wasm: &[u8], framing: &Framing) -> Result<Self, LoadError> {
        let (contract, manifest) = Self::contract(name, wasm)?;
        let manifest = manifest.with_wires(&framing.wires);
        let compiled = compile(engine, name, wasm)?;
        let loader = Loader { engine, name, contract: &contract, compiled: &compiled };
        let emitters = loader.emitters(&manifest, framing)?;
        let stores = loader.stores(&manifest, framing)?;
        let tables = loader.tables(&manifest)?;
        loader.check_imports(&emitters, &stores, &tables)?;
        let handlers = loader.handlers(&manifest)?;
        let failed = not_component(name);
        let mut linker = Linker::new(&engine.wasmtime);
        link_runtime(&mut linker).map_err(&failed)?;
        emitters.iter().try_for_each(|emitter| link_emitter(&mut linker, emitter)).map_err(&failed)?;
        stores.iter().try_for_each(|store| link_store(&mut linker, store)).map_err(&failed)?;
        tables.iter().try_for_each(|table| link_table(&mut linker, table)).map_err(&failed)?;
        loader.link_wasi(&mut linker).map_err(&failed)?;
        let pre = linker.instantiate_pre(&compiled).map_err(&failed)?;
        let component = Self {
            engine: engine.clone(),
            handlers,
            deadline: manifest.limits.deadline,
            limits: HostLimits {
                memory_bytes_max: usize::try_from(manifest.limits.memory_bytes_max).unwrap_or(usize::MAX),
                emits_max: manifest.limits.emits_max as usize,
                output_bytes_max: usize::try_from(manifest.limits.output_bytes_max).unwrap_or(usize::MAX),
                log_lines_max: manifest.limits.log_lines_max as usize,
            },
            record_bytes_max: usize::try_from(manifest.limits.record_bytes_max).unwrap_or(usize::MAX),
            pre,
            stores,
            tables,
            needs_registry: manifest.needs_registry(contract.schemas.keys()),
            manifest,
        };
        // A component that does not start is refused here, so that no record has to fail for it.
        start(&component).map_err(|fault| fault.refusal(name))?;
        Ok(component)
    }

    /// Checks that [`Component::load`] would accept the component, whatever ids the registry has for its schemas.
    ///
    /// # Errors
    /// As [`Component::load`].
    pub fn check(engine: &Engine, name: &str, wasm: &[u8]) -> Result<(), LoadError> {
        let (contract, _) = Self::contract(name, wasm)?;
        let ids = contract.schemas.into_keys().map(|name| (name, SchemaId(0))).collect();
        Self::load(engine, name, wasm, &ids).map(drop)
    }

    /// The schema of the keys of a store or table, if they have one. For a table, the id is not meaningful.
    #[must_use]
    pub fn key_schema(&self, store: StoreIndex) -> Option<(SchemaId, Schema)> {
        let key = match self.table(store) {
            Some(table) => &table.key,
            None => &self.stores.get(store.0)?.key,
        };
        Some((key.id().unwrap_or(SchemaId(0)), key.schema()?.clone()))
    }

    /// The schema with which the values of a table are read, and the way in which its records name the schemas that
    /// wrote them.
    #[must_use]
    pub fn table_values(&self, table: StoreIndex) -> Option<(&Schema, Wire)> {
        let table = self.table(table)?;
        Some((&table.value.as_ref()?.schema, table.wire))
    }

    /// The part of a record's key by which a table finds its entries; `None` if there is no such table.
    #[must_use]
    pub fn table_keys(&self, table: StoreIndex) -> Option<TableKeys> {
        Some(self.table(table)?.keys())
    }

    fn table(&self, index: StoreIndex) -> Option<&TableAccess> {
        self.tables.iter().find(|table| table.index == index).map(|table| &**table)
    }

    /// The tables whose records are part of a task's input.
    #[must_use]
    pub fn task_tables(&self) -> Vec<TaskTable> {
        self.tables_of(Scope::Task).map(|(index, topic, keys)| TaskTable { index, topic, keys }).collect()
    }

    /// The tables that all tasks of a host share: the index by which handlers read each one, its topic, and the part of
    /// a record's key by which it finds its entries.
    #[must_use]
    pub fn global_tables(&self) -> Vec<(StoreIndex, Topic, TableKeys)> {
        self.tables_of(Scope::Global).collect()
    }

    fn tables_of(&self, scope: Scope) -> impl Iterator<Item = (StoreIndex, Topic, TableKeys)> {
        let tables = self.manifest.tables.values().zip(&self.tables).filter(move |(spec, _)| spec.scope == scope);
        tables.map(|(spec, table)| (table.index, spec.topic.as_str().into(), table.keys()))
    }

    /// Returns true if any of its schemas has a subject in the registry.
    #[must_use]
    pub fn needs_registry(&self) -> bool {
        self.needs_registry
    }

    /// The wire of a consumed topic, and the schema by which a part of its records is read. `None` if the part has no
    /// schema.
    #[must_use]
    pub fn consumed(&self, topic: &str, part: Part) -> Option<(Wire, Schema)> {
        let handler = self.handlers.iter().find(|handler| &*handler.topic == topic)?;
        let typed = match part {
            Part::Key => handler.key.as_ref(),
            Part::Value => handler.value.as_ref(),
        };
        Some((handler.wire, typed?.schema.clone()))
    }

    /// Its manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }
}

fn not_component(name: &str) -> impl Fn(wasmtime::Error) -> LoadError {
    |e| LoadError::not_component(name, &format!("{e:#}"))
}

fn compile(engine: &Engine, name: &str, wasm: &[u8]) -> Result<wasmtime::component::Component, LoadError> {
    bounds::check(name, wasm)?;
    // The cache identifies compiled code by these bytes, so a version that differs only in its manifest is not compiled
    // again.
    let code = section::strip(wasm).map_err(|e| LoadError::not_component(name, &e.to_string()))?;
    wasmtime::component::Component::new(&engine.wasmtime, code).map_err(not_component(name))
}

/// The interfaces that a component imports and exports, except those that only have types.
pub struct Interfaces {
    /// The imports from Heddle.
    pub imports: Vec<String>,
    /// The imports from the empty WASI, without versions and `wasi:`.
    pub wasi: Vec<String>,
    /// The exports.
    pub exports: Vec<String>,
}

/// Lists the interfaces of a component. Needs no contract.
///
/// # Errors
/// If it is not a component.
pub fn interfaces(engine: &Engine, name: &str, wasm: &[u8]) -> Result<Interfaces, LoadError> {
    let compiled = compile(engine, name, wasm)?;
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
    let (wasi, imports) = imports.partition::<Vec<_>, _>(|import| wasi::interface(import).is_some());
    let short = |import: &String| wasi::interface(import)?.strip_prefix("wasi:").map(str::to_owned);
    Ok(Interfaces { imports, wasi: wasi.iter().filter_map(short).collect(), exports: exports.collect() })
}
