//! One of the two versions: its code, and its own copy of the state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use heddle_contract::format::Schema;
use heddle_contract::manifest::Manifest;
use heddle_contract::manifest::component::Wires;
use heddle_contract::manifest::tables::Scope;
use heddle_contract::section::Contract;
use heddle_contract::wire::{self, Guid, Part, SchemaId, key_subject, value_subject};
use heddle_core::batch::OpenBatch;
use heddle_core::event::{NewRecord, Offset, Partition, Record, Timestamp, Topic, TopicPartition};
use heddle_core::explain::{Explain, Explained};
use heddle_core::fault::TaskFault;
use heddle_core::state::{Stateless, StoreIndex, TaskState};
use heddle_core::tables::{GlobalTables, TableKeys, WithTables};
use heddle_core::task::{Task, TaskSpec};
use serde_json::{Value, json as object};
use thiserror::Error;

use crate::build::digest;
use crate::guest::{Component, Engine, Framing, Instance, LoadError, Schemas};
use crate::log::{Log, LogError, Start};
use crate::registry::{Registry, RegistryError, guids};
use crate::runtime;
use crate::state::{Bounds, HostState, MemoryEngine, ReplayError, StateError, TaskStores, Watermark};
use crate::values::{Contracts, WithContracts, Written};

/// The longest wait of one poll.
const POLL_WAIT: Duration = Duration::from_millis(100);
/// The longest time without progress.
const STANDSTILL_MAX: Duration = Duration::from_secs(30);

