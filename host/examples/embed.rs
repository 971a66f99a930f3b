//! Runs a component inside of another program, without `heddle.toml` and without the command line.
//!
//! ```text
//! cargo run --example embed -- <folder for data> <component.wasm>
//! ```

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use heddle::deploy::{File, Fitter};
use heddle::guest::{Component, Engine, Schemas};
use heddle::host::{Config, Host, Parts};
use heddle::log::embedded::{EmbeddedLog, EmbeddedOptions};
use heddle::log::{Log, TopicSpec};
use heddle::registry::{Cached, Embedded, Registry};
use heddle::runtime::{CommitPolicy, Slot};
use heddle::shutdown::Shutdown;
use heddle::state::{Bounds, EngineKind, HostState, open_engine};
use heddle::tables::Tables;
use heddle::telemetry::Telemetry;
use heddle_contract::manifest::app::Register;
use heddle_contract::manifest::component::Wires;

/// The memory for the cache of a state engine, in bytes.
const CACHE_BYTES: u64 = 64 << 20;

/// The settings of the host.
pub(crate) fn config() -> Config {
    Config {
        app: "shop".to_owned(),
        host: "one".to_owned(),
        commit: CommitPolicy { interval: Duration::from_millis(100), records_max: 10_000 },
        workers: 1,
    }
}

/// Opens all that a host runs on, in one folder, and loads a component.
pub(crate) fn parts(folder: &Path, name: &str, wasm: Vec<u8>) -> Result<Parts, Box<dyn Error>> {
    // The embedded log needs no broker. `KafkaLog::connect` opens the other one.
    let log: Arc<dyn Log> = Arc::new(EmbeddedLog::open(&folder.join("log"), EmbeddedOptions::default())?);
    let registry: Arc<dyn Registry> = Arc::new(Embedded::open(&folder.join("registry"))?);
    let schemas: Arc<dyn Schemas> = Arc::new(Cached::new(registry.clone()));
    let engine = open_engine(EngineKind::Sled, &folder.join("state"), CACHE_BYTES)?;
    let state = Arc::new(HostState::start(engine, Bounds::default())?);
    let of_tables = folder.join("tables");
    let open = move || open_engine(EngineKind::Sled, &of_tables, CACHE_BYTES);
    let tables = Arc::new(Tables::new(log.clone(), open));

    create_topics(log.as_ref(), name, &wasm)?;
    let fitter = Fitter {
        app: config().app,
        wires: Wires::default(),
        engine: Engine::start(None)?,
        log: log.clone(),
        registry: registry.clone(),
        schemas: schemas.clone(),
        register: Register::Auto,
        tables: tables.clone(),
        workers: config().workers,
        registry_topic: None,
        known: Mutex::default(),
    };
    // Checks the component, registers its schemas and creates its internal topics.
    let versions = fitter.first(vec![File { name: name.to_owned(), wasm: wasm.into() }])?;
    let components = versions.into_iter().map(|(name, version)| (name, Arc::new(Slot::new(version)))).collect();
    let telemetry = Telemetry::new(config().app);
    Ok(Parts { log, registry, schemas, state, tables, components, telemetry })
}

/// Creates the topics that a component consumes and emits to.
fn create_topics(log: &dyn Log, name: &str, wasm: &[u8]) -> Result<(), Box<dyn Error>> {
    let (_, manifest) = Component::contract(name, wasm)?;
    let there = log.topics()?;
    let topics = manifest.consumes.keys().chain(manifest.emits.keys());
    for topic in topics.filter(|topic| there.iter().all(|info| info.name != **topic)) {
        let options = Default::default();
        log.create_topic(&TopicSpec { name: topic.clone(), partitions: 1, replication: None, options })?;
    }
    Ok(())
}

/// Runs the host until nothing is left to do.
pub(crate) fn run(parts: Parts) -> Result<(), Box<dyn Error>> {
    let host = Host::start(config(), parts, Shutdown::default())?;
    while !host.is_over() && !host.idle_for(Duration::from_secs(1)) {
        std::thread::sleep(Duration::from_millis(100));
    }
    for component in host.components() {
        let counts = component.progress.snapshot().counts;
        println!("{}: {} records in, {} out", component.name, counts.records, counts.emitted);
    }
    Ok(host.stop()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let paths = std::env::args().skip(1).map(PathBuf::from).collect::<Vec<_>>();
    let [folder, component] = paths.as_slice() else { return Err("usage: embed <folder> <component.wasm>".into()) };
    run(parts(folder, &component.display().to_string(), std::fs::read(component)?)?)
}
