//! Watches a version after its deployment, and rolls it back if it fails too often.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use heddle_contract::manifest::DeployPolicy;

use crate::lock::lock;
use crate::runtime::Snapshot;

/// The fewest records for a verdict. With very few records, the failure rate says little.
const RECORDS_MIN: u64 = 20;

/// A version under watch.
pub(super) struct Watch {
    pub(super) digest: String,
    policy: DeployPolicy,
    began: Instant,
    before: Snapshot,
}

/// The verdict on a watched version.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Looked {
    /// Undecided.
    Open,
    /// It was watched long enough.
    Good,
    /// It fails too often; the text has the numbers.
    Fails(String),
}

impl Watch {
    pub(super) fn begin(digest: &str, policy: DeployPolicy, before: Snapshot) -> Self {
        Self { digest: digest.to_owned(), policy, began: Instant::now(), before }
    }

    pub(super) fn look(&self, now: &Snapshot) -> Looked {
        judge(&self.policy, &self.before, now, self.began.elapsed())
    }
}

fn judge(policy: &DeployPolicy, before: &Snapshot, now: &Snapshot, passed: Duration) -> Looked {
    let handled = now.counts.taken().saturating_sub(before.counts.taken());
    let failed = failures(now).saturating_sub(failures(before));
    let exceeds = failed.saturating_mul(10_000) > handled.saturating_mul(policy.failures_max.into());
    if handled >= RECORDS_MIN && exceeds {
        let (percent, seconds) = (failed as f64 * 100.0 / handled as f64, passed.as_secs_f64());
        return Looked::Fails(format!("{failed} of {handled} records failed within {seconds:.1} s ({percent:.1} %)"));
    }
    if passed >= policy.watch { Looked::Good } else { Looked::Open }
}

/// The number of records that were dead-lettered or parked.
fn failures(now: &Snapshot) -> u64 {
    now.counts.dead_lettered + now.counts.retried
}

/// Notes about versions that were refused or rolled back, for the operator.
#[derive(Debug, Default)]
pub struct Notes(Mutex<BTreeMap<String, Note>>);

#[derive(Clone, Debug, Default)]
struct Note {
    rollbacks: u64,
    text: Option<String>,
}

impl Notes {
    /// Sets or removes the current note on a component.
    pub(super) fn set(&self, component: &str, text: Option<String>) {
        lock(&self.0).entry(component.to_owned()).or_default().text = text;
    }

    /// Counts an automatic rollback by this host.
    pub(super) fn rolled_back(&self, component: &str) {
        lock(&self.0).entry(component.to_owned()).or_default().rollbacks += 1;
    }

    /// The current note on a component.
    #[must_use]
    pub fn text(&self, component: &str) -> Option<String> {
        lock(&self.0).get(component)?.text.clone()
    }

    /// The number of this host's automatic rollbacks of the component.
    #[must_use]
    pub fn rollbacks(&self, component: &str) -> u64 {
        lock(&self.0).get(component).map_or(0, |note| note.rollbacks)
    }
}

#[cfg(test)]
mod tests {
    use heddle_core::batch::Counts;

    use super::*;

    #[test]
    fn a_version_is_judged_by_enough_of_its_own_records() {
        let policy = DeployPolicy { watch: Duration::from_secs(60), failures_max: 500 };
        let counts = |records, dead_lettered| Snapshot {
            counts: Counts { records, dead_lettered, ..Counts::default() },
            ..Snapshot::default()
        };
        let before = counts(1_000, 900);
        let judge = |records: u64, failed: u64, seconds| {
            judge(&policy, &before, &counts(1_000 + records, 900 + failed), Duration::from_secs(seconds))
        };
        assert_eq!(judge(19, 19, 5), Looked::Open);
        assert_eq!(judge(20, 1, 5), Looked::Open);
        assert_eq!(judge(20, 2, 5), Looked::Fails("2 of 20 records failed within 5.0 s (10.0 %)".into()));
        assert_eq!(judge(1_000, 50, 60), Looked::Good);
        assert_eq!(judge(1_000, 51, 61), Looked::Fails("51 of 1000 records failed within 61.0 s (5.1 %)".into()));
    }
}
