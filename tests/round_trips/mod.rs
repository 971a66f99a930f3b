//! The output of `heddle consume --json` goes back in through `heddle produce --json` as the same record.
//!
//! Key, value, headers and time are the same, whatever they contain, on both logs, as a user types it.

mod keys;
mod lines;

use std::path::PathBuf;
use std::process::{Output, Stdio};

use heddle::log::TopicSpec;
use heddle_core::event::{Header, NewRecord, Partition, Record, Timestamp};
use heddle_fixtures::kafka::{Kafka, shared};

use crate::support::app::App;

#[allow(dead_code)] // changed schemas are for other tests
#[path = "../../host/contract/tests/generate/mod.rs"]
mod generate;

/// An app without components in a separate folder.
pub(crate) struct Bare {
    pub(crate) app: App,
    /// The prefix of its topics, because tests share a broker.
    prefix: &'static str,
    _folder: tempfile::TempDir,
}

impl Bare {
    fn new(prefix: &'static str, broker: Option<&Kafka>, contracts: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let toml = format!("[app]\nname = \"{prefix}\"\ncomponents = []\n");
        std::fs::write(folder.path().join("heddle.toml"), toml).unwrap();
        std::fs::create_dir(folder.path().join("contracts")).unwrap();
        for (subject, schema) in contracts {
            let file = folder.path().join("contracts").join(format!("{prefix}.{subject}.avsc"));
            std::fs::write(file, schema).unwrap();
        }
        let (bootstrap, data) = (broker.map(Kafka::bootstrap), tempfile::tempdir().unwrap());
        let app = App { folder: PathBuf::from(folder.path()), data, bootstrap, registry: None };
        Self { app, prefix, _folder: folder }
    }

    fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    fn create(&self, name: &str, partitions: i32) {
        // Some records are older than the broker's default retention.
        let options = [("retention.ms".to_owned(), "-1".to_owned())].into();
        let spec = TopicSpec { name: self.topic(name), partitions, replication: None, options };
        self.app.log().create_topic(&spec).unwrap();
    }

    fn append(&self, records: &[NewRecord]) {
        self.app.log().append(records).unwrap();
    }

    /// Runs a command with these lines on its standard input.
    fn fed(&self, arguments: &[&str], lines: &str) -> Output {
        let file = self.app.data.path().join("lines");
        std::fs::write(&file, lines).unwrap();
        self.app.command(arguments).stdin(std::fs::File::open(file).unwrap()).output().unwrap()
    }

    fn produce(&self, name: &str, arguments: &[&str], lines: &str) {
        let output = self.fed(&[&["produce", &self.topic(name)], arguments].concat(), lines);
        assert!(output.status.success(), "{lines}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The error output for lines that the command must refuse.
    fn refused(&self, name: &str, arguments: &[&str], lines: &str) -> String {
        let output = self.fed(&[&["produce", &self.topic(name)], arguments].concat(), lines);
        assert!(!output.status.success(), "{lines} was written");
        String::from_utf8(output.stderr).unwrap()
    }

    fn consume(&self, name: &str, arguments: &[&str]) -> Vec<String> {
        let output = self.app.ok(&[&["consume", &self.topic(name)], arguments].concat());
        output.lines().map(str::to_owned).collect()
    }

    fn records(&self, name: &str) -> Vec<Record> {
        self.app.records(&self.topic(name)).into_values().flatten().collect()
    }

    /// `heddle consume <from> --json | heddle produce <to> --json`
    fn pipe(&self, from: &str, to: &Self, name: &str) {
        let mut consume = self.app.command(&["consume", &self.topic(from), "--json"]);
        let mut consume = consume.stdout(Stdio::piped()).spawn().unwrap();
        let lines = consume.stdout.take().unwrap();
        let mut produce = to.app.command(&["produce", &to.topic(name), "--json", "--keep-partitions"]);
        let output = produce.stdin(lines).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(consume.wait().unwrap().success());
    }
}

/// A record without headers and timestamp.
fn record(topic: &str, key: Option<&[u8]>, value: Option<&[u8]>) -> NewRecord {
    let bytes = |bytes: Option<&[u8]>| bytes.map(|bytes| bytes.to_vec().into());
    NewRecord {
        topic: topic.into(),
        partition: Some(Partition(0)),
        timestamp: None,
        key: bytes(key),
        value: bytes(value),
        headers: vec![],
    }
}

/// The parts of a record that must come back.
type Content = (i32, Option<Vec<u8>>, Option<Vec<u8>>, Vec<Header>, Timestamp);

fn contents(records: &[Record]) -> Vec<Content> {
    let bytes = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map(|bytes| bytes.to_vec());
    let content = |record: &Record| {
        let Record { source, key, value, headers, timestamp, .. } = record;
        (source.partition.0, bytes(key), bytes(value), headers.clone(), *timestamp)
    };
    records.iter().map(content).collect()
}

fn on_kafka(prefix: &'static str, contracts: &[(&str, &str)]) -> Bare {
    Bare::new(prefix, Some(shared()), contracts)
}
