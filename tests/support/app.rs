//! An app for the tests of the command line.
use crate::support::build;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use heddle::log::embedded::{EmbeddedLog, EmbeddedOptions};
use heddle::log::kafka::KafkaLog;
use heddle::log::{Log, Start};
use heddle::registry::Embedded;
use heddle::registry_topic::{self, Place};
use heddle_core::event::{Record, TopicPartition};
use heddle_fixtures::kafka::Kafka;
use serde_json::Value;

pub(crate) fn quickstart() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart")
}

/// An app with a separate data folder, on one of the logs.
pub(crate) struct App {
    pub(crate) folder: PathBuf,
    pub(crate) data: tempfile::TempDir,
    pub(crate) bootstrap: Option<String>,
    pub(crate) registry: Option<String>,
}

impl App {
    pub(crate) fn embedded() -> Self {
        Self { folder: quickstart(), data: tempfile::tempdir().unwrap(), bootstrap: None, registry: None }
    }

    /// Uses the order platform instead of the quickstart.
    pub(crate) fn platform(mut self) -> Self {
        self.folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/order-platform");
        self
    }

    /// Uses the scripted component instead of the quickstart. It does what its input says.
    pub(crate) fn scripted(mut self) -> Self {
        self.folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../guests");
        self
    }

    pub(crate) fn kafka(broker: &Kafka) -> Self {
        Self { bootstrap: Some(broker.bootstrap()), ..Self::embedded() }
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_heddle"));
        command.args(arguments).arg("--app").arg(&self.folder).env("HEDDLE_APP_DATA", self.data.path());
        if self.folder.ends_with("guests") {
            command.env("HEDDLE_APP_COMPONENTS", "components/scripted");
        }
        // Tests run in parallel, so none may take the default port.
        command.env("HEDDLE_ADMIN_LISTEN", "127.0.0.1:0");
        // Tests compare a command's output, and log lines contain times.
        command.env("HEDDLE_TRACE", "error,heddle::alert=info");
        if let Some(bootstrap) = &self.bootstrap {
            command.env("HEDDLE_LOG_BOOTSTRAP", bootstrap);
        }
        if let Some(registry) = &self.registry {
            command.env("HEDDLE_REGISTRY_URL", registry);
        }
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Builds the app's component.
    pub(crate) fn build(&self) {
        let (app, component) = match self.folder.file_name().and_then(|name| name.to_str()) {
            Some("guests") => ("guests", "scripted"),
            Some("order-platform") => ("examples/order-platform", "ledger"),
            _ => ("examples/quickstart", "intake"),
        };
        build::component(app, component);
    }

    pub(crate) fn log(&self) -> Box<dyn Log> {
        match &self.bootstrap {
            Some(bootstrap) => Box::new(KafkaLog::connect(bootstrap, &BTreeMap::new()).unwrap()),
            None => Box::new(EmbeddedLog::open(&self.data.path().join("log"), EmbeddedOptions::default()).unwrap()),
        }
    }

    /// The embedded registry of the app. Usable only while no host runs.
    pub(crate) fn own_registry(&self) -> Embedded {
        match self.bootstrap {
            None => Embedded::open(&self.data.path().join("registry")).unwrap(),
            Some(_) => {
                let topic = "heddle.registry".to_owned();
                registry_topic::open(self.log().into(), Place { topic, copies: None, before: None }).unwrap()
            }
        }
    }

    /// All committed records of a topic, by partition.
    pub(crate) fn records(&self, topic: &str) -> BTreeMap<i32, Vec<Record>> {
        let log = self.log();
        let ends = log.watermarks(topic).unwrap();
        let partitions = ends.iter().map(|end| (TopicPartition::new(topic, end.partition.0), Start::Beginning));
        let mut reader = log.reader(&partitions.collect::<Vec<_>>()).unwrap();
        let mut records = BTreeMap::<i32, Vec<Record>>::new();
        loop {
            for record in reader.poll(Duration::from_millis(200)).unwrap() {
                records.entry(record.source.partition.0).or_default().push(record);
            }
            let positions = reader.positions().unwrap();
            if ends.iter().all(|end| positions[&TopicPartition::new(topic, end.partition.0)] >= end.high) {
                return records;
            }
        }
    }

    /// The number of records that the running host has committed, or 0 if no host answers.
    pub(crate) fn committed_records(&self) -> u64 {
        let output = self.run(&["status", "--json"]);
        let components = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>();
        components.flatten().filter_map(|status| status["in"].as_u64()).sum()
    }

    pub(crate) fn order_ids(&self, topic: &str) -> Vec<String> {
        let lines = self.ok(&["consume", topic]);
        let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["orderId"].as_str().unwrap().to_owned();
        lines.lines().map(id).collect()
    }
}
