//! A host process and its reports.

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use heddle::registry::Registry as _;
use heddle_contract::format::avro::{Schema, json, parse};
use heddle_core::event::{Header, NewRecord, Partition, Record, Timestamp};
use serde_json::{Value, json};

use crate::support::app::App;

/// A host that runs until it is killed or stopped.
pub(crate) struct Host {
    process: Child,
    /// The file of its log.
    told: PathBuf,
}

impl Host {
    pub(crate) fn start(app: &App) -> Self {
        Self::start_with(app, &[])
    }

    /// Starts a host with these variables.
    pub(crate) fn start_with(app: &App, variables: &[(&str, &str)]) -> Self {
        let file = app.data.path().join("admin-address");
        let _ = std::fs::remove_file(&file);
        let told_file = app.data.path().join("told");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&told_file).unwrap();
        let mut run = app.command(&["run"]);
        // Small transactions, so that kills and failures affect many of them.
        run.env("HEDDLE_COMMIT_INTERVAL", "20ms").env("HEDDLE_TRACE", "heddle=info,error");
        run.envs(variables.iter().copied());
        let process = run.stdout(Stdio::null()).stderr(Stdio::from(log)).spawn().unwrap();
        let mut host = Self { process, told: told_file };
        until("the host listens", || {
            assert_eq!(host.process.try_wait().unwrap(), None, "{}", told(app));
            file.exists()
        });
        host
    }

    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    pub(crate) fn stop(mut self) {
        assert!(heddle_fixtures::terminate(&mut self.process).success());
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the host wrote:\n{}", std::fs::read_to_string(&self.told).unwrap_or_default());
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Everything that the app's hosts have written to standard error.
pub(crate) fn told(app: &App) -> String {
    std::fs::read_to_string(app.data.path().join("told")).unwrap_or_default()
}

pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(180);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The status of a component, or null if no host answers.
pub(crate) fn status(app: &App, component: &str) -> Value {
    let output = app.run(&["status", "--json"]);
    let lines = String::from_utf8(output.stdout).unwrap();
    let mut all = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.find(|status| status["component"] == component).unwrap_or_default()
}

/// The number of input records that are finished: handled, dead-lettered or skipped.
pub(crate) fn ended(status: &Value) -> u64 {
    ["handled", "failed", "duplicates"].iter().filter_map(|name| status[name].as_u64()).sum()
}

/// Encodes scripts as values of the topic `in`.
pub(crate) struct Scripts {
    schema: Schema,
    id: u32,
}

impl Scripts {
    /// Registers the app's schemas by running it once, which also creates its topics.
    pub(crate) fn of(app: &App) -> Self {
        app.ok(&["run", "--until-idle"]);
        let registry = app.own_registry();
        let latest = registry.latest("in-value").unwrap().unwrap();
        Self { schema: parse("in", &latest.schema).unwrap(), id: latest.id.0 }
    }

    pub(crate) fn value(&self, what: &str, times: i64) -> Vec<u8> {
        let everything: Value = serde_json::from_str(r#"{"flag":true,"int":1,"long":1,"float":1.5,"double":1.5,"string":"s","bytes":"","fixed":"abcd","colour":"RED","list":[],"map":{},"choice":null,"price":"1.00"}"#).unwrap();
        let mut bytes = [[0].as_slice(), &self.id.to_be_bytes()].concat();
        json::encode(&self.schema, &json!({"do": what, "times": times, "everything": everything}), &mut bytes).unwrap();
        bytes
    }

    pub(crate) fn record(&self, partition: i32, key: &str, what: &str, times: i64) -> NewRecord {
        input(partition, key, Some(self.value(what, times)))
    }
}

pub(crate) fn input(partition: i32, key: &str, value: Option<Vec<u8>>) -> NewRecord {
    NewRecord {
        topic: "in".into(),
        partition: Some(Partition(partition)),
        timestamp: Some(Timestamp(heddle::log::now().0 - 5_000)),
        key: Some(Bytes::from(key.to_owned())),
        value: value.map(Bytes::from),
        headers: vec![
            Header::new("twice", "1"),
            Header { name: "null".into(), value: None },
            Header::new("twice", "2"),
        ],
    }
}

/// The output of the component, in the order of each partition: the key and the result of the script.
pub(crate) fn outcomes(app: &App) -> Vec<(String, String)> {
    let lines = app.ok(&["consume", "out", "--json"]);
    let one = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        (line["key"].as_str().unwrap_or_default().to_owned(), line["value"]["did"].as_str().unwrap().to_owned())
    };
    lines.lines().map(one).collect()
}

pub(crate) fn header(record: &Record, name: &str) -> String {
    let header = record.headers.iter().find(|header| header.name == name);
    let value = header.and_then(|header| header.value.clone()).unwrap_or_default();
    String::from_utf8(value.to_vec()).unwrap()
}
