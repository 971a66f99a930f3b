//! The suite on the embedded log: a folder of its own for each case.

use std::sync::{Arc, Mutex};

use heddle::log::embedded::{EmbeddedLog, EmbeddedOptions};
use heddle::log::{Log, LogError};
use tempfile::TempDir;

use crate::harness::Harness;

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

    fn fresh_name(&self, base: &str) -> String {
        base.to_owned()
    }
}

crate::conformance!(Embedded::new());

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
        let mut spec = crate::harness::spec("t", 1);
        spec.options.insert(name.to_owned(), value.to_owned());
        let Err(LogError::Invalid(message)) = harness.log().create_topic(&spec) else { panic!("{name} was taken") };
        assert!(message.contains(name), "{message}");
    }
    for name in ["", "..", "a b", "ö", &"x".repeat(250)] {
        let refused = harness.log().create_topic(&crate::harness::spec(name, 1));
        assert!(matches!(refused, Err(LogError::Invalid(_))), "{name}");
    }
}

/// 100 000 records in transactions of 50 over two partitions, and all of them read back: seconds, not minutes.
#[test]
fn small_transactions_are_fast_enough() {
    let harness = Embedded::new();
    let log = harness.log();
    log.create_topic(&crate::harness::spec("t", 2)).unwrap();
    let began = std::time::Instant::now();
    let mut member = log.join(&crate::harness::options("g", &["t"], "m")).unwrap();
    for transaction in 0..2_000 {
        for number in 0..50 {
            member.send(crate::harness::record("t", &format!("{transaction}/{number}"), &"x".repeat(100))).unwrap();
        }
        member.commit(&[]).unwrap();
    }
    let wrote = began.elapsed();
    let count = crate::harness::contents(&*log, "t").len();
    println!("wrote in {wrote:?}, read in {:?}", began.elapsed() - wrote);
    assert_eq!(count, 100_000);
    assert!(began.elapsed() < std::time::Duration::from_secs(60), "{:?}", began.elapsed());
}
