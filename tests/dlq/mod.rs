//! Dead letters for operators: which records are dead-lettered, and how to inspect, replay and discard them.

mod host;
mod kinds;
mod looking;
mod orders;
mod replay;
mod told;

use std::time::{Duration, Instant};

use crate::support::app::App;
use heddle_core::event::{Header, Record};
use serde_json::Value;

pub(crate) const LETTERS: &str = "guests.scripted.dlq";

pub(crate) fn header(headers: &[Header], name: &str) -> Option<String> {
    let header = headers.iter().find(|header| header.name == name)?;
    Some(String::from_utf8(header.value.clone()?.to_vec()).unwrap())
}

pub(crate) fn all(app: &App, topic: &str) -> Vec<Record> {
    app.records(topic).into_values().flatten().collect()
}

/// Runs the app until it has handled `records` records. Returns the numbers of dead-lettered and skipped records.
///
/// A busy broker can look idle, so this may take several runs.
pub(crate) fn run(app: &App, records: u64) -> (u64, u64) {
    let (mut handled, mut failed, mut duplicates) = (0, 0, 0);
    let deadline = Instant::now() + Duration::from_secs(120);
    while handled < records {
        assert!(Instant::now() < deadline, "{handled} of {records} records were handled");
        let counts: Value = serde_json::from_str(&app.ok(&["run", "--until-idle", "--json"])).unwrap();
        let count = |name: &str| counts[name].as_u64().unwrap();
        handled += count("in");
        failed += count("failed");
        duplicates += count("duplicates");
    }
    assert_eq!(handled, records);
    (failed, duplicates)
}
