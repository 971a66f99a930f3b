//! The app with the template's component, and what it has made of the tables.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use heddle::build::cache_folder;
use heddle::log::TopicSpec;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::app::App;

use super::workload::Expected;

/// How long anything here may take.
const TIME_MAX: Duration = Duration::from_secs(120);
/// What `heddle.toml` of the template says.
const PARTITIONS: i32 = 4;

/// The app, with a log and a registry.
pub(super) struct Shop {
    pub(super) app: App,
    _folder: TempDir,
}

impl Shop {
    pub(super) fn new(bootstrap: Option<String>, registry: String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let app = folder.path().join("shop");
        copy_built(&app);
        let data = tempfile::tempdir().unwrap();
        Self { app: App { folder: app, data, bootstrap, registry: Some(registry) }, _folder: folder }
    }

    /// Makes the topics of Debezium, as Connect does.
    pub(super) fn create_topics(&self, tables: &[&str]) {
        let log = self.app.log();
        for table in tables {
            let (name, options) = (format!("shop.public.{table}"), BTreeMap::new());
            log.create_topic(&TopicSpec { name, partitions: PARTITIONS, replication: None, options }).unwrap();
        }
    }

    /// Runs a host, and kills it `after` it has committed something; returns true if it had. A host that has nothing to
    /// do is killed, too.
    pub(super) fn life(&self, after: Duration) -> bool {
        let mut host = self.host(&[("HEDDLE_COMMIT_RECORDS", "7"), ("HEDDLE_COMMIT_INTERVAL", "20ms")]);
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut committed = false;
        while !committed && Instant::now() < deadline {
            assert_eq!(host.0.try_wait().unwrap(), None, "the host runs until it is killed");
            committed = self.app.committed_records() > 0;
        }
        std::thread::sleep(after);
        host.0.kill().unwrap();
        host.0.wait().unwrap();
        let _ = fs::remove_file(self.app.data.path().join("admin-address"));
        committed
    }

    fn host(&self, settings: &[(&str, &str)]) -> Host {
        let mut command = self.app.command(&["run"]);
        command.envs(settings.iter().copied()).stdout(Stdio::null()).stderr(Stdio::null());
        Host(command.spawn().unwrap())
    }

    /// Handles what is left, and compares all that the component has made with what the tables say.
    pub(super) fn assert_equals(&self, expected: &Expected) {
        let done = self.app.ok(&["run", "--until-idle", "--json"]);
        let counts: Value = serde_json::from_str(&done).unwrap();
        assert_eq!(counts["failed"], 0, "{done}");
        assert_eq!(self.joined(), expected.joined);
        let host = self.host(&[]);
        assert_eq!(self.store("orders"), expected.orders);
        assert_eq!(self.store("customers"), expected.customers);
        drop(host);
    }

    /// The read model: the topic's last value of each key.
    fn joined(&self) -> BTreeMap<String, Value> {
        let mut rows = BTreeMap::new();
        for line in self.app.ok(&["consume", "orders.joined", "--json"]).lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            let key = record["key"].as_str().unwrap().to_owned();
            match record["value"].clone() {
                Value::Null => drop(rows.remove(&key)),
                row => drop(rows.insert(key, row)),
            }
        }
        rows
    }

    /// What a store of the running host holds, without the positions of rows.
    fn store(&self, name: &str) -> BTreeMap<String, Value> {
        let deadline = Instant::now() + TIME_MAX;
        loop {
            let output = self.app.run(&["state", "list", "join", name, "--limit", "10000", "--json"]);
            if output.status.success() {
                let text = String::from_utf8(output.stdout).unwrap();
                return text.lines().map(entry).collect();
            }
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(Instant::now() < deadline, "the host does not tell the store {name}: {told}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn entry(line: &str) -> (String, Value) {
    let mut entry: Value = serde_json::from_str(line).unwrap();
    let key = entry["key"].as_str().unwrap().to_owned();
    let mut value = entry["value"].take();
    value.as_object_mut().unwrap().remove("lsn");
    (key, value)
}

/// A host that runs until it is dropped.
struct Host(Child);

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Builds what the template makes, in the cache, and copies what a host needs of it.
fn copy_built(to: &Path) {
    let cache = cache_folder().join("template-debezium");
    fs::create_dir_all(&cache).unwrap();
    let lock = File::create(cache.join("lock")).unwrap();
    lock.lock().unwrap();
    let app = cache.join("shop");
    let _ = fs::remove_dir_all(&app);
    heddle(&cache, &["new", "--app", "shop"]);
    heddle(&cache, &["new", "join", "--lang", "rust", "--template", "debezium", "--app", "shop"]);
    heddle(&cache, &["build", "join", "--app", "shop"]);
    let files = ["heddle.toml", "components/join/component.toml", "components/join/join.wasm"];
    let contracts = fs::read_dir(app.join("contracts"))
        .unwrap()
        .map(|file| PathBuf::from("contracts").join(file.unwrap().file_name()));
    for file in files.into_iter().map(PathBuf::from).chain(contracts) {
        fs::create_dir_all(to.join(&file).parent().unwrap()).unwrap();
        fs::copy(app.join(&file), to.join(&file)).unwrap();
    }
}

fn heddle(folder: &Path, arguments: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_heddle")).args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
