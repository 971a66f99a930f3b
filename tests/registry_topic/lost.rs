//! Data that is lost, moved or foreign, as a user sees it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use heddle::log::TopicSpec;
use heddle::registry::{Embedded, Registry as _, SchemaId};
use heddle_fixtures::kafka;

use super::{in_topic, kafka_log, record, schema};

/// An app with schemas and no components.
struct App {
    folder: tempfile::TempDir,
    topic: String,
}

impl App {
    fn new(topic: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("heddle.toml"), format!("[app]\nname = \"lost\"\n[topics.\"{topic}.b\"]\n"))
            .unwrap();
        std::fs::create_dir(folder.path().join("contracts")).unwrap();
        Self { folder, topic: topic.to_owned() }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn data(&self) -> PathBuf {
        self.path().join(".heddle")
    }

    /// Writes one subject for each of these names.
    fn schemas(&self, names: &[&str]) {
        for name in names {
            let file = format!("contracts/{}.{}-value.avsc", self.topic, name.to_lowercase());
            std::fs::write(self.path().join(file), record(name, &["of"]).to_string()).unwrap();
        }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_heddle"));
        command.args(arguments).arg("--app").arg(self.path());
        command.env("HEDDLE_LOG_BOOTSTRAP", kafka::shared().bootstrap()).env("HEDDLE_REGISTRY_TOPIC", &self.topic);
        command.output().unwrap()
    }

    fn ok(&self, arguments: &[&str]) -> (String, String) {
        let Output { status, stdout, stderr } = self.run(arguments);
        let told = String::from_utf8(stderr).unwrap();
        assert!(status.success(), "{arguments:?}: {told}");
        (String::from_utf8(stdout).unwrap(), told)
    }

    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Registers all schemas. Returns the ids by the names of the schemas, and the error output.
    fn register(&self) -> (BTreeMap<String, u64>, String) {
        let (lines, told) = self.ok(&["schema", "register", "--json"]);
        let ids = lines.lines().map(|line| {
            let line = serde_json::from_str::<serde_json::Value>(line).unwrap();
            let name = line["subject"].as_str().unwrap().trim_start_matches(&*self.topic).trim_end_matches("-value");
            (name.trim_start_matches('.').to_uppercase(), line["id"].as_u64().unwrap())
        });
        (ids.collect(), told)
    }
}

fn ids(expected: &[(&str, u64)]) -> BTreeMap<String, u64> {
    expected.iter().map(|(name, id)| ((*name).to_owned(), *id)).collect()
}

