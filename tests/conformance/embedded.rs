//! The suite on the embedded log, with a new folder for each case.

use std::sync::{Arc, Mutex};

use heddle::log::embedded::{EmbeddedLog, EmbeddedOptions};
use heddle::log::{Log, LogError};
use heddle_core::event::{Offset, Timestamp, TopicPartition};
use tempfile::TempDir;

use crate::conformance::harness::{Harness, RETENTION_MILLIS, contents, options, record, spec, texts};

struct Embedded {
    log: Mutex<Option<Arc<EmbeddedLog>>>,
    folder: TempDir,
}

impl Embedded {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = Mutex::new(Some(Arc::new(open(&folder))));
        Self { log, folder }
    }
}

fn open(folder: &TempDir) -> EmbeddedLog {
    EmbeddedLog::open(folder.path(), EmbeddedOptions::default()).unwrap()
}

impl Harness for Embedded {
    fn log(&self) -> Arc<dyn Log> {
        self.log.lock().unwrap().clone().unwrap()
    }

    fn reopen(&self) -> Arc<dyn Log> {
        let mut log = self.log.lock().unwrap();
        *log = None;
        let opened = Arc::new(open(&self.folder));
        *log = Some(opened.clone());
        opened
    }

    fn writes_early(&self) -> bool {
        false
    }

    fn commits_take_a_while(&self) -> bool {
        false
    }

    fn trim(&self, source: &TopicPartition, before: Offset) {
        let log = self.log.lock().unwrap().clone().unwrap();
        log.maintain(Timestamp(RETENTION_MILLIS + before.0 * 1_000 + 500)).unwrap();
        assert_eq!(log.watermarks(&source.topic).unwrap()[0].low, before);
    }

    fn fresh_name(&self, base: &str) -> String {
        base.to_owned()
    }
}

crate::conformance::conformance!(Embedded::new());

#[test]
fn a_folder_has_one_owner() {
    let harness = Embedded::new();
    let Err(LogError::Unreachable(message)) = EmbeddedLog::open(harness.folder.path(), EmbeddedOptions::default())
    else {
        panic!("opened twice");
    };
    assert!(message.contains("owned by another process"), "{message}");
}

#[test]
fn options_that_would_be_ignored_are_refused() {
    let harness = Embedded::new();
    for (name, value) in [("segment.bytes", "1000"), ("cleanup.policy", "keep"), ("retention.ms", "-2")] {
        let mut spec = spec("t", 1);
        spec.options.insert(name.to_owned(), value.to_owned());
        let Err(LogError::Invalid(message)) = harness.log().create_topic(&spec) else { panic!("{name} was taken") };
        assert!(message.contains(name), "{message}");
    }
    for name in ["", "..", "a b", "ö", &"x".repeat(250)] {
        let refused = harness.log().create_topic(&spec(name, 1));
        assert!(matches!(refused, Err(LogError::Invalid(_))), "{name}");
    }
}

#[test]
fn a_topic_with_consumers_is_not_deleted_but_one_with_writers_is() {
    let harness = Embedded::new();
    let log = harness.log();
    for name in ["input", "output"] {
        log.create_topic(&spec(name, 1)).unwrap();
    }
    let mut member = log.join(&options("group", &["input"], "worker")).unwrap();
    let refused = log.delete_topic("input").unwrap_err();
    assert!(matches!(&refused, LogError::Invalid(why) if why.contains("`group`")), "{refused}");
    member.send(record("output", "key", "lost")).unwrap();
    log.delete_topic("output").unwrap();
    log.create_topic(&spec("output", 1)).unwrap();
    // The commit was meant for an earlier topic of this name.
    let failed = member.commit(&[]).unwrap_err();
    assert!(matches!(failed, LogError::Abort(_)), "{failed}");
    member.abort().unwrap();
    member.send(record("output", "key", "again")).unwrap();
    member.commit(&[]).unwrap();
    assert_eq!(texts(&contents(&*log, "output")), ["again"]);
    member.leave().unwrap();
    log.delete_topic("input").unwrap();
}

/// Answers to other processes are those of the running host's log.
#[test]
fn a_remote_log_gives_the_same_answers() {
    let harness = Embedded::new();
    let log = harness.log();
    log.create_topic(&spec("t", 2)).unwrap();
    log.append(&[record("t", "key", "value")]).unwrap();
    let registry = heddle::registry::Embedded::open(&harness.folder.path().join("registry")).unwrap();
    let listening = heddle::admin::listen(([127, 0, 0, 1], 0).into(), heddle::admin::Access::default()).unwrap();
    let address = listening.address();
    heddle::admin::serve(listening, log.clone(), &registry, vec![], None, None).unwrap();
    let remote = heddle::admin::Remote::find(&address.to_string()).unwrap();
    assert_eq!(remote.watermarks("t").unwrap(), log.watermarks("t").unwrap());
    assert_eq!(remote.watermarks("t").unwrap().iter().map(|mark| mark.end.0).sum::<i64>(), 1);
    assert_eq!(remote.topic_id("t").unwrap(), log.topic_id("t").unwrap());
    remote.delete_topic("t").unwrap();
    for failed in [remote.topic_id("t").unwrap_err(), remote.delete_topic("t").unwrap_err()] {
        assert!(matches!(&failed, LogError::UnknownTopic(topic) if topic == "t"), "{failed}");
    }
    assert_eq!(log.topics().unwrap(), []);
}

/// Writes 100 000 records in transactions of 50 over two partitions, and reads all of them back.
#[test]
fn many_small_transactions_are_read_back() {
    let harness = Embedded::new();
    let log = harness.log();
    log.create_topic(&spec("t", 2)).unwrap();
    let mut member = log.join(&options("g", &["t"], "m")).unwrap();
    for transaction in 0..2_000 {
        for number in 0..50 {
            member.send(record("t", &format!("{transaction}/{number}"), &"x".repeat(100))).unwrap();
        }
        member.commit(&[]).unwrap();
    }
    assert_eq!(contents(&*log, "t").len(), 100_000);
}
