//! Components of the guests, as a user runs them.

use std::path::Path;
use std::process::Command;

use heddle_core::event::{NewRecord, Record};
use serde_json::Value;

use crate::support::app::App;
use crate::support::build;

/// An app with one component of the guests.
pub(crate) struct Shop {
    app: App,
    /// The component in the app.
    path: String,
    input: &'static str,
    contracts: Option<tempfile::TempDir>,
}

impl Shop {
    /// Builds the component, and creates the topics that it reads from and writes to.
    pub(crate) fn of(component: &'static str, topics: [&'static str; 2]) -> Self {
        build::built("guests", &[component]);
        let file = format!("components/{component}/{component}.wasm");
        Self::with(topics, file)
    }

    /// The same, with the component's sources in the app: commands read its manifest.
    pub(crate) fn of_sources(component: &'static str, topics: [&'static str; 2]) -> Self {
        build::built("guests", &[component]);
        Self::with(topics, format!("components/{component}"))
    }

    fn with(topics: [&'static str; 2], path: String) -> Self {
        let shop = Self { app: App::embedded().scripted(), path, input: topics[0], contracts: None };
        for topic in topics {
            shop.run(&["topics", "create", topic]).unwrap();
        }
        shop
    }

    /// The app's schema files from now on, with one of them changed.
    pub(crate) fn change(&mut self, file: &str, from: &str, to: &str) {
        let contracts = self.contracts.get_or_insert_with(|| {
            let folder = tempfile::tempdir().unwrap();
            copy(&self.app.folder.join("contracts"), folder.path());
            folder
        });
        let path = contracts.path().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(path, text.replace(from, to)).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.app.command(arguments);
        command.env("HEDDLE_APP_COMPONENTS", &self.path);
        if let Some(contracts) = &self.contracts {
            command.env("HEDDLE_APP_CONTRACTS", contracts.path());
        }
        command
    }

    /// Runs a command. Returns what it printed, on the error output if it failed.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    /// Writes values to the topic that the component reads, with their `id` as key.
    pub(crate) fn produce(&self, values: &[Value]) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let lines = values.iter().map(|value| format!("{value}\n")).collect::<String>();
        std::fs::write(file.path(), lines).unwrap();
        self.run(&["produce", self.input, "--key", "id", "--file", file.path().to_str().unwrap()]).unwrap();
    }

    /// Handles all available records. Returns the counts.
    pub(crate) fn until_idle(&self) -> Value {
        serde_json::from_str(&self.run(&["run", "--until-idle", "--json"]).unwrap()).unwrap()
    }

    /// Writes records as they are.
    pub(crate) fn append(&self, records: &[NewRecord]) {
        self.app.log().append(records).unwrap();
    }

    /// The values of a topic.
    pub(crate) fn values(&self, topic: &str) -> Vec<Value> {
        let lines = self.run(&["consume", topic]).unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The records of a topic.
    pub(crate) fn records(&self, topic: &str) -> Vec<Record> {
        self.app.records(topic).into_values().flatten().collect()
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}
