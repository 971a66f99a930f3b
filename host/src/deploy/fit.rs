//! Turns a file into a version that can run. All checks that may refuse the file happen here, before a worker receives
//! it.
//!
//! ```text
//!  file ──> contract ──> changes ──> registry ──> topics ──> compiled, linked ──> started once a worker ──> Version
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use heddle_contract::manifest::Manifest;
use heddle_contract::manifest::app::Register;
use heddle_contract::manifest::component::Wires;
use heddle_contract::manifest::tables::Scope;
use heddle_contract::section::{self, Contract};
use heddle_core::event::Topic;
use heddle_core::explain::{Explain, Explained, Findings};
use heddle_core::state::StoreIndex;
use heddle_core::tables::{GlobalTable, GlobalTables, TableKeys};
use heddle_core::task::TaskSpec;
use thiserror::Error;

use super::evidence::contradictions;
use super::{changes, limits, roles, short_lived_tables};
use crate::build::digest;
use crate::guest::{Component, Engine, Framing, Instance, LoadError, Schemas};
use crate::lock::lock;
use crate::log::{Log, LogError, TopicSpec};
use crate::registry::check::{misfits, unregistered};
use crate::registry::publish::Publication;
use crate::registry::{Registry, RegistryError, SchemaId, guids};
use crate::runtime::{self, Version};
use crate::tables::Tables;

/// The reason why a file cannot run here.
#[derive(Debug, Error)]
pub enum FitError {
    /// The file does not fit.
    #[error(transparent)]
    Misfit(#[from] Findings),
    /// The file cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The registry failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// An internal topic of the component cannot be created.
    #[error("the topic `{topic}` cannot be created: {cause}")]
    Topic {
        /// The topic.
        topic: String,
        /// The log's error.
        cause: LogError,
    },
}

impl From<Explained> for FitError {
    fn from(found: Explained) -> Self {
        Self::Misfit(found.into())
    }
}

impl FitError {
    fn inner(&self) -> &dyn Explain {
        match self {
            Self::Misfit(error) => error,
            Self::Load(error) => error,
            Self::Log(error) | Self::Topic { cause: error, .. } => error,
            Self::Registry(error) => error,
        }
    }
}

impl Explain for FitError {
    fn place(&self) -> Option<String> {
        self.inner().place()
    }

    fn remedy(&self) -> Option<String> {
        self.inner().remedy()
    }

    fn explained(&self) -> Vec<Explained> {
        match self {
            Self::Topic { .. } => vec![Explained::of(self)],
            _ => self.inner().explained(),
        }
    }
}

/// The environment that files have to fit.
pub struct Fitter {
    /// The app's name.
    pub app: String,
    /// Compiles components.
    pub engine: Engine,
    /// The log with the topics.
    pub log: Arc<dyn Log>,
    /// The registry with the schemas.
    pub registry: Arc<dyn Registry>,
    /// The same schemas, for instances.
    pub schemas: Arc<dyn Schemas>,
    /// The policy for schemas that are not registered.
    pub register: Register,
    /// The global tables of this host.
    pub tables: Arc<Tables>,
    /// The number of instances that a version needs on this host.
    pub workers: u32,
    /// The topic of the embedded registry, if the app uses it.
    pub registry_topic: Option<String>,
    /// The wires of the app's topics.
    pub wires: Wires,
    /// The newest manifest of each component that fitted.
    pub known: Mutex<BTreeMap<String, Manifest>>,
}

/// A component's file.
#[derive(Clone)]
pub struct File {
    /// The file's name in messages.
    pub name: String,
    /// The file's content.
    pub wasm: Bytes,
}

/// A file with its contract and manifest.
struct Read {
    file: File,
    contract: Contract,
    manifest: Manifest,
}

impl Read {
    fn of(file: File, wires: &Wires) -> Result<Self, LoadError> {
        let (contract, manifest) = Component::contract(&file.name, &file.wasm)?;
        Ok(Self { file, contract, manifest: manifest.with_wires(wires) })
    }
}

/// A version that fits, with its warnings.
pub struct Fitted {
    /// The version.
    pub version: Version,
    /// Warnings about what the version leaves behind.
    pub warnings: Vec<String>,
}

impl Fitter {
    /// Returns the versions with which an app starts, in the order of the files, with the components' names within the
    /// app.
    ///
    /// # Errors
    /// If a file does not fit.
    pub fn first(&self, files: Vec<File>) -> Result<Vec<(String, Version)>, FitError> {
        let read = files.into_iter().map(|file| Read::of(file, &self.wires)).collect::<Result<Vec<_>, _>>()?;
        let topics = self.topics()?;
        self.refuse(&read, &topics)?;
        let ids = self.register(&read)?;
        let version = |(read, ids): (Read, Framing)| self.version(&read, &ids, &topics);
        let versions = read.into_iter().zip(ids).map(version).collect::<Result<Vec<_>, _>>()?;
        let (versions, missing): (Vec<_>, Vec<_>) = versions.into_iter().unzip();
        versions.iter().for_each(|version| self.learn(version));
        create(self.log.as_ref(), &missing.concat())?;
        for version in &versions {
            for trouble in self.troubles(version) {
                tracing::warn!(target: "heddle::alert", component = %version.spec.component, trouble, "a topic does not fit its component");
            }
        }
        let named = |version: Version| (version.component.manifest().name.clone(), version);
        Ok(versions.into_iter().map(named).collect())
    }