/// The reason why a comparison failed.
#[derive(Debug, Error)]
pub enum SideError {
    /// A version cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The registry failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// State cannot be read.
    #[error(transparent)]
    Task(#[from] TaskFault),
    /// The copy of the state cannot be created.
    #[error(transparent)]
    State(#[from] StateError),
    /// A changelog holds a foreign record.
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

impl SideError {
    fn inner(&self) -> &dyn Explain {
        match self {
            Self::Load(error) => error,
            Self::Log(error) => error,
            Self::Registry(error) => error,
            Self::Task(error) => error,
            Self::State(error) => error,
            Self::Replay(error) => error,
        }
    }
}

impl Explain for SideError {
    fn place(&self) -> Option<String> {
        self.inner().place()
    }

    fn remedy(&self) -> Option<String> {
        self.inner().remedy()
    }

    fn explained(&self) -> Vec<Explained> {
        self.inner().explained()
    }
}

/// One version, with its copy of the state.
pub struct Side {
    /// The identity of the version.
    pub digest: String,
    manifest: Manifest,
    spec: Arc<TaskSpec>,
    handler: Instance,
    component: Arc<Component>,
    /// Its global tables, as far as they were read.
    pub(super) tables: GlobalTables,
    schemas: Arc<dyn Schemas>,
    state: HostState,
    tasks: BTreeMap<Partition, (Task, Option<Arc<TaskStores>>)>,
}

/// A key in a store: partition, the store's name, the key.
pub(super) type Place = (Partition, String, Bytes);

/// The results of one version for one record.
#[derive(Debug, PartialEq)]
pub(super) struct Made {
    /// The outputs in readable form. For a dead-lettered record, the reason.
    pub(super) outputs: Vec<Value>,
    pub(super) failed: bool,
    pub(super) touched: Vec<Place>,
}

/// The registry's schemas, and those that a deployment of the version would add.
struct WithOwn {
    registered: Arc<dyn Schemas>,
    own: BTreeMap<SchemaId, Schema>,
}

impl Schemas for WithOwn {
    fn writer(&self, id: SchemaId) -> Result<Option<Schema>, String> {
        self.own.get(&id).map_or_else(|| self.registered.writer(id), |own| Ok(Some(own.clone())))
    }

    fn by_guid(&self, guid: Guid) -> Result<Option<Schema>, String> {
        self.registered.by_guid(guid)
    }
}

/// The framing of what a version writes. An unregistered schema gets an id that no registry assigns,
/// because a comparison registers nothing.
fn framing(
    app: &str,
    contract: &Contract,
    manifest: &Manifest,
    registry: &dyn Registry,
) -> Result<(Framing, BTreeMap<SchemaId, Schema>), RegistryError> {
    let (mut ids, mut own) = (BTreeMap::new(), BTreeMap::new());
    for (name, schema) in &contract.schemas {
        let Some(subject) = manifest.registered(app, name) else { continue };
        let Ok(parsed) = schema.parse() else { continue };
        let versions = registry.versions(&subject)?;
        let same = versions.iter().find(|version| version.parsed().is_ok_and(|there| there.is_same_text(&parsed)));
        let id = match same {
            Some(version) => version.id,
            None => {
                let id = SchemaId(u32::MAX - u32::try_from(own.len()).unwrap_or(0));
                own.insert(id, parsed);
                id
            }
        };
        ids.insert(name.clone(), id);
    }
    // A schema that is not registered has no GUID, and is named by its id.
    let known = ids.iter().filter(|(_, id)| !own.contains_key(*id)).map(|(name, id)| (name.clone(), *id));
    let guids = guids(registry, manifest, &known.collect())?;
    Ok((Framing { ids, guids, wires: manifest.wires.clone() }, own))
}

/// The wires and schemas of the topics that a version emits to, by topic and part.
fn emitted(contract: &Contract, manifest: &Manifest) -> Contracts {
    let subjects = [(Part::Key, key_subject as fn(&str) -> String), (Part::Value, value_subject)];
    let all = manifest.emits.keys().flat_map(|topic| subjects.map(|(part, subject)| (topic, part, subject(topic))));
    let schema = |(topic, part, subject): (&String, Part, String)| {
        let schema = contract.schemas.get(&subject)?.parse().ok()?;
        Some(((topic.clone(), part), (manifest.wire(topic), schema)))
    };
    all.filter_map(schema).collect()
}

impl Side {
    /// Loads a version from its file.
    ///
    /// # Errors
    /// If it cannot be loaded.
    pub fn load(
        (app, wires): (&str, &Wires),
        engine: &Engine,
        (name, wasm): (&str, &[u8]),
        registry: &dyn Registry,
        registered: Arc<dyn Schemas>,
    ) -> Result<Self, SideError> {
        let (contract, manifest) = Component::contract(name, wasm)?;
        let manifest = manifest.with_wires(wires);
        let (framing, own) = framing(app, &contract, &manifest, registry)?;
        let component = Arc::new(Component::load(engine, name, wasm, &framing)?);
        let schemas: Arc<dyn Schemas> = Arc::new(WithOwn { registered, own });
        let contracts = emitted(&contract, &manifest);
        let schemas: Arc<dyn Schemas> = Arc::new(WithContracts::new(schemas, contracts));
        let mut spec = runtime::task_spec(app, &manifest, []);
        spec.tables = component.task_tables();
        // No time passes here, so a record that would be parked counts as failed.
        spec.policy.retries.clear();
        spec.schedule = None;
        Ok(Self {
            digest: format!("sha256:{}", digest(wasm)),
            spec: Arc::new(spec),
            manifest,
            handler: Instance::new(component.clone(), schemas.clone()),
            component,
            tables: vec![],
            schemas,
            state: HostState::without_flusher(Arc::new(MemoryEngine::default()), Bounds::default()),
            tasks: BTreeMap::new(),
        })
    }

    /// The component's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.manifest.name
    }

    pub(super) fn topics(&self) -> BTreeSet<String> {
        self.manifest.consumes.keys().cloned().collect()
    }

    /// The topics of its tasks' tables.
    pub(super) fn table_topics(&self) -> BTreeSet<String> {
        self.manifest.table_topics(Scope::Task).cloned().collect()
    }

    /// The indexes of its global tables, with their topics and types of keys.
    pub(super) fn global_tables(&self) -> Vec<(StoreIndex, Topic, TableKeys)> {
        self.component.global_tables()
    }

    /// Opens the tasks with the state that the changelogs had at `until`, or with empty state if it is absent.
    pub(super) fn restore(
        &mut self,
        log: &dyn Log,
        partitions: impl Iterator<Item = Partition>,
        until: Option<Timestamp>,
    ) -> Result<(), SideError> {
        for number in partitions {
            let task = if self.spec.is_stateless() {
                let state = WithTables::beside(Arc::new(Stateless), &self.tables);
                (Task::new(self.spec.clone(), number, state), None)
            } else {
                let stores = self.state.open(&self.spec, number)?;
                for (changelog, _) in stores.watermarks() {
                    stores.reached(&changelog, Watermark { topic_id: None, offset: Offset(0) });
                }
                let state = WithTables::beside(stores.clone(), &self.tables);
                (Task::new(self.spec.clone(), number, state), Some(stores))
            };
            self.tasks.insert(number, task);
        }
        let Some(until) = until else { return Ok(()) };
        let there = log.topics()?.into_iter().map(|topic| topic.name).collect::<BTreeSet<_>>();
        let tables = self.spec.tables.iter().map(|table| &table.topic);
        let changelogs = self.spec.all_changelogs().chain(tables);
        for changelog in changelogs.filter(|changelog| there.contains(&***changelog)) {
            self.replay(log, changelog, until)?;
        }
        Ok(())
    }

    /// Reads a changelog up to its first record with the timestamp `until` or later, in each partition.
    fn replay(&self, log: &dyn Log, changelog: &Topic, until: Timestamp) -> Result<(), SideError> {
        let mut ends = BTreeMap::new();
        for bounds in log.watermarks(changelog)? {
            if bounds.high > bounds.low && self.tasks.contains_key(&bounds.partition) {
                ends.insert(TopicPartition { topic: changelog.clone(), partition: bounds.partition }, bounds.high);
            }
        }
        if ends.is_empty() {
            return Ok(());
        }
        let mut reader = log.reader(&ends.keys().map(|place| (place.clone(), Start::Beginning)).collect::<Vec<_>>())?;
        let mut moved = Instant::now();
        while !ends.is_empty() {
            for record in reader.poll(POLL_WAIT)? {
                moved = Instant::now();
                if record.timestamp >= until {
                    ends.remove(&record.source);
                }
                if let Some((_, Some(stores))) = self.tasks.get(&record.source.partition)
                    && ends.get(&record.source).is_some_and(|end| record.offset < *end)
                {
                    stores.replay(&record)?;
                }
            }
            let positions = reader.positions()?;
            ends.retain(|place, end| positions.get(place).is_none_or(|position| position < end));
            if moved.elapsed() > STANDSTILL_MAX {
                let why = format!("reading `{changelog}` stalled before its end");
                return Err(LogError::Unreachable(why).into());
            }
        }
        Ok(())
    }

    /// Puts a record into its table, if this version has it.
    pub(super) fn apply(&mut self, record: &Record) -> Result<(), SideError> {
        if self.spec.table(&record.source.topic).is_some() {
            self.step(record)?;
        }
        Ok(())
    }

    /// Processes a record with this version.
    pub(super) fn step(&mut self, record: &Record) -> Result<Made, SideError> {
        let number = record.source.partition;
        let Some((task, stores)) = self.tasks.get_mut(&number) else {
            return Err(TaskFault(format!("there is no task {number}")).into());
        };
        let mut batch = OpenBatch::default();
        let step = task.step_at_once(record, &mut self.handler, &mut batch, record.timestamp)?;
        let mut committed = batch.seal().confirmed(BTreeMap::new());
        let mut touched = vec![];
        for (partition, overlay) in committed.overlays() {
            let name = |store: StoreIndex| self.manifest.stores.keys().nth(store.0).cloned().unwrap_or_default();
            let written = overlay.writes().filter(|(store, ..)| !store.is_table());
            touched.extend(written.map(|(store, key, _)| (partition, name(store), key.clone())));
        }
        if let Some(stores) = stores {
            stores.commit(&mut committed);
        }
        Ok(match step.fault {
            Some(fault) => {
                Made { outputs: vec![object!({ "dead-lettered": fault.to_string() })], failed: true, touched }
            }
            None => {
                let outputs = step.writes.iter().map(|write| self.output(write)).collect();
                Made { outputs, failed: false, touched }
            }
        })
    }

    fn output(&self, write: &NewRecord) -> Value {
        let headers = write.headers.iter().map(|header| object!([header.name, header.value.as_deref().map(text)]));
        let part = |part, bytes: &Bytes| {
            let written = Written::of(&write.topic, &write.headers, (part, bytes), &*self.schemas);
            let written = written.ok().flatten();
            written.and_then(|written| written.schema.decode(&written.payload).ok()).unwrap_or_else(|| text(bytes))
        };
        object!({
            "topic": &*write.topic,
            "key": write.key.as_ref().map(|key| part(Part::Key, key)),
            "value": write.value.as_ref().map(|value| part(Part::Value, value)),
            "headers": headers.collect::<Vec<_>>(),
        })
    }

    /// The final value of a key in a store.
    pub(super) fn value(&self, partition: Partition, store: &str, key: &[u8]) -> Result<Option<Value>, SideError> {
        let Some(place) = self.manifest.stores.keys().position(|name| name == store) else { return Ok(None) };
        let Some((_, Some(stores))) = self.tasks.get(&partition) else { return Ok(None) };
        let value = stores.get(StoreIndex(place), key)?;
        Ok(value.map(|value| readable(&value, &*self.schemas)))
    }
}

/// A value in readable form: decoded with its schema, or as text.
pub(super) fn readable(bytes: &[u8], schemas: &dyn Schemas) -> Value {
    let decoded = wire::split(bytes).and_then(|(id, payload)| {
        let schema = schemas.writer(id).ok().flatten()?;
        schema.decode(payload).ok()
    });
    decoded.unwrap_or_else(|| text(bytes))
}

fn text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => bytes.escape_ascii().to_string().into(),
    }
}
