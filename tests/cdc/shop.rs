//! The app with the template's component and one that looks up reference data, and what they have made of the tables.

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

/// The longest time of any wait here.
const TIME_MAX: Duration = Duration::from_secs(120);
/// The number of partitions in the template's `heddle.toml`.
const PARTITIONS: i32 = 4;
/// The table that is looked up. Its topic has to be compacted.
const REFERENCE: &str = "currencies";
/// The component that looks it up, beside the template's.
const NAMED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/cdc/named");

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
            let (name, mut options) = (format!("shop.public.{table}"), BTreeMap::new());
            if *table == REFERENCE {
                options.insert("cleanup.policy".to_owned(), "compact".to_owned());
            }
            log.create_topic(&TopicSpec { name, partitions: PARTITIONS, replication: None, options }).unwrap();
        }
    }

    /// Runs a host, and kills it `after` it has committed something; returns true if it had. A host that has nothing to
    /// do is killed, too.
    pub(super) fn life(&self, after: Duration) -> bool {
        let mut host = self.host(&[("HEDDLE_COMMIT_RECORDS", "7"), ("HEDDLE_COMMIT_INTERVAL", "20ms")]);
        let (address, deadline) = (self.app.data.path().join("admin-address"), Instant::now() + TIME_MAX);
        while !address.exists() {
            assert!(Instant::now() < deadline, "the host does not start");
            assert_eq!(host.0.try_wait().unwrap(), None, "the host runs until it is killed");
            std::thread::sleep(Duration::from_millis(5));
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut committed = false;
        while !committed && Instant::now() < deadline {
            assert_eq!(host.0.try_wait().unwrap(), None, "the host runs until it is killed");
            committed = self.app.committed_records() > 0;
        }
        std::thread::sleep(after);
        host.0.kill().unwrap();
        host.0.wait().unwrap();
        let _ = fs::remove_file(address);
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
        for counts in done.lines() {
            assert_eq!(serde_json::from_str::<Value>(counts).unwrap()["failed"], 0, "{done}");
        }
        assert_eq!(self.rows("orders.joined"), expected.joined);
        assert_eq!(self.rows("orders.named"), expected.named);
        let host = self.host(&[]);
        assert_eq!(self.store("orders"), expected.orders);
        assert_eq!(self.store("customers"), expected.customers);
        drop(host);
    }

    /// A read model: the topic's last value of each key.
    fn rows(&self, topic: &str) -> BTreeMap<String, Value> {
        let mut rows = BTreeMap::new();
        for line in self.app.ok(&["consume", topic, "--json"]).lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            let key = record["key"].as_str().unwrap().to_owned();
            match record["value"].clone() {
                Value::Null => drop(rows.remove(&key)),
                row => drop(rows.insert(key, row)),
            }
        }
        rows
    }

    /// The entries of a store of the running host, without the positions of rows.
    fn store(&self, name: &str) -> BTreeMap<String, Value> {
        let deadline = Instant::now() + TIME_MAX;
        loop {
            let output = self.app.run(&["state", "list", "join", name, "--limit", "10000", "--json"]);
            if output.status.success() {
                let text = String::from_utf8(output.stdout).unwrap();
                return text.lines().map(entry).collect();
            }
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(Instant::now() < deadline, "the host does not show the store {name}: {told}");
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
    add_named(&cache, &app);
    let files = ["join/component.toml", "join/join.wasm", "named/component.toml", "named/named.wasm"];
    let files = files.map(|file| format!("components/{file}"));
    let contracts = fs::read_dir(app.join("contracts"))
        .unwrap()
        .map(|file| PathBuf::from("contracts").join(file.unwrap().file_name()));
    for file in files.into_iter().chain(["heddle.toml".to_owned()]).map(PathBuf::from).chain(contracts) {
        fs::create_dir_all(to.join(&file).parent().unwrap()).unwrap();
        fs::copy(app.join(&file), to.join(&file)).unwrap();
    }
}

/// Adds the component that looks up the currencies.
fn add_named(folder: &Path, app: &Path) {
    let (from, component) = (Path::new(NAMED), app.join("components/named"));
    for file in fs::read_dir(from.join("contracts")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), app.join("contracts").join(file.file_name())).unwrap();
    }
    let topics = ["--consumes", "orders.joined", "--emits", "orders.named", "--app", "shop"];
    heddle(folder, &[&["new", "named", "--lang", "rust"][..], &topics].concat());
    fs::copy(from.join("component.toml"), component.join("component.toml")).unwrap();
    fs::copy(from.join("lib.rs"), component.join("src/lib.rs")).unwrap();
    heddle(folder, &["build", "named", "--app", "shop"]);
}

fn heddle(folder: &Path, arguments: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_heddle")).args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