    /// Returns a version that can replace `current` while it runs.
    ///
    /// # Errors
    /// If the file does not fit. The running version is not affected.
    pub fn next(&self, file: File, current: &Version) -> Result<Fitted, FitError> {
        let read = Read::of(file, &self.wires)?;
        let old = current.component.manifest();
        if read.manifest.name != old.name {
            let what = format!("the file holds the component `{}`, not `{}`", read.manifest.name, old.name);
            let hint = "name the component that the file holds, or another file";
            return Err(Explained::new(what).at(&read.file.name).hint(hint).into());
        }
        let there = self.topics()?;
        let spec = runtime::task_spec(&self.app, &read.manifest, there.keys().map(String::as_str));
        let count = |manifest: &Manifest, spec: &TaskSpec| {
            manifest.consumes.len() + manifest.table_topics(Scope::Task).count() + spec.retry_topics.len()
        };
        let group = self.log.members_assign().then(|| (count(old, &current.spec), count(&read.manifest, &spec)));
        if let Some(refusal) = changes::refusal(&self.app, old, &read.manifest, group) {
            return Err(refusal.into());
        }
        let mut warnings = changes::warnings(&self.app, old, &read.manifest);
        if let Some(refusal) = runtime::refusal(&spec, &read.manifest, &there) {
            return Err(refusal.into());
        }
        let read = [read];
        self.refuse(&read, &there)?;
        let ids = self.register(&read)?.pop().unwrap_or_default();
        let [read] = read;
        let (version, missing) = self.version(&read, &ids, &there)?;
        create(self.log.as_ref(), &missing)?;
        self.learn(&version);
        warnings.extend(self.troubles(&version));
        Ok(Fitted { version, warnings })
    }

    fn learn(&self, version: &Version) {
        let manifest = version.component.manifest();
        lock(&self.known).insert(manifest.name.clone(), manifest.clone());
    }

    /// Returns the topics that these components, or others beside them, would use as they may not.
    fn conflicts(&self, files: &[Read]) -> Vec<Explained> {
        let known = lock(&self.known);
        let others = known.values().filter(|other| files.iter().all(|read| read.manifest.name != other.name));
        let all = others.chain(files.iter().map(|read| &read.manifest));
        roles::conflicts(&self.app, self.registry_topic.as_deref(), all)
    }

    /// Returns conflicts between the bounds of a component, its topics and the client, and tables whose topics do not
    /// keep what they need. What the log does not report is ignored.
    fn troubles(&self, version: &Version) -> Vec<String> {
        let manifest = version.component.manifest();
        let mut found = limits::troubles(manifest, &version.spec, |topic| self.log.limits(topic).ok());
        found.extend(short_lived_tables(self.log.as_ref(), manifest));
        found
    }