#[test]
fn a_lost_folder_changes_no_id_and_old_records_are_read_as_they_were_written() {
    let app = App::new("folder.lost");
    app.schemas(&["C", "D"]);
    assert_eq!(app.register().0, ids(&[("C", 1), ("D", 2)]));
    app.schemas(&["B"]);
    let line = app.path().join("b.jsonl");
    std::fs::write(&line, "{\"of\":\"old\"}\n").unwrap();
    app.ok(&["produce", "folder.lost.b", "--file", line.to_str().unwrap()]);
    std::fs::remove_dir_all(app.data()).unwrap();
    // Another app registers first, in another order.
    let other = App::new("folder.lost");
    other.schemas(&["A", "B", "C", "D"]);
    assert_eq!(other.register().0, ids(&[("A", 4), ("B", 3), ("C", 1), ("D", 2)]));
    assert_eq!(app.register().0, ids(&[("B", 3), ("C", 1), ("D", 2)]));
    assert_eq!(app.ok(&["consume", "folder.lost.b"]).0.trim(), r#"{"of":"old"}"#);
}

#[test]
fn the_folder_of_an_earlier_version_is_moved_into_the_empty_topic_and_never_into_one_that_contradicts_it() {
    let app = App::new("upgraded");
    let before = Embedded::open(&app.data().join("registry")).unwrap();
    for name in ["Z", "B"] {
        let subject = format!("upgraded.{}-value", name.to_lowercase());
        before.register(&subject, &record(name, &["of"]).to_string()).unwrap();
    }
    drop(before);
    app.schemas(&["A", "B"]);
    // A query moves nothing. It is answered from the folder.
    assert!(app.ok(&["schema", "list"]).0.contains("upgraded.z-value"));
    assert!(kafka_log().topics().unwrap().iter().all(|topic| topic.name != "upgraded"));
    let (found, told) = app.register();
    assert_eq!(found, ids(&[("A", 3), ("B", 2)]));
    assert!(told.contains("moved the embedded registry into its topic"), "{told}");
    let (found, told) = app.register();
    assert_eq!((found, told.as_str()), (ids(&[("A", 3), ("B", 2)]), ""));
    // Another host, which has assigned its ids in another order.
    let other = App::new("upgraded");
    let before = Embedded::open(&other.data().join("registry")).unwrap();
    before.register("upgraded.b-value", &record("B", &["of"]).to_string()).unwrap();
    drop(before);
    let told = other.refused(&["schema", "list"]);
    assert!(
        told.starts_with("error: the registry's topic `upgraded` contradicts the embedded registry of this host"),
        "{told}"
    );
    assert!(
        told.contains("the id 1 stands for `{") && told.contains("\n  hint: ") && told.lines().count() == 3,
        "{told}"
    );
    std::fs::remove_dir_all(other.data()).unwrap();
    other.ok(&["schema", "list"]);
}

#[test]
fn a_deleted_topic_is_restored_from_the_copy_and_a_recreated_one_is_refused() {
    let app = App::new("deleted");
    app.schemas(&["B", "C"]);
    assert_eq!(app.register().0, ids(&[("B", 1), ("C", 2)]));
    // A host that runs meanwhile.
    let log = kafka_log();
    let running = in_topic(log.clone(), "deleted").unwrap();
    log.delete_topic("deleted").unwrap();
    app.schemas(&["A"]);
    let (found, told) = app.register();
    assert_eq!(found, ids(&[("A", 3), ("B", 1), ("C", 2)]));
    assert!(told.contains("restored the registry's topic from its copy"), "{told}");
    assert_eq!(running.by_id(SchemaId(3)).unwrap().map(|found| found.text), Some(record("A", &["of"]).to_string()));
    assert_eq!(running.register("deleted.x-value", &schema("X")).unwrap(), SchemaId(4));
    // A host without a copy is faster.
    log.delete_topic("deleted").unwrap();
    in_topic(kafka_log(), "deleted").unwrap().register("deleted.x-value", &schema("X")).unwrap();
    let told = app.refused(&["schema", "register"]);
    assert!(told.contains("contradicts its copy on this host") && told.contains("the id 1 stands for"), "{told}");
    let told = running.register("deleted.y-value", &schema("Y")).unwrap_err().to_string();
    assert!(told.contains("contradicts what this host read from it before"), "{told}");
    assert_eq!(
        running.by_id(SchemaId(1)).unwrap().map(|found| found.text),
        Some(record("B", &["of"]).to_string()),
        "what is known stays known"
    );
    // Without the wrong topic, the copy is valid again and has what the app saw last.
    log.delete_topic("deleted").unwrap();
    assert_eq!(app.register().0, ids(&[("A", 3), ("B", 1), ("C", 2)]));
}

#[test]
fn a_topic_that_would_forget_schemas_is_refused() {
    let log = kafka_log();
    let spec = TopicSpec { name: "forgetful".to_owned(), partitions: 1, replication: None, options: BTreeMap::new() };
    log.create_topic(&spec).unwrap();
    let app = App::new("forgetful");
    app.schemas(&["B"]);
    let told = app.refused(&["schema", "register"]);
    assert!(told.contains("the registry's topic `forgetful` has cleanup.policy=delete"), "{told}");
    assert!(told.contains("--add-config cleanup.policy=compact"), "{told}");
    log.create_topic(&TopicSpec { partitions: 2, ..TopicSpec::compacted("split".to_owned()) }).unwrap();
    let told = in_topic(log, "split").map(drop).unwrap_err().to_string();
    assert!(told.contains("has 2 partitions"), "{told}");
}