    /// Refuses files that do not fit the registry or the topics.
    fn refuse(&self, files: &[Read], topics: &BTreeMap<String, i32>) -> Result<(), FitError> {
        let mut found = self.conflicts(files);
        for Read { contract, manifest, .. } in files {
            let unfit = misfits(self.registry.as_ref(), &self.app, contract, manifest)?;
            found.extend(unfit.iter().map(Explained::of));
            if self.register == Register::Never {
                let missing = unregistered(self.registry.as_ref(), &self.app, contract, manifest)?;
                found.extend(missing.iter().map(Explained::of));
            }
        }
        found.extend(files.iter().filter_map(|read| missing_inputs(&read.manifest, topics).into_iter().next()));
        if found.is_empty() {
            let components = files.iter().map(|read| (&read.contract, &read.manifest));
            found = contradictions(self.log.as_ref(), self.registry.as_ref(), &self.app, components, topics)?;
        }
        Findings::of(found).map_or(Ok(()), |found| Err(found.into()))
    }

    /// Registers the schemas that the components write with. Returns the framing of each component. A subject that is
    /// only read belongs to another app, so it gets a version only if it has none.
    fn register(&self, files: &[Read]) -> Result<Vec<Framing>, RegistryError> {
        let (app, registry) = (self.app.as_str(), self.registry.as_ref());
        let mut ids = BTreeMap::new();
        let mut written = BTreeSet::new();
        for Read { contract, manifest, .. } in files {
            for (name, schema) in &contract.schemas {
                let Some(subject) = manifest.registered(app, name) else { continue };
                if manifest.uses(name).1 {
                    written.insert(subject.clone());
                }
                ids.insert((subject, &schema.text, &schema.imports), (SchemaId(0), schema));
            }
        }
        // In the order of the subjects, so that the same app gets the same ids in every new registry.
        let mut skipped = BTreeSet::new();
        for ((subject, ..), (id, schema)) in &mut ids {
            let only_read = !written.contains(subject);
            match self.register {
                Register::Auto if !only_read || is_missing(registry, subject, schema)? => {
                    *id = Publication::from(*schema).register(registry, subject)?;
                }
                Register::Never if !only_read => match Publication::from(*schema).lookup(registry, subject)? {
                    Some(found) => *id = found,
                    None => {
                        let message = "it is not registered".to_owned();
                        return Err(RegistryError::Refused { subject: subject.clone(), message });
                    }
                },
                Register::Auto | Register::Never => {
                    skipped.insert(subject.clone());
                }
            }
        }
        let own = |Read { contract, manifest, .. }: &Read| {
            let id = |(name, schema): (&String, &section::Schema)| {
                let subject = manifest.registered(app, name)?;
                let (id, _) = ids.get(&(subject.clone(), &schema.text, &schema.imports))?;
                (!skipped.contains(&subject)).then(|| (name.clone(), *id))
            };
            let ids = contract.schemas.iter().filter_map(id).collect::<BTreeMap<_, _>>();
            let guids = guids(registry, manifest, &ids)?;
            Ok(Framing { ids, guids, wires: self.wires.clone() })
        };
        files.iter().map(own).collect()
    }

    fn topics(&self) -> Result<BTreeMap<String, i32>, LogError> {
        Ok(runtime::partition_counts(self.log.topics()?))
    }

    /// Returns a version, and the missing topics that it needs before it can run.
    fn version(
        &self,
        read: &Read,
        ids: &Framing,
        topics: &BTreeMap<String, i32>,
    ) -> Result<(Version, Vec<TopicSpec>), FitError> {
        let Read { file, manifest, .. } = read;
        let mut spec = runtime::task_spec(&self.app, manifest, topics.keys().map(String::as_str));
        let digest: Arc<str> = format!("sha256:{}", digest(&file.wasm)).into();
        spec.digest = Some(digest.clone());
        let missing = missing_topics(&spec, runtime::task_count(manifest, topics), topics);
        let component = Arc::new(Component::load(&self.engine, &file.name, &file.wasm, ids)?);
        spec.tables = component.task_tables();
        let start = |_| Instance::start(component.clone(), self.schemas.clone());
        let ready = (0..self.workers).map(start).collect::<Result<Vec<_>, _>>().map_err(|fault| {
            Explained::new(fault.detail).at(&file.name).hint(
                "correct what it does before its first delivery; it may take [limits] deadline and memory for that",
            )
        })?;
        let tables = self.follow(&component)?;
        Ok((Version::new(digest, file.wasm.clone(), component, Arc::new(spec), tables, ready), missing))
    }

    /// The global tables of a component, which are read from now on.
    fn follow(&self, component: &Component) -> Result<GlobalTables, FitError> {
        let table = |(index, topic, keys): (StoreIndex, Topic, TableKeys)| {
            let table = self.tables.follow(&topic, keys);
            let table = table.map_err(|error| LogError::Unreachable(format!("cannot start a thread: {error}")))?;
            Ok((index, table as Arc<dyn GlobalTable>))
        };
        component.global_tables().into_iter().map(table).collect()
    }
}

/// Returns true if a subject that is only read has no version and needs one. A union needs none, because producers may
/// register its records under other subjects.
fn is_missing(registry: &dyn Registry, subject: &str, schema: &section::Schema) -> Result<bool, RegistryError> {
    let is_union = schema.parse().is_ok_and(|schema| schema.is_union());
    Ok(!is_union && registry.latest(subject)?.is_none())
}

/// The missing internal topics of a component. Existing topics are checked before the component joins its group, so
/// that a mismatch stops only that component.
fn missing_topics(spec: &TaskSpec, tasks: i32, there: &BTreeMap<String, i32>) -> Vec<TopicSpec> {
    runtime::own_topics(spec, tasks).into_iter().filter(|topic| !there.contains_key(&topic.name)).collect()
}

/// Creates topics. A topic that another process has created meanwhile is not an error.
///
/// # Errors
/// The first topic that the log does not create. The others are created nevertheless.
pub fn create(log: &dyn Log, specs: &[TopicSpec]) -> Result<(), FitError> {
    specs.iter().zip(log.create_topics(specs)).try_for_each(|(spec, outcome)| match outcome {
        Ok(()) => {
            tracing::info!(topic = %spec.name, partitions = spec.partitions, "created");
            Ok(())
        }
        Err(LogError::TopicExists(_)) => Ok(()),
        Err(LogError::Invalid(why)) if spec.options.contains_key(SIZE) => create_smaller(log, spec, &why),
        Err(cause) => Err(FitError::Topic { topic: spec.name.clone(), cause }),
    })
}

/// The option that a cluster's policy often bounds.
const SIZE: &str = "max.message.bytes";

/// Creates a topic with the cluster's default record size, because the cluster's policy may not allow a larger one.
fn create_smaller(log: &dyn Log, spec: &TopicSpec, why: &str) -> Result<(), FitError> {
    let mut smaller = spec.clone();
    let size = smaller.options.remove(SIZE).unwrap_or_default();
    match log.create_topic(&smaller) {
        Ok(()) => {
            tracing::warn!(target: "heddle::alert", topic = %spec.name, size, %why, "created with the cluster's own max.message.bytes");
            Ok(())
        }
        Err(LogError::TopicExists(_)) => Ok(()),
        // The size is not the reason for the refusal.
        Err(_) => {
            let options = spec.options.iter().map(|(name, value)| format!("{name} = {value}"));
            let options = options.collect::<Vec<_>>().join(", ");
            let why = format!(
                "{why}; it needs {} partitions and {options}: create it by hand with what the cluster allows",
                spec.partitions
            );
            Err(FitError::Topic { topic: spec.name.clone(), cause: LogError::Invalid(why) })
        }
    }
}

/// Returns missing topics, and topics that conflict with each other or with the component's state.
#[must_use]
pub fn topic_troubles(app: &str, manifest: &Manifest, topics: &BTreeMap<String, i32>) -> Vec<Explained> {
    let spec = runtime::task_spec(app, manifest, topics.keys().map(String::as_str));
    missing_inputs(manifest, topics).into_iter().chain(runtime::refusal(&spec, manifest, topics)).collect()
}

fn missing_inputs(manifest: &Manifest, topics: &BTreeMap<String, i32>) -> Vec<Explained> {
    let shown = manifest.tables.values().map(|table| &table.topic);
    let named = manifest.consumes.keys().chain(manifest.emits.keys()).chain(shown);
    let missing = named.filter(|topic| !topics.contains_key(*topic));
    let name = &manifest.name;
    let trouble = |topic: &String| {
        Explained::new(format!("the topic `{topic}` of the component `{name}` does not exist"))
            .at("the log")
            .hint(format_args!("add [topics.\"{topic}\"] with its partitions to heddle.toml, or create it"))
    };
    missing.map(trouble).collect()
}

#[cfg(test)]
mod tests {
    use heddle_core::event::{NewRecord, Offset, TopicPartition};

    use super::*;
    use crate::log::embedded::{EmbeddedLog, EmbeddedOptions};
    use crate::log::{Groups, Member, MemberOptions, Reader, Start, TopicId, TopicInfo, Watermarks, Writer};

    /// A cluster whose policy bounds the size of records.
    struct Policy(EmbeddedLog);

    impl Log for Policy {
        fn create_topic(&self, spec: &TopicSpec) -> Result<(), LogError> {
            let bytes = spec.options.get(SIZE).and_then(|bytes| bytes.parse::<u32>().ok());
            match bytes.filter(|bytes| *bytes > 8 << 20) {
                Some(_) => Err(LogError::Invalid("Policy violation".to_owned())),
                None => self.0.create_topic(spec),
            }
        }

        fn topics(&self) -> Result<Vec<TopicInfo>, LogError> {
            self.0.topics()
        }

        fn delete_topic(&self, topic: &str) -> Result<(), LogError> {
            self.0.delete_topic(topic)
        }

        fn topic_id(&self, topic: &str) -> Result<Option<TopicId>, LogError> {
            self.0.topic_id(topic)
        }

        fn watermarks(&self, topic: &str) -> Result<Vec<Watermarks>, LogError> {
            self.0.watermarks(topic)
        }

        fn append(&self, records: &[NewRecord]) -> Result<Vec<(TopicPartition, Offset)>, LogError> {
            self.0.append(records)
        }

        fn reader(&self, from: &[(TopicPartition, Start)]) -> Result<Box<dyn Reader>, LogError> {
            self.0.reader(from)
        }

        fn writer(&self, transactional_id: &str) -> Result<Box<dyn Writer>, LogError> {
            self.0.writer(transactional_id)
        }
    }

    impl Groups for Policy {
        fn committed(
            &self,
            group: &str,
            partitions: &[TopicPartition],
        ) -> Result<BTreeMap<TopicPartition, Offset>, LogError> {
            self.0.committed(group, partitions)
        }

        fn join(&self, options: &MemberOptions) -> Result<Box<dyn Member>, LogError> {
            self.0.join(options)
        }
    }

    #[test]
    fn a_topic_is_created_as_large_as_a_policy_allows() {
        let folder = tempfile::tempdir().unwrap();
        let log = Policy(EmbeddedLog::open(folder.path(), EmbeddedOptions::default()).unwrap());
        let spec = |name: &str, options: &[(&str, &str)]| TopicSpec {
            name: name.to_owned(),
            partitions: 1,
            replication: None,
            options: options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        };
        create(&log, &[spec("letters", &[(SIZE, "16777216"), ("retention.ms", "-1")])]).unwrap();
        let limits = log.0.limits("letters").unwrap();
        assert_eq!(limits.batch_bytes_max, Some(1_048_588));
        // Otherwise the message names the requested options.
        let refused = create(&log, &[spec("odd", &[(SIZE, "16777216"), ("cleanup.policy", "odd")])]).unwrap_err();
        let told = refused.to_string();
        assert!(told.contains("`odd`") && told.contains("Policy violation") && told.contains("cleanup.policy = odd"));
    }
}
